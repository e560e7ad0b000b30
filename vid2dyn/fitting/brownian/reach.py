"""The range of the pair force where none is given: cutoff = "auto".

Whether there is a pair force is asked first, of the model without one: do its residuals point along the lines to the
neighbours (`no_pair_force`)? Where they do not, that model stays, and its report says how large a force could be
hidden.

A longer range describes more and costs more pairs, so it must earn its place: models of several ranges are fitted to
the first frames, and the log-likelihoods of the same held-out steps are compared. The shortest range that is not worse
than the best one by more than the error of the difference is taken (the one-standard-error rule of Breiman et al.,
CART, 1984, §3.4.3), if next to no energy lies beyond it in the best model, its error granted: a soft tail hardly
changes the likelihood of a step, but cutting it off moves the whole potential. The report lists what each range adds.

Only steps on which the force hardly changes have a say (`STIFFEST`). Where particles touch, the likelihood of a step,
whose force is linear, is not that of the model, and how steep each fit found the core would outweigh all else: of WCA
at 10 ms, D dt U'' is 1.6 and three quarters of the differences between ranges came from pairs in contact.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vid2dyn.assessment.assumptions.pairs import Range
from vid2dyn.core.checkpoint import ARRAYS, Checkpoint, PathLike
from vid2dyn.core.errors import DataError, ModelError
from vid2dyn.core.progress import Progress
from vid2dyn.core.showing import as_progress
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.dynamics.recipes.brownian import Brownian
from vid2dyn.dynamics.snapshot import neighbour_pairs
from vid2dyn.fitting.brownian.evidence import force_and_stiffness, free_model, held_out_steps, trusted_steps
from vid2dyn.fitting.brownian.likelihood import residuals
from vid2dyn.fitting.brownian.model_warnings import told_apart
from vid2dyn.fitting.brownian.pair_forces import (
    FEWEST_PAIRS,
    RESOLVED,
    checkpoint_of,
    pair_distances,
    refined_without_held_out,
    step_models,
)
from vid2dyn.fitting.brownian.recording import Recording
from vid2dyn.fitting.brownian.records import FitData

CANDIDATES = 8
"""Ranges that are tried, evenly spaced in the logarithm."""
FARTHEST = 3.0
"""Longest of them in mean spacings of the particles: the third shell of neighbours."""
NOTHING = 0.1
"""Energy of a pair that may be left beyond the range [kT]."""
MOST = 60_000
"""Detections that ranges are compared on, the first ones; they bound the time. A range is a coarse thing to know."""
TOO_CLOSE, LOOKED_AT = 0.02, 20_000
"""Share of the detections that may be nearer to another one than the tracker tells images apart, of how many."""
STIFFEST = 0.25
"""Largest change of a force within a step, D dt ∂F/∂x, at which its likelihood is trusted."""
PIECES = 20
"""Stretches of time, at most, whose scatter gives the error of a difference."""
FEWEST, SHORTENED = 200, 8
"""Steps that must be left, and how often the longest range is made a fifth shorter to have them."""
BEYOND_CONTACT = 1.2
"""Shortest of them over the distance of the nearest pairs."""


def widest_cutoff(recordings: list[Recording], views: list[np.ndarray | None]) -> float:
    """Longest range that all recordings can show [µm].

    Half the shortest edge of a periodic box, a third of a field of view, three mean spacings.

    Raises
    ------
    ModelError
        When there are too few particles to meet.
    """
    limits = []
    for recording, view in zip(recordings, views, strict=True):
        size = np.ptp(recording.position, axis=0)
        if recording.box.lengths is not None:
            size = np.asarray(recording.box.lengths, dtype=float)
            limits.append(0.5 * float(size.min()))
        elif view is not None:
            size = view
            limits.append(float(view.min()) / 3)
        each = len(recording.position) / len(np.unique(recording.frame))
        if each < 2:
            raise ModelError("there are fewer than two particles in a frame, so none meet")
        limits.append(FARTHEST * float((np.prod(size) / each) ** (1 / recording.dim)))
    return min(limits)


def no_pair_force(report: dict[str, Any], recipe: Brownian) -> dict[str, Any] | None:
    """The entry "range" of the report of a model without pair force: why it stays, and what could be hidden from it.

    None where the particles show that they interact.

    Parameters
    ----------
    report : dict
        Of the model without pair force, with its table of tests ("assessment").
    recipe : Brownian
        With cutoff = "auto".

    Examples
    --------
    >>> row = {"test": "force at the cutoff", "failed": False, "hidden": 0.123, "within": 2.0}
    >>> print(no_pair_force({"assessment": [row]}, Brownian())["says"])
    No pair force shows: in every shell of distance up to 2 µm its mean is below 0.12 kT/µm (two standard errors).
    >>> no_pair_force({"assessment": [row | {"failed": True}]}, Brownian()) is None
    True
    """
    rows = [row for row in report.get("assessment", ()) if row["test"] == Range.name]
    if recipe.structure is not None:
        return {"cutoff": None, "says": f"No pair force was looked for beside a mobility that {recipe.structure} sets: "
                                        "give its range, cutoff = ... in µm."}
    if recipe.trap == "each":       # what a trap has beside a spring points along fixed lines to the neighbours, too
        return {"cutoff": None, "says": "No pair force was looked for beside a trap for each particle: give its range, "
                                        "cutoff = ... in µm."}
    if not rows:
        return {"cutoff": None, "says": "No pair force was fitted: too few particles come near each other to tell."}
    if any(row["failed"] for row in rows):
        return None
    hidden, within = max(row["hidden"] for row in rows), max(row["within"] for row in rows)
    return {"cutoff": None, "hidden_force": hidden, "within": within,
            "says": f"No pair force shows: in every shell of distance up to {within:.3g} µm its mean is below "
                    f"{hidden:.2g} kT/µm (two standard errors)."}


def not_told_apart(several: Sequence[Trajectories]) -> dict[str, Any] | None:
    """The entry "range" of a report, where many particles are nearer to each other than the tracker tells images apart.

    Two marks on one particle move together, and to a fit are a bound pair. None where few are.
    """
    for tracks in several:
        found = told_apart(tracks)
        if found is None:
            continue
        frames = np.unique(tracks.frame)
        some = tracks.rows(np.isin(tracks.frame, frames[:: max(1, len(tracks) // LOOKED_AT)]))
        pairs = neighbour_pairs(some.positions, found[0], some.box, some.frame.astype(np.int64))
        share = len(np.unique(pairs)) / len(some)
        if share > TOO_CLOSE:
            return {"cutoff": None,
                    "says": f"Neighbours seem to push or pull each other, but {100 * share:.0f} % of the detections "
                            f"have another one within {found[0]:.2g} µm, where {found[1]}: no pair force was fitted. "
                            f"{found[2]} Or give a range, cutoff = ... in µm."}
    return None


@dataclass(frozen=True, eq=False)
class _Candidate:
    """One range, the log-likelihood of every held-out step, how much its force changes within it, and the energy of a
    pair at each range that is tried, as far as it is sure (over one standard error), the largest of all pairs of
    species [kT]."""

    cutoff: float
    log_likelihood: np.ndarray
    stiffness: np.ndarray
    energy: np.ndarray


def with_chosen_cutoff(data: tuple[FitData, ...], seed: int, progress: Progress,
                       checkpoint: PathLike | None) -> tuple[tuple[FitData, ...], dict[str, Any], list[str]]:
    """The data with the range that was chosen in their recipe, the entry of the report, and warnings.

    Parameters
    ----------
    data : tuple of FitData
        Prepared for the longest range (`widest_cutoff`), which is in their recipe.
    checkpoint : path, optional
        Beside it (with the ending ".range") finished candidates are kept.

    Raises
    ------
    ModelError
        Where no range can be tried, with the reason.
    """
    whole, data = data, _judging(first_frames(data, MOST))
    widest = data[0].recipe.cutoff
    assert isinstance(widest, float)
    distances = pair_distances(data, widest)
    nearest = max(max(float(mine[min(RESOLVED, len(mine) - 1)]) * BEYOND_CONTACT, float(mine[FEWEST_PAIRS - 1]))
                  for mine in distances)
    lowest = min(max(nearest, 0.1 * widest), 0.8 * widest)
    masks = [held_out_steps(one.recording) & trusted_steps(one.recording) for one in data]
    frames = np.concatenate([one.recording.frame[one.recording.steps[mask]] + (r << 32)
                             for r, (one, mask) in enumerate(zip(data, masks))])
    path = None if checkpoint is None else f"{checkpoint}.range"
    place = Checkpoint(path, checkpoint_of(None, data, seed).key, ARRAYS)
    done = place.load() or {}
    found, failed = [], []
    ranges = np.geomspace(lowest, widest, CANDIDATES)
    for k, cutoff in enumerate(ranges.tolist()):
        progress(k, CANDIDATES, "range")
        if (name := f"steps_{k}") not in done or f"sure_energy_{k}" not in done:
            silent = as_progress(lambda *_, k=k: progress(k, CANDIDATES, "range"))
            try:
                done[name], done[f"sure_energy_{k}"] = _judged(with_cutoff(data, cutoff), seed, masks, ranges, silent)
            except (DataError, ModelError, np.linalg.LinAlgError):
                done[name], done[f"sure_energy_{k}"] = np.empty((2, 0)), np.empty(0)
            place.save(done)
        if done[name].shape[1] == len(frames) and np.isfinite(done[name]).all():
            found.append(_Candidate(cutoff, done[name][0], done[name][1], done[f"sure_energy_{k}"]))
        else:
            failed.append(cutoff)
    progress(CANDIDATES, CANDIDATES, "range")
    if not found:
        raise ModelError("no range gave a usable fit")
    free = np.concatenate([free_model(one.recording).residuals(one.recording, mask)[0].log_likelihood
                           for one, mask in zip(data, masks)])
    entry, chosen = _compared(found, ranges, frames, free)
    entry["not_fitted"] = failed
    warnings = []
    if chosen == found[-1].cutoff and len(found) > 1:
        warnings.append(f"The longest range that was tried, {chosen:.3g} µm, was needed: the forces may reach farther "
                        "than this box or field of view can show. Look at a larger part of the sample.")
    return with_cutoff(whole, chosen), entry, warnings


def _judging(data: tuple[FitData, ...]) -> tuple[FitData, ...]:
    """The data with the longest range at which enough held-out steps have all their neighbours in view."""
    cutoff = data[0].recipe.cutoff
    assert isinstance(cutoff, float)
    for _ in range(SHORTENED):
        if sum(int((held_out_steps(one.recording) & trusted_steps(one.recording)).sum()) for one in data) >= FEWEST:
            return data
        cutoff *= 0.8
        data = with_cutoff(data, cutoff)
    raise ModelError(f"fewer than {FEWEST} steps of the last fifth of the frames have all their neighbours in view")


def first_frames(data: tuple[FitData, ...], most: int) -> tuple[FitData, ...]:
    """The same part of the frames of every recording, the first ones, with about `most` detections together."""
    share = most / sum(len(one.tracks) for one in data)
    if share >= 1:
        return data
    out = []
    for one in data:
        first = int(one.recording.frame.min())
        stop = first + max(20, int(share * (np.ptp(one.recording.frame) + 1)))
        rows = one.recording.frame < stop
        out.append(dataclasses.replace(one, tracks=one.tracks.rows(one.tracks.frame < stop),
                                       recording=one.recording.where(rows),
                                       stated=None if one.stated is None else one.stated[rows]))
    return tuple(out)


def with_cutoff(data: tuple[FitData, ...], cutoff: float) -> tuple[FitData, ...]:
    """The same detections for another range, which is no longer: with weights up to nearer to the edge of view."""
    out = []
    for one in data:
        again = Recording.of(one.tracks, cutoff, None if one.recording.species is None else
                             one.recording.species[: len(one.tracks)])
        recording = dataclasses.replace(again, variance=_with_filled(one.recording.variance, again))
        out.append(dataclasses.replace(one, recording=recording, recipe=dataclasses.replace(one.recipe, cutoff=cutoff),
                                       stated=None if one.stated is None else _with_filled(one.stated, again)))
    return tuple(out)


def _with_filled(variance: np.ndarray, recording: Recording) -> np.ndarray:
    """Variances of detections, and for what fills gaps, of which each range has others, their mean."""
    seen = variance[:len(recording.position) - recording.filled]
    return np.concatenate([seen, np.broadcast_to(seen.mean(axis=0), (recording.filled, recording.dim))])


def _judged(data: tuple[FitData, ...], seed: int, masks: list[np.ndarray], ranges: np.ndarray,
            progress: Progress) -> tuple[np.ndarray, np.ndarray]:
    """(2, steps): log-likelihood of every held-out step under a model of this range that has not seen them, and the
    change of its force within the step; and the energy of a pair at each of `ranges` beyond its error [kT]."""
    fitted, early = refined_without_held_out(data, seed, progress)
    p = fitted.parameters
    models = step_models([one.recording for one in data], p, p, [one.recording for one in early])
    steps = []
    for one, mask, model in zip(data, masks, models):
        recording = one.recording
        force, hessian = force_and_stiffness(recording, model.pairs, model.stiffness, model.centre)
        found = residuals(recording, force, hessian, model.diffusion, model.noise_scale, mask)
        D = np.broadcast_to(model.diffusion, len(recording.position))[recording.steps[mask]]
        stiffest = np.abs(np.linalg.eigvalsh(hessian[recording.steps[mask]])).max(axis=1)
        steps.append(np.stack([found.log_likelihood, D * recording.dt * stiffest]))
    sure = []
    for kind, pair in enumerate(models[0].pairs):
        part = p.field.part(kind)
        basis = pair.spline(ranges)[0]
        error = np.sqrt(np.maximum(np.einsum("ra,ab,rb->r", basis, fitted.covariance[part, part], basis), 0.0))
        sure.append(np.maximum(np.abs(pair.value(ranges)) - error, 0.0))
    return np.concatenate(steps, axis=1), np.max(sure, axis=0)


def _compared(found: list[_Candidate], ranges: np.ndarray, frames: np.ndarray,
              free: np.ndarray) -> tuple[dict[str, Any], float]:
    """The entry of the report, and the shortest range that is not worse than the best by its error and beyond which
    the best model has next to no energy."""
    soft = np.median([one.stiffness for one in found], axis=0) < STIFFEST
    if soft.sum() < FEWEST:
        soft[:] = True
    found = [dataclasses.replace(one, log_likelihood=one.log_likelihood[soft]) for one in found]
    frames, free = frames[soft], free[soft]
    best = max(found, key=lambda one: float(one.log_likelihood.mean()))
    rows, chosen, before = [], None, free
    for one in found:
        adds, adds_error = _mean_difference(one.log_likelihood, before, frames)
        below, error = _mean_difference(best.log_likelihood, one.log_likelihood, frames)
        k = int(np.argmin(np.abs(ranges - one.cutoff)))
        beyond = float(np.abs(best.energy[k:]).max())
        rows.append({"cutoff": one.cutoff, "energy_beyond": beyond,
                     "log_likelihood_per_step": float(one.log_likelihood.mean()),
                     "adds_per_step": adds, "adds_per_step_stderr": adds_error,
                     "below_best_per_step": below, "below_best_per_step_stderr": error})
        if chosen is None and below <= error and beyond <= NOTHING:
            chosen = one.cutoff
        before = one.log_likelihood
    assert chosen is not None
    return {"cutoff": chosen, "steps": len(frames), "candidates": rows}, chosen


def _mean_difference(one: np.ndarray, other: np.ndarray, frames: np.ndarray) -> tuple[float, float]:
    """Mean difference per step and its standard error, from the scatter between stretches of time: neighbours stay
    neighbours for many frames."""
    difference = one - other
    mean = float(difference.mean())
    _, which = np.unique(frames, return_inverse=True)
    which = which * min(PIECES, which.max() + 1) // (which.max() + 1)
    sums = np.bincount(which, difference - mean)
    return mean, float(np.sqrt((sums**2).sum() * len(sums) / max(1, len(sums) - 1)) / len(difference))
