"""What stops a compiled rollout: errors that name the step, the particle and the remedy."""

from __future__ import annotations

from typing import NamedTuple, NoReturn

import numpy as np

from vid2dyn.core.errors import ModelError
from vid2dyn.dynamics.fluid.frozen import FrozenFluid
from vid2dyn.rollout.fluid.pairs import ParticleState


class LeftTheTablesError(ModelError):
    """A state has a density, entropy or energy that the frozen tables do not cover."""


class Moment(NamedTuple):
    """When it happened, and to whom: number and length of the step, names of the particles."""

    step: int
    dt: float
    ids: np.ndarray

    def of(self, k: int) -> str:
        """Step and particle of row k, for a message."""
        return f"Step {self.step}, particle {self.ids[k]}"


def too_fast(moment: Moment, speed: np.ndarray, cutoff: float) -> NoReturn:
    """A particle goes further in a step than neighbour lists can follow; speed (n,) beside the mean flow."""
    k = _worst(speed)
    raise ModelError(
        f"{moment.of(k)}: speed {speed[k]:.4g}, so that it moves {speed[k] * moment.dt / cutoff:.3g} cutoffs in one "
        f"step of dt = {moment.dt:.3g}. Take dt below {0.05 * cutoff / max(speed[k], 1e-300):.2g}, or check the start "
        "for overlapping particles.")


def did_not_settle(moment: Moment, what: str, left: np.ndarray) -> NoReturn:
    """A solver gave up; `left` (n,) is what it left over."""
    raise ModelError(f"{moment.of(_worst(left))}: {what} did not settle; dt = {moment.dt:.3g} is too large for the "
                     "forces or the friction. Take half of it.")


def coincide(moment: Moment, first: int, second: int) -> NoReturn:
    """Rows `first` and `second` are in one place."""
    raise ModelError(f"{moment.of(first)}: it coincides with particle {moment.ids[second]}, so the direction of their "
                     "force is undefined. Move one of them, or drop the double detection.")


def left_the_table(moment: Moment, k: int, state: ParticleState, frozen: FrozenFluid) -> NoReturn:
    """Row k has a density or entropy outside the equation of state."""
    assert frozen.log_volume is not None
    assert frozen.entropy is not None
    low, high = np.exp(-frozen.log_volume[1]), np.exp(-frozen.log_volume[0])
    raise LeftTheTablesError(
        f"{moment.of(k)}: density {state.density[k]:.4g}, entropy {state.S[k]:.4g} left the frozen table (density "
        f"{low:.4g} to {high:.4g}, entropy {frozen.entropy[0]:.4g} to {frozen.entropy[1]:.4g}). Overlapping particles "
        f"or a dt too large ({moment.dt:.3g}) do that; otherwise freeze the model over a wider range.")


def no_entropy(moment: Moment, k: int, state: ParticleState, frozen: FrozenFluid) -> NoReturn:
    """Row k has an energy that no entropy of the table gives."""
    assert frozen.entropy is not None
    raise LeftTheTablesError(
        f"{moment.of(k)}: its energy {state.U[k]:.4g} at density {state.density[k]:.4g} has no entropy in the table "
        f"(S from {frozen.entropy[0]:.4g} to {frozen.entropy[1]:.4g}). It gained or lost too much heat in one step: "
        f"take a smaller dt than {moment.dt:.3g}; if it drifted there over many steps, freeze the model over a wider "
        "range of entropy.")


def _worst(values: np.ndarray) -> int:
    """Row of the largest value; one that is not a number counts as infinite."""
    return int(np.argmax(np.where(np.isfinite(values), values, np.inf)))
