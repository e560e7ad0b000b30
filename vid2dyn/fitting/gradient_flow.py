"""Fit of a gradient flow: from an ensemble of fields to mobility and free energy with error bars (`fluctuations`)."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

import numpy as np

import vid2dyn
from vid2dyn.config import recipe as recipe_of
from vid2dyn.dynamics.density import DensityFunction, DensityNetwork, DensityShape, Landscape
from vid2dyn.dynamics.even_kernels import EvenKernels
from vid2dyn.dynamics.gradient_flow import GradientFlow
from vid2dyn.errors import DataError
from vid2dyn.fields import Fields
from vid2dyn.fitting.elements import Elements, Statistics
from vid2dyn.fitting.features import trained
from vid2dyn.fitting.fluctuations import Design, learn, short_windows, window_scales
from vid2dyn.model.gradient_flow import GradientFlowModel
from vid2dyn.progress import Progress, silent

GROUPS = 10
"""Groups of realisations left out in turn for error bars."""


def fit_gradient_flow(fields: Fields, recipe: GradientFlow, seed: int = 0,
                      progress: Progress = silent) -> GradientFlowModel:
    """Learn mobility and free energy; `seed` draws the first weights of a network, splines need none.

    Raises
    ------
    DataError
        When the fields hold one time, too few realisations, densities that hardly vary, or cells that the elements do
        not divide.
    ModelError
        When no mobility explains the fluctuations.
    """
    if not isinstance(fields, Fields):
        raise DataError(f"vd.GradientFlow learns from fields, not from {type(fields).__name__}. Simulate a lattice "
                        "process (vd.simulators.Arrhenius) or build vd.Fields.")
    elements = Elements(fields.n_cells, recipe.elements or _default_elements(fields.n_cells), recipe.degree)
    statistics = Statistics.of(fields, elements, GROUPS)
    everything = statistics.without(None)
    bonds, _ = everything.profiles()
    low, high = float(bonds.min()), float(bonds.max())
    if high - low < 0.02 * max(high, 1e-9):
        raise DataError(f"The mean density hardly varies ({low:.3g} to {high:.3g}): without gradients nothing drifts "
                        "and the free energy stays unknown. Start from a profile with an amplitude.")
    function: DensityShape = DensityFunction(low, high, recipe.knots)
    reach = recipe.force_range
    kernels = EvenKernels(reach, recipe.kernel_knots, fields.n_cells) if reach else None
    design = Design.of(everything, function, kernels, recipe.smoothness)
    progress(0, GROUPS + 1, "fit")
    found = learn(design)
    if recipe.shape == "network":
        found = trained(design, found, recipe.smoothness, seed)
        function = found.function
        design = Design.of(everything, function, kernels, recipe.smoothness)
        found = learn(design, found, rounds=3)
    others = []
    for g in range(GROUPS):
        progress(g + 1, GROUPS + 1, "fit")
        part = learn(Design.of(statistics.without(g), function, kernels, recipe.smoothness), found, rounds=1)
        others.append(np.concatenate([part.log_mobility, part.curvature]))
    progress(GROUPS + 1, GROUPS + 1, "fit")
    away = np.array(others) - np.mean(others, axis=0)
    covariance = (GROUPS - 1) / GROUPS * away.T @ away
    arrays = {"range": np.array([low, high, float(recipe.knots)]), "log_mobility": found.log_mobility,
              "curvature": found.curvature, "covariance": covariance, "sites": np.array([float(fields.n_cells)]),
              "freedom": np.array([GROUPS - 1.0])}
    if isinstance(function, DensityNetwork):
        arrays |= {"first": function.first, "second": function.second}
    if kernels is not None:
        arrays["kernels"] = np.array([float(kernels.reach), float(kernels.count)])
    used = dataclasses.replace(recipe, elements=elements.elements)
    model = GradientFlowModel(arrays, recipe_of(used))
    windows = _windows(design, found)
    report = {"laws": _laws(model), "windows": windows, "seed": seed, "data_sha256": _digest(fields),
              "warnings": _doubts(windows, found, elements.elements),
              "versions": {"vid2dyn": vid2dyn.__version__, "numpy": np.__version__}}
    return dataclasses.replace(model, report=report)


def _default_elements(cells: int) -> int:
    """The divisor of `cells` that makes elements of about 15 cells, at least 4 and at most 200 elements."""
    possible = [n for n in range(4, min(200, cells // 4) + 1) if cells % n == 0]
    if not possible:
        raise DataError(f"{cells} cells cannot be split evenly into elements of at least 4 cells. Use a number of "
                        "cells with more divisors, such as 480 or 500.")
    return min(possible, key=lambda n: abs(np.log(n * 15 / cells)))


def _laws(model: GradientFlowModel) -> dict[str, float]:
    """Asymmetry and lowest eigenvalue of M (relative), and mass a step loses: zero to rounding by construction."""
    import torch

    from vid2dyn.dynamics.gradient_flow import dynamics, ring

    low, high = model.arrays["range"][:2]
    rho = torch.as_tensor(low + (high - low) * (0.5 + 0.4 * np.sin(2 * np.pi * np.arange(12) / 12)))
    flow = dynamics(model.landscape, 10.0)
    M = flow.friction.dense(ring(rho))
    lowest = torch.linalg.eigvalsh(0.5 * (M + M.T)).min() / M.abs().max()
    drift = flow.drift(ring(rho))
    return {"mobility_asymmetry": float((M - M.T).abs().max() / M.abs().max()),
            "mobility_lowest_eigenvalue": float(lowest), "mass_rate": float(drift.sum() / drift.abs().max())}


def _windows(design: Design, found: Landscape) -> list[dict[str, Any]]:
    """For every width of window: covariance seen over modelled, and whether it was used for the mobility."""
    scales, errors = window_scales(design, found)
    used = short_windows(design, found)
    return [{"width": float(w), "covariance_ratio": float(r), "stderr": float(e), "used": bool(k in used)}
            for k, (w, r, e) in enumerate(zip(design.data.widths, scales, errors, strict=True))]


def _doubts(windows: list[dict[str, Any]], found: Landscape, elements: int) -> list[str]:
    said = []
    rho = np.linspace(found.function.low, found.function.high, 101)
    worst = max((w for w in windows if w["used"]), key=lambda w: abs(w["covariance_ratio"] - 1) / w["stderr"])
    if abs(worst["covariance_ratio"] - 1) > max(0.03, 5 * worst["stderr"]):
        said.append(f"Off the plateau: fluctuations over the window of {worst['width']:.3g} are "
                    f"{worst['covariance_ratio']:.3f} times those of the model. Windows must be long against the hops "
                    "and short against diffusion over an element; choose others, or fewer elements. Long-ranged forces "
                    "need force_range.")
    if 2 * found.diffusion(rho).max() * min(w["width"] for w in windows) > 1 / elements**2:
        said.append("Even the shortest window is long against diffusion over an element: the mobility rests on the "
                    "correction for it. Add shorter windows, or use fewer elements.")
    if (found.second(rho) < 0).any():
        said.append("The free energy is concave at some densities: there it separates, or the data are too few.")
    return said


def _digest(fields: Fields) -> str:
    digest = hashlib.sha256(fields.times.tobytes())
    digest.update(np.ascontiguousarray(fields.values).tobytes())
    return digest.hexdigest()
