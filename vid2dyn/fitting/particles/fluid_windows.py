"""In how long windows a fluid is read: as single steps, unless its noise remembers.

With the numbers of a fit the residuals R of single steps are summed up over windows of k steps. Noise that forgets
from step to step gives |sum R|² the size that the sum of the steps' own variances says; noise with a memory shows less
of itself in short windows, Γ(k) = Γ [1 - τ/T (1 - e^(-T/τ))] as in `vid2dyn.fitting.particles.plateau`. The shortest
window that shows `plateau.ENOUGH` of it is then read as one, and its share c goes into the likelihood
(`vid2dyn.inference.fluid_window`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from vid2dyn.dynamics.fluid.numbers import FluidNumbers, Thermal
from vid2dyn.fitting.particles.plateau import DAMPED, ENOUGH, saturation, share_shown
from vid2dyn.inference.score import Sweep, sweep
from vid2dyn.inference.steps import FluidSteps

WINDOWS = (1, 2, 4, 8, 16)
"""Steps of the windows over which residuals are summed up."""
ROOM = 8
"""Least number of windows of a length."""
LARGE = 0.1
"""Least change of the noise with the window that counts."""


@dataclass(frozen=True, eq=False)
class NoiseByWindow:
    """Size of the noise of windows.

    Parameters
    ----------
    rows : list of (k, ratio, error, windows)
        Residuals of windows of k steps: their square over what independent steps let expect, and how many there are.
    friction : float
        Γ of a particle in the model [mass/s].
    frames : int
        Steps of the windows that the model was learned from: longer ones should show no more.
    """

    rows: list[tuple[int, float, float, int]]
    friction: float
    frames: int = 1

    @classmethod
    def of(cls, data: Sequence[FluidSteps], starts: Sequence[np.ndarray],
           numbers: FluidNumbers) -> tuple[NoiseByWindow, list[Sweep]]:
        """At some numbers; with the sweeps over all trajectories."""
        lengths = tuple(k for k in WINDOWS if max(part.count for part in data) >= ROOM * k)
        found = [sweep(part, numbers, start, slopes=False, windows=lengths)
                 for part, start in zip(data, starts, strict=True)]
        rows = []
        for k in lengths:
            one = np.concatenate([part.noise[k] for part in found])
            error = float(one.std(ddof=1)) / math.sqrt(len(one)) if len(one) > 1 else math.inf
            rows.append((k, float(one.mean()), error, len(one)))
        return cls(rows, float(np.mean([one.friction for one in found])), data[0].frames), found

    def away(self) -> tuple[int, float] | None:
        """The window whose noise is farthest from that of the windows learned from, with its ratio: more than `LARGE`
        away and beyond chance (false alarm 1e-6 of all together, by Student's t of so many windows)."""
        rows = [row for row in self.rows if row[0] >= self.frames]
        if len(rows) < 2 or not rows[0][1] > 0:
            return None
        first = rows[0]
        away = [(abs(math.log(max(ratio, 1e-300) / first[1])), k, ratio) for k, ratio, error, count in rows[1:]
                if abs(ratio / first[1] - 1.0) > max(LARGE, float(student.isf(5e-7 / (len(rows) - 1), count - 1))
                                                     * math.hypot(error, first[2]) / first[1])]
        return (max(away)[1], max(away)[2] / first[1]) if away else None

    def chosen(self, dt: float, mass: float, wanted: int | None = None) -> tuple[int, float]:
        """k and c of the windows to read; (1, 1) where noise has no memory.

        Windows in which friction itself damps the motion are left out, as are memories that fall: velocities with an
        error of their own.
        """
        from_steps = NoiseByWindow(self.rows, self.friction)
        away = from_steps.away()
        if away is None or away[1] < 1.0:
            return wanted or 1, 1.0
        usable = [row for row in self.rows if row[0] == 1 or row[1] * self.friction * row[0] * dt / mass < DAMPED]
        k, ratio, error, _ = (np.array(column, float) for column in zip(*usable, strict=True))
        _, _, memory = saturation(k * dt, ratio, error)
        shown = np.array([share_shown(t * dt, memory) for t in k])
        enough = np.flatnonzero(shown >= ENOUGH)
        frames = wanted or int(k[enough[0]] if len(enough) else k[-1])
        return frames, share_shown(frames * dt, memory)

    def ratio(self, frames: int) -> float:
        """Noise of windows of so many steps over that of single ones."""
        return next((row[1] for row in self.rows if row[0] == frames), self.rows[-1][1]) / self.rows[0][1]


def louder(numbers: FluidNumbers, ratio: float) -> FluidNumbers:
    """The fluid with so much more noise, by a higher temperature: friction and pressure stay."""
    vector, layout = numbers.vector.copy(), numbers.layout
    vector[Thermal.LOG_TEMPERATURE] += math.log(ratio)
    vector[Thermal.MOLECULES] /= ratio
    if not layout.power:
        vector[layout.radial] *= ratio
    return FluidNumbers(vector, layout)
