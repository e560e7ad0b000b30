"""What the learned model of reproduce_star_polymers.py is measured against, fitted to the same recording.

dpd            Classical dissipative particle dynamics (Groot & Warren, J. Chem. Phys. 107, 4423, 1997): force a (1-s),
               friction gamma (1-s)², s = r/range. For each range of a grid, a is the least-squares fit of momentum
               changes over 8 frames to the force summed along the observed path; the range is the one that explains
               most. gamma is the one whose rollout has the VACF nearest to that of the recording. Its range is the
               cutoff of the case: with the shorter one of the force hardly a pair would be close enough to feel it.
ibi            Iterative Boltzmann inversion (Reith, Puetz & Mueller-Plathe, J. Comput. Chem. 24, 1624, 2003): the pair
               potential is corrected by 0.7 kT ln(g/g_target) ten times, then by 0.3 twenty times, which averages noise
               out. Each star has its own Langevin friction, again the one with the nearest VACF. Momentum is not kept:
               it comes from and goes to a solvent.
unconstrained  Nets without laws (`vid2dyn.dynamics.fluid.unconstrained`), trained on one-frame velocity changes.
               The schedule is that of the package, 400 steps. Five times as many on five times the frames do not help:
               star 11 then is ten times too hot after 198 frames.

The first two are given kT, which cannot be read from their own statistics otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from scipy.interpolate import CubicSpline
from star_metrics import BINS, Curves, autocorrelation, dense, mean_squared_displacement, radial_distribution, rms

import vid2dyn as vd
from vid2dyn.core.neighbours import close_pairs

SKIN = 0.4
"""Pairs are listed up to this much beyond the cutoff, and searched anew when a star has moved half as far [µm]."""
WINDOW = 8
"""Frames over which the momentum changes are taken that the DPD force is fitted to."""


@dataclass(frozen=True, eq=False)
class PairModel:
    """Stars with a pair force from a table, pair friction along the line of centres, and friction of each star alone.

    Parameters
    ----------
    r, force : (n,) arrays
        Force [kT/µm] at evenly spaced distances from 0 to the cutoff; positive pushes apart.
    mass, kT : float
    pair_friction, friction_range : float
        gamma [mass/s] and range [µm] of gamma (1 - r/range)².
    node_friction : float
        [mass/s]
    """

    r: np.ndarray
    force: np.ndarray
    mass: float
    kT: float
    pair_friction: float = 0.0
    friction_range: float = 1.0
    node_friction: float = 0.0

    def rollout(self, x: np.ndarray, v: np.ndarray, edge: float, dt: float, frames: int, keep: int,
                seed: int) -> Rollout:
        """From positions and velocities (stars, 3): `frames` frames of one step each, the first `keep` recorded."""
        n = len(x)
        positions, velocities = np.empty((n, keep, 3)), np.empty((n, keep, 3))
        speed2, momentum = np.empty(frames), np.empty(frames)
        _advance(x.copy(), v.copy(), edge, self.force, len(self.force) - 1, float(self.r[-1]),
                 np.array([self.mass, self.kT, self.pair_friction, self.friction_range, self.node_friction, dt]),
                 np.random.default_rng(seed), positions, velocities, speed2, momentum)
        return Rollout(positions, velocities, edge, dt, self.mass * speed2 / (3 * n) / self.kT,
                       self.mass * momentum / math.sqrt(3 * n * self.mass * self.kT))


@dataclass(frozen=True, eq=False)
class Rollout:
    """Positions and velocities (stars, frames, 3) of the first frames; of all frames the kinetic temperature [kT] and
    the size of the total momentum over sqrt(3 N M kT), which it would have if nothing kept it."""

    positions: np.ndarray
    velocities: np.ndarray
    edge: float
    dt: float
    temperature: np.ndarray
    momentum: np.ndarray

    def curves(self, lags: int, every: int = 10) -> Curves:
        """RDF, MSD and VACF; NaN where the rollout has left the finite numbers."""
        lags = min(lags, self.positions.shape[1] - 1)
        lag = np.arange(lags + 1) * self.dt
        if not (np.isfinite(self.positions).all() and np.isfinite(self.velocities).all()):
            r = (np.arange(BINS) + 0.5) * 0.5 * self.edge / BINS
            return Curves(r, np.full(BINS, np.nan), lag, np.full(lags + 1, np.nan), np.full(lags + 1, np.nan))
        r, g = radial_distribution(np.ascontiguousarray(self.positions[:, ::every].swapaxes(0, 1)), self.edge)
        return Curves(r, g, lag, mean_squared_displacement(self.positions, lags),
                      autocorrelation(self.velocities, lags))

    def stability(self) -> dict[str, float]:
        """How long and how well energy and momentum are kept."""
        sound = np.isfinite(self.temperature) & (self.temperature < 10.0)
        steps = len(sound) if sound.all() else int(np.argmin(sound))
        tail = self.temperature[-max(1, len(sound) // 10):]
        start = self.temperature[: max(1, len(sound) // 10)]
        return {"steps": steps, "asked": len(sound), "temperature_start": float(start.mean()),
                "temperature_end": float(tail.mean()) if steps == len(sound) else math.nan,
                "momentum": float(self.momentum[:steps].max()) if steps else math.nan}


@njit(cache=True)
def _advance(x, v, edge, table, cells, cutoff, numbers, rng, xs, vs, speed2, momentum):  # type: ignore[no-untyped-def]
    """Velocity Verlet for the force, then friction and noise as exact Ornstein-Uhlenbeck processes, pair by pair."""
    mass, kT, gamma, wide, zeta, dt = numbers
    far = max(cutoff, wide) if gamma > 0 else cutoff
    n = len(x)
    box = np.full(3, edge)
    reach = min(far + SKIN, 0.5 * edge)
    first, second = close_pairs(x, box, reach)
    listed, force, e = x.copy(), np.zeros((n, 3)), np.empty(3)
    _forces(x, first, second, edge, table, cells, cutoff, force)
    decay = math.exp(-zeta / mass * dt)
    kick = math.sqrt(kT / mass * (1 - decay * decay))
    for t in range(len(speed2)):
        if t < xs.shape[1]:
            xs[:, t], vs[:, t] = x, v
        total = np.zeros(3)
        square = 0.0
        for i in range(n):
            for c in range(3):
                total[c] += v[i, c]
                square += v[i, c] * v[i, c]
        speed2[t] = square
        momentum[t] = math.sqrt(total[0] ** 2 + total[1] ** 2 + total[2] ** 2)
        moved = 0.0
        for i in range(n):
            here = 0.0
            for c in range(3):
                v[i, c] += 0.5 * dt / mass * force[i, c]
                x[i, c] += dt * v[i, c]
                here += (x[i, c] - listed[i, c]) ** 2
            moved = max(moved, here)
        if not moved < 1e6:                                    # also where it is not a number
            speed2[t + 1:], momentum[t + 1:] = np.nan, np.nan
            xs[:, t + 1:], vs[:, t + 1:] = np.nan, np.nan
            return
        if moved > (0.5 * (reach - far)) ** 2:
            first, second = close_pairs(x, box, reach)
            listed[:] = x
        _forces(x, first, second, edge, table, cells, cutoff, force)
        for i in range(n):
            for c in range(3):
                v[i, c] += 0.5 * dt / mass * force[i, c]
        if gamma > 0:
            for p in range(len(first)):
                i, j = first[p], second[p]
                r = _line(x, i, j, edge, e)
                if r < wide:
                    u = 0.0
                    for c in range(3):
                        u += e[c] * (v[i, c] - v[j, c])
                    a = math.exp(-2 * gamma * (1 - r / wide) ** 2 * dt / mass)
                    change = 0.5 * ((a - 1) * u + math.sqrt(2 * kT / mass * (1 - a * a)) * rng.standard_normal())
                    for c in range(3):
                        v[i, c] += change * e[c]
                        v[j, c] -= change * e[c]
        if zeta > 0:
            for i in range(n):
                for c in range(3):
                    v[i, c] = decay * v[i, c] + kick * rng.standard_normal()


@njit(cache=True)
def _line(x, i, j, edge, e):  # type: ignore[no-untyped-def]
    r2 = 0.0
    for c in range(3):
        e[c] = x[i, c] - x[j, c]
        e[c] -= edge * np.round(e[c] / edge)
        r2 += e[c] * e[c]
    r = math.sqrt(r2)
    for c in range(3):
        e[c] /= r
    return r


@njit(cache=True)
def _forces(x, first, second, edge, table, cells, cutoff, force):  # type: ignore[no-untyped-def]
    force[:] = 0.0
    e = np.empty(3)
    for p in range(len(first)):
        i, j = first[p], second[p]
        r = _line(x, i, j, edge, e)
        if r < cutoff:
            at = r / cutoff * cells
            k = min(int(at), cells - 1)
            f = table[k] + (at - k) * (table[k + 1] - table[k])
            for c in range(3):
                force[i, c] += f * e[c]
                force[j, c] -= f * e[c]


# ---------------------------------------------------------------------- fits

@dataclass(frozen=True, eq=False)
class Target:
    """What the baselines are fitted to: the recording, its curves, a start for rollouts."""

    x: np.ndarray
    v: np.ndarray
    edge: float
    dt: float
    mass: float
    kT: float
    vacf: np.ndarray

    @classmethod
    def of(cls, tracks: vd.Trajectories, lags: int) -> Target:
        """A recording with the truth of a simulator."""
        x, v, edge = dense(tracks)
        truth = tracks.info["truth"]
        vacf = autocorrelation(v, min(lags, x.shape[1] - 1))
        return cls(x, v, edge, tracks.units.dt, truth["mass"], truth["kT"], vacf)

    def rollout(self, model: PairModel, frames: int, seed: int) -> Rollout:
        """From the first frame."""
        return model.rollout(self.x[:, 0], self.v[:, 0], self.edge, self.dt, frames, frames, seed)


def nearest_friction(target: Target, model: Callable[[float], PairModel], low: float, high: float, frames: int,
                     rounds: int = 12) -> float:
    """The friction whose rollout has the VACF nearest to the target's: golden section on its logarithm.

    All rollouts have one seed, so that the distance is a smooth function of friction up to the divergence of paths.
    """
    lags = min(len(target.vacf) - 1, frames // 3)

    def distance(log_friction: float) -> float:
        found = target.rollout(model(math.exp(log_friction)), frames, seed=0)
        return rms(autocorrelation(found.velocities, lags) - target.vacf[: lags + 1])

    golden = (math.sqrt(5) - 1) / 2
    a, b = math.log(low), math.log(high)
    c, d = b - golden * (b - a), a + golden * (b - a)
    at_c, at_d = distance(c), distance(d)
    for _ in range(rounds):
        if at_c < at_d:
            b, d, at_d = d, c, at_c
            c = b - golden * (b - a)
            at_c = distance(c)
        else:
            a, c, at_c = c, d, at_d
            d = a + golden * (b - a)
            at_d = distance(d)
    return math.exp(0.5 * (a + b))


def fit_dpd(target: Target, cutoff: float, frames: int, windows: int = 40) -> tuple[PairModel, dict[str, float]]:
    """Range and amplitude by least squares, friction by the VACF; see the head of this file."""
    starts = np.linspace(0, target.x.shape[1] - 1 - WINDOW, windows).astype(int)
    impulse = np.concatenate([target.mass * (target.v[:, t + WINDOW] - target.v[:, t]) for t in starts])
    best: tuple[float, float, float] = (-np.inf, 0.0, 0.0)
    for reach in np.linspace(0.4, 1.0, 25) * cutoff:
        pushed = np.concatenate([_pushes(target, np.array([1.0, 0.0]), float(reach), int(t)) for t in starts])
        a = float((impulse * pushed).sum() / max((pushed**2).sum(), 1e-300))
        explained = 1 - float(((impulse - a * pushed) ** 2).sum() / (impulse**2).sum())
        best = max(best, (explained, a, float(reach)))
    explained, a, reach = best
    r = np.linspace(0, reach, 400)

    def model(gamma: float) -> PairModel:
        return PairModel(r, a * (1 - r / reach), target.mass, target.kT, gamma, cutoff)

    gamma = nearest_friction(target, model, 0.1, 1000.0, frames)
    return model(gamma), {"a": a, "range": reach, "gamma": gamma, "friction_range": cutoff, "explained": explained}


def _pushes(target: Target, table: np.ndarray, cutoff: float, start: int) -> np.ndarray:
    """(stars, 3) integral of the pair force along the observed path over `WINDOW` frames (trapezoids)."""
    total, force, box = np.zeros_like(target.x[:, 0]), np.zeros_like(target.x[:, 0]), np.full(3, target.edge)
    for k in range(WINDOW + 1):
        x = np.ascontiguousarray(target.x[:, start + k])
        first, second = close_pairs(x, box, cutoff)
        _forces(x, first, second, target.edge, table, len(table) - 1, cutoff, force)
        total += target.dt * (0.5 if k in (0, WINDOW) else 1.0) * force
    return total


def fit_ibi(target: Target, cutoff: float, frames: int, rounds: int = 30) -> tuple[PairModel, dict[str, Any]]:
    """Potential by iterative Boltzmann inversion, then friction by the VACF; see the head of this file."""
    bins = math.ceil(target.edge / 2 / 0.05)
    every = max(1, target.x.shape[1] // 600)
    r, g = radial_distribution(np.ascontiguousarray(target.x[:, ::every].swapaxes(0, 1)), target.edge, bins)
    inside = r < cutoff
    seen = inside & (np.arange(len(r)) > np.flatnonzero((g <= 0.05) & (r < r[np.argmax(g)]))[-1])
    potential = _continued(r, np.where(seen, -target.kT * np.log(np.maximum(g, 0.01)), np.nan), inside)
    errors = []
    for k in range(rounds):
        # any friction has the same RDF; a small one reaches it soon
        start = PairModel(*_table(r, potential, cutoff), target.mass, target.kT, node_friction=0.3 * target.mass)
        moved = target.rollout(start, frames, seed=k)
        settled = np.ascontiguousarray(moved.positions[:, frames // 4:: 5].swapaxes(0, 1))
        found = radial_distribution(settled, target.edge, bins)[1]
        errors.append(rms(found - g) / rms(g))
        # not corrected where either has hardly a pair: chance, and the logarithm of nothing
        both = seen & (found > 0.05)
        part = 0.7 if k < 10 else 0.3
        step = np.where(both, part * target.kT * np.log(np.maximum(found, 0.05) / np.maximum(g, 0.05)), 0.0)
        potential = _continued(r, np.where(seen, potential + step, np.nan), inside)
    table = _table(r, potential, cutoff)

    def model(zeta: float) -> PairModel:
        return PairModel(*table, target.mass, target.kT, node_friction=zeta)

    zeta = nearest_friction(target, model, 0.05 * target.mass, 50 * target.mass, frames)
    return model(zeta), {"friction": zeta, "rdf_errors": errors, "r": r[inside].tolist(),
                         "potential": potential[inside].tolist()}


def _continued(r: np.ndarray, potential: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """A little smoothed; zero at the cutoff; below the closest pairs seen a parabola with the slope found there."""
    known = np.flatnonzero(np.isfinite(potential) & inside)
    smooth = potential.copy()
    smooth[known[1:-1]] = 0.25 * (potential[known[:-2]] + potential[known[2:]]) + 0.5 * potential[known[1:-1]]
    smooth -= smooth[known[-1]]
    slope = min(-1.0, float(np.polyfit(r[known[:4]], smooth[known[:4]], 1)[0]))
    depth = r[known[0]] - r[: known[0]]
    smooth[: known[0]] = smooth[known[0]] - slope * depth * (1 + depth)
    smooth[known[-1] + 1:] = 0.0
    return smooth


def _table(r: np.ndarray, potential: np.ndarray, cutoff: float) -> tuple[np.ndarray, np.ndarray]:
    """Distances and force of a potential given in the middle of bins."""
    inside = r < cutoff
    at, value = np.append(r[inside], cutoff), np.append(potential[inside], 0.0)
    fine = np.linspace(0, cutoff, 1000)
    force = -CubicSpline(at, value)(fine, 1)
    force[fine < r[0]] = force[np.searchsorted(fine, r[0])]
    return fine, force


# ---------------------------------------------------------------------- nets without laws

def fit_unconstrained(tracks: vd.Trajectories, cutoff: float, frames: int, steps: int,
                      progress: Any) -> tuple[Any, float, float]:
    """Nets, unit of length [µm] and of time [s]."""
    from vid2dyn.fitting.particles.evidence import train_unconstrained
    from vid2dyn.inference.steps import FluidSteps

    data = FluidSteps.of(tracks.between(0, frames), cutoff)
    return train_unconstrained([data], [data.count], seed=0, steps=steps, progress=progress)


def roll_unconstrained(fitted: tuple[Any, float, float], tracks: vd.Trajectories, frames: int, keep: int, seed: int,
                       progress: Any) -> Rollout:
    """Euler steps of one frame, which is what the nets were trained for, from the first frame of `tracks`."""
    import torch

    from vid2dyn.data.box import Periodic
    from vid2dyn.dynamics.snapshot import Snapshot

    net, scale, tick = fitted
    x, v, edge = dense(tracks)
    truth = tracks.info["truth"]
    n, mass, kT = len(x), truth["mass"], truth["kT"]
    dt, box = tracks.units.dt, Periodic((edge / scale,) * 3)
    here, speed = torch.as_tensor(x[:, 0] / scale), torch.as_tensor(v[:, 0] * tick / scale)
    none = torch.zeros(n, dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    xs, vs = np.full((n, keep, 3), np.nan), np.full((n, keep, 3), np.nan)
    temperature, momentum = np.full(frames, np.nan), np.full(frames, np.nan)
    with torch.no_grad():
        for t in range(frames):
            progress(t, frames, "rollout without laws")
            real = speed.numpy() * scale / tick
            if t < keep:
                xs[:, t], vs[:, t] = here.numpy() * scale, real
            temperature[t] = mass * np.square(real).sum() / (3 * n) / kT
            momentum[t] = mass * np.linalg.norm(real.sum(axis=0)) / math.sqrt(3 * n * mass * kT)
            if not temperature[t] < 1e4:
                break
            state = Snapshot.of(here, 1.0, box, velocity=speed, entropy=none)
            change = net.drift(state) * dt / tick + net.noise(state, dt / tick, generator)
            # entropy is left where it was in training; the drift of the position is the velocity
            here, speed = here + change[:, :3], speed + change[:, 3:6]
    return Rollout(xs, vs, edge, dt, temperature, momentum)
