"""Recordings that a Brownian model makes, seen by the camera of the data, beside them (`vid2dyn.assessment.rollouts`).

A rollout begins at the first frame of the data and is blurred and read with their localisation noise (`synthetic`), so
that both sides are compared as they are. Takes some seconds, which is why `vd.fit` leaves it to `vd.assess`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vid2dyn.assessment.base import Finding
from vid2dyn.assessment.rollouts import rollout_findings
from vid2dyn.core.errors import Vid2DynError
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.fitting.brownian.pair_forces import view_of
from vid2dyn.fitting.brownian.records import FitData
from vid2dyn.fitting.brownian.synthetic import SimulatedModel, SyntheticRecordings

MOST = 40_000
"""Detections of the data, and of a run, that are compared; the first frames of longer recordings."""
SEEN = 0.98
"""Part of the detections that must be there for neighbours and long displacements to be compared."""


def findings_of_rollouts(data: FitData, drawn: Sequence[SimulatedModel], seed: list[int]) -> list[Finding]:
    """Motion and neighbours of the data beside those of the model; nothing where particles come and go, or where the
    model cannot be simulated.

    Parameters
    ----------
    data : FitData
    drawn : sequence of SimulatedModel
        For every run the numbers of the model, drawn from their errors, as they hold in this recording.
    seed : list of int
    """
    recording, recipe = data.recording, data.recipe
    tracks = data.tracks.linked()
    frames = np.unique(tracks.frame)
    if len(frames) < 20 or not tracks.n_particles:
        return []
    each = len(tracks) / len(frames)
    kept = frames[:max(20, int(MOST / each))]
    tracks = tracks.between(int(kept[0]), int(kept[-1]) + 1)
    length = int(kept[-1] - kept[0]) + 1
    whole = len(tracks) >= SEEN * tracks.n_particles * length
    if not whole or recipe.structure is not None:
        return []
    try:
        runs = []
        for k, numbers in enumerate(drawn):
            made = SyntheticRecordings(recording, view_of(data), recipe.trap, seed=[*seed, k],
                                       stationary=recipe.stationary is not False)
            made.frames = length
            (one,) = made.recordings(numbers, 0.0, 1)
            runs.append(Trajectories.from_dense(one.steps.position.reshape(-1, length, one.steps.dim).swapaxes(0, 1),
                                                tracks.units, box=one.steps.box))
        return rollout_findings(tracks, runs)
    except (Vid2DynError, np.linalg.LinAlgError):
        return []
