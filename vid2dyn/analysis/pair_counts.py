"""Pair distances frame by frame, and how much longer than a frame a pair stays in its shell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vid2dyn.analysis.space import box_at, close_pairs, frames_of
from vid2dyn.core.progress import Progress
from vid2dyn.data.trajectories import Trajectories

_FEW_FRAMES = 8
_KEPT_PAIRS = 2_000_000


@dataclass(frozen=True, eq=False)
class PairCounts:
    """Histogram of pair distances.

    Parameters
    ----------
    counts : (frames, bins) int array
        Pairs in each shell.
    number : (frames,) int array
        Particles in each frame.
    stay : (bins,) array
        sum T² / sum T over pairs of particles, T the number of frames a pair spends in the shell; 1 if never the same
        pair twice.
    together : float
        The same for the number of frames both particles of a pair are in view.
    """

    counts: np.ndarray
    number: np.ndarray
    stay: np.ndarray
    together: float

    def stderr(self, expected: np.ndarray) -> np.ndarray:
        """(bins,) standard errors of the sums of `counts`, whose expectation is `expected` (frames, bins).

        The variance of one frame's count times the number of frames, times the number of frames that say the same,
        the larger of two estimates. Pairs: if pairs were independent, var(sum T) over its Poisson value is
        sum T²/sum T - p sum F²/sum F with p = expected/all pairs; that sees slow particles even in a recording too
        short for anything to have moved. Blocks: see `_blocks`; they see what is collective.
        """
        frames, total = len(self.counts), self.counts.sum(axis=0)
        pairs = max(float((self.number * (self.number - 1.0) / 2).sum()), 1.0)
        alike = np.maximum(self.stay - expected.sum(axis=0) / pairs * self.together, 1.0)
        if frames < _FEW_FRAMES:
            return np.sqrt(np.maximum(total, 1) * alike)
        deviation = self.counts - expected
        base = np.maximum((deviation**2).sum(axis=0), 1.0) * frames / (frames - 1)
        # Frames that are alike scatter less about their own mean than about the truth; at most Poisson is put back.
        base = np.minimum(base / np.clip(1 - alike / frames, 0.05, 1.0), np.maximum(base, total))
        return np.sqrt(base * np.maximum(alike, _blocks(deviation)))


def pair_counts(tracks: Trajectories, edges: np.ndarray, progress: Progress) -> PairCounts:
    """Count pairs in the shells between `edges` in every frame of the table; O(N) a frame.

    Of the pairs of linked particles a fixed part is remembered, at most about two million entries however long
    the movie.
    """
    positions, bins = tracks.positions, edges.size - 1
    _, index = np.unique(tracks.particle, return_inverse=True)
    stretches = list(frames_of(tracks))
    counts = np.zeros((len(stretches), bins), dtype=np.int64)
    kept: list[np.ndarray] = []
    one_in, many = 0, int(index.max()) + 1
    for k, (frame, rows) in enumerate(stretches):
        x, box = positions[rows], box_at(tracks, frame)
        i, j = close_pairs(x, box, edges[-1])
        r = np.linalg.norm(box.displacement(x[i], x[j]), axis=1)
        shell = np.minimum((r / edges[-1] * bins).astype(np.int64), bins - 1)
        counts[k] = np.bincount(shell, minlength=bins)
        one_in = one_in or -(-max(len(r), 1) * len(stretches) // _KEPT_PAIRS)
        first, second = index[rows[i]], index[rows[j]]
        pair = np.minimum(first, second) * many + np.maximum(first, second)
        chosen = (tracks.particle[rows[i]] >= 0) & (tracks.particle[rows[j]] >= 0) & (_scatter(pair) % one_in == 0)
        kept.append(pair[chosen] * bins + shell[chosen])
        progress(k + 1, len(stretches), "pair distances")
    number = np.array([len(rows) for _, rows in stretches])
    return PairCounts(counts, number, _stay(np.concatenate(kept), bins), _together(tracks, len(stretches)))


def _scatter(pair: np.ndarray) -> np.ndarray:
    """An even-handed choice of pairs that is the same in every frame (Fibonacci hashing)."""
    return (pair.astype(np.uint64) * np.uint64(11400714819323198485)) >> np.uint64(40)


def _stay(key: np.ndarray, bins: int) -> np.ndarray:
    name, time = np.unique(key, return_counts=True)
    shell = name % bins
    once = np.bincount(shell, time, bins)
    return np.where(once > 0, np.bincount(shell, time.astype(float) ** 2, bins) / np.maximum(once, 1), 1.0)


def _together(tracks: Trajectories, frames: int) -> float:
    """sum F²/sum F over random pairs of tracks, F the frames in which both are seen."""
    linked = tracks.particle >= 0
    if not linked.any():
        return 0.0
    particle, frame = tracks.particle[linked], tracks.frame[linked].astype(float)
    _, first, number = np.unique(particle, return_index=True, return_counts=True)
    begin, end = frame[first], frame[first + number - 1]
    part = number / (end - begin + 1)
    rng = np.random.default_rng(0)
    i, j = rng.integers(0, first.size, (2, 100_000))
    overlap = np.minimum(end[i], end[j]) - np.maximum(begin[i], begin[j]) + 1
    both = np.maximum(overlap, 0) * part[i] * part[j] * (i != j)
    return float((both**2).sum() / both.sum()) if both.sum() > 0 else 0.0


def _blocks(deviation: np.ndarray) -> float:
    """How much larger the variance of the sum is than for independent frames, from blocks of 2, 4, 8, ... frames.

    Flyvbjerg and Petersen, J. Chem. Phys. 91, 461 (1989), down to 4 blocks, one number for all shells; what blocks of
    b frames still miss falls as 1/b and is carried on from the last two.
    """
    base = (deviation**2).sum(axis=0)
    used, frames, size = base > 0, len(deviation), 2
    levels = [1.0]
    while used.any() and (groups := frames // size) >= 4 and groups * int(used.sum()) >= 24:
        sums = np.add.reduceat(deviation[: groups * size], np.arange(0, groups * size, size), axis=0)
        sums = sums - sums.mean(axis=0)
        variance = (sums**2).sum(axis=0)[used] * groups / (groups - 1) * frames / (groups * size)
        levels.append(float(np.mean(variance / base[used])))
        size *= 2
    return max(*levels, 2 * levels[-1] - levels[-2]) if len(levels) > 1 else 1.0
