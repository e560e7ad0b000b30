"""What goes into each of the three fits of Brownian colloids (pair forces, traps, structure) and what comes out.

A fit takes a tuple of `FitData`, one for each recording.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vid2dyn.data.trajectories import Trajectories
from vid2dyn.dynamics.recipes.brownian import Brownian
from vid2dyn.fitting.brownian.evidence import StepModel
from vid2dyn.fitting.brownian.recording import Recording
from vid2dyn.fitting.brownian.recordings_alone import RecordingsAlone


@dataclass(frozen=True, eq=False)
class FitData:
    """The data, laid out, and what is to be learned from them.

    Parameters
    ----------
    tracks : Trajectories
        As the fit uses them: thinned and freed of doubles where that was needed.
    recording : Recording
        The same in µm and s.
    recipe : Brownian
    noise_scale : float or None
        Localisation variance over the stated one where it is known; None: it is learned.
    name : str
        Of the recording among others.
    species : tuple of str
        Names of the species; empty: all particles are alike.
    """

    tracks: Trajectories
    recording: Recording
    recipe: Brownian
    noise_scale: float | None
    name: str = ""
    species: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class FitResult:
    """What a fit found.

    Parameters
    ----------
    arrays : dict
        Arrays of the model, see `BrownianModel`.
    evaluation : dict
        Entries of the report: "held_out", "calibration", "course", ...
    recipe : Brownian
        With the column in force, where mobility depends on one.
    warnings : list of str
        What to know of this fit.
    stopped : str, optional
        The warning that it was stopped early.
    recordings : RecordingsAlone, optional
        What several recordings say one by one.
    models : tuple of StepModel
        Of each recording: the model that was learned without the held-out frames.
    """

    arrays: dict[str, np.ndarray]
    evaluation: dict[str, Any]
    recipe: Brownian
    warnings: list[str] = field(default_factory=list)
    stopped: str | None = None
    recordings: RecordingsAlone | None = None
    models: tuple[StepModel, ...] = ()
