"""The detector that the settings ask for."""

from __future__ import annotations

from vid2dyn.tracking.detect.base import Detector
from vid2dyn.tracking.detect.crocker_grier import CrockerGrier
from vid2dyn.tracking.detect.sized_spots import SizedSpots
from vid2dyn.tracking.detect.spots import SpotFitter
from vid2dyn.tracking.settings import Track


def detector(settings: Track) -> Detector:
    """`SpotFitter`; `SizedSpots` where sizes differ; or what `settings.compat` names.

    >>> type(detector(Track(compat="trackpy"))).__name__
    'CrockerGrier'
    """
    if settings.sizes != "one":
        return SizedSpots(settings)
    return CrockerGrier(settings) if settings.compat == "trackpy" else SpotFitter(settings)
