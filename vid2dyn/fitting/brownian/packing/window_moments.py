"""Equations of the force with an unknown static force on every particle in every window of time.

In a packing the forces on a particle cancel to a few per cent of one pair force. Score matching, A c = b (`design`),
asks
that <|F|²> = -<div F>, so a misfit of a few per cent, from wrong labels, a short cutoff or a coarse basis, exceeds the
whole thermal force, and the best answer is to make *all* forces small. So let every particle feel, beside the pair
forces, a force s that is constant in a window, s ~ N(0, tau²): it takes up the misfit of the mean configuration, and
the pair forces are learned from how forces change with the motion in the cage. In equilibrium, for any g,

    sum_t <(F + s)·g + div g> = 0,     s = -λ F̄   (the mean of s given the data),
    λ = tau²/(tau² + k/T),             F̄ the mean over the window, k the variance of the thermal force,

T independent frames: as of a Gaussian mean. With G = (g_a), this is linear: (A - λ S) c = (1 - λ/T) b,

    A_ab = sum_i,t g_a·g_b,    S_ab = sum_i T ḡ_a·ḡ_b,    b_a = -sum_i,t div g_a.

λ = 0 is plain score matching, λ = 1 takes every mean out. The factor of b is that of the term with t = t' in g·F̄.
tau² by evidence: <|F̄|²>/dim = tau² + k/T, with the forces found, in turn until it stays.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vid2dyn.fitting.brownian.design import Field, ForceMoments, chunks
from vid2dyn.fitting.brownian.recording import Recording

STRIPS = 12
"""Groups of particles by place: what one says of the forces is nearly independent of the next."""


@dataclass(frozen=True, eq=False)
class WindowMoments:
    """A, S and b of the module docstring in groups of particles, and what they were summed over.

    Parameters
    ----------
    a, s : (strips, size, size) arrays
    b : (strips, size) array
    detections, means : float
        Sum of the weights over all detections and over all windows of particles.
    covariance : (2, size, size) array
        Sum of g_a(t)·g_b(t + lag) over some strips, for lag 1 and the longest one: how long forces last.
    pairs : (2,) array
        Number of terms in it.
    frames : float
        Mean number of frames in a window.
    """

    a: np.ndarray
    s: np.ndarray
    b: np.ndarray
    detections: float
    means: float
    covariance: np.ndarray
    pairs: np.ndarray
    frames: float

    def linear(self, others: list[WindowMoments], weights: np.ndarray) -> WindowMoments:
        """weights[0] · self + weights[1] · others[0] + ..., of the matrices."""
        parts = [self, *others]
        a, s, b, covariance = (sum(w * getattr(one, name) for w, one in zip(weights, parts))
                               for name in ("a", "s", "b", "covariance"))
        return WindowMoments(a, s, b, self.detections, self.means, covariance,  # type: ignore[arg-type]
                             self.pairs, self.frames)

    def __add__(self, other: WindowMoments) -> WindowMoments:
        frames = (self.frames * self.means + other.frames * other.means) / (self.means + other.means)
        return WindowMoments(self.a + other.a, self.s + other.s, self.b + other.b, self.detections + other.detections,
                             self.means + other.means, self.covariance + other.covariance,
                             self.pairs + other.pairs, frames)

    def at(self, share: float, independent: float) -> ForceMoments:
        """The equations for λ = `share` and `independent` frames in a window."""
        return ForceMoments(self.a - share * self.s, (1 - share / independent) * self.b)


def windows_of(recording: Recording, length: int) -> list[np.ndarray]:
    """Rows of consecutive stretches of `length` frames; a rest shorter than half of that joins the last one."""
    first, last = int(recording.frame.min()), int(recording.frame.max())
    count = max(1, int(np.floor((last - first + 1) / length + 0.5)))
    number = np.minimum((recording.frame - first) // length, count - 1)
    order = np.argsort(number, kind="stable")
    edges = np.searchsorted(number[order], np.arange(1, count))
    return [np.sort(rows) for rows in np.split(order, edges)]


def strips_of(recording: Recording) -> np.ndarray:
    """(n,) group of each detection: by the place along the last axis at which its track begins."""
    x = recording.position[:, -1]
    new = np.r_[True, recording.track[1:] != recording.track[:-1]] | (recording.track < 0)
    start = x[new][np.cumsum(new) - 1]
    edges = np.quantile(start, np.linspace(0, 1, STRIPS + 1)[1:-1])
    return np.searchsorted(edges, start)


def window_moments(recording: Recording, field: Field, windows: list[np.ndarray], lag: int = 4) -> WindowMoments:
    """Sums over the windows; detections without weight or track count as neighbours only. `lag`: the longest one.

    A window is gone through a few frames at a time, so that memory does not grow with it.
    """
    size, strip, dim = field.size, strips_of(recording), recording.dim
    a, s = np.zeros((STRIPS, size, size)), np.zeros((STRIPS, size, size))
    b, covariance, pairs_at = np.zeros((STRIPS, size)), np.zeros((2, size, size)), np.zeros(2)
    detections = means = frames = 0.0
    for window in windows:
        used = window[(recording.weight[window] > 0) & (recording.track[window] >= 0)]
        if not len(used):
            continue
        names, first = np.unique(recording.track[used], return_index=True)
        of_window, total = strip[used][first], np.zeros(len(names))
        summed = np.zeros((len(names), dim, size))
        for rows in chunks(recording, window):
            g, div = field.evaluate(recording, rows)
            some = (recording.weight[rows] > 0) & (recording.track[rows] >= 0)
            rows, g, div = rows[some], g[some], div[some]
            w, track, frame, group = (x[rows] for x in (recording.weight, recording.track, recording.frame, strip))
            if not len(rows):
                continue
            pull = w[:, None] * div + np.einsum("nd,nda->na", recording.weight_slope[rows], g)
            begin = np.flatnonzero(np.r_[True, track[1:] != track[:-1]])           # rows are sorted by track
            place = np.searchsorted(names, track[begin])
            total[place] += np.add.reduceat(w, begin)
            summed[place] += np.add.reduceat(g * w[:, None, None], begin)
            root = g * np.sqrt(w)[:, None, None]
            for k in range(STRIPS):
                mine = root[group == k].reshape(-1, size)
                a[k] += mine.T @ mine
                b[k] -= pull[group == k].sum(axis=0)
            detections += float(w.sum())
            frames += float(len(track))
            for m, apart in enumerate((1, lag)):
                i = np.flatnonzero((group % 3 == 1)[: len(track) - apart])
                i = i[(track[i] == track[i + apart]) & (frame[i + apart] == frame[i] + apart)]
                covariance[m] += g[i].reshape(-1, size).T @ g[i + apart].reshape(-1, size)
                pairs_at[m] += len(i)
        mean = summed / np.sqrt(np.maximum(total, 1e-300))[:, None, None]
        for k in range(STRIPS):
            own = mean[of_window == k].reshape(-1, size)
            s[k] += own.T @ own
        means += float(len(names))
    return WindowMoments(a, s, b, detections, means, covariance, pairs_at, frames / max(means, 1.0))
