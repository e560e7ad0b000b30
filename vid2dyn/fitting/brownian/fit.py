"""Fit of Brownian colloids: from trajectories to a `BrownianModel`.

Without forces or with traps alone the likelihood is exact and is maximised (`likelihood`, `trap`). With pair forces,
score matching gives the forces and indirect inference takes out what noise, blur and frame rate did (`indirect`).
"""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

import numpy as np

import vid2dyn
from vid2dyn.core.checkpoint import Checkpoint, PathLike, key_of
from vid2dyn.core.config import recipe as recipe_of
from vid2dyn.core.errors import DataError, ModelError
from vid2dyn.core.progress import Progress, silent
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.dynamics.recipes.brownian import Brownian
from vid2dyn.dynamics.snapshot import neighbour_pairs
from vid2dyn.dynamics.terms.splines import RadialSpline
from vid2dyn.fitting.brownian.design import Field, moments
from vid2dyn.fitting.brownian.doubles import without_doubles
from vid2dyn.fitting.brownian.evidence import judge, laws, likelihoods
from vid2dyn.fitting.brownian.indirect import Parameters, Refined, Studio, refine
from vid2dyn.fitting.brownian.likelihood import FreeDiffusion, free_diffusion
from vid2dyn.fitting.brownian.recording import Recording
from vid2dyn.fitting.brownian.structure import fit_structure
from vid2dyn.fitting.brownian.trap import fit_traps
from vid2dyn.fitting.course import Course, checked, stopped_early
from vid2dyn.model.brownian import BrownianModel

HELD_OUT = 0.2
"""Share of the frames, the last ones, kept aside to judge the model; the model itself is then fitted to all."""


STEEP = 4.0
"""Energy [kT] over one localisation error beyond which the steep part cannot be restored. At 2.4 (Yukawa, noise 80 % of
a step) bands hold and D is right; at 5.7 (WCA) and 6.1 (Morse) bands hold half the truth and D is 4 and 9 % low."""

UNINFORMED = 4.0
"""Noise scale beyond which the stated errors say nothing of which position is good: all then count alike. Else a few
wrong links raise the scale, and the positions with large stated errors are blamed for them (D 3 % low at SNR 50)."""


def fit_brownian(tracks: Trajectories, recipe: Brownian, seed: int = 0, progress: Progress = silent, *,
                 checkpoint: PathLike | None = None, stop: int | None = None,
                 keep_partial: bool = False) -> BrownianModel:
    """Learn Brownian dynamics.

    Parameters
    ----------
    tracks : Trajectories
        Linked, with micrometre_per_pixel and frames_per_second; the exposure counts as 0 if unknown (said in the
        warnings).
    recipe : Brownian
    seed : int
        Of the films that measure the estimator's errors; the same seed gives the same model.
    checkpoint, stop, keep_partial
        See `vid2dyn.fit`; for pair forces, whose fit goes in rounds: what is kept is the round that changed the forces
        least, and its bands count that change as an error.

    Raises
    ------
    UnitsError, DataError, ModelError
        When a calibration is missing, when there is too little data, or when the field of view is too small.
    """
    if not isinstance(tracks, Trajectories):
        raise DataError(f"vd.Brownian learns from trajectories, not from {type(tracks).__name__}; for fields give "
                        "vd.GradientFlow().")
    if not tracks.n_particles:
        raise DataError("These trajectories are not linked (particle = -1 everywhere), so nothing is known of how "
                        "particles move. Track the video with vd.track, or give the table a column 'particle'.")
    tracks, warnings = _trusted_lags(tracks)
    if recipe.cutoff is not None:
        tracks.units.require("micrometre_per_pixel", "frames_per_second", for_what="Fitting a Brownian model")
        tracks, doubled = without_doubles(tracks, recipe.cutoff)
        warnings += doubled
    recording = Recording.of(tracks, recipe.cutoff)
    if tracks.units.exposure is None:
        warnings.append("The exposure is unknown and taken as zero; if the shutter was open for long, the localisation "
                        "error is too small by what motion blur adds.")
    fixed = 1.0 if recipe.localisation == "table" else None
    if fixed is None and free_diffusion(recording).noise_scale > UNINFORMED:
        even = np.full_like(recording.variance, recording.variance.mean())
        recording = dataclasses.replace(recording, variance=even)
    if fixed is not None and tracks.sigma is None:
        raise DataError("localisation = 'table' needs columns y_std and x_std, which these trajectories lack.")
    if recipe.structure is not None:
        name, arrays, verdict, doubts = fit_structure(tracks, recording, recipe, fixed, _late(recording))
        recipe, held = dataclasses.replace(recipe, structure=name), verdict["held_out"]
        verdict["course"] = _told(progress, held["train_log_likelihood_per_step"], held["log_likelihood_per_step"])
        warnings += doubts
    elif recipe.cutoff is not None:
        place = Checkpoint(checkpoint, _key(recording, recipe, seed))
        arrays, found = _with_pairs(tracks, recording, recipe, fixed, seed, place, checked(stop), keep_partial,
                                    progress)
        fitted, train, left_off = found.fitted, found.train, found.left_off
        centre = _centres(recording, fitted.parameters)
        verdict = judge(recording, _late(recording), train.pair, _stiffness(train), centre,
                        fitted.parameters.diffusion, fitted.parameters.noise_scale)
        verdict["course"] = found.course.report()
        if left_off is not None:
            verdict["stopped_early"], said = stopped_early(*left_off[:2], _MEANING[left_off[2] > 1], left_off[2])
            warnings.insert(0, said)
        if not fitted.settled:
            warnings.append("The correction for noise and blur did not settle: the forces are too stiff for this "
                            "exposure. The pair potential is that of the blurred positions; film with a shorter one.")
        if recipe.stationary and left_off is None:
            warnings += _unrest(recording, fitted.parameters)
    else:
        arrays = _without_pairs(recording, recipe, fixed)
        stiffness = float(arrays["trap"][0]) if "trap" in arrays else 0.0
        rows = np.searchsorted(arrays["centre_tracks"], np.maximum(recording.track, arrays["centre_tracks"][0])) \
            if "centre_tracks" in arrays else np.zeros(len(recording.position), dtype=int)
        centre = arrays["centres"][rows] if stiffness else np.zeros_like(recording.position)
        verdict = judge(recording, _late(recording), None, stiffness, centre, float(arrays["diffusion"][0]),
                        float(arrays["noise_scale"][0]))
        verdict["course"] = _told(progress, *likelihoods(
            recording, _late(recording), None, stiffness, centre, float(arrays["diffusion"][0]),
            float(arrays["noise_scale"][0])))
    model = BrownianModel(arrays, recipe_of(recipe), tracks.units, tracks.box)
    column = None if recipe.structure is None else tracks.dataframe[recipe.structure].to_numpy()
    verdict["laws"] = laws(model.dynamics(), recording, recipe.cutoff, column)
    warnings += _doubts(model, verdict) + _blind_spot(tracks, model)
    report = {**verdict, "parameters": _said(model), "warnings": warnings, "seed": seed,
              "data_sha256": _digest(tracks), "versions": {"vid2dyn": vid2dyn.__version__, "numpy": np.__version__}}
    return dataclasses.replace(model, report=report)


_MEANING = {False: "No correction for noise, blur and frame rate was made yet: the forces are those of the positions "
                   "as seen.",
            True: "The correction for noise, blur and frame rate may still change the forces; the bands allow for it."}


def _told(progress: Progress, train: float, held_out: float) -> dict[str, Any]:
    """The course of a fit in one round."""
    course = Course("log-likelihood per particle and step")
    course.tell(progress, train, held_out)
    return course.report()


def _key(recording: Recording, recipe: Brownian, seed: int) -> str:
    """Of a checkpoint: everything the rounds depend on."""
    settings = (recipe_of(recipe), seed, recording.dt, recording.exposure, recording.box.to_dict(), vid2dyn.__version__)
    return key_of(repr(settings), recording.position, recording.frame, recording.track, recording.variance,
                  recording.weight)


def _trusted_lags(tracks: Trajectories) -> tuple[Trajectories, list[str]]:
    """The tracks, thinned to the first lag at which the errors of successive positions no longer agree."""
    from vid2dyn.analysis import diffusion

    if len(tracks.lagged(1)[0]) < 10:
        raise DataError(f"Only {len(tracks.lagged(1)[0])} displacements between neighbouring frames in "
                        f"{tracks.n_particles} tracks; a fit needs at least 10. Track more frames, or raise "
                        "search_range and memory so that tracks hold together.")
    found = diffusion(tracks)
    if found.method != "slope":
        return tracks, []
    stride = int(min(found.lags))
    thin = tracks.rows(tracks.frame % stride == 0)
    table = thin.dataframe.assign(frame=(thin.frame // stride).astype(np.int32))
    if tracks.sigma is not None:        # pixels that share errors cannot tell which detections are the better ones
        alike = float(np.sqrt(np.mean(tracks.sigma**2))) / tracks.units.um
        table = table.assign(**{f"{axis}_std": alike for axis in tracks.axes})
    fps = tracks.units.frames_per_second
    assert fps is not None
    units = dataclasses.replace(tracks.units, frames_per_second=fps / stride)
    return thin.replace(dataframe=table, units=units), [
        f"Localisation errors of successive frames are correlated (compression or vibration), so short times cannot be "
        f"trusted: only one frame in {stride} was used for the fit."]


def _with_pairs(tracks: Trajectories, recording: Recording, recipe: Brownian, fixed: float | None, seed: int,
                place: Checkpoint, stop: int | None, keep_partial: bool,
                progress: Progress) -> tuple[dict[str, np.ndarray], Refined]:
    assert recipe.cutoff is not None
    distances = _distances(recording, recipe.cutoff)
    inner = float(distances[min(50, len(distances) - 1)])
    if inner < 0.1 * recipe.cutoff:
        inner = 0.0
    spline = RadialSpline(inner, recipe.cutoff, recipe.knots)
    field = Field(spline, recipe.trap, recording.position.mean(axis=0))
    view = None
    if tracks.field_of_view is not None and tracks.box.lengths is None:
        view = np.asarray(tracks.field_of_view) * tracks.units.um
    centres = None
    if recipe.trap == "each":
        linked = recording.track >= 0
        which = np.unique(recording.track[linked], return_inverse=True)[1]
        count = np.bincount(which)
        centres = np.stack([np.bincount(which, recording.position[linked][:, c]) / count
                            for c in range(recording.dim)], axis=1)
    studio = Studio(recording, view, recipe.trap, seed=seed, stationary=recipe.stationary)
    first = Parameters(field, np.zeros(field.size), 1.0, 1.0, centres)
    late = _late(recording)

    def worth(p: Parameters) -> tuple[float, float]:
        return likelihoods(recording, late, p.pair, _stiffness(p), _centres(recording, p), p.diffusion, p.noise_scale)

    found = refine(recording, studio, first, noise_scale=fixed, stationary=recipe.stationary, judge=worth,
                   held_out=HELD_OUT, place=place, stop=stop, keep_partial=keep_partial, progress=progress)
    if found.left_off is not None:                   # no films say how well D and the noise are known: the data do
        errors = _jackknife(recording, fixed, groups=8)
        found = dataclasses.replace(found, fitted=dataclasses.replace(
            found.fitted, diffusion_stderr=errors[0], noise_stderr=errors[1]))
    fitted, p = found.fitted, found.fitted.parameters
    assert p.pair is not None
    arrays = {
        "spline": np.array([spline.inner, spline.cutoff, float(spline.knots)]),
        "coefficients": p.coefficients[: spline.knots], "covariance": fitted.covariance[: spline.knots, : spline.knots],
        "core_stiffness": np.array([p.pair.core_stiffness]), "support": np.array(_support(distances, recipe.cutoff)),
        **_common(recording, FreeDiffusion(p.diffusion, p.noise_scale), fitted.diffusion_stderr, fitted.noise_stderr)}
    if p.trap is not None:
        knots = spline.knots
        arrays["trap"] = np.array([p.trap.stiffness, float(np.sqrt(fitted.covariance[knots, knots]))])
        arrays["centres"] = p.trap.centre
        if recipe.trap == "each":
            arrays["centre_tracks"] = np.unique(recording.track[recording.track >= 0])
    return arrays, found


def _without_pairs(recording: Recording, recipe: Brownian, fixed: float | None) -> dict[str, np.ndarray]:
    if recipe.trap == "none":
        found = free_diffusion(recording, fixed)
        errors = _jackknife(recording, fixed)
        return _common(recording, found, *errors)
    trap = fit_traps(recording, shared=recipe.trap == "shared", noise_scale=fixed, stationary=recipe.stationary)
    error = np.sqrt(np.maximum(np.diag(trap.covariance), 0.0))
    arrays = {"trap": np.array([trap.stiffness, error[0]]), "centres": trap.centres,
              **_common(recording, FreeDiffusion(trap.diffusion, trap.noise_scale), float(error[1]), float(error[2]))}
    if recipe.trap == "each":
        arrays["centre_tracks"] = np.unique(recording.track[recording.track >= 0])
    return arrays


def _common(recording: Recording, found: FreeDiffusion, diffusion_stderr: float,
            noise_stderr: float) -> dict[str, np.ndarray]:
    """The arrays every model has; the noise as a typical standard error of a position."""
    stated = float(np.sqrt(recording.variance.mean()))
    scale = max(found.noise_scale, 0.0)
    sigma = stated * scale**0.5
    error = stated * noise_stderr / (2 * scale**0.5) if scale * stated > 3 * noise_stderr * stated else \
        stated * max(noise_stderr, 0.0) ** 0.5
    return {"diffusion": np.array([found.diffusion, diffusion_stderr]), "localisation": np.array([sigma, error]),
            "noise_scale": np.array([found.noise_scale, noise_stderr])}


def _jackknife(recording: Recording, fixed: float | None, groups: int = 20) -> tuple[float, float]:
    """Standard errors of D and the noise scale, leaving out one group of tracks at a time (or of times)."""
    tracks = np.unique(recording.track[recording.track >= 0])
    if len(tracks) >= groups:
        part = np.searchsorted(tracks, recording.track) % groups
    else:
        part = (recording.frame - recording.frame.min()) * groups // (int(np.ptp(recording.frame)) + 1)
    found = []
    for g in range(groups):
        steps = recording.steps[part[recording.steps] != g]
        if len(steps) >= 10:
            one = free_diffusion(dataclasses.replace(recording, steps=steps), fixed)
            found.append((one.diffusion, one.noise_scale))
    if len(found) < 3:
        return float("nan"), float("nan")
    values = np.array(found)
    n = len(values)
    error = np.sqrt((n - 1) / n * ((values - values.mean(axis=0)) ** 2).sum(axis=0))
    return float(error[0]), float(error[1])


def _distances(recording: Recording, cutoff: float) -> np.ndarray:
    """Sorted distances of all pairs within the cutoff of a trusted detection [µm]."""
    found = []
    for block in recording.blocks(max(1, len(recording.position) // 20_000)):
        x = recording.position[block]
        pairs = neighbour_pairs(x, cutoff, recording.box, recording.frame[block])
        pairs = pairs[(recording.weight[block][pairs] > 0).any(axis=1)]
        found.append(np.linalg.norm(recording.box.displacement(x[pairs[:, 0]], x[pairs[:, 1]]), axis=1))
    distances = np.sort(np.concatenate(found))
    if len(distances) < 500:
        raise ModelError(f"Only {len(distances)} pairs of particles come within cutoff = {cutoff:g} µm of each other; "
                         "a pair force needs at least 500. Film more frames or denser samples, raise the cutoff, or "
                         "fit without pair force: vd.Brownian().")
    return distances


def _support(distances: np.ndarray, cutoff: float) -> tuple[float, float]:
    """Range of r in which every 1/60 of the cutoff holds at least 100 pairs."""
    counts, edges = np.histogram(distances, bins=60, range=(0.0, cutoff))
    full = np.flatnonzero(counts >= 100)
    return (float(edges[full[0]]), float(edges[full[-1] + 1])) if full.size else (float(distances[0]), cutoff)


def _late(recording: Recording) -> np.ndarray:
    """Steps that lie in the held-out frames."""
    frame = recording.frame[recording.steps]
    return frame >= recording.frame.min() + (1 - HELD_OUT) * (np.ptp(recording.frame) + 1)


def _stiffness(p: Parameters) -> float:
    return 0.0 if p.trap is None else p.trap.stiffness


def _centres(recording: Recording, p: Parameters) -> np.ndarray:
    """(n, dim) centre of the trap of each detection (zeros where there is none)."""
    if p.trap is None:
        return np.zeros_like(recording.position)
    if len(p.trap.centre) == 1:
        return np.broadcast_to(p.trap.centre, recording.position.shape)
    tracks = np.unique(recording.track[recording.track >= 0])
    return p.trap.centre[np.clip(np.searchsorted(tracks, recording.track), 0, len(tracks) - 1)]


def _said(model: BrownianModel) -> dict[str, Any]:
    """Headline numbers with errors."""
    said = {"diffusion": model.diffusion(), "diffusion_stderr": float(model.arrays["diffusion"][1]),
            "localisation_error": model.localisation_error(),
            "localisation_error_stderr": float(model.arrays["localisation"][1])}
    if "trap" in model.arrays:
        said |= {"trap_stiffness": model.trap_stiffness(), "trap_stiffness_stderr": float(model.arrays["trap"][1])}
    return said


def _doubts(model: BrownianModel, verdict: dict[str, Any]) -> list[str]:
    """Plain words where the residuals disagree with the model."""
    said = []
    calibration = verdict["calibration"]
    if calibration:
        off = abs(calibration["chi2"] - 1)
        if off > max(0.1, 5 * calibration["chi2_stderr"]):
            said.append(f"Steps scatter {calibration['chi2']:.2f} times what the model expects (variance of whitened "
                        "residuals): drift, vibration, mixed particle sizes, or forces that change within a frame.")
    if model.support is not None:
        inner = np.linspace(model.support[0], 0.5 * sum(model.support), 50)
        steepest = float(np.abs(model.pair_force(inner)).max())
        if model.localisation_error() * steepest > STEEP:
            said.append(f"The pair potential changes by 1 kT within {1000 / steepest:.0f} nm, less than the "
                        f"localisation error of {1000 * model.localisation_error():.0f} nm lets be seen: its steep "
                        "part is smoothed, more than its band says, and D may be up to a tenth low. Film with less "
                        "noise or higher magnification.")
    gain = verdict["held_out"]
    if model.support is not None and gain["steps"] and not gain["gain_per_step"] > 2 * gain["gain_per_step_stderr"]:
        said.append("On frames it did not see the model predicts steps no better than free diffusion: within the "
                    "errors no pair force shows in these data.")
    return said


def _unrest(recording: Recording, p: Parameters) -> list[str]:
    """Whether the learned forces do work on the whole: at equilibrium their Stratonovich current has mean zero.

    The work c·J in ten stretches of time is compared with its scatter over the later five (a sample that relaxes does
    so early), and with sqrt(2 D dt c·A c), the spread for particles that never turn back. Beyond 5 and 1.2 of these:
    about one false alarm in 200 short recordings, far fewer in long ones, where work at equilibrium cancels.
    """
    if p.field.trap == "each":
        return []
    rest, moved = moments(recording, p.field), moments(recording, p.field, diffusion=p.diffusion)
    step = p.diffusion * recording.dt
    work = step * (moved.b - rest.b) @ p.coefficients
    if len(work) < 10:
        return []
    scatter = 5.0 * float(work[5:].std(ddof=1)) * len(work) ** 0.5
    spread = 1.2 * float(np.sqrt(2 * step * max(p.coefficients @ rest.A @ p.coefficients, 1e-12)))
    if abs(work.sum()) < max(scatter, spread):
        return []
    return ["The sample is not at rest: over the recording the particles move along the learned forces more than "
            "against them, as a sample does that relaxes, spreads or is driven. Fit with stationary = False."]


def _blind_spot(tracks: Trajectories, model: BrownianModel) -> list[str]:
    """Pairs closer than the tracker's separation merge into one; a potential near there is the tracker's."""
    settings = tracks.info.get("parameters") or {}
    separation = settings.get("separation") or (settings.get("diameter") or 0) + 1
    blind = 1.15 * separation * tracks.units.um
    if model.support is None or "diameter" not in settings or model.support[0] > blind:
        return []
    return [f"Pairs come closer than {blind:.2f} µm, where the tracker merges neighbouring images (separation "
            f"{separation:g} px): below that distance the pair potential shows the tracker, not the particles. "
            "Track with a smaller diameter or at higher magnification."]


def _digest(tracks: Trajectories) -> str:
    digest = hashlib.sha256(tracks.frame.tobytes())
    digest.update(np.ascontiguousarray(tracks.positions).tobytes())
    return digest.hexdigest()
