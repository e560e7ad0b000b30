"""Entropy of any trajectory under known numbers: its temperature at the start, then the carried S."""

from __future__ import annotations

import numpy as np

from vid2dyn.dynamics.fluid.numbers import FluidNumbers, Thermal
from vid2dyn.encoders.entropy import start_of
from vid2dyn.inference.score import sweep
from vid2dyn.inference.steps import FluidSteps

ROUNDS = 6


def start_pattern(data: FluidSteps, numbers: FluidNumbers, kind: str) -> np.ndarray:
    """σ of every particle at the first frame, up to a common number, (n,)."""
    return start_of(data.position[0], data.velocity[0], data.box.after(data.first_frame * data.dt), data.cutoff,
                    numbers.layout.mass, float(numbers.softness), kind)  # type: ignore[arg-type]


def fit_start(data: FluidSteps, numbers: FluidNumbers, kind: str, window: int, seed: int = 0) -> np.ndarray:
    """σ of every particle at the first frame, (n,): its common number from the first `window` steps."""
    return start_pattern(data, numbers, kind) + fit_shift(data, numbers, kind, window, seed)


def fit_shift(data: FluidSteps, numbers: FluidNumbers, kind: str, window: int, seed: int = 0) -> float:
    """The common number of σ at the first frame, from the first `window` steps.

    One number is scored with all others known: noise over friction tells the temperature.
    """
    start, a, shift = start_pattern(data, numbers, kind), numbers.softness, 0.0
    if not a > 1e-6:
        return shift
    alone = FluidNumbers(numbers.vector, numbers.layout.only(np.zeros(numbers.layout.size, bool)))
    reach = 0.3 / a
    for _ in range(ROUNDS):
        found = sweep(data, alone.starting(shift), start, information_every=max(1, 4 // data.frames), seed=seed,
                      until=min(max(window, 4 * data.frames), data.count))
        # prior: a factor of e in temperature
        step = float((found.score[:, Thermal.START].sum() - shift * a ** 2)
                     / (found.information[Thermal.START, Thermal.START] + a ** 2))
        shift += float(np.clip(step, -reach, reach))
        if abs(step) * a < 1e-3:
            break
    return shift


def carried_entropy(data: FluidSteps, numbers: FluidNumbers, start: np.ndarray) -> np.ndarray:
    """S of every particle in every frame, (frames, n) [kB]."""
    return sweep(data, numbers, start, slopes=False).entropy
