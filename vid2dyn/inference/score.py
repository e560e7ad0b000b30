"""Likelihood of the observed velocities of a fluid whose entropy nobody sees: score, information, carried entropy.

One step of dt, Crank-Nicolson in friction (the rollout's step (b)): with v̄ = (v + v')/2, the forces F and the
Laplacians of friction L = Lap[(1/T_i + 1/T_j)/2 K] and of noise N = Lap[K] at the state of the step,

    R = m (v' - v) - F dt + dt L v̄,     R ~ Normal(0, C),     C = 2 dt N + dt² H Var(U) Hᵀ,     H = ∂F/∂U,
    -log p(v'|...) = 1/2 Rᵀ C⁻¹ R + 1/2 log det C - log det(m + dt L/2) + dt² ∇·F/6m.

The last two terms are the Jacobian ∂R/∂v' (the first to second order in dt L/2m; the next is below 1e-4 of it). The
covariance is the full sparse one: with x = C⁻¹ R by conjugate gradients and y the same for draws R' of the model itself
(fixed for every step, so the score is a smooth function), the slope in any number θ is

    -x·∂R + [x·∂C x - mean y·∂C y]/2 + ∂ log det(∂R/∂v'),

since the mean of y·∂C y is the slope of the log determinant. Cost: a few conjugate gradients a step.

Three things of order dt in a step, each of which bends what is learned by 1-3 % if left out (at the defaults of the
simulated gas): forces are those of the mean place over the step given both velocities (`steps`); temperatures and
pressures are those of the middle, with half of the heat to be expected (`step.evaluate_state`); and pressures that
nobody saw add to the noise (the second term of C).

Entropy is latent. It starts from the encoder and is carried from step to step by its conditional mean given what was
seen. The impulse of a pair, given R, has the mean 2 dt K x_ij - dt L_ij v̄_ij, and half of the work it takes from the
motion warms each of its two particles, so the kinetic energy lost is the heat gained, exactly; conduction adds its
mean; S' = S + ∫dU/T. The slopes of S in every number are carried along, so the score is that of the whole recursion
(but for the slopes of the split over pairs, whose sum is known, and of the gain of the filter below). Nothing pulls S
towards anything it predicts of itself: it acts only through T and P on what is seen.

What is not resolved: conduction has noise that nobody sees, so U_i fluctuates about its carried mean, by c T² in
equilibrium. A particle that is hotter than that mean pushes harder and shakes its neighbours harder: every step tells a
little of it, by a Kalman update of U (`entropy_filter`). It has to be right: a filter with one gain for all patterns of
temperature leaves errors that go with compression, 1 % of the force of friction, and T comes out 1.6 % low and heat
conduction 4-10 % high. So its uncertainty is followed for smooth and for rough patterns. The fluctuations also act on
the mean of N, as 1/(1 + p/2c) to first order in 1/c, with the power p of temperature in K, and kB ∇·M acts as the same
factor on L: both get it.

With all this the score at the true numbers has no bias that eight vortices of 300 steps would show
(tests/cases/test_ideal_gas_figures.py).

Particles whose noise remembers are read in windows of several steps (`fluid_window`, `FluidSteps.frames`): what is
said above of a step is then that of a window, but for heat, which goes from frame to frame.

Nothing in S depends on the order of the particles, on directions or on random numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from vid2dyn.dynamics.fluid.numbers import FluidNumbers
from vid2dyn.inference.density import log_likelihood
from vid2dyn.inference.entropy_filter import carry_entropy, observed_heat
from vid2dyn.inference.fluid_window import FluidWindow
from vid2dyn.inference.geometry import StepGeometry
from vid2dyn.inference.step import MODES, StepState, evaluate_state, share_unknown
from vid2dyn.inference.steps import FluidSteps


@dataclass(frozen=True, eq=False)
class Sweep:
    """What one pass over a trajectory gives.

    Windows are single steps, or as many as `FluidSteps.frames` says.
    score : (windows, numbers) slope of the log-likelihood; information : (numbers, numbers), of all windows;
    entropy : (steps + 1, n) conditional mean of S given what was seen before; chi2 : (windows,) RᵀC⁻¹R over its
    expectation.
    log_likelihood : (windows,) with the log determinants, NaN where not asked for; exact for up to `density.DENSE`
    coordinates, beyond that the product of the marginals of the particles.
    noise : length of windows -> (windows,) array, |sum of R|² over its expectation were the noise of all steps
    independent; friction : Γ of a particle in the model [mass/s], mean of all steps; both for `windows` of `sweep`.
    """

    score: np.ndarray
    information: np.ndarray
    entropy: np.ndarray
    chi2: np.ndarray
    log_likelihood: np.ndarray | None = None
    noise: dict[int, np.ndarray] = field(default_factory=dict)
    friction: float = float("nan")


@dataclass(eq=False)
class WindowSums:
    """R summed up over windows, and what its square is expected to be."""

    total: np.ndarray
    expected: float = 0.0
    ratios: list[float] = field(default_factory=list)

    def add(self, R: np.ndarray, size: float, last: bool) -> None:
        """One step; `last`: of its window."""
        self.total += R
        self.expected += size
        if last:
            self.ratios.append(float((self.total**2).sum()) / max(self.expected, 1e-300))
            self.total[:], self.expected = 0.0, 0.0


def sweep(data: FluidSteps, numbers: FluidNumbers, start: np.ndarray, *, slopes: bool = True,
          information_every: int = 0, likelihood_of: range | None = None, seed: int = 0,
          until: int | None = None, windows: tuple[int, ...] = ()) -> Sweep:
    """One pass.

    Parameters
    ----------
    data : FluidSteps
    numbers : FluidNumbers
    start : (n,) array
        σ = S - n ln(V/V0) of every particle before the first step (from the encoder).
    slopes : bool
        Whether the score is wanted (else only entropy is carried).
    information_every : int
        Windows between those whose Fisher information is worked out (and counted for the others); 0: none.
    likelihood_of : range, optional
        Windows whose log-likelihood is wanted as well; see `Sweep`.
    seed : int
        Of the draws of the model's own noise.
    until : int, optional
        Steps to take; default all.
    windows : tuple of int
        Numbers of steps over which R is summed up, to see whether its noise remembers.
    """
    layout, steps = numbers.layout, data.count if until is None else until
    frames, shown = data.frames, data.shown
    count = steps // frames
    score = np.zeros((count, layout.size))
    information = np.zeros((layout.size, layout.size))
    chi2, loglik = np.zeros(count), None if likelihood_of is None else np.full(count, np.nan)
    entropy = np.zeros((steps + 1, data.n))
    together: list[StepState] = []
    residuals: list[np.ndarray] = []
    S: np.ndarray | None = None
    # S is concave in U, whose variance is unknown · c T²: the mean of S is that much below S of the mean energy
    blur = 0.5 if numbers.softness > 0 else 0.0
    S_of, unknown = np.zeros((layout.thermal, data.n)), np.ones(len(MODES))
    friction = 0.0 if windows else float("nan")
    left = {k: WindowSums(np.zeros((data.n, data.dim))) for k in windows}
    for t in range(steps):
        geometry = StepGeometry.of(data, t, layout)
        if S is None:
            expansion = np.log(geometry.volume / layout.volume)
            S, S_of = numbers.entropy_at(start, expansion)
            entropy[0] = S - blur * share_unknown(unknown)
        state = evaluate_state(geometry, numbers, S, S_of, unknown)
        R = state.residual()
        together.append(state)
        residuals.append(R)
        if windows:
            across, along = state.middle.friction
            friction += 2.0 * float(((data.dim - 1) * across + along).sum()) / (data.n * data.dim * steps)
        for k, so_far in left.items():
            so_far.add(R, state.total_momentum()[1] * data.dim, (t + 1) % k == 0)
        seen = None
        # heat is that of the motion from frame to frame
        x = FluidWindow((state,), R).solve(R)
        if len(together) == frames:
            w, window = t // frames, FluidWindow(tuple(together), np.sum(residuals, axis=0), shown)
            whole = x if frames == 1 and shown == 1.0 else window.solve(window.residual)
            chi2[w] = (whole * window.residual).sum() / max(1, R.size - data.dim)
            if slopes:
                y = window.probes(np.random.default_rng([seed, data.first_frame + t + 1 - frames]))
                score[w] = window.score(whole, y)
                if information_every and w % information_every == information_every // 2:
                    information += window.information(y[0])
            if likelihood_of is not None and loglik is not None and w in likelihood_of:
                loglik[w] = log_likelihood(window, whole)
            seen = observed_heat(window, whole)
            together, residuals = [], []
        S, S_of, unknown = carry_entropy(state, x, seen)
        entropy[t + 1] = S - blur * share_unknown(unknown)
    if information_every:
        taken = len(range(information_every // 2, count, information_every))
        information *= count / max(1, taken)
    return Sweep(score, information, entropy, chi2, loglik,
                 {k: np.array(one.ratios) for k, one in left.items()}, friction)
