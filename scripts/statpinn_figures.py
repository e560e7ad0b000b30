"""One figure a case of reproduce_statpinn.py: learned functions with bands beside the exact ones, profiles in time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vid2dyn.reports.figures import DATA, MODEL, TRUTH


def draw(path: Path, name: str, model: Any, limit: Any, prediction: dict[str, Any],
         K: dict[str, np.ndarray | None]) -> None:
    """Write a PNG: m, f'', f, D with 95 % bands; entries of K; the profile to 1,000 bursts beside the exact one, and
    within reach of direct simulation beside that.

    `K`: (elements, elements) "learned", "exact" (or None) and "measured", from the fluctuations of one start alone.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    figure = Figure(figsize=(17, 7), layout="constrained")
    axes = figure.subplots(2, 4)
    exact = {"mobility": limit.mobility, "curvature": limit.curvature, "free_energy": limit.free_energy,
             "diffusion": None if limit.mobility is None else limit.diffusion}
    labels = {"mobility": "m", "curvature": "f'' (kT)", "free_energy": "f less a line (kT per site)", "diffusion": "D"}
    for ax, quantity in zip((axes[0, 0], axes[0, 1], axes[0, 2], axes[1, 0]), labels):
        learned(ax, model, quantity, limit.rho, exact[quantity])
        ax.set(xlabel="density", ylabel=labels[quantity])
    entries(axes[0, 3], K)
    in_time(axes[1, 1], prediction)
    beside_simulation(axes[1, 2], axes[1, 3], prediction)
    figure.suptitle(name)
    figure.savefig(path, dpi=110)


def entries(ax: Axes, K: dict[str, np.ndarray | None]) -> None:
    """Diagonal, neighbours and those beyond of K over the hats."""
    measured = K["measured"]
    assert measured is not None
    n = len(measured)
    at = (np.arange(n) + 0.5) / n
    for away, said in ((0, "K(i, i)"), (1, "K(i, i+1)"), (2, "K(i, i+2)")):
        row, column = np.arange(n), (np.arange(n) + away) % n
        ax.plot(at, measured[row, column], "o", color=DATA, ms=4, label="measured" if away == 0 else None)
        for key, colour, style in (("learned", MODEL, "-"), ("exact", TRUTH, "--")):
            if (of := K[key]) is not None:
                ax.plot(at, of[row, column], style, color=colour, label=key if away == 0 else None)
        ax.annotate(said, (at[-1], measured[row, column][-1]), fontsize=8, xytext=(0, 5), textcoords="offset points",
                    ha="right")
    ax.set(xlabel="x of hat i, first start", ylabel="entries of K (kT)")
    ax.legend(frameon=False)


def in_time(ax: Axes, prediction: dict[str, Any]) -> None:
    """The unseen profile to 1,000 bursts, learned and exact."""
    ax.plot(prediction["x"], prediction["start"], color="0.7", label="start")
    for k in range(0, len(prediction["times"]), 3):
        ax.plot(prediction["x"], prediction["found"][k], color=MODEL, label=None if k else "learned")
        if prediction["truth"] is not None:
            ax.plot(prediction["x"], prediction["truth"][k], color=TRUTH, ls="--", lw=0.9,
                    label=None if k else "exact")
    ax.set(xlabel="x", ylabel="density, 1 to 1,000 bursts")
    ax.legend(frameon=False)


def beside_simulation(ax: Axes, under: Axes, prediction: dict[str, Any]) -> None:
    """Learned, simulated and exact profiles, and their differences from the learned one (band: chance, 2 sd)."""
    groups, sites = 50, prediction["kmc"].shape[1]
    at = np.arange(sites) / sites
    x = at.reshape(groups, -1).mean(axis=1)

    def cells(profile: np.ndarray) -> np.ndarray:
        """Means of groups of sites, of a profile on any number of places."""
        places = np.arange(len(profile)) / len(profile)
        return np.interp(at, places, profile, period=1.0).reshape(groups, -1).mean(axis=1)

    chance = 2 * np.sqrt(prediction["chi"] * groups / prediction["particles of a profile"])
    under.axhspan(-chance, chance, color="0.9", lw=0)
    times = prediction["kmc times"] / prediction["times"][0]
    for k, (ahead, direct) in enumerate(zip(prediction["ahead"], prediction["kmc"])):
        colour = f"C{k}"
        ax.plot(x, cells(direct), ".", color=DATA, ms=4, label=None if k else "simulated")
        ax.plot(prediction["x"], ahead, color=MODEL, label=None if k else "learned")
        under.plot(x, cells(direct) - cells(ahead), ".-", ms=3, lw=0.6, color=colour,
                   label=f"simulated, {times[k]:.2g} bursts")
        if prediction["ahead, exact"] is not None:
            true = prediction["ahead, exact"][k]
            ax.plot(prediction["x"], true, color=TRUTH, ls="--", lw=0.9, label=None if k else "exact")
            under.plot(x, cells(true) - cells(ahead), "--", color=colour, lw=1.2)
    ax.set(xlabel="x", ylabel="density")
    under.set(xlabel="x", ylabel="less the learned one (dashed: exact)")
    ax.legend(frameon=False)
    under.legend(fontsize=8)


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
