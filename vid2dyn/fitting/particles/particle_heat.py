"""Do particles carry heat of their own? What is learned of it, whether it earns its place, and how much could be seen.

The list of terms has been learned at one temperature. Its local scores on all windows (`local_scores`) show whether
anything that particles carry makes their noise or their forces stronger for longer than a window remembers
(`hidden_heat`). Nothing is given but positions and velocities. Two tests have to be passed: χ² of the persistence falls
by more than `FINDING`, and windows that nobody learned from are predicted better by more than twice the error of that,
an error from the scatter between particles.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vid2dyn.core.errors import ModelError
from vid2dyn.core.progress import Progress
from vid2dyn.dynamics.fluid.carried_heat import CarriedHeat, can_carry
from vid2dyn.dynamics.fluid.frozen import FrozenFluid, read_radial
from vid2dyn.inference.hidden_heat import MEMORY, HeatEstimate, Persistence, estimated
from vid2dyn.inference.local_scores import NAMES, Baseline, LocalScores, lasting_forces, local_scores
from vid2dyn.inference.steps import FluidSteps
from vid2dyn.inference.window_score import Numbers
from vid2dyn.inference.windows import Terms, configuration

FINDING = 40.0
"""Least fall of χ²: three squared normal numbers exceed it once in 10^8, and the search for τ takes some tens of them.
"""
WEAKEST = 4.0
"""Standard errors by which the noise has to follow what is carried, to be called heat."""
LEAST = MEMORY + 5
"""Windows of one recording below which nothing is looked for."""
ROWS = 24
"""Rows of the persistence in a report."""


@dataclass(frozen=True, eq=False)
class Finding:
    """What was found of the heat of particles.

    Parameters
    ----------
    arrays : mapping
        For the model, empty if there is none: "heat" (loadings, τ, κ, range, mean of <Φ>), "heat_pair_energy" (<Φ> of
        each species), "heat_covariance" (of the loadings and ln τ), "heat_noise", "heat_information" and
        "heat_baseline" (what turns motion into entropies).
    report : mapping
    warnings : list of str
    """

    arrays: dict[str, np.ndarray]
    report: dict[str, Any]
    warnings: list[str]

    @property
    def identified(self) -> bool:
        """Whether particles carry heat, as far as these data tell."""
        return bool(self.arrays)


def find_heat(train: Sequence[FluidSteps], judge: FluidSteps, terms: Terms, numbers: Numbers, frames: int, shown: float,
              frozen: FrozenFluid, reach: float, seed: int, progress: Progress) -> Finding:
    """Heat of particles from motion alone.

    Parameters
    ----------
    train, judge : FluidSteps
        Learned from, and judged on.
    terms, numbers, frames, shown
        Of the fitted list; see `local_scores`.
    frozen : FrozenFluid
        Its tables.
    reach : float
        Range over which heat flows between particles [µm].
    """
    usable = [part for part in train if part.count // frames >= LEAST]
    if not usable or judge.count // frames < 2:
        return Finding({}, {"identified": False}, [
            f"Heat of the particles was not looked for: that takes at least {LEAST} windows of {frames} frames in a "
            "row. Give a longer recording. The model has one temperature."])
    found = [local_scores(part, terms, numbers, frames, shown, seed, progress) for part in usable]
    baseline = Baseline.of(found)
    seen = Persistence.of([baseline.observations(one) for one in found], found[0].time)
    memory = lasting_forces(found, MEMORY)
    if len(seen.covariance) < memory + LEAST - MEMORY:
        return Finding({}, {"identified": False}, [
            f"Heat of the particles was not looked for: forces stay alike for {memory} windows of {frames} frames, and "
            "heat shows beyond. Give a longer recording. The model has one temperature."])
    estimate = estimated(seen, memory)
    judged = baseline.observations(local_scores(judge, terms, numbers, frames, shown, seed + 1, progress))
    report = _report(estimate, seen, baseline, found, judged)
    if not report["identified"]:
        return Finding({}, report, [_nothing(report)])
    heat = estimate.heat
    conductance, energies = _transfer(usable, frozen, heat.heat_capacity, heat.relaxation, reach)
    if can_carry(frozen):
        try:
            CarriedHeat(heat.heat_capacity, heat.exponent, conductance, reach, tuple(energies)).added_to(frozen)
        except ModelError as error:
            return Finding({}, report | {"identified": False}, [f"Entropy not identifiable from these data. {error}"])
    arrays = {"heat": np.concatenate([heat.loadings, [heat.relaxation, conductance, reach, energies.mean()]]),
              "heat_pair_energy": energies,
              "heat_covariance": _with_second_order(estimate), "heat_noise": heat.noise,
              "heat_information": baseline.information, "heat_baseline": baseline.slopes}
    warnings = []
    if not can_carry(frozen):
        warnings.append("Particles carry heat of their own, and rollouts of this model leave it out: it does not run "
                        "together with DensityEnergy (two densities), nor with PairMemory (its modes would carry the "
                        "heat away within their memory times). With PairPotential and PairFriction in their place "
                        "rollouts follow it.")
    if heat.relaxation > 0.5 * max(part.count * part.dt for part in usable):
        warnings.append(f"What particles carry outlives these recordings (relaxation time {heat.relaxation:.3g} s): "
                        "it may be a lasting difference between particles. Record longer.")
    return Finding(arrays, report, warnings)


def _with_second_order(estimate: HeatEstimate) -> np.ndarray:
    """Covariance with what the first order of the scores leaves out, of the size of <θ²>/2 in each loading."""
    loadings = estimate.heat.loadings
    return estimate.covariance + np.diag(np.append(0.5 * loadings[0] ** 2 * loadings, 0.0) ** 2)


def _transfer(parts: Sequence[FluidSteps], frozen: FrozenFluid, heat_capacity: float, relaxation: float,
              reach: float) -> tuple[float, np.ndarray]:
    """κ [kB/s] such that a particle relaxes in τ, and the mean pair energy of a particle <Φ> of each species."""
    weight: list[float] = []
    energy, particles = np.zeros(frozen.species), np.zeros(frozen.species)
    for part in parts:
        for frame in np.unique(np.linspace(0, part.count, 8).round().astype(int)):
            at = configuration(part, int(frame), max(reach, frozen.cutoff), frozen.species)
            s = at.r / reach
            weight.append(2.0 * float(((1 - s**2)[s < 1] ** 2).sum()) / part.n)
            particles += np.bincount(part.species, minlength=frozen.species)
            if frozen.pair_energy is None:
                continue
            for kind, table in enumerate(frozen.pair_energy):
                own = at.kind == kind
                value, _ = read_radial(table, frozen.cutoff, at.r[own])
                for end in (at.first, at.second):
                    energy += np.bincount(part.species[end[own]], value, frozen.species)
    return heat_capacity / (relaxation * max(float(np.mean(weight)), 1e-12)), energy / np.maximum(particles, 1.0)


def _report(estimate: HeatEstimate, seen: Persistence, baseline: Baseline, found: Sequence[LocalScores],
            judged: np.ndarray) -> dict[str, Any]:
    heat, n = estimate.heat, judged.shape[2]
    error = np.sqrt(np.diag(estimate.covariance))
    gain = heat.gain(judged) / (judged.shape[1] * seen.time)
    gain_error = float(gain.std(ddof=1)) / math.sqrt(n) if n > 1 else math.inf
    strong = heat.loadings[0] > WEAKEST * error[0]
    rows = np.unique(np.geomspace(1, len(seen.covariance) - 1, ROWS).round().astype(int))
    errors = seen.errors()
    persistence = [[float(lag * seen.time), *(float(v) for c in range(len(heat.loadings)) for v in (
        seen.covariance[lag, c, c], errors[lag, c, c],
        heat.loadings[c] ** 2 * math.exp(-lag * seen.time / heat.relaxation)))] for lag in rows]
    report: dict[str, Any] = {
        "identified": bool(estimate.gained > FINDING and float(gain.mean()) > 2 * gain_error and strong),
        "follows_noise": bool(strong),
        "chi2_gained": float(estimate.gained), "chi2_needed": FINDING, "chi2_left": float(estimate.rest),
        "adds": float(gain.mean()), "stderr": gain_error,
        "couplings": list(NAMES[:len(heat.loadings)]),
        "information_per_window": [float(h) for h in baseline.information.mean(axis=0)],
        "windows": int(sum(one.scores.shape[1] for one in found)), "seconds": seen.time,
        "first_lag": len(heat.noise), "persistence": persistence,
        "largest_unseen_heat_capacity": 1.0 / estimate.least**2,
        "attainable_correlation": heat.attainable(max(one.scores.shape[1] for one in found))}
    return report


def _nothing(report: dict[str, Any]) -> str:
    """Why no heat is in the model."""
    if report["chi2_gained"] > report["chi2_needed"] and not report["follows_noise"]:
        return ("Entropy not identifiable from these data: something that particles carry makes their forces stronger "
                "for a while, and their noise does not follow it, as it would follow heat. Particles may differ in "
                "size or shape; give species if they do. The model has one temperature.")
    if report["chi2_gained"] > report["chi2_needed"]:
        return ("Entropy not identifiable from these data: what particles carry explains the motion learned from, and "
                f"adds {report['adds']:.2g} ± {report['stderr']:.1g} nats per particle and second on motion that was "
                "set aside. The model has one temperature.")
    return ("Entropy not identifiable from these data: nothing that particles carry makes their noise or forces "
            f"stronger for longer than {report['first_lag']} windows of {report['seconds']:.3g} s. Heat that lasts as "
            f"long as the best guess would have been seen up to a heat capacity of "
            f"{report['largest_unseen_heat_capacity']:.2g} kB. The model has one temperature.")
