"""What is done to tracks before Brownian dynamics are learned from them: times and rows that mislead are left out."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from vid2dyn.analysis import diffusion
from vid2dyn.analysis.diffusion_warnings import about_prediction
from vid2dyn.core.errors import DataError, Vid2DynError
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.data.wrapped import about_wrapped
from vid2dyn.dynamics.recipes.brownian import Brownian
from vid2dyn.fitting.brownian.doubles import without_doubles
from vid2dyn.fitting.brownian.likelihood import with_believable_errors
from vid2dyn.fitting.brownian.recording import Recording
from vid2dyn.fitting.brownian.records import FitData
from vid2dyn.fitting.brownian.species import numbered, species_names
from vid2dyn.fitting.brownian.stage_drift import without_common_motion
from vid2dyn.fitting.brownian.wrong_links import without_wrong_links
from vid2dyn.fitting.recording_names import recording_names


def prepared_recordings(tracks: Sequence[Trajectories], recipe: Brownian) -> tuple[tuple[FitData, ...], list[str]]:
    """Every recording as the fit uses it, and warnings; of several recordings both they and errors name it.

    Raises
    ------
    UnitsError, DataError, ModelError
        When a calibration is missing, there is too little data, or recordings cannot go together.
    """
    several = len(tracks) > 1
    names = recording_names([one.info for one in tracks])
    dims = [one.dim for one in tracks]
    if len(set(dims)) > 1:
        r = next(r for r, dim in enumerate(dims) if dim != dims[0])
        raise DataError(f"{names[0]} has {dims[0]} dimensions and {names[r]} has {dims[r]}: one model describes "
                        "recordings of one dimension. Fit them apart.")
    species = species_names(tracks, recipe.species) if recipe.species is not None else ()
    found, warnings = [], []
    for name, one in zip(names, tracks, strict=True):
        try:
            data, said = prepared(one, recipe, species)
        except Vid2DynError as error:
            if several:
                raise type(error)(f"{name}: {error} Leave this recording out to fit the others.") from error
            raise
        found.append(dataclasses.replace(data, name=name))
        warnings += [f"{name}: {text}" for text in said] if several else said
    return tuple(found), warnings


def prepared(tracks: Trajectories, recipe: Brownian, species: tuple[str, ...] = ()) -> tuple[FitData, list[str]]:
    """The data as the fit uses them, and warnings that say what was left out or assumed.

    Raises
    ------
    UnitsError, DataError
        When a calibration is missing, or when there is too little data.
    """
    warnings = [*about_wrapped(tracks.dataframe, tracks.units, tracks.box), *about_prediction(tracks)]
    if not recipe.packed:
        # the plateau of particles in cages looks like correlated noise, their jumps like wrong links; what is learned
        # of them does not depend on lags
        tracks, cut = without_wrong_links(tracks)
        tracks, said = trusted_lags(tracks)
        warnings += [*cut, *said]
    cutoff = recipe.cutoff
    assert not isinstance(cutoff, str)
    if cutoff is not None:
        tracks.units.require("micrometre_per_pixel", "frames_per_second", for_what="Fitting a Brownian model")
        tracks, doubled = _without_doubles(tracks, cutoff, recipe.species, species)
        warnings += doubled
    if recipe.trap == "each" and tracks.box.lengths is None:
        tracks.units.require("micrometre_per_pixel", "frames_per_second", for_what="Fitting a Brownian model")
        tracks, moved = without_common_motion(tracks)
        warnings += moved
    kinds = numbered(tracks, recipe.species, species) if recipe.species is not None else None
    recording = Recording.of(tracks, cutoff, kinds)
    if recipe.held is not None:
        recording = without_held(recording, tracks, recipe.held)
    if tracks.units.exposure is None:
        warnings.append("The exposure is unknown and taken as zero; if the shutter was open for long, the localisation "
                        "error is too small by what motion blur adds.")
    if recipe.localisation == "table":
        if tracks.sigma is None:
            raise DataError("localisation = 'table' needs columns y_std and x_std, which these trajectories lack.")
        if tracks.info.get("lossy") or tracks.info.get("inter_coded"):
            warnings.append("localisation = 'table' takes y_std and x_std as they are, and the movie was compressed "
                            f"with loss ({tracks.info.get('codec')}), which makes them 2 to 3 times too small; D and "
                            "forces come out wrong. Leave localisation out: the fit then learns them from the motion.")
        return FitData(tracks, recording, recipe, 1.0, species=species), warnings
    return FitData(tracks, with_believable_errors(recording, recording), recipe, None, species=species,
                   stated=recording.variance), warnings


def _without_doubles(tracks: Trajectories, cutoff: float, column: str | None,
                     species: tuple[str, ...]) -> tuple[Trajectories, list[str]]:
    """See `without_doubles`; of a mixture within each species, as different ones may have different cores."""
    if column is None:
        return without_doubles(tracks, cutoff)
    which, keep, warnings = numbered(tracks, column, species), np.ones(len(tracks), bool), []
    for s in range(len(species)):
        mine = np.flatnonzero(which == s)
        marked = tracks.rows(which == s)
        kept, said = without_doubles(marked.replace(dataframe=marked.dataframe.assign(_row=mine)), cutoff)
        keep[np.setdiff1d(mine, kept.dataframe["_row"].to_numpy())] = False
        warnings += said
    return (tracks if keep.all() else tracks.rows(keep)), warnings


def rows_held(recording: Recording, tracks: Trajectories, column: str) -> np.ndarray:
    """(n,) whether each detection is of a particle moved by hand; places of missed particles are of none."""
    return np.append(tracks.dataframe[column].to_numpy(dtype=bool), np.zeros(recording.filled, bool))


def without_held(recording: Recording, tracks: Trajectories, column: str) -> Recording:
    """Particles moved by hand are neighbours only: no weight, no steps of their own."""
    if column not in tracks.dataframe:
        raise DataError(f"held = {column!r}: no such column. The tracks have "
                        f"{', '.join(map(str, tracks.dataframe))}. Add "
                        "one that is True for the particles that are moved by hand.")
    held = tracks.dataframe[column].to_numpy(dtype=bool)
    if not held.any() or held.all():
        raise DataError(f"held = {column!r}: {'all' if held.all() else 'no'} particles are moved by hand. Mark "
                        "those of the driven edge, or leave out held.")
    held = rows_held(recording, tracks, column)
    return dataclasses.replace(recording, weight=np.where(held, 0.0, recording.weight),
                               weight_slope=np.where(held[:, None], 0.0, recording.weight_slope),
                               steps=recording.steps[~held[recording.steps]])


def trusted_lags(tracks: Trajectories) -> tuple[Trajectories, list[str]]:
    """The tracks, thinned to the first lag at which the errors of successive positions no longer agree."""
    if len(tracks.lagged(1)[0]) < 10:
        raise DataError(f"Only {len(tracks.lagged(1)[0])} displacements between neighbouring frames in "
                        f"{tracks.n_particles} tracks; a fit needs at least 10. Track more frames, or raise "
                        "search_range and memory so that tracks hold together.")
    found = diffusion(tracks)
    if found.method != "slope":
        return tracks, list(found.warnings[:1]) if found.method == "beside flow" else []
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
        f"Displacements of successive frames are correlated ({_cause(tracks)}), so short times cannot be trusted: only "
        f"one frame in {stride} was used for the fit. Where particles swim or are driven, D is that of long times and "
        "not an equilibrium one."]


def _cause(tracks: Trajectories) -> str:
    """What correlates them: compression only where the recording says that it predicts frames from others."""
    if tracks.info.get("inter_coded"):
        return "the video's compression predicts frames from others, so that they share localisation errors"
    return "vibration, uneven flow or active motion"
