"""What lattice processes become on large scales: exact free energies and mobilities.

A density profile obeys ∂ρ/∂t = ∂/∂x [ m(ρ) ∂f'(ρ)/∂x ] with f the free energy per site in kT and m the mobility, so
D = m f''. Hops: c(i → i±1) = N² d η_i (1 - η_{i±1}) exp(-U_i), U_i = sum_r J(r) η_{i±r}, J in kT, J > 0 attracts.
The process is reversible for exp(+ sum over pairs of J(r)); f is that lattice gas's. m is exact where the current is a
discrete gradient (exclusion, nearest neighbours, zero range); else it lies below `instant_mobility`, which counts the
hops and leaves out what their memory takes back (Spohn, Large Scale Dynamics of Interacting Particles, 1991, §II.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import xlogy

from vid2dyn.core.errors import ConfigError

LONGEST = 8
"""Range up to which transfer matrices (2^range states) are built."""


@dataclass(frozen=True, eq=False)
class Limit:
    """Macroscopic functions at densities `rho` [particles per site]; energies in kT.

    Parameters
    ----------
    rho : (n,) array
    free_energy : (n,) array
        f per site, up to an affine function of rho.
    curvature : (n,) array
        f''.
    mobility : (n,) array or None
        m; None where no exact answer is known.
    """

    rho: np.ndarray
    free_energy: np.ndarray
    curvature: np.ndarray
    mobility: np.ndarray | None

    @property
    def diffusion(self) -> np.ndarray:
        """D = m f''."""
        if self.mobility is None:
            raise ConfigError("The mobility of this process is not known exactly, so neither is its diffusion.")
        return self.mobility * self.curvature


def _densities(rho: object, highest: float = 1.0) -> np.ndarray:
    rho = np.atleast_1d(np.asarray(rho, dtype=float))
    if not ((rho > 0) & (rho < highest)).all():
        raise ConfigError(f"densities must lie between 0 and {highest:g} particles per site, both excluded; "
                          f"got {rho.min():g} to {rho.max():g}.")
    return rho


def exclusion(rho: object, d: float = 1.0) -> Limit:
    """Symmetric exclusion: f = ρ ln ρ + (1-ρ) ln(1-ρ), m = d ρ(1-ρ), D = d.

    >>> exclusion([0.2, 0.5]).diffusion.tolist()
    [1.0, 1.0]
    """
    rho = _densities(rho)
    return Limit(rho, xlogy(rho, rho) + xlogy(1 - rho, 1 - rho), 1 / (rho * (1 - rho)), d * rho * (1 - rho))


def kac(rho: object, strength: float, d: float = 1.0) -> Limit:
    """Box kernel of long range, local limit: f gains -J0 ρ²/2, m = d ρ(1-ρ) exp(-J0 ρ); spinodal if J0 > 4.

    Mean field: U_i has mean J0 ρ and no fluctuations (Lebowitz & Penrose, J. Math. Phys. 7, 98, 1966).
    """
    free = exclusion(rho, d)
    rho = free.rho
    assert free.mobility is not None
    return Limit(rho, free.free_energy - 0.5 * strength * rho**2, free.curvature - strength,
                 free.mobility * np.exp(-strength * rho))


def uncorrelated_mobility(rho: object, kernel: Sequence[float], d: float = 1.0) -> np.ndarray:
    """m of independent sites, d ρ(1-ρ) Π_{r ≠ 0, 1} (1 - ρ + ρ exp(-J(r))): the Kac mobility at finite range.

    The empty target at +1 is left out of the product, its mirror at -1 is in.
    """
    rho = _densities(rho)
    energies = np.asarray(kernel, dtype=float)
    product = np.prod(1 - rho[:, None] + rho[:, None] * np.exp(-energies), axis=1)
    target = 1 - rho + rho * np.exp(-energies[0]) if energies.size else 1.0
    return d * rho * (1 - rho) * product**2 / target


def zero_range(rho: object, rate: str = "independent", d: float = 1.0) -> Limit:
    """Zero-range process: a particle leaves a site of n at rate g(n); f' = ln φ(ρ), m = d φ(ρ).

    "independent": g = n, φ = ρ. "constant": g = 1 for n >= 1, φ = ρ/(1+ρ) (product of geometric distributions).
    """
    rho = _densities(rho, np.inf)
    if rate == "independent":
        return Limit(rho, xlogy(rho, rho) - rho, 1 / rho, d * rho)
    if rate == "constant":
        return Limit(rho, xlogy(rho, rho) - xlogy(1 + rho, 1 + rho), 1 / (rho * (1 + rho)), d * rho / (1 + rho))
    raise ConfigError(f"zero_range: rate = {rate!r}; choose 'independent' or 'constant'.")


def nearest_neighbour(rho: object, J: float, d: float = 1.0) -> Limit:
    """Nearest-neighbour Arrhenius hops, exact, mobility too.

    With S = sqrt(1 + 4ρ(1-ρ)(e^J - 1)) the chain has p10 = <η_i(1-η_{i+1})> = 2ρ(1-ρ)/(1+S) and p2 = <η_i η_{i+1}> =
    ρ - p10; f'' = 1/(ρ(1-ρ)S). The current is a gradient: η_i(1-η_{i+1})e^{-J η_{i-1}} minus its mirror is the
    difference of h_i = η_i + a(η_{i-1}η_i + η_iη_{i+1} - η_{i-1}η_iη_{i+1}), a = e^{-J} - 1, so m is the instant one:
    d (p10/ρ)(p10 + p2 e^{-J}) (η_{i-1} and η_{i+1} are independent given η_i), and m f'' = d <h>'(ρ).
    """
    rho = _densities(rho)
    S = np.sqrt(1 + 4 * rho * (1 - rho) * np.expm1(J))
    p10 = 2 * rho * (1 - rho) / (1 + S)
    p2 = rho - p10
    return Limit(rho, short_range(rho, (J,)).free_energy, 1 / (rho * (1 - rho) * S),
                 d * p10 / rho * (p10 + p2 * np.exp(-J)))


def short_range(rho: object, kernel: Sequence[float]) -> Limit:
    """Any kernel (J(1), ..., J(range)): f and f'' by transfer matrix; no exact mobility (None).

    With chemical potential μ the largest eigenvalue Λ(μ) gives ρ = d ln Λ/dμ, f = μρ - ln Λ, f' = μ, and
    1/f'' = dρ/dμ = sum over k of <η_0 η_k> - ρ², summed in closed form by the chain's fundamental matrix.
    """
    rho = _densities(rho)
    found = [(mu := _chemical_potential(value, kernel), _chain(mu, kernel)) for value in rho]
    energy = np.array([mu * value - np.log(chain.largest) for value, (mu, chain) in zip(rho, found, strict=True)])
    return Limit(rho, energy, np.array([1 / chain.compressibility() for _, chain in found]), None)


def instant_mobility(rho: object, kernel: Sequence[float], d: float = 1.0) -> np.ndarray:
    """d <η_0 (1-η_1) exp(-U_0)> at equilibrium: an upper bound of m, equal to it for gradient models.

    The window of 2·range + 1 sites is summed over with the chain's own probabilities.
    """
    rho = _densities(rho)
    reach = len(kernel)
    if reach == 0:
        return d * rho * (1 - rho)
    words = np.arange(2 ** (2 * reach + 1))
    bits = (words[:, None] >> np.arange(2 * reach, -1, -1)) & 1                  # sites -reach ... reach
    energy = bits[:, reach + 1:] @ np.asarray(kernel) + bits[:, reach - 1::-1] @ np.asarray(kernel)
    weight = bits[:, reach] * (1 - bits[:, reach + 1]) * np.exp(-energy)
    return d * np.array([_chain(_chemical_potential(value, kernel), kernel).probability(bits) @ weight
                         for value in rho])


@dataclass(frozen=True, eq=False)
class Chain:
    """The lattice gas as a Markov chain along the ring; a state is the last `reach` sites, the newest in bit 0.

    `one` (2^reach,): probability that the next site is occupied, given the state; `stationary` (2^reach,).
    """

    reach: int
    largest: float
    one: np.ndarray
    stationary: np.ndarray

    def step(self) -> np.ndarray:
        """(2^reach, 2^reach) transition matrix."""
        size = len(self.one)
        P = np.zeros((size, size))
        for state in range(size):
            for bit, p in ((0, 1 - self.one[state]), (1, self.one[state])):
                P[state, ((state << 1) | bit) & (size - 1)] += p
        return P

    def density(self) -> float:
        return float(self.stationary @ (np.arange(len(self.one)) & 1))

    def compressibility(self) -> float:
        """sum over k of <η_0 η_k> - ρ²: with Z = (I - P + 1π)⁻¹ the sum over k >= 1 is <(η-ρ) Z P (η-ρ)>."""
        P, pi = self.step(), self.stationary
        away = (np.arange(len(pi)) & 1) - self.density()
        later = np.linalg.solve(np.eye(len(pi)) - P + pi[None, :], P @ away)
        return float(pi @ away**2 + 2 * pi @ (away * later))

    def probability(self, bits: np.ndarray) -> np.ndarray:
        """Probability of every row of (n, sites) bits in a run of the chain, sites >= reach."""
        state = bits[:, : self.reach] @ (1 << np.arange(self.reach)[::-1])
        out = self.stationary[state]
        for column in bits[:, self.reach:].T:
            out = out * np.where(column == 1, self.one[state], 1 - self.one[state])
            state = ((state << 1) | column) & (len(self.one) - 1)
        return out


def _chain(mu: float, kernel: Sequence[float]) -> Chain:
    """Chain of the lattice gas at chemical potential mu [kT]."""
    reach = max(1, len(kernel))
    if reach > LONGEST:
        raise ConfigError(f"a kernel of range {reach} needs 2^{reach} states; transfer matrices go to {LONGEST}. "
                          "For long ranges use kac().")
    size = 2**reach
    states = np.arange(size)
    attraction = sum((J * ((states >> k) & 1) for k, J in enumerate(kernel)), np.zeros(size))
    T = np.zeros((size, size))
    T[states, (states << 1) & (size - 1)] = 1.0
    T[states, ((states << 1) | 1) & (size - 1)] = np.exp(mu + attraction)
    values, right = np.linalg.eig(T)
    top = int(np.argmax(values.real))
    largest, r = float(values[top].real), np.abs(right[:, top].real)
    values, left = np.linalg.eig(T.T)
    l = np.abs(left[:, int(np.argmax(values.real))].real)
    one = np.exp(mu + attraction) * r[((states << 1) | 1) & (size - 1)] / (largest * r)
    stationary = l * r
    return Chain(reach, largest, one, stationary / stationary.sum())


def _chemical_potential(rho: float, kernel: Sequence[float]) -> float:
    """mu at which the lattice gas has density rho."""
    edge = 40.0 + 2.0 * float(np.abs(np.asarray(kernel, dtype=float)).sum())
    return float(brentq(lambda mu: _chain(mu, kernel).density() - rho, -edge, edge, xtol=1e-13, rtol=1e-14))


def local_chain(rho: float, kernel: Sequence[float]) -> Chain:
    """The equilibrium chain at density rho: what local-equilibrium starts are drawn from."""
    return _chain(_chemical_potential(float(_densities(rho)[0]), kernel), kernel)
