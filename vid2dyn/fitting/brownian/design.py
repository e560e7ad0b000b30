"""From positions to the linear equations of the force.

The force on particle i is linear in the unknowns c: ``F_i = sum_a c_a g_a,i``. For a spline pair potential
``g_a,i = -sum_j B_a'(r_ij) e_ij`` and ``∇_i·g_a,i = -sum_j [B_a'' + (dim - 1) B_a'/r]``; for a trap
``g = -(x - x0)`` and constants. `Field` evaluates them; `ForceMoments` holds

    A_ab = sum_i w_i g_a,i · g_b,i,      b_a = -sum_i [w_i ∇_i·g_a,i + ∇w_i · g_a,i]

in blocks of time. At equilibrium (p ~ exp(-U)) integration by parts gives A c = b: score matching (Hyvärinen,
J. Mach. Learn. Res. 6, 695, 2005), with the smooth weight w of `Recording`. It holds for any frame rate.

The path likelihood (Girsanov) of continuously watched particles leads to the same A and to b + J, where
``J_a = sum_steps (g_a(before) + g_a(after))/2 · Δx / (D dt)`` is the Stratonovich current: Itô's integral is
Stratonovich's minus D dt ∇·g. At equilibrium J has mean zero, so score matching is the likelihood without a term
that is pure noise there; J measures departure from equilibrium.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numba
import numpy as np

from vid2dyn.dynamics.brownian import pair_kinds, species_count
from vid2dyn.dynamics.snapshot import neighbour_pairs
from vid2dyn.dynamics.terms.splines import RadialSpline
from vid2dyn.fitting.brownian.recording import Recording

CHUNK = 20_000
"""Detections worked on at once; bounds memory."""


@dataclass(frozen=True)
class Field:
    """Which force functions are fitted.

    Parameters
    ----------
    spline : RadialSpline or None
        Basis of the pair potential; of a mixture that of the first pair of species.
    trap : {"none", "shared", "each"}
    origin : (dim,) array
        Where the shared trap's displacement is counted from [µm].
    others : tuple of RadialSpline
        Of a mixture: the bases of the other pairs of species, in the order of `species_pairs`.
    """

    spline: RadialSpline | None
    trap: Literal["none", "shared", "each"]
    origin: np.ndarray
    others: tuple[RadialSpline, ...] = ()

    @property
    def splines(self) -> tuple[RadialSpline, ...]:
        """The basis of every pair of species."""
        return () if self.spline is None else (self.spline, *self.others)

    @property
    def reach(self) -> float:
        """Longest range of the pair forces [µm]."""
        return max((spline.cutoff for spline in self.splines), default=0.0)

    @property
    def knots(self) -> int:
        """Number of spline coefficients."""
        return sum(spline.knots for spline in self.splines)

    def part(self, kind: int) -> slice:
        """Which of the unknowns are the coefficients of a pair of species."""
        first = sum(spline.knots for spline in self.splines[:kind])
        return slice(first, first + self.splines[kind].knots)

    @property
    def size(self) -> int:
        """Number of unknowns: spline coefficients, then trap stiffness, then (shared) stiffness × centre."""
        return self.knots + {"none": 0, "shared": 1 + len(self.origin), "each": 1}[self.trap]

    def penalty(self) -> np.ndarray:
        """(size, size) roughness of the pair potentials; traps are not penalised."""
        out = np.zeros((self.size, self.size))
        for kind, spline in enumerate(self.splines):
            out[self.part(kind), self.part(kind)] = spline.roughness()
        return out

    def evaluate(self, recording: Recording, rows: np.ndarray,
                 pairs: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """g (rows, dim, size) and ∇·g (rows, size); `rows` must hold whole frames.

        `pairs` may hold more pairs than are close enough, if they are known already.
        """
        x = recording.position[rows]
        dim = x.shape[1]
        g, div = np.zeros((len(rows), dim, self.size)), np.zeros((len(rows), self.size))
        knots = self.knots
        if self.splines:
            if pairs is None:
                pairs = neighbour_pairs(x, self.reach, recording.box, recording.frame[rows])
            edge = np.zeros(dim) if recording.box.lengths is None else np.asarray(recording.box.lengths)
            x_in_order = np.ascontiguousarray(x)
            kinds = kinds_of_pairs(recording, rows, pairs, len(self.splines)) if self.others else None
            for kind, spline in enumerate(self.splines):
                some = pairs if kinds is None else pairs[kinds == kind]
                _pair_field(x_in_order, some, edge, spline.inner, spline.cutoff, spline.knots, spline.stretch, g, div,
                            self.part(kind).start)
        if self.trap != "none":
            g[:, :, knots] = -(x - self.origin)
            div[:, knots] = -dim
        if self.trap == "shared":
            g[:, np.arange(dim), knots + 1 + np.arange(dim)] = 1.0
        return g, div


@dataclass(frozen=True, eq=False)
class ForceMoments:
    """A and b of the module docstring in blocks of time: (blocks, size, size) and (blocks, size)."""

    a: np.ndarray
    b: np.ndarray

    @property
    def A(self) -> np.ndarray:
        return self.a.sum(axis=0)

    @property
    def B(self) -> np.ndarray:
        return self.b.sum(axis=0)


def moments(recording: Recording, field: Field, *, diffusion: float | np.ndarray | None = None,
            blocks: int = 10) -> ForceMoments:
    """A and b of a recording; with `diffusion` [µm²/s] b includes the current J (data away from equilibrium)."""
    return mean_moments([recording], field, diffusion=diffusion, blocks=blocks)


def mean_moments(takes: list[Recording], field: Field, *, diffusion: float | np.ndarray | None = None,
                 blocks: int = 10) -> ForceMoments:
    """A and b averaged over takes: the same detections, each time with other noise added to the positions.

    `diffusion` [µm²/s]: of all particles, or (species,) of each species.
    """
    if field.trap == "each":
        parts = [_centred_moments(take, field, blocks) for take in takes]
        return ForceMoments(np.mean([m.a for m in parts], axis=0), np.mean([m.b for m in parts], axis=0))
    a, b = [], []
    for block in takes[0].blocks(blocks):
        A, B = np.zeros((field.size, field.size)), np.zeros(field.size)
        for rows in chunks(takes[0], block):
            pairs = _common_pairs(takes, rows, field)
            for take in takes:
                g, div = field.evaluate(take, rows, pairs)
                w = take.weight[rows]
                A += (g * w[:, None, None]).reshape(-1, field.size).T @ g.reshape(-1, field.size)
                B -= w @ div + np.einsum("nd,nda->a", take.weight_slope[rows], g)
                if diffusion is not None:
                    B += _current(take, rows, g, diffusion)
        a.append(A / len(takes))
        b.append(B / len(takes))
    return ForceMoments(np.array(a), np.array(b))


@dataclass(frozen=True, eq=False)
class SyntheticMoments:
    """Sums over several recordings of one simulation, the last of which has the true positions.

    `first`: moments of the first recording in blocks of time; `b`[k] of each, and `cross`[k] = sum
    g(recordings[k])·g(recordings[-1]).
    """

    first: ForceMoments
    b: list[np.ndarray]
    cross: list[np.ndarray]


def synthetic_moments(recordings: list[Recording], field: Field, blocks: int = 10) -> SyntheticMoments:
    """Moments of several recordings of the same fully seen detections, the last being the true positions.

    All weights are one. Traps of their own need whole tracks: then there is one block.
    """
    size = field.size
    b = [np.zeros(size) for _ in recordings]
    cross = [np.zeros((size, size)) for _ in recordings]
    parts = []
    for block in recordings[0].blocks(1 if field.trap == "each" else blocks):
        A, before = np.zeros((size, size)), b[0].copy()
        whole = [block] if field.trap == "each" else chunks(recordings[0], block)
        for rows in whole:
            pairs = _common_pairs(recordings, rows, field)
            true, true_div = field.evaluate(recordings[-1], rows, pairs)
            if field.trap == "each":
                true = _centre(true, recordings[-1].track[rows])
            true = true.reshape(-1, size)
            for k, recording in enumerate(recordings):
                if k == len(recordings) - 1:
                    g, div = true, true_div
                else:
                    g, div = field.evaluate(recording, rows, pairs)
                    if field.trap == "each":
                        g = _centre(g, recording.track[rows])
                    g = g.reshape(-1, size)
                if k == 0:
                    A += g.T @ g
                b[k] -= div.sum(axis=0)
                cross[k] += g.T @ true
        parts.append((A, b[0] - before))
    first = ForceMoments(np.array([A for A, _ in parts]), np.array([one for _, one in parts]))
    return SyntheticMoments(first, b, cross)


def _common_pairs(recordings: list[Recording], rows: np.ndarray, field: Field) -> np.ndarray | None:
    """Pairs that are close in any of the recordings, found once: the recordings differ by noise only."""
    if not field.splines:
        return None
    true = recordings[-1].position[rows]
    apart = max((float(np.sqrt(((one.position[rows] - true) ** 2).sum(axis=1).max())) for one in recordings[:-1]),
                default=0.0)
    reach = field.reach + 2 * apart
    if recordings[-1].box.lengths is not None and reach > 0.5 * min(recordings[-1].box.lengths):
        return None
    return neighbour_pairs(true, reach, recordings[-1].box, recordings[-1].frame[rows])


def kinds_of_pairs(recording: Recording, rows: np.ndarray, pairs: np.ndarray, count: int) -> np.ndarray:
    """(pairs,) place of each pair among the `count` `species_pairs`; `pairs` number the `rows`."""
    assert recording.species is not None
    species = recording.species[rows]
    return pair_kinds(species_count(count))[species[pairs[:, 0]], species[pairs[:, 1]]]


def chunks(recording: Recording, block: np.ndarray) -> Iterator[np.ndarray]:
    """Pieces of a block that hold whole frames, about CHUNK detections each."""
    order = block[np.argsort(recording.frame[block], kind="stable")]
    frames, first = np.unique(recording.frame[order], return_index=True)
    every = max(1, int(CHUNK * frames.size / max(1, order.size)))
    for rows in np.split(order, first[every::every]):
        yield np.sort(rows)


def _current(recording: Recording, rows: np.ndarray, g: np.ndarray, diffusion: float | np.ndarray) -> np.ndarray:
    """Stratonovich sum of g · Δx/(D dt) over the steps that lie within a chunk (the few across chunks are left out)."""
    place = np.full(len(recording.position) + 1, -1)
    place[rows] = np.arange(len(rows))
    i, j = place[recording.steps], place[recording.steps + 1]
    inside = (i >= 0) & (j >= 0)
    i, j = i[inside], j[inside]
    dx = recording.box.displacement(recording.position[rows[j]], recording.position[rows[i]])
    w = 0.5 * (recording.weight[rows[i]] + recording.weight[rows[j]])
    if np.ndim(diffusion) and recording.species is not None:
        w = w / np.asarray(diffusion)[recording.species[rows[i]]]
        diffusion = 1.0
    return np.einsum("nda,nd->a", 0.5 * (g[i] + g[j]), dx * w[:, None]) / (diffusion * recording.dt)


def _centre(g: np.ndarray, track: np.ndarray) -> np.ndarray:
    """g minus its mean over each track: profiles out one unknown constant force, i.e. centre, per track."""
    names, which = np.unique(track, return_inverse=True)
    count = np.bincount(which, minlength=names.size)
    mean = np.zeros((names.size, *g.shape[1:]))
    np.add.at(mean, which, g)
    return g - (mean / count[:, None, None])[which]


def _centred_moments(recording: Recording, field: Field, blocks: int) -> ForceMoments:
    """Moments with one unknown trap centre per track; blocks are groups of tracks, since a centre spans all times."""
    everything = np.concatenate([np.sort(b) for b in recording.blocks(1)])
    g, div = field.evaluate(recording, everything)
    linked = recording.track[everything] >= 0
    g, div, track = _centre(g[linked], recording.track[everything][linked]), div[linked], \
        recording.track[everything][linked]
    part = (np.unique(track, return_inverse=True)[1]) % min(blocks, np.unique(track).size)
    groups = [part == k for k in range(part.max() + 1)]
    return ForceMoments(np.array([np.einsum("nda,ndb->ab", g[k], g[k], optimize=True) for k in groups]),
                   np.array([-div[k].sum(axis=0) for k in groups]))


@numba.njit(cache=True, nogil=True)
def _pair_field(x, pairs, edge, inner, cutoff, knots, stretch, g, div, at):  # type: ignore[no-untyped-def]
    """Adds the pair part of g and ∇·g, from column `at` on; the same splines as `RadialSpline`, pair by pair."""
    dim = x.shape[1]
    e = np.zeros(dim)
    span = inner**-stretch - cutoff**-stretch if stretch > 0.0 else cutoff - inner
    for p in range(pairs.shape[0]):
        i, j = pairs[p, 0], pairs[p, 1]
        r2 = 0.0
        for c in range(dim):
            t = x[i, c] - x[j, c]
            if edge[c] > 0.0:
                t -= edge[c] * math.floor(t / edge[c] + 0.5)
            e[c] = t
            r2 += t * t
        r = math.sqrt(r2)
        if r >= cutoff or r == 0.0:
            continue
        outside = max(r, inner)
        if stretch > 0.0:
            u = (inner**-stretch - outside**-stretch) / span
            du = stretch * outside ** (-stretch - 1) / span
            ddu = -stretch * (stretch + 1) * outside ** (-stretch - 2) / span
        else:
            u, du, ddu = (outside - inner) / span, 1.0 / span, 0.0
        s = u * knots
        k = min(int(s), knots - 1)
        w = s - k
        v = 1.0 - w
        db = (-v * v / 2, (9 * w * w - 12 * w) / 6, (-9 * w * w + 6 * w + 3) / 6, w * w / 2)
        ddb = (v, 3 * w - 2, 1 - 3 * w, w)
        for m in range(4):
            a = k + m
            if a >= knots:
                break
            slope = db[m] * du * knots
            curve = ddb[m] * (du * knots) ** 2 + db[m] * ddu * knots
            if r < inner:
                slope += curve * (r - inner)
            for c in range(dim):
                g[i, c, at + a] -= slope * e[c] / r
                g[j, c, at + a] += slope * e[c] / r
            lap = curve + (dim - 1) * slope / r
            div[i, at + a] -= lap
            div[j, at + a] -= lap
