"""How well a fitted model does: likelihood on frames it did not see, calibration of its errors, and its laws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numba
import numpy as np
import torch

from vid2dyn.dynamics.base import Overdamped
from vid2dyn.dynamics.snapshot import Snapshot, neighbour_pairs
from vid2dyn.dynamics.terms.potentials import PairPotential
from vid2dyn.fitting.brownian.design import kinds_of_pairs
from vid2dyn.fitting.brownian.likelihood import Residuals, free_diffusion, residuals
from vid2dyn.fitting.brownian.recording import Recording

HELD_OUT = 0.2
"""Share of the frames, the last ones, kept aside to evaluate the model; the model itself is then fitted to all."""

FEWEST_STEPS = 10
"""Without which there is no likelihood of free diffusion."""

TABLE = 4096
"""Distances at which the pair force is tabulated."""


def force_and_stiffness(recording: Recording, pair: PairPotential | tuple[PairPotential, ...] | None, stiffness: float,
                        centre: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """F_i [kT/µm] (n, dim) and -∂F_i/∂x_i [kT/µm²] (n, dim, dim) at every detection.

    `pair`: the pair potential, or that of every pair of species. `centre` (n, dim): of the trap each detection is held
    by, if `stiffness` is not zero.
    """
    potentials = pair if isinstance(pair, tuple) else () if pair is None else (pair,)
    n, dim = recording.position.shape
    force = np.ascontiguousarray(-stiffness * (recording.position - centre))
    hessian = np.broadcast_to(stiffness * np.eye(dim), (n, dim, dim)).copy()
    if not potentials:
        return force, hessian
    reach = max(one.spline.cutoff for one in potentials)
    grid = np.linspace(0.0, reach, TABLE + 1)
    tables = [one.force(grid) for one in potentials]
    slopes = [-np.gradient(table, grid) for table in tables]
    for block in recording.blocks(max(1, n // 20_000)):
        x = recording.position[block]
        pairs = neighbour_pairs(x, reach, recording.box, recording.frame[block])
        i, j = block[pairs[:, 0]], block[pairs[:, 1]]
        e = recording.box.displacement(recording.position[i], recording.position[j])
        r = np.maximum(np.linalg.norm(e, axis=1), 1e-9)
        e = e / r[:, None]
        f, along = np.interp(r, grid, tables[0]), np.interp(r, grid, slopes[0])
        if len(potentials) > 1:
            kinds = kinds_of_pairs(recording, block, pairs, len(potentials))
            for kind in range(1, len(potentials)):
                mine = kinds == kind
                f[mine], along[mine] = np.interp(r[mine], grid, tables[kind]), np.interp(r[mine], grid, slopes[kind])
        _add_pairs(i, j, e, f, along, -f / r, force, hessian)
    return force, hessian


@numba.njit(cache=True, nogil=True)
def _add_pairs(i, j, e, f, along, across, force, hessian):  # type: ignore[no-untyped-def]
    """Adds force f along e, and its stiffness along and across e, to both particles of every pair.

    First what the pairs add to their first particles, then what they add to their second ones.
    """
    dim = e.shape[1]
    for side in range(2):
        rows, sign = (i, 1.0) if side == 0 else (j, -1.0)
        some, stiff = np.zeros(force.shape), np.zeros(hessian.shape)
        for p in range(len(rows)):
            k = rows[p]
            for a in range(dim):
                some[k, a] += sign * f[p] * e[p, a]
                for b in range(dim):
                    stiff[k, a, b] += (across[p] if a == b else 0.0) + (along[p] - across[p]) * e[p, a] * e[p, b]
        for k in range(force.shape[0]):
            for a in range(dim):
                force[k, a] += some[k, a]
                for b in range(dim):
                    hessian[k, a, b] += stiff[k, a, b]


@dataclass(frozen=True, eq=False)
class StepModel:
    """All that the likelihood of a step depends on.

    Parameters
    ----------
    pairs : tuple of PairPotential
        Of every pair of species; empty without pair forces.
    stiffness : float
        Stiffness of the trap [kT/µm²], zero without one.
    centre : (n, dim) array
        Centre of the trap that holds each detection [µm].
    diffusion, noise_scale : float or (n,) arrays
        D [µm²/s]; localisation variance over the stated one; of each detection where there are several species.
    """

    pairs: tuple[PairPotential, ...]
    stiffness: float
    centre: np.ndarray
    diffusion: float | np.ndarray
    noise_scale: float | np.ndarray

    @classmethod
    def of(cls, recording: Recording, pairs: tuple[PairPotential, ...], stiffness: float, centre: np.ndarray,
           diffusion: np.ndarray, noise_scale: np.ndarray) -> StepModel:
        """With D and noise scale (species,) given to the detections of each species."""
        if recording.species is None:
            return cls(pairs, stiffness, centre, float(diffusion[0]), float(noise_scale[0]))
        return cls(pairs, stiffness, centre, diffusion[recording.species], noise_scale[recording.species])

    def residuals(self, recording: Recording, *masks: np.ndarray) -> list[Residuals]:
        """Residuals of the steps in each mask."""
        force, hessian = force_and_stiffness(recording, self.pairs, self.stiffness, self.centre)
        return [residuals(recording, force, hessian, self.diffusion, self.noise_scale, mask) for mask in masks]


def held_out_from(recording: Recording) -> float:
    """Frame from which on all is held out."""
    return float(recording.frame.min() + (1 - HELD_OUT) * (np.ptp(recording.frame) + 1))


def held_out_steps(recording: Recording) -> np.ndarray:
    """(steps,) bool: those that lie in the held-out frames."""
    return recording.frame[recording.steps] >= held_out_from(recording)


def earlier_steps(recording: Recording) -> np.ndarray:
    """(steps,) bool: those that end before the held-out frames; one step of a track is in neither part."""
    return recording.frame[recording.steps + 1] < held_out_from(recording)


def without_held_out(recording: Recording) -> Recording:
    """The recording as it was before the held-out frames: no detection of these is in it, nor a step into them."""
    return recording.where(recording.frame < held_out_from(recording))


def with_traps_known(recording: Recording) -> Recording:
    """The recording without weight for particles that come into view in the held-out frames: nobody knows where the
    centres of their own traps are."""
    known = np.isin(recording.track, without_held_out(recording).track)
    return replace(recording, weight=np.where(known, recording.weight, 0.0))


def trusted_steps(recording: Recording) -> np.ndarray:
    """(steps,) bool: those of particles all of whose neighbours are in view."""
    return recording.weight[recording.steps] > 0.99


def held_out_evidence(recordings: Sequence[Recording], fitted: Sequence[StepModel]) -> dict[str, Any]:
    """Log-likelihood of the held-out steps under a model fitted without them, and residual calibration.

    The comparison is free diffusion with its own best D and noise (in each recording, learned from the same frames):
    what the forces bring, in nats per particle-step. `fitted`: the model of each recording.
    """
    models, nulls = [], []
    for recording, model in zip(recordings, fitted, strict=True):
        some = held_out_steps(recording) & trusted_steps(recording)
        models += model.residuals(recording, some)
        nulls += free_model(recording).residuals(recording, some)
    one, null = joined(models), joined(nulls)
    gain = one.log_likelihood - null.log_likelihood
    n = max(1, gain.size)
    return {
        "held_out": {
            "log_likelihood_per_step": _mean(one.log_likelihood),
            "free_diffusion_log_likelihood_per_step": _mean(null.log_likelihood),
            "gain_per_step": _mean(gain),
            "gain_per_step_stderr": float(gain.std() / np.sqrt(n)) if gain.size else float("nan"),
            "steps": int(gain.size),
        },
        "calibration": calibration(one),
    }


def free_model(recording: Recording) -> StepModel:
    """Free diffusion with the D and noise that are best before the held-out frames, of each species that has enough
    steps there."""
    count = 1 if recording.species is None else int(recording.species.max()) + 1
    D, noise = np.ones(count), np.ones(count)
    early = without_held_out(recording)
    if len(early.steps) < FEWEST_STEPS:
        early = recording
    for s in range(count):
        of_species = early.of_species(s)
        if count == 1 or len(of_species.steps) >= FEWEST_STEPS:
            free = free_diffusion(of_species)
            D[s], noise[s] = free.diffusion, free.noise_scale
    return StepModel.of(recording, (), 0.0, np.zeros_like(recording.position), D, noise)


def joined(parts: Sequence[Residuals]) -> Residuals:
    """Residuals of several recordings as one."""
    return Residuals(*(np.concatenate([getattr(one, name) for one in parts])
                       for name in ("white", "log_likelihood", "follows")))


def step_likelihoods(recordings: Sequence[Recording], fitted: Sequence[StepModel]) -> tuple[float, float]:
    """Mean log-likelihood of a step that was learned from, and of one held out (as in `held_out_evidence`).

    Both are nan for forces so stiff that a step has no likelihood, as a round on the way may find them.
    """
    train, later = [], []
    for recording, model in zip(recordings, fitted, strict=True):
        before, held_out, trusted = earlier_steps(recording), held_out_steps(recording), trusted_steps(recording)
        try:
            one, other = model.residuals(recording, before & trusted, held_out & trusted)
        except np.linalg.LinAlgError:
            return float("nan"), float("nan")
        train.append(one.log_likelihood)
        later.append(other.log_likelihood)
    return _mean(np.concatenate(train)), _mean(np.concatenate(later))


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else float("nan")


def calibration(model: Residuals) -> dict[str, Any]:
    """χ², correlation of successive residuals and histogram of whitened residuals; empty without any."""
    if not model.white.size:
        return {}
    counts, edges = np.histogram(model.white, bins=np.linspace(-5, 5, 51))
    return {**model.calibration(), "z": {"edges": edges.tolist(), "counts": counts.tolist()}}


def laws(dynamics: Overdamped, recording: Recording, cutoff: float | None,
         structure: np.ndarray | None = None) -> dict[str, float]:
    """The promises of the root-first base, measured on a few particles of the data, in float64."""
    frame = recording.frame == recording.frame.min()
    x = torch.as_tensor(recording.position[frame][:12].copy())
    column = None if structure is None else torch.as_tensor(structure[frame][:12].astype(float))
    snapshot = Snapshot.of(x, cutoff, recording.box, index=torch.arange(len(x)), structure=column)
    M = dynamics.friction.dense(snapshot)
    scale = float(M.diagonal().mean())
    values = torch.linalg.eigvalsh(0.5 * (M + M.T))
    gradient = sum((p.gradient(snapshot) for p in dynamics.potentials), torch.zeros_like(x))
    moved = dynamics.drift(snapshot)
    return {
        "mobility_asymmetry": float((M - M.T).abs().max()) / scale,
        "mobility_lowest_eigenvalue": float(values.min()) / scale,
        "energy_rate_without_noise": float((gradient * moved).sum()),
    }
