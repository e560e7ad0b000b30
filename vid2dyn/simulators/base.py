"""What a simulator is, and the true positions that the observation model and the renderer read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vid2dyn.core.progress import Progress, silent
from vid2dyn.data.box import Box, Free
from vid2dyn.data.units import Units


class Simulator(ABC):
    """Parameters -> data whose truth is known.

    A simulator is a frozen dataclass in a file of this package; it is found by being there. Its
    constructor arguments are the keys of the TOML table ``[simulate]``. It shares no code with what
    learns from its data.
    """

    @abstractmethod
    def run(self, seed: int = 0, progress: Progress = silent) -> Any:
        """Simulate and return `Trajectories` (or `Fields`) with the truth in `.info["truth"]`.

        The same seed gives the same numbers. No global random state is read or changed.
        """


@dataclass(frozen=True, eq=False)
class TruePositions:
    """Where every particle truly was during every frame, before a camera or a tracker.

    Parameters
    ----------
    positions : (T, S, N, dim) array
        Mean position [µm] in each of the S equal parts of the exposure of frame t, axes (y, x[, z]).
        The mean over S is the exposure-averaged position. Never wrapped: motion is continuous. NaN where a
        particle does not exist.
    middle : (T, N, dim) array
        Position [µm] at the middle of the exposure.
    forces : (T, N, dim) array
        Force [kT/µm] on every particle at the middle of the exposure.
    units : Units
        Calibration of the recording.
    box : Box
        Space the particles live in.
    truth : dict
        Parameters of the simulation: JSON-able.
    centre : tuple of float, optional
        Where a camera looks [µm]; default: the middle of the box, or of the particles at the start.
    state : (T, N) array, optional
        Hidden state of every particle in each frame, between 0 and 1, which a camera may show.
    """

    positions: np.ndarray
    middle: np.ndarray
    forces: np.ndarray
    units: Units
    box: Box = field(default_factory=Free)
    truth: dict[str, Any] = field(default_factory=dict)
    centre: tuple[float, ...] | None = None
    state: np.ndarray | None = None

    @property
    def mean(self) -> np.ndarray:
        """(T, N, dim) exposure-averaged positions [µm]."""
        return self.positions.mean(axis=1)
