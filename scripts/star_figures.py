"""The page of reproduce_star_polymers.py: tables and figures in one HTML file."""

from __future__ import annotations

import html
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from vid2dyn.core.files import atomic
from vid2dyn.reports.figures import DATA, MODEL, MUTED, TRUTH, picture

COLOURS = {"model": MODEL, "memory": "#8d99ae", "heat": "#d1495b", "dpd": "#2a9d8f", "ibi": "#e09f3e",
           "unconstrained": "#7b5ea7"}

LISTS = ("model", "memory", "heat")
"""Methods that are lists of terms."""

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Star polymers</title>
<style>body{{font:15px/1.5 sans-serif;max-width:1180px;margin:2em auto;padding:0 1em;color:#222}}
pre{{background:#f4f6f8;padding:1em;overflow-x:auto}}figure{{display:inline-block;margin:.4em}}
figcaption{{font-size:13px;color:#444;max-width:520px}}</style>
<h1>Star polymers: a model of the centres, and the melts it was learned from</h1>
<p>Relative RMSE in per cent against a simulation that no method has seen; <em>chance</em> is what independent
simulations differ by.</p><pre>{table}</pre>{sections}</html>
"""


def write_page(path: Path, found: dict[str, Any], table: str) -> None:
    """One section a case."""
    sections = []
    for name, figures in found.items():
        drawn = "".join(f'<figure><img src="{source}" alt="{html.escape(said)}"><figcaption>{html.escape(said)}'
                        "</figcaption></figure>" for source, said in pictures(figures))
        sections.append(f"<h2>{html.escape(name)}</h2>{drawn}")
    with atomic(path) as scratch:
        scratch.write_text(PAGE.format(table=html.escape(table), sections="".join(sections)), encoding="utf-8")


def pictures(figures: dict[str, Any]) -> list[tuple[str, str]]:
    """Pictures and their captions."""
    drawn = [(picture(lambda axes: correlation(axes, figures)), "Velocity autocorrelation; lines: rollouts."),
             (picture(lambda axes: correlation(axes, figures, less=True)),
              "Velocity autocorrelation, rollout less truth, over the value at lag 0."),
             (picture(lambda axes: displacement(axes, figures)), "Mean squared displacement over that of the truth."),
             (picture(lambda axes: structure(axes, figures)), "Radial distribution function of the centres."),
             (picture(lambda axes: potentials(axes, figures)),
              "Pair potentials. That of the model with its 95 % band.")]
    learned = _first_learned(figures)
    if learned:
        drawn.append((picture(lambda axes: frictions(axes, figures)),
                      "Pair friction along (solid) and across (dashed) the line of centres."))
    window = next((figures["methods"][name]["report"]["window"] for name in LISTS
                   if name in figures["methods"]), None)
    if isinstance(window, dict):
        drawn.append((picture(lambda axes: friction_by_window(axes, window)),
                      "Friction of the model against the frames of the window it was read from."))
    if learned is not None and "memory_lag" in learned:
        drawn.append((picture(lambda axes: memory(axes, learned)), "Memory kernel of the pair friction."))
    heat = figures["methods"].get("heat", {}).get("report", {}).get("heat", {})
    if "persistence" in heat:
        drawn += [(picture(partial(persistence, heat=heat, coupling=c)), f"How alike the relative strength of {name} "
                   "of a star is in two windows some time apart; line: heat of the model.")
                  for c, name in enumerate(heat["couplings"])]
    return drawn


def _first_learned(figures: dict[str, Any]) -> dict[str, Any] | None:
    """Functions of the first list of terms among the methods."""
    for name in LISTS:
        if name in figures["methods"]:
            return figures["methods"][name]["learned"]
    return None


def methods(figures: dict[str, Any]) -> list[tuple[str, dict[str, np.ndarray], str]]:
    """Name, curves and colour of each."""
    return [(name, {k: np.array(v, dtype=float) for k, v in row["curves"].items()}, COLOURS[name])
            for name, row in figures["methods"].items()]


def correlation(axes: Axes, figures: dict[str, Any], less: bool = False) -> None:
    truth = np.array(figures["truth"]["vacf"])
    lag = figures["truth"]["lag"]
    axes.axhline(0.0, color=MUTED, lw=0.8, ls=":")
    for name, curves, colour in methods(figures):
        axes.plot(lag, (curves["vacf"] - truth) / truth[0] if less else curves["vacf"], color=colour, label=name)
    if not less:
        axes.plot(lag, truth, color=TRUTH, ls="--", lw=1.2, label="simulation")
    axes.set(xlabel="lag (s)", ylabel="difference / VACF(0)" if less else "VACF (µm²/s²)")
    axes.legend()


def displacement(axes: Axes, figures: dict[str, Any]) -> None:
    truth, lag = np.array(figures["truth"]["msd"][1:]), figures["truth"]["lag"][1:]
    axes.axhline(1.0, color=TRUTH, lw=1.2, ls="--", label="simulation")
    for name, curves, colour in methods(figures):
        axes.plot(lag, curves["msd"][1:] / truth, color=colour, label=name)
    axes.set(xlabel="lag (s)", ylabel="MSD / MSD of the simulation", ylim=(0.7, 1.4))
    axes.legend()


def structure(axes: Axes, figures: dict[str, Any]) -> None:
    axes.axhline(1.0, color=MUTED, lw=0.8, ls=":")
    for name, curves, colour in methods(figures):
        axes.plot(curves["r"], curves["g"], color=colour, label=name)
    axes.plot(figures["truth"]["r"], figures["truth"]["g"], ".", color=DATA, ms=4, label="simulation")
    axes.set(xlabel="r (µm)", ylabel="g(r)")
    axes.legend()


def potentials(axes: Axes, figures: dict[str, Any]) -> None:
    found = figures["methods"]
    learned = _first_learned(figures)
    if learned:
        r = np.array(learned["r"])
        if "pair_potential band" in learned:
            axes.fill_between(r, *np.array(learned["pair_potential band"]), color=MODEL, alpha=0.2, lw=0)
        axes.plot(r, learned["potential"], color=MODEL, label="model")
    for name in ("dpd", "ibi"):
        if name in found:
            r, f = (np.array(found[name]["force"][k]) for k in ("r", "f"))
            energy = np.append(np.cumsum(0.5 * (f[1:] + f[:-1])[::-1] * np.diff(r)[::-1])[::-1], 0.0)
            axes.plot(r, energy, color=COLOURS[name], label=name)
    axes.set(xlabel="r (µm)", ylabel="pair potential (kT)", ylim=(-1, 12))
    first = np.argmax(np.array(figures["truth"]["g"]) > 0)
    axes.axvspan(0, figures["truth"]["r"][first], color="0.93", lw=0)
    axes.legend()


def frictions(axes: Axes, figures: dict[str, Any]) -> None:
    learned = _first_learned(figures)
    assert learned is not None
    axes.plot(learned["r"], learned["along"], color=MODEL, label="model, along")
    axes.plot(learned["r"], learned["across"], color=MODEL, ls="--", label="model, across")
    if "dpd" in figures["methods"]:
        told = figures["methods"]["dpd"]["fitted"]
        r = np.linspace(learned["r"][0], told["friction_range"], 200)
        axes.plot(r, told["gamma"] * (1 - r / told["friction_range"]) ** 2, color=COLOURS["dpd"], label="dpd, along")
    axes.set(xlabel="r (µm)", ylabel="pair friction (mass/s)")
    axes.legend()


def friction_by_window(axes: Axes, window: dict[str, Any]) -> None:
    """Γ(k), the one chosen, and the level of the fit."""
    frames, _, friction, error = np.array(window["friction_against_window"]).T
    axes.errorbar(frames, friction, yerr=1.96 * error, fmt="o", ms=4, color=MODEL)
    axes.axvline(window["frames"], color=MUTED, ls=":")
    axes.axhline(window["friction"], color=MUTED, lw=0.8)
    axes.set(xlabel="frames of the window", ylabel="friction of a particle (mass/s)", xscale="log")


def persistence(axes: Axes, heat: dict[str, Any], coupling: int) -> None:
    """What stays alike in the local scores, beyond the memory of the noise."""
    rows = np.array(heat["persistence"])
    rows = rows[rows[:, 0] > (heat["first_lag"] - 0.5) * heat["seconds"]]
    seen, error, fitted = rows[:, 1 + 3 * coupling:4 + 3 * coupling].T
    axes.errorbar(rows[:, 0], seen, yerr=1.96 * error, fmt="o", ms=4, color=DATA)
    if heat["identified"]:
        axes.plot(rows[:, 0], fitted, color=MODEL)
    axes.axhline(0.0, color=MUTED, lw=0.8)
    axes.set(xlabel="time between windows (s)", ylabel="covariance")


def memory(axes: Axes, learned: dict[str, Any]) -> None:
    axes.plot(learned["memory_lag"], learned["memory"], color=MODEL)
    axes.set(xlabel="lag (s)", ylabel="memory kernel (mass/s²)")
