"""How well a fitted model does: likelihood on frames it did not see, calibration of its errors, and its laws."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from vid2dyn.dynamics.base import Overdamped
from vid2dyn.dynamics.snapshot import Snapshot, neighbour_pairs
from vid2dyn.dynamics.terms.potentials import PairPotential
from vid2dyn.fitting.brownian.likelihood import Residuals, free_diffusion, residuals
from vid2dyn.fitting.brownian.recording import Recording

HELD_OUT = 0.2
"""Share of the frames, the last ones, kept aside to evaluate the model; the model itself is then fitted to all."""

TABLE = 4096
"""Distances at which the pair force is tabulated."""


def force_and_stiffness(recording: Recording, pair: PairPotential | None, stiffness: float,
                        centre: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """F_i [kT/µm] (n, dim) and -∂F_i/∂x_i [kT/µm²] (n, dim, dim) at every detection.

    `centre` (n, dim): of the trap each detection is held by, if `stiffness` is not zero.
    """
    n, dim = recording.position.shape
    force = -stiffness * (recording.position - centre)
    hessian = np.broadcast_to(stiffness * np.eye(dim), (n, dim, dim)).copy()
    if pair is None:
        return force, hessian
    grid = np.linspace(0.0, pair.spline.cutoff, TABLE + 1)
    table = pair.force(grid)
    slope = -np.gradient(table, grid)
    for block in recording.blocks(max(1, n // 20_000)):
        x = recording.position[block]
        pairs = neighbour_pairs(x, pair.spline.cutoff, recording.box, recording.frame[block])
        i, j = block[pairs[:, 0]], block[pairs[:, 1]]
        e = recording.box.displacement(recording.position[i], recording.position[j])
        r = np.maximum(np.linalg.norm(e, axis=1), 1e-9)
        e = e / r[:, None]
        f = np.interp(r, grid, table)
        along, across = np.interp(r, grid, slope), -f / r
        h = across[:, None, None] * np.eye(dim) + (along - across)[:, None, None] * e[:, :, None] * e[:, None, :]
        for side, sign in ((i, 1.0), (j, -1.0)):
            for a in range(dim):
                force[:, a] += np.bincount(side, sign * f * e[:, a], minlength=n)
                for b in range(dim):
                    hessian[:, a, b] += np.bincount(side, h[:, a, b], minlength=n)
    return force, hessian


@dataclass(frozen=True, eq=False)
class StepModel:
    """All that the likelihood of a step depends on.

    Parameters
    ----------
    pair : PairPotential or None
    stiffness : float
        Stiffness of the trap [kT/µm²], zero without one.
    centre : (n, dim) array
        Centre of the trap that holds each detection [µm].
    diffusion, noise_scale : float
        D [µm²/s]; localisation variance over the stated one.
    """

    pair: PairPotential | None
    stiffness: float
    centre: np.ndarray
    diffusion: float
    noise_scale: float


def held_out_steps(recording: Recording) -> np.ndarray:
    """(steps,) bool: those that lie in the held-out frames."""
    frame = recording.frame[recording.steps]
    return frame >= recording.frame.min() + (1 - HELD_OUT) * (np.ptp(recording.frame) + 1)


def held_out_evidence(recording: Recording, held_out: np.ndarray, fitted: StepModel) -> dict[str, Any]:
    """Held-out log-likelihood of a model fitted without `held_out` (bool per step), and residual calibration.

    The comparison is free diffusion with its own best D and noise: what the forces bring, in nats per particle-step.
    """
    trusted = recording.weight[recording.steps] > 0.99
    force, hessian = force_and_stiffness(recording, fitted.pair, fitted.stiffness, fitted.centre)
    model = residuals(recording, force, hessian, fitted.diffusion, fitted.noise_scale, held_out & trusted)
    free = free_diffusion(recording)
    zero = np.zeros_like(force)
    null = residuals(recording, zero, np.zeros_like(hessian), free.diffusion, free.noise_scale, held_out & trusted)
    gain = model.log_likelihood - null.log_likelihood
    n = max(1, gain.size)
    return {
        "held_out": {
            "log_likelihood_per_step": _mean(model.log_likelihood),
            "free_diffusion_log_likelihood_per_step": _mean(null.log_likelihood),
            "gain_per_step": _mean(gain),
            "gain_per_step_stderr": float(gain.std() / np.sqrt(n)) if gain.size else float("nan"),
            "steps": int(gain.size),
        },
        "calibration": calibration(model),
    }


def step_likelihoods(recording: Recording, held_out: np.ndarray, fitted: StepModel) -> tuple[float, float]:
    """Mean log-likelihood of a step that was learned from, and of one held out (as in `held_out_evidence`).

    Both are nan for forces so stiff that a step has no likelihood, as a round on the way may find them.
    """
    trusted = recording.weight[recording.steps] > 0.99
    force, hessian = force_and_stiffness(recording, fitted.pair, fitted.stiffness, fitted.centre)
    try:
        train, later = (residuals(recording, force, hessian, fitted.diffusion, fitted.noise_scale,
                                  some & trusted).log_likelihood for some in (~held_out, held_out))
    except np.linalg.LinAlgError:
        return float("nan"), float("nan")
    return _mean(train), _mean(later)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else float("nan")


def calibration(model: Residuals) -> dict[str, Any]:
    """χ², correlation of successive residuals and histogram of whitened residuals; empty without any."""
    if not model.white.size:
        return {}
    counts, edges = np.histogram(model.white, bins=np.linspace(-5, 5, 51))
    return {**model.calibration(), "z": {"edges": edges.tolist(), "counts": counts.tolist()}}


def laws(dynamics: Overdamped, recording: Recording, cutoff: float | None,
         structure: np.ndarray | None = None) -> dict[str, float]:
    """The promises of the root-first base, measured on a few particles of the data, in float64."""
    frame = recording.frame == recording.frame.min()
    x = torch.as_tensor(recording.position[frame][:12].copy())
    column = None if structure is None else torch.as_tensor(structure[frame][:12].astype(float))
    snapshot = Snapshot.of(x, cutoff, recording.box, index=torch.arange(len(x)), structure=column)
    M = dynamics.friction.dense(snapshot)
    scale = float(M.diagonal().mean())
    values = torch.linalg.eigvalsh(0.5 * (M + M.T))
    gradient = sum((p.gradient(snapshot) for p in dynamics.potentials), torch.zeros_like(x))
    moved = dynamics.drift(snapshot)
    return {
        "mobility_asymmetry": float((M - M.T).abs().max()) / scale,
        "mobility_lowest_eigenvalue": float(values.min()) / scale,
        "energy_rate_without_noise": float((gradient * moved).sum()),
    }
