"""Brownian particles of which some are moved by hand: the compiled loop, with work, heat and energy.

    dx = [u(y, t) + D F(x)] dt + sqrt(2 D) dW   (free),      x(t) prescribed   (held)

by the stochastic Heun scheme of `rollout.brownian`; held particles go in straight lines from frame to frame. u is the
flow of the fluid that friction is against, linear in y between layers and constant from frame to frame.

Energy is kept step by step. When the held particles are moved, with the free ones in place, the energy U changes by
the work W put in; when the free ones move, it changes by -Q, the heat they give to the bath (Jarzynski, Phys. Rev.
Lett.
78, 2690, 1997; Sekimoto, Stochastic Energetics, 2010, §4): U(t) - U(0) = W - Q, whatever the step. Work is summed over
the pairs of held particles alone and heat over steps, so that U found anew at the end checks both.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numba
import numpy as np

from vid2dyn.core.errors import ModelError
from vid2dyn.core.neighbours import close_pairs
from vid2dyn.data.box import Box
from vid2dyn.dynamics.brownian import pair_kinds, species_count
from vid2dyn.rollout.brownian import FrozenBrownian


@dataclass(frozen=True, eq=False)
class Prescribed:
    """What is prescribed in a driven rollout.

    Parameters
    ----------
    held : (h,) int array
        Particles moved by hand.
    path : (frames + 1, h, dim) array
        Where they are at the start of each frame [µm], never wrapped.
    layers : (k,) array
        Heights y [µm] at which the flow is given; empty: the fluid is at rest.
    flow : (frames, k, dim) array
        Velocity of the fluid at these heights during each frame [µm/s].
    """

    held: np.ndarray
    path: np.ndarray
    layers: np.ndarray
    flow: np.ndarray


@dataclass(frozen=True, eq=False)
class DrivenPaths:
    """Positions (frames, n, dim) [µm] at the start of each frame and their mean over the exposure; potential energy,
    work put in and heat given off since the start (frames,) [kT]."""

    instant: np.ndarray
    average: np.ndarray
    energy: np.ndarray
    work: np.ndarray
    heat: np.ndarray


class _Tables(NamedTuple):
    """Force and energy of every kind of pairs at even distances up to the cutoff; species of the particles."""

    force: np.ndarray
    energy: np.ndarray
    cutoff: float
    species: np.ndarray
    kinds: np.ndarray


def driven_paths(frozen: FrozenBrownian, start: np.ndarray, box: Box, dt: float, exposure: float, prescribed:
Prescribed,
                 rng: np.random.Generator, substeps: int | None = None) -> DrivenPaths:
    """Run Brownian particles beside held ones.

    Parameters
    ----------
    frozen : FrozenBrownian
        D and pair forces.
    start : (n, dim) array
        All particles, held ones included [µm].
    box : Box
        Free or periodic.
    dt, exposure : float
        Frame interval and shutter time [s].
    prescribed : Prescribed
        Its path sets the number of frames.
    rng : numpy.random.Generator
    substeps : int, optional
        Steps a frame; default: `FrozenBrownian.substeps`.

    Raises
    ------
    ModelError
        If positions stop being finite.
    """
    x = np.ascontiguousarray(start, dtype=float).copy()
    frames, dim = len(prescribed.path) - 1, x.shape[1]
    substeps = substeps or frozen.substeps(dt, exposure)
    open_steps = 0 if exposure == 0 else max(1, round(exposure / dt * substeps))
    edge = np.zeros(dim) if box.lengths is None else np.asarray(box.lengths, dtype=float)
    force = np.atleast_2d(frozen.force)
    width = frozen.cutoff / (force.shape[1] - 1) if frozen.cutoff > 0 else 1.0
    # the integral of the linear interpolation of the force, from the cutoff inwards: exactly its energy
    parts = 0.5 * (force[:, 1:] + force[:, :-1]) * width
    energy = np.concatenate([np.cumsum(parts[:, ::-1], axis=1)[:, ::-1], np.zeros((len(force), 1))], axis=1)
    species = np.zeros(len(x), np.int64) if frozen.species is None else frozen.species
    tables = _Tables(force, energy, float(frozen.cutoff), species, pair_kinds(max(1, species_count(len(force)))))
    D = np.broadcast_to(np.asarray(frozen.diffusion, dtype=float), len(x)).copy()
    free = np.ones(len(x), np.bool_)
    free[prescribed.held] = False
    flow = prescribed.flow if len(prescribed.layers) else np.zeros((frames, 1, dim))
    layers = prescribed.layers if len(prescribed.layers) else np.zeros(1)
    out = np.zeros((frames, *x.shape)), np.zeros((frames, *x.shape)), np.zeros((frames, 3))
    _run(x, edge, tables, D, free, np.ascontiguousarray(prescribed.held, dtype=np.int64),
         np.ascontiguousarray(prescribed.path, dtype=float), layers, np.ascontiguousarray(flow), dt / substeps,
         substeps, open_steps, rng, *out)
    if not np.isfinite(out[0][-1]).all():
        raise ModelError(f"The rollout left the numbers: forces too stiff for {substeps} steps a frame, or held "
                         "particles that start on top of others. Check the first frame, or ask for more substeps.")
    return DrivenPaths(out[0], out[1], *out[2].T)


@numba.njit(cache=True, error_model="numpy", inline="always")
def _pair(r, tables, kind):  # type: ignore[no-untyped-def]
    """Force and energy of a pair at distance r."""
    last = tables.force.shape[1] - 1
    u = r * last / tables.cutoff
    a = min(int(u), last - 1)
    s = u - a
    f0, f1 = tables.force[kind, a], tables.force[kind, a + 1]
    width = tables.cutoff / last
    return f0 + s * (f1 - f0), tables.energy[kind, a] - width * s * (f0 + 0.5 * s * (f1 - f0))


@numba.njit(cache=True, error_model="numpy")
def _forces(x, first, second, edge, tables, f):  # type: ignore[no-untyped-def]
    """f = pair forces on every particle; returns the energy."""
    dim = x.shape[1]
    total = 0.0
    e = np.zeros(3)
    f[:] = 0.0
    for p in range(len(first)):
        i, j = first[p], second[p]
        r2 = 0.0
        for c in range(dim):
            t = x[i, c] - x[j, c]
            if edge[c] > 0.0:
                t -= edge[c] * math.floor(t / edge[c] + 0.5)
            e[c] = t
            r2 += t * t
        if r2 >= tables.cutoff * tables.cutoff:
            continue
        r = math.sqrt(r2)
        force, energy = _pair(r, tables, tables.kinds[tables.species[i], tables.species[j]])
        total += energy
        scale = force / max(r, 1e-12)
        for c in range(dim):
            f[i, c] += scale * e[c]
            f[j, c] -= scale * e[c]
    return total


@numba.njit(cache=True, error_model="numpy")
def _held_energy(x, first, second, of_held, edge, tables):  # type: ignore[no-untyped-def]
    """Energy of the pairs with a held particle."""
    total = 0.0
    dim = x.shape[1]
    for q in range(len(of_held)):
        i, j = first[of_held[q]], second[of_held[q]]
        r2 = 0.0
        for c in range(dim):
            t = x[i, c] - x[j, c]
            if edge[c] > 0.0:
                t -= edge[c] * math.floor(t / edge[c] + 0.5)
            r2 += t * t
        if r2 < tables.cutoff * tables.cutoff:
            total += _pair(math.sqrt(r2), tables, tables.kinds[tables.species[i], tables.species[j]])[1]
    return total


@numba.njit(cache=True, error_model="numpy", inline="always")
def _flow_at(y, layers, flow, c):  # type: ignore[no-untyped-def]
    """Component c of the flow at height y: linear between layers, constant beyond."""
    k = len(layers)
    if k == 1 or y <= layers[0]:
        return flow[0, c]
    if y >= layers[k - 1]:
        return flow[k - 1, c]
    m = np.searchsorted(layers, y) - 1
    s = (y - layers[m]) / (layers[m + 1] - layers[m])
    return flow[m, c] + s * (flow[m + 1, c] - flow[m, c])


@numba.njit(cache=True, error_model="numpy")
def _run(x, edge, tables, D, free, held, path, layers, flow, h, substeps, open_steps, rng, instant, average,
         series):  # type: ignore[no-untyped-def]
    n, dim = x.shape
    f, g, trial, listed = np.zeros((n, dim)), np.zeros((n, dim)), x.copy(), x.copy()
    cutoff = tables.cutoff
    kick = math.sqrt(2.0 * D.max() * h)
    skin = min(0.3 * cutoff, 1.0) + 12.0 * kick
    first, second = np.empty(0, np.int64), np.empty(0, np.int64)
    of_held = np.empty(0, np.int64)
    fresh, work, heat, before = True, 0.0, 0.0, 0.0
    for frame in range(len(instant)):
        for q in range(substeps):
            moved = 0.0
            for i in range(n):
                r2 = 0.0
                for c in range(dim):
                    r2 += (x[i, c] - listed[i, c]) ** 2
                moved = max(moved, r2)
            if fresh or not math.sqrt(moved) < 0.5 * skin - 5.0 * kick:
                first, second = close_pairs(x, edge, cutoff + skin)
                listed[:] = x
                count = 0
                of_held = np.empty(len(first), np.int64)
                for p in range(len(first)):
                    if not (free[first[p]] and free[second[p]]):
                        of_held[count] = p
                        count += 1
                of_held = of_held[:count]
                if fresh:
                    before = _forces(x, first, second, edge, tables, f)
                fresh = False
            if q == 0:
                instant[frame] = x
                series[frame, 0] = _forces(x, first, second, edge, tables, f)
                series[frame, 1], series[frame, 2] = work, heat
            if open_steps == 0 and q == 0:
                average[frame] = x
            elif q < open_steps:
                average[frame] += x / open_steps
            # the held particles move: work
            old = _held_energy(x, first, second, of_held, edge, tables)
            s = (q + 1) / substeps
            for m in range(len(held)):
                for c in range(dim):
                    x[held[m], c] = path[frame, m, c] + s * (path[frame + 1, m, c] - path[frame, m, c])
            put = _held_energy(x, first, second, of_held, edge, tables) - old
            work += put
            before += put
            # the free ones move: heat
            _forces(x, first, second, edge, tables, f)
            trial[:] = x
            for i in range(n):
                if free[i]:
                    for c in range(dim):
                        u = _flow_at(x[i, 0], layers, flow[frame], c)
                        x[i, c] += math.sqrt(2.0 * D[i] * h) * rng.standard_normal() + u * h
                        trial[i, c] = x[i, c] + D[i] * h * f[i, c]
            _forces(trial, first, second, edge, tables, g)
            for i in range(n):
                if free[i]:
                    for c in range(dim):
                        x[i, c] += 0.5 * D[i] * h * (f[i, c] + g[i, c])
            after = _forces(x, first, second, edge, tables, g)
            heat += before - after
            before = after
        if not np.isfinite(x[n - 1, 0]):
            instant[:] = np.nan
            return
