"""Features of a density from a network, trained on the likelihood of fluctuations and drift together.

    -ln L = sum over starts and windows of  (R-1)/2 [ln det Σ + tr Σ⁻¹ S] + 1/2 (D - μ)ᵀ (Σ₀/R)⁻¹ (D - μ)

with S the sample covariance of the increments, D their mean, Σ and μ those of `windows`, linear in m and m f'': both
parts are whitened by what chance does to them, so they need no weights. ln m and f'' share the hidden layers. What
happens in windows, Σ₀ and what a kernel adds are taken from the spline fit before, and held.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from vid2dyn.core.progress import Progress, silent
from vid2dyn.dynamics.terms.landscape import GRID, STIFFNESS, DensityNetwork, Landscape
from vid2dyn.fitting.fields.fluctuations import Design, covariance, mobility, short_windows

WIDTH = 12
"""Units of the first hidden layer."""


@dataclass(frozen=True)
class _Window:
    """One start and window, all tensors; `short`: used for the covariance."""

    rho: torch.Tensor
    ideal: torch.Tensor
    gradient: torch.Tensor
    far_force: torch.Tensor
    far_mobility: torch.Tensor
    spread: torch.Tensor
    push: torch.Tensor
    extra: torch.Tensor
    seen: torch.Tensor
    D: torch.Tensor
    whiten: torch.Tensor
    count: float
    short: bool


def trained(design: Design, spline: Landscape, smooth: float, seed: int, iterations: int = 300,
            progress: Progress = silent) -> Landscape:
    """A landscape on a `DensityNetwork` with as many coefficients as the spline has, near the joint maximum.

    The last layer begins at the least-squares fit to the spline; L-BFGS then moves all layers. `progress` is called
    at every evaluation, so that it can cancel.
    """
    low, high, knots = spline.function.low, spline.function.high, spline.function.knots
    generator = torch.Generator().manual_seed(seed)
    first = torch.stack([3.0 * torch.ones(WIDTH, dtype=torch.float64), torch.linspace(-3, 3, WIDTH).double()], 1)
    second = torch.randn(knots - 1, WIDTH + 1, generator=generator, dtype=torch.float64) * (2.0 / WIDTH) ** 0.5
    start = DensityNetwork(low, high, first.numpy(), second.numpy(), spline.function.capacity)
    rho = np.linspace(low, high, 200)
    values = np.stack([np.log(spline.mobility(rho) / start.ideal(rho)), spline.second(rho) * start.ideal(rho)], 1)
    head = torch.as_tensor(np.linalg.lstsq(start.basis(rho), values, rcond=1e-6)[0])
    parameters = [p.clone().requires_grad_(True) for p in (first, second, head)]
    each = _windows(design, spline)
    weight = smooth * STIFFNESS * ((GRID - 1) / (knots - 3)) ** 5               # as `DensityNetwork.roughness`
    optimiser = torch.optim.LBFGS(parameters, max_iter=iterations, history_size=30, line_search_fn="strong_wolfe",
                                  tolerance_grad=0.0, tolerance_change=1e-14)

    def loss() -> torch.Tensor:
        progress(0, 1, "network")
        optimiser.zero_grad()
        rough = torch.diff(_functions(torch.linspace(low, high, GRID).double(), parameters, low, high), n=3, dim=0)
        total = _minus_log_likelihood(each, parameters, low, high) + 0.5 * weight * (rough**2).sum()
        total = (total + 1e-6 * (parameters[2] ** 2).sum()) / sum(w.count for w in each)
        total.backward()
        return total

    optimiser.step(loss)
    one, two, last = (p.detach().numpy() for p in parameters)
    function = DensityNetwork(low, high, one, two, spline.function.capacity)
    log_mobility, curvature = last.T
    return Landscape(function, np.append(log_mobility, spline.hindrance), np.append(curvature, spline.pull),
                     spline.kernels)


def _windows(design: Design, spline: Landscape) -> list[_Window]:
    data, short, slow, found = design.data, short_windows(design, spline), design.slow, []
    for window in design.windows(spline):
        count = float(data.count[window.start])
        m = mobility(design, window, spline.log_mobility)
        root = np.linalg.cholesky(covariance(window, m) / count)
        arrays = (window.rho, design.function.ideal(window.rho), window.gradient,
                  -window.kernel_gradient @ spline.pull, window.kernel_density @ spline.hindrance,
                  window.spread @ slow, window.push, slow.T @ window.extra @ slow,
                  slow.T @ design.seen(window) @ slow,
                  design.modes.T @ data.D[window.start, window.index] - window.rest, np.linalg.inv(root))
        tensors = [torch.as_tensor(np.ascontiguousarray(a)) for a in arrays]
        found.append(_Window(*tensors, count, bool(window.index in short)))  # type: ignore
    return found


def _functions(rho: torch.Tensor, parameters: list[torch.Tensor], low: float, high: float) -> torch.Tensor:
    """(n, 2) ln m less the ideal's, without the kernel, and f'' times the ideal m, at densities (n,)."""
    first, second, head = parameters
    weight, bias = first.T
    hidden = torch.tanh(((2 * rho - low - high) / (high - low))[:, None] * weight + bias)
    return head[0] + torch.tanh(hidden @ second[:, :-1].T + second[:, -1]) @ head[1:]


def _minus_log_likelihood(each: list[_Window], parameters: list[torch.Tensor], low: float,
                          high: float) -> torch.Tensor:
    total = torch.zeros((), dtype=torch.float64)
    for w in each:
        log_mobility, curvature = _functions(w.rho, parameters, low, high).T
        m = w.ideal * torch.exp(log_mobility + w.far_mobility)
        if w.short:
            root = torch.linalg.cholesky((w.spread * m[:, None]).T @ w.spread + w.extra)
            spread = torch.cholesky_solve(w.seen, root).diagonal().sum()
            total = total + 0.5 * (w.count - 1) * (2 * root.diagonal().log().sum() + spread)
        mean = -w.push.T @ (m * (curvature / w.ideal * w.gradient + w.far_force))
        total = total + 0.5 * ((w.whiten @ (w.D - mean)) ** 2).sum()
    return total
