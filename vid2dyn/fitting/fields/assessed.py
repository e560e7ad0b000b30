"""Is a fitted gradient flow allowed? Its fluctuations, its drift, its laws and its rollout beside the data.

Increments over a window are Gaussian with mean and covariance that the model says (`fluctuations`), so how strong
either is in the data, over what the model says, is known with its error (`recordings.strengths_of`), and the mean
increments less what was predicted have a known covariance. No control recording is needed. What smooth functions of few
knots and finite windows leave is in the margins.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.stats import chi2, ncx2
from threadpoolctl import threadpool_limits

from vid2dyn.assessment.base import SAID, Finding
from vid2dyn.assessment.quantities import Quantities, hotelling, p_value
from vid2dyn.assessment.table import Assessment, combined
from vid2dyn.core.config import build
from vid2dyn.core.errors import ModelError
from vid2dyn.data.fields import Fields
from vid2dyn.dynamics.recipes.gradient_flow import GradientFlow
from vid2dyn.dynamics.terms.landscape import Landscape
from vid2dyn.fitting.fields.elements import Elements, Statistics
from vid2dyn.fitting.fields.fluctuations import Design, covariance, mobility, short_windows, window_scales
from vid2dyn.fitting.fields.recordings import strengths_of, together
from vid2dyn.fitting.recording_names import recording_names
from vid2dyn.model.gradient_flow import GradientFlowModel

GROUPS = 10
"""Groups of realisations: sums over them are what the estimator reads."""
STRENGTH, PLATEAU, DRIFT, PROFILE = 2.0, 3.0, 5.0, 1.0
"""Margins [%]: of mobility and drift, of the covariance in one window, of the drift left, of a rollout."""
STEPS = 16
"""Of a rollout."""
WAVES = 3
"""Waves of the mean profile that a rollout is judged by."""


@threadpool_limits.wrap(limits=1, user_api="blas")
def assess_fields(fields: Fields | Sequence[Fields], model: GradientFlowModel, seed: int = 0) -> Assessment:
    """The table of tests; see `vid2dyn.pipeline.assess`. Nothing is drawn at random: the seed is not used."""
    several = [fields] if isinstance(fields, Fields) else list(fields)
    recipe = build(GradientFlow, {key: value for key, value in model.recipe.items() if key != "kind"}, "assess")
    names = recording_names([together([one])[0].info for one in several])
    tables = []
    for one, name in zip(several, names, strict=True):
        if one.n_cells != model.sites:
            raise ModelError(f"{name} has {one.n_cells} cells and the model was learned on {model.sites}: mobility and "
                             "free energy are those of that lattice. Give fields on it.")
        found = _of_increments(one, model, recipe) + _of_rollout(one, model) + _of_mass(one)
        named = name if len(several) > 1 else ""
        tables.append([dataclasses.replace(finding, recording=named) for finding in found])
    return combined(tables)


def _of_increments(fields: Fields, model: GradientFlowModel, recipe: GradientFlow) -> list[Finding]:
    """Strength of mobility and drift, the plateau, and the drift that is left."""
    landscape = model.landscape
    elements = Elements(fields.n_cells, int(recipe.elements or 0), recipe.degree)
    statistics = Statistics.of(fields, elements, GROUPS)
    data = statistics.without(None)
    design = Design.of(data, landscape.function, landscape.kernels, 0.0, recipe.fluctuation_wave)
    (m, m_error), (drift, drift_error) = strengths_of(design, landscape, model.arrays["covariance"])
    count = int(statistics.count.sum())
    found = [
        _number("strength of the mobility", "fluctuations are as strong as the model says", m, m_error, count, STRENGTH,
                f"Fluctuations are {m:.3g} times as strong as the model says, and so is the mobility of these data: "
                "another temperature or rate of hops, or windows off the plateau. Fit these fields."),
        _number("strength of the drift", "the mean moves as fast as the model says", drift, drift_error, count,
                STRENGTH, f"The mean moves {drift:.3g} times as fast as the model says: f'' of these data is other. "
                "Fit these fields.")]
    used = short_windows(design, landscape)
    scales, errors = window_scales(design, landscape)
    apart = Quantities(scales[used] - scales[used].mean(), np.diag(errors[used] ** 2), count)
    if len(used) > 1:
        widest = int(used[np.argmax(np.abs(apart.value))])
        effect = 100.0 * float(np.abs(apart.value).max())
        statistic = hotelling(apart)
        p = p_value(statistic, len(used) - 1, count, PLATEAU / max(effect, 1e-300))
        found.append(Finding("plateau", "fluctuations grow with the window as the model says", statistic, p, effect,
                             "%", f"Over the window of {data.widths[widest]:.3g} fluctuations are {scales[widest]:.3f} "
                             "times those of the model, elsewhere not: windows must be long against the hops and "
                             "short against diffusion over an element. Choose others, or give force_range." if p < SAID
                             else "", PLATEAU))
    return [*found, _drift_left(design, landscape, model.arrays["covariance"])]


def _number(test: str, question: str, value: float, error: float, count: int, margin: float, advice: str) -> Finding:
    effect, statistic = 100.0 * abs(value - 1.0), ((value - 1.0) / error) ** 2
    p = p_value(statistic, 1, count, margin / max(effect, 1e-300))
    return Finding(test, question, statistic, p, effect, "%", advice if p < SAID else "", margin)


def _drift_left(design: Design, landscape: Landscape, known: np.ndarray) -> Finding:
    """χ² of mean increments less those of the model, in waves that tell of the mobility, with the covariance `known` of
    its coefficients; what is allowed is a share of the drift in the direction of what is left."""
    slow, data = design.slow, design.data
    total, signal, freedom, count = 0.0, 0.0, 0, len(landscape.curvature)
    values, vectors = np.linalg.eigh(known)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    along, doubt = np.zeros(2 * count), np.eye(2 * count)
    for window in design.windows(landscape):
        m = mobility(design, window, landscape.log_mobility)
        forces = design.forces(window) @ landscape.curvature
        seen = slow.T @ (design.modes.T @ data.D[window.start, window.index])
        left = seen - slow.T @ (window.rest - window.push.T @ (m * forces))
        noise = cho_factor(slow.T @ covariance(window, m) @ slow / data.count[window.start])
        pushed = slow.T @ window.push.T
        slopes = np.concatenate([pushed @ (design.columns(window) * (m * forces)[:, None]),
                                 pushed @ (design.forces(window) * m[:, None])], axis=1) @ root
        total += float(left @ cho_solve(noise, left))
        signal += float(seen @ cho_solve(noise, seen))
        along += slopes.T @ cho_solve(noise, left)
        doubt += slopes.T @ cho_solve(noise, slopes)
        freedom += len(left)
    # the inverse of the noise of all windows with what the model does not know of itself (Woodbury)
    total -= float(along @ np.linalg.solve(doubt, along))
    allowed = (DRIFT / 100.0) ** 2 * signal
    effect = 100.0 * float(np.sqrt(max(total - freedom, 0.0) / max(signal, 1e-300)))
    p = float(ncx2.sf(total, freedom, allowed) if allowed > 0 else chi2.sf(total, freedom))
    return Finding("drift of the mean", "the mean moves downhill in one free energy", total / freedom, p, effect,
                   "% of the drift", f"{effect:.2g} % of the mean increments are none of a flow downhill in the "
                   "learned free energy: forces of long range (force_range), a flow that is driven, or functions that "
                   "vary faster than the knots. Compare profiles with model.rollout." if p < SAID else "", DRIFT)


def _of_rollout(fields: Fields, model: GradientFlowModel) -> list[Finding]:
    """First waves of the mean profile at the end, beside the flow from the first one: what of the mean stands out of
    chance, which few realisations leave rougher than a flow can be run from."""
    elements = Elements(fields.n_cells, int(model.recipe["elements"]), int(model.recipe["degree"]))
    smooth = Statistics.of(fields, elements, GROUPS).without(None).smooth()
    start = Fields(smooth, fields.times, np.arange(len(smooth)))
    try:
        last = model.rollout(start, steps=STEPS, dt=float(np.ptp(fields.times)) / STEPS).values[:, -1]
    except ModelError as error:
        # a flow that runs uphill, where f'' is not known to be positive or separates: the band and the fit say so
        if (model.curvature(np.linspace(*model.support, 101)) <= 0).any():
            return []
        return [Finding("rollout: runs", "the model runs on from the first field", 1.0, 0.0, 1.0, "failed run",
                        str(error))]
    labels = np.unique(fields.starts)
    away: list[float] = []
    variance: list[float] = []
    size = 0.0
    for s, label in enumerate(labels):
        rows = fields.values[fields.starts == label, -1].astype(float)
        waves = np.fft.rfft(rows, axis=1)[:, 1:WAVES + 1] / fields.n_cells
        predicted = np.fft.rfft(last[s])[1:WAVES + 1] / fields.n_cells
        for part in (np.real, np.imag):
            away += list(part(waves.mean(axis=0) - predicted))
            variance += list(part(waves).var(axis=0, ddof=1) / len(rows))
        size += float((np.abs(predicted) ** 2).sum())
    scale = np.sqrt(size)
    values = Quantities(np.array(away) / scale, np.diag(variance) / scale**2, len(fields.values))
    statistic, effect = hotelling(values), 100.0 * float(np.linalg.norm(values.value))
    p = p_value(statistic, len(away), values.pieces, PROFILE / max(effect, 1e-300))
    return [Finding("rollout: profile", "the model's own flow ends where the data do", statistic, p, effect, "%",
                    f"The mean profile at the last time differs by {effect:.2g} % from that of the model let run from "
                    "the first one: it predicts later times wrongly by as much. See the other tests for the cause."
                    if p < SAID else "", PROFILE)]


def _of_mass(fields: Fields) -> list[Finding]:
    """Whether every realisation keeps its mass: the flow does exactly."""
    mass = fields.values.sum(axis=2, dtype=float)
    effect = 100.0 * float(np.abs(mass - mass[:, :1]).max()) / max(float(np.abs(mass).mean()), 1e-300)
    lost = effect > 1e-4
    return [Finding("law: mass", "nothing is lost or made", effect, 0.0 if lost else 1.0, effect, "% of the mass",
                    f"Up to {effect:.2g} % of the mass of a realisation comes or goes, and a gradient flow keeps it: "
                    "particles leave the view or are not seen, or the field is no density." if lost else "", 1e-4)]
