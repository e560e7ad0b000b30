"""Entropy of any trajectory under known numbers: its temperature at the start, then the carried S."""

from __future__ import annotations

import dataclasses

import numpy as np

from vid2dyn.dynamics.fluid.numbers import Layout
from vid2dyn.encoders.entropy import start_of
from vid2dyn.inference.score import sweep
from vid2dyn.inference.steps import FluidSteps

ROUNDS = 6


def pattern(data: FluidSteps, theta: np.ndarray, layout: Layout, kind: str) -> np.ndarray:
    """σ of every particle at the first frame, up to a common number, (n,)."""
    return start_of(data.position[0], data.velocity[0], data.box.after(data.first_frame * data.dt), data.cutoff,
                    layout.mass, float(theta[1]), kind)  # type: ignore[arg-type]


def started(data: FluidSteps, theta: np.ndarray, layout: Layout, kind: str, window: int, seed: int = 0) -> np.ndarray:
    """σ of every particle at the first frame, (n,): its common number from the first `window` steps.

    One number is scored with all others known: noise over friction tells the temperature.
    """
    start = pattern(data, theta, layout, kind)
    if not theta[1] > 1e-6:
        return start
    shift = np.zeros(layout.size, bool)
    shift[7] = True
    one, numbers = layout.only(shift), theta.copy()
    numbers[7] = 0.0
    reach = 0.3 / theta[1]
    for _ in range(ROUNDS):
        found = sweep(data, numbers, one, start, information_every=4, seed=seed, until=min(window, data.count))
        # prior: a factor of e in temperature
        step = float((found.score[:, 7].sum() - numbers[7] * theta[1] ** 2)
                     / (found.information[7, 7] + theta[1] ** 2))
        numbers[7] += float(np.clip(step, -reach, reach))
        if abs(step) * theta[1] < 1e-3:
            break
    return start + numbers[7]


def carried_entropy(data: FluidSteps, theta: np.ndarray, layout: Layout, start: np.ndarray) -> np.ndarray:
    """S of every particle in every frame, (frames, n) [kB]."""
    return sweep(data, theta, dataclasses.replace(layout), start, slopes=False).entropy
