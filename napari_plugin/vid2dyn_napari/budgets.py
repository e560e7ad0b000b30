"""Energy, entropy and momentum in time, of data and of the model's rollout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

import vid2dyn as vd
from vid2dyn_napari.truth import true_simulator


@dataclass(frozen=True)
class Budget:
    """Named series in time [s] of data or model: ``series[name] = (values, unit)``."""

    time: np.ndarray
    series: dict[str, tuple[np.ndarray, str]]


def budget(tracks: Any, model: Any = None, truth: Mapping[str, Any] | None = None, frames: int = 200,
           progress: Any = None) -> Budget | None:
    """Energy, entropy and momentum of a fluid, or the energy of pairs of colloids; None where neither is defined.

    Parameters
    ----------
    frames : int
        About how many frames are looked at, evenly spaced.
    """
    every = max(1, tracks.n_frames // frames)
    fluid, tracks = _fluid(tracks, model, truth or {})
    if tracks.entropy is not None and fluid is not None:
        found = vd.analysis.thermodynamics(tracks, fluid, every=every, progress=progress)
        momentum = np.linalg.norm(found.momentum, axis=1)
        return Budget(found.time, {
            "energy": (found.energy - found.energy[0], "change (energy)"),
            "kinetic": (found.kinetic, "energy"), "entropy": (found.entropy - found.entropy[0], "change (kB)"),
            "momentum": (momentum, "|Σ m v|")})
    one_kind = model is not None and hasattr(model, "pair_potential") and not getattr(model, "species", ())
    if one_kind and model.recipe.get("cutoff") is not None:
        return _pair_energy(tracks, model, every)
    return None


def _fluid(tracks: Any, model: Any, truth: Mapping[str, Any]) -> tuple[Any, Any]:
    """What turns entropies into energies, and tracks with the entropies that it means.

    A rollout carries those of its model, a simulation those of its simulator; for other data the model infers them.
    """
    learned_fluid = model is not None and hasattr(model, "internal_energy")
    if learned_fluid and "rollout" in tracks.info:
        return model, tracks
    simulator = true_simulator(truth or tracks.info.get("truth") or {})
    if hasattr(simulator, "internal_energy") and tracks.entropy is not None:
        return simulator, tracks
    if learned_fluid and tracks.velocities is not None:
        return model, tracks.replace(dataframe=tracks.dataframe.assign(entropy=model.entropy(tracks)))
    return None, tracks


def _pair_energy(tracks: Any, model: Any, every: int) -> Budget:
    """Energy of all pairs over the number of particles [kT], under the learned potential."""
    from scipy.spatial import cKDTree

    cutoff = float(model.recipe["cutoff"])
    lengths = tracks.box.lengths
    order = np.argsort(tracks.frame, kind="stable")
    frames, first = np.unique(tracks.frame[order], return_index=True)
    position = tracks.positions[order]
    time, energy = [], []
    for frame, x in list(zip(frames, np.split(position, first[1:])))[::every]:
        box = None if lengths is None else np.asarray(lengths)
        tree = cKDTree(x if box is None else np.mod(x, box), boxsize=box)
        pairs = tree.query_pairs(cutoff, output_type="ndarray")
        r = np.linalg.norm(tracks.box.displacement(x[pairs[:, 0]], x[pairs[:, 1]]), axis=1)
        time.append(frame * tracks.units.dt)
        energy.append(float(model.pair_potential(r).sum()) / max(len(x), 1))
    return Budget(np.array(time), {"pair energy": (np.array(energy), "kT per particle")})
