"""What the report says of a metriplectic fluid: cards, and the learned functions with bands and the data's support."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from vid2dyn.reports import figures
from vid2dyn.reports.headline import with_error

UNITS = {"temperature": "T (energy)", "pressure": "P (energy/volume)"}


def fluid_cards(model: Any) -> list[dict[str, str]]:
    """Temperature, pressure and viscosities at the middle of the data."""
    said = model.report["parameters"]
    rows = [("Temperature", "temperature", "energy units of mass · µm²/s², at the median state"),
            ("Pressure", "pressure", "at the median state"),
            ("Shear viscosity", "shear_viscosity", "stress of pair friction in uniform shear"),
            ("Bulk viscosity", "bulk_viscosity", "as it damps sound")]
    cards = []
    for label, key, detail in rows:
        value, low, high = said[key]
        cards.append({"label": label, "value": with_error(value, (high - low) / (2 * 1.959964)),
                      "detail": f"95 % band {low:.4g} to {high:.4g}; {detail}", "truth": ""})
    return cards


def fluid_lead(model: Any) -> str:
    """What the data say of entropy, in a sentence."""
    held: Mapping[str, Any] = model.report.get("held_out", {})
    if "entropy_gain_per_step" not in held:
        return "Learned from velocities; entropy was never given. Its use was not judged."
    gain = with_error(held["entropy_gain_per_step"], held["entropy_gain_per_step_stderr"])
    if model.report["entropy_identifiable"]:
        return ("Learned from velocities; entropy was never given. Following it predicts velocities that were set "
                f"aside better than one temperature for all does, by {gain} nats per particle and step.")
    return (f"Entropy not identifiable from these data: following it adds {gain} nats per particle and step on "
            "velocities that were set aside. The model has one temperature.")


def fluid_figures(model: Any) -> list[dict[str, str]]:
    """T(S) and P(V) through the median state, A²(r) and B²(r)."""
    rows = dict(zip("SVr", model.arrays["support"], strict=True))
    S, V = float(rows["S"][2]), float(rows["V"][2])
    lines: list[tuple[str, str, np.ndarray, Any, str, str]] = []
    grid = _grid(rows["S"])
    lines.append(("temperature", "S", grid, (grid, V), "entropy S (kB)", "Temperature against entropy at the median "
                  "volume"))
    grid = _grid(rows["V"])
    lines.append(("pressure", "V", grid, (S, grid), "volume V (µm^dim)", "Pressure against volume at the median "
                  "entropy"))
    grid = np.linspace(0.02, 1.0, 150) * model.layout.cutoff
    lines.append(("shear", "r", grid, (grid,), "distance r (µm)", "Shear friction of a pair, A²"))
    lines.append(("bulk", "r", grid, (grid,), "distance r (µm)", "Bulk friction of a pair, B²"))
    drawn = []
    for name, axis, x, at, label, caption in lines:
        value, band = getattr(model, name)(*at), model.band(name, *at)
        src = figures.learned(x, value, band, model.support[axis], label, UNITS.get(name, name))
        drawn.append({"src": src, "alt": caption, "caption": f"{caption}. Trust it where it is shaded: the middle 95 % "
                      "of the data are there."})
    return drawn


def _grid(row: np.ndarray) -> np.ndarray:
    room = 0.1 * (row[3] - row[1]) + 1e-12
    return np.linspace(row[1] - room, row[3] + room, 120)
