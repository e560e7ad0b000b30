"""One figure a case of reproduce_statpinn.py: learned functions with bands beside the exact ones, profiles in time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vid2dyn.figures import DATA, MODEL, TRUTH


def draw(path: Path, name: str, model: Any, limit: Any, prediction: dict[str, Any]) -> None:
    """Write a PNG: m, f'', f, D with 95 % bands; the profile to 1,000 bursts; the same beside direct simulation."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure = Figure(figsize=(13, 7), layout="constrained")
    axes = figure.subplots(2, 3)
    exact = {"mobility": limit.mobility, "curvature": limit.curvature, "free_energy": limit.free_energy,
             "diffusion": None if limit.mobility is None else limit.diffusion}
    labels = {"mobility": "m", "curvature": "f'' (kT)", "free_energy": "f less a line (kT per site)", "diffusion": "D"}
    for ax, quantity in zip((axes[0, 0], axes[0, 1], axes[0, 2], axes[1, 0]), labels):
        learned(ax, model, quantity, limit.rho, exact[quantity])
        ax.set(xlabel="density", ylabel=labels[quantity])
    x = prediction["x"]
    axes[1, 1].plot(x, prediction["start"], color="0.7")
    for k in range(0, len(prediction["times"]), 3):
        axes[1, 1].plot(x, prediction["found"][k], color=MODEL)
        if prediction["truth"] is not None:
            axes[1, 1].plot(x, prediction["truth"][k], color=TRUTH, ls="--", lw=0.9)
    axes[1, 1].set(xlabel="x", ylabel="density, to 1,000 bursts (dashed: exact)")
    for ahead, direct in zip(prediction["ahead"], prediction["kmc"]):
        cells = direct.reshape(50, -1).mean(axis=1)
        axes[1, 2].plot((np.arange(50) + 0.5) / 50, cells, ".", color=DATA, ms=4)
        axes[1, 2].plot(x, ahead, color=MODEL)
    axes[1, 2].set(xlabel="x", ylabel="density beside simulation (dots)")
    figure.suptitle(name)
    figure.savefig(path, dpi=110)


def learned(ax: Axes, model: Any, quantity: str, rho: np.ndarray, exact: np.ndarray | None) -> None:
    """A learned function with its band, beside the exact one."""
    value = getattr(model, quantity)(rho)
    low, high = model.band(quantity, rho)
    line = np.zeros_like(rho)
    if quantity == "free_energy":
        line = np.polyval(np.polyfit(rho, value, 1), rho)
    ax.fill_between(rho, low - line, high - line, color=MODEL, alpha=0.2, lw=0)
    ax.plot(rho, value - line, color=MODEL, label="learned")
    if exact is not None:
        if quantity == "free_energy":
            exact = exact - np.polyval(np.polyfit(rho, exact, 1), rho)
        ax.plot(rho, exact, color=TRUTH, ls="--", label="exact")
    ax.legend(frameon=False)
