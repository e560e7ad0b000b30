"""What can be measured of a sheet of particles: order, rearrangements, the loops of its drive; no Qt, no drawing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import vid2dyn as vd
from vid2dyn_napari import styles

STILL = 10
"""Frames from start to end of a rearrangement where nothing is driven."""


@dataclass(frozen=True)
class SheetSettings:
    """What is measured of a sheet.

    Parameters
    ----------
    cutoff : float or None
        Particles nearer than this are neighbours [µm]. None: one and a half mean spacings.
    lag : int or None
        Frames from start to end of a rearrangement. None: half a cycle of the drive, else ten.
    held : str
        A column of the table that is 1 (or true) for particles moved by hand: edges, marked in Edit tracks.
    """

    cutoff: float | None = None
    lag: int | None = None
    held: str = "held"


@dataclass(frozen=True)
class MeasuredSheet:
    """What `measure` found.

    Parameters
    ----------
    tracks : Trajectories
        With the columns `psi6`, `log10 d2min` [µm²] and `strain`, not a number where they are not known.
    time, share : (starts,) arrays
        Starts of the rearrangements [s, or frames], and the share of particles with a D²min above `threshold`.
    threshold : float
        Ten times the median D²min, or ten times what noise alone makes, whichever is more [µm²].
    cutoff, lag : float, int
        In force [µm], [frames].
    drive : Cycles or None
        Of the moving edge.
    loops : list of (label, Moduli, colour)
        Stress of the learned forces against strain, of data and rollout.
    notes : list of str
        What could not be measured and why, and what to know before believing the rest.
    """

    tracks: Any
    time: np.ndarray
    share: np.ndarray
    threshold: float
    cutoff: float
    lag: int
    drive: Any
    loops: list[tuple[str, Any, str]]
    notes: list[str]


def measure(session: Any, settings: SheetSettings, progress: Any = None) -> MeasuredSheet:
    """Measure the tracks of a session, and the stress of its model's forces in data and rollout."""
    tracks = session.tracks
    notes: list[str] = []
    driven = settings.held in tracks.dataframe
    drive = _tried(notes, lambda: vd.analysis.cycles(tracks, held=settings.held)) if driven else None
    if not driven:
        notes.append(f"No particle is marked as moved by hand (column {settings.held}): mark edges in Edit tracks "
                     "to see strain and stress.")
    cutoff = settings.cutoff or 1.5 * spacing(tracks)
    half = None if drive is None else max(1, round(0.5 / (drive.frequency * tracks.units.dt)))
    lag = settings.lag or half or min(STILL, max(1, tracks.n_frames // 2))
    moved = vd.analysis.d2min(tracks, cutoff, lag, progress=progress)
    order = vd.analysis.psi6(tracks, cutoff, progress=progress)
    notes += [*(() if drive is None else drive.warnings), *moved.warnings, *order.warnings]
    floor = 10 * max(float(moved.dataframe["d2min"].median()), moved.noise_floor or 0.0)
    by_frame = (moved.dataframe["d2min"] > floor).groupby(moved.dataframe["frame"]).mean()
    loops = _loops(session, settings.held, drive, notes, progress)
    return MeasuredSheet(_with_columns(tracks, moved.dataframe.assign(**{"log10 d2min": moved.colours()}),
                                       order.dataframe),
                         by_frame.index.to_numpy() * _frame(tracks), by_frame.to_numpy(), floor, cutoff, lag, drive,
                         loops, list(dict.fromkeys(notes)))


def spacing(tracks: Any) -> float:
    """Mean distance of neighbours [µm], from the number of particles of the first frame in the area they fill.

    >>> y, x = np.mgrid[:10, :10] * 2.0
    >>> grid = np.stack([y.ravel(), x.ravel()], axis=1)[None]
    >>> bool(abs(spacing(vd.Trajectories.from_dense(grid, vd.Units(1.0, 1.0))) - 2.1) < 0.1)
    True
    """
    x = tracks.positions[tracks.frame == tracks.frame.min()][:, :2]
    area = float(np.prod(np.ptp(x, axis=0))) * (1 + 1 / max(np.sqrt(len(x)) - 1, 1)) ** 2
    return float(np.sqrt(2 / np.sqrt(3) * area / len(x)))


def _loops(session: Any, held: str, drive: Any, notes: list[str], progress: Any) -> list[tuple[str, Any, str]]:
    """Loops of data and rollout, as far as there are learned forces."""
    model = session.model
    if drive is None:
        return []
    if not hasattr(model, "pair_force") or not isinstance(model.recipe.get("cutoff"), float | int):
        notes.append("Fit pair forces to see stress: Brownian with cutoff and packed, in the section Fit.")
        return []
    found = []
    for label, tracks, colour in (("data", session.tracks, styles.DATA), ("model", session.future, styles.MODEL)):
        if tracks is None:
            continue
        column = held if held in tracks.dataframe else str(model.recipe.get("held"))
        if label == "data" and hasattr(model, "labelled") and "label_tracks" in model.arrays:
            tracks = model.labelled(tracks)
        one = _tried(notes, _moduli(tracks, model, drive, column, progress))
        if one is not None:
            notes += one.warnings
            found.append((label, one, colour))
    return found


def _moduli(tracks: Any, model: Any, drive: Any, held: str, progress: Any) -> Callable[[], Any]:
    column = str(model.recipe.get("species") or "species")
    return lambda: vd.analysis.moduli(tracks, model, float(model.recipe["cutoff"]), frequency=drive.frequency,
                                      held=held, species=column, progress=progress)


def _tried(notes: list[str], make: Callable[[], Any]) -> Any:
    """What `make` gives, or None and its error among the notes."""
    try:
        return make()
    except vd.Vid2DynError as error:
        notes.append(str(error))
        return None


def _with_columns(tracks: Any, moved: Any, order: Any) -> Any:
    """The tracks with what was found of every detection."""
    table = tracks.dataframe
    for found, names in ((moved, ["log10 d2min", "strain"]), (order, ["psi6"])):
        found = found[found["particle"] >= 0].drop_duplicates(["frame", "particle"])
        table = table.drop(columns=names, errors="ignore").merge(found[["frame", "particle", *names]], how="left",
                                                                 on=["frame", "particle"])
    return tracks.replace(dataframe=table)


def _frame(tracks: Any) -> float:
    """Seconds between frames, or 1 where they are not known."""
    rate = tracks.units.frames_per_second
    return 1.0 if rate is None else 1.0 / rate
