"""Consecutive steps of a fluid read as one: residual, score and information of a window.

Noise of real particles remembers. Over a window of k steps its variance is a share c of that of independent steps
(c = 1 for noise without memory), so what steps say is summed up first and weighed then:

    R = sum R_t,      C = c sum 2 dt N_t + H Var(U) Hᵀ,      H = sum dt ∂F_t/∂U,
    -log p = 1/2 Rᵀ C⁻¹ R + 1/2 log det C - J,
    J = [tr X/2 - (1/12 + 1/24k²) tr X²]/c + tr Y/6,      X = T Γ/m,  Y = T² K/m,  T = k dt.

J is the response of the path inside the window to its own noise, as in `vid2dyn.inference.window_score` (for k = 1
the Jacobian of one Crank-Nicolson step to the order of X²; its log-likelihood is exact there). The stiffness K of the
forces has no 1/k² here: noise of step s moves the mean place over a later step t by t - s steps, that over its own by a
sixth of one; all together k²/6. Pressures that nobody saw stay through a window: their impulses add up.

Every step is at the entropies that were carried to it (`vid2dyn.inference.entropy_filter`): heat is that of the motion
that was seen from frame to frame, whatever the noise remembers, so that energy is kept.

The filter is that of a window as a whole: what its noise tells of temperatures has the rank of one window, not of each
of its steps. In the fast vortex of `scripts/reproduce_ideal_gas.py` (X = 0.13, Y = 0.1 for four steps) a step of
scoring from the truth goes, beside one of single steps of the same five recordings, in windows of four by -0.1 ± 0.3 %
of 1/c, +0.3 ± 0.1 % of n and -0.5 ± 0.4 % of T; in windows of eight by -0.5 ± 0.3, +1.6 ± 0.1 and -2.0 ± 0.3 %. What J
leaves out, tr XY/24 and tr Y²/240, is of this size there.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from vid2dyn.inference import step as of_step
from vid2dyn.inference import sums
from vid2dyn.inference.step import StepState


@dataclass(frozen=True, eq=False)
class FluidWindow:
    """Steps that are read as one.

    Parameters
    ----------
    steps : tuple of StepState
    residual : (n, dim) array
        Sum of their R.
    shown : float
        c.
    """

    steps: tuple[StepState, ...]
    residual: np.ndarray
    shown: float = 1.0

    @property
    def first(self) -> StepState:
        return self.steps[0]

    @cached_property
    def ends(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Both ends and lines of centres of the pairs of all steps, one after the other."""
        if len(self.steps) == 1:
            return self.first.geometry.ends
        i, j, e = (np.concatenate(part) for part in zip(*(s.geometry.ends for s in self.steps), strict=True))
        return i, j, e

    @cached_property
    def noise(self) -> tuple[np.ndarray, np.ndarray]:
        """C of the pairs, across and along."""
        scale = 2 * self.shown * self.first.geometry.dt
        return (scale * _joined([s.middle.across for s in self.steps]),
                scale * _joined([s.middle.along for s in self.steps]))

    @cached_property
    def slope(self) -> np.ndarray:
        """W' of all pairs."""
        return _joined([s.geometry.slope for s in self.steps])

    @cached_property
    def pressure_variance(self) -> np.ndarray:
        """Variance of the impulse of pressures that nobody saw in one step; empty where there is none."""
        if len(self.steps) == 1:
            return self.first.pressure_variance
        return np.mean([s.pressure_variance for s in self.steps], axis=0)

    def solve(self, right: np.ndarray) -> np.ndarray:
        """C⁻¹ right, (n, dim)."""
        return sums.solve(*self.ends, *self.noise, self.slope, self.pressure_variance, right, of_step.TOLERANCE)

    def probes(self, rng: np.random.Generator) -> list[np.ndarray]:
        """C⁻¹ of draws of what the model itself does."""
        geometry, count = self.first.geometry, of_step.PROBES
        normals = rng.standard_normal((count, len(self.slope), geometry.dim))
        out = np.empty((count, geometry.n, geometry.dim))
        sums.draws(*self.ends, *self.noise, normals, out)
        if len(self.pressure_variance):
            pushes = np.empty_like(out)
            sums.pressure_forces(*self.ends, self.slope,
                                 np.sqrt(self.pressure_variance) * rng.standard_normal((count, geometry.n)), pushes)
            out += pushes
        return [self.solve(draw) for draw in out]

    def score(self, x: np.ndarray, y: list[np.ndarray]) -> np.ndarray:
        """Slope of the log-likelihood of this window in every number; x = C⁻¹ R, y those of the probes."""
        layout = self.first.numbers.layout
        out = np.sum([s.score(x, y, len(self.steps), self.shown) for s in self.steps], axis=0)
        if len(self.pressure_variance):
            spread = self._pressure_slopes(x) ** 2 - np.mean([self._pressure_slopes(z) ** 2 for z in y], axis=0)
            out[:layout.thermal] += 0.5 * self._pressure_variance_slopes() @ spread
        if layout.forces:
            total, variance = self.total_momentum()
            out[layout.further] += sum(s.geometry.dt * s.geometry.force_slopes.sum(axis=1) @ total / variance
                                       for s in self.steps)
        return out

    def information(self, y: np.ndarray) -> np.ndarray:
        """Expected information of this window, from ∂R and from ∂C with one probe."""
        layout, geometry = self.first.numbers.layout, self.first.geometry
        mean, spread = (np.sum(part, axis=0) for part in zip(*(s.slopes(y, self.shown) for s in self.steps),
                                                              strict=True))
        if len(self.pressure_variance):
            pushed = np.zeros((layout.thermal, geometry.n, geometry.dim))
            sums.pressure_forces(*self.ends, self.slope, self._pressure_variance_slopes() * self._pressure_slopes(y),
                                 pushed)
            spread[:layout.thermal][layout.active[:layout.thermal]] += pushed[layout.active[:layout.thermal]]
        back_mean, back_spread = np.zeros_like(mean), np.zeros_like(spread)
        for row in np.flatnonzero(layout.active):
            back_mean[row], back_spread[row] = self.solve(mean[row]), self.solve(spread[row])
        flat = (layout.size, -1)
        info = mean.reshape(flat) @ back_mean.reshape(flat).T + 0.5 * spread.reshape(flat) @ back_spread.reshape(flat).T
        if layout.forces:
            whole = np.sum([s.geometry.dt * s.geometry.force_slopes.sum(axis=1) for s in self.steps], axis=0)
            info[layout.further, layout.further] += whole @ whole.T / self.total_momentum()[1]
        return 0.5 * (info + info.T)

    def total_momentum(self) -> tuple[np.ndarray, float]:
        """See `StepState.total_momentum`."""
        totals, variances = zip(*(s.total_momentum() for s in self.steps), strict=True)
        return np.sum(totals, axis=0), self.shown * float(np.sum(variances))

    def _pressure_slopes(self, x: np.ndarray) -> np.ndarray:
        return np.sum([s.pressure_slopes(x) for s in self.steps], axis=0)

    def _pressure_variance_slopes(self) -> np.ndarray:
        return np.mean([s.pressure_variance_slopes() for s in self.steps], axis=0)


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
