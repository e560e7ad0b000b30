"""Numbers as one reads them: headline cards and checks of a report, with errors, in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from vid2dyn.core.describe import plain, with_error
from vid2dyn.core.errors import Vid2DynError
from vid2dyn.model.base import LearnedNumber
from vid2dyn.reports.sections.base import Content

__all__ = ["cards", "checks", "estimate", "plain", "with_error"]

CHECKS = {
    ("held_out", "log_likelihood_per_step"): "held-out log-likelihood per particle and step",
    ("held_out", "train_log_likelihood_per_step"): "the same for steps learned from",
    ("held_out", "free_diffusion_log_likelihood_per_step"): "the same for free diffusion",
    ("held_out", "log_likelihood_per_number"): "held-out log-likelihood per number, realisations left out",
    ("held_out", "train_log_likelihood_per_number"): "the same for those learned from",
    ("held_out", "realisations"): "realisations left out",
    ("held_out", "entropy_gain_per_step"): "what following entropy adds to one temperature (positive: it predicts)",
    ("held_out", "structure_gain_per_step"): "what the laws add to nets without them",
    ("held_out", "gain_per_step"): "what forces or structure add (positive: they predict)",
    ("held_out", "steps"): "steps held out",
    ("calibration", "chi2"): "χ² per residual (1)",
    ("calibration", "lag1"): "correlation of successive residuals (0)",
    ("calibration", "numbers"): "residuals",
    ("laws", "energy_drift"): "energy change over the steps tried, in N T (0)",
    ("laws", "momentum_drift"): "momentum change, in thermal momenta (0)",
    ("laws", "least_entropy_production"): "least entropy production of a step without noise, kB (not negative)",
    ("laws", "mobility_asymmetry"): "asymmetry of the mobility matrix (0)",
    ("laws", "mobility_lowest_eigenvalue"): "its lowest eigenvalue over its mean (not negative)",
    ("laws", "mass_rate"): "mass that flows away, over the flow (0)",
    ("laws", "energy_rate_without_noise"): "energy change without noise, kT/s (not positive)",
}
"""Entries of a model's report in words, with the value expected; others keep their names."""

COUNTS = ("steps", "numbers", "realisations")
ROUNDING = 1e-11
"""Laws that are broken by less than this are broken by the rounding of numbers alone."""


def cards(content: Content) -> list[dict[str, str]]:
    """The headline numbers: label, value, detail, truth (empty where unknown).

    The model's first number leads, then what displacements say by themselves, then its others.
    """
    model = content.model
    learned = [] if model is None else [_learned(number, content) for number in model.numbers()]
    if content.of_fields or (model is not None and not model.explains_displacements):
        return learned
    return [*learned[:1], *_measured(content), *learned[1:],
            _card("Tracks", f"{content.data.n_particles}",
                  f"{len(content.data)} detections in {content.data.n_frames} frames")]


def _card(label: str, value: str, detail: str, truth: str = "") -> dict[str, str]:
    return {"label": label, "value": value, "detail": detail, "truth": truth}


def _learned(number: LearnedNumber, content: Content) -> dict[str, str]:
    """A number of the model with its band."""
    digits, true = number.digits, _true(number, content)
    detail = f"95 % band {number.low:.{digits}g} to {number.high:.{digits}g}"
    return _card(number.label, with_error(number.value, (number.high - number.low) / (2 * 1.959964), number.unit),
                 f"{detail}; {number.detail}" if number.detail else detail,
                 "" if true is None else f"{true:.{digits}g} {number.unit}".strip())


def _true(number: LearnedNumber, content: Content) -> float | None:
    """What a number should be, where that is known."""
    if number.truth and number.at is not None:
        true = content.true_function(number.truth, np.array([number.at]))
        return None if true is None else float(true[0])
    return _known(content, number.truth)


def _known(content: Content, name: str) -> float | None:
    """A number of the truth, where it is known and a number."""
    true = content.truth.get(name)
    return float(true) if isinstance(true, int | float) else None


def _measured(content: Content) -> list[dict[str, str]]:
    """What displacements say: D, localisation error (that of the model, where it has one), viscosity."""
    tracks, measured, model = content.data, content.measured, content.model
    found = []
    if measured is not None:
        alone = model is not None and model.has_forces
        true = _known(content, "diffusion") if model is None else None
        found.append(_card("Diffusion coefficient, displacements", with_error(measured.D, measured.D_stderr, "µm²/s"),
                           "from displacements alone, a check: it knows of no forces" if alone else
                           "from displacements, blur and noise taken into account",
                           "" if true is None else f"{true:.3g} µm²/s"))
    noise, doubt = _localisation(measured, model)
    if noise is not None and np.isfinite(noise):
        true = _known(content, "localisation_error")
        found.append(_card("Localisation error", with_error(1e3 * noise, doubt and 1e3 * doubt, "nm"),
                           f"{noise / tracks.units.um:.2f} px on each axis",
                           "" if true is None else f"{1e3 * true:.3g} nm"))
    if measured is not None and measured.viscosity is not None:
        doubt = getattr(measured, "viscosity_stderr", None)
        found.append(_card("Viscosity", with_error(1e3 * measured.viscosity, doubt and 1e3 * doubt, "mPa·s"),
                           "Stokes-Einstein with the radius and temperature given"))
    return found


def estimate(model: Any, name: str) -> tuple[float, float, float, float]:
    """(value, standard error, low, high) of one number that a model learned; the band is 95 %."""
    low, high = (float(np.asarray(edge)) for edge in model.band(name))
    return float(getattr(model, name)()), (high - low) / (2 * 1.959964), low, high


def _localisation(measured: Any, model: Any) -> tuple[float | None, float | None]:
    """Standard error of a position [µm] and its own error: the model's where there is one."""
    if model is not None:
        try:
            return estimate(model, "localisation_error")[:2]
        except Vid2DynError:
            pass
    if measured is None:
        return None, None
    return measured.localisation_error, getattr(measured, "localisation_error_stderr", None)


def checks(report: Mapping[str, Any]) -> list[list[str]]:
    """Rows (check, value) of held-out likelihood, calibration and laws; x_stderr joins x."""
    rows = []
    for group in ("held_out", "calibration", "laws"):
        table = {key: report.get(group, {})[key] for key in _in_order(group, report.get(group, {}))}
        for key, value in table.items():
            if isinstance(value, (Mapping, list, tuple)) or key.endswith("_stderr"):
                continue
            name = CHECKS.get((group, key), f"{group}: {key}".replace("_", " "))
            error = table.get(f"{key}_stderr")
            if key == "gain_per_step" and error == 0:           # free diffusion beside itself
                continue
            shown = plain(int(value) if key in COUNTS else value)
            if group == "laws" and isinstance(value, float) and 0 < abs(value) < ROUNDING:
                shown = "0 to rounding"
            rows.append([name, shown if error is None else with_error(value, error)])
    return rows


def _in_order(group: str, table: Mapping[str, Any]) -> list[str]:
    """Keys of a group as CHECKS has them, then those it does not know."""
    known = [key for of, key in CHECKS if of == group and key in table]
    return known + [key for key in table if key not in known]
