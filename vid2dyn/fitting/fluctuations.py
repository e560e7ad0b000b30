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

Where m and D vary along the ring there is more. Fluctuations about a moving profile obey ∂δ = ∂²(D δ) + noise, begin
with variance m/D, and to second order in h their increments have

    Cov/2h = ∫ m γ'η' - (h/2) ∫ m D γ''η'' + (h/2) ∫ (D m')' γ'η'

of which the filtered slopes give the first two terms and (h/4) ∫ (m D)'' γ'η'. The rest, m + (h/4)(D m'' - m D''), is
put in as m smoothed over sqrt(D h/2) times exp(-h D''/4); for uniform D that is exact for the modes k' = ±k at any h.
Left out, m is 5 % too high at densities where profiles turn round.

Long-ranged forces add columns to both linear problems, one for every hat of the even kernel (`Design`): μ gains
-c_j u_j and ln m gains b_j u_j with u_j = w_j * ρ - ρ. Fluctuations of wave number k then relax with
D(k) = m [f'' + sum_j c_j (1 - w_j(k))].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import block_diag, cho_factor, cho_solve, solve_triangular

from vid2dyn.dynamics.density import DensityShape, Landscape
from vid2dyn.dynamics.even_kernels import EvenKernels
from vid2dyn.errors import ModelError
from vid2dyn.fitting.elements import Moments, resampled

FILTERS = 16
"""Diffusivities at which filtered slopes are tabulated; between them they are interpolated."""

LOOSE = 1e-2
"""Prior precision of the strength of a kernel [1/kT²]: 10 kT is thought possible."""


@dataclass(frozen=True, eq=False)
class Design:
    """The two linear problems: ln m = columns @ b, and ∂μ/∂x = forces @ c, on the bonds.

    "Bonds" are `Elements.points` even places, each for `weight` bonds. `rho`, (S, W, bonds); `columns`, `forces`,
    (S, W, bonds, knots + kernels.count); `prior`, precision of b and of c.
    """

    data: Moments
    function: DensityShape
    kernels: EvenKernels | None
    rho: np.ndarray
    columns: np.ndarray
    forces: np.ndarray
    prior: np.ndarray

    @classmethod
    def of(cls, data: Moments, function: DensityShape, kernels: EvenKernels | None = None,
           smooth: float = 1.0) -> Design:
        """Of the mean densities in `data`, with prior precision `smooth` of third differences of the coefficients, of
        first differences along a kernel."""
        rho, gradient = data.profiles()
        basis = function.basis(rho)
        columns, forces, prior = [basis], [basis * gradient[..., None]], [smooth * function.roughness()]
        if kernels is not None:
            columns.append(kernels.felt(rho))
            forces.append(-kernels.felt(gradient))
            prior.append(LOOSE * np.eye(kernels.count) + smooth * kernels.roughness())
        return cls(data, function, kernels, rho, np.concatenate(columns, -1), np.concatenate(forces, -1),
                   block_diag(*prior))

    @property
    def weight(self) -> float:
        """Bonds that every place stands for."""
        return self.data.elements.sites / self.data.elements.points

    def slopes(self) -> np.ndarray:
        """(bonds, n) slopes of the test functions."""
        return resampled(self.data.elements.slope_waves(), self.data.elements.points, 0)

    def noise(self, width: float) -> float:
        """2 h/N² times the weight: what Γᵀ m Γ is to be multiplied with."""
        return 2 * width * self.weight / self.data.elements.sites**2

    def landscape(self, log_mobility: np.ndarray, curvature: np.ndarray) -> Landscape:
        """With these coefficients."""
        return Landscape(self.function, log_mobility, curvature, self.kernels)

    def flat(self, mobility: float) -> Landscape:
        """A constant mobility and f'' = 1/mobility, to begin with."""
        far = np.zeros(self.columns.shape[-1] - self.function.knots)
        one = np.ones(self.function.knots)
        return self.landscape(np.concatenate([np.log(mobility) * one, far]), np.concatenate([one / mobility, far]))

    def mobility(self, landscape: Landscape) -> np.ndarray:
        """(S, W, bonds) m."""
        return np.exp(self.columns @ landscape.log_mobility)

    def diffusion(self, landscape: Landscape) -> np.ndarray:
        """(S, W, bonds) D on scales on which the kernel averages to nothing; positive."""
        m = self.mobility(landscape)
        return m * np.maximum(landscape.second(self.rho) + landscape.pull.sum(), 1e-3)


def learn(design: Design, start: Landscape | None = None, rounds: int = 5) -> Landscape:
    """Maximum likelihood for m and f'' from all starts and windows.

    Parameters
    ----------
    design : Design
    start : Landscape, optional
        To begin with (from a fit to almost the same data).
    rounds : int
        Of drift and covariance in turn, each with the other's last result.
    """
    landscape = start or begun(design)
    for r in range(rounds):
        landscape = improved(design, landscape, 1 if start else 2 if r else 6)     # one step: others are close by
    return landscape


def begun(design: Design) -> Landscape:
    """Where `learn` begins: a constant mobility that explains the fluctuations of the shortest window."""
    return design.flat(_first_mobility(design.data))


def improved(design: Design, landscape: Landscape, steps: int) -> Landscape:
    """One round: `steps` of scoring for the mobility, then f'' given it."""
    slopes = _filtered(design, landscape)
    log_mobility = _score_mobility(design, landscape, slopes, short_windows(design, landscape), steps)
    return design.landscape(log_mobility, _drift(design, slopes, np.exp(design.columns @ log_mobility)))


def drift_only(design: Design) -> Landscape:
    """The baseline without statistical mechanics: m = 1 and whatever f'' then explains the drift.

    Drift alone fixes m f'' and nothing else: (g m, f''/g) are equivalent for every g > 0.
    """
    data = design.data
    plain = np.broadcast_to(design.slopes(), (*design.rho.shape, data.elements.elements))
    second = _drift(design, plain, np.ones_like(design.rho))
    return design.landscape(np.zeros_like(second), second)


def short_windows(design: Design, landscape: Landscape) -> np.ndarray:
    """Windows in which fluctuations spread less than an element, 2 D h <= δ²: beyond, covariances tell of D only."""
    widths, n = design.data.widths, design.data.elements.elements
    short = np.flatnonzero(2 * design.diffusion(landscape).max() * widths <= 1 / n**2)
    return short if short.size else np.array([int(np.argmin(widths))])


def window_scales(design: Design, landscape: Landscape) -> tuple[np.ndarray, np.ndarray]:
    """(W,) covariance seen over that of the model in each window, and standard errors: 1 on the plateau."""
    data = design.data
    Q = _modes(data.elements.elements)
    slopes, m, D = _filtered(design, landscape), design.mobility(landscape), design.diffusion(landscape)
    ratio = np.zeros((len(data.count), len(data.widths)))
    for s in range(len(data.count)):
        for k, width in enumerate(data.widths):
            G = slopes[s, k] @ Q
            smoothed = _Smoother(D[s, k], width, data.elements.sites)(m[s, k][:, None])
            model = design.noise(width) * (G * smoothed).T @ G
            ratio[s, k] = np.trace(np.linalg.solve(model, Q.T @ data.covariance[s, k] @ Q)) / Q.shape[1]
    return ratio.mean(axis=0), np.full(len(data.widths), np.sqrt(2 / (Q.shape[1] * data.count.sum())))


def _first_mobility(data: Moments) -> float:
    """A constant m that explains the trace of the covariance in the shortest window."""
    short = [int(np.argmin(data.widths))]
    N, slopes = data.elements.sites, data.elements.slopes()
    seen = np.einsum("swii->", data.covariance[:, short])
    expected = len(data.count) * (2 * data.widths[short] / N**2).sum() * (slopes**2).sum()
    return float(seen / expected)


def _filtered(design: Design, landscape: Landscape) -> np.ndarray:
    """(S, W, bonds, n) slopes of the test functions, each bond's filtered by sqrt(φ) with its own D(k)."""
    data, D = design.data, design.diffusion(landscape)
    N, points = data.elements.sites, data.elements.points
    levels, first, part = _levels(D)
    spread = np.broadcast_to(levels[:, None], (FILTERS, N // 2 + 1))
    if design.kernels is not None:
        m = np.polynomial.Polynomial.fit(D.ravel(), design.mobility(landscape).ravel(), 3)(levels)
        spread = levels[:, None] - m[:, None] * (design.kernels.transform(np.arange(N // 2 + 1)) @ landscape.pull)
    rate = _relaxation(N) * spread
    waves = data.elements.slope_waves()
    out = np.empty((*D.shape, waves.shape[1]))
    bond = np.arange(points)
    for w, width in enumerate(data.widths):
        decay = rate * width
        left = np.where(np.abs(decay) > 1e-8, -np.expm1(-decay) / np.where(decay == 0, 1.0, decay), 1.0)
        table = resampled(np.sqrt(left)[:, :, None] * waves[None], points, 1)
        out[:, w] = (1 - part[:, w]) * table[first[:, w], bond] + part[:, w] * table[first[:, w] + 1, bond]
    return out


def _levels(D: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A grid of diffusivities, and where between which of its points every bond lies: (...,) and (..., 1)."""
    levels = np.linspace(0.999 * D.min(), 1.001 * D.max(), FILTERS)
    place = (D - levels[0]) / (levels[1] - levels[0])
    first = np.clip(place.astype(int), 0, FILTERS - 2)
    return levels, first, (place - first)[..., None]


def _relaxation(N: int) -> np.ndarray:
    """(waves,) rate at which the waves of N sites relax if D = 1."""
    return N**2 * (2 - 2 * np.cos(2 * np.pi * np.fft.rfftfreq(N)))


class _Smoother:
    """Mobility along the bonds of one start and window -> what its noise is that of, m + (h/4)(D m'' - m D'')."""

    def __init__(self, D: np.ndarray, width: float, sites: int) -> None:
        levels, self.first, self.part = _levels(D)
        bend = len(D) ** 2 * (np.roll(D, 1) - 2 * D + np.roll(D, -1))
        self.scale = np.exp(-0.25 * width * bend)[:, None]
        self.factor = np.exp(-0.25 * width * levels[:, None] * _relaxation(sites)[: len(D) // 2 + 1])[:, :, None]

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """(bonds, P) of (bonds, P), linear."""
        N = len(values)
        table = np.fft.irfft(self.factor * np.fft.rfft(values, axis=0), n=N, axis=1)
        bond = np.arange(N)
        return self.scale * ((1 - self.part) * table[self.first, bond] + self.part * table[self.first + 1, bond])


def _modes(n: int) -> np.ndarray:
    """(n, n - 1) orthonormal directions that carry no total mass."""
    return np.linalg.qr(np.column_stack([np.ones(n), np.eye(n)[:, 1:]]))[0][:, 1:]


def _score_mobility(design: Design, landscape: Landscape, slopes: np.ndarray, short: np.ndarray,
                    steps: int) -> np.ndarray:
    """Fisher scoring of the Wishart likelihood for the coefficients of ln m."""
    each = _seen(design, landscape, slopes, short)
    log_mobility = landscape.log_mobility
    for _ in range(steps):
        gradient, fisher = _scores(design, each, log_mobility)
        step = np.linalg.solve(fisher + 1e-10 * np.trace(fisher) / len(fisher) * np.eye(len(fisher)), gradient)
        log_mobility = log_mobility + np.clip(step, -1.0, 1.0)
        if np.abs(step).max() < 1e-4:
            break
    if not np.isfinite(log_mobility).all():
        raise ModelError("The mobility could not be found from these fluctuations: the windows are too long or the "
                         "realisations too few.")
    return log_mobility


def _seen(design: Design, landscape: Landscape, slopes: np.ndarray, windows: np.ndarray) -> list[tuple[Any, ...]]:
    """(start, window, slopes by mode, covariance seen, smoother) of every start and some windows."""
    data, D = design.data, design.diffusion(landscape)
    Q = _modes(data.elements.elements)
    return [(s, k, slopes[s, k] @ Q, Q.T @ data.covariance[s, k] @ Q,
             _Smoother(D[s, k], data.widths[k], data.elements.sites)) for s in range(len(data.count)) for k in windows]


def _scores(design: Design, each: list[tuple[Any, ...]], log_mobility: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Slope of the log-likelihood of the covariances (with its prior) in the coefficients of ln m; information."""
    data, columns = design.data, design.columns
    gradient, fisher = -design.prior @ log_mobility, design.prior.copy()
    for s, k, G, seen, smooth in each:
        B = smooth(columns[s, k] * np.exp(columns[s, k] @ log_mobility)[:, None])   # slopes of m by coefficient
        m = smooth(np.exp(columns[s, k] @ log_mobility)[:, None])
        scale = design.noise(data.widths[k])
        root = np.linalg.cholesky(scale * (G * m).T @ G)
        white = solve_triangular(root, G.T, lower=True).T                   # (bonds, modes), Σ^-1/2 Γᵀ
        excess = solve_triangular(root, solve_triangular(root, seen, lower=True).T, lower=True) - np.eye(len(root))
        slope = np.array([scale * (white * b[:, None]).T @ white for b in B.T]).reshape(B.shape[1], -1)
        freedom = 0.5 * (data.count[s] - 1)
        gradient += freedom * slope @ excess.ravel()
        fisher += freedom * slope @ slope.T
    return gradient, fisher


def _drift(design: Design, slopes: np.ndarray, mobility: np.ndarray) -> np.ndarray:
    """Generalised least squares of the mean increments for the coefficients of f'' (and of the kernel)."""
    normal, right, _ = _normal(design, slopes, mobility)
    return np.linalg.solve(normal + 1e-12 * np.trace(normal) / len(normal) * np.eye(len(normal)), right)


def _normal(design: Design, slopes: np.ndarray, mobility: np.ndarray,
            curvature: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Normal equations of the drift; and, at a `curvature`, how the right-hand side leans on the coefficients of ln m
    by way of the mean increments alone."""
    data, prior = design.data, design.prior
    Q = _modes(data.elements.elements)
    plain = design.slopes() @ Q
    normal, right, lean = prior.copy(), np.zeros(len(prior)), np.zeros_like(prior)
    for s in range(len(data.count)):
        for k, width in enumerate(data.widths):
            m = mobility[s, k]
            G = slopes[s, k] @ Q
            noise = cho_factor(design.noise(width) * (G * m[:, None]).T @ G / data.count[s])
            flow = -(width * design.weight / data.elements.sites) * plain.T
            X = flow @ (design.forces[s, k] * m[:, None])
            normal += X.T @ cho_solve(noise, X)
            right += X.T @ cho_solve(noise, Q.T @ data.D[s, k])
            if curvature is not None:
                pushed = m * (design.forces[s, k] @ curvature)
                lean += X.T @ cho_solve(noise, flow @ (design.columns[s, k] * pushed[:, None]))
    return normal, right, lean
