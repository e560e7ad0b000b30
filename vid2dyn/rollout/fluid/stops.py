"""What stops a compiled rollout: errors that name the step, the particle and the remedy."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import numpy as np

from vid2dyn.core.errors import ModelError

if TYPE_CHECKING:
    from vid2dyn.rollout.fluid.engine import Engine


def too_fast(engine: Engine, path: float) -> NoReturn:
    """A particle goes further in a step than neighbour lists can follow."""
    drift = engine.v.copy()
    drift[:, 1] -= engine.shear_rate * engine.x[:, 0]
    speed = np.linalg.norm(drift, axis=1)
    k = int(np.argmax(np.where(np.isfinite(speed), speed, np.inf)))
    raise ModelError(
        f"Step {engine.step_number}, particle {engine.ids[k]}: speed {speed[k]:.4g}, so that it moves "
        f"{speed[k] * engine.dt / engine.frozen.cutoff:.3g} cutoffs in one step of dt = {engine.dt:.3g}. Take dt below "
        f"{0.05 * engine.frozen.cutoff / max(speed[k], 1e-300):.2g}, or check the start for overlapping particles.")


def did_not_settle(engine: Engine, what: str, left: np.ndarray) -> NoReturn:
    """A solver gave up; `left` (n,) is what it left over."""
    k = int(np.argmax(np.where(np.isfinite(left), left, np.inf)))
    raise ModelError(f"Step {engine.step_number}, particle {engine.ids[k]}: {what} did not settle; dt = "
                     f"{engine.dt:.3g} is too large for the forces or the friction. Take half of it.")


def left_the_table(engine: Engine, k: int) -> NoReturn:
    """Row k has a density or entropy outside the equation of state, or coincides with a neighbour."""
    _, first, second, _, _ = engine.lists
    same = np.flatnonzero(np.isnan(engine.value))
    if same.size:
        a, b = (engine.ids[end[same[0]]] for end in (first, second))
        raise ModelError(f"Step {engine.step_number}, particle {a}: it coincides with particle {b}, so the direction "
                         "of their force is undefined. Move one of them, or drop the double detection.")
    low, high = np.exp(-engine.frozen.log_volume[1]), np.exp(-engine.frozen.log_volume[0])
    raise ModelError(
        f"Step {engine.step_number}, particle {engine.ids[k]}: density {engine.density[k]:.4g}, entropy "
        f"{engine.S[k]:.4g} left the frozen table (density {low:.4g} to {high:.4g}, entropy "
        f"{engine.frozen.entropy[0]:.4g} to {engine.frozen.entropy[1]:.4g}). Overlapping particles or a dt too large "
        f"({engine.dt:.3g}) do that; otherwise freeze the model over a wider range.")


def no_entropy(engine: Engine, k: int) -> NoReturn:
    """Row k has an energy that no entropy of the table gives."""
    raise ModelError(
        f"Step {engine.step_number}, particle {engine.ids[k]}: its energy {engine.U[k]:.4g} at density "
        f"{engine.density[k]:.4g} has no entropy in the table (S from {engine.frozen.entropy[0]:.4g} to "
        f"{engine.frozen.entropy[1]:.4g}). It gained or lost too much heat in one step: take a smaller dt than "
        f"{engine.dt:.3g}; if it drifted there over many steps, freeze the model over a wider range of entropy.")
