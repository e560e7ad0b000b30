"""Settings proposed for a movie, with the pictures behind them, and what they do to the result.

`suggest` looks at a few frames and links a stretch of the movie with several search ranges: linking is itself a bias
(a range that is too short cuts long steps off, one that is too long joins strangers), and the curve of D shows it.
"""

from __future__ import annotations

import dataclasses
import html
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from vid2dyn.analysis import diffusion
from vid2dyn.core.errors import ConfigError, Vid2DynError
from vid2dyn.core.files import atomic
from vid2dyn.core.progress import Progress, silent
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.data.video import Video
from vid2dyn.reports import figures
from vid2dyn.tracking import Proposal, Track, prepared, propose, relink, track

_STRETCH = 40                     # frames that are tracked for the curve of D
_DETECTIONS = 20_000              # and about how many detections at most
_FACTORS = (0.5, 0.7, 1.0, 1.4, 2.0)
_LEAST_LENGTH = 3


@dataclass(frozen=True, eq=False)
class Suggestion:
    """What `vd.suggest` returns.

    Parameters
    ----------
    track : Track
        The proposed settings: ``vd.track(video, suggestion.track)``.
    proposal : Proposal
        The numbers behind them.
    against_range : pandas.DataFrame
        What other search ranges give, see `against_search_range`.
    warnings : tuple of str
        What a user should know, in plain words.
    figures : dict of str
        Pictures as data URIs: "detections", "size", "brightness", "displacements", "search range".
    """

    track: Track
    proposal: Proposal
    against_range: pd.DataFrame
    warnings: tuple[str, ...]
    figures: dict[str, str] = field(repr=False)

    def changed(self) -> dict[str, object]:
        """The settings that differ from the defaults: arguments of `vd.track`."""
        return {name: value for name, value in vars(self.track).items() if value != getattr(Track(), name)}

    def __str__(self) -> str:
        p = self.proposal
        named = {"diameter": self.track.diameter, "search_range": self.track.search_range} | self.changed()
        shown = self.against_range.rename(columns=_HEADINGS | {"D": f"D [{self.against_range.attrs.get('unit', '')}]"})
        lines = ["[track]", *(f"{name} = {_toml(value)}" for name, value in named.items()), "",
                 f"spots of width {p.spot_width:.2g} px, {p.spacing:.3g} px from neighbour to neighbour; they move "
                 f"{p.step:.2g} px a frame along each axis",
                 f"{100 * p.ambiguous:.0f} % have more than one candidate within the search range", "",
                 shown.to_string(index=False, float_format=lambda v: f"{v:.3g}"),
                 "believe a search range where D no longer depends on it"]
        return "\n".join([*lines, *(f"note: {w}" for w in self.warnings)])

    def _repr_html_(self) -> str:
        pictures = "".join(f'<figure><img src="{uri}" alt="{html.escape(name)}" style="max-width:34em">'
                           f"<figcaption>{html.escape(_CAPTIONS[name])}</figcaption></figure>"
                           for name, uri in self.figures.items())
        return f"<pre>{html.escape(str(self))}</pre>{pictures}"

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write one self-contained HTML page with the settings and the pictures, whole or not at all."""
        path = Path(path)
        if path.suffix != ".html":
            raise ConfigError(f"{path}: the page is written as .html; name it {path.stem}.html.")
        with atomic(path) as scratch:
            scratch.write_text('<!doctype html><html lang="en"><meta charset="utf-8"><title>Proposed settings</title>'
                               '<body style="font-family:sans-serif;max-width:60em;margin:2em auto">'
                               f"<h1>Proposed settings</h1>{self._repr_html_()}</body></html>\n", encoding="utf-8")
        return path


_HEADINGS = {"search_range": "search range [px]", "particles": "tracks", "length": "mean length [frames]",
             "D_stderr": "±", "beyond": "links beyond 0.9 of the range"}

_CAPTIONS = {
    "detections": "What these settings find in one frame.",
    "size": "How much structure of which size there is; the peak gives the diameter.",
    "brightness": "Summed brightness of everything found without a limit; the line is minmass.",
    "displacements": "Displacements between frames about the common motion; the lines are the search range and half "
                     "the distance of neighbours.",
    "search range": "Diffusion coefficient against the search range: believe it where it is flat.",
}


def suggest(video: Video, given: Track | None = None, progress: Progress = silent) -> Suggestion:
    """Propose diameter, sign, minmass and search range for a movie; see `vd.suggest`."""
    proposal = propose(video, given, progress)
    table, notes = pd.DataFrame(), list(proposal.notes)
    try:
        stretch = _stretch(video, proposal, progress)
        table = against_search_range(stretch, proposal.track)
        given_range = given is not None and given.search_range != Track().search_range
        better = None if given_range else _on_plateau(table)
        if better is not None:
            proposal = dataclasses.replace(proposal, track=dataclasses.replace(proposal.track, search_range=better))
            table = against_search_range(stretch, proposal.track)
        notes += _on_range(table)
    except Vid2DynError as error:
        notes.append(f"D against the search range could not be measured: {error}")
    return Suggestion(proposal.track, proposal, table, tuple(notes), _pictures(video, proposal, table))


def against_search_range(tracks: Trajectories, settings: Track, ranges: Sequence[float] | None = None) -> pd.DataFrame:
    """What the search range does to the result: the same detections, linked again and again.

    Parameters
    ----------
    tracks : Trajectories
        Detections; how they are linked already does not matter.
    settings : Track
        Of the links, but for the search range.
    ranges : sequence of float, optional
        Search ranges [px]; default: half to twice the one in `settings`.

    Returns
    -------
    pandas.DataFrame
        search_range [px]; particles of at least 3 detections and their mean length [frames]; D, D_stderr [µm²/s, or
        px² per frame where the calibration is not known: `attrs["unit"]`]; beyond, the part of the links longer than
        0.9 of the search range (a range that cuts steps off has many).

    Examples
    --------
    >>> from vid2dyn.simulators import Brownian
    >>> tracks = Brownian(n_particles=40, frames=60, box_length=40.0, diffusion=0.5, frames_per_second=50.0).run(seed=0)
    >>> table = against_search_range(tracks, Track(), ranges=[1.0, 7.0, 9.0])    # a step is 1.4 px along each axis
    >>> bool(table["D"][0] < 0.3), bool(abs(table["D"][1] - 0.5) < 0.05), bool(table["beyond"][0] > 0.1)
    (True, True, True)
    """
    units, unit = tracks.units, "µm²/s"
    if units.micrometre_per_pixel is None or units.frames_per_second is None:
        tracks, unit = tracks.with_units(micrometre_per_pixel=1.0, frames_per_second=1.0), "px² per frame"
    chosen = ranges if ranges is not None else [round(settings.search_range * f, 1) for f in _FACTORS]
    rows = []
    for search_range in chosen:
        again = relink(tracks, dataclasses.replace(settings, search_range=float(search_range),
                                                   min_length=_LEAST_LENGTH))
        row = {"search_range": float(search_range), "particles": again.n_particles,
               "length": len(again) / max(again.n_particles, 1), "D": np.nan, "D_stderr": np.nan, "beyond": np.nan}
        try:
            found = diffusion(again)
            row |= {"D": found.D, "D_stderr": found.D_stderr}
            i, j = again.lagged(1)
            moved = np.linalg.norm(again.positions[j] - again.positions[i], axis=1) / again.units.um
            row["beyond"] = float((moved > 0.9 * search_range).mean())
        except Vid2DynError:
            pass                                       # too few links for an estimate: the row says so
        rows.append(row)
    table = pd.DataFrame(rows)
    table.attrs["unit"] = unit
    return table


def _stretch(video: Video, proposal: Proposal, progress: Progress) -> Trajectories:
    """Detections of successive frames from the start: enough for a look at D."""
    settings = proposal.track
    stop = len(video) if settings.stop is None else min(settings.stop, len(video))
    per_frame = max(proposal.displacement.shape[0] / 4, 1.0)
    frames = min(_STRETCH, max(int(_DETECTIONS / per_frame), 8))
    start = min(max(settings.start, proposal.example), max(stop - frames, settings.start))     # particles are there
    return track(video, dataclasses.replace(settings, start=start, stop=min(start + frames, stop), min_length=1),
                 progress)


def _on_plateau(table: pd.DataFrame) -> float | None:
    """A longer search range, where D still grows up to it and no more beyond; None where the proposed one will do."""
    D, error = (table[name].to_numpy(dtype=float) for name in ("D", "D_stderr"))
    here, longer, longest = (_FACTORS.index(factor) for factor in (1.0, 1.4, 2.0))
    if not np.isfinite(D[[here, longer, longest]]).all():
        return None
    grows = D[longer] - D[here] > max(0.05 * D[longer], error[longer])
    settled = abs(D[longest] - D[longer]) < max(0.05 * D[longer], error[longer])
    return float(table["search_range"].iloc[longer]) if grows and settled else None


def _on_range(table: pd.DataFrame) -> list[str]:
    """A word where D still moves with the search range."""
    if not table["particles"].iloc[_FACTORS.index(1.0)]:
        return ["No track of three frames comes of the proposed search range in the stretch that was tried: the movie "
                "may be "
                "empty there, or minmass too high. Look at the picture of the detections."]
    here, longer = (float(table["D"].iloc[_FACTORS.index(factor)]) for factor in (1.0, 1.4))
    error = float(np.nanmax(table["D_stderr"].to_numpy(dtype=float))) if table["D_stderr"].notna().any() else math.nan
    if not (np.isfinite(here) and np.isfinite(longer)) or abs(longer - here) <= max(0.1 * abs(here), 2 * error):
        return []
    return [f"D changes from {here:.3g} to {longer:.3g} when the search range grows by 40 %: links are a bias here. "
            "Look at the curve; a higher frame rate settles it."]


def _toml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else f'"{value}"' if isinstance(value, str) else f"{value}"


def _pictures(video: Video, proposal: Proposal, table: pd.DataFrame) -> dict[str, str]:
    from vid2dyn.tracking import detector

    frame = prepared(video, proposal.track)[proposal.example]
    found = {"detections": figures.detections(frame, detector(proposal.track)(frame)[:, :2], proposal.track.diameter),
             "size": figures.picture(lambda axes: _size(axes, proposal)),
             "brightness": figures.picture(lambda axes: _brightness(axes, proposal)),
             "displacements": figures.picture(lambda axes: _displacements(axes, proposal))}
    if len(table) and table["D"].notna().any():
        known = video.units.micrometre_per_pixel is not None and video.units.frames_per_second is not None
        found["search range"] = figures.picture(lambda axes: _against(axes, table, proposal, known))
    return found


def _size(axes: Axes, proposal: Proposal) -> None:
    for response, colour, name in zip(proposal.response, (figures.DATA, figures.MODEL), ("bright", "dark")):
        axes.plot(proposal.scales, response / max(proposal.response.max(), 1e-300), "o-", ms=3.5, color=colour,
                  label=f"{name} spots")
    axes.axvline(proposal.spot_width, color=figures.TRUTH, lw=1, ls="--",
                 label=f"width {proposal.spot_width:.2g} px, diameter {proposal.track.diameter} px")
    axes.set(xscale="log", xlabel="width of a spot (px)", ylabel="response")
    axes.legend()


def _brightness(axes: Axes, proposal: Proposal) -> None:
    mass = proposal.mass[proposal.mass > 0]
    if len(mass):
        low, high = float(mass.min()), float(mass.max())
        axes.hist(mass, bins=np.geomspace(low, max(high, 1.001 * low), 60).tolist(), color=figures.DATA, alpha=0.7)
        axes.set_xscale("log")
    axes.axvline(max(proposal.track.minmass or 0.0, 1e-12), color=figures.MODEL, label="minmass")
    axes.set(xlabel="summed brightness (grey levels)", ylabel="detections")
    axes.legend()


def _displacements(axes: Axes, proposal: Proposal) -> None:
    moved = np.linalg.norm(proposal.displacement - proposal.drift, axis=1)
    edge = max(1.3 * proposal.track.search_range, 0.6 * proposal.spacing)
    axes.hist(moved, bins=np.linspace(0, edge, 80).tolist(), color=figures.DATA, alpha=0.7)
    axes.axvline(proposal.track.search_range, color=figures.MODEL, label="search range")
    axes.axvline(0.5 * proposal.spacing, color=figures.MUTED, ls=":", label="half the distance of neighbours")
    axes.set(xlabel="displacement in a frame (px)", ylabel="links")
    axes.legend()


def _against(axes: Axes, table: pd.DataFrame, proposal: Proposal, known: bool) -> None:
    axes.errorbar(table["search_range"], table["D"], yerr=table["D_stderr"], fmt="o-", ms=4, color=figures.DATA)
    axes.axvline(proposal.track.search_range, color=figures.MODEL, label="proposed")
    axes.axvline(0.5 * proposal.spacing, color=figures.MUTED, ls=":", label="half the distance of neighbours")
    axes.set(xlabel="search range (px)", ylabel="D (µm²/s)" if known else "D (px² per frame)")
    axes.set_ylim(bottom=0)
    axes.legend()
