"""Brownian particles of which some are moved by hand: the compiled loop, with work, heat and energy.

    R v = F(x) + γ u(y, t) + ξ   (free),      x(t) prescribed   (held)

R is the friction of `node_and_pair_friction`: γ of every particle against a fluid of velocity u, linear in y between
layers and constant from frame to frame, and that of pairs, which free particles also have with held ones. Held
particles go in straight lines from frame to frame. With random forces ξ that stay the same in a step,

    x* = x + h v(x),      x' = x + h [v(x) + v(x*)]/2,

which supplies the drift kT div R⁻¹ of friction that depends on positions (Fixman, J. Chem. Phys. 69, 1527, 1978:
<v(x*)> has the term h d_k M_ij <v_k ξ_j> = 2 kT d_k M_ik, M = R⁻¹), and without pair friction is the stochastic Heun
scheme of `rollout.brownian`.

Energy is kept step by step (Sekimoto, Stochastic Energetics, 2010, §4; Jarzynski, Phys. Rev. Lett. 78, 2690, 1997).
When the held particles are moved, with the free ones in place, the energy U changes by work; when the free ones
move, it falls by what friction takes from it. Held particles also work against the friction with free ones, and a
moving fluid works on the particles that it carries; both become heat at once. So U(t) - U(0) = W - Q, whatever the
step. Work is summed over the pairs of held particles alone and heat over steps, so that U found anew at the end
checks both.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numba
import numpy as np

from vid2dyn.core.compiled_arrays import copy_rows
from vid2dyn.core.errors import ModelError
from vid2dyn.core.neighbours import close_pairs
from vid2dyn.data.box import Box
from vid2dyn.dynamics.brownian import pair_kinds, species_count
from vid2dyn.rollout.brownian import FrozenBrownian
from vid2dyn.rollout.node_and_pair_friction import (
    FrozenFriction,
    add_friction_of_pairs,
    contacts_of,
    draw_noise,
    friction_tables,
    solve_velocities,
)

RELAXED = 0.15
"""Largest part of its relaxation that a step may be, for 99 of 100 pairs."""
STIFFEST = 0.6
"""The same for the stiffest pair."""
MOST = 1000
"""Most steps a frame."""


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
    work put in and heat given off since the start (frames,) [kT], with the part of the work that the moving fluid
    does."""

    instant: np.ndarray
    average: np.ndarray
    energy: np.ndarray
    work: np.ndarray
    heat: np.ndarray
    flow_work: np.ndarray


class _Tables(NamedTuple):
    """Force and energy of every kind of pairs at even distances up to the cutoff; species of the particles."""

    force: np.ndarray
    energy: np.ndarray
    cutoff: float
    species: np.ndarray
    kinds: np.ndarray


def driven_paths(frozen: FrozenBrownian, start: np.ndarray, box: Box, dt: float, exposure: float,
                 prescribed: Prescribed, rng: np.random.Generator, substeps: int | None = None,
                 friction: FrozenFriction | None = None) -> DrivenPaths:
    """Run Brownian particles beside held ones.

    Parameters
    ----------
    frozen : FrozenBrownian
        D, which sets the length of steps, and pair forces.
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
        Steps a frame; default: `_substeps`.
    friction : FrozenFriction, optional
        Of particles and pairs; default: kT/D of every particle.

    Raises
    ------
    ModelError
        If positions stop being finite.
    """
    x = np.ascontiguousarray(start, dtype=float).copy()
    frames, dim = len(prescribed.path) - 1, x.shape[1]
    friction = friction or FrozenFriction.of_nodes(frozen.diffusion)
    edge = np.zeros(dim) if box.lengths is None else np.asarray(box.lengths, dtype=float)
    substeps = substeps or _substeps(frozen, friction, dt, exposure, x, edge)
    open_steps = 0 if exposure == 0 else max(1, round(exposure / dt * substeps))
    force = np.atleast_2d(frozen.force)
    width = frozen.cutoff / (force.shape[1] - 1) if frozen.cutoff > 0 else 1.0
    # the integral of the linear interpolation of the force, from the cutoff inwards: exactly its energy
    parts = 0.5 * (force[:, 1:] + force[:, :-1]) * width
    energy = np.concatenate([np.cumsum(parts[:, ::-1], axis=1)[:, ::-1], np.zeros((len(force), 1))], axis=1)
    species = np.zeros(len(x), np.int64) if frozen.species is None else frozen.species
    tables = _Tables(force, energy, float(frozen.cutoff), species, pair_kinds(max(1, species_count(len(force)))))
    free = np.ones(len(x), np.bool_)
    free[prescribed.held] = False
    flow = prescribed.flow if len(prescribed.layers) else np.zeros((frames, 1, dim))
    layers = prescribed.layers if len(prescribed.layers) else np.zeros(1)
    resistance = friction_tables(friction, free)
    out = np.zeros((frames, *x.shape)), np.zeros((frames, *x.shape)), np.zeros((frames, 4))
    kick = math.sqrt(2.0 * float(np.max(frozen.diffusion)) * dt / substeps)
    if not _run(x, edge, tables, resistance, np.ascontiguousarray(prescribed.held, dtype=np.int64),
                np.ascontiguousarray(prescribed.path, dtype=float), layers, np.ascontiguousarray(flow), dt / substeps,
                substeps, open_steps, kick, int(rng.integers(2**62)), *out):
        raise ModelError("The rollout stopped: its velocities are not determined by the friction (a pair friction "
                         "that exceeds that of particles by more than 10 orders, or numbers that are not finite).")
    if not np.isfinite(out[0][-1]).all():
        raise ModelError(f"The rollout left the numbers: forces too stiff for {substeps} steps a frame, or held "
                         "particles that start on top of others. Check the first frame, or ask for more substeps.")
    return DrivenPaths(out[0], out[1], *out[2].T)


def _substeps(frozen: FrozenBrownian, friction: FrozenFriction, dt: float, exposure: float, x: np.ndarray,
              edge: np.ndarray) -> int:
    """Steps a frame so that h times the relaxation of pairs at the start `x` stays small.

    Two particles at r come back at the rate k(r) m(r), k the stiffness of the pair and m its mobility along their
    line: that of two in their cages, 2 D, or what their own friction leaves, 1/(c(r) + γ/2), whichever is less. With a
    relaxation y in a step the stationary variance of Heun's scheme is right within y²/4: for 99 of 100 pairs that is
    below 0.6 %, and the scheme is stable up to y = 2.
    """
    if friction.cutoff == 0 or frozen.cutoff == 0:
        return frozen.substeps(dt, exposure)
    force = np.atleast_2d(frozen.force)
    first, second = close_pairs(x, edge, frozen.cutoff)
    d = x[first] - x[second]
    d -= np.where(edge > 0, edge, 0.0) * np.round(d / np.where(edge > 0, edge, 1.0))
    r = np.sqrt((d**2).sum(axis=1))
    species = np.zeros(len(x), np.int64) if frozen.species is None else frozen.species
    kind = pair_kinds(max(1, species_count(len(force))))[species[first], species[second]]
    width = frozen.cutoff / (force.shape[1] - 1)
    at = np.minimum((r / width).astype(np.int64), force.shape[1] - 2)
    stiffness = np.abs(force[kind, at + 1] - force[kind, at]) / width
    c = np.interp(r, np.linspace(0.0, friction.cutoff, len(friction.pair)), friction.pair)
    rate = stiffness * np.minimum(2 * float(np.max(frozen.diffusion)), 1 / (c + 0.5 * float(np.min(friction.node))))
    near = rate[r < friction.cutoff]
    if not len(near):
        return frozen.substeps(dt, exposure)
    needed = math.ceil(dt * max(float(np.quantile(near, 0.99)) / RELAXED, float(near.max()) / STIFFEST))
    return int(min(max(needed, 8 if exposure > 0 else 2), MOST))


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
def _run(x, edge, tables, resistance, held, path, layers, flow, h, substeps, open_steps, kick, seed, instant, average,
         series):  # type: ignore[no-untyped-def]
    """Steps of length h; `kick`: typical random step of a particle [µm]. False if velocities were not found."""
    n, dim = x.shape
    f, v, w, trial, listed = np.zeros((n, dim)), np.zeros((n, dim)), np.zeros((n, dim)), x.copy(), x.copy()
    of_fluid, of_pairs = np.zeros((n, dim)), np.zeros((n, dim))
    of_friction, right = np.zeros((n, dim)), np.zeros((n, dim))
    carried, push = np.zeros((n, dim)), np.zeros((n, dim))
    free, reach = resistance.free, max(tables.cutoff, resistance.cutoff)
    skin = min(0.3 * reach, 1.0) + 12.0 * kick
    first, second = np.empty(0, np.int64), np.empty(0, np.int64)
    of_held = np.empty(0, np.int64)
    fresh, work, heat, before, by_flow = True, 0.0, 0.0, 0.0, 0.0
    for frame in range(len(instant)):
        for q in range(substeps):
            moved = 0.0
            for i in range(n):
                r2 = 0.0
                for c in range(dim):
                    r2 += (x[i, c] - listed[i, c]) ** 2
                moved = max(moved, r2)
            if fresh or not math.sqrt(moved) < 0.5 * skin - 5.0 * kick:
                first, second = close_pairs(x, edge, reach + skin)
                copy_rows(x, listed)
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
                copy_rows(x, instant[frame])
                series[frame, 0] = _forces(x, first, second, edge, tables, f)
                series[frame, 1], series[frame, 2], series[frame, 3] = work, heat, by_flow
            if open_steps == 0 and q == 0:
                copy_rows(x, average[frame])
            elif q < open_steps:
                for i in range(n):
                    for c in range(dim):
                        average[frame, i, c] += x[i, c] / open_steps
            # the held particles move: work
            old = _held_energy(x, first, second, of_held, edge, tables)
            s = (q + 1) / substeps
            for m in range(len(held)):
                for c in range(dim):
                    v[held[m], c] = (path[frame + 1, m, c] - path[frame, m, c]) / (substeps * h)
                    w[held[m], c] = v[held[m], c]
                    x[held[m], c] = path[frame, m, c] + s * (path[frame + 1, m, c] - path[frame, m, c])
            put = _held_energy(x, first, second, of_held, edge, tables) - old
            before += put
            # the free ones move: heat
            contacts = contacts_of(x, first, second, edge, resistance)
            draw_noise(contacts, resistance, seed, frame * substeps + q, h, of_pairs, of_fluid)
            for i in range(n):
                if free[i]:
                    for c in range(dim):
                        carried[i, c] = _flow_at(x[i, 0], layers, flow[frame], c)
                        push[i, c] = of_fluid[i, c] + of_pairs[i, c] + resistance.node[i] * carried[i, c]
            _forces(x, first, second, edge, tables, f)
            for i in range(n):
                for c in range(dim):
                    right[i, c] = f[i, c] + push[i, c]
            if solve_velocities(right, contacts, resistance, v) < 0:
                return False
            of_friction[:] = 0.0
            add_friction_of_pairs(v, contacts, 0.5, of_friction)
            for i in range(n):
                for c in range(dim):
                    trial[i, c] = x[i, c] + h * v[i, c] if free[i] else x[i, c]
            contacts = contacts_of(trial, first, second, edge, resistance)
            _forces(trial, first, second, edge, tables, f)
            for i in range(n):
                for c in range(dim):
                    right[i, c] = f[i, c] + push[i, c]
                    w[i, c] = v[i, c]
            if solve_velocities(right, contacts, resistance, w) < 0:
                return False
            add_friction_of_pairs(w, contacts, 0.5, of_friction)
            by_friction = carry = 0.0
            for i in range(n):
                for c in range(dim):
                    mean = 0.5 * (v[i, c] + w[i, c])
                    if free[i]:
                        carry -= h * (resistance.node[i] * (mean - carried[i, c]) - of_fluid[i, c]) * carried[i, c]
                        x[i, c] += h * mean
                    else:
                        by_friction += h * (of_friction[i, c] - of_pairs[i, c]) * mean
            after = _forces(x, first, second, edge, tables, f)
            by_flow += carry
            work += put + by_friction + carry
            heat += before - after + by_friction + carry
            before = after
        if not np.isfinite(x[n - 1, 0]):
            instant[:] = np.nan
            return True
    return True
