"""The report: everything about one recording on one self-contained HTML page.

`write_page` collects what it was given into plain cards, sections and tables; the looks are in
``page.html.j2`` and the pictures in `vid2dyn.reports.figures`. A section without data is left out, and a
part that cannot be computed becomes a sentence on the page rather than a failed report.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vid2dyn import __version__
from vid2dyn.core.config import build
from vid2dyn.core.errors import Vid2DynError
from vid2dyn.core.files import atomic
from vid2dyn.core.registry import part
from vid2dyn.reports import figures
from vid2dyn.reports.fluid import fluid_cards, fluid_figures, fluid_lead
from vid2dyn.reports.headline import cards, checks, has_forces, plain, with_error


@dataclass(frozen=True)
class Section:
    """One box of the page: a heading, a sentence, figures (src, alt, caption), a table (head, rows), doubts."""

    id: str
    title: str
    lead: str
    figures: list[dict[str, str]] = field(default_factory=list)
    table: dict[str, Any] | None = None
    doubts: list[str] = field(default_factory=list)


def write_page(out: str | os.PathLike[str], tracks: Any, *, model: Any = None, rollout: Any = None,
               video: Any = None, comparison: Any = None, truth: Mapping[str, Any] | None = None,
               title: str | None = None) -> Path:
    """Write the page to `out` (whole or not at all) and return its path; see `vid2dyn.pipeline.report`."""
    content = contents(tracks, model, rollout, video, comparison, truth)
    return render(out, title or Path(str(tracks.info.get("source", "trajectories"))).stem, content)


def render(out: str | os.PathLike[str], name: str, content: Mapping[str, Any]) -> Path:
    """Put what a page says (`contents`) on a page, whole or not at all; returns its path."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    out = Path(out)
    environment = Environment(loader=PackageLoader("vid2dyn.reports", "."), autoescape=True, undefined=StrictUndefined,
                              trim_blocks=True, lstrip_blocks=True)
    page = environment.get_template("page.html.j2").render(title=name, version=__version__, **content)
    with atomic(out) as scratch:
        scratch.write_text(page, encoding="utf-8")
    return out


def contents(tracks: Any, model: Any = None, rollout: Any = None, video: Any = None, comparison: Any = None,
             truth: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What the page says, as plain data: subtitle, warnings, cards, sections, provenance."""
    from vid2dyn.analysis import compare, diffusion

    known = dict(truth if truth is not None else tracks.info.get("truth") or {})
    notes: list[str] = [*getattr(video, "warnings", ()), *tracks.info.get("warnings", ())]
    measured = _try(lambda: diffusion(tracks), "Diffusion coefficient", notes)
    if rollout is not None and comparison is None:
        comparison = _try(lambda: compare(tracks, rollout), "Comparison with the rollout", notes)
    doubts = list(getattr(measured, "warnings", ()))
    if model is None:
        notes += doubts
    elif not has_forces(model) or measured is None or measured.method == "slope":
        notes += [f"About the estimate from displacements alone: {doubt}" for doubt in doubts]
        doubts = []                 # else they stay with the estimate: the model has the forces that it lacks
    notes += getattr(comparison, "notes", ())
    notes += [*(model.report.get("warnings", ()) if model is not None else ())]
    sections = [_seen(tracks, video), _motion(tracks, measured, notes, doubts if model is not None else [])]
    if model is not None:
        sections.append(_interactions(model, known))
    if comparison is not None:
        sections.append(_agreement(comparison))
    if model is not None:
        sections.append(_trust(model))
    return {"subtitle": _subtitle(tracks), "warnings": list(dict.fromkeys(notes)),
            "cards": fluid_cards(model) if model is not None and model.recipe.get("kind") == "Metriplectic" else
            cards(tracks, measured, model, known),
            "sections": [s for s in sections if s], "provenance": _provenance(tracks, model)}


def _try(work: Callable[[], Any], what: str, notes: list[str]) -> Any:
    """The result of `work`, or None and a sentence in `notes` that says why there is none."""
    try:
        return work()
    except Vid2DynError as error:
        notes.append(f"{what}: not available. {error}")
        return None


def _subtitle(tracks: Any) -> str:
    units = tracks.units
    parts = [f"{tracks.n_particles} tracks, {len(tracks)} detections in {tracks.n_frames} frames"]
    if units.frames_per_second:
        parts.append(f"{units.frames_per_second:g} frames/s")
    if units.micrometre_per_pixel:
        parts.append(f"{units.micrometre_per_pixel:g} µm per pixel")
    return ", ".join(parts)


def _figure(src: str, caption: str) -> dict[str, str]:
    return {"src": src, "alt": caption.partition(".")[0], "caption": caption}


def _seen(tracks: Any, video: Any) -> Section:
    """First frame with its detections, and the tracks from above."""
    drawn = []
    if video is not None and len(tracks):
        at = int(tracks.frame.min())
        here = tracks.dataframe[tracks.frame == at]
        settings = tracks.info.get("parameters") or {}
        diameter, stubs = settings.get("diameter") or 11, settings.get("min_length") or 1
        short = f" Tracks seen in fewer than {stubs} frames are left out." if stubs > 1 else ""
        drawn.append(_figure(figures.detections(video[at], here[["y", "x"]].to_numpy(), float(np.mean(diameter))),
                             f"Frame {at} with its {len(here)} detections. "
                             f"Every particle should wear one circle.{short}"))
    scale, unit = (tracks.units.micrometre_per_pixel, "µm") if tracks.units.micrometre_per_pixel else (1.0, "px")
    linked = tracks.linked()
    if len(linked):
        yx = linked.dataframe[["y", "x"]].to_numpy() * scale
        cuts = np.flatnonzero(np.diff(linked.particle)) + 1
        extent = None if tracks.field_of_view is None else tuple(scale * edge for edge in tracks.field_of_view)
        drawn.append(_figure(figures.paths(np.split(yx, cuts), extent, unit),  # type: ignore[arg-type]
                             f"Tracks. One colour each, {min(linked.n_particles, figures.MAX_TRACKS)} of "
                             f"{linked.n_particles} drawn. Straight jumps would be wrong links."))
    return Section("seen", "What was seen", "If detections or tracks look wrong here, everything below is wrong too: "
                   "change diameter, minmass or search_range and track again.", drawn)


def _motion(tracks: Any, measured: Any, notes: list[str], doubts: list[str]) -> Section | None:
    """Mean squared displacement with the line of the diffusion estimate."""
    from vid2dyn.analysis import drift, msd

    if measured is None:
        return None
    removed = measured.drift_removed and tracks.drift is None
    still = tracks.without_drift(drift(tracks)) if removed else tracks
    found = _try(lambda: msd(still), "Mean squared displacement", notes)
    if found is None:
        return None
    good = np.isfinite(found.value) & (found.value > 0)
    lag, noise = found.lag[good], measured.localisation_error
    noise = noise if noise is not None and np.isfinite(noise) else 0.0
    blur = 2 * tracks.units.blur * tracks.units.dt
    line = 2 * tracks.dim * (measured.D * (lag - blur) + noise**2)
    plot = figures.msd(lag, found.value[good], found.stderr[good], np.where(line > 0, line, np.nan))
    caption = (f"Mean squared displacement{', common drift taken out' if removed else ''}. Points above the line at "
               "long times mean flow, below it confinement or interactions.")
    rows = [[f"D along {axis}", with_error(value, error, "µm²/s")]
            for axis, value, error in zip(measured.axes, measured.D_per_axis, measured.D_per_axis_stderr)]
    rows += [["estimated from", f"{measured.method}, lags {measured.lags[0]} to {measured.lags[-1]} frames"],
             ["displacements", f"{measured.n_displacements} of {measured.n_tracks} tracks"],
             ["common drift", "taken out" if measured.drift_removed else "kept"]]
    lead = f"Displacements give D = {with_error(measured.D, measured.D_stderr, 'µm²/s')}."
    return Section("motion", "How the particles move", lead, [_figure(plot, caption)],
                   {"head": [], "rows": rows}, doubts)


def true_potential(known: Mapping[str, Any], r: np.ndarray) -> np.ndarray | None:
    """Pair potential that was put in [kT] at r [µm], where the truth is known; zeros for none at all."""
    if "pair" not in known:
        return None
    if known["pair"] is None:
        return np.zeros_like(r)
    table = known["pair"]
    potential: Any = build(part("potentials", table["kind"]), table, "truth")
    return potential.energy(r)


def _interactions(model: Any, known: Mapping[str, Any]) -> Section | None:
    """Pair potential with band, and a table at a few distances; None for a model without pair forces."""
    if model.recipe.get("kind") == "Metriplectic":
        return Section("interactions", "What the fluid is", fluid_lead(model), fluid_figures(model))
    if model.support is None or model.recipe.get("cutoff") is None:
        return None
    low, high = model.support
    r = np.linspace(low - 0.05 * (high - low), high + 0.1 * (high - low), 240)
    truth = true_potential(known, r)
    plot = figures.potential(r, model.pair_potential(r), model.band("pair_potential", r), model.support, truth)
    at = np.linspace(low, high, 7)
    value, band, true = model.pair_potential(at), model.band("pair_potential", at), true_potential(known, at)
    rows = [[f"{at[i]:.2f}", f"{value[i]:.2f}", f"{band[0][i]:.2f} to {band[1][i]:.2f}",
             *([f"{true[i]:.2f}"] if true is not None else [])] for i in range(at.size)]
    head = ["r (µm)", "U (kT)", "95 % band", *(["truth"] if true is not None else [])]
    caption = "Pair potential. Trust it where it is shaded: at least 100 pairs were seen at these distances."
    return Section("interactions", "How the particles interact", "The energy of two particles at distance r, "
                   "learned without assuming a formula.", [_figure(plot, caption)], {"head": head, "rows": rows})


def _agreement(comparison: Any) -> Section:
    """RDF, MSD and VACF of data and rollout."""
    drawn, rows = [], []
    for curve in comparison.curves:
        drawn.append(_figure(figures.curves(curve), f"{curve.name} of the data and of the model's rollout."))
        rows.append([curve.name, f"{100 * curve.relative_rmse:.1f} %", f"{100 * curve.relative_rmse_of_noise:.1f} %"])
    table = {"head": ["", "relative RMSE", "from noise alone"], "rows": rows}
    return Section("agreement", "Does the model move like the data?", "The model was started from the first frame "
                   "and left to run with its own thermal noise. Differences beyond the noise alone are real.",
                   drawn, table)


def _trust(model: Any) -> Section:
    """Held-out likelihood and calibration of the whitened residuals."""
    calibration = model.report.get("calibration", {})
    drawn = []
    if isinstance(calibration.get("z"), Mapping) and {"edges", "counts"} <= set(calibration["z"]):
        z = calibration["z"]
        drawn.append(_figure(figures.whitened(np.asarray(z["edges"], float), np.asarray(z["counts"], float)),
                             "Whitened residuals. If the model explains the motion they follow the black curve."))
    return Section("trust", "Can the error bars be trusted?", "Residuals divided by their predicted spread should be "
                   "independent standard normal numbers. Held-out frames are judged by a model fitted without them. In "
                   "brackets: what is expected.", drawn, {"head": ["check", "value"], "rows": checks(model.report)})


def _provenance(tracks: Any, model: Any) -> dict[str, Any]:
    rows: list[list[str]] = []
    rows += [[key, plain(value)] for key, value in tracks.units.to_dict().items() if value is not None]
    rows += _flat("", {k: v for k, v in tracks.info.items() if k not in ("warnings", "truth")})
    if model is not None:
        about = {key: model.report.get(key) for key in ("seed", "data_sha256", "versions")}
        rows += _flat("model", {**model.recipe, **about})
    return {"head": ["setting", "value"], "rows": rows}


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
