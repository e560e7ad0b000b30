"""Fit of a gradient flow: from an ensemble of fields to mobility and free energy with error bars (`fluctuations`)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

import vid2dyn
from vid2dyn.core.checkpoint import Checkpoint, PathLike, digest_of, key_of
from vid2dyn.core.config import recipe as recipe_of
from vid2dyn.core.errors import DataError
from vid2dyn.core.progress import Cancelled, Progress, silent
from vid2dyn.data.fields import Fields
from vid2dyn.dynamics.recipes.gradient_flow import GradientFlow
from vid2dyn.dynamics.terms.even_kernels import EvenKernels
from vid2dyn.dynamics.terms.landscape import DensityFunction, Landscape
from vid2dyn.fitting.course import checked, stopped_early
from vid2dyn.fitting.fields.elements import Elements, Statistics
from vid2dyn.fitting.fields.finite_sizes import finite_size_covariance
from vid2dyn.fitting.fields.fluctuations import Design, short_windows, window_scales
from vid2dyn.fitting.fields.recordings import recordings_report, together
from vid2dyn.fitting.fields.rounds import HELD_OUT, FieldRounds, jackknife, landscape_arrays
from vid2dyn.fitting.recording_names import recording_names
from vid2dyn.model.gradient_flow import DensityRange, GradientFlowModel

GROUPS = 10
"""Groups of realisations left out in turn for error bars."""


@threadpool_limits.wrap(limits=1, user_api="blas")         # small systems: see `vid2dyn.rollout.fields.flow`
def fit_gradient_flow(fields: Fields | Sequence[Fields], recipe: GradientFlow, seed: int = 0,
                      progress: Progress = silent, *, checkpoint: PathLike | None = None, stop: int | None = None,
                      keep_partial: bool = False) -> GradientFlowModel:
    """Learn mobility and free energy; `seed` draws the first weights of a network, splines need none.

    Of several recordings on one lattice, with the same windows, the realisations are taken together; the report then
    says what each says alone, and a warning names one that does not belong (`recordings`).

    For `checkpoint`, `stop` and `keep_partial` see `vid2dyn.fit`; error bars of a fit that stopped early are those of
    the information in the data and of the last round's change, without leaving groups out.

    Raises
    ------
    DataError
        When the fields hold one time, too few realisations, densities that hardly vary, or cells that the elements do
        not divide; when recordings have different lattices or windows.
    ModelError
        When no mobility explains the fluctuations.
    """
    recordings = [fields] if isinstance(fields, Fields) else fields
    if not isinstance(recordings, list | tuple):
        raise DataError(f"vd.GradientFlow learns from fields, not from {type(fields).__name__}. Simulate a lattice "
                        "process (vd.simulators.Arrhenius) or build vd.Fields.")
    fields, of_start = together(recordings)
    elements = Elements(fields.n_cells, recipe.elements or _default_elements(fields.n_cells), recipe.degree)
    statistics = Statistics.of(fields, elements, GROUPS)
    smooth, capacity = statistics.without(None).smooth(), _capacity(fields)
    low, high = float(smooth.min()), float(smooth.max())
    if high - low < 0.02 * max(high, 1e-9):
        raise DataError(f"The mean density hardly varies ({low:.3g} to {high:.3g}): without gradients nothing drifts "
                        "and the free energy stays unknown. Start from a profile with an amplitude.")
    function = _shape(low, high, recipe.knots, capacity)
    early = statistics.without(HELD_OUT).smooth()
    of_training = _shape(float(early.min()), float(early.max()), recipe.knots, capacity)
    kernels = EvenKernels(recipe.force_range, recipe.kernel_knots, fields.n_cells) if recipe.force_range else None
    used, digest = dataclasses.replace(recipe, elements=elements.elements), _digest(fields)
    place = Checkpoint(checkpoint, key_of(repr((recipe_of(used), seed, digest, vid2dyn.__version__)), fields.starts))
    rounds = FieldRounds(statistics, function, of_training, kernels, recipe, seed, place, progress)
    whole = _run(rounds, progress, checked(stop), keep_partial)
    covariance = jackknife(rounds.others) if whole else rounds.covariance()
    if whole:
        covariance = covariance + finite_size_covariance(rounds.design, rounds.found)
    arrays = {"range": DensityRange(function.low, function.high, recipe.knots, capacity or np.nan).array(),
              "covariance": covariance, "sites": np.array([float(fields.n_cells)]),
              "freedom": np.array([GROUPS - 1.0 if whole else float(statistics.count.sum())]),
              **landscape_arrays(rounds.found)}
    if kernels is not None:
        arrays["kernels"] = np.array([float(kernels.reach), float(kernels.count)])
    model = GradientFlowModel(arrays, recipe_of(used))
    windows = _windows(rounds.design, rounds.found)
    warnings = _warnings(windows, rounds.found, 2 * elements.elements / recipe.fluctuation_wave,
                         lambda rho: model.band("curvature", rho)[1])
    report = {"held_out": rounds.held_out(), "course": rounds.course.report(), "laws": _laws(model), "windows": windows,
              "seed": seed, "data_sha256": digest, "warnings": warnings,
              "versions": {"vid2dyn": vid2dyn.__version__, "numpy": np.__version__}}
    if len(recordings) > 1:
        names = recording_names([one.info for one in recordings])
        report["recordings"], said = recordings_report(names, of_start, statistics, rounds.design, rounds.found)
        warnings += said
    if not whole:
        report["stopped_early"], warning = stopped_early(
            rounds.course.rounds, rounds.total, "Mobility and free energy may still change; no groups of realisations "
            "were left out for the bands.")
        warnings.insert(0, warning)
    return dataclasses.replace(model, report=report)


def _run(rounds: FieldRounds, progress: Progress, stop: int | None, keep_partial: bool) -> bool:
    """All rounds and groups; False if it was stopped before the end, but after a round."""
    try:
        while rounds.course.rounds < rounds.total:
            if stop is not None and rounds.course.rounds >= stop:
                return False
            rounds.advance(progress)
        if stop is not None and stop <= rounds.total:
            return False
        while len(rounds.others) < GROUPS:
            rounds.leave_out(progress)
        progress(rounds.total + GROUPS, rounds.total + GROUPS, "fit")
    except Cancelled:
        if not keep_partial or not rounds.course.rounds:
            raise
    return len(rounds.others) == GROUPS


def _capacity(fields: Fields) -> float | None:
    """Most particles a cell can hold, as far as the data tell: 1 where no cell ever holds two, else no bound; None
    where values are no whole numbers and so do not count particles."""
    values = fields.values
    if values.min() < 0 or not (np.issubdtype(values.dtype, np.integer) or (values == np.round(values)).all()):
        return None
    return 1.0 if values.max() <= 1 else float("inf")


def _shape(low: float, high: float, knots: int, capacity: float | None) -> DensityFunction:
    """Splines over the densities seen, a hundredth away from where free particles have no mobility."""
    if capacity is not None:
        edge = 0.01 * (high if np.isinf(capacity) else capacity)
        low, high = max(low, edge), min(high, capacity - edge)
    return DensityFunction(low, high, knots, capacity)


def _default_elements(cells: int) -> int:
    """The divisor of `cells` that makes elements of about 10 cells, or about 60 elements if those are fewer."""
    possible = [n for n in range(4, min(200, cells // 4) + 1) if cells % n == 0]
    if not possible:
        raise DataError(f"{cells} cells cannot be split evenly into elements of at least 4 cells. Use a number of "
                        "cells with more divisors, such as 480 or 500.")
    return min(possible, key=lambda n: abs(np.log(n / min(0.1 * cells, 60))))


def _laws(model: GradientFlowModel) -> dict[str, float]:
    """Asymmetry and lowest eigenvalue of M (relative), and mass a step loses: zero to rounding by construction."""
    import torch

    from vid2dyn.dynamics.gradient_flow import flow_dynamics, ring

    low, high = model.support
    rho = torch.as_tensor(low + (high - low) * (0.5 + 0.4 * np.sin(2 * np.pi * np.arange(12) / 12)))
    flow = flow_dynamics(model.landscape, 10.0)
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


def _warnings(windows: list[dict[str, Any]], found: Landscape, halves: float,
              highest: Callable[[np.ndarray], np.ndarray]) -> list[str]:
    """Where fluctuations and model disagree, windows are too long, or the free energy separates (f'' is negative beyond
    its band, whose upper edge is `highest`)."""
    warnings = []
    rho = np.linspace(found.function.low, found.function.high, 101)
    worst = max((w for w in windows if w["used"]), key=lambda w: abs(w["covariance_ratio"] - 1) / w["stderr"])
    if abs(worst["covariance_ratio"] - 1) > max(0.03, 5 * worst["stderr"]):
        warnings.append(f"Off the plateau: fluctuations over the window of {worst['width']:.3g} are "
                        f"{worst['covariance_ratio']:.3f} times those of the model. Windows must be long against the "
                        "hops and short against diffusion over an element; choose others, or fewer elements. "
                        "Long-ranged forces need force_range.")
    longest = 1 / (2 * found.diffusion(rho).max() * halves**2)
    if min(w["width"] for w in windows) > longest:
        warnings.append("Even the shortest window is long against diffusion over two elements: the mobility rests on "
                        f"the correction for it, and bands are wider. Add windows of {longest:.2g} and shorter, or use "
                        "fewer elements.")
    if (highest(rho) < 0).any():
        warnings.append("The free energy is concave at some densities: there it separates.")
    return warnings


def _digest(fields: Fields) -> str:
    return digest_of(fields.times.tobytes(), np.ascontiguousarray(fields.values).tobytes())
