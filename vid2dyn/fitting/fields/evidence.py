"""How well a landscape does: its likelihood on realisations, seen or not, and the information that data hold."""

from __future__ import annotations

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from vid2dyn.dynamics.terms.landscape import Landscape
from vid2dyn.fitting.fields.elements import Statistics
from vid2dyn.fitting.fields.fluctuations import Design, covariance, mobility, normal_equations, scores, short_windows
from vid2dyn.fitting.fields.windows import Window


def sums(statistics: Statistics, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`count`, `D` and `DD` of `log_likelihood` for the realisations of some groups (bool for each)."""
    count = statistics.count[:, groups].sum(axis=1)
    return (count, statistics.D[:, :, groups].sum(axis=2) / count[:, None, None],
            statistics.DD[:, :, groups].sum(axis=2) / count[:, None, None, None])


def information_covariance(design: Design, landscape: Landscape, some: list[Window] | None = None) -> np.ndarray:
    """Covariance of the coefficients of ln m and of f'' from the information of the likelihoods, without leaving out.

    `some`: of some windows only.

    f'' follows from the drift given m, so what m lacks, it gets with the other sign.
    """
    followed = design.windows(landscape) if some is None else some
    short = short_windows(design, landscape)
    _, fisher = scores(design, [window for window in followed if window.index in short], landscape.log_mobility)
    normal, _, lean = normal_equations(design, followed, landscape.log_mobility, landscape.curvature)
    of_m, of_f = np.linalg.pinv(fisher), np.linalg.pinv(normal)
    turned = -of_f @ lean
    return np.block([[of_m, of_m @ turned.T], [turned @ of_m, of_f + turned @ of_m @ turned.T]])


def log_likelihood(design: Design, landscape: Landscape, count: np.ndarray, D: np.ndarray, DD: np.ndarray) -> float:
    """Log-likelihood of one number of one increment [nats].

    Of `count` (S,) realisations with means D (S, W, n) of increments and DD (S, W, n, n) of their squares, under a
    landscape learned from the data of `design` (those or others).
    """
    modes, total = design.modes, 0.0
    for window in design.windows(landscape):
        s, k = window.start, window.index
        m = mobility(design, window, landscape.log_mobility)
        mean = window.rest - window.push.T @ (m * (design.forces(window) @ landscape.curvature))
        seen = modes.T @ D[s, k]
        square = modes.T @ DD[s, k] @ modes - np.outer(seen, mean) - np.outer(mean, seen) + np.outer(mean, mean)
        root = cho_factor(covariance(window, m), lower=True)
        total -= 0.5 * count[s] * (np.trace(cho_solve(root, square)) + 2 * np.log(np.diag(root[0])).sum()
                                   + len(seen) * np.log(2 * np.pi))
    return float(total / (count.sum() * len(design.data.widths) * modes.shape[1]))
