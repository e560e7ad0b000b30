"""Mobility from fluctuations and free energy from drift: the likelihood of short-time increments of fields.

Increments D over a window h are Gaussian for large N, with

    mean  -(h/N) sum_b m f'' ∂ρ ∂γ_i          covariance  (2 h/N²) sum_b m Γ_bi Γ_bj        (bonds b)

for short h, the weak form of ∂ρ/∂t = ∂(m f''(ρ) ∂ρ) with its fluctuations (the setting of Huang et al.,
arXiv 2312.05810), so K = Γᵀ diag(m) Γ is symmetric, positive and keeps mass whatever m is. What happens within a window
that is not short is followed (`windows`): D is taken from the last iteration for it and held fixed: were it free, it
would trade against m. The sample covariance is Wishart, the sample mean Gaussian and independent of it: two exact
likelihoods without free weights. ln m is linear in its coefficients, fitted by Fisher scoring; f'' is linear in the
drift given m (generalised least squares). No convexity is forced.

Long-ranged forces add columns to both linear problems, one for every hat of the even kernel: μ gains -c_j u_j and ln m
gains b_j u_j with u_j = w_j * ρ - ρ.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.linalg import block_diag, cho_factor, cho_solve, eigh, solve_triangular

from vid2dyn.core.errors import ModelError
from vid2dyn.dynamics.terms.even_kernels import EvenKernels
from vid2dyn.dynamics.terms.landscape import DensityShape, Landscape
from vid2dyn.fitting.fields.elements import IncrementMoments
from vid2dyn.fitting.fields.windows import Ring, Window, frozen_windows, windows

LOOSE = 1e-2
"""Prior precision of the strength of a kernel [1/kT²]: 10 kT is thought possible."""


@dataclass(frozen=True, eq=False)
class Design:
    """Data and the two linear problems, ln(m/ideal) = columns @ b and ∂μ/∂x = forces @ c.

    `prior`, precision of b and of c; `modes` (elements, modes), directions that carry no mass, and of these `slow`
    (modes, some), waves of `wave` elements and more, by which fluctuations tell of the mobility. `near`: a design of
    almost the same data, which does their work; `smooth`: see `of`.
    """

    data: IncrementMoments
    function: DensityShape
    kernels: EvenKernels | None
    prior: np.ndarray
    modes: np.ndarray
    slow: np.ndarray
    wave: int
    smooth: float = 1.0
    near: Design | None = None
    kept: list[tuple[Landscape, list[Window]]] = field(default_factory=list)

    @classmethod
    def of(cls, data: IncrementMoments, function: DensityShape, kernels: EvenKernels | None = None,
           smooth: float = 1.0, wave: int = 4, near: Design | None = None) -> Design:
        """Design from the mean densities in `data`.

        `smooth`: prior precision of third differences of the coefficients, of first differences along a kernel.
        """
        prior = [smooth * function.roughness()]
        if kernels is not None:
            prior.append(LOOSE * np.eye(kernels.count) + smooth * kernels.roughness())
        modes = _modes(data.elements.elements)
        return cls(data, function, kernels, block_diag(*prior), modes, _slow(modes, wave), wave, smooth, near)

    def windows(self, landscape: Landscape) -> list[Window]:
        """What happens in the windows as `landscape` has it; the last answer is kept."""
        if self.near is not None:
            ring = Ring(self.data, self.data.elements.points)
            other = self.data.density - self.near.data.density
            return [window.of_other(ring.of_sites(other[window.start, window.index]))
                    for window in self.near.windows(landscape)]
        if not self.kept or self.kept[0][0] is not landscape:
            self.kept[:] = [(landscape, windows(self.data, landscape, self.modes, self.wave))]
        return self.kept[0][1]

    def landscape(self, log_mobility: np.ndarray, curvature: np.ndarray) -> Landscape:
        """With these coefficients."""
        return Landscape(self.function, log_mobility, curvature, self.kernels)

    def flat(self, mobility: float) -> Landscape:
        """D = 1 and m a multiple of the ideal one, `mobility` in the mean, to begin with."""
        far = np.zeros(len(self.prior) - self.function.knots)
        one = np.ones(self.function.knots)
        scale = mobility / self.function.ideal(self.data.density).mean()
        return self.landscape(np.concatenate([np.log(scale) * one, far]), np.concatenate([one / scale, far]))

    def columns(self, window: Window) -> np.ndarray:
        """(rows, coefficients) of ln m."""
        return np.concatenate([self.function.basis(window.rho), window.kernel_density], axis=1)

    def forces(self, window: Window) -> np.ndarray:
        """(rows, coefficients) of ∂μ."""
        local = self.function.curved(window.rho) * window.gradient[:, None]
        return np.concatenate([local, -window.kernel_gradient], axis=1)

    def seen(self, window: Window) -> np.ndarray:
        """(modes, modes) sample covariance."""
        return self.modes.T @ self.data.covariance[window.start, window.index] @ self.modes


def learn(design: Design, start: Landscape | None = None, rounds: int = 3) -> Landscape:
    """Maximum likelihood for m and f'' from all starts and windows.

    Parameters
    ----------
    design : Design
    start : Landscape, optional
        To begin with (from a fit to almost the same data).
    rounds : int
        How often drift and covariance are fitted in turn, each with the other's last result.
    """
    landscape = start or initial_landscape(design)
    for _ in range(rounds):
        landscape = improved(design, landscape, 1 if start else 2)               # one step: others are close by
    return landscape


def initial_landscape(design: Design) -> Landscape:
    """Where `learn` begins: as if windows were short (then m is too low by a quarter or so, D right to some 5 %)."""
    flat = design.flat(_first_mobility(design.data))
    return _round(design, flat, frozen_windows(design.data, flat, design.modes), 6)


def improved(design: Design, landscape: Landscape, steps: int) -> Landscape:
    """One round: `steps` of scoring for the mobility, then f'' given it."""
    return _round(design, landscape, design.windows(landscape), steps)


def _round(design: Design, landscape: Landscape, followed: list[Window], steps: int) -> Landscape:
    log_mobility = _score_mobility(design, landscape, followed, steps)
    normal, right, _ = normal_equations(design, followed, log_mobility)
    return design.landscape(log_mobility, _solve(normal, right))


def drift_only(design: Design, rounds: int = 5) -> Landscape:
    """The baseline without statistical mechanics: m = 1 (`function` without capacity) and whatever f'' then explains
    the drift.

    Drift alone fixes m f'' and nothing else: (g m, f''/g) are equivalent for every g > 0.
    """
    landscape = design.flat(1.0)
    for _ in range(rounds):
        followed = design.windows(landscape)
        normal, right, _ = normal_equations(design, followed, landscape.log_mobility)
        landscape = design.landscape(landscape.log_mobility, _solve(normal, right))
    return landscape


def short_windows(design: Design, landscape: Landscape) -> np.ndarray:
    """Windows in which fluctuations spread less than half a wave, 2 D h <= L²/4: beyond, covariances tell of D."""
    widths, n = design.data.widths, design.data.elements.elements
    rho = np.clip(design.data.density, design.function.low, design.function.high)
    fastest = (landscape.mobility(rho) * (landscape.second(rho) + landscape.pull.sum())).max()
    short = np.flatnonzero(2 * fastest * widths <= (0.5 * design.wave / n) ** 2)
    return short if short.size else np.array([int(np.argmin(widths))])


def window_scales(design: Design, landscape: Landscape) -> tuple[np.ndarray, np.ndarray]:
    """(W,) covariance seen over that of the model in each window, and standard errors: 1 on the plateau."""
    data, slow = design.data, design.slow
    ratio = np.zeros((len(data.count), len(data.widths)))
    for window in design.windows(landscape):
        model = slow.T @ covariance(window, mobility(design, window, landscape.log_mobility)) @ slow
        seen = slow.T @ design.seen(window) @ slow
        ratio[window.start, window.index] = np.trace(np.linalg.solve(model, seen)) / len(seen)
    return ratio.mean(axis=0), np.full(len(data.widths), np.sqrt(2 / (slow.shape[1] * data.count.sum())))


def mobility(design: Design, window: Window, log_mobility: np.ndarray) -> np.ndarray:
    """(rows,) m."""
    return design.function.ideal(window.rho) * np.exp(design.columns(window) @ log_mobility)


def covariance(window: Window, m: np.ndarray) -> np.ndarray:
    """(modes, modes) of the increments of one realisation."""
    here = (window.spread * m[:, None]).T @ window.spread
    # far from the truth, what earlier windows leave may come out larger than all there is: then not all of it
    worst = eigh(-window.extra, here, eigvals_only=True)[-1]
    return here + window.extra * min(1.0, 0.5 / max(worst, 0.5))


def _first_mobility(data: IncrementMoments) -> float:
    """A constant m that explains the trace of the covariance in the shortest window."""
    short = [int(np.argmin(data.widths))]
    N, slopes = data.elements.sites, data.elements.slopes()
    seen = np.einsum("swii->", data.covariance[:, short])
    expected = len(data.count) * (2 * data.widths[short] / N**2).sum() * (slopes**2).sum()
    return float(seen / expected)


def _modes(n: int) -> np.ndarray:
    """(n, n - 1) orthonormal directions that carry no total mass."""
    return np.linalg.qr(np.column_stack([np.ones(n), np.eye(n)[:, 1:]]))[0][:, 1:]


def _slow(modes: np.ndarray, wave: int) -> np.ndarray:
    """(modes, some) the waves of `wave` elements and more, at least one."""
    n = len(modes)
    phase = 2 * np.pi * np.arange(n)[:, None] / n * np.arange(1, max(1, n // wave) + 1)
    return np.linalg.qr(modes.T @ np.hstack([np.cos(phase), np.sin(phase)]))[0]


def _solve(normal: np.ndarray, right: np.ndarray) -> np.ndarray:
    return np.linalg.solve(normal + 1e-12 * np.trace(normal) / len(normal) * np.eye(len(normal)), right)


def _score_mobility(design: Design, landscape: Landscape, followed: list[Window], steps: int) -> np.ndarray:
    """Fisher scoring of the Wishart likelihood for the coefficients of ln m."""
    short = set(short_windows(design, landscape).tolist())
    used = [window for window in followed if window.index in short]
    log_mobility = landscape.log_mobility
    for _ in range(steps):
        gradient, fisher = scores(design, used, log_mobility)
        step = np.linalg.solve(fisher + 1e-10 * np.trace(fisher) / len(fisher) * np.eye(len(fisher)), gradient)
        log_mobility = log_mobility + np.clip(step, -1.0, 1.0)
        if np.abs(step).max() < 1e-4:
            break
    if not np.isfinite(log_mobility).all():
        raise ModelError("The mobility could not be found from these fluctuations: the windows are too long or the "
                         "realisations too few.")
    return log_mobility


def scores(design: Design, used: list[Window], log_mobility: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Slope of the log-likelihood of the covariances (with its prior) in the coefficients of ln m; information."""
    gradient, fisher, slow = -design.prior @ log_mobility, design.prior.copy(), design.slow
    for window in used:
        columns, m = design.columns(window), mobility(design, window, log_mobility)
        root = np.linalg.cholesky(slow.T @ covariance(window, m) @ slow)
        white = solve_triangular(root, (window.spread @ slow).T, lower=True).T      # (rows, some), Σ^-1/2 of them
        seen = slow.T @ design.seen(window) @ slow
        seen = solve_triangular(root, solve_triangular(root, seen, lower=True).T, lower=True)
        slope = np.array([(white * (m * column)[:, None]).T @ white for column in columns.T]).reshape(len(fisher), -1)
        freedom = 0.5 * (design.data.count[window.start] - 1)
        gradient += freedom * slope @ (seen - np.eye(len(root))).ravel()
        fisher += freedom * slope @ slope.T
    return gradient, fisher


def normal_equations(design: Design, followed: list[Window], log_mobility: np.ndarray,
                     curvature: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Normal equations of the mean increments for the coefficients of f'' (and of the kernel).

    And, at a `curvature`, how the right-hand side leans on the coefficients of ln m by way of the mean increments
    alone.
    """
    data, prior = design.data, design.prior
    normal, right, lean = prior.copy(), np.zeros(len(prior)), np.zeros_like(prior)
    for window in followed:
        m, forces = mobility(design, window, log_mobility), design.forces(window)
        noise = cho_factor(covariance(window, m) / data.count[window.start])
        X = -window.push.T @ (forces * m[:, None])
        normal += X.T @ cho_solve(noise, X)
        right += X.T @ cho_solve(noise, design.modes.T @ data.D[window.start, window.index] - window.rest)
        if curvature is not None:
            pushed = m * (forces @ curvature)
            lean -= X.T @ cho_solve(noise, window.push.T @ (design.columns(window) * pushed[:, None]))
    return normal, right, lean
