"""Species by the balance of forces: in a packing the mean forces on a particle cancel, if every label is right.

For given pair forces f_ab(r), Q = sum_i |F̄_i|² over particles all of whose neighbours are seen, F̄ the mean force in a
window, is a function of the labels alone. A label that is wrong leaves hundreds of kT/µm on a particle and on its
neighbours where right ones leave a few, so labels are changed one after the other, the one that lowers Q most first.
How much Q rises when a label is changed, in units of twice the variance V that is left, is the log-likelihood ratio by
which it is sure.

Without labels the same balance finds them: with the one force f(r) that fits all pairs, strengths f_ij = (1 + d_i +
d_j) f(r) that cancel the mean forces are a linear problem with two equations for each unknown d_i.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from scipy.sparse import coo_matrix, csr_matrix, vstack
from scipy.sparse.linalg import lsqr

from vid2dyn.dynamics.brownian import pair_kinds, species_count
from vid2dyn.dynamics.snapshot import neighbour_pairs
from vid2dyn.dynamics.terms.potentials import PairPotential
from vid2dyn.fitting.brownian.recording import Recording

SURE = 10.0
"""Log-likelihood ratio [nats] from which on a label is sure."""
RIDGE = 0.3
"""Of the strengths, in units of the pair forces."""
_SWEEPS = 50


@dataclass(frozen=True, eq=False)
class MeanForces:
    """Mean pair forces of every window, for every kind of pair.

    Parameters
    ----------
    nodes : int
        Windows times tracks; node window · tracks + track.
    tracks : int
    start, other, pair, sign : arrays
        Neighbours of node m: entries start[m] to start[m + 1] of `other` (node), `pair` and `sign` (of the pair's
        force on m).
    force : (pairs, kinds, dim) array
        Mean force on the first particle of each pair if it were of each kind [kT/µm].
    valid : (nodes,) array
        1 for nodes whose neighbours are all seen, else 0.
    """

    nodes: int
    tracks: int
    start: np.ndarray
    other: np.ndarray
    pair: np.ndarray
    sign: np.ndarray
    force: np.ndarray
    valid: np.ndarray


@dataclass(frozen=True, eq=False)
class Labels:
    """Species of every track.

    `species` (tracks,); `margin` (tracks,): log-likelihood ratio to the next best one [nats], 0 where nothing is known;
    `variance`: of each component of the mean force that is left [kT²/µm²]; `changed`: how many were changed.
    """

    species: np.ndarray
    margin: np.ndarray
    variance: float
    changed: int


def mean_forces(recording: Recording, number: np.ndarray, windows: list[np.ndarray],
                potentials: tuple[PairPotential, ...]) -> MeanForces:
    """`number` (n,): which track each detection is of, 0, 1, ... (-1: none)."""
    tracks, reach = int(number.max()) + 1, max(one.spline.cutoff for one in potentials)
    firsts, seconds, forces, valid = [], [], [], np.zeros((len(windows), tracks))
    grid = np.linspace(0.0, reach, 4097)
    tables = [one.force(grid) for one in potentials]
    for w, rows in enumerate(windows):
        rows = rows[number[rows] >= 0]
        x, who = recording.position[rows], number[rows]
        pairs = neighbour_pairs(x, reach, recording.box, recording.frame[rows])
        d = recording.box.displacement(x[pairs[:, 0]], x[pairs[:, 1]])
        r = np.linalg.norm(d, axis=1)
        a, b = who[pairs[:, 0]], who[pairs[:, 1]]
        turned = a > b
        a, b, d = np.where(turned, b, a), np.where(turned, a, b), np.where(turned[:, None], -d, d)
        key, which = np.unique(a * tracks + b, return_inverse=True)
        frames = np.bincount(who, minlength=tracks)
        e = d / np.maximum(r, 1e-9)[:, None]
        size = np.stack([np.interp(r, grid, table) for table in tables], axis=1)
        total = np.stack([[np.bincount(which, size[:, k] * e[:, c], len(key)) for c in range(x.shape[1])]
                          for k in range(len(tables))])
        seen = np.maximum(np.minimum(frames[key // tracks], frames[key % tracks]), 1)
        firsts.append(w * tracks + key // tracks)
        seconds.append(w * tracks + key % tracks)
        forces.append(np.moveaxis(total, 2, 0) / seen[:, None, None])
        weight = np.bincount(who, recording.weight[rows], tracks) / np.maximum(frames, 1)
        valid[w] = weight > 0.99
    first, second = np.concatenate(firsts), np.concatenate(seconds)
    nodes = len(windows) * tracks
    end = np.concatenate([first, second])
    order = np.argsort(end, kind="stable")
    number_of = np.r_[np.arange(len(first)), np.arange(len(first))][order]
    start = np.r_[0, np.cumsum(np.bincount(end, minlength=nodes))]
    return MeanForces(nodes, tracks, start, np.concatenate([second, first])[order], number_of,
                      np.repeat([1.0, -1.0], len(first))[order], np.concatenate(forces), valid.ravel())


def balanced(found: MeanForces, species: np.ndarray) -> Labels:
    """Labels changed until no single change lowers Q."""
    count = species_count(found.force.shape[1])
    kinds = pair_kinds(count)
    labels, before = species.astype(np.int64).copy(), species
    force = np.zeros((found.nodes, found.force.shape[2]))
    _all_forces(found.start, found.other, found.pair, found.sign, found.force, labels, kinds, found.tracks, force)
    for _ in range(_SWEEPS):
        change = np.full((found.tracks, count), np.inf)
        _changes(found.start, found.other, found.pair, found.sign, found.force, found.valid, labels, kinds,
                 found.tracks, force, change)
        best = change.argmin(axis=1)
        gain = change[np.arange(found.tracks), best]
        order = np.argsort(gain)
        order = order[gain[order] < 0]
        done = _apply(found.start, found.other, found.pair, found.sign, found.force, found.valid, labels, kinds,
                      found.tracks, force, order, best)
        if not done:
            break
    left = force[found.valid > 0] ** 2
    variance = float(np.median(left) / 0.4549) if left.size else float("nan")      # median of chi-square with 1 degree
    change = np.full((found.tracks, count), np.inf)
    _changes(found.start, found.other, found.pair, found.sign, found.force, found.valid, labels, kinds, found.tracks,
             force, change)
    margin = change.min(axis=1) / (2 * max(variance, 1e-12))
    return Labels(labels, np.where(np.isfinite(margin), np.maximum(margin, 0.0), 0.0), variance,
                  int((labels != before).sum()))


@dataclass(frozen=True, eq=False)
class Strengths:
    """d_i of the module docstring.

    `value` (tracks,), NaN where nothing is known; `own` (tracks,) bool: particles whose own mean force was balanced,
    not only that of neighbours; `left`: the part of the squared mean forces that is left, per free equation.
    """

    value: np.ndarray
    own: np.ndarray
    left: float

    def groups(self) -> tuple[np.ndarray, float]:
        """(tracks,) 0 for the stronger and 1 for the weaker group by 2-means, and how far apart they are in their
        spread.
        """
        values = self.value[self.own & np.isfinite(self.value)]
        if len(values) < 4:
            return np.zeros(len(self.value), np.int64), 0.0
        cut = float(np.median(values))
        for _ in range(100):
            weak, strong = values[values <= cut], values[values > cut]
            if not (len(weak) and len(strong)):
                return np.zeros(len(self.value), np.int64), 0.0
            cut = 0.5 * float(weak.mean() + strong.mean())
        apart = float((strong.mean() - weak.mean()) / max(np.sqrt(0.5 * (strong.var() + weak.var())), 1e-12))
        return np.where(np.isfinite(self.value) & (self.value > cut), 0, 1), apart


def strengths(found: MeanForces) -> Strengths:
    """Strengths that cancel the mean forces best, for the force of the first kind of pairs."""
    use = found.valid > 0
    node = np.repeat(np.arange(found.nodes), np.diff(found.start))
    kept = use[node]
    node, other, pair, sign = node[kept], found.other[kept], found.pair[kept], found.sign[kept]
    vector = sign[:, None] * found.force[pair, 0]
    dim = vector.shape[1]
    right = np.stack([np.bincount(node, vector[:, c], found.nodes) for c in range(dim)], axis=1)
    rows = np.concatenate([dim * node + c for c in range(dim) for _ in range(2)])
    columns = np.concatenate([one % found.tracks for _ in range(dim) for one in (node, other)])
    values = np.concatenate([vector[:, c] for c in range(dim) for _ in range(2)])
    matrix = coo_matrix((values, (rows, columns)), shape=(dim * found.nodes, found.tracks)).tocsr()
    equations = np.repeat(use, dim)
    matrix, b = matrix[equations], right.ravel()[equations]
    known = np.asarray((matrix != 0).sum(axis=0)).ravel() > 2 * dim
    own = np.zeros(found.tracks, bool)
    own[np.flatnonzero(use) % found.tracks] = True
    # 1 + d_i + d_j = 0 for all would balance everything: the mean of d is held at zero, and slow changes of it, which
    # cost little balance, by a ridge
    scale = float(np.sqrt((found.force[:, 0] ** 2).sum(axis=1).mean()))
    mean = csr_matrix(own[None].astype(float) * 10.0 * scale)
    d = lsqr(vstack([matrix, mean]), np.append(-b, 0.0), damp=RIDGE * scale, iter_lim=500)[0]
    left = float(((matrix @ d + b) ** 2).sum() / max(float((b**2).sum()), 1e-300))
    free = max(1.0 - known.sum() / max(len(b), 1), 0.05)
    return Strengths(np.where(known, d, np.nan), own, left / free)


@njit(cache=True)
def _all_forces(start, other, pair, sign, force, labels, kinds, tracks, out):  # type: ignore[no-untyped-def]
    for m in range(len(start) - 1):
        for c in range(out.shape[1]):
            out[m, c] = 0.0
        for q in range(start[m], start[m + 1]):
            kind = kinds[labels[m % tracks], labels[other[q] % tracks]]
            for c in range(out.shape[1]):
                out[m, c] += sign[q] * force[pair[q], kind, c]


@njit(cache=True)
def _change(k, new, start, other, pair, sign, force, valid, labels, kinds, tracks, now):  # type: ignore[no-untyped-def]
    """Change of Q if track k had the label `new`."""
    dim, total = now.shape[1], 0.0
    for m in range(k, len(start) - 1, tracks):
        mine = now[m].copy()
        for q in range(start[m], start[m + 1]):
            j = other[q]
            label = labels[j % tracks]
            a, b = kinds[labels[k], label], kinds[new, label]
            for c in range(dim):
                d = sign[q] * (force[pair[q], b, c] - force[pair[q], a, c])
                mine[c] += d
                total += valid[j] * (d * d - 2.0 * d * now[j, c])
        for c in range(dim):
            total += valid[m] * (mine[c] ** 2 - now[m, c] ** 2)
    return total


@njit(cache=True)
def _changes(start, other, pair, sign, force, valid, labels, kinds, tracks, now, out):  # type: ignore[no-untyped-def]
    for k in range(tracks):
        for new in range(out.shape[1]):
            if new != labels[k]:
                out[k, new] = _change(k, new, start, other, pair, sign, force, valid, labels, kinds, tracks, now)


@njit(cache=True)
def _apply(start, other, pair, sign, force, valid, labels, kinds, tracks, now, order, best):  # type: ignore[no-untyped-def]
    """Changes of `order` that still lower Q when their turn comes; returns how many were made."""
    done = 0
    for k in order:
        new = best[k]
        if _change(k, new, start, other, pair, sign, force, valid, labels, kinds, tracks, now) >= 0.0:
            continue
        for m in range(k, len(start) - 1, tracks):
            for q in range(start[m], start[m + 1]):
                j = other[q]
                label = labels[j % tracks]
                a, b = kinds[labels[k], label], kinds[new, label]
                for c in range(now.shape[1]):
                    d = sign[q] * (force[pair[q], b, c] - force[pair[q], a, c])
                    now[m, c] += d
                    now[j, c] -= d
        labels[k] = new
        done += 1
    return done
