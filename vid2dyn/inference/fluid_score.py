"""Likelihood of the observed velocities of a fluid whose entropy nobody sees: score, information, carried entropy.

One step of dt, Crank-Nicolson in friction (the rollout's step (b)): with v̄ = (v + v')/2, the forces F and the
Laplacians of friction L = Lap[(1/T_i + 1/T_j)/2 K] and of noise N = Lap[K] at the state of the step,

    R = m (v' - v) - F dt + dt L v̄,     R ~ Normal(0, 2 dt N),
    -log p(v'|...) = 1/2 Rᵀ (2 dt N)⁻¹ R + 1/2 log det(2 dt N) - log det(m + dt L/2).

The last term is the Jacobian ∂R/∂v', to second order in dt L/2m (the next is below 1e-4 of it). The covariance is the
full sparse one: with x = (2 dt N)⁻¹ R by conjugate gradients and y the same for draws R' of the model itself (fixed
for every step, so the score is a smooth function), the slope in any number θ is

    -x·∂R + dt [x·∂N x - mean y·∂N y] + ∂ log det(m + dt L/2),

since the mean of y·∂N y is the slope of the log determinant. Cost: a few conjugate gradients a step.

Entropy is latent. It starts from the encoder and is carried from step to step by its conditional mean given what was
seen. The impulse of a pair, given R, has the mean 2 dt K x_ij - dt L_ij v̄_ij, and half of the work it takes from the
motion warms each of its two particles, so the kinetic energy lost is the heat gained, exactly; conduction adds its
mean; S' = S + dU/T - (T_S/T) dU²/2T². The slopes of S in every number are carried along, so the score is that of the
whole recursion (but for the slope of the split over pairs, whose sum is known). Nothing pulls S towards anything it
predicts of itself: it acts only through T and P on what is seen.

What is not resolved: conduction has noise that nobody sees, so U_i fluctuates about its carried mean, by c T² in
equilibrium. A particle that is hotter than that mean pushes harder: every step tells a little of it, by a Kalman update
of U with that variance times the share not yet known (a scalar for all, relaxing by conduction). Without the update the
pressure would look up to 10 % too soft, since hot particles expand. The fluctuations also act on the mean of N, as
1/(1 + p/2c) to first order in 1/c, with the power p of temperature in K, and kB ∇·M acts as the same factor on L: both get it.

Nothing in S depends on the order of the particles, on directions or on random numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from vid2dyn.dynamics.gas import gas_state
from vid2dyn.inference import _fluid_sums as sums
from vid2dyn.inference.fluid_numbers import Layout
from vid2dyn.inference.fluid_steps import FluidSteps, StepPairs

PROBES = 2
TOLERANCE = 1e-6
"""Of conjugate gradients: their rounding, not this, is what relabelling changes."""
DENSE = 2400
"""Coordinates up to which log-likelihoods are of the full covariance."""
SHARE = 0.25
"""Largest share of a temperature difference that one substep of conduction may carry."""


@dataclass(frozen=True, eq=False)
class Sweep:
    """What one pass over a trajectory gives.

    score : (steps, numbers) slope of the log-likelihood; information : (numbers, numbers), of all steps;
    entropy : (steps + 1, n) carried; chi2 : (steps,) Rᵀ(2 dt N)⁻¹R over its expectation.
    log_likelihood : (steps,) with the log determinants, NaN where not asked for; exact for up to `DENSE` coordinates,
    beyond that the product of the marginals of the particles.
    """

    score: np.ndarray
    information: np.ndarray
    entropy: np.ndarray
    chi2: np.ndarray
    log_likelihood: np.ndarray | None = None


def sweep(data: FluidSteps, theta: np.ndarray, layout: Layout, start: np.ndarray, *, slopes: bool = True,
          information_every: int = 0, likelihood_from: int | None = None, seed: int = 0,
          until: int | None = None) -> Sweep:
    """One pass.

    Parameters
    ----------
    data : FluidSteps
    theta : (numbers,) array
        In the order of `layout`.
    start : (n,) array
        σ = S - n ln(V/V0) of every particle before the first step (from the encoder).
    slopes : bool
        Whether the score is wanted (else only entropy is carried).
    information_every : int
        Steps between those whose Fisher information is worked out (and counted for the others); 0: none.
    likelihood_from : int, optional
        First step whose log-likelihood is wanted as well; see `Sweep`.
    until : int, optional
        Steps to take; default all.
    """
    steps = data.count if until is None else until
    score = np.zeros((steps, layout.size))
    information = np.zeros((layout.size, layout.size))
    chi2, loglik = np.zeros(steps), None if likelihood_from is None else np.full(steps, np.nan)
    entropy = np.zeros((steps + 1, data.n))
    S: np.ndarray | None = None
    S_of, unknown = np.zeros((layout.thermal, data.n)), 1.0
    for t in range(steps):
        frame = _Frame(data, t, theta, layout)
        if S is None:
            S = start + theta[7] + theta[2] * np.log(frame.V / layout.volume)
            S_of[2], S_of[7] = np.log(frame.V / layout.volume), 1.0
            entropy[0] = S
        frame.at(S, S_of)
        x = frame.residual()
        chi2[t] = (x * frame.R).sum() / max(1, frame.R.size - data.dim)
        if slopes:
            y = frame.probes(np.random.default_rng([seed, data.first_frame + t]))
            score[t] = frame.score(x, y)
            if information_every and t % information_every == information_every // 2:
                information += frame.information(y[0])
        if loglik is not None and t >= likelihood_from:  # type: ignore[operator]
            loglik[t] = frame.log_likelihood(x)
        S, S_of, unknown = frame.carried(x, unknown)
        entropy[t + 1] = S
    if information_every:
        taken = len(range(information_every // 2, steps, information_every))
        information *= steps / max(1, taken)
    return Sweep(score, information, entropy, chi2, loglik)


class _Frame:
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

    def log_likelihood(self, x: np.ndarray) -> float:
        """Log-likelihood of the step, of the motion relative to the centre of mass."""
        n, D, dt = self.n, self.dim, self.dt
        if n * D > DENSE:
            return self._marginal()
        noise = dense(self.pairs, 2 * dt * self.across, 2 * dt * self.along, n)
        rub = dense(self.pairs, 0.5 * dt * self.rub[0], 0.5 * dt * self.rub[1], n)
        size = float(np.trace(noise)) / len(noise)
        # the total momentum, which nothing changes, is given the variance `size` and taken out again
        common = np.kron(np.ones((n, n)) / n, np.eye(D)) * size
        # alone, a particle has no noise: it does not move by chance, and says nothing
        alone = np.flatnonzero(np.diag(noise) <= 0)
        noise[alone, alone] = 1.0
        logdet = 2 * np.log(np.diag(np.linalg.cholesky(noise + common))).sum() - D * np.log(size)
        rub[np.diag_indices(n * D)] += self.layout.mass
        jacobian = 2 * np.log(np.diag(np.linalg.cholesky(rub))).sum() - D * np.log(self.layout.mass)
        return float(-0.5 * (x * self.R).sum() - 0.5 * logdet + jacobian
                     - 0.5 * (n - 1) * D * np.log(2 * np.pi))

    def _marginal(self) -> float:
        """The same with the marginals of the particles: their covariances with neighbours are left out."""
        n, D, dt, m = self.n, self.dim, self.dt, self.layout.mass
        block = sums.blocks(*self.ends, 2 * dt * self.across, 2 * dt * self.along, n)
        felt = np.trace(block, axis1=1, axis2=2) > 0
        white = np.linalg.solve(block[felt], self.R[felt][:, :, None])[:, :, 0]
        quadratic = float((white * self.R[felt]).sum())
        bent = sums.traces(*self.ends, *self.rub, n)
        X = dt / m * float(((D - 1) * self.rub[0] + self.rub[1]).sum())
        XX = (dt / (2 * m)) ** 2 * float((self.rub[0] * bent[0] + self.rub[1] * bent[1]).sum())
        logdet = float(np.linalg.slogdet(block[felt])[1].sum())
        return -0.5 * quadratic - 0.5 * logdet + X - 0.5 * XX + felt.sum() * D * (np.log(m) - 0.5 * np.log(2 * np.pi))


def dense(pairs: StepPairs, across: np.ndarray, along: np.ndarray, n: int) -> np.ndarray:
    """The Laplacian as a matrix (n dim, n dim), particles slowest."""
    D = pairs.e.shape[1]
    block = across[:, None, None] * np.eye(D) + (along - across)[:, None, None] \
        * pairs.e[:, :, None] * pairs.e[:, None, :]
    out: Any = np.zeros((n, D, n, D))
    i, j = pairs.first, pairs.second
    out[i, :, j, :] -= block
    out[j, :, i, :] -= block
    diagonal = -out.sum(axis=2)
    out[np.arange(n), :, np.arange(n), :] += diagonal
    return out.reshape(n * D, n * D)
