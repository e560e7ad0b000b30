"""The same detections, linked anew."""

from __future__ import annotations

import numpy as np

from vid2dyn.data.trajectories import Trajectories
from vid2dyn.tracking.filters import keep
from vid2dyn.tracking.settings import Track
from vid2dyn.tracking.stacks.linking import stream_of


def relink(tracks: Trajectories, settings: Track) -> Trajectories:
    """The same detections with particle numbers from new settings of linking.

    Parameters
    ----------
    tracks : Trajectories
        Rows that belong to no track take part too.
    settings : Track
        search_range, memory, range_growth, predictor, link_cost and min_length count.

    Examples
    --------
    >>> from vid2dyn.simulators import TrackingChallenge
    >>> truth = TrackingChallenge("brownian", "low", frames=5, height=128, width=128).run(seed=0)
    >>> relink(truth, Track(search_range=8)).n_frames
    5
    """
    table = tracks.dataframe.sort_values("frame", kind="stable", ignore_index=True)
    stated = [f"{axis}_std" for axis in tracks.axes]
    columns = [*tracks.axes, *(stated if set(stated) <= set(table) else ())]
    values = table[columns].to_numpy(dtype=float)
    frame = table["frame"].to_numpy()
    numbers, first = np.unique(frame, return_index=True)
    stream = stream_of(settings, tracks.dim)
    particle = [stream.step(int(k), part) for k, part in zip(numbers, np.split(values, first[1:]))]
    table["particle"] = np.concatenate(particle) if particle else np.empty(0, np.int64)
    info = {**tracks.info, "warnings": [*tracks.info.get("warnings", ()), *stream.notes()]}
    made = Trajectories.from_dataframe(table, units=tracks.units, box=tracks.box, field_of_view=tracks.field_of_view,
                                       info=info if info["warnings"] else tracks.info, region=tracks.region)
    return keep(made.replace(drift=tracks.drift), min_length=settings.min_length)
