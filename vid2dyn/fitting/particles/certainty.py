"""Error bars of a fluid's numbers, where its data were, and whether its noise forgets from step to step.

The likelihood of a fluid is that of single steps: noise of one is independent of that of the next, what lasts is heat.
Over windows of k steps the residual then grows as k. Real particles remember: a star polymer shows a quarter of its
friction from frame to frame, and a fit of single steps takes that quarter for the friction.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import t as student

from vid2dyn.dynamics.fluid.numbers import FluidNumbers
from vid2dyn.encoders.entropy import invariants
from vid2dyn.fitting.particles.scoring import Prior, score_and_information
from vid2dyn.inference.score import sweep
from vid2dyn.inference.steps import FluidSteps

BLOCKS = 12
EVERY = 4
"""Steps between those that the information of the error bars is taken from."""
WINDOWS = (1, 2, 4, 8, 16)
"""Steps of the windows over which residuals are summed up."""
ROOM = 8
"""Least number of windows of a length."""
LARGE = 0.1
"""Least change of the noise with the window that is said."""


@dataclass(frozen=True, eq=False)
class Certainty:
    """How well a fluid is known.

    Parameters
    ----------
    covariance : (numbers, numbers) array
    excess : float
        Scatter of the score over what the information says.
    support : (3, 5) array
        Quantiles of S, V and r in the data.
    noise : list of (k, ratio, error, windows)
        Residuals of windows of k steps: their square over what independent steps let expect, and how many there are.
    friction : float
        Γ of a particle in the model [mass/s].
    """

    covariance: np.ndarray
    excess: float
    support: np.ndarray
    noise: list[tuple[int, float, float, int]]
    friction: float

    def window(self, dt: float) -> dict[str, Any]:
        """For the report: friction that windows of k steps show, [k, seconds, friction, error]."""
        friction = self.friction
        return {"frames": 1, "seconds": dt, "plateau": self.warning() is None, "friction": friction,
                "friction_stderr": self.noise[0][2] * friction if self.noise else math.inf,
                "friction_against_window": [[k, k * dt, ratio * friction, error * friction]
                                            for k, ratio, error, _ in self.noise]}

    def warning(self) -> str | None:
        """What to say of noise that remembers: more than `LARGE` away from that of single steps, and beyond chance
        (false alarm 1e-6 of all windows together, by Student's t of so many windows)."""
        if len(self.noise) < 2 or not self.noise[0][1] > 0:
            return None
        first = self.noise[0]
        away = [(abs(math.log(max(ratio, 1e-300) / first[1])), k, ratio) for k, ratio, error, count in self.noise[1:]
                if abs(ratio / first[1] - 1.0) > max(LARGE, float(student.isf(5e-7 / (len(self.noise) - 1), count - 1))
                                                     * math.hypot(error, first[2]) / first[1])]
        if not away:
            return None
        _, k, ratio = max(away)
        said = (f"Noise does not forget from frame to frame: over {k} frames it is {ratio / first[1]:.3g} times that "
                "of single frames, from which this fit reads temperature, friction and heat. ")
        if ratio > first[1]:
            return said + ("They are wrong by about that factor: particles have a memory, or forces that an equation "
                           "of state does not describe. Give listed terms (PairPotential and PairFriction), which "
                           "choose windows long enough, or take every " f"{k}th frame.")
        return said + ("Velocities carry noise of their own, or momentum turns back between frames. Film faster, or "
                       "give listed terms (PairPotential and PairFriction).")


def certainty(data: Sequence[FluidSteps], starts: Sequence[np.ndarray], numbers: FluidNumbers, prior: Prior,
              seed: int) -> Certainty:
    """Of a fitted fluid, from the data that it was learned from."""
    layout = numbers.layout
    _, information, scores = score_and_information(data, starts, numbers, seed, EVERY)
    rows = np.flatnonzero(layout.active)
    info = information[np.ix_(rows, rows)]
    total = info + prior.precision[np.ix_(rows, rows)]
    size = np.sqrt(np.diag(total))
    inverse = np.linalg.inv(total / size[:, None] / size) / size[:, None] / size
    blocks = [b.sum(axis=0)[rows] / np.sqrt(len(b)) for s in scores for b in np.array_split(s, BLOCKS)]
    count = sum(len(s) for s in scores)
    # whitened score of blocks: 1 in every direction if the model is right; the mean score is that of the prior
    values, vectors = np.linalg.eigh(info / size[:, None] / size / count)
    good = values > 1e-6 * values.max()
    white = (np.array(blocks) / size) @ vectors[:, good] / np.sqrt(values[good])
    excess = float((white**2).mean())
    covariance = np.zeros((layout.size, layout.size))
    covariance[np.ix_(rows, rows)] = inverse * max(1.0, excess)
    return Certainty(covariance, excess, *_seen(data, starts, numbers))


def _seen(data: Sequence[FluidSteps], starts: Sequence[np.ndarray],
          numbers: FluidNumbers) -> tuple[np.ndarray, list[tuple[int, float, float, int]], float]:
    """Support, noise against window, and friction."""
    S, x, r, frictions = [], [], [], []
    lengths = tuple(k for k in WINDOWS if max(part.count for part in data) >= ROOM * k)
    ratios: dict[int, list[np.ndarray]] = {k: [] for k in lengths}
    for part, start in zip(data, starts, strict=True):
        found = sweep(part, numbers, start, slopes=False, windows=lengths)
        frictions.append(found.friction)
        for k, one in found.noise.items():
            ratios[k].append(one)
        for t in range(0, part.count, max(1, part.count // 20)):
            S.append(found.entropy[t])
            box = part.box.after((part.first_frame + t) * part.dt)
            x.append(invariants(part.position[t], part.velocity[t], box, part.cutoff).log_volume)
            r.append(part.pairs(t).r)
    at = [0, 0.025, 0.5, 0.975, 1]
    support = np.array([np.quantile(np.concatenate(S), at), np.quantile(np.exp(np.concatenate(x)), at),
                        np.quantile(np.concatenate(r), at)])
    noise = []
    for k, parts in ratios.items():
        one = np.concatenate(parts)
        error = float(one.std(ddof=1)) / math.sqrt(len(one)) if len(one) > 1 else math.inf
        noise.append((k, float(one.mean()), error, len(one)))
    return support, noise, float(np.mean(frictions))
