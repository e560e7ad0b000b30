"""The report page of lattice and density fields: what was learned, with bands, and whether the windows allow it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from vid2dyn.core.errors import ModelError
from vid2dyn.data.fields import Fields
from vid2dyn.reports.figures import DATA, MODEL, MUTED, TRUTH, picture
from vid2dyn.reports.headline import checks, plain, with_error
from vid2dyn.reports.page import Section, render

FUNCTIONS = {"mobility": "mobility m", "curvature": "f'' (kT)", "free_energy": "free energy f (kT per site)",
             "diffusion": "diffusion coefficient m f''"}
TIMES = 5
"""Profiles drawn at most."""


def write_field_page(out: str | os.PathLike[str], fields: Fields, *, model: Any = None, rollout: Fields | None = None,
                     truth: Mapping[str, Any] | None = None, title: str | None = None) -> Path:
    """Write the page to `out` (whole or not at all) and return its path; see `vid2dyn.pipeline.report`.

    Raises
    ------
    ModelError
        When the model is not one of fields.
    """
    if model is not None and not hasattr(model, "landscape"):
        raise ModelError(f"{type(model).__name__} is not a model of fields; fit one with "
                         "vd.fit(fields, vd.GradientFlow()).")
    return render(out, title or "fields", contents(fields, model, rollout, truth))


def contents(fields: Fields, model: Any = None, rollout: Fields | None = None,
             truth: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What the page says, as plain data: subtitle, warnings, cards, sections, provenance."""
    known = truth if truth is not None else fields.info.get("truth")
    exact = None if model is None else _exact(known, *model.support)
    sections = [_profiles(fields, rollout)]
    if model is not None:
        sections += [_learned(model, exact), _windows(model)]
    return {"subtitle": f"{fields.n_realisations} realisations of {len(np.unique(fields.starts))} starts, "
                        f"{len(fields.times)} times, {fields.n_cells} cells",
            "warnings": [] if model is None else list(model.report.get("warnings", ())),
            "cards": [] if model is None else _cards(model, exact), "sections": sections,
            "provenance": {"head": ["setting", "value"], "rows": [[key, plain(value)] for table in (
                dict(known or {}), {} if model is None else model.recipe) for key, value in table.items()]}}


def _exact(known: Mapping[str, Any] | None, low: float, high: float) -> Any:
    """Exact limit of a simulated process on densities of the range, or None."""
    if not known or known.get("kind") not in ("Arrhenius", "ZeroRange"):
        return None
    from vid2dyn.core.config import build
    from vid2dyn.simulators.lattice import processes as lattice

    simulator = build(getattr(lattice, known["kind"]), known, "truth")
    return simulator.limit(np.linspace(low, high, 121))


def _cards(model: Any, exact: Any) -> list[dict[str, str]]:
    """m, f'' and D in the middle of the densities seen."""
    middle = 0.5 * sum(model.support)
    found = []
    for name, label in FUNCTIONS.items():
        if name == "free_energy":
            continue
        low, high = model.band(name, middle)
        true = _truth(exact, name)
        found.append({"label": f"{label}, density {middle:.2f}",
                      "value": with_error(float(getattr(model, name)(middle)), float(high - low) / 3.92),
                      "detail": f"95 % band {float(low):.4g} to {float(high):.4g}",
                      "truth": "" if true is None else f"{float(np.interp(middle, exact.rho, true)):.4g}"})
    return found


def _truth(exact: Any, name: str) -> np.ndarray | None:
    if exact is None or (exact.mobility is None and name in ("mobility", "diffusion")):
        return None
    return getattr(exact, name)


def _profiles(fields: Fields, rollout: Fields | None) -> Section:
    """Mean density in time, of data and of the model's rollout."""
    def draw(data: Fields, colour: str) -> str:
        mean = data.mean()[0]
        groups = max(g for g in range(1, 101) if data.n_cells % g == 0)
        cells = mean.reshape(len(mean), groups, -1).mean(axis=2)
        shown = np.unique(np.linspace(0, len(mean) - 1, min(TIMES, len(mean))).astype(int))

        def lines(axes: Axes) -> None:
            for n, t in enumerate(shown):
                axes.plot((np.arange(groups) + 0.5) / groups, cells[t], color=colour, alpha=1 - 0.7 * n / TIMES,
                          label=f"t = {data.times[t]:.3g}")
            axes.set(xlabel="position on the ring", ylabel="density per cell")
            axes.legend()

        return picture(lines)

    shown = [_figure(draw(fields, DATA), "Mean density of the first start. What the model was learned from.")]
    if rollout is not None:
        shown.append(_figure(draw(rollout, MODEL), "The model's rollout. It starts from the mean density and runs on."))
    return Section("seen", "Density in time", "Starts should cover the densities that matter, with slopes.", shown)


def _figure(src: str, caption: str) -> dict[str, str]:
    return {"src": src, "alt": caption.partition(".")[0], "caption": caption}


def _learned(model: Any, exact: Any) -> Section:
    """m, f'', f and D with bands; the kernel of long-ranged forces where there is one."""
    low, high = model.support
    rho = np.linspace(low, high, 121)
    drawn = []
    for name, label in FUNCTIONS.items():
        true = _truth(exact, name)
        if name == "free_energy" and true is not None:                     # known up to a line: give it the learned one
            true = true + np.polyval(np.polyfit(rho, model.free_energy(rho) - true, 1), rho)
        drawn.append(_figure(_curve(rho, getattr(model, name)(rho), model.band(name, rho), true, label), f"{label}."))
    reach = int(model.recipe.get("force_range", 0))
    if reach:
        r = np.arange(1, reach + 1)
        drawn.append(_figure(_curve(r, model.kernel(r), model.band("kernel", r), None, "J (kT)", "distance (sites)"),
                             "Kernel of the long-ranged forces. Positive attracts."))
    lead = ("Mobility is learned from fluctuations, free energy from the drift given the mobility. The free energy is "
            "known up to a straight line. All densities shown were seen.")
    if model.recipe.get("shape") == "network":
        lead += " Bands are those of the network's last layer, with the features of the density that it learned."
    return Section("learned", "Mobility and free energy", lead, drawn)


def _curve(x: np.ndarray, value: np.ndarray, band: tuple[np.ndarray, np.ndarray], truth: np.ndarray | None, label: str,
           x_label: str = "density (particles per site)") -> str:
    def draw(axes: Axes) -> None:
        axes.fill_between(x, *band, color=MODEL, alpha=0.25, lw=0, label="95 % band")
        axes.plot(x, value, color=MODEL, label="learned")
        if truth is not None:
            axes.plot(x, truth, "--", color=TRUTH, lw=1.3, label="truth")
        axes.set(xlabel=x_label, ylabel=label)
        axes.legend()

    return picture(draw)


def _windows(model: Any) -> Section:
    """Covariance of every window over that of the model: one, on the plateau."""
    windows = model.report["windows"]

    def draw(axes: Axes) -> None:
        axes.axhline(1.0, color=MUTED, lw=0.8, ls=":")
        for used, marker in ((True, "o"), (False, "x")):
            some = [w for w in windows if w["used"] is used]
            if some:
                axes.errorbar([w["width"] for w in some], [w["covariance_ratio"] for w in some],
                              yerr=[1.96 * w["stderr"] for w in some], fmt=marker, ms=4, color=DATA,
                              label="used for the mobility" if used else "too long: drift only")
        axes.set(xlabel="window", ylabel="covariance, data over model", xscale="log")
        axes.legend()

    caption = ("Plateau of windows. Away from one at short windows: hops still remember; at long ones: diffusion over "
               "an element is not what the correction takes it for.")
    return Section("trust", "Are the windows short and long enough?", "The covariance of increments over a window, "
                   "corrected for what relaxes in it, must not depend on its length.",
                   [_figure(picture(draw), caption)], {"head": ["check", "value"], "rows": checks(model.report)})
