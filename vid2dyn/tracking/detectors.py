"""Which detector the settings ask for."""

from __future__ import annotations

from vid2dyn.tracking.detect import CrockerGrier, Detector
from vid2dyn.tracking.settings import Track
from vid2dyn.tracking.spots import SpotFitter


def detector(settings: Track) -> Detector:
    """`SpotFitter`, or what `settings.compat` names.

    >>> type(detector(Track(compat="trackpy"))).__name__
    'CrockerGrier'
    """
    return CrockerGrier(settings) if settings.compat == "trackpy" else SpotFitter(settings)
