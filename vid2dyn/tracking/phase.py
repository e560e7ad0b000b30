"""Sub-pixel phase: are positions drawn to some part of the pixel, and if so, set free.

Where nothing ties particles to the camera, the sub-pixel part u of a position is uniform. An estimator with a bias
that depends on u maps it to u' = F⁻¹(u), F the distribution function of what it reports; F(u') undoes that, whatever
the bias was, if it is the same for all particles: the single-pixel interior filling function of Burov, Figliozzi, Lin,
Rice, Scherer and Dinner, PNAS 114, 221 (2017). Here F is a Fourier series of few terms,

    F(u) = u + sum_k (c_k sin 2 pi k u - s_k cos 2 pi k u) / (pi k) + const,   c_k, s_k = <cos, sin 2 pi k u'>,

continuous across the edges of pixels; terms that noise alone would give are left out. The constant makes the mean
correction zero: where in the pixel the bias vanishes cannot be seen in the distribution.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import kstest

from vid2dyn.core.errors import DataError
from vid2dyn.data.trajectories import Trajectories

TERMS = 6
FEWEST = 200
"""Positions that a correction needs at least."""


@dataclass(frozen=True)
class PhaseCorrection:
    """What to add to a position [px], by its sub-pixel part, along each axis.

    Parameters
    ----------
    cosine, sine : (dim, TERMS) arrays
        c_k and s_k.
    p : (dim,) array
        p of uniform sub-pixel positions before the correction (Kolmogorov-Smirnov).
    """

    cosine: np.ndarray
    sine: np.ndarray
    p: np.ndarray

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        """Corrected positions (N, dim) [px]."""
        positions = np.asarray(positions, dtype=float)
        k = np.arange(1, self.cosine.shape[1] + 1)
        angle = 2 * np.pi * positions[:, :, None] * k
        return positions + ((self.cosine * np.sin(angle) - self.sine * np.cos(angle)) / (np.pi * k)).sum(axis=2)

    @property
    def largest(self) -> float:
        """The largest correction [px]."""
        grid = np.linspace(0, 1, 101)[:, None] * np.ones(len(self.cosine))
        return float(np.abs(self(grid) - grid).max())


def phase_correction(positions: np.ndarray) -> PhaseCorrection:
    """The correction that makes the sub-pixel parts of `positions` uniform.

    Parameters
    ----------
    positions : (N, dim) array
        Independent positions [px]: particles that move by pixels, or many particles; not a few that sit still, whose
        sub-pixel parts are where they are.

    Raises
    ------
    DataError
        For fewer than 200 positions.

    Examples
    --------
    >>> u = np.random.default_rng(0).uniform(0, 40, (20_000, 2))
    >>> locked = u - 0.05 * np.sin(2 * np.pi * u)
    >>> correction = phase_correction(locked)
    >>> bool((correction.p < 1e-6).all()), bool(np.abs(correction(locked) - u).max() < 0.015)
    (True, True)
    """
    positions = np.asarray(positions, dtype=float)
    if len(positions) < FEWEST:
        raise DataError(f"{len(positions)} positions are too few to see how they fill a pixel; give at least {FEWEST} "
                        "(more frames, or leave the correction out).")
    k = np.arange(1, TERMS + 1)
    angle = 2 * np.pi * positions[:, :, None] * k
    cosine, sine = np.cos(angle).mean(axis=0), np.sin(angle).mean(axis=0)
    noise = np.hypot(cosine, sine) < 3.0 / np.sqrt(2 * len(positions))        # chance of one beyond it: 1e-4
    p = np.array([kstest(column % 1.0, "uniform").pvalue for column in positions.T])
    return PhaseCorrection(np.where(noise, 0.0, cosine), np.where(noise, 0.0, sine), p)


def without_phase_bias(tracks: Trajectories) -> Trajectories:
    """Trajectories whose sub-pixel positions are uniform; `info["phase_bias"]` says what was done.

    Raises
    ------
    DataError
        For fewer than 200 detections.

    Examples
    --------
    >>> import pandas as pd
    >>> u = np.random.default_rng(0).uniform(0, 40, (5000, 2))
    >>> u -= 0.05 * np.sin(2 * np.pi * u)
    >>> tracks = Trajectories.from_dataframe(pd.DataFrame({"frame": np.arange(5000), "y": u[:, 0], "x": u[:, 1]}))
    >>> without_phase_bias(tracks).info["phase_bias"]["largest"] > 0.04
    True
    """
    axes = list(tracks.axes)
    positions = tracks.dataframe[axes].to_numpy(dtype=float)
    correction = phase_correction(positions)
    table = tracks.dataframe.copy()
    table[axes] = correction(positions)
    done = {"p": correction.p.tolist(), "largest": correction.largest}
    return tracks.replace(dataframe=table, info={**tracks.info, "phase_bias": done})
