"""The report: everything about one recording, or one set of fields, on one self-contained HTML page.

`write_page` collects what it was given into plain cards, sections and tables. A section is a file in
`vid2dyn.reports.sections`, the headline numbers are in `headline`, the looks in ``page.html.j2``, and drawing that
several share in `vid2dyn.reports.figures`. A section without data is left out, and a part that cannot be computed
becomes a sentence on the page rather than a failed report.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vid2dyn import __version__
from vid2dyn.core.describe import plain
from vid2dyn.core.errors import ModelError
from vid2dyn.core.files import atomic
from vid2dyn.core.registry import parts
from vid2dyn.model import Model
from vid2dyn.reports.headline import cards
from vid2dyn.reports.sections.base import Content, ReportSection


def write_page(out: str | os.PathLike[str], data: Any, *, model: Any = None, rollout: Any = None,
               video: Any = None, comparison: Any = None, truth: Mapping[str, Any] | None = None,
               title: str | None = None) -> Path:
    """Write the page to `out` (whole or not at all) and return its path; see `vid2dyn.pipeline.report`.

    Raises
    ------
    ModelError
        When the model is not one of such data.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    out = Path(out)
    content = contents(data, model, rollout, video, comparison, truth)
    name = title or content.pop("title")
    environment = Environment(loader=PackageLoader("vid2dyn.reports", "."), autoescape=True, undefined=StrictUndefined,
                              trim_blocks=True, lstrip_blocks=True)
    page = environment.get_template("page.html.j2").render({**content, "title": name, "version": __version__})
    with atomic(out) as scratch:
        scratch.write_text(page, encoding="utf-8")
    return out


def contents(data: Any, model: Any = None, rollout: Any = None, video: Any = None, comparison: Any = None,
             truth: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What the page says, as plain data: title, subtitle, warnings, cards, sections, provenance."""
    known = dict(truth if truth is not None else data.info.get("truth") or {})
    content = Content(data, model, rollout, video, comparison, known)
    _check(content)
    if not content.of_fields:
        _judge_motion(content)
    if model is not None:
        content.warnings += model.report.get("warnings", ())
    builders: list[ReportSection] = [kind() for kind in parts("sections").values()]
    sections = [content.attempt(partial(builder.build, content), type(builder).__name__)
                for builder in sorted(builders, key=lambda one: one.order) if builder.applies(content)]
    about = _about_fields if content.of_fields else _about_tracks
    shown = [section for section in sections if section]
    return {**about(content), "warnings": list(dict.fromkeys(content.warnings)), "cards": cards(content),
            "sections": shown, "remarks": [section for section in shown if section.doubts]}


def _check(content: Content) -> None:
    """The model, if there is one, has to be one of such data."""
    model, kind = content.model, "fields" if content.of_fields else "trajectories"
    if model is None or (isinstance(model, Model) and model.learned_from == kind):
        return
    recipe = "GradientFlow" if content.of_fields else "Brownian"
    raise ModelError(f"{type(model).__name__} is not a model of {kind}; fit one with vd.fit({kind}, vd.{recipe}()).")


def _judge_motion(content: Content) -> None:
    """Estimates from displacements, the comparison with the rollout, and warnings of every stage before the model's."""
    from vid2dyn.analysis import compare, diffusion

    tracks, model = content.data, content.model
    content.warnings += [*getattr(content.video, "warnings", ()), *tracks.info.get("warnings", ())]
    measured = content.measured = content.attempt(lambda: diffusion(tracks), "Diffusion coefficient")
    if content.rollout is not None and content.comparison is None:
        content.comparison = content.attempt(lambda: compare(tracks, content.rollout), "Comparison with the rollout")
    doubts = list(getattr(measured, "warnings", ()))
    if model is None:
        content.warnings += doubts
    elif not model.has_forces or measured is None or measured.method == "slope":
        content.warnings += [f"About the estimate from displacements alone: {doubt}" for doubt in doubts]
    else:
        content.doubts = doubts     # they stay with the estimate: the model has the forces that it lacks
    content.warnings += getattr(content.comparison, "notes", ())


def _about_tracks(content: Content) -> dict[str, Any]:
    """Title, subtitle and provenance of a page about trajectories."""
    tracks, model = content.data, content.model
    units = tracks.units
    said = [f"{tracks.n_particles} tracks, {len(tracks)} detections in {tracks.n_frames} frames"]
    if units.frames_per_second:
        said.append(f"{units.frames_per_second:g} frames/s")
    if units.micrometre_per_pixel:
        said.append(f"{units.micrometre_per_pixel:g} µm per pixel")
    rows: list[list[str]] = []
    rows += [[key, plain(value)] for key, value in units.to_dict().items() if value is not None]
    rows += _flat("", {k: v for k, v in tracks.info.items() if k not in ("warnings", "truth")})
    if model is not None:
        about = {key: model.report.get(key) for key in ("seed", "data_sha256", "versions")}
        rows += _flat("model", {**model.recipe, **about})
    return {"title": Path(str(tracks.info.get("source", "trajectories"))).stem, "subtitle": ", ".join(said),
            "provenance": {"head": ["setting", "value"], "rows": rows}}


def _about_fields(content: Content) -> dict[str, Any]:
    """Title, subtitle and provenance of a page about fields."""
    fields, recipe = content.data, {} if content.model is None else content.model.recipe
    return {"title": "fields",
            "subtitle": f"{fields.n_realisations} realisations of {len(np.unique(fields.starts))} starts, "
                        f"{len(fields.times)} times, {fields.n_cells} cells",
            "provenance": {"head": ["setting", "value"], "rows": [
                [key, plain(value)] for table in (content.truth, recipe) for key, value in table.items()]}}


def _flat(prefix: str, table: Mapping[str, Any]) -> list[list[str]]:
    """Nested settings as rows "a.b" -> value; None is left out, long lists are shortened."""
    rows = []
    for key, value in table.items():
        name = f"{prefix}.{key}" if prefix else str(key)
        if isinstance(value, Mapping):
            rows += _flat(name, value)
        elif value is not None:
            text = plain(value)
            rows.append([name, text if len(text) <= 200 else text[:200] + " …"])
    return rows
