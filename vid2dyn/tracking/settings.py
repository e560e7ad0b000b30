"""The settings of tracking: the [track] table of an experiment file."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from vid2dyn.core.errors import ConfigError


@dataclass(frozen=True)
class Track:
    """How particles are found and linked. Lengths in pixels, brightness in grey levels.

    Names and meaning of the arguments are trackpy's, whose steps are those of Crocker and Grier, J. Colloid Interface
    Sci. 179, 298 (1996).

    Parameters
    ----------
    diameter : int
        Odd size of a particle's image [px], rather too large than too small.
    search_range : float
        Farthest a particle moves between two frames [px]; best well below half the distance of neighbours.
    memory : int
        Frames a particle may be missing and still be the same one.
    minmass : float, optional
        Least summed brightness of a particle [grey levels]. None chooses it from the movie
        (`vid2dyn.tracking.automatic_minmass`); give a number (0 keeps every maximum) to reproduce trackpy.
    separation : float, optional
        Least distance of two particles [px], of nearer ones the dimmer is dropped; None: no such limit (with
        compat = "trackpy": diameter + 1).
    percentile : float
        With compat = "trackpy": a particle's peak is brighter than this percentile of the filtered image's lit
        pixels.
    invert : bool
        True for dark particles on a bright background.
    threshold : float, optional
        Pixels of the filtered image below this count as dark [grey levels]; None: 1 (1/255 for float images).
    noise_size : float
        Width of the Gaussian that takes out pixel noise [px].
    smoothing_size : int, optional
        Odd edge of the boxcar that takes out the background [px]; None: diameter.
    max_size, max_ecc : float, optional
        Detections with a larger radius of gyration [px] or eccentricity (0 is round) are dropped before linking.
    min_length : int
        Tracks with fewer detections are dropped ("stubs"); 1 keeps all.
    start, stop : int
        First frame, and the one after the last; None: to the end.
    spot : {"auto", "gaussian", "disc", "ring"}
        What a particle looks like. "disc" and "ring" measure the common profile in every frame, best with some
        particles on their own, and fit that; "ring" also searches with it. "auto" chooses by what a Gaussian and a
        measured profile leave of the light in two frames (`vid2dyn.tracking.detect.shape_choice`).
    spot_width : float, optional
        Width (standard deviation) of a particle's image where a Gaussian is fitted [px]. None measures it in a few
        frames of the movie, and takes the same for all.
    compat : {"none", "trackpy"}
        "trackpy" finds features as trackpy does, to the last bit (whole grey levels, centroids over a round mask,
        one of two features closer than `separation` dropped); to repeat published numbers.

    range_growth : float
        A particle missing for e frames is looked for within search_range times e to this power: 0 as trackpy, 0.5 for
        diffusing, 1 for directed particles.
    predictor : {"none", "velocity", "affine"}
        Where a particle is expected: where it was; where its own velocity carries it; where a common affine flow
        (shear, rotation, drift) carries it. `search_range` counts from there.
    link_cost : {"distance", "likelihood"}
        What is smallest in sum over the links: squared displacements, or these weighted by the stated standard errors
        of the positions, so that a well-localised particle is not traded for a blurred one.

    Raises
    ------
    ConfigError
        When a value is out of range.

    Examples
    --------
    >>> Track(diameter=11, search_range=5, memory=3).diameter
    11
    >>> Track(diameter=10)
    Traceback (most recent call last):
    ...
    vid2dyn.core.errors.ConfigError: diameter = 10: the mask needs a centre pixel; give an odd number, such as 11.
    """

    diameter: int = 11
    search_range: float = 5.0
    memory: int = 0
    minmass: float | None = None
    separation: float | None = None
    percentile: float = 64.0
    invert: bool = False
    threshold: float | None = None
    noise_size: float = 1.0
    smoothing_size: int | None = None
    max_size: float | None = None
    max_ecc: float | None = None
    min_length: int = 1
    start: int = 0
    stop: int | None = None
    spot: Literal["auto", "gaussian", "disc", "ring"] = "auto"
    spot_width: float | None = None
    compat: Literal["none", "trackpy"] = "none"
    range_growth: float = 0.0
    predictor: Literal["none", "velocity", "affine"] = "none"
    link_cost: Literal["distance", "likelihood"] = "distance"

    def __post_init__(self) -> None:
        self._whole("diameter", 3)
        self._whole("memory", 0)
        self._whole("min_length", 1)
        self._whole("start", 0)
        for name in ("smoothing_size", "stop"):
            if getattr(self, name) is not None:
                self._whole(name, 1)
        for name in ("minmass", "separation", "threshold", "max_size", "max_ecc", "noise_size"):
            if getattr(self, name) is not None:
                self._number(name, 0.0)
        self._number("search_range", math.ulp(0.0))
        if self.spot_width is not None:
            self._number("spot_width", 0.3)
        self._number("percentile", 0.0)
        self._number("range_growth", 0.0)
        self._consistent()

    def _whole(self, name: str, lowest: int) -> None:
        value = getattr(self, name)
        if isinstance(value, bool) or not math.isfinite(value) or int(value) != value or value < lowest:
            raise ConfigError(f"{name} = {value!r}: give a whole number of at least {lowest}.")
        object.__setattr__(self, name, int(value))

    def _number(self, name: str, lowest: float) -> None:
        value = getattr(self, name)
        if isinstance(value, bool) or not math.isfinite(value) or value < lowest:
            what = "a positive number" if lowest else "a number of at least 0"
            raise ConfigError(f"{name} = {value!r}: give {what}.")
        object.__setattr__(self, name, float(value))

    def _consistent(self) -> None:
        if self.spot not in ("auto", "gaussian", "disc", "ring"):
            raise ConfigError(f'spot = {self.spot!r}: give "auto", "gaussian", "disc" or "ring".')
        if self.compat not in ("none", "trackpy"):
            raise ConfigError(f'compat = {self.compat!r}: give "none" or "trackpy".')
        for name, known in (("predictor", ("none", "velocity", "affine")), ("link_cost", ("distance", "likelihood"))):
            if getattr(self, name) not in known:
                raise ConfigError(f"{name} = {getattr(self, name)!r}: give one of {', '.join(known)}.")
        if self.diameter % 2 == 0:
            raise ConfigError(f"diameter = {self.diameter}: the mask needs a centre pixel; give an odd number, "
                              f"such as {self.diameter + 1}.")
        if self.smoothing_size is not None and self.smoothing_size % 2 == 0:
            raise ConfigError(f"smoothing_size = {self.smoothing_size}: give an odd number, such as "
                              f"{self.smoothing_size + 1}.")
        if self.noise_size >= self.boxcar:
            raise ConfigError(f"noise_size = {self.noise_size:g} is not below the smoothing size {self.boxcar} px;"
                              " the usual value is 1.")
        if self.percentile > 100:
            raise ConfigError(f"percentile = {self.percentile:g}: give a number from 0 to 100.")
        if self.stop is not None and self.stop <= self.start:
            raise ConfigError(f"stop = {self.stop} leaves no frame after start = {self.start}; stop is the frame "
                              "after the last.")

    @property
    def boxcar(self) -> int:
        """Edge of the boxcar in force: `smoothing_size`, or `diameter` where that is None [px]."""
        return self.diameter if self.smoothing_size is None else self.smoothing_size

    def threshold_for(self, dtype: np.dtype) -> float:
        """`threshold`, or where that is None 1 grey level for integer frames and 1/255 for others."""
        if self.threshold is not None:
            return self.threshold
        return 1.0 if np.issubdtype(dtype, np.integer) else 1.0 / 255.0

    def fits(self, height: int, width: int) -> None:
        """Raise `ConfigError` where a length exceeds the frame.

        >>> Track(search_range=600).fits(512, 512)
        Traceback (most recent call last):
        ...
        vid2dyn.core.errors.ConfigError: search_range = 600 px is larger than the frame (512 x 512 px); ...
        """
        frame = f"the frame ({height} x {width} px)"
        if self.search_range > max(height, width):
            raise ConfigError(f"search_range = {self.search_range:g} px is larger than {frame}; give the farthest "
                              "a particle moves between two frames, in pixels.")
        if max(self.diameter, self.boxcar) >= min(height, width):
            raise ConfigError(f"diameter = {self.diameter} px (smoothing_size {self.boxcar}) does not fit into "
                              f"{frame}; give the size of one particle's image, in pixels.")
