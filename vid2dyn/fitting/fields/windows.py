"""What a flow does within a window: where the mean goes, how fluctuations grow.

A fluctuation δ about a profile that moves obeys ∂δ = A δ + noise, A the linearised flow: ∂²(D δ) for short-ranged
forces. A test function γ at the end of a window of width h is g(s) at a time s before it, ∂g/∂s = Aᵀ g. With
⟨δδ⟩ = χ at the start (local equilibrium, χ = m/D) increments of Y = ∫ γ ρ over the window have

    covariance (1/N) ∫ χ (g(h) - γ)²  +  (2/N) ∫ ds ∫ m (∂g)²        change of mean by f''  -∫ ds ∫ ∂g m ∂(f'')...

both linear in the mobility once A is held fixed: `Window` keeps them as rows, one for every place and time. A profile
that moves leaves correlations of long range behind, c = ⟨δδ⟩ - χ, of which `Correlations` keeps account. The mean
itself is followed from the mean density at the start of the window: smooth waves by the flow, what chance has left
beside them by the linear one. So the rest, D less what was predicted, is new chance, which nothing known at the start
foretells. (Regression on smooth profiles alone bends f'' by 2 %: waves are cut off that are there.)

Implicit steps throughout, L-stable and of second order: 1 - γτA is factorised once a window, for the linear flow and
its transpose (two solutions a step) and for the mean (Rosenbrock's method of two stages, in which A need not be exact:
Verwer, Spee, Blom & Hundsdorfer, SIAM J. Sci. Comput. 20, 1456, 1999).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from scipy.linalg import lu_factor, lu_solve

from vid2dyn.dynamics.terms.landscape import Landscape
from vid2dyn.fitting.fields.elements import IncrementMoments, resampled

STEPS, MOST_STEPS = 4, 16
"""In a window; even, for Simpson's rule. 12 instead of 4 change m by .01 %, D by .1 % where it is steepest, in windows
over which the shortest wave that is looked at hardly decays (z = 2, below)."""

PER_STEP = 0.5
"""Largest z = D k² h of a step, k the shortest wave that tells of the mobility: what it sees of the noise goes as
exp(-2 D k² s), which Simpson's rule takes for 11 % more than it is where four steps have z = 1.2 each (then m comes out
9 % low in windows of 100 hops for a kernel of -1.5 kT)."""

COARSE = 2
"""Places in an element at which correlations of long range are kept."""

GAMMA = 1 - 0.5**0.5
GRID = 2001


@dataclass(frozen=True, eq=False)
class Window:
    """One window of one start. Rows are places on the ring at times of the window, then the places at its start.

    `rho`, `gradient` (rows,) and both under the kernels, less themselves,
    `kernel_density`, `kernel_gradient` (rows, kernels). By mode, mean increment =
    `rest` - pushᵀ (m ∂μ) and covariance = spreadᵀ m spread + `extra`; `push`, `spread` (rows, modes). What chance adds
    to the density at the start, (places,), adds lateᵀ of it to the mean increment.
    """

    start: int
    index: int
    rho: np.ndarray
    gradient: np.ndarray
    kernel_density: np.ndarray
    kernel_gradient: np.ndarray
    spread: np.ndarray
    push: np.ndarray
    rest: np.ndarray
    extra: np.ndarray
    late: np.ndarray

    def of_other(self, density: np.ndarray) -> Window:
        """The same window where the start has (places,) so much more density: of almost the same data."""
        return replace(self, rest=self.rest + self.late.T @ density)


class Ring:
    """Derivatives on the places of `Elements.points`, of which the lattice has its own: ∂ is 2 N sin(π k/N)."""

    def __init__(self, data: IncrementMoments, places: int) -> None:
        sites = data.elements.sites
        self.sites, self.places = sites, places
        k = np.arange(places // 2 + 1)
        symbol = 2j * sites * np.sin(np.pi * k / sites)
        if places % 2 == 0:
            symbol[-1] = 0.0
        self.slope = np.fft.irfft(np.fft.rfft(np.eye(places), axis=0) * symbol[:, None], n=places, axis=0)
        self.bend = self.slope @ self.slope
        low = np.fft.rfft(np.eye(places), axis=0)        # products of waves beyond alias: many steps make them grow
        low[places // 3 + 1:] = 0.0
        self.without_short = np.fft.irfft(low, n=places, axis=0)
        self.half = np.exp(1j * np.pi * np.arange(sites // 2 + 1) / sites)          # half a site to the right
        self.functions = self.of_sites(data.elements.values())

    def of_sites(self, values: np.ndarray) -> np.ndarray:
        """(places, ...) of (sites, ...)."""
        wave = np.fft.rfft(values, axis=0) / self.sites
        return resampled(wave * self.half.reshape(-1, *(1,) * (values.ndim - 1)), self.places, 0)


class Flow:
    """The flow of a landscape, tabulated; f'' no lower than what keeps short waves from growing."""

    def __init__(self, landscape: Landscape, ring: Ring) -> None:
        function, self.ring, self.kernels = landscape.function, ring, landscape.kernels
        self.pull, self.hindrance = landscape.pull, landscape.hindrance
        self.grid = np.linspace(function.low, function.high, GRID)
        self.m = landscape.mobility(self.grid)
        self.second = np.maximum(landscape.second(self.grid), 1e-3 / self.m.max() - self.pull.sum())
        self.bend_of_m = np.gradient(np.log(self.m), self.grid)

    def interpolate(self, table: np.ndarray, rho: np.ndarray) -> np.ndarray:
        return np.interp(rho, self.grid, table)

    def mobility_and_force(self, rho: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(places,) m, and ∂μ."""
        gradient = self.ring.slope @ rho
        m, force = self.interpolate(self.m, rho), self.interpolate(self.second, rho) * gradient
        if self.kernels is not None:
            m = m * np.exp(self.kernels.apply(rho) @ self.hindrance)
            force = force - self.kernels.apply(gradient) @ self.pull
        return m, force

    def rate(self, rho: np.ndarray) -> np.ndarray:
        m, force = self.mobility_and_force(rho)
        return self.ring.slope @ (m * force)

    def diffusion(self, rho: np.ndarray) -> np.ndarray:
        """D on scales on which a kernel averages to nothing."""
        m, _ = self.mobility_and_force(rho)
        return m * (self.interpolate(self.second, rho) + self.pull.sum())

    def linear(self, rho: np.ndarray) -> np.ndarray:
        """(places, places) A."""
        slope, second = self.ring.slope, self.interpolate(self.second, rho)
        m, force = self.mobility_and_force(rho)
        if self.kernels is None:
            return self.ring.bend * (m * second)
        far = force - second * (slope @ rho)
        current = slope * (m * second)                                          # m ∂(f'' δ) with what m owes to ρ
        current += np.diag(m * far * self.interpolate(self.bend_of_m, rho))
        current -= m[:, None] * self.kernels.matrix(self.pull, len(rho)) @ slope
        current += (m * force)[:, None] * self.kernels.matrix(self.hindrance, len(rho))
        if self.hindrance.any():
            bent = self.kernels.apply(slope @ rho) @ self.hindrance             # m second = D exp(b u): ∂ of the rest
            current -= np.diag(m * second * bent)
        return slope @ current


class Correlations:
    """c of one start, on few places: dc/dt = A c + c Aᵀ + S from c = 0 on, with

        S = (∂²m - ∂χ/∂t) δ(x - y) + B χ + χ Bᵀ,    A = ∂²(D δ) + B,    χ = m/D

    as (∂_x + ∂_y)² m δ(x - y) is what A χ + χ Aᵀ and the noise leave. B is of long-ranged forces, for which states at
    the start are taken to have no correlations of long range.
    """

    def __init__(self, flow: Flow) -> None:
        self.flow, self.c = flow, np.zeros((flow.ring.places,) * 2)

    def seen_by(self, late: np.ndarray) -> np.ndarray:
        """(modes, modes) what c adds to the covariance of functions (places, modes)."""
        return late.T @ self.c @ late / (self.flow.ring.places**2 * self.flow.ring.sites)

    def advance(self, path: np.ndarray, tau: float) -> None:
        """Over a window, along its mean (steps + 1, places)."""
        flow, places = self.flow, self.flow.ring.places
        one = np.eye(places)
        for before, after in pairwise(path):
            A, D = flow.linear(0.5 * (before + after)), flow.diffusion(0.5 * (before + after))
            m, _ = flow.mobility_and_force(0.5 * (before + after))
            chi = [flow.mobility_and_force(rho)[0] / flow.diffusion(rho) for rho in (before, after)]
            far = (A - flow.ring.bend * D) * (0.5 * (chi[0] + chi[1]))
            source = places * (np.diag(flow.ring.bend @ m - (chi[1] - chi[0]) / tau) + far + far.T)
            factors = lu_factor(one - GAMMA * tau * A, check_finite=False)
            step = lu_solve(factors, lu_solve(factors, one + (1 - 2 * GAMMA) * tau * A, check_finite=False))
            self.c = step @ (self.c + 0.5 * tau * source) @ step.T + 0.5 * tau * source


def windows(data: IncrementMoments, landscape: Landscape, modes: np.ndarray, wave: int = 4) -> list[Window]:
    """All starts and windows, as the flow of `landscape` has them; waves of `wave` elements and more are resolved."""
    flow = Flow(landscape, Ring(data, data.elements.points))
    coarse = Flow(landscape, Ring(data, min(data.elements.points, COARSE * data.elements.elements)))
    smooth, gamma = data.smooth(), flow.ring.functions @ modes
    fastest = float(flow.interpolate(flow.m * (flow.second + flow.pull.sum()), smooth).max())
    found = []
    for s in range(len(data.count)):
        correlations = Correlations(coarse)
        for k in range(len(data.widths)):
            z = fastest * (2 * np.pi * data.elements.elements / wave) ** 2 * data.widths[k]
            steps = min(MOST_STEPS, max(STEPS, 2 * math.ceil(0.5 * z / PER_STEP)))
            found.append(_window(data, flow, s, k, smooth[s, k:k + 2], gamma, correlations, steps))
    return found


def frozen_windows(data: IncrementMoments, landscape: Landscape, modes: np.ndarray) -> list[Window]:
    """The same as if windows were so short that nothing moved in them, along smoothed profiles: to begin with."""
    ring, kernels = Ring(data, data.elements.points), landscape.kernels
    density, slope = data.profiles()
    slopes, found = ring.slope @ ring.functions @ modes, []
    for s in range(len(data.count)):
        for k, width in enumerate(data.widths):
            rho, gradient = density[s, k], slope[s, k]
            under, slope_under = (np.zeros((len(rho), 0)) if kernels is None else kernels.apply(of)
                                  for of in (rho, gradient))
            none = np.zeros_like(slopes)
            found.append(Window(s, k, rho, gradient, under, slope_under,
                                slopes * np.sqrt(2 * width / ring.places / ring.sites), slopes * width / ring.places,
                                none[0], none.T @ none, none))
    return found


def _window(data: IncrementMoments, flow: Flow, s: int, k: int, smooth: np.ndarray, gamma: np.ndarray,
            correlations: Correlations, steps: int) -> Window:
    ring, tau, modes = flow.ring, data.widths[k] / steps, gamma.shape[1]
    A = flow.linear(ring.of_sites(smooth.mean(axis=0)))
    factors = lu_factor(np.eye(ring.places) - GAMMA * tau * A, check_finite=False)
    path = _forward(flow, ring.of_sites(smooth[0]), tau, factors, steps)
    chance = ring.of_sites(data.density[s, k] - smooth[0])
    back = _backward(A, gamma, tau, factors, steps)                                      # from the end of the window on
    simpson = np.where(np.arange(steps + 1) % 2, 4.0, 2.0)
    simpson[[0, -1]] = 1.0
    weight = (tau * simpson / (3 * ring.places))[:, None, None]
    slopes = np.einsum("xy,tym->txm", ring.slope, back[::-1], optimize=True)      # in the order of time
    late = back[-1] - gamma
    extra = correlations.seen_by(_on_fewer_places(late, correlations.flow.ring.places))
    correlations.advance(_on_fewer_places(path.T, correlations.flow.ring.places).T, tau)
    first = late / np.sqrt(ring.sites * ring.places * flow.diffusion(path[0]))[:, None]
    spread = np.concatenate([(slopes * np.sqrt(2 * weight / ring.sites)).reshape(-1, modes), first])
    push = np.concatenate([(slopes * weight).reshape(-1, modes), np.zeros_like(late)])
    gradient, kernels = path @ ring.slope.T, flow.kernels
    under, slope_under = (np.zeros((*path.shape, 0)) if kernels is None else kernels.apply(of)
                          for of in (path, gradient))
    rho, gradient, under, slope_under = (np.concatenate([*each, each[0]])
                                         for each in (path, gradient, under, slope_under))
    current = np.concatenate([np.prod(flow.mobility_and_force(one), axis=0) for one in (*path, path[0])])
    rest = (gamma.T @ (path[-1] - path[0]) + late.T @ chance) / ring.places + push.T @ current
    return Window(s, k, rho, gradient, under, slope_under, spread, push, rest, extra, late / ring.places)


def _on_fewer_places(values: np.ndarray, places: int) -> np.ndarray:
    """(places, ...) of values on more places."""
    return resampled(np.fft.rfft(values, axis=0) / len(values), places, 0)


def _forward(flow: Flow, rho: np.ndarray, tau: float, factors: tuple[np.ndarray, np.ndarray],
             steps: int) -> np.ndarray:
    """(steps + 1, places) the mean, from where it is at the start."""
    path = [rho]
    for _ in range(steps):
        first = lu_solve(factors, flow.rate(rho), check_finite=False)
        second = lu_solve(factors, flow.rate(rho + tau * first) - 2 * first, check_finite=False)
        rho = flow.ring.without_short @ (rho + tau * (1.5 * first + 0.5 * second))
        path.append(rho)
    return np.array(path)


def _backward(A: np.ndarray, gamma: np.ndarray, tau: float, factors: tuple[np.ndarray, np.ndarray],
              steps: int) -> np.ndarray:
    """(steps + 1, places, modes) g at multiples of τ before the end."""
    back = [gamma]
    for _ in range(steps):
        g = back[-1] + (1 - 2 * GAMMA) * tau * (A.T @ back[-1])
        for _ in range(2):
            g = lu_solve(factors, g, trans=1, check_finite=False)
        back.append(g)
    return np.array(back)
