"""One step of a fluid whose entropy nobody sees: residual, score, information. (`fluid_heat` carries entropy on.)

Formulas and reasons are in `vid2dyn.inference.score`.
"""

from __future__ import annotations

import numpy as np

from vid2dyn.dynamics.fluid.numbers import Layout
from vid2dyn.dynamics.fluid.radial_splines import spline, spline_sums
from vid2dyn.dynamics.terms.gas import GasState, gas_state
from vid2dyn.inference import sums
from vid2dyn.inference.heat import MODES, conducted, expected_heat, share_unknown
from vid2dyn.inference.steps import FluidSteps

PROBES = 2
"""Draws of the model's own noise for the slope of the log determinant."""
TOLERANCE = 1e-6
"""Of conjugate gradients: their rounding, not this, is what relabelling changes."""


class Step:
    """One step: geometry, then the state at S, then what is asked of it."""

    def __init__(self, data: FluidSteps, t: int, theta: np.ndarray, layout: Layout) -> None:
        pairs = data.pairs(t)
        self.pairs, self.theta, self.layout, self.dt = pairs, theta, layout, data.dt
        self.ends = pairs.first, pairs.second, pairs.e
        self.dim, self.n = data.dim, data.n
        s = pairs.r / data.cutoff
        norm = layout.kernel_norm
        weight = norm * (1 + 3 * s) * (1 - s) ** 3
        self.slope = -12.0 * norm / data.cutoff * s * (1 - s) ** 2
        self.bend = -12.0 * norm / data.cutoff**2 * (1 - s) * (1 - 3 * s + (data.dim - 1) * (1 - s))
        self.d = sums.density(pairs.first, pairs.second, weight, norm, data.n)
        self.V = 1.0 / self.d
        self.u = s * s
        self.momentum = layout.mass * (data.velocity[t + 1] - data.velocity[t])

    def at(self, S: np.ndarray, S_of: np.ndarray, unknown: np.ndarray | None = None) -> None:
        """The state of the step from entropies S (n,) at its start with their slopes (thermal, n).

        unknown: shares of the variance of U that nobody knows (`fluid_heat.carried`); default none.

        Temperatures and pressures are those of the middle: half of the heat that the velocities at the start let
        expect is added first. (In a fast vortex a step heats by some per cent.)
        """
        radial = np.empty((2, len(self.u)))
        spline(self.u, self.layout.friction(self.theta), self.layout.knots, radial)
        self.S, self.S_of = S, S_of
        self.unknown = np.zeros(len(MODES)) if unknown is None else unknown
        self._state(S, S_of, radial)
        expected, expected_of = expected_heat(self)
        half, half_of, _ = conducted(self, self.T, self.T_of, 0.5 * expected, 0.5 * self.dt)
        half_of += 0.5 * expected_of
        self.risen = half / self.T
        self.start = self.T, self.T_of
        self._state(S + self.risen, S_of + half_of / self.T - self.risen * self.T_of / self.T, radial)
        push = self._push(self.V, self.state)
        forces = np.empty((len(push), self.n, self.dim))
        sums.pressure_forces(*self.ends, self.slope, push, forces)
        self.F, self.F_of = forces[0], forces[1:]
        self.unseen = np.zeros(0)
        share = share_unknown(self.unknown)
        if share > 0 and self.theta[1] > 0:
            self.unseen = share * self.state.softness * (self.dt * self.V * self.theta[2] * self.T) ** 2

    def _state(self, S: np.ndarray, S_of: np.ndarray, radial: np.ndarray) -> None:
        """State of every particle and friction of every pair at entropies S; radial: A², B² (2, pairs)."""
        i, j, _ = self.ends
        state = gas_state(self.theta[:6], S, self.V, self.layout.volume)
        self.middle, self.middle_of, self.state = S, S_of, state
        self.T_of = state.T_S * S_of
        self.T_of[:6] += state.T_of
        T, Ti, Tj = state.T, state.T[i], state.T[j]
        self.mean_beta = 0.5 * (1 / Ti + 1 / Tj)
        self.psi = np.ones_like(Ti)
        if self.layout.power:
            self.psi = self.V[i] * self.V[j] / self.mean_beta
            self.psi /= 1.0 + 0.25 * (state.softness[i] + state.softness[j])
        D = self.dim
        self.across = 0.5 * radial[0] * self.psi
        self.along = (radial[0] * (1 - 1 / D) + radial[1] / D) * self.psi
        self.rub = self.across * self.mean_beta, self.along * self.mean_beta
        self.T = T

    def _push(self, V: np.ndarray, state: GasState) -> np.ndarray:
        """P V² of every particle and its slopes in the thermal numbers, (1 + thermal, n)."""
        P_of = state.P_S * self.middle_of
        P_of[:6] += state.P_of
        return np.concatenate([state.P[None], P_of]) * V**2

    def stiffness(self) -> np.ndarray:
        """-∇·F and its slopes in the thermal numbers, (1 + thermal,).

        Positions of the step hold (v' - v) dt/6, so log det ∂R/∂v' has the term -∇·F dt²/6m.
        """
        a, b = sums.stiffnesses(*self.ends, self.slope, self.bend, self.n)
        tiny = 1e-4
        high, low = (self._push(V, gas_state(self.theta[:6], self.middle, V, self.layout.volume))
                     for V in (self.V * (1 + tiny), self.V * (1 - tiny)))
        # d = 1/V, so dp/dd = -V dp/d ln V
        return self._push(self.V, self.state) @ a - (high - low) / (2 * tiny) @ (self.V * b)

    def residual(self) -> np.ndarray:
        """x = C⁻¹ R, (n, dim), C the covariance of R."""
        R = self.momentum - self.dt * self.F
        sums.scatter(*self.ends, self.dt * self.rub[0], self.dt * self.rub[1], self.pairs.w, R)
        self.R = R - R.mean(axis=0)
        return self._solve(self.R)

    def _solve(self, right: np.ndarray) -> np.ndarray:
        two = 2 * self.dt
        return sums.solve(*self.ends, two * self.across, two * self.along, self.slope, self.unseen, right, TOLERANCE)

    def probes(self, rng: np.random.Generator) -> list[np.ndarray]:
        """C⁻¹ of draws of what the model itself does."""
        normals = rng.standard_normal((PROBES, len(self.u), self.dim))
        out = np.empty((PROBES, self.n, self.dim))
        sums.draws(*self.ends, 2 * self.dt * self.across, 2 * self.dt * self.along, normals, out)
        if len(self.unseen):
            pushes = np.empty_like(out)
            sums.pressure_forces(*self.ends, self.slope, np.sqrt(self.unseen) * rng.standard_normal((PROBES, self.n)),
                                 pushes)
            out += pushes
        return [self._solve(draw) for draw in out]

    def score(self, x: np.ndarray, y: list[np.ndarray]) -> np.ndarray:
        """Slope of the log-likelihood of this step in every number."""
        dt, dim, m = self.dt, self.dim, self.layout.mass
        noise = dt * (sums.quadratic(*self.ends, x, x)
                      - np.mean([sums.quadratic(*self.ends, z, z) for z in y], axis=0))
        per_L = -dt * sums.mixed(*self.ends, x, self.pairs.w)
        trace = np.array([[dim - 1.0], [1.0]])
        bent = sums.traces(*self.ends, *self.rub, self.n)
        # slopes of log det(1 + dt L/2m) = tr X - tr X²/2 in the two numbers of a pair
        per_L += dt / m * trace - (dt / (2 * m)) ** 2 * bent
        total = noise + self.mean_beta * per_L
        out = self._friction(total)
        K = np.stack([self.across, self.along])
        by_K, by_beta = (K * total).sum(0), (K * per_L).sum(0)
        ln_K, beta = self.pair_slopes()
        out[:self.layout.thermal] = ln_K @ by_K + beta @ by_beta + dt * np.einsum("nc,knc->k", x, self.F_of)
        out[:self.layout.thermal] += dt * dt / (6 * m) * self.stiffness()[1:]
        if len(self.unseen):
            felt = self.pulled(x) ** 2 - np.mean([self.pulled(z) ** 2 for z in y], axis=0)
            out[:self.layout.thermal] += 0.5 * self._unseen_slopes() @ felt
        return out

    def pulled(self, x: np.ndarray) -> np.ndarray:
        """Slope of x·F in P V² of every particle, (n,)."""
        pull = np.zeros(self.n)
        sums.pulls(*self.ends, self.slope, x, pull)
        return pull

    def _unseen_slopes(self) -> np.ndarray:
        """Slopes of `unseen` in the thermal numbers (of `unknown` left out), (thermal, n)."""
        state = self.state
        soft_of = state.softness_S * self.middle_of
        soft_of[:6] += state.softness_of
        ln_of = soft_of / state.softness + 2.0 * self.T_of / state.T
        ln_of[2] += 2.0 / max(self.theta[2], 1e-9)
        return ln_of * self.unseen

    def pair_slopes(self) -> tuple[np.ndarray, np.ndarray]:
        """Slopes of ln K and of the mean 1/T of every pair in the thermal numbers, (thermal, pairs) each."""
        i, j, _ = self.ends
        beta = -0.5 * (self.T_of[:, i] / self.T[i] ** 2 + self.T_of[:, j] / self.T[j] ** 2)
        if not self.layout.power:
            return np.zeros_like(beta), beta
        soft = self.state.softness
        soft_of = self.state.softness_S * self.middle_of
        soft_of[:6] += self.state.softness_of
        unresolved = -0.25 * (soft_of[:, i] + soft_of[:, j]) / (1.0 + 0.25 * (soft[i] + soft[j]))
        return unresolved - beta / self.mean_beta, beta

    def _friction(self, total: np.ndarray) -> np.ndarray:
        """Sums over pairs of weights for (across, along), turned into slopes in the coefficients of A², B²."""
        layout, D = self.layout, self.dim
        weights = np.stack([0.5 * total[0] + (1 - 1 / D) * total[1], total[1] / D]) * self.psi
        sheet = np.zeros((2, layout.knots + 3))
        spline_sums(self.u, weights, layout.knots, sheet)
        out = np.zeros(layout.size)
        out[layout.thermal:] = sheet.ravel()
        return out

    def information(self, y: np.ndarray) -> np.ndarray:
        """Expected information of this step, from ∂R and from ∂C with one probe."""
        layout, dt = self.layout, self.dt
        count = layout.size
        mean, spread = np.zeros((count, self.n, self.dim)), np.zeros((count, self.n, self.dim))
        ln_K, beta = self.pair_slopes()
        pushed = np.zeros((layout.thermal, self.n, self.dim))
        if len(self.unseen):
            sums.pressure_forces(*self.ends, self.slope, self._unseen_slopes() * self.pulled(y), pushed)
        for k in range(count):
            if not layout.active[k]:
                continue
            if k < layout.thermal:
                mean[k] = -dt * self.F_of[k]
                a, b = self.across * ln_K[k], self.along * ln_K[k]
                La, Lb = self.mean_beta * a + beta[k] * self.across, self.mean_beta * b + beta[k] * self.along
            else:
                a, b = self._basis_pair(k)
                La, Lb = self.mean_beta * a, self.mean_beta * b
            sums.scatter(*self.ends, dt * La, dt * Lb, self.pairs.w, mean[k])
            sums.laplacian(*self.ends, 2 * dt * a, 2 * dt * b, y, spread[k])
            if k < layout.thermal:
                spread[k] += pushed[k]
        rows = np.flatnonzero(layout.active)
        back_mean, back_spread = np.zeros_like(mean), np.zeros_like(spread)
        for row in rows:
            back_mean[row], back_spread[row] = self._solve(mean[row]), self._solve(spread[row])
        flat = (count, -1)
        info = mean.reshape(flat) @ back_mean.reshape(flat).T + 0.5 * spread.reshape(flat) @ back_spread.reshape(flat).T
        return 0.5 * (info + info.T)

    def _basis_pair(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        """(across, along) of the pairs for the k-th number alone, a coefficient of A² or B²."""
        layout, D = self.layout, self.dim
        one = np.zeros(layout.size)
        one[k] = 1.0
        radial = np.empty((2, len(self.u)))
        spline(self.u, layout.friction(one), layout.knots, radial)
        return 0.5 * radial[0] * self.psi, (radial[0] * (1 - 1 / D) + radial[1] / D) * self.psi
