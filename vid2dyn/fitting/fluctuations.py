"""Mobility from fluctuations and free energy from drift: the likelihood of short-time increments of fields.

Increments D over a window h are Gaussian for large N, with

    mean  -(h/N) sum_b m f'' ∂ρ ∂γ_i          covariance  (2 h/N²) sum_b m Γ_bi Γ_bj        (bonds b)

the weak form of ∂ρ/∂t = ∂(m f''(ρ) ∂ρ) with its fluctuations (the setting of Huang et al., arXiv 2312.05810), so
K = Γᵀ diag(m) Γ is symmetric, positive and keeps mass whatever m is. The sample covariance is Wishart, the sample mean
Gaussian and independent of it: two exact likelihoods without free weights. ln m is a spline, fitted by Fisher scoring;
f'' is a spline, linear in the drift given m (generalised least squares). No convexity is forced.

A window is not infinitely short: a fluctuation of wave number k that relaxes at rate λ = w D N² (w = 2 - 2 cos k)
leaves only the part φ(λh) = (1 - exp(-λh))/(λh) of its variance (from ⟨ΔY²⟩ = 2χ(1 - e^{-λh}) at local equilibrium,
χ = m/D).
So Γ is the slope of γ filtered by sqrt(φ), with the local D: exact on the lattice for slowly varying profiles, for any
degree of test function, where the expansion for hats (1 - 3cl) ends at first order. D is taken from the last iteration
and held fixed: were it free, it would trade against m.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from vid2dyn.dynamics.density import DensityFunction, Landscape
from vid2dyn.errors import ModelError
from vid2dyn.fitting.elements import Moments

FILTERS = 16
"""Densities at which filtered slopes are tabulated; between them they are interpolated."""


def learn(data: Moments, function: DensityFunction, *, smooth: float = 1.0, start: Landscape | None = None,
          force_range: int = 0, rounds: int = 6) -> Landscape:
    """Maximum likelihood for m and f'' from all starts and windows.

    Parameters
    ----------
    data : Moments
    function : DensityFunction
    smooth : float
        Prior precision of third differences of the coefficients.
    rounds : int
        Of drift and covariance in turn, each with the other's last result.
    start : Landscape, optional
        To begin with (from a fit to almost the same data).
    force_range : int
        See `GradientFlow`.
    """
    bonds, gradient = data.profiles()
    basis = function.basis(bonds)
    guess = _first_mobility(data)
    landscape = start or Landscape(function, np.full(function.knots, np.log(guess)), np.ones(function.knots))
    for _ in range(rounds):
        short = short_windows(data, landscape, force_range)
        slopes = _filtered(data, bonds, landscape, force_range)
        log_mobility = _score_mobility(data, basis, slopes, short, landscape.log_mobility,
                                       smooth * function.roughness())
        curvature = _drift(data, basis, gradient, slopes, np.exp(basis @ log_mobility), smooth * function.roughness())
        landscape = Landscape(function, log_mobility, curvature)
    return landscape


def drift_only(data: Moments, function: DensityFunction, *, smooth: float = 1.0) -> Landscape:
    """The baseline without statistical mechanics: m = 1 and whatever f'' then explains the drift.

    Drift alone fixes m f'' and nothing else: (g m, f''/g) are equivalent for every g > 0.
    """
    bonds, gradient = data.profiles()
    basis = function.basis(bonds)
    flat = np.zeros(function.knots)
    plain = np.broadcast_to(data.elements.slopes(), (*bonds.shape, data.elements.elements))
    second = _drift(data, basis, gradient, plain, np.ones_like(bonds), smooth * function.roughness())
    return Landscape(function, flat, second)


def short_windows(data: Moments, landscape: Landscape, force_range: int = 0) -> np.ndarray:
    """Windows in which fluctuations spread less than an element, 2 D h <= δ²: beyond, covariances tell of D only."""
    n = data.elements.elements
    rho = np.linspace(landscape.function.low, landscape.function.high, 101)
    fastest = _diffusion(landscape, rho, np.array([2 * np.pi * n / data.elements.sites]), force_range).max()
    short = np.flatnonzero(2 * fastest * data.widths <= 1 / n**2)
    return short if short.size else np.array([int(np.argmin(data.widths))])


def window_scales(data: Moments, landscape: Landscape, force_range: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(W,) covariance seen over that of the model in each window, and standard errors: 1 on the plateau."""
    Q = _modes(data.elements.elements)
    bonds, _ = data.profiles()
    slopes = _filtered(data, bonds, landscape, force_range)
    m = landscape.mobility(bonds)
    ratio = np.zeros((len(data.count), len(data.widths)))
    for s in range(len(data.count)):
        for k, width in enumerate(data.widths):
            G = slopes[s, k] @ Q
            model = 2 * width / data.elements.sites**2 * (G * m[s, k][:, None]).T @ G
            ratio[s, k] = np.trace(np.linalg.solve(model, Q.T @ data.covariance[s, k] @ Q)) / Q.shape[1]
    return ratio.mean(axis=0), np.full(len(data.widths), np.sqrt(2 / (Q.shape[1] * data.count.sum())))


def _first_mobility(data: Moments) -> float:
    """A constant m that explains the trace of the covariance in the shortest window."""
    short = [int(np.argmin(data.widths))]
    N, slopes = data.elements.sites, data.elements.slopes()
    seen = np.einsum("swii->", data.covariance[:, short])
    expected = len(data.count) * (2 * data.widths[short] / N**2).sum() * (slopes**2).sum()
    return float(seen / expected)


def _filtered(data: Moments, bonds: np.ndarray, landscape: Landscape, force_range: int) -> np.ndarray:
    """(S, W, bonds, n) slopes of the test functions, each bond's filtered by sqrt(φ) with D(k) at its density."""
    N = data.elements.sites
    slopes = data.elements.slopes()
    rho = np.linspace(bonds.min() - 1e-9, bonds.max() + 1e-9, FILTERS)
    k = 2 * np.pi * np.fft.rfftfreq(N)
    rate = N**2 * (2 - 2 * np.cos(k)) * _diffusion(landscape, rho, k, force_range)
    transformed = np.fft.rfft(slopes, axis=0)
    place = (bonds - rho[0]) / (rho[1] - rho[0])
    first = np.clip(place.astype(int), 0, FILTERS - 2)
    part = (place - first)[..., None]
    out = np.empty((*bonds.shape, slopes.shape[1]))
    bond = np.arange(N)
    for w, width in enumerate(data.widths):
        decay = rate * width
        left = np.where(np.abs(decay) > 1e-8, -np.expm1(-decay) / np.where(decay == 0, 1.0, decay), 1.0)
        table = np.fft.irfft(np.sqrt(left)[:, :, None] * transformed[None], n=N, axis=1)
        out[:, w] = (1 - part[:, w]) * table[first[:, w], bond] + part[:, w] * table[first[:, w] + 1, bond]
    return out


def _diffusion(landscape: Landscape, rho: np.ndarray, k: np.ndarray, force_range: int) -> np.ndarray:
    """(densities, waves) D(k) = m f''(k); positive, but for long-ranged attraction on long scales."""
    m, second = landscape.mobility(rho)[:, None], landscape.second(rho)[:, None]
    if not force_range:
        return np.broadcast_to(np.maximum(m * second, 1e-3 * m), (len(rho), len(k)))
    half = np.where(k == 0, 1.0, np.sin(k / 2))
    box = np.where(k == 0, 1.0, (np.sin((force_range + 0.5) * k) / half - 1) / (2 * force_range))
    free = (1 / (rho * (1 - rho)))[:, None]
    return m * (free + (second - free) * box)


def _modes(n: int) -> np.ndarray:
    """(n, n - 1) orthonormal directions that carry no total mass."""
    return np.linalg.qr(np.column_stack([np.ones(n), np.eye(n)[:, 1:]]))[0][:, 1:]


def _score_mobility(data: Moments, basis: np.ndarray, slopes: np.ndarray, short: np.ndarray, log_mobility: np.ndarray,
                    prior: np.ndarray, steps: int = 8) -> np.ndarray:
    """Fisher scoring of the Wishart likelihood for the coefficients of ln m."""
    N, Q = data.elements.sites, _modes(data.elements.elements)
    for _ in range(steps):
        gradient, fisher = -prior @ log_mobility, prior.copy()
        for s in range(len(data.count)):
            freedom = 0.5 * (data.count[s] - 1)
            for k in short:
                m = np.exp(basis[s, k] @ log_mobility)
                G = slopes[s, k] @ Q                                           # (bonds, modes)
                scale = 2 * data.widths[k] / N**2
                model = cho_factor(scale * (G * m[:, None]).T @ G)
                seen = Q.T @ data.covariance[s, k] @ Q
                half = cho_solve(model, G.T)                                   # Σ⁻¹ Γᵀ
                own = (G * half.T).sum(axis=1)                                 # diag Γ Σ⁻¹ Γᵀ
                excess = ((half.T @ seen) * half.T).sum(axis=1) - own
                B = basis[s, k] * m[:, None] * scale
                gradient += freedom * B.T @ excess
                fisher += freedom * B.T @ ((G @ half) ** 2) @ B
        step = np.linalg.solve(fisher + 1e-10 * np.trace(fisher) / len(fisher) * np.eye(len(fisher)), gradient)
        log_mobility = log_mobility + np.clip(step, -1.0, 1.0)
        if np.abs(step).max() < 1e-8:
            break
    if not np.isfinite(log_mobility).all():
        raise ModelError("The mobility could not be found from these fluctuations: the windows are too long or the "
                         "realisations too few.")
    return log_mobility


def _drift(data: Moments, basis: np.ndarray, gradient: np.ndarray, slopes: np.ndarray, mobility: np.ndarray,
           prior: np.ndarray) -> np.ndarray:
    """Generalised least squares of the mean increments for the coefficients of f''."""
    N, Q = data.elements.sites, _modes(data.elements.elements)
    plain = data.elements.slopes() @ Q
    normal, right = prior.copy(), np.zeros(len(prior))
    for s in range(len(data.count)):
        for k, width in enumerate(data.widths):
            m = mobility[s, k]
            G = slopes[s, k] @ Q
            noise = cho_factor(2 * width / N**2 * (G * m[:, None]).T @ G / data.count[s])
            X = -(width / N) * plain.T @ (basis[s, k] * (m * gradient[s, k])[:, None])
            normal += X.T @ cho_solve(noise, X)
            right += X.T @ cho_solve(noise, Q.T @ data.D[s, k])
    return np.linalg.solve(normal + 1e-12 * np.trace(normal) / len(normal) * np.eye(len(normal)), right)
