"""What the settings leave open for a recording of stacks, chosen from a few of them and then the same in all."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from vid2dyn.core.errors import ConfigError, DataError
from vid2dyn.data.video import Video
from vid2dyn.tracking.sensor_noise import stack_noise
from vid2dyn.tracking.settings import Track
from vid2dyn.tracking.stacks.detector import StackDetector, prepared
from vid2dyn.tracking.stacks.widths import measured_widths

N_STACKS = 3
"""Stacks that widths are measured in, spread over the recording; one in memory at a time."""
_NOISE_PIXELS = 120_000
_MEASURED, _UNLIKE = 20, 1.6       # spots that tell how widths differ, and the ratio of the outer tenths that is said
_THIN = 0.6                        # planes: an axial width below which the depth is hardly resolved


def check_stack_settings(video: Video, settings: Track) -> None:
    """Raise where stacks cannot be tracked so.

    Raises
    ------
    UnitsError
        When the length per pixel or per plane is unknown.
    ConfigError
        For settings that flat images alone have.
    """
    video.units.require("micrometre_per_pixel", "micrometre_per_plane",
                        for_what=f"{video.path.name}: Tracking in a stack of {video.info.planes} planes")
    for name, known in (("compat", ("none",)), ("spot", ("auto", "gaussian")), ("predictor", ("none", "velocity")),
                        ("sizes", ("one",)), ("class_sizes", (None,)), ("max_size", (None,)), ("max_ecc", (None,)),
                        ("smoothing_size", (None,)), ("threshold", (None,)), ("roi", (None,)),
                        ("background", ("none",)), ("flat_field", (None,)), ("dark_level", (0.0,)),
                        ("bleach_correction", ("none",))):
        value = getattr(settings, name)
        if value not in known:
            cure = " or ".join(repr(one) for one in known if one is not None) or "nothing (leave it out)"
            raise ConfigError(f"{name} = {value!r} is for flat images; for stacks, whose particles are fitted by "
                              f"Gaussians in three dimensions, give {cure}. Or open one plane: vd.open(..., z=0).")
    if video.info.planes < 3:
        raise DataError(f"{video.path}: a stack of {video.info.planes} planes cannot tell depths; 3 are the least. "
                        "Open one plane: vd.open(..., z=0).")


def stack_settings(video: Video, settings: Track, numbers: Sequence[int]) -> tuple[Track, tuple[str, ...]]:
    """`settings` with `spot_width`, `axial_width`, `invert`, `minmass` filled in, and what a user should know.

    Parameters
    ----------
    numbers : sequence of int
        Stacks to measure widths in.
    """
    settings = dataclasses.replace(settings, spot="gaussian", invert=bool(settings.invert),
                                   minmass=settings.minmass or 0.0)
    if settings.spot_width is not None and settings.axial_width is not None:
        return settings, ()
    found = []
    for number in numbers:
        stack, full = prepared(video[number], bool(settings.invert))
        noise = stack_noise(stack, _NOISE_PIXELS)
        found.append(measured_widths(stack, (noise.offset, noise.gain, noise.floor), settings.diameter, full))
    widths = np.concatenate(found)
    if len(widths) < 3:
        raise DataError(f"{video.path}: {len(widths)} spots of diameter {settings.diameter} px stand out clearly in "
                        f"{len(numbers)} stacks, too few to measure how wide spots are. Give spot_width [px] and "
                        "axial_width [planes] (standard deviations), another diameter, or invert = true for dark "
                        "particles.")
    lateral, axial = (float(v) for v in np.median(widths, axis=0))
    notes: tuple[str, ...] = ()
    low, high = np.quantile(widths, [0.1, 0.9], axis=0)
    for k, (name, unit, given) in enumerate((("spot_width", "px", settings.spot_width),
                                             ("axial_width", "planes", settings.axial_width))):
        if given is None and len(widths) >= _MEASURED and high[k] > _UNLIKE * low[k]:
            notes += (f"Spots differ in width: a tenth have a {name} below {low[k]:.2g} and a tenth above "
                      f"{high[k]:.2g} {unit} ({len(widths)} spots), and all are fitted with the median. Places stay "
                      "unbiased where spots are apart; stated errors and brightness are off for those that differ.",)
    settings = dataclasses.replace(settings, spot_width=settings.spot_width or lateral,
                                   axial_width=settings.axial_width or axial)
    assert settings.axial_width is not None
    if settings.axial_width < _THIN:
        notes += (f"Images of particles are {settings.axial_width:.2g} planes deep (standard deviation): so far apart "
                  "planes hardly tell depths between them, and z_std is too small. Record planes at most one and a "
                  "half standard deviations apart.",)
    return settings, notes


def stack_detector(video: Video, settings: Track) -> StackDetector:
    """The detector for the settings in force."""
    assert settings.spot_width is not None
    assert settings.axial_width is not None
    return StackDetector(settings.spot_width, settings.axial_width, video.units.plane / video.units.um,
                         settings.minmass or 0.0, settings.separation or 0.0, bool(settings.invert))
