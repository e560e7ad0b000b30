"""What the report says of several recordings one by one, and the warnings that name those that do not belong."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from vid2dyn.core.checkpoint import digest_of
from vid2dyn.core.describe import with_error
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.dynamics.brownian import species_pairs
from vid2dyn.dynamics.terms.potentials import PairPotential
from vid2dyn.fitting.brownian.evidence import StepModel, held_out_steps, trusted_steps
from vid2dyn.fitting.brownian.recordings_alone import RecordingsAlone, Stranger, strangers
from vid2dyn.fitting.brownian.records import FitData, FitResult
from vid2dyn.model.brownian import BrownianModel

UNITS = {"diffusion": "µm²/s", "trap_stiffness": "kT/µm²"}
WORDS = {"diffusion": "D", "trap_stiffness": "the stiffness of its traps",
         "force_strength": "the strength of its forces (1: as learned from all)",
         "pair_strength": "the strength of its pair forces (1: as learned from all)",
         "trap_strength": "the stiffness of its traps (1: as learned from all)"}


def recordings_report(data: tuple[FitData, ...], tracks: Sequence[Trajectories], found: FitResult,
                      model: BrownianModel) -> tuple[list[dict[str, Any]], list[str]]:
    """One entry for each recording, and warnings.

    An entry has "name", "detections", "frames", "frames_per_second", "noise_scale", "localisation_error" (of each
    species), "log_likelihood_per_step" of its held-out steps, and, where the fit went to its end, D and the strength of
    the forces as the recording alone says them, what the held-out steps would gain from these
    ("gain_of_its_own_per_step", nats) and "belongs"; errors are beside them as "..._stderr".
    """
    compared = () if found.recordings is None else found.recordings.compared
    off = strangers(compared)
    entries = []
    for r, (one, given) in enumerate(zip(data, tracks, strict=True)):
        entry = {"name": one.name, "detections": len(one.tracks), "frames": one.tracks.n_frames,
                 "frames_per_second": one.tracks.units.frames_per_second, "data_sha256": digest_of_tracks(given),
                 **_noise(one, model, r), **_held_out(one, found, r)}
        for quantity in compared:
            key = _key(quantity.name, one.species)
            entry |= {key: float(quantity.value[r]), f"{key}_stderr": float(quantity.stderr[r])}
        if compared:
            entry["belongs"] = all(stranger.recording != r for stranger in off)
        entries.append(entry)
    return entries, [_said(stranger, data, entries, len(data) - k) for k, stranger in enumerate(off)]


def digest_of_tracks(tracks: Trajectories) -> str:
    """By which a model knows a recording again that it was fitted to."""
    return digest_of(tracks.frame.tobytes(), np.ascontiguousarray(tracks.positions).tobytes())


def _noise(one: FitData, model: BrownianModel, r: int) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for array, key in (("recording_noise_scale", "noise_scale"), ("recording_localisation", "localisation_error")):
        values = model.arrays[array][r]
        for s in range(len(values)):
            name = _key(f"{key} of species {s}" if one.species else key, one.species)
            out |= {name: float(values[s, 0]), f"{name}_stderr": float(values[s, 1])}
    return out


def _held_out(one: FitData, found: FitResult, r: int) -> dict[str, Any]:
    """Likelihood of the held-out steps of a recording, and what its own D and forces would add."""
    if not found.models:
        return {}
    mask, shared = held_out_steps(one.recording) & trusted_steps(one.recording), found.models[r]
    (seen,) = shared.residuals(one.recording, mask)
    value, n = seen.log_likelihood, max(1, seen.log_likelihood.size)
    out = {"log_likelihood_per_step": float(value.mean()) if value.size else float("nan"),
           "log_likelihood_per_step_stderr": float(value.std() / np.sqrt(n)), "held_out_steps": int(value.size)}
    own = None if found.recordings is None else _own_model(one, shared, found.recordings, r)
    if own is None:
        return out
    try:
        (alone,) = own.residuals(one.recording, mask)
    except np.linalg.LinAlgError:
        return out
    gain = alone.log_likelihood - value
    return out | {"gain_of_its_own_per_step": float(gain.mean()) if gain.size else float("nan"),
                  "gain_of_its_own_per_step_stderr": float(gain.std() / np.sqrt(n))}


def _own_model(one: FitData, shared: StepModel, alone: RecordingsAlone, r: int) -> StepModel | None:
    """The shared model with D, stiffness and strength of the forces as the recording says them."""
    values = {quantity.name: float(quantity.value[r]) for quantity in alone.compared}
    overall = values.get("force_strength", 1.0)
    strengths = [values.get("pair_strength", values.get(f"pair_strength of pair {k}", overall))
                 for k in range(len(shared.pairs))]
    stiffness = values.get("trap_stiffness", values.get("trap_strength", 1.0) * shared.stiffness)
    pairs = tuple(PairPotential(pair.spline, strength * pair.coefficients, pair.core_stiffness)
                  for pair, strength in zip(shared.pairs, strengths))
    if one.recording.species is None:
        D: float | np.ndarray = values["diffusion"]
    else:
        each = np.array([values[f"diffusion of species {s}"] for s in range(len(one.species))])
        D = each[one.recording.species]
    if not (np.isfinite(D).all() and np.isfinite(strengths).all() and np.isfinite(stiffness)):
        return None
    return dataclasses.replace(shared, pairs=pairs, stiffness=stiffness, diffusion=D)


def _key(name: str, species: tuple[str, ...]) -> str:
    """Entry of the report for a quantity: "diffusion of species 1" is diffusion_B."""
    quantity, whose = _whose(name, species)
    return "_".join([quantity, *whose])


def _whose(name: str, species: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """Quantity, and the names of the species that it is of."""
    quantity, _, of = name.partition(" of ")
    if not of:
        return quantity, ()
    kind, number = of.split()
    which = (int(number),) if kind == "species" else species_pairs(len(species))[int(number)]
    return quantity, tuple(species[s] for s in which)


def _said(stranger: Stranger, data: tuple[FitData, ...], entries: list[dict[str, Any]], left: int) -> str:
    """The warning that names a recording that does not belong."""
    one, entry = data[stranger.recording], entries[stranger.recording]
    quantity, whose = _whose(stranger.quantity, one.species)
    what = WORDS[quantity] + (f" {'between' if len(whose) == 2 else 'of'} {' and '.join(whose)}" if whose else "")
    unit = UNITS.get(quantity, "")
    here = with_error(stranger.value, stranger.stderr, unit)
    there = with_error(stranger.others, stranger.others_stderr, unit)
    gain = ""
    if entry.get("gain_of_its_own_per_step", 0.0) > 2 * entry.get("gain_of_its_own_per_step_stderr", 0.0):
        nats = with_error(entry["gain_of_its_own_per_step"], entry["gain_of_its_own_per_step_stderr"], "nats")
        gain = f" Its own values would make each of its held-out steps {nats} more likely."
    verdict = ("does not belong to the others" if left > 2 else
               "and the other recording do not agree (which of the two is off, they cannot say)")
    return (f"{one.name} {verdict}: {what} is {here} there and {there} in the rest, {abs(stranger.score):.1f} standard "
            f"errors apart.{gain} Another temperature, viscosity, sample or calibration: check it, and fit without it "
            "or alone.")
