"""Windows of k frames: what the motion in each says about forces and friction, linear in the parameters of the terms.

Over a window of length T = k dt, with the model m dv = F dt - Γ v dt + noise, and positions and velocities of all its
frames known,

    R = m (v_end - v_start) - ∫ F dt + ∫ Γ v dt,      R ~ Normal(0, C),      C = 2 kT ∫ Γ dt.

Both integrals run along the observed path (trapezoids over its frames), so R is linear in the parameters of energies
and frictions: R = impulse - pushes·θ + drags·φ. Why windows, and not steps of one frame: noise of real particles has a
memory, and over times shorter than that memory its variance does not yet grow as 2 kT Γ t. From frame to frame a star
polymer shows a quarter of its friction (`vid2dyn.fitting.particles.plateau`).

Covariances are those of the friction at up to three moments of the window (Simpson), pairs searched anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit

from vid2dyn.dynamics.terms.base import Configuration, Energy, Friction, PairColumns
from vid2dyn.inference.pair_matrix import PairMatrix
from vid2dyn.inference.steps import FluidSteps


@dataclass(frozen=True, eq=False)
class Terms:
    """Settled terms in the order of their parameters: energies first.

    Parameters
    ----------
    energies, frictions : tuples
    mass : (species,) array
    """

    energies: tuple[Energy, ...]
    frictions: tuple[Friction, ...]
    mass: np.ndarray

    @property
    def reach(self) -> float:
        """Longest range of any term [µm]."""
        return max((t.reach for t in (*self.energies, *self.frictions)), default=0.0)

    @property
    def friction_reach(self) -> float:
        """Longest range of the frictions [µm]."""
        return max((t.reach for t in self.frictions), default=0.0)

    @property
    def of_energies(self) -> int:
        """Parameters of the energies."""
        return sum(t.count for t in self.energies)

    @property
    def of_frictions(self) -> int:
        """Parameters of the frictions."""
        return sum(t.count for t in self.frictions)

    def slices(self) -> tuple[tuple[Energy | Friction, slice], ...]:
        """Every term with the place of its parameters in the vector of all."""
        found: list[tuple[Energy | Friction, slice]] = []
        at = 0
        terms: tuple[Energy | Friction, ...] = (*self.energies, *self.frictions)
        for term in terms:
            found.append((term, slice(at, at + term.count)))
            at += term.count
        return tuple(found)


@dataclass(frozen=True, eq=False)
class Window:
    """One window: its place and the slopes of its R.

    Parameters
    ----------
    recording, start, frames : int
        Which recording, first frame and number of steps k.
    impulse : (n, dim) array
        m (v_end - v_start).
    columns : (parameters, n, dim) array
        Slopes of R: minus the pushes of the energies, then the drags of the frictions.
    stiffness : (parameters of energies,) array
        Slopes of tr M⁻¹ K, K the second derivative of the energy in the middle of the window [1/s² per unit].
    """

    recording: int
    start: int
    frames: int
    impulse: np.ndarray
    columns: np.ndarray
    stiffness: np.ndarray


def configuration(data: FluidSteps, frame: int, reach: float, kinds_among: int) -> Configuration:
    """One frame of a recording with its pairs."""
    box = data.box.after((data.first_frame + frame) * data.dt)
    return Configuration.of(np.ascontiguousarray(data.position[frame]), box, reach, data.species,
                            kinds_among=kinds_among, names=data.names)


def window(data: FluidSteps, recording: int, start: int, frames: int, terms: Terms) -> Window:
    """The window of `frames` steps from frame `start` on."""
    mass = terms.mass[data.species][:, None]
    impulse = mass * (data.velocity[start + frames] - data.velocity[start])
    columns = np.zeros((terms.of_energies + terms.of_frictions, data.n, data.dim))
    for step in range(frames + 1):
        weight = data.dt * (0.5 if step in (0, frames) else 1.0)
        at = configuration(data, start + step, terms.reach, len(terms.mass))
        v = data.velocity[start + step]
        first = 0
        for energy in terms.energies:
            columns[first:first + energy.count] -= weight * energy.force_slopes(at)
            first += energy.count
        w = at.box.relative_velocity(at.position[at.first], at.position[at.second], v[at.first], v[at.second])
        for friction in terms.frictions:
            add_drags(friction, at, v, w, weight, columns[first:first + friction.count])
            first += friction.count
    return Window(recording, start, frames, impulse, columns, stiffness(data, start + frames // 2, terms))


def stiffness(data: FluidSteps, frame: int, terms: Terms) -> np.ndarray:
    """Slopes of tr M⁻¹ K at a frame in the parameters of the energies."""
    if not terms.energies:
        return np.zeros(0)
    at = configuration(data, frame, max(energy.reach for energy in terms.energies), len(terms.mass))
    inverse = 1.0 / terms.mass[data.species]
    return np.concatenate([energy.stiffness_slopes(at, inverse) for energy in terms.energies])


def add_drags(friction: Friction, at: Configuration, v: np.ndarray, w: np.ndarray, weight: float,
              out: np.ndarray) -> None:
    """out[k] += weight times the k-th drag, Γ_k v; w: relative velocities of the pairs; out (count, n, dim)."""
    pairs = friction.pair_columns(at)
    if pairs is not None:
        _pair_drags(at.first, at.second, at.e, pairs.which, pairs.across, pairs.along, w, weight, out)
    nodes = friction.node_columns(at)
    if nodes is not None:
        for m in range(nodes.which.shape[1]):
            np.add.at(out, (nodes.which[:, m], np.arange(at.n)), weight * nodes.drag[:, m, None] * v)


@njit(cache=True)
def _pair_drags(first, second, e, which, across, along, w, weight, out):  # type: ignore[no-untyped-def]
    dim = e.shape[1]
    for p in range(first.shape[0]):
        i, j = first[p], second[p]
        line = 0.0
        for c in range(dim):
            line += e[p, c] * w[p, c]
        for m in range(which.shape[1]):
            k, a, b = which[p, m], weight * across[p, m], weight * along[p, m]
            if a == 0.0 and b == 0.0:
                continue
            for c in range(dim):
                t = a * w[p, c] + (b - a) * line * e[p, c]
                out[k, i, c] += t
                out[k, j, c] -= t


@dataclass(frozen=True, eq=False)
class Mixing:
    """Friction of a window as it enters the covariance: ∫ Γ dt = sum over parameters, see `PairMatrix`.

    Parameters
    ----------
    first, second, e
        Pairs of all moments, one after the other.
    columns : PairColumns
        Of all frictions together, times the weight of the moment [s].
    node_which, node_drag : (n, m) arrays
        Drags of the particles, times T.
    moments : tuple of int
        Where the pairs of each moment end.
    """

    first: np.ndarray
    second: np.ndarray
    e: np.ndarray
    columns: PairColumns
    node_which: np.ndarray
    node_drag: np.ndarray
    length: float

    def matrix(self, phi: np.ndarray, extra: float = 0.0) -> PairMatrix:
        """∫ Γ dt at amplitudes phi, plus `extra` on every particle."""
        across, along = _coefficients(self.columns.which, self.columns.across, self.columns.along, phi)
        node = np.full(len(self.node_which), extra)
        if self.node_which.shape[1]:
            node = node + (self.node_drag * phi[self.node_which]).sum(axis=1)
        return PairMatrix(self.first, self.second, self.e, across, along, node)

    def slopes(self, on_pairs: np.ndarray, on_nodes: np.ndarray, count: int) -> np.ndarray:
        """Slopes in the amplitudes of something whose slopes in across and along are `on_pairs` (2, pairs), in node
        `on_nodes` (n,)."""
        out = np.zeros(count)
        _gather(self.columns.which, self.columns.across, self.columns.along, on_pairs, out)
        if self.node_which.shape[1]:
            np.add.at(out, self.node_which, self.node_drag * on_nodes[:, None])
        return out

    def part(self, x: np.ndarray, count: int) -> np.ndarray:
        """∂(∫ Γ dt)/∂φ_k x for every amplitude, (count, n, dim)."""
        out = np.zeros((count, *x.shape))
        w = x[self.first] - x[self.second]
        columns = self.columns
        _pair_drags(self.first, self.second, self.e, columns.which, columns.across, columns.along, w, 1.0, out)
        for m in range(self.node_which.shape[1]):
            np.add.at(out, (self.node_which[:, m], np.arange(len(x))), self.node_drag[:, m, None] * x)
        return out


@njit(cache=True)
def _coefficients(which, across, along, phi):  # type: ignore[no-untyped-def]
    a, b = np.zeros(which.shape[0]), np.zeros(which.shape[0])
    for p in range(which.shape[0]):
        for m in range(which.shape[1]):
            a[p] += across[p, m] * phi[which[p, m]]
            b[p] += along[p, m] * phi[which[p, m]]
    return a, b


@njit(cache=True)
def _gather(which, across, along, on_pairs, out):  # type: ignore[no-untyped-def]
    for p in range(which.shape[0]):
        for m in range(which.shape[1]):
            out[which[p, m]] += across[p, m] * on_pairs[0, p] + along[p, m] * on_pairs[1, p]


def mixing(data: FluidSteps, start: int, frames: int, terms: Terms, *, single: bool = False) -> Mixing:
    """Friction over a window by Simpson's rule; `single`: at its middle alone."""
    length = frames * data.dt
    if single or frames < 2:
        places = [(start + frames // 2, 1.0)]
    else:
        places = [(start, 1 / 6), (start + frames // 2, 4 / 6), (start + frames, 1 / 6)]
    return mixed([configuration(data, frame, terms.friction_reach, len(terms.mass)) for frame, _ in places],
                 [length * share for _, share in places], terms)


def mixed(configurations: Sequence[Configuration], weights: Sequence[float], terms: Terms) -> Mixing:
    """Friction at some moments, with their weights [s]."""
    which: list[np.ndarray] = []
    across: list[np.ndarray] = []
    along: list[np.ndarray] = []
    ends, node_which, node_drag = [], [], []
    for at, weight in zip(configurations, weights, strict=True):
        parts, first = [], 0
        for friction in terms.frictions:
            columns = friction.pair_columns(at)
            if columns is not None:
                parts.append((columns.which + first, weight * columns.across, weight * columns.along))
            nodes = friction.node_columns(at)
            if nodes is not None:
                node_which.append(nodes.which + first)
                node_drag.append(weight * nodes.drag)
            first += friction.count
        if parts:
            for out, part in zip((which, across, along), zip(*parts, strict=True), strict=True):
                out.append(np.concatenate(part, axis=1))
            ends.append((at.first, at.second, at.e))
    n, dim = configurations[0].n, configurations[0].dim
    if not ends:
        ends = [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, dim)))]
        which, across, along = [np.empty((0, 0), np.int64)], [np.empty((0, 0))], [np.empty((0, 0))]
    empty = np.empty((n, 0))
    first_ends, second_ends, lines = (np.concatenate(part) for part in zip(*ends, strict=True))
    return Mixing(first_ends, second_ends, lines,
                  PairColumns(*(np.concatenate(part) for part in (which, across, along))),
                  np.concatenate(node_which, axis=1) if node_which else empty.astype(np.int64),
                  np.concatenate(node_drag, axis=1) if node_drag else empty, float(sum(weights)))
