"""What a user should know before trusting a fitted model of Brownian colloids: what is off, and what to do."""

from __future__ import annotations

from typing import Any

import numpy as np

from vid2dyn.data.trajectories import Trajectories
from vid2dyn.dynamics.brownian import species_pairs
from vid2dyn.fitting.brownian.design import moments
from vid2dyn.fitting.brownian.recording import Recording
from vid2dyn.fitting.brownian.synthetic import Parameters
from vid2dyn.model.brownian import BrownianModel

UNSETTLED = ("The correction for noise and blur did not settle: the forces are too stiff for this exposure. The pair "
             "potential is that of the blurred positions; film with a shorter one.")

UNCORRECTED = ("No correction for noise, blur and frame rate was made yet: the forces are those of the positions as "
               "seen.")
"""Said of a fit that was stopped after its first round."""

CORRECTED = "The correction for noise, blur and frame rate may still change the forces; the bands allow for it."
"""Said of a fit that was stopped after a later round."""


def residual_warnings(model: BrownianModel, evaluation: dict[str, Any]) -> list[str]:
    """Warnings where the potential is smoothed, and where it predicts nothing; residuals are tested in `assessed`."""
    warnings = []
    hidden = max((model.hidden_below(both) for both in _pairs(model)), default=0.0) if model.support else 0.0
    if hidden > 0:
        low, high = model.band("diffusion")
        warnings.append(f"The localisation error of {1000 * model.localisation_error():.0f} nm on each particle hides "
                        "how steeply particles repel: the density of pairs rises hardly slower than behind a hard wall "
                        "seen with this noise. The steep part of the potential is smoothed, so up to "
                        f"{hidden:.2f} µm it has no band, and D is known to "
                        f"{50 * float(high - low) / model.diffusion():.0f} % only. Film with less noise or higher "
                        "magnification.")
    gain = evaluation["held_out"]
    if not gain["steps"]:
        warnings.append("No step is left to judge the model by: after frames that cannot be trusted were left out, "
                        "the last fifth of the recording holds no particle with all its neighbours in view. Film for "
                        "longer, or a larger field.")
    predicts = gain["gain_per_step"] > 2 * gain["gain_per_step_stderr"]
    if model.support is not None and gain["steps"] and not predicts and not hidden and not any(
            _shows(model, both) for both in _pairs(model)):
        warnings.append("On frames it did not see the model predicts steps no better than free diffusion: within the "
                        "errors no pair force shows in these data.")
    return warnings


def _pairs(model: BrownianModel) -> list[Any]:
    """What `pair_force` takes beside r: nothing, or each pair of species."""
    names = model.species
    return [(names[a], names[b]) for a, b in species_pairs(len(names))] if names else [None]


SHOWS = 4.0
"""Standard errors by which a force or an energy differs from zero somewhere, where there is one. Stiff forces that turn
within a frame may predict single steps no better than free diffusion, although structure shows them beyond doubt."""


def _shows(model: BrownianModel, species: Any) -> bool:
    """Whether the learned force or energy is beyond its errors anywhere in the range of distances seen."""
    r = np.linspace(*model.pair_support(species), 60)
    for name in ("pair_force", "pair_potential"):
        low, high = model.band(name, r if species is None else (r, species), 0.682689492137)
        if (np.abs(low + high) > SHOWS * (high - low)).any():
            return True
    return False


def stationarity_warning(recording: Recording, p: Parameters) -> list[str]:
    """A warning if the learned forces do work on the whole: at equilibrium their Stratonovich current has mean zero.

    The work c·J in ten stretches of time is compared with its scatter over the later five (a sample that relaxes does
    so early), and with sqrt(2 D dt c·A c), the spread for particles that never turn back. Beyond 5 and 1.2 of these:
    about one false alarm in 200 short recordings, far fewer in long ones, where work at equilibrium cancels.
    """
    if p.field.trap == "each":
        return []
    drive = float(p.diffusion[0]) if recording.species is None else p.diffusion
    rest, moved = moments(recording, p.field), moments(recording, p.field, diffusion=drive)
    step = float(p.diffusion.mean()) * recording.dt
    work = step * (moved.b - rest.b) @ p.coefficients
    if len(work) < 10:
        return []
    scatter = 5.0 * float(work[5:].std(ddof=1)) * len(work) ** 0.5
    spread = 1.2 * float(np.sqrt(2 * step * max(p.coefficients @ rest.A @ p.coefficients, 1e-12)))
    if abs(work.sum()) < max(scatter, spread):
        return []
    return ["The sample is not at rest: over the recording the particles move along the learned forces more than "
            "against them, as a sample does that relaxes, spreads or is driven. Fit with stationary = False."]


WIDTHS = 3.0
"""Spot widths from which on distances of two images that are fitted together are unbiased, and both are found."""


def told_apart(tracks: Trajectories) -> tuple[float, str, str] | None:
    """The distance [µm] from which on the tracker tells two images apart, why, and what to do; None where it is not
    known or all are.

    That is `separation`, where it is set or images are centroids (compat="trackpy", which drops the dimmer one of two
    nearer than diameter + 1), else `WIDTHS` widths of the Gaussians that are fitted.
    """
    settings = tracks.info.get("parameters") or {}
    if "diameter" not in settings:
        return None
    if settings.get("sizes", "one") != "one" and not settings.get("separation"):
        return None                                        # told apart in a joint fit, nobody is dropped
    width = tracks.info.get("spot_width")
    if settings.get("separation") or settings.get("compat") == "trackpy":
        least = settings.get("separation") or settings["diameter"] + 1
        shortest, why = 1.15 * least, f"the tracker drops one of two images (separation {least:g} px)"
        cure = "Track with a smaller separation or diameter, or film at higher magnification."
    elif width:
        shortest, why = WIDTHS * width, f"the tracker may take two images for one (three widths of {width:.2g} px)"
        cure = "Film at higher magnification."
    else:
        return None
    return float(shortest * tracks.units.um), why, cure


def resolution_warning(tracks: Trajectories, model: BrownianModel) -> list[str]:
    """A warning if pairs come closer than the tracker tells two images apart: the potential shows that there."""
    found = told_apart(tracks)
    if found is None or model.support is None or model.support[0] > found[0]:
        return []
    shortest, why, cure = found
    return [f"Pairs come closer than {shortest:.2f} µm, where {why}: below that distance the pair potential shows the "
            f"tracker, not the particles. {cure}"]
