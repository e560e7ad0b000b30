"""Numbers as one reads them: headline cards and checks of a report, with errors, in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from vid2dyn.core.errors import Vid2DynError

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


def with_error(value: float, stderr: float | None, unit: str = "") -> str:
    """A number as one reads it: as many digits as its error allows.

    >>> with_error(0.40512, 0.0042, "µm²/s")
    '0.4051 ± 0.0042 µm²/s'
    >>> with_error(18.2, None, "nm")
    '18.2 nm'
    """
    if stderr is None or not np.isfinite(stderr) or stderr <= 0:
        return f"{value:.3g} {unit}".strip()
    digits = max(0, 1 - int(np.floor(np.log10(stderr))))
    return f"{value:.{digits}f} ± {stderr:.{digits}f} {unit}".strip()


def plain(value: Any) -> str:
    """A setting or a check as text."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def has_forces(model: Any) -> bool:
    """Whether a model knows more than free diffusion."""
    return model.recipe.get("cutoff") is not None or model.recipe.get("trap", "none") != "none"


def cards(tracks: Any, measured: Any, model: Any, known: Mapping[str, Any]) -> list[dict[str, str]]:
    """The headline numbers: label, value, detail, truth (empty where unknown).

    Parameters
    ----------
    tracks : Trajectories
    measured : Diffusion or None
    model : Model or None
    known : mapping
        The truth of the sample, as far as it is known.
    """
    found: list[dict[str, str]] = []

    def card(label: str, value: str, detail: str, truth: float | None = None, unit: str = "") -> None:
        said = "" if truth is None else f"{truth:.3g} {unit}"
        found.append({"label": label, "value": value, "detail": detail, "truth": said})

    if model is not None:
        value, error, low, high = estimate(model, "diffusion")
        what = "forces taken into account" if has_forces(model) else "free particles, blur and noise taken into account"
        card("Diffusion coefficient, model", with_error(value, error, "µm²/s"),
             f"95 % band {low:.3g} to {high:.3g}; {what}", known.get("diffusion"), "µm²/s")
    if measured is not None:
        alone = model is not None and has_forces(model)
        card("Diffusion coefficient, displacements", with_error(measured.D, measured.D_stderr, "µm²/s"),
             "from displacements alone, a check: it knows of no forces" if alone else
             "from displacements, blur and noise taken into account",
             known.get("diffusion") if model is None else None, "µm²/s")
    noise, doubt = _localisation(measured, model)
    if noise is not None and np.isfinite(noise):
        true = known.get("localisation_error")
        card("Localisation error", with_error(1e3 * noise, doubt and 1e3 * doubt, "nm"),
             f"{noise / tracks.units.um:.2f} px on each axis", None if true is None else 1e3 * true, "nm")
    if measured is not None and measured.viscosity is not None:
        doubt = getattr(measured, "viscosity_stderr", None)
        card("Viscosity", with_error(1e3 * measured.viscosity, doubt and 1e3 * doubt, "mPa·s"),
             "Stokes-Einstein with the radius and temperature given")
    if model is not None and model.recipe.get("trap", "none") != "none":
        value, error, low, high = estimate(model, "trap_stiffness")
        card("Trap stiffness", with_error(value, error, "kT/µm²"), f"95 % band {low:.3g} to {high:.3g}",
             known.get("trap_stiffness"), "kT/µm²")
    card("Tracks", f"{tracks.n_particles}", f"{len(tracks)} detections in {tracks.n_frames} frames")
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
            rows.append([name, shown if error is None else with_error(value, error)])
    return rows


def _in_order(group: str, table: Mapping[str, Any]) -> list[str]:
    """Keys of a group as CHECKS has them, then those it does not know."""
    known = [key for of, key in CHECKS if of == group and key in table]
    return known + [key for key in table if key not in known]
