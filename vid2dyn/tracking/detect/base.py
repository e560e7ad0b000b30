"""One frame in, a table of features out: the interface.

`vid2dyn.tracking.detect.spots.SpotFitter` is the usual detector; `vid2dyn.tracking.detect.crocker_grier.CrockerGrier`
takes trackpy's own steps.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from vid2dyn.core.errors import DataError


class Detector(ABC):
    """Finds particles in one frame."""

    @abstractmethod
    def __call__(self, frame: np.ndarray) -> np.ndarray:
        """Features of an (H, W) frame: (N, 10) float64, see `vid2dyn.tracking.columns.Feature`; N may be 0."""


def finite(frame: np.ndarray, number: int, where: str) -> np.ndarray:
    """`frame` as it is, or `DataError` naming the frame that holds NaN or infinite pixels."""
    if not np.issubdtype(frame.dtype, np.integer):
        bad = np.argwhere(~np.isfinite(frame))
        if len(bad):
            y, x = bad[0]
            raise DataError(f"{where}: frame {number} has {len(bad)} pixels that are NaN or infinite, the first "
                            f"at (y, x) = ({y}, {x}). Repair the movie, or leave the frame out (start, stop).")
    return frame
