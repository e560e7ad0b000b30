"""What the tests of assumptions look at: the steps of one recording, whitened by the model that was fitted to them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

CLUSTERS = 200
"""Pieces of tracks whose scatter gives the errors of all quantities, where tracks are long enough."""
SHORTEST = 10
"""Steps in a piece, at least in the mean."""


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Every neighbour of every step in some frames.

    Parameters
    ----------
    step : (p,) int array
        Which step.
    other : (p,) int array
        The step of the neighbour in the same frame; -1 where it has none.
    direction : (p, dim) array
        Unit vector from the neighbour to the particle.
    distance : (p,) array
        [µm]
    reach : float
        Up to which all neighbours are listed [µm].
    seen : (k,) int array
        The steps in those frames, whether or not they have a neighbour.
    """

    step: np.ndarray
    other: np.ndarray
    direction: np.ndarray
    distance: np.ndarray
    reach: float
    seen: np.ndarray


@dataclass(frozen=True, eq=False)
class Detection:
    """How completely the particles were seen.

    Parameters
    ----------
    seen : int
        Detections of linked particles.
    filled : int
        Missing ones between two detections of a track, at a known place to within a step or two.
    lost : int
        Ends and beginnings of tracks inside the view and inside the recording: particles lost for longer.
    """

    seen: int
    filled: int = 0
    lost: int = 0


@dataclass(frozen=True, eq=False)
class Steps:
    """Steps between successive frames, in the order of (particle, frame).

    Parameters
    ----------
    white : (m, dim) array
        Whitened residuals, independent N(0, 1) if the model is right.
    run : (m,) int array
        How many steps of the same unbroken stretch of track come before each.
    particle, frame : (m,) int arrays
    position : (m, dim) array
        Where each begins [µm], inside the box where there is one.
    force : (m, dim) array
        Learned force there [kT/µm].
    offset : (m, dim) array or None
        From the centre of the trap [µm]; None without traps.
    diffusion, interval : float
        D [µm²/s], typical of all particles, and the time of a step [s].
    response : float
        Mean whitened residual that a force of 1 kT/µm, which the model does not know, makes [µm/kT].
    cutoff : float or None
        Range of the pair force that was fitted [µm].
    stationary : bool
        Whether forces were learned from where particles are, too.
    end_energy : tuple of (float, float)
        Learned energy at 0.85 of the cutoff with its standard error [kT], of every pair of species.
    neighbours : Neighbours or None
    detection : Detection
    noise_scale : (float, float)
        Learned localisation variance over the stated one, with its standard error; (nan, nan) where it is not learned.
    links : tuple of str
        What the linker said of doubtful links.
    companion : (m, dim) array or None
        Of a control recording: whitened residuals of the same particles moved by the same chance without forces, which
        are independent N(0, 1) exactly. What they show is chance, and may be taken off.
    """

    white: np.ndarray
    run: np.ndarray
    particle: np.ndarray
    frame: np.ndarray
    position: np.ndarray
    force: np.ndarray
    offset: np.ndarray | None
    diffusion: float
    interval: float
    response: float
    cutoff: float | None = None
    stationary: bool = False
    end_energy: tuple[tuple[float, float], ...] = ()
    neighbours: Neighbours | None = None
    detection: Detection = field(default_factory=lambda: Detection(0))
    noise_scale: tuple[float, float] = (math.nan, math.nan)
    links: tuple[str, ...] = ()
    companion: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.white)

    @property
    def dim(self) -> int:
        """Number of space dimensions."""
        return self.white.shape[1]

    @cached_property
    def index(self) -> np.ndarray:
        """(m,) number of the particle of each step, counted from 0."""
        return np.unique(self.particle, return_inverse=True)[1]

    @cached_property
    def cluster(self) -> np.ndarray:
        """(m,) which piece of which track each step belongs to; pieces are taken for independent."""
        count = np.bincount(self.index)
        pieces = max(1, min(math.ceil(CLUSTERS / len(count)), int(count.mean() / SHORTEST)))
        begin, last = int(self.frame.min()), int(self.frame.max())
        piece = (self.frame - begin) * pieces // (last - begin + 1)
        return np.unique(self.index * pieces + piece, return_inverse=True)[1]

    def later(self, lag: int) -> np.ndarray:
        """Steps that have one `lag` frames before them in the same unbroken stretch, at the row `lag` rows above."""
        return np.flatnonzero(self.run >= lag)
