"""Functions of a density, as splines or as a network, and the mobility and free energy that are made of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import BSpline

from vid2dyn.core.errors import ConfigError
from vid2dyn.dynamics.terms.even_kernels import EvenKernels

STIFFNESS = 1e-2
"""Prior of networks over that of splines, which cannot bend at the ends as networks can and are not punished for it."""

GRID = 64
"""Densities at which the roughness of a network is taken."""


class DensityShape(ABC):
    """Functions of a density on [low, high], linear in `knots` coefficients; constant outside.

    `capacity` says what particles without forces would do, `ideal`: splines bend the rest. It is the most particles a
    cell can hold, infinite where they do not exclude each other, None where the density is not one of particles.
    """

    low: float
    high: float
    knots: int
    capacity: float | None

    def ideal(self, rho: np.ndarray) -> np.ndarray:
        """Mobility of free particles, ρ (1 - ρ/capacity), and the inverse of their f''; 1 without a capacity."""
        rho = np.clip(np.asarray(rho, dtype=float), self.low, self.high)
        return np.ones_like(rho) if self.capacity is None else rho * (1 - rho / self.capacity)

    @abstractmethod
    def basis(self, rho: np.ndarray) -> np.ndarray:
        """(..., knots) values at densities rho."""

    @property
    @abstractmethod
    def panels(self) -> np.ndarray:
        """Densities between which the functions are smooth."""

    def curved(self, rho: np.ndarray) -> np.ndarray:
        """(..., knots) f'' by coefficient: `basis` over `ideal`."""
        return self.basis(rho) / self.ideal(rho)[..., None]

    def from_low(self, rho: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(..., knots) first and second repeated integral of `curved` from `low` to densities within the range, by
        Gauss' rule between `panels`."""
        node, weight = np.polynomial.legendre.leggauss(10)

        def between(start: np.ndarray, end: np.ndarray) -> np.ndarray:
            """(2, ..., knots) integral of the functions, and of them times the density."""
            half = 0.5 * (end - start)[..., None]
            at = start[..., None] + half * (node + 1)
            value = self.curved(at) * (half * weight)[..., None]
            return np.stack([value.sum(axis=-2), (value * at[..., None]).sum(axis=-2)])

        rho, edges = np.asarray(rho, dtype=float), self.panels
        whole = np.cumsum(between(edges[:-1], edges[1:]), axis=1)
        whole = np.concatenate([np.zeros_like(whole[:, :1]), whole], axis=1)
        k = np.clip(np.searchsorted(edges, rho, side="right") - 1, 0, len(edges) - 2)
        once, moment = whole[:, k] + between(edges[k], rho)
        return once, rho[..., None] * once - moment

    @abstractmethod
    def roughness(self) -> np.ndarray:
        """(knots, knots) prior precision of the coefficients."""

    def integral(self, rho: np.ndarray, times: int, origin: float) -> np.ndarray:
        """(..., knots) repeated integral (`times` = 1 or 2) of each function, zero with its slope at `origin`."""
        rho = np.asarray(rho, dtype=float)

        def everywhere(at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            inside = np.clip(at, self.low, self.high)
            once, twice = self.from_low(inside)
            out, value = (at - inside)[..., None], self.curved(inside)
            # beyond the ends the function is constant, so its integrals are a line and a parabola
            return once + value * out, twice + once * out + 0.5 * value * out**2

        first, second = everywhere(rho)
        first0, second0 = everywhere(np.asarray(origin, dtype=float))
        if times == 1:
            return first - first0
        return second - second0 - first0 * (rho - origin)[..., None]


@dataclass(frozen=True)
class DensityFunction(DensityShape):
    """Cubic B-splines on [low, high], `knots` of them.

    Examples
    --------
    >>> function = DensityFunction(0.1, 0.9, 8)
    >>> bool(np.allclose(function.basis(np.linspace(0, 1, 5)).sum(axis=-1), 1.0))
    True
    """

    low: float
    high: float
    knots: int
    capacity: float | None = None

    def __post_init__(self) -> None:
        if self.capacity is not None and not 0 < self.low < self.high < self.capacity:
            raise ConfigError(f"densities from {self.low:g} to {self.high:g} in cells of capacity {self.capacity:g}: "
                              "they must lie above 0 and below it.")
        if not (np.isfinite([self.low, self.high]).all() and self.low < self.high):
            raise ConfigError(f"densities from {self.low:g} to {self.high:g} are no range.")
        if self.knots < 4:
            raise ConfigError(f"knots = {self.knots}: a cubic spline needs at least 4.")

    @property
    def _edges(self) -> np.ndarray:
        inner = np.linspace(self.low, self.high, self.knots - 2)
        return np.concatenate([[self.low] * 3, inner, [self.high] * 3])

    def basis(self, rho: np.ndarray) -> np.ndarray:
        rho = np.asarray(rho, dtype=float)
        flat = np.clip(rho, self.low, self.high).ravel()
        return BSpline.design_matrix(flat, self._edges, 3).toarray().reshape(*rho.shape, self.knots)

    @property
    def panels(self) -> np.ndarray:
        return np.linspace(self.low, self.high, 4 * (self.knots - 3) + 1)

    def roughness(self) -> np.ndarray:
        """Summed squared third differences of the coefficients."""
        third = np.diff(np.eye(self.knots), 3, axis=0)
        return third.T @ third


@dataclass(frozen=True, eq=False)
class DensityNetwork(DensityShape):
    """Features that a network of two tanh layers makes of the density, and a constant; its last layer is linear.

    Hidden layers are trained by `vid2dyn.fitting.fields.features`; the last one, in which m and f'' differ, is then
    fitted exactly as the coefficients of splines are, and has the same error bars.

    Parameters
    ----------
    low, high : float
    first : (width, 2) array
        Weights and biases of the first layer on (2ρ - low - high)/(high - low).
    second : (knots - 1, width + 1) array
        Weights of the second layer; biases last.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> network = DensityNetwork(0.1, 0.9, rng.normal(size=(6, 2)), rng.normal(size=(4, 7)))
    >>> h = 1e-4
    >>> slope = (network.integral(0.3 + h, 2, 0.5) - network.integral(0.3 - h, 2, 0.5)) / (2 * h)
    >>> network.knots, bool(np.allclose(slope, network.integral(0.3, 1, 0.5), atol=1e-8))
    (5, True)
    """

    low: float
    high: float
    first: np.ndarray
    second: np.ndarray
    capacity: float | None = None

    @property
    def knots(self) -> int:  # type: ignore[override]
        return len(self.second) + 1

    def basis(self, rho: np.ndarray) -> np.ndarray:
        rho = np.clip(np.asarray(rho, dtype=float), self.low, self.high)
        place = (2 * rho - self.low - self.high) / (self.high - self.low)
        hidden = np.tanh(place[..., None] * self.first[:, 0] + self.first[:, 1])
        features = np.tanh(hidden @ self.second[:, :-1].T + self.second[:, -1])
        return np.concatenate([np.ones((*rho.shape, 1)), features], axis=-1)

    @property
    def panels(self) -> np.ndarray:
        return np.linspace(self.low, self.high, 25)

    def roughness(self) -> np.ndarray:
        """As for splines of as many knots, whose summed squared third differences are h⁵ ∫ (third derivative)², h
        apart, times STIFFNESS."""
        third = np.diff(self.basis(np.linspace(self.low, self.high, GRID)), 3, axis=0)
        return STIFFNESS * ((GRID - 1) / (self.knots - 3)) ** 5 * third.T @ third + 1e-6 * np.eye(self.knots)


@dataclass(frozen=True, eq=False)
class Landscape:
    """Mobility and free energy of a density, energies in kT per site.

        F = sum over sites [f(ρ) - 1/2 sum_j c_j ρ u_j],   μ = f'(ρ) - sum_j c_j u_j
        f'' = h(ρ)/ideal(ρ),   m = ideal(ρ) exp[g(ρ) + sum_j b_j u_j]

    with `ideal` what free particles do (`DensityShape`), so that g = 0 and h = 1 without forces, and u_j the
    density under a long-ranged kernel less the density itself (`EvenKernels`), absent without one.

    Parameters
    ----------
    function : DensityShape
        Shape of g and h.
    log_mobility, curvature : (knots + kernels.count,) arrays
        Coefficients of g, then b; of h, then c.
    kernels : EvenKernels, optional
    """

    function: DensityShape
    log_mobility: np.ndarray
    curvature: np.ndarray
    kernels: EvenKernels | None = None

    def __post_init__(self) -> None:
        wanted = self.function.knots + (self.kernels.count if self.kernels else 0)
        for name in ("log_mobility", "curvature"):
            if np.shape(getattr(self, name)) != (wanted,):
                raise ConfigError(f"Landscape: {name} of shape {np.shape(getattr(self, name))}; give {wanted} numbers.")

    @property
    def origin(self) -> float:
        """Where f and f' are zero by convention (f is known up to an affine function): the middle of the range."""
        return 0.5 * (self.function.low + self.function.high)

    @property
    def pull(self) -> np.ndarray:
        """(count,) c: strength of the kernels in the energy [kT]; the sum of J over both sides is that of c."""
        return self.curvature[self.function.knots:]

    @property
    def hindrance(self) -> np.ndarray:
        """(count,) b: strength of the kernels in ln m."""
        return self.log_mobility[self.function.knots:]

    # ---------------------------------------------------------------- of a uniform density

    def mobility(self, rho: np.ndarray) -> np.ndarray:
        """m(rho) > 0."""
        return self.function.ideal(rho) * np.exp(self.function.basis(rho) @ self.log_mobility[: self.function.knots])

    def second(self, rho: np.ndarray) -> np.ndarray:
        """f''(rho)."""
        return self.function.curved(rho) @ self.curvature[: self.function.knots]

    def potential(self, rho: np.ndarray) -> np.ndarray:
        """f'(rho), the chemical potential."""
        return self.function.integral(rho, 1, self.origin) @ self.curvature[: self.function.knots]

    def energy(self, rho: np.ndarray) -> np.ndarray:
        """f(rho)."""
        return self.function.integral(rho, 2, self.origin) @ self.curvature[: self.function.knots]

    def diffusion(self, rho: np.ndarray) -> np.ndarray:
        """D = m f''."""
        return self.mobility(rho) * self.second(rho)

    # ---------------------------------------------------------------- of a field on a ring

    def chemical_potential(self, rho: np.ndarray) -> np.ndarray:
        """(..., cells) μ of a field (..., cells)."""
        local = self.potential(rho)
        return local if self.kernels is None else local - self.kernels.apply(rho) @ self.pull

    def total(self, rho: np.ndarray) -> np.ndarray:
        """(...,) free energy of a field (..., cells), mean per site [kT]."""
        local = self.energy(rho)
        if self.kernels is not None:
            local = local - 0.5 * rho * (self.kernels.apply(rho) @ self.pull)
        return local.mean(axis=-1)

    def face_mobility(self, rho: np.ndarray) -> np.ndarray:
        """(..., cells) m on the face to the right of every cell, from the mean of what its two sides have."""
        face = 0.5 * (rho + np.roll(rho, -1, axis=-1))
        m = self.mobility(face)
        return m if self.kernels is None else m * np.exp(self.kernels.apply(face) @ self.hindrance)
