"""The settings of tracking: the [track] table of an experiment file."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from typing import Literal

import numpy as np

from vid2dyn.core.configurable import Configurable, check_kinds
from vid2dyn.core.errors import ConfigError


@dataclass(frozen=True)
class Track(Configurable):
    """How particles are found and linked. Lengths in pixels, brightness in grey levels.

    Names and meaning of the arguments are trackpy's, whose steps are those of Crocker and Grier, J. Colloid Interface
    Sci. 179, 298 (1996).

    Parameters
    ----------
    diameter : int
        Odd size of a particle's image [px]; rather too large than too small.
    search_range : float
        Farthest distance that a particle moves between two frames [px]; links are safe well below half the distance of
        neighbours.
    memory : int
        Number of frames that a particle may be missing and still be taken for the same one.
    minmass : float, optional
        Least summed brightness of a particle [grey levels]. Without a number it is chosen from the movie
        (`vid2dyn.tracking.automatic_minmass`); 0 keeps every maximum, as trackpy does by default.
    separation : float, optional
        Least distance of two particles [px]; of two that are nearer the dimmer one is dropped. Without a number none is
        dropped, or with compat = "trackpy" those nearer than diameter + 1.
    percentile : float
        Percentile of the lit pixels of the filtered image that the peak of a particle must exceed; used with
        compat = "trackpy" only.
    invert : bool, optional
        Whether particles are dark on a bright background. Without a choice it is found in the movie: dark ones are
        tracked
        where dark spots are clearly stronger than bright ones (with compat = "trackpy" always bright ones).
    threshold : float, optional
        Brightness below which a pixel of the filtered image counts as dark [grey levels]; by default 1, and for
        images of floating-point numbers 1/255 (of the range of grey levels, where that is less than 1).
    noise_size : float
        Width of the Gaussian that smooths pixel noise [px].
    smoothing_size : int, optional
        Odd edge of the square whose mean is taken for the background [px]; by default the diameter.
    max_size : float, optional
        Largest radius of gyration of a particle's image [px]; larger detections are dropped before linking.
    max_ecc : float, optional
        Largest eccentricity of a particle's image, from 0 (round) to 1; others are dropped before linking.
    min_length : int
        Least number of detections of a track; shorter tracks are dropped, and 1 keeps all.
    start : int
        Number of the first frame that is tracked, counted from 0.
    stop : int, optional
        Number of the frame after the last one that is tracked; by default the movie is tracked to its end.
    spot : {"auto", "gaussian", "disc", "ring"}
        Shape of a particle's image. "gaussian" fits a Gaussian; "disc" and "ring" measure the common profile of the
        particles in every frame, best with some that stand alone, and fit that; "ring" also searches with it. "auto"
        takes what explains two frames of the movie best (`vid2dyn.tracking.detect.shape_choice`).
    spot_width : float, optional
        Width (standard deviation) of the Gaussian that is fitted [px]. Without a number it is measured in a few frames
        of the movie and is the same for all.
    sizes : {"one", "classes", "two", "three", "each"}
        How many sizes the images of particles have. "one": all are alike. "two", "three": so many classes, with the
        class of every particle and its probability; "classes": as many as the movie shows. "each": every particle has
        a size of its own.
    class_sizes : tuple of float, optional
        Sizes of the classes, small ones first [px]: standard deviation of a Gaussian, radius of a disc where it has
        half its brightness, or of the rim of a ring. With sizes = "each": some sizes from the smallest to the largest.
        Without numbers they are measured in a few frames of the movie.
    axial_width : float, optional
        Of stacks: width (standard deviation) of a particle's image along the depth [planes]. Without a number it is
        measured in a few stacks and is the same for all.
    axial_search_range : float, optional
        Of stacks: farthest distance that a particle moves along the depth between two frames [px]; by default
        search_range.
    compat : {"none", "trackpy"}
        Whether features are found as trackpy finds them, to the last bit (whole grey levels, centroids over a round
        mask, one of two features closer than `separation` dropped), to repeat published numbers.
    range_growth : float
        Exponent with which the search range grows while a particle is missing: after n frames it is searched for
        within search_range times n to this power. 0 is trackpy's; 0.5 suits diffusing particles, 1 directed ones.
    predictor : {"none", "velocity", "affine", "profile"}
        Place around which a particle is searched: "none" where it was, "velocity" where its own velocity carries it,
        "affine" where a flow common to all (shear, rotation, drift) carries it, "profile" where any smooth flow does
        (sheared packings with a bent profile).
    link_cost : {"distance", "likelihood"}
        Quantity whose sum over the links is least: the squared displacement, or its likelihood given the standard
        errors of the positions, so that a well-localised particle is not traded for a blurred one.
    roi : text or list of (y, x), optional
        Region of interest [px]: two opposite corners of a rectangle, three or more corners of a polygon, or the path of
        a mask image that is not zero inside. Particles outside are left out, and its edges count like those of the
        view in all statistics. By default the whole frame.
    background : {"none", "median", "mean"}
        Image that is subtracted from every frame: the median over time (refined by the mean of what lies near it) or
        the mean of up to 60 frames of the whole movie. It takes away dirt and what does not move; particles that stay
        in one place for half of the movie go with it.
    flat_field : text, optional
        Illumination that every frame is divided by: the path of an image of an empty field, or "movie" for the smooth
        part of the movie's own median (a polynomial of degree 4). By default frames are not divided.
    dark_level : float
        Grey level of the camera without light, subtracted before frames are divided [grey levels].
    bleach_correction : {"none", "ratio"}
        Whether frames are scaled to the mean brightness of a typical one, against bleaching and flicker.

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
    invert: bool | None = None
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
    sizes: Literal["one", "classes", "two", "three", "each"] = "one"
    class_sizes: tuple[float, ...] | None = None
    compat: Literal["none", "trackpy"] = "none"
    range_growth: float = 0.0
    predictor: Literal["none", "velocity", "affine", "profile"] = "none"
    link_cost: Literal["distance", "likelihood"] = "distance"
    axial_width: float | None = None
    axial_search_range: float | None = None
    roi: str | tuple[tuple[float, float], ...] | None = None
    background: Literal["none", "median", "mean"] = "none"
    flat_field: str | None = None
    dark_level: float = 0.0
    bleach_correction: Literal["none", "ratio"] = "none"

    def __post_init__(self) -> None:
        self._whole("diameter", 3)
        self._whole("memory", 0)
        self._whole("min_length", 1)
        self._whole("start", 0)
        for name in ("smoothing_size", "stop"):
            if getattr(self, name) is not None:
                self._whole(name, 1)
        self._regions()
        for name in ("minmass", "separation", "threshold", "max_size", "max_ecc", "noise_size", "dark_level"):
            if getattr(self, name) is not None:
                self._number(name, 0.0)
        self._number("search_range", math.ulp(0.0))
        if self.spot_width is not None:
            self._number("spot_width", 0.3)
        self._sizes()
        if self.axial_width is not None:
            self._number("axial_width", 0.3)
        if self.axial_search_range is not None:
            self._number("axial_search_range", math.ulp(0.0))
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

    def _sizes(self) -> None:
        known = ("one", "classes", "two", "three", "each")
        if self.sizes not in known:
            raise ConfigError(f"sizes = {self.sizes!r}: give one of {', '.join(known)}.")
        if self.sizes != "one" and self.compat == "trackpy":
            raise ConfigError(f'sizes = {self.sizes!r} with compat = "trackpy": trackpy knows one size; leave one out.')
        if self.sizes != "one" and self.spot_width is not None:
            raise ConfigError(f"sizes = {self.sizes!r} with spot_width = {self.spot_width:g}: that is one width for "
                              "all; give class_sizes, or neither.")
        if self.class_sizes is None:
            return
        values = self.class_sizes
        if self.sizes == "one":
            raise ConfigError('class_sizes with sizes = "one": give sizes = "two", "three", "classes" or "each".')
        if not values or not all(math.isfinite(v) and v >= 0.3 for v in values) or list(values) != sorted(set(values)):
            raise ConfigError(f"class_sizes = {values!r}: give sizes in pixels, 0.3 or more, small ones first.")
        wanted = {"two": 2, "three": 3}.get(self.sizes)
        if wanted is not None and len(values) != wanted:
            raise ConfigError(f"class_sizes = {values!r} with sizes = {self.sizes!r}: give {wanted} numbers.")
        object.__setattr__(self, "class_sizes", tuple(float(v) for v in values))

    def _regions(self) -> None:
        """Corners as plain numbers, so that settings can be compared."""
        if isinstance(self.roi, str) and self.roi.lstrip().startswith("["):        # corners on the command line
            try:
                object.__setattr__(self, "roi", json.loads(self.roi))
                check_kinds(self)
            except ValueError:
                raise ConfigError(f"roi = {self.roi!r}: write corners as [[y, x], [y, x], ...], or give the path of a "
                                  "mask image.") from None
        if self.roi is None or isinstance(self.roi, str | os.PathLike):
            object.__setattr__(self, "roi", None if not self.roi else os.fspath(self.roi))
            return
        corners = tuple(tuple(float(v) for v in corner) for corner in self.roi)
        if len(corners) < 2 or not all(math.isfinite(v) for corner in corners for v in corner):
            raise ConfigError(f"roi = {self.roi!r}: give two opposite corners (y, x) of a rectangle, three or more of "
                              "a polygon, or the path of a mask image.")
        object.__setattr__(self, "roi", corners)

    def _consistent(self) -> None:
        if self.spot not in ("auto", "gaussian", "disc", "ring"):
            raise ConfigError(f'spot = {self.spot!r}: give "auto", "gaussian", "disc" or "ring".')
        if self.compat not in ("none", "trackpy"):
            raise ConfigError(f'compat = {self.compat!r}: give "none" or "trackpy".')
        for name, known in (("predictor", ("none", "velocity", "affine", "profile")),
                            ("link_cost", ("distance", "likelihood")), ("background", ("none", "median", "mean")),
                            ("bleach_correction", ("none", "ratio"))):
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

    def threshold_for(self, frame: np.ndarray) -> float:
        """`threshold`, or where that is None 1 grey level for integer frames, and for others 1/255, or 1/255 of the
        range
        of a frame that spans less than 1."""
        if self.threshold is not None:
            return self.threshold
        if np.issubdtype(frame.dtype, np.integer):
            return 1.0
        return min(1.0, float(frame.max()) - float(frame.min())) / 255.0

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
