"""One step of a fluid whose entropy nobody sees: its state, residual, and what it adds to score and information.

`vid2dyn.inference.fluid_window` sums steps up, `vid2dyn.inference.entropy_filter` carries entropy on. Formulas and
reasons are in `vid2dyn.inference.score`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from vid2dyn.dynamics.fluid.numbers import FluidNumbers, Thermal
from vid2dyn.dynamics.fluid.radial_splines import spline, spline_sums
from vid2dyn.inference import sums
from vid2dyn.inference.geometry import StepGeometry
from vid2dyn.inference.heat import UnusableNumbersError, conducted, entropy_gained, expected_heat
from vid2dyn.inference.local_state import LocalState

PROBES = 2
"""Draws of the model's own noise for the slope of the log determinant."""
FARTHEST = 1e60
"""Largest ratio of a temperature to that of the start."""
STEEPEST = 1e4
"""Largest slope of ln T in ln T0."""
TOLERANCE = 1e-6
"""Of conjugate gradients: their rounding, not this, is what relabelling changes."""
MODES = np.array([0.05, 0.3, 0.9, 1.5])
"""How fast patterns of temperature even out whose uncertainty is followed, in units of the mean rate of a particle.

Rough patterns come and go with conduction and hardly get known; smooth ones last, and get known in the end.
"""


def share_unknown(unknown: np.ndarray) -> float:
    """Of the variance of one particle's U, of the shares of MODES: most modes are nearly as fast as the mean."""
    return float(0.1 * unknown[1] + 0.9 * unknown[2])


@dataclass(frozen=True, eq=False)
class StepState:
    """One step at given entropies, made by `evaluate_state`.

    Parameters
    ----------
    geometry : StepGeometry
    numbers : FluidNumbers
    start, middle : LocalState
        At the entropies of the start, and at those that half of the expected heat makes of them: temperatures,
        pressures and friction of the step are those of the middle.
    entropy_rise : (n,) array
        S of the middle over S of the start.
    forces : (n, dim) array
        Of pressure and of further energies.
    force_slopes : (thermal, n, dim) array
        Slopes of the forces in the thermal numbers.
    unknown : (modes,) array
        Shares of the variance of U, of MODES, that nobody knows.
    pressure_variance : (n,) array
        Variance of the impulse of pressures that nobody saw; empty where there is none.
    """

    geometry: StepGeometry
    numbers: FluidNumbers
    start: LocalState
    middle: LocalState
    entropy_rise: np.ndarray
    forces: np.ndarray
    force_slopes: np.ndarray
    unknown: np.ndarray
    pressure_variance: np.ndarray

    def stiffness(self) -> np.ndarray:
        """-∇·F and its slopes in the thermal numbers, (1 + thermal,).

        Positions of the step hold (v' - v) dt/6, so log det ∂R/∂v' has the term -∇·F dt²/6m.
        """
        geometry, middle = self.geometry, self.middle
        V = geometry.volume
        a, b = sums.stiffnesses(*geometry.ends, geometry.slope, geometry.bend, geometry.n)
        tiny = 1e-4
        high, low = (middle.pressure_impulses(v, self.numbers.state(middle.S, v))
                     for v in (V * (1 + tiny), V * (1 - tiny)))
        # d = 1/V, so dp/dd = -V dp/d ln V
        found = middle.pressure_impulses(V, middle.gas) @ a - (high - low) / (2 * tiny) @ (V * b)
        if self.numbers.layout.forces:
            found[0] += self.numbers.further @ geometry.stiffness_slopes
        return found

    def residual(self) -> np.ndarray:
        """R relative to the centre of mass, (n, dim)."""
        geometry, (across, along) = self.geometry, self.middle.friction
        R = geometry.momentum - geometry.dt * self.forces
        sums.scatter(*geometry.ends, geometry.dt * across, geometry.dt * along, geometry.pairs.w, R)
        return geometry.balanced(R) if self.numbers.layout.forces else R - R.mean(axis=0)

    def total_momentum(self) -> tuple[np.ndarray, float]:
        """Change of momentum of all particles that the forces leave unexplained, (dim,), and a variance for it.

        Neither pair forces nor noise change it, so it says exactly what forces from outside do, but for the error of
        the step; taken for as uncertain as that of particles with independent noise it says enough.
        """
        geometry, middle = self.geometry, self.middle
        size = 4 * geometry.dt * float(((geometry.dim - 1) * middle.across + middle.along).sum()) / geometry.dim
        return (geometry.momentum - geometry.dt * self.forces).sum(axis=0), max(size, 1e-300)

    def score(self, x: np.ndarray, y: list[np.ndarray], window: int = 1, shown: float = 1.0) -> np.ndarray:
        """What the step adds to the slope of the log-likelihood in every number, of a window of so many steps that
        shows this share of the noise (`vid2dyn.inference.fluid_window`).

        x, y: C⁻¹ of the residual of the window and of draws of it. What pressures that nobody saw and the total
        momentum say belongs to the window.
        """
        geometry, middle, layout = self.geometry, self.middle, self.numbers.layout
        dt, dim, m = geometry.dt, geometry.dim, layout.mass
        noise = shown * dt * (sums.quadratic(*geometry.ends, x, x)
                              - np.mean([sums.quadratic(*geometry.ends, z, z) for z in y], axis=0))
        per_L = -dt * sums.mixed(*geometry.ends, x, geometry.pairs.w)
        trace = np.array([[dim - 1.0], [1.0]])
        bent = sums.traces(*geometry.ends, *middle.friction, geometry.n)
        # slopes of J; of one step of log det(1 + dt L/2m) = tr X/2 - tr X²/8, X = dt L/m, in the two numbers of a pair
        longer = (2.0 * window + 1.0 / window) / 3.0
        per_L += (dt / m * trace - longer * (dt / (2 * m)) ** 2 * bent) / shown
        total = noise + middle.inverse_temperature * per_L
        out = self._radial_slopes(total)
        K = np.stack([middle.across, middle.along])
        by_K, by_beta = (K * total).sum(0), (K * per_L).sum(0)
        ln_K, beta = middle.pair_slopes()
        out[:layout.thermal] = ln_K @ by_K + beta @ by_beta + dt * np.einsum("nc,knc->k", x, self.force_slopes)
        out[:layout.thermal] += window * dt * dt / (6 * m) * self.stiffness()[1:]
        if layout.forces:
            out[layout.further] = dt * np.einsum("nc,knc->k", x, geometry.force_slopes) \
                + window * dt * dt / (6 * m) * geometry.stiffness_slopes
        return out

    def pressure_slopes(self, x: np.ndarray) -> np.ndarray:
        """Slope of x·F in P V² of every particle, (n,)."""
        pull = np.zeros(self.geometry.n)
        sums.pulls(*self.geometry.ends, self.geometry.slope, x, pull)
        return pull

    def pressure_variance_slopes(self) -> np.ndarray:
        """Slopes of `pressure_variance` in the thermal numbers (of `unknown` left out), (thermal, n)."""
        middle = self.middle
        ln_of = middle.softness_slopes() / middle.gas.softness + 2.0 * middle.T_of / middle.T
        ln_of += 2.0 * middle.molecules_slopes()
        return ln_of * self.pressure_variance

    def _radial_slopes(self, total: np.ndarray) -> np.ndarray:
        """Sums over pairs of weights for (across, along), turned into slopes in the coefficients of A², B²."""
        layout, D = self.numbers.layout, self.geometry.dim
        weights = np.stack([0.5 * total[0] + (1 - 1 / D) * total[1], total[1] / D]) * self.middle.factor
        sheet = np.zeros((2, layout.coefficients))
        spline_sums(self.geometry.u, weights, layout.knots, sheet)
        out = np.zeros(layout.size)
        out[layout.radial] = sheet.ravel()
        return out

    def slopes(self, y: np.ndarray, shown: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
        """Slopes of R, and of C times y, in every number, (numbers, n, dim) each; without pressures that nobody saw."""
        geometry, middle, layout = self.geometry, self.middle, self.numbers.layout
        dt, count = geometry.dt, layout.size
        shape = (count, geometry.n, geometry.dim)
        mean, spread = np.zeros(shape), np.zeros(shape)
        ln_K, beta = middle.pair_slopes()
        for k in range(count):
            if not layout.active[k]:
                continue
            if k >= layout.further.start:
                continue
            if k < layout.thermal:
                mean[k] = -dt * self.force_slopes[k]
                a, b = middle.across * ln_K[k], middle.along * ln_K[k]
                La = middle.inverse_temperature * a + beta[k] * middle.across
                Lb = middle.inverse_temperature * b + beta[k] * middle.along
            else:
                a, b = self._basis_pair(k)
                La, Lb = middle.inverse_temperature * a, middle.inverse_temperature * b
            sums.scatter(*geometry.ends, dt * La, dt * Lb, geometry.pairs.w, mean[k])
            sums.laplacian(*geometry.ends, 2 * shown * dt * a, 2 * shown * dt * b, y, spread[k])
        if layout.forces:
            mean[layout.further] = -dt * geometry.balanced(geometry.force_slopes)
        return mean, spread

    def _basis_pair(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        """(across, along) of the pairs for the k-th number alone, a coefficient of A² or B²."""
        layout, D, factor = self.numbers.layout, self.geometry.dim, self.middle.factor
        one = np.zeros(layout.size)
        one[k] = 1.0
        radial = _radial(self.geometry, self.numbers.at(one))
        return 0.5 * radial[0] * factor, (radial[0] * (1 - 1 / D) + radial[1] / D) * factor


def _radial(geometry: StepGeometry, numbers: FluidNumbers) -> np.ndarray:
    """A² and B² of every pair, (2, pairs)."""
    radial = np.empty((2, len(geometry.u)))
    spline(geometry.u, numbers.friction, numbers.layout.knots, radial)
    return radial


def evaluate_state(geometry: StepGeometry, numbers: FluidNumbers, S: np.ndarray, S_of: np.ndarray,
                   unknown: np.ndarray | None = None) -> StepState:
    """The state of a step from entropies S (n,) at its start with their slopes (thermal, n).

    unknown: shares of the variance of U that nobody knows (`entropy_filter.carry_entropy`); default none.

    Temperatures and pressures are those of the middle: half of the heat that the velocities at the start let expect is
    added first. (In a fast vortex a step heats by some per cent.)
    """
    radial = _radial(geometry, numbers)
    unknown = np.zeros(len(MODES)) if unknown is None else unknown
    start = LocalState.at(geometry, numbers, S, S_of, radial)
    _check_temperatures(start)
    expected, expected_of = expected_heat(start)
    half, half_of, _ = conducted(geometry, numbers, start.gas.softness, start.T, start.T_of, 0.5 * expected,
                                 0.5 * geometry.dt)
    half_of += 0.5 * expected_of
    rise = half / start.T
    rise = entropy_gained(rise, start.gas.softness, rise)
    middle = LocalState.at(geometry, numbers, S + rise, S_of + half_of / start.T - rise * start.T_of / start.T, radial)
    _check_temperatures(middle)
    push = middle.pressure_impulses(geometry.volume, middle.gas)
    forces = np.empty((len(push), geometry.n, geometry.dim))
    sums.pressure_forces(*geometry.ends, geometry.slope, push, forces)
    if numbers.layout.forces:
        forces[0] += np.tensordot(numbers.further, geometry.force_slopes, axes=1)
    variance = np.zeros(0)
    share = share_unknown(unknown)
    if share > 0 and numbers.softness > 0:
        variance = share * middle.gas.softness * (geometry.dt * geometry.volume * middle.gas.molecules * middle.T) ** 2
    return StepState(geometry, numbers, start, middle, rise, forces[0], forces[1:], unknown, variance)


def _check_temperatures(state: LocalState) -> None:
    """Stops where a temperature is no number of use."""
    T, T0 = state.T, math.exp(state.numbers.log_temperature)
    cold, hot = float(T.min()) / T0, float(T.max()) / T0
    if not (cold * FARTHEST > 1.0 and hot < FARTHEST):                                       # False for NaN too
        raise UnusableNumbersError(f"temperatures run from {cold:.3g} to {hot:.3g} times that of the start")
    # the slope of ln T in ln T0 is about 1; where heat is carried on in too coarse steps it grows from step to step
    steepest = float(np.abs(state.T_of[Thermal.LOG_TEMPERATURE] / T).max())
    if not steepest < STEEPEST:
        raise UnusableNumbersError(f"an error in the temperature of the start grows {steepest:.3g} times")
