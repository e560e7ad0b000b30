"""One step of a fluid whose entropy nobody sees: residual, score, information, and entropy carried on.

Formulas and reasons are in `vid2dyn.inference.fluid_score`.
"""

from __future__ import annotations

import math

import numpy as np

from vid2dyn.dynamics.gas import gas_state
from vid2dyn.inference import _fluid_sums as sums
from vid2dyn.inference.fluid_numbers import Layout
from vid2dyn.inference.fluid_steps import FluidSteps

PROBES = 2
"""Draws of the model's own noise for the slope of the log determinant."""
TOLERANCE = 1e-6
"""Of conjugate gradients: their rounding, not this, is what relabelling changes."""
SHARE = 0.25
"""Largest share of a temperature difference that one substep of conduction may carry."""


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
        self.d = sums.density(pairs.first, pairs.second, weight, norm, data.n)
        self.V = 1.0 / self.d
        self.u = s * s
        self.momentum = layout.mass * (data.velocity[t + 1] - data.velocity[t])

    def at(self, S: np.ndarray, S_of: np.ndarray) -> None:
        """The state of the step at entropies S (n,) with their slopes (thermal, n)."""
        layout, theta = self.layout, self.theta
        i, j, _ = self.ends
        state = gas_state(theta[:6], S, self.V, layout.volume)
        self.S, self.S_of, self.state = S, S_of, state
        self.T_of, self.P_of = state.T_S * S_of, state.P_S * S_of
        self.T_of[:6] += state.T_of
        self.P_of[:6] += state.P_of
        push = np.concatenate([(state.P * self.V**2)[None], self.P_of * self.V**2])
        forces = np.empty((len(push), self.n, self.dim))
        sums.pressure_forces(*self.ends, self.slope, push, forces)
        self.F, self.F_of = forces[0], forces[1:]
        T, Ti, Tj = state.T, state.T[i], state.T[j]
        self.mean_beta = 0.5 * (1 / Ti + 1 / Tj)
        self.psi = np.ones_like(Ti)
        if layout.power:
            self.psi = self.V[i] * self.V[j] / self.mean_beta
            self.psi /= 1.0 + 0.25 * (state.softness[i] + state.softness[j])
        radial = np.empty((2, len(Ti)))
        sums.spline(self.u, layout.friction(theta), layout.knots, radial)
        D = self.dim
        self.across = 0.5 * radial[0] * self.psi
        self.along = (radial[0] * (1 - 1 / D) + radial[1] / D) * self.psi
        self.rub = self.across * self.mean_beta, self.along * self.mean_beta
        self.T = T

    def residual(self) -> np.ndarray:
        """x = (2 dt N)⁻¹ R, (n, dim)."""
        R = self.momentum - self.dt * self.F
        sums.scatter(*self.ends, self.dt * self.rub[0], self.dt * self.rub[1], self.pairs.w, R)
        self.R = R - R.mean(axis=0)
        return self._solve(self.R)

    def _solve(self, right: np.ndarray) -> np.ndarray:
        return sums.solve(*self.ends, 2 * self.dt * self.across, 2 * self.dt * self.along, right, TOLERANCE)

    def probes(self, rng: np.random.Generator) -> list[np.ndarray]:
        """(2 dt N)⁻¹ of draws of the model's own noise."""
        normals = rng.standard_normal((PROBES, len(self.u), self.dim))
        out = np.empty((PROBES, self.n, self.dim))
        sums.draws(*self.ends, 2 * self.dt * self.across, 2 * self.dt * self.along, normals, out)
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
        ln_K, beta = self._pair_slopes()
        out[:self.layout.thermal] = ln_K @ by_K + beta @ by_beta + dt * np.einsum("nc,knc->k", x, self.F_of)
        return out

    def _pair_slopes(self) -> tuple[np.ndarray, np.ndarray]:
        """Slopes of ln K and of the mean 1/T of every pair in the thermal numbers, (thermal, pairs) each."""
        i, j, _ = self.ends
        beta = -0.5 * (self.T_of[:, i] / self.T[i] ** 2 + self.T_of[:, j] / self.T[j] ** 2)
        if not self.layout.power:
            return np.zeros_like(beta), beta
        soft = self.state.softness
        soft_of = self.state.softness_S * self.S_of
        soft_of[:6] += self.state.softness_of
        unresolved = -0.25 * (soft_of[:, i] + soft_of[:, j]) / (1.0 + 0.25 * (soft[i] + soft[j]))
        return unresolved - beta / self.mean_beta, beta

    def _friction(self, total: np.ndarray) -> np.ndarray:
        """Sums over pairs of weights for (across, along), turned into slopes in the coefficients of A², B²."""
        layout, D = self.layout, self.dim
        weights = np.stack([0.5 * total[0] + (1 - 1 / D) * total[1], total[1] / D]) * self.psi
        sheet = np.zeros((2, layout.knots + 3))
        sums.spline_sums(self.u, weights, layout.knots, sheet)
        out = np.zeros(layout.size)
        out[layout.thermal:] = sheet.ravel()
        return out

    def information(self, y: np.ndarray) -> np.ndarray:
        """Expected information of this step, from ∂R and from ∂N with one probe."""
        layout, dt = self.layout, self.dt
        count = layout.size
        mean, spread = np.zeros((count, self.n, self.dim)), np.zeros((count, self.n, self.dim))
        ln_K, beta = self._pair_slopes()
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
        sums.spline(self.u, layout.friction(one), layout.knots, radial)
        return 0.5 * radial[0] * self.psi, (radial[0] * (1 - 1 / D) + radial[1] / D) * self.psi

    def carried(self, x: np.ndarray, unknown: float) -> tuple[np.ndarray, np.ndarray, float]:
        """S and its slopes after the step, and the share of the variance of U that is then unknown."""
        dt, state = self.dt, self.state
        w2 = sums.squares(*self.ends, self.pairs.w)
        xw = sums.mixed(*self.ends, x, self.pairs.w)
        work = 0.5 * dt * (self.rub[0] * w2[0] + self.rub[1] * w2[1]) \
            - dt * (self.across * xw[0] + self.along * xw[1])
        i, j, _ = self.ends
        heat = np.bincount(i, work, self.n) + np.bincount(j, work, self.n)
        heat, heat_of, evened = self._conducted(heat)
        seen, seen_of, unknown = self._seen(x, unknown)
        T, soft = state.T, state.softness
        gain = (heat + seen) / T
        S = self.S + gain * (1.0 - 0.5 * soft * gain)
        S_of = self.S_of + (heat_of + seen_of) / T - gain * self.T_of / T
        return S, S_of, 1.0 - (1.0 - unknown) * np.exp(-2.0 * evened)

    def _seen(self, x: np.ndarray, unknown: float) -> tuple[np.ndarray, np.ndarray, float]:
        """What the step says, by pressure, of the heat that nobody saw: a Kalman update of U.

        U_i has the variance unknown · c T² (its own at given total energy, times the share that is not known), so
        with ℓ_i = ∂ log p/∂ ln T_i, δU_i = unknown T_i ℓ_i; the total stays. The mean of ℓ² is its information.
        """
        state = self.state
        if not self.theta[1] > 0:
            return np.zeros(self.n), np.zeros_like(self.S_of), unknown
        pull = np.zeros(self.n)
        sums.pulls(*self.ends, self.slope, x, pull)
        felt = self.dt * self.V * self.theta[2] * state.T * pull
        known = float((felt * felt).mean())
        heat = unknown * state.T * felt
        ln_of = 2.0 * self.T_of / state.T
        ln_of[2] += 1.0 / max(self.theta[2], 1e-9)
        heat_of = heat * ln_of
        soft = float(state.softness.mean())
        return heat - heat.mean(), heat_of - heat_of.mean(axis=1, keepdims=True), unknown / (1 + unknown * soft * known)

    def _conducted(self, heat: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        """Heat of friction with that of conduction, the slopes of the latter, and the mean of rate times dt."""
        layout, theta = self.layout, self.theta
        heat_of = np.zeros_like(self.S_of)
        if not layout.conducts:
            return heat, heat_of, 0.0
        i, j, _ = self.ends
        flow = (1.0 - self.u) ** 2
        if layout.power:
            flow = flow * self.V[i] * self.V[j]
        kappa = theta[6]
        rate = kappa * (np.bincount(i, flow, self.n) + np.bincount(j, flow, self.n)) * self.state.softness
        if not layout.power:
            rate = rate / self.T**2
        parts = max(1, math.ceil(self.dt * float(rate.max()) / SHARE))
        out, slope = np.empty(self.n), np.empty_like(heat_of)
        T, T_of = self.T.copy(), self.T_of.copy()
        for _ in range(parts):
            sums.conduct(i, j, flow, T, T_of, layout.power, out, slope)
            step = kappa * self.dt / parts
            change, change_of = step * out, step * slope
            change_of[6] += self.dt / parts * out
            heat, heat_of = heat + change, heat_of + change_of
            T = T + self.state.softness * change
            T_of = T_of + self.state.softness * change_of
        return heat, heat_of, self.dt * float(rate.mean())
