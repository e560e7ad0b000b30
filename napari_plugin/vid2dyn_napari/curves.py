"""What the plots of the panel show, as arrays: pure functions of tracks, models and truth; no Qt, no drawing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vid2dyn.reports.drawing import LearnedCurve
from vid2dyn_napari.truth import first_entropy, true_limit, true_pair, true_radial, true_simulator

CUTS = {"mass": ("minmass", "low"), "size": ("max_size", "high"), "ecc": ("max_ecc", "high")}
"""Column of the table -> the setting of `Track` that limits it, and from which side."""


@dataclass(frozen=True)
class Histogram:
    """Counts of one column: `edges` (n + 1), `counts` (n), and words for the axis."""

    name: str
    label: str
    edges: np.ndarray
    counts: np.ndarray


def histograms(tracks: Any, bins: int = 40) -> list[Histogram]:
    """Mass, size and eccentricity of all detections, as far as the table has them.

    >>> import vid2dyn as vd
    >>> tracks = vd.simulate(vd.simulators.Brownian(n_particles=5, frames=9, box_length=9.0), seed=0)
    >>> histograms(tracks)
    []
    """
    labels = {"mass": "mass (grey levels)", "size": "size (px)", "ecc": "eccentricity"}
    found = []
    for name, label in labels.items():
        if name in tracks.dataframe:
            value = tracks.dataframe[name].to_numpy(float)
            value = value[np.isfinite(value)]
            if value.size:
                low, high = np.percentile(value, (0.0, 99.8))
                counts, edges = np.histogram(value, bins=bins, range=(low, high if high > low else low + 1.0))
                found.append(Histogram(name, label, edges, counts))
    return found


def phase(tracks: Any, bins: int = 20) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Edges in [0, 1] and counts of the sub-pixel parts of y and x; flat if nothing pulls positions to the pixels."""
    edges = np.linspace(0.0, 1.0, bins + 1)
    y, x = (np.histogram(tracks.dataframe[a].to_numpy(float) % 1.0, edges)[0] for a in tracks.axes[-2:])
    return edges, y, x


def counts(tracks: Any) -> tuple[np.ndarray, np.ndarray]:
    """Frame numbers and detections in each."""
    frame = tracks.frame
    return np.arange(frame.min(), frame.max() + 1), np.bincount(frame - frame.min())


@dataclass(frozen=True, kw_only=True)
class Learned(LearnedCurve):
    """One learned function with the words of its plot."""

    title: str
    x_label: str
    y_label: str


def learned(model: Any, truth: Mapping[str, Any], data: Any = None) -> list[Learned]:
    """Every function that a model learned, ready to be drawn.

    Parameters
    ----------
    model : Model
    truth : mapping
        What the simulator put in; empty where unknown.
    data : Trajectories, optional
        What it was learned from, for the range of entropies of a fluid.
    """
    found: list[Learned] = []
    one_kind = hasattr(model, "pair_potential") and not getattr(model, "species", ())
    if one_kind and model.recipe.get("cutoff") is not None:
        found += _pair(model, truth)
    if hasattr(model, "free_energy"):
        found += _gradient_flow(model, truth)
    if hasattr(model, "temperature") and isinstance(model.support, Mapping):
        found += _fluid_functions(model, truth, data)
    return found or _listed(model, true_simulator(truth))


def _listed(model: Any, simulator: Any) -> list[Learned]:
    """The functions that a model lists of itself: those of its terms, and all that the panel knows of a dynamics of
    another package."""
    listed = model.functions()
    return [] if listed is None else [
        Learned(one.x, np.asarray(getattr(model, one.name)(*one.at)), model.band(one.name, one.where), one.support,
                None if simulator is None else simulator.true_function(one.name, one.x),
                title=one.name.replace("_", " "), x_label=one.x_label, y_label=one.y_label)
        for one in listed.functions]


def _fluid_functions(model: Any, truth: Mapping[str, Any], data: Any) -> list[Learned]:
    """T and P against S and against V through the middle of the data, and the pair friction."""
    (s_low, s_high), (v_low, v_high), (r_low, r_high) = (model.support[name] for name in "SVr")
    S, V = np.linspace(s_low, s_high, 60), np.linspace(v_low, v_high, 60)
    middle_S, middle_V = 0.5 * (s_low + s_high), 0.5 * (v_low + v_high)
    simulator, origin = true_simulator(truth), first_entropy(data)
    found = []
    power = {2: "²", 3: "³"}[model.layout.dim]
    for name, letter, unit in (("temperature", "T", "energy/kB"), ("pressure", "P", f"energy/µm{power}")):
        for axis, at, x, label in (("S", (S, np.full_like(S, middle_V)), S, "entropy S (kB)"),
                                   ("V", (np.full_like(V, middle_S), V), V, f"volume V (µm{power})")):
            known = simulator is not None and origin is not None and hasattr(simulator, name)
            true = getattr(simulator, name)(at[0] + origin, at[1]) if known else None
            found.append(Learned(x, getattr(model, name)(*at), model.band(name, at), (x[0], x[-1]), true,
                                 title=f"{name}, along {axis}", x_label=label, y_label=f"{letter} ({unit})"))
    r = np.linspace(max(r_low, 1e-6), r_high, 60)
    for name, title, label in (("shear", "shear friction of a pair", "A²"), ("bulk", "bulk friction of a pair", "B²")):
        true = true_radial(truth, name, str(model.recipe.get("law")), r)
        found.append(Learned(r, getattr(model, name)(r), model.band(name, r), (r_low, r_high), true, title=title,
                             x_label="distance r (µm)", y_label=f"{label}, radial part"))
    return found


def _pair(model: Any, truth: Mapping[str, Any]) -> list[Learned]:
    low, high = model.support
    r = np.linspace(max(low - 0.05 * (high - low), 1e-3), high + 0.1 * (high - low), 200)
    potential = true_pair(truth)
    wanted = (("pair_potential", "pair potential", "U (kT)", "energy"),
              ("pair_force", "pair force", "F (kT/µm)", "force"))
    found = []
    for name, title, label, of in wanted:
        true = None if potential is None else getattr(potential, of)(r)
        found.append(Learned(r, getattr(model, name)(r), model.band(name, r), (low, high), true, title=title,
                             x_label="distance r (µm)", y_label=label))
    return found


def _gradient_flow(model: Any, truth: Mapping[str, Any]) -> list[Learned]:
    low, high = model.support
    rho = np.linspace(low, high, 120)
    exact = true_limit(truth, rho)
    names = (("mobility", "mobility m", "m"), ("free_energy", "free energy f", "f (kT per site)"),
             ("curvature", "second derivative f''", "f'' (kT)"), ("diffusion", "diffusion m f''", "D"))
    found = []
    for name, title, label in names:
        unknown = exact is None or (exact.mobility is None and name in ("mobility", "diffusion"))
        true = None if unknown else getattr(exact, name)
        if true is not None and name == "free_energy":       # an affine part is not observable: align value and slope
            value, slope = true, np.gradient(true, rho)
            middle = len(rho) // 2
            true = value - value[middle] - slope[middle] * (rho - rho[middle])
        y, (below, above) = getattr(model, name)(rho), model.band(name, rho)
        if name == "free_energy":
            line = y[len(rho) // 2] + model.chemical_potential(rho[len(rho) // 2]) * (rho - rho[len(rho) // 2])
            y, below, above = y - line, below - line, above - line
        found.append(Learned(rho, y, (below, above), (low, high), true, title=title, x_label="density ρ (per site)",
                             y_label=label))
    return found
