"""What a user should know before quoting a diffusion coefficient, in plain words."""

from __future__ import annotations

import numpy as np

from vid2dyn.analysis.displacements import Displacements
from vid2dyn.analysis.estimates import Bend, Covariances, Estimate, jumps_in_tracks, spread_of_particles
from vid2dyn.analysis.moments import DisplacementMoments
from vid2dyn.core.errors import DataError
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.data.units import BOLTZMANN

_SIGMAS, _NOTABLE = 6.0, 0.25       # spread of particles beyond chance, and relative, that is said
_JUMPING = 0.1                      # part of the mean squared displacement that rare jumps make
_WATER, _ROOM = 1e-3, 295.0         # Pa·s and K where the recording does not say
_LOW = ((0.5, "within 4 %"), (0.08, "up to 7 % low"), (0.038, "up to 10 % low"), (0.0, "up to 20 % low"))
"""D of inter-coded films against that of the same films without loss, by bits a pixel (H.264, crf 18, 23, 28, 33)."""
_ABSURD = 100.0                     # factor between D and what size and liquid allow


def need_three_frames(found: DisplacementMoments) -> None:
    """Refuse tracks that never last three frames: noise and diffusion cannot be told apart."""
    if not np.isfinite(found.mean[: 2 * len(found.mean) // 3]).all():
        raise DataError("No particle is seen in three consecutive frames, so localisation noise and diffusion cannot "
                        "be told apart; record longer tracks, or raise search_range.")


def need_motion(displacements: Displacements) -> None:
    """Refuse positions that never change by more than rounding: there is neither motion nor noise to measure."""
    moved = float(np.abs(displacements.value).max())
    if moved <= 16 * np.finfo(float).eps * float(np.abs(displacements.position).max()):
        raise DataError(f"No position changes in {len(displacements.rows)} displacements: there is neither motion nor "
                        "noise, so not even an upper bound of D. Are positions rounded to whole pixels, or is one "
                        "frame repeated?")


def about_short_tracks() -> list[str]:
    """No track lasts four frames."""
    return ["No track lasts four frames: D is that of free motion with white localisation errors, and whether the "
            "motion is free cannot be tested."]


def covariance_symptom(gate: Covariances) -> str:
    """What the lag-2 gate saw."""
    return (f"displacements two frames apart have covariance {gate.value[2] / gate.value[0]:+.2f} of the variance, "
            f"{gate.value[2] / gate.stderr[2]:.0f} standard errors from 0")


def inter_coded_symptom(tracks: Trajectories, first: Estimate, bend: Bend | None, limit: float) -> str:
    """What else shows, in a video known to be inter-coded, that errors are correlated; empty if nothing does."""
    if bend is not None and abs(bend.change) > limit * bend.stderr:
        return f"the MSD is not straight ({_bent(bend)})"
    if tracks.units.exposure is not None and first.noise[-1] < -limit * first.noise_stderr[-1]:
        return (f"their variance comes out negative by {-first.noise[-1] / first.noise_stderr[-1]:.0f} standard "
                "errors, which neighbouring frames that share errors cause")
    return ""


def about_correlated_errors(tracks: Trajectories, first: Estimate, used: Estimate, gate: Covariances,
                            symptom: str) -> list[str]:
    """Lag-1 values are refused because of `symptom`."""
    codec = tracks.info.get("codec")
    coded = tracks.info.get("inter_coded")
    if coded:
        cause = f"The video's compression ({codec or 'inter-coded'}) predicts frames from other frames and does this"
    elif coded is None:
        cause = ("Vibration, uneven flow or active motion does this (and, where these tracks come from an H.264 or "
                 "MPEG movie, its compression: give the movie, or say inter_coded in its info)")
    else:
        cause = "Vibration, flow or active motion does this"
    notes = [f"The localisation errors are correlated in time: {symptom}. {cause}. "
             "Values at lag 1 are refused (the lag-1 displacement would give D = "
             f"{_lag_one(first, gate):.2g}, the covariance estimate {first.D[-1]:.2g} µm²/s); D is the slope of the "
             f"MSD over lags {used.lags[0]}-{used.lags[-1]} frames, and the localisation error is not known. "
             "Use a raw or intra-coded recording, or every few frames of this one, to learn forces."]
    if not used.flat:
        notes.append(f"The slope of the MSD is not constant up to lag {used.lags[-1]} frames: D depends on the time "
                     "scale, and the value is that of the longest lags. Look at the MSD; a longer recording may show "
                     "a straight part.")
    return notes


def about_carried(first: Estimate, used: Estimate, gate: Covariances) -> list[str]:
    """Displacements keep their direction far beyond what errors of any kind do."""
    share = max(gate.value[2], 0.0) / gate.value[0]
    return ["The particles are carried by a flow (drift, rotation, shear) or are active (swim): "
            f"{covariance_symptom(gate)}, and directed motion goes on at the longest lags; it makes {share:.0%} of the "
            f"squared displacements. D is the short-time value with that part taken out ({first.D[-1]:.3g} µm²/s with "
            "it). Take a flow out first (vd.analysis.drift, more particles), and for swimmers look at the MSD."]


def _lag_one(first: Estimate, gate: Covariances) -> float:
    """D from <d²>/(2 dt), which compressed video makes far too small."""
    slope = 0.5 * gate.value[0] + gate.value[1]
    return float(first.D[-1] * 0.5 * gate.value[0] / slope) if slope else float("nan")


def about_forces(first: Estimate, coarse: Estimate, gate: Covariances) -> list[str]:
    """The lag-2 gate failed with a negative covariance."""
    return [f"The motion is not free: displacements two frames apart have covariance "
            f"{gate.value[2] / gate.value[0]:+.2g} of the variance ({gate.value[2] / gate.stderr[2]:.0f} standard "
            "errors from 0), as a trap, repulsive neighbours or crowding cause (or a vibration that was not removed). "
            f"D is the slope of the MSD carried back to lag 0; the covariance estimate, {first.D[-1]:.3g} µm²/s, is "
            "low. It is a starting value: fit a model with forces, or record faster. If the motion is known to be "
            "free, the localisation errors vary slowly instead (compression, focus), and the slope of the MSD over "
            f"lags {coarse.lags[0]}-{coarse.lags[-1]}, {coarse.D[-1]:.3g} ± {coarse.D_stderr[-1]:.1g} µm²/s, is the "
            "better D."]


def about_bending(bend: Bend | None) -> list[str]:
    """The gate passed; does the MSD bend at longer lags?"""
    if bend is None or abs(bend.change) < max(4 * bend.stderr, 0.05):
        return []
    cause = ("subdiffusion: a trap, crowding or forces between the particles" if bend.change < 0
             else "flow, active motion or slowly varying errors")
    return [f"The MSD bends {'down' if bend.change < 0 else 'up'}: {_bent(bend)} ({cause}). D is the short-time value."]


def _bent(bend: Bend) -> str:
    return (f"over lags {bend.low}-{bend.high} frames its slope is {bend.change:+.0%} (± {bend.stderr:.0%}) from that "
            "at lags 1-2")


def about_data(tracks: Trajectories, displacements: Displacements, used: Estimate, removed: bool) -> list[str]:
    """Too few data, stuck particles, anisotropy, flow."""
    notes, number = [], len(displacements.rows)
    D, stderr = used.D, used.D_stderr
    if D[-1] <= 2 * stderr[-1]:
        sign = "is not positive" if D[-1] <= 0 else "is not told from 0"
        notes.append(f"D = {D[-1]:.2g} ± {stderr[-1]:.1g} µm²/s {sign}: the particles are stuck, localisation noise "
                     f"hides their motion, or there are too few ({number} displacements). D is below "
                     f"{max(D[-1], 0.0) + 2 * stderr[-1]:.2g} µm²/s (two standard errors).")
    elif number < 100 or stderr[-1] > 0.2 * D[-1]:
        notes.append(f"Few data: {number} displacements give D to ± {stderr[-1] / D[-1]:.0%}. "
                     "Record longer, or more particles.")
    apart = np.ptp(D[:-1])
    if D[-1] > 0 and apart > 4 * np.sqrt((stderr[:-1] ** 2).sum()):
        values = ", ".join(f"{axis} {value:.3g}" for axis, value in zip(tracks.axes, D[:-1]))
        notes.append(f"D differs between the axes ({values} µm²/s): vibration or flow along one of them, or an "
                     "anisotropic sample.")
    return notes + ([] if removed else _about_flow(displacements, D[-1]))


def _about_flow(displacements: Displacements, D: float) -> list[str]:
    flow, dt = displacements.mean_flow(), displacements.tracks.units.dt
    if not (np.abs(flow.mean) > 4 * flow.stderr).any():
        return []
    speed = np.linalg.norm(flow.mean) / dt
    # c0 and c1 both gain (v dt)² per axis: c0/2 + c1 gains 3/2 of it.
    bias = 1.5 * speed**2 * dt / displacements.tracks.dim
    share = f", {bias / D:.0%} of D" if D > 0 else ""
    return [f"There is a mean flow of {speed:.2g} µm/s that was not removed (too few particles, or drift=\"keep\"); "
            f"it adds about {bias:.2g} µm²/s{share}. Track more particles, or take the drift out with a reference."]


def about_prediction(tracks: Trajectories) -> list[str]:
    """What bands do not hold where frames are predicted from others, with the size to be expected."""
    if not tracks.info.get("inter_coded"):
        return []
    codec, bits = tracks.info.get("codec", "compressed"), tracks.info.get("bits_per_pixel")
    said = "" if bits is None else (f" This one has {bits:.2g} bits a pixel, where D of test films came out "
                                    f"{next(size for least, size in _LOW if bits >= least)}.")
    return [f"The video is inter-coded ({codec}): frames are predicted from other frames, small steps are left out, "
            "and errors of neighbouring frames agree. The bands of D and of forces hold scatter alone, not what this "
            f"does.{said} Tests of the motion do not always see it; record without loss, or intra-coded."]


def about_noise(tracks: Trajectories, used: Estimate, gate: Covariances) -> list[str]:
    """Exposure, negative noise variance, inter-coded video, and the tracker's own error bars."""
    notes = about_prediction(tracks)
    noise, stderr = used.noise[-1], used.noise_stderr[-1]
    if not np.isfinite(noise):
        return notes
    dt, unknown = tracks.units.dt, tracks.units.exposure is None
    if unknown:
        open_shutter = noise + used.D[-1] * dt / 3
        notes.append("The exposure is unknown: D is right all the same, but the localisation error is that of a flash "
                     f"exposure, {_micrometre(noise)}; with the shutter always open it is {_micrometre(open_shutter)}. "
                     "Give exposure=... in s.")
    elif noise < 0:
        size = "by chance" if noise > -3 * stderr else \
            f"by {-noise / stderr:.0f} standard errors: the exposure is longer than stated, or errors are correlated"
        upper = np.sqrt(max(noise + 2 * stderr, 0.0))
        notes.append(f"The variance of the localisation error comes out negative, {size}; it is below {upper:.2g} µm "
                     "per axis.")
    sigma = tracks.sigma
    if sigma is not None and not unknown and noise > 3 * stderr:
        stated = float(np.sqrt(np.mean(sigma**2)))
        if not 0.5 < stated / np.sqrt(noise) < 2:
            which = ("the stated one is too small, as compression with loss took noise out of the pixels"
                     if tracks.info.get("lossy") and stated < np.sqrt(noise) else
                     "one of them is off by more than a factor of 2")
            notes.append(f"The table states a localisation error of {stated:.2g} µm, the motion shows "
                         f"{np.sqrt(noise):.2g} µm: {which}.")
    return notes


def _micrometre(variance: float) -> str:
    return f"{np.sqrt(variance):.2g} µm" if variance > 0 else "below what can be measured"


def about_particles(displacements: Displacements, used: Estimate, gate: Covariances) -> list[str]:
    """Do particles differ from each other beyond chance? The mean says little then."""
    spread = spread_of_particles(displacements, float(gate.value[0]), float(gate.value[1]))
    if spread is None or spread.sigmas < _SIGMAS or spread.relative < _NOTABLE:
        return []
    stuck = (f" {spread.slow} of {spread.particles} hardly move (less than a tenth of the mean): stuck?" if spread.slow
             else "")
    return [f"The particles differ from each other: their mean squared displacements spread by {spread.relative:.0%} "
            f"beyond chance (several populations, sizes, or stuck ones).{stuck} D = {used.D[-1]:.3g} µm²/s is a mean "
            "over all of them. Look at D of single particles, and track or fit each kind by itself."]


def about_jumps(displacements: Displacements) -> list[str]:
    """Rare displacements that carry much of the mean square: links from one particle to another."""
    jumps, share = jumps_in_tracks(displacements)
    if share < _JUMPING:
        return []
    number = len(displacements.rows)
    return [f"{jumps} of {number} displacements ({jumps / number:.2%}) are more than five times as long as their "
            f"particle's usual ones and make {share:.0%} of the mean squared displacement: identity swaps (links from "
            "one particle to another), or real jumps. Link again with a smaller search_range, or leave those out."]


def about_gaps(tracks: Trajectories, displacements: Displacements) -> list[str]:
    """Tracks that take no part because they are never seen in two successive frames."""
    linked = tracks.particle[tracks.particle >= 0]
    _, seen = np.unique(linked, return_counts=True)
    with_two = int((seen > 1).sum())
    used = int(np.unique(tracks.particle[displacements.rows]).size)
    if with_two - used <= 0.1 * with_two:
        return []
    return [f"Only {used} of {with_two} tracks take part: the others have gaps and are never seen in two consecutive "
            "frames. If they were recorded every few frames, analyse them by themselves with that frame rate."]


def about_calibration(tracks: Trajectories, used: Estimate) -> list[str]:
    """Is D anywhere near what temperature, viscosity and size allow? Wrong units of length or time make it absurd."""
    D, units = float(used.D[-1]), tracks.units
    if not D > 0:
        return []
    viscosity = units.viscosity or _WATER
    if units.particle_radius is not None:
        expected = stokes_einstein(units.temperature or _ROOM, viscosity, units.particle_radius)
        least, most, what = 1 / _ABSURD, _ABSURD, f"a particle of radius {units.particle_radius:g} µm"
    else:
        image = _image_radius(tracks)
        if image is None:
            return []
        expected = stokes_einstein(units.temperature or _ROOM, viscosity, image)
        least, most, what = 1 / _ABSURD**2, _ABSURD, f"a particle as large as its image ({image:.2g} µm)"
    if least < D / expected < most:
        return []
    return [f"D = {D:.3g} µm²/s is {D / expected:.1g} times that of {what} in a liquid of {viscosity:.2g} Pa·s "
            f"({expected:.2g} µm²/s): check the calibration (micrometre_per_pixel = {units.micrometre_per_pixel:g} in "
            f"µm, not nm; frames_per_second = {units.frames_per_second:g}; particle_radius in µm, viscosity in Pa·s)."]


def stokes_einstein(temperature: float, viscosity: float, radius: float) -> float:
    """kT / (6 pi eta a) [µm²/s] from K, Pa·s and µm.

    >>> round(stokes_einstein(295.0, 1e-3, 0.5), 3)
    0.432
    """
    return BOLTZMANN * temperature / (6 * np.pi * viscosity * radius)


def _image_radius(tracks: Trajectories) -> float | None:
    """Typical radius of a particle's image [µm] where the tracker measured it (column size, radius of gyration)."""
    if "size" not in tracks.dataframe or "mass" not in tracks.dataframe or not len(tracks):
        return None
    size = float(np.nanmedian(tracks.dataframe["size"].to_numpy(dtype=float))) * tracks.units.um
    return size if np.isfinite(size) and size > 0 else None
