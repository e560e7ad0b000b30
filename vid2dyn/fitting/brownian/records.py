"""What goes into each of the three fits of Brownian colloids (pair forces, traps, structure) and what comes out.

A fit takes a tuple of `FitData`, one for each recording.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from vid2dyn.data.trajectories import Trajectories
from vid2dyn.dynamics.recipes.brownian import Brownian
from vid2dyn.fitting.brownian.evidence import StepModel, with_traps_known, without_held_out
from vid2dyn.fitting.brownian.likelihood import with_believable_errors
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
    stated : (n, dim) array, optional
        Localisation variances as they were stated, where the recording need not believe them [µm²].
    """

    tracks: Trajectories
    recording: Recording
    recipe: Brownian
    noise_scale: float | None
    name: str = ""
    species: tuple[str, ...] = ()

    stated: np.ndarray | None = None

    def before_held_out(self) -> FitData:
        """What a model may be learned from that the held-out frames are to judge.

        (Which frames and detections are of use at all is settled before, with all frames.)
        """
        return replace(self, recording=without_held_out(self._by_first_frames()))

    def judged(self) -> Recording:
        """The recording on which such a model is judged."""
        recording = self._by_first_frames()
        return with_traps_known(recording) if self.recipe.trap == "each" else recording

    def _by_first_frames(self) -> Recording:
        """With the stated errors believed, or not, by what is seen before the held-out frames."""
        if self.stated is None:
            return self.recording
        recording = replace(self.recording, variance=self.stated)
        return with_believable_errors(recording, without_held_out(recording))


TOO_SHORT = ("The last fifth of the frames could not be kept aside, because the rest is not enough to learn from: the "
             "likelihood, the gain over free diffusion and the calibration are those of frames that were learned from, "
             "and too good. ({})")
"""What is said where there is no fit without the held-out frames, with its error."""


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
