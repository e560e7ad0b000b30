"""Tracks corrected by hand: every edit is plain data, kept in ``tracks.info["edits"]`` and repeatable.

An edit is a dictionary with the name of the edit and its arguments, as JSON and a script can hold it:

    {"edit": "delete", "particles": [3, 5]}                          whole tracks
    {"edit": "delete", "particles": [3], "frames": [20, 30]}         detections in frames 20 ... 29; a gap is left
    {"edit": "split", "particle": 3, "frame": 20}                    from frame 20 on it is another particle
    {"edit": "merge", "particles": [3, 9]}                           the second is the first, seen later
    {"edit": "relink", "frames": [20, 30], "search_range": 8.0}      links within a stretch anew
    {"edit": "cut", "region": [[y, x], ...]}                         detections inside a polygon [px] go
    {"edit": "cut", "region": [...], "keep": "inside", "frames": [0, 50]}
    {"edit": "hold", "region": [[y, x], ...]}                        particles there are moved by hand: column "held"
    {"edit": "hold", "particles": [3, 5], "edge": 2}                 those are another edge; 0 lets go of them

New particles get the numbers after the largest one, so that the same edits of the same tracks give the same table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from vid2dyn.core.errors import ConfigError, DataError
from vid2dyn.core.registry import did_you_mean
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.tracking.link.linker import LinkStream
from vid2dyn.tracking.settings import Track

Edit = Mapping[str, Any]
Spec = tuple[Callable[..., pd.DataFrame], frozenset[str], frozenset[str]]


def curate(tracks: Trajectories, edits: Edit | Sequence[Edit]) -> Trajectories:
    """Tracks with edits applied, one after the other.

    Parameters
    ----------
    tracks : Trajectories
        Are not changed.
    edits : dict or list of dicts
        See the module docstring; ``curated.info["edits"]`` of other tracks repeats what was done to them.

    Returns
    -------
    Trajectories
        ``info["edits"]`` holds all edits so far, oldest first.

    Raises
    ------
    ConfigError
        For an unknown edit or argument.
    DataError
        For a particle that is not there, particles that are seen in the same frame (merge), and where nothing is left.

    Examples
    --------
    >>> df = pd.DataFrame({"frame": [0, 1, 2, 0, 1], "particle": [0, 0, 0, 1, 1], "y": 0.0, "x": 0.0})
    >>> tracks = Trajectories.from_dataframe(df)
    >>> edited = curate(tracks, [{"edit": "split", "particle": 0, "frame": 2}, {"edit": "merge", "particles": [1, 2]}])
    >>> edited.dataframe["particle"].tolist(), len(edited.info["edits"])
    ([0, 0, 1, 1, 1], 2)
    """
    listed = [edits] if isinstance(edits, Mapping) else list(edits)
    table = tracks.dataframe
    done = [_plain(edit) for edit in tracks.info.get("edits", ())]
    for number, edit in enumerate(listed, start=1):
        where = f"edit {number}" if len(listed) > 1 else "edit"
        apply, arguments = _known(edit, where)
        try:
            table = apply(table, **arguments)
        except DataError as error:
            raise DataError(f"{where} ({edit['edit']}): {error}") from None
        if not len(table):
            raise DataError(f"{where} ({edit['edit']}): nothing is left of the tracks.")
        table = table.sort_values(["particle", "frame"], kind="stable", ignore_index=True)
        done.append({"edit": edit["edit"], **arguments})
    return tracks.replace(dataframe=table, info={**tracks.info, "edits": done})


def _known(edit: Edit, where: str) -> tuple[Callable[..., pd.DataFrame], dict[str, Any]]:
    """The function of an edit and its arguments as plain data."""
    if not isinstance(edit, Mapping) or "edit" not in edit:
        raise ConfigError(f"{where} = {edit!r}: give a dictionary such as {{'edit': 'delete', 'particles': [3]}}; "
                          f"known edits: {', '.join(_EDITS)}.")
    name = edit["edit"]
    if name not in _EDITS:
        raise ConfigError(f"{where}: unknown edit {name!r}.{did_you_mean(str(name), _EDITS)} Known: "
                          f"{', '.join(_EDITS)}.")
    apply, needed, optional = _EDITS[name]
    arguments = _plain({key: value for key, value in edit.items() if key != "edit" and value is not None})
    for key in arguments:
        if key not in needed | optional:
            raise ConfigError(f"{where} ({name}): unknown argument {key!r}.{did_you_mean(key, needed | optional)}")
    missing = sorted(needed - set(arguments))
    if missing:
        raise ConfigError(f"{where} ({name}): needs {', '.join(missing)}.")
    return apply, arguments


def _plain(value: Any) -> Any:
    """Numbers, lists and words as JSON has them."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value


def _stretch(table: pd.DataFrame, frames: Sequence[int] | None) -> np.ndarray:
    """(rows,) bool: first <= frame < last; all rows without `frames`."""
    if frames is None:
        return np.ones(len(table), bool)
    if len(frames) != 2 or not frames[0] < frames[1]:
        raise ConfigError(f"frames = {list(frames)}: give the first frame and the one after the last.")
    frame = table["frame"].to_numpy()
    return (frame >= frames[0]) & (frame < frames[1])


def _there(table: pd.DataFrame, particles: Any) -> np.ndarray:
    wanted = np.atleast_1d(np.asarray(particles))
    if wanted.dtype.kind not in "iu" or wanted.ndim != 1:
        raise ConfigError(f"particles = {particles!r}: give the numbers of particles.")
    absent = np.setdiff1d(wanted, table["particle"].to_numpy())
    if absent.size:
        raise DataError(f"there is no particle {absent[0]} in these tracks.")
    return wanted


def _next(table: pd.DataFrame) -> int:
    return int(table["particle"].max()) + 1


def _delete(table: pd.DataFrame, particles: Any, frames: Sequence[int] | None = None) -> pd.DataFrame:
    gone = np.isin(table["particle"].to_numpy(), _there(table, particles)) & _stretch(table, frames)
    if not gone.any():
        raise DataError(f"none of these particles is seen in frames {frames}.")
    return table[~gone]


def _split(table: pd.DataFrame, particle: int, frame: int) -> pd.DataFrame:
    mine = table["particle"].to_numpy() == _there(table, particle)[0]
    late = mine & (table["frame"].to_numpy() >= frame)
    if not late.any() or not (mine & ~late).any():
        raise DataError(f"particle {particle} is not seen on both sides of frame {frame}.")
    return table.assign(particle=np.where(late, _next(table), table["particle"].to_numpy()))


def _merge(table: pd.DataFrame, particles: Any) -> pd.DataFrame:
    wanted = _there(table, particles)
    if len(np.unique(wanted)) < 2 or (wanted < 0).any():
        raise DataError("merging takes two or more different particles.")
    mine = np.isin(table["particle"].to_numpy(), wanted)
    frame = table["frame"].to_numpy()[mine]
    twice = np.unique(frame)[np.unique(frame, return_counts=True)[1] > 1]
    if twice.size:
        raise DataError(f"particles {', '.join(map(str, wanted))} are both seen in frame {twice[0]} ({twice.size} such "
                        "frames): one particle cannot be. Split or delete first.")
    return table.assign(particle=np.where(mine, wanted[0], table["particle"].to_numpy()))


def _cut(table: pd.DataFrame, region: Sequence[Sequence[float]], keep: str = "outside",
         frames: Sequence[int] | None = None) -> pd.DataFrame:
    if keep not in ("outside", "inside"):
        raise ConfigError(f"keep = {keep!r}: give 'outside' or 'inside'.")
    inside = _within(table[["y", "x"]].to_numpy(dtype=float), _corners(region))
    gone = (inside if keep == "outside" else ~inside) & _stretch(table, frames)
    # what passed through is two tracks: nobody saw it inside
    particle = table["particle"].to_numpy()
    piece = np.cumsum(np.append(0, (gone[1:] != gone[:-1]) | (particle[1:] != particle[:-1])))
    left = np.flatnonzero(~gone & (particle >= 0))
    names, first, of_row = np.unique(piece[left], return_index=True, return_inverse=True)
    owner = particle[left[first]]
    later = np.append(False, owner[1:] == owner[:-1]) if len(names) else np.zeros(0, bool)
    number = np.where(later, _next(table) + np.cumsum(later) - 1, owner)
    particle = particle.copy()
    particle[left] = number[of_row]
    return table.assign(particle=particle)[~gone]


def _hold(table: pd.DataFrame, region: Any = None, particles: Any = None, edge: int = 1) -> pd.DataFrame:
    """Whole tracks, by numbers or by their mean place, so that a particle is held in all frames or in none."""
    if (region is None) == (particles is None):
        raise ConfigError("hold: give the region in which particles are held, or the numbers of particles.")
    if isinstance(edge, bool) or not isinstance(edge, int) or not 0 <= edge <= 100:
        raise ConfigError(f"edge = {edge!r}: give 1, 2, ... for edges that are moved by hand, 0 for free particles.")
    particle = table["particle"].to_numpy()
    if region is not None:
        mean = table[["y", "x"]].groupby(particle).mean()
        particles = mean.index.to_numpy()[_within(mean.to_numpy(dtype=float), _corners(region))]
        if not (particles >= 0).any():
            raise DataError("no particle has its mean place in this region.")
    mine = np.isin(particle, _there(table, particles)) & (particle >= 0)
    held = table["held"].to_numpy() if "held" in table else np.zeros(len(table), np.int64)
    return table.assign(held=np.where(mine, edge, held.astype(np.int64)))


def _corners(region: Sequence[Sequence[float]]) -> np.ndarray:
    """(n, 2) corners of a polygon; two opposite ones are a rectangle."""
    corners = np.asarray(region, dtype=float)
    if corners.ndim != 2 or corners.shape[1] != 2 or len(corners) < 2 or not np.isfinite(corners).all():
        raise ConfigError(f"region = {region!r}: give two opposite corners (y, x) of a rectangle or three or more of a "
                          "polygon [px].")
    if len(corners) == 2:
        (a, b), (c, d) = corners.min(axis=0), corners.max(axis=0)
        corners = np.array([[a, b], [a, d], [c, d], [c, b]])
    return corners


def _within(yx: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """(n,) bool: places inside a polygon, by the number of edges to the right (even-odd rule)."""
    y, x = yx.T
    inside = np.zeros(len(yx), bool)
    for (a, b), (c, d) in zip(corners, np.roll(corners, -1, axis=0)):
        if a != c:
            crosses = (a > y) != (c > y)
            inside ^= crosses & (x < b + (y - a) * (d - b) / (c - a))
    return inside


def _relink(table: pd.DataFrame, frames: Sequence[int], search_range: float, memory: int = 0) -> pd.DataFrame:
    """Links from frame to frame within a stretch; at its ends the tracks of before and after go on."""
    within = np.flatnonzero(_stretch(table, frames))
    if not len(within):
        raise DataError(f"no detection in frames {list(frames)}.")
    old = table["particle"].to_numpy()
    frame = table["frame"].to_numpy()
    within = within[np.argsort(frame[within], kind="stable")]
    columns = [*"yx", *(name for name in ("y_std", "x_std") if name in table)]
    values = table[columns].to_numpy(dtype=float)[within]
    numbers, first = np.unique(frame[within], return_index=True)
    stream = LinkStream(Track(search_range=search_range, memory=memory))
    fresh = np.concatenate([stream.step(int(k), part) for k, part in zip(numbers, np.split(values, first[1:]))])
    was = old[within]
    before, after = frame < frames[0], frame >= frames[1]
    heads, tails = (np.unique(old[side & (old >= 0)]) for side in (before, after))
    # the row of the stretch in which an old track is first and last seen there
    opening, closing = _first_rows(was), _first_rows(was[::-1])
    starts, stops = _first_rows(fresh), _first_rows(fresh[::-1])
    last = len(was) - 1
    name: dict[int, int] = {}
    follows: dict[int, int] = {}                           # old track after the stretch -> new track in it
    known = set(heads.tolist())
    count, free = _next(table), set(opening) - known - {-1}
    for track, row in starts.items():                      # a track goes on with the number that it enters with
        owner = int(was[row])
        if owner in known and opening[owner] == row:
            name[track] = owner
        end = int(was[last - stops[track]])
        if end >= 0 and closing[end] == stops[track]:
            follows[end] = track
    for track, row in starts.items():                      # one that begins here keeps its own, where that is free
        if track not in name:
            owner = int(was[row])
            if owner in free:
                free.discard(owner)
                name[track] = owner
            else:
                name[track], count = count, count + 1
    tail_names = []
    for owner in tails.tolist():
        if owner in follows:
            tail_names.append(name[follows[owner]])
        elif owner in opening:                             # no longer linked to what was before
            tail_names.append(count)
            count += 1
        else:
            tail_names.append(owner)
    new = old.copy()
    new[within] = np.array([name[k] for k in range(int(fresh.max()) + 1)])[fresh]
    rows = np.flatnonzero(after & (old >= 0))
    new[rows] = np.array(tail_names, dtype=np.int64)[np.searchsorted(tails, old[rows])] if len(rows) else old[rows]
    return table.assign(particle=new)


def _first_rows(values: np.ndarray) -> dict[int, int]:
    """The first place of every value."""
    found, first = np.unique(values, return_index=True)
    return dict(zip(found.tolist(), first.tolist()))


_EDITS: dict[str, Spec] = {
    "delete": (_delete, frozenset({"particles"}), frozenset({"frames"})),
    "split": (_split, frozenset({"particle", "frame"}), frozenset()),
    "merge": (_merge, frozenset({"particles"}), frozenset()),
    "relink": (_relink, frozenset({"frames", "search_range"}), frozenset({"memory"})),
    "cut": (_cut, frozenset({"region"}), frozenset({"keep", "frames"})),
    "hold": (_hold, frozenset(), frozenset({"region", "particles", "edge"})),
}
