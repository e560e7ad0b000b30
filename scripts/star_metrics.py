"""Curves by which reproduce_star_polymers.py judges a rollout: RDF, MSD and VACF of complete, periodic recordings.

The same numbers as `vd.analysis.rdf`, `msd` and `vacf`, which tests/simulators/test_star_polymer.py compares with them,
but without standard errors and fast enough for recordings of 6,000 frames: correlations by Fourier transform, pairs
compiled. What chance gives is read from independent simulations instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from scipy.fft import irfft, next_fast_len, rfft

import vid2dyn as vd

BINS = 75
"""Of the RDF, from 0 to half the box, as published."""


@dataclass(frozen=True, eq=False)
class Curves:
    """RDF `g` at distances `r`, MSD and VACF (summed over axes) at the lags 0, 1, ... frames."""

    r: np.ndarray
    g: np.ndarray
    lag: np.ndarray
    msd: np.ndarray
    vacf: np.ndarray

    def errors(self, truth: Curves) -> dict[str, float]:
        """rms(this - truth)/rms(truth) of each curve, and VACF(0) over the true one less one."""
        return {**{key: rms(getattr(self, key) - getattr(truth, key)) / rms(getattr(truth, key))
                   for key in ("vacf", "msd", "g")}, "vacf0": float(self.vacf[0] / truth.vacf[0] - 1)}

    def to_dict(self) -> dict[str, list[float]]:
        """Plain lists, for JSON."""
        return {key: getattr(self, key).tolist() for key in ("r", "g", "lag", "msd", "vacf")}

    @classmethod
    def from_dict(cls, table: dict[str, Any]) -> Curves:
        """From `to_dict`."""
        return cls(**{key: np.array(value, dtype=float) for key, value in table.items()})


def rms(values: np.ndarray) -> float:
    """Root of the mean square."""
    return float(np.sqrt(np.mean(np.square(values))))


def dense(tracks: vd.Trajectories) -> tuple[np.ndarray, np.ndarray, float]:
    """Positions and velocities, (stars, frames, 3), and the edge of the box; every star is there in every frame."""
    stars, frames = tracks.n_particles, tracks.n_frames
    assert len(tracks) == stars * frames, "a star is missing in some frames"
    assert tracks.velocities is not None
    shape = (stars, frames, 3)
    return tracks.positions.reshape(shape), tracks.velocities.reshape(shape), float(tracks.box.lengths[0])


def curves(tracks: vd.Trajectories, lags: int, every: int = 10) -> Curves:
    """Curves of a recording: lags 0 to `lags` (fewer if it is shorter), RDF of every `every`-th frame."""
    x, v, edge = dense(tracks)
    lags = min(lags, x.shape[1] - 1)
    r, g = radial_distribution(np.ascontiguousarray(x[:, ::every].swapaxes(0, 1)), edge)
    return Curves(r, g, np.arange(lags + 1) * tracks.units.dt, mean_squared_displacement(x, lags),
                  autocorrelation(v, lags))


def autocorrelation(v: np.ndarray, lags: int, chunk: int = 100) -> np.ndarray:
    """(lags + 1,) <v(t) · v(t + lag)> over all times and stars; v: (stars, frames, 3)."""
    n, frames, _ = v.shape
    total = np.zeros(lags + 1)
    size = next_fast_len(frames + lags, real=True)
    for k in range(0, n, chunk):
        spectrum = np.square(np.abs(rfft(v[k:k + chunk], size, axis=1))).sum(axis=(0, 2))
        total += irfft(spectrum, size)[: lags + 1]
    return total / (n * (frames - np.arange(lags + 1)))


def mean_squared_displacement(x: np.ndarray, lags: int) -> np.ndarray:
    """(lags + 1,) mean squared displacement over all times and stars: <x(t)²> + <x(t + lag)²> - 2 <x(t) x(t + lag)>."""
    n, frames, _ = x.shape
    x = x - x.mean(axis=1, keepdims=True)                      # small numbers: their squares are subtracted
    square = np.concatenate([[0.0], np.cumsum(np.square(x).sum(axis=(0, 2)))])
    k = np.arange(lags + 1)
    ends = square[frames - k] + square[-1] - square[k]
    return ends / (n * (frames - k)) - 2 * autocorrelation(x, lags)


def radial_distribution(x: np.ndarray, edge: float, bins: int = BINS) -> tuple[np.ndarray, np.ndarray]:
    """Middle of the bins and g(r), from 0 to half the box; x: (frames, stars, 3)."""
    frames, n, _ = x.shape
    counts = _count(x, edge, bins)
    r = np.linspace(0.0, edge / 2, bins + 1)
    shells = 4 / 3 * np.pi * np.diff(r**3)
    return 0.5 * (r[1:] + r[:-1]), counts / (frames * n * (n - 1) / 2 * shells / edge**3)


@njit(cache=True)
def _count(x, edge, bins):  # type: ignore[no-untyped-def]
    counts = np.zeros(bins, dtype=np.int64)
    per_length = bins / (edge / 2)
    for t in range(x.shape[0]):
        for i in range(x.shape[1]):
            for j in range(i):
                r2 = 0.0
                for c in range(3):
                    d = x[t, i, c] - x[t, j, c]
                    d -= edge * np.round(d / edge)
                    r2 += d * d
                k = int(np.sqrt(r2) * per_length)
                if k < bins:
                    counts[k] += 1
    return counts
