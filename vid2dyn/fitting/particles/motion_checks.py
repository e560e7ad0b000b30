"""Checks of recordings before inertial particles are learned from them: velocities, units, temperature, distances."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from vid2dyn.dynamics.terms.base import Configuration, Scene, kinds_of_pairs
from vid2dyn.fitting.particles.window_likelihood import WindowSet
from vid2dyn.inference.steps import FluidSteps
from vid2dyn.inference.window_score import Numbers

SAMPLED = 40
"""Frames looked at for distances."""
CLOSEST = 5e-4
"""Share of the pairs that lie below the closest distance that is resolved."""
LOOKED = 64
"""Windows in which the noise of single particles is looked at."""
UNLIKE = 0.05
"""Least spread of the noise between particles that is said."""
SHOWN = 8
"""Frames that terms are shown when they settle themselves."""


def velocity_warnings(parts: Sequence[FluidSteps]) -> list[str]:
    """Whether velocities are those of the displacements: units, wrapped positions in open space."""
    found = []
    for k, part in enumerate(parts):
        of = f"Recording {k + 1}: " if len(parts) > 1 else ""
        rows = np.unique(np.linspace(0, part.count - 1, min(part.count, SAMPLED)).astype(int))
        moved = part.box.displacement(part.position[rows + 1], part.position[rows]) / part.dt
        mean = 0.5 * (part.velocity[rows + 1] + part.velocity[rows])
        ratio = float((moved * mean).sum() / max((mean * mean).sum(), 1e-300))
        size = float(np.median(np.abs(moved)) / max(float(np.median(np.abs(mean))), 1e-300))
        if not 0.8 < size < 1.25:
            found.append(f"{of}velocities do not fit the positions: particles move {size:.3g} times as fast as their "
                         "velocity columns say. Give velocities in the unit of the positions per second (pixels per "
                         "second in the table), and check frames_per_second; temperatures and friction are wrong by "
                         "such factors.")
        elif not 0.8 < ratio < 1.25:
            jumps = np.abs(moved - mean) * part.dt
            found.append(f"{of}positions jump by up to {float(jumps.max()):.3g} µm where velocities say otherwise: "
                         "they may be wrapped into a box that the table does not name. Give box=vd.Periodic(...), or "
                         "unwrap them.")
    return found


def motion_temperature(parts: Sequence[FluidSteps], mass: np.ndarray) -> tuple[float, float]:
    """kT of the velocities about their mean [energy], and its relative error, by how long kinetic energy remembers."""
    series = []
    for part in parts:
        m = mass[part.species][None, :, None]
        v = part.velocity.copy()
        rate = getattr(part.box, "shear_rate", 0.0)
        if rate:
            v[:, :, 1] -= rate * part.position[:, :, 0]
        v -= (m * v).sum(axis=1, keepdims=True) / m.sum()
        series.append((m * v * v).sum(axis=(1, 2)) / ((part.n - 1) * part.dim))
    weights = np.array([len(s) for s in series], float)
    kT = float(np.average([s.mean() for s in series], weights=weights))
    error = math.sqrt(sum((w * error_of_mean(s)) ** 2 for w, s in zip(weights, series, strict=True))) / weights.sum()
    return kT, max(error / kT, 1e-3)


def error_of_mean(series: np.ndarray) -> float:
    """Standard error of the mean of a series that remembers: √(2 τ/N) of its spread.

    τ is its autocorrelation, summed up to where the sum is largest in the first quarter of lags: at least what a window
    chosen by τ itself would give (Sokal, in Functional Integration, 1997, sect. 3), which misses slow parts of short
    series; for one that forgets at once up to 1.5 times too large an error. A mean that was taken off makes τ too small
    by (2 W + 1)/N of itself for W lags (eq. 3.14 there), which is put back.

    >>> draws = np.random.default_rng(0).normal(size=4000)
    >>> [bool(1.0 < error_of_mean(np.repeat(draws, k)) * 4000**0.5 < 1.6) for k in (1, 8)]
    [True, True]
    """
    n = len(series)
    x = series - series.mean()
    size = float((x * x).mean())
    if n < 2 or size == 0.0:
        return abs(float(series.mean())) if n < 2 else 0.0
    power = np.abs(np.fft.rfft(x, 2 * n)) ** 2
    rho = np.fft.irfft(power)[:n] / (n * size)
    tau = 0.5 + np.cumsum(rho[1:max(2, n // 4)])
    last = int(np.argmax(tau))
    found = max(float(tau[last]), 0.5) * (1.0 + (2 * last + 1) / n)
    return math.sqrt(size * 2.0 * found / n)


def scene_of(parts: Sequence[FluidSteps], species: tuple[str, ...], mass: np.ndarray, reach: float) -> Scene:
    """What terms settle themselves by."""
    kinds = len(kinds_of_pairs(species))
    seen: list[list[np.ndarray]] = [[] for _ in range(kinds)]
    sampled = []
    for part in parts:
        for frame in np.unique(np.linspace(0, part.count, max(2, SAMPLED // len(parts))).astype(int)):
            at = Configuration.of(part.position[frame], part.box.after((part.first_frame + frame) * part.dt), reach,
                                  part.species, kinds_among=len(species))
            sampled.append(at)
            for kind in range(kinds):
                seen[kind].append(at.r[at.kind == kind])
    closest = np.full(kinds, np.inf)
    for kind, many in enumerate(seen):
        r = np.sort(np.concatenate(many)) if many else np.empty(0)
        if len(r):
            closest[kind] = r[min(len(r) - 1, max(3, int(CLOSEST * len(r))))]
    low = np.min([part.position.min(axis=(0, 1)) for part in parts], axis=0)
    high = np.max([part.position.max(axis=(0, 1)) for part in parts], axis=0)
    kT, _ = motion_temperature(parts, mass)
    return Scene(parts[0].dim, parts[0].box, species, kT, parts[0].dt, closest, low, high,
                 tuple(sampled[::max(1, len(sampled) // SHOWN)]))


def unlike_particles(windows: WindowSet, numbers: Numbers, by_species: bool) -> list[str]:
    """A warning where the noise of some particles is larger than that of others, for good and by more than `UNLIKE`.

    Of every particle the mean of |R|² over its expectation in the windows of the first recording, once of its first
    half and once of its second. What particles differ in by chance, and in inner states that pass, is independent in
    the two; their covariance over the particles is the variance of what lasts. Its error is √(v1 v2/n) whatever the
    distribution is (heavy tails make many particles look unlike in any one stretch); false alarm 1e-6.
    """
    part = windows.seen.recordings[0]
    mine = [place for place in windows.seen.starts if place[0] == 0]
    few = replace(windows, seen=replace(windows.seen, starts=tuple(mine)).only(LOOKED))
    ratios = np.array([(model.residual()**2).mean(axis=1) / model.covariance().diagonal()
                       for _, model, _ in few.models(numbers)])
    if len(ratios) < 8 or part.n < 10:
        return []
    halves = [half.mean(axis=0) for half in np.array_split(ratios, 2)]
    for of in halves:
        for kind in np.unique(part.species):
            of[part.species == kind] = of[part.species == kind] / of[part.species == kind].mean() - 1.0
    lasting = float((halves[0] * halves[1]).mean())
    error = math.sqrt(float((halves[0] ** 2).mean() * (halves[1] ** 2).mean()) / part.n)
    more = math.sqrt(max(lasting, 0.0))
    if lasting < 4.9 * error or more < UNLIKE:
        return []
    within = " of the same species" if by_species else ""
    return [f"Particles{within} are not alike: their squared momentum changes are by {100 * more:.0f} % (standard "
            "deviation, chance taken off) larger or smaller than the model says. A mixture of species or sizes, an "
            "inner state that lasts, some that stick, or a place where friction differs; forces and friction are "
            "averages over them. If the table can name the species, give species=\"column\"; otherwise look at what "
            "particles with the largest changes have in common."]
