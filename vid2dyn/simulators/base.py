"""What a simulator is, and the true positions that the observation model and the renderer read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np

from vid2dyn.core.configurable import Configurable
from vid2dyn.core.progress import Progress, silent
from vid2dyn.data.box import Box, Free
from vid2dyn.data.units import Units


class Simulator(Configurable, ABC):
    """Parameters -> data whose truth is known.

    A simulator is a frozen dataclass in a file of this package, or in an outside package through the entry point group
    ``vid2dyn.simulators``; it is found by being there. Its constructor arguments are the keys of the TOML table
    ``[simulate]``. It shares no code with what learns from its data.
    """

    makes: ClassVar[Literal["trajectories", "fields"]] = "trajectories"
    """What kind of data `run` returns."""

    @property
    def suffix(self) -> str:
        """Ending of the file that holds these data: .parquet (trajectories) or .fields."""
        return {"trajectories": ".parquet", "fields": ".fields"}[self.makes]

    @abstractmethod
    def run(self, seed: int = 0, progress: Progress = silent) -> Any:
        """Simulate and return `Trajectories` (or `Fields`) with the truth in `.info["truth"]`.

        The same seed gives the same numbers. No global random state is read or changed.
        """

    def true_function(self, name: str, x: np.ndarray) -> np.ndarray | None:
        """Exact values at `x` of the function that a model calls `name`, or None where theory does not give them.

        Reports and panels draw it beside what was learned. `x` is in the units of the model's method of that name.
        """
        return None


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
    columns : mapping of (T, N) arrays, optional
        Further columns of the table of a rendered truth: the species of a particle, whether it is moved by hand.
    """

    positions: np.ndarray
    middle: np.ndarray
    forces: np.ndarray
    units: Units
    box: Box = field(default_factory=Free)
    truth: dict[str, Any] = field(default_factory=dict)
    centre: tuple[float, ...] | None = None
    state: np.ndarray | None = None
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def mean(self) -> np.ndarray:
        """(T, N, dim) exposure-averaged positions [µm]."""
        return self.positions.mean(axis=1)
