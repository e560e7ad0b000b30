"""Which detector the settings ask for."""

from __future__ import annotations

from vid2dyn.tracking.detect import CrockerGrier, Detector
from vid2dyn.tracking.settings import Track


def detector(settings: Track) -> Detector:
    """The detector that `settings.compat` names.

    >>> type(detector(Track(compat="trackpy"))).__name__
    'CrockerGrier'
    """
    return CrockerGrier(settings)
