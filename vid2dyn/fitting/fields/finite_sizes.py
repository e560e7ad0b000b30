"""What finite waves and windows leave in mobility and free energy, as an error of its own.

The flow is the limit of long waves; the data have waves of some elements and windows of some time. What is found from
waves twice as long, and from the later half of the windows, would be the same but for chance if that limit were
reached. The differences, less the part that chance alone makes, enter the bands as errors of one sign each, as the
scatter between realisations knows nothing of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import brentq

from vid2dyn.dynamics.terms.landscape import Landscape
from vid2dyn.fitting.fields.evidence import information_covariance
from vid2dyn.fitting.fields.fluctuations import Design, normal_equations, scores, short_windows
from vid2dyn.fitting.fields.windows import Window


def finite_size_covariance(design: Design, found: Landscape) -> np.ndarray:
    """Covariance (coefficients of ln m, then of f'') to be added to the scatter between realisations.

    Parameters
    ----------
    design : Design
        Of all realisations.
    found : Landscape
        Learned from them.
    """
    followed = design.windows(found)
    known = information_covariance(design, found)
    out = np.zeros_like(known)
    for other, some in _others(design, found, followed):
        # an estimate from part of the data scatters about that from all by the difference of their covariances
        chance = information_covariance(other, found, some) - known
        beyond = beyond_chance(_change(other, found, some), chance, known)
        out += np.outer(beyond, beyond)
    return out


def _change(design: Design, found: Landscape, some: list[Window]) -> np.ndarray:
    """By how much the coefficients of ln m and f'' would be others from some windows: one step of scoring, to first
    order throughout, so that its covariance is that of the information even where that says next to nothing."""
    short = set(short_windows(design, found).tolist())
    gradient, fisher = scores(design, [window for window in some if window.index in short], found.log_mobility)
    normal, right, lean = normal_equations(design, some, found.log_mobility, found.curvature)
    of_m = np.linalg.pinv(fisher) @ gradient
    return np.concatenate([of_m, np.linalg.pinv(normal) @ (right - normal @ found.curvature - lean @ of_m)])


def _others(design: Design, found: Landscape, followed: list[Window]) -> list[tuple[Design, list[Window]]]:
    """Designs and windows that look at longer waves, and at later times."""
    others = []
    longer = Design.of(design.data, design.function, design.kernels, design.smooth, 2 * design.wave)
    if longer.slow.shape[1] < design.slow.shape[1]:
        others.append((longer, followed))
    usable: Sequence[int] = sorted(short_windows(design, found).tolist())
    if len(usable) > 1:
        later = [window for window in followed if window.index >= usable[len(usable) // 2]]
        others.append((design, later))
    return others


def beyond_chance(change: np.ndarray, chance: np.ndarray, known: np.ndarray) -> np.ndarray:
    """What of a change is of the size that an error beside chance has.

    The error is taken for normal with the covariance t `known`, whose directions are those in which data say little
    anyway, and t from the change itself: its square over t known + chance is as large as it has numbers. In each
    direction the part of the square that belongs to t `known` is kept. Nothing where chance explains all; and where
    chance is larger than any such error could be (one wave alone says nothing of most densities) no more than that.

    >>> one = 0.01 * np.eye(2)
    >>> beyond_chance(np.array([0.05, 0.1]), one, one).tolist()
    [0.0, 0.0]
    >>> beyond_chance(np.array([1.0, 1.0]), one, one).round(2).tolist()
    [0.99, 0.99]
    >>> unknown = np.diag([0.01, 100.0])
    >>> beyond_chance(np.array([0.3, 10.0]), unknown, one).round(2).tolist()
    [0.28, 0.28]
    """
    values, vectors = np.linalg.eigh(0.5 * (chance + chance.T))
    kept = values > 0.05 * float(np.trace(known)) / len(known) * 1e-3
    if not kept.any():
        return np.zeros(len(change))
    white = vectors[:, kept] / np.sqrt(values[kept])
    sizes, turn = np.linalg.eigh(white.T @ known @ white)
    sizes = np.maximum(sizes, 0.0)
    square = (turn.T @ white.T @ change) ** 2
    count = float(len(square))
    if square.sum() <= count or not sizes.any():
        return np.zeros(len(change))

    def missing(log_t: float) -> float:
        return float((square / (1.0 + np.exp(log_t) * sizes)).sum()) - count

    high = float(np.log(square.sum() / sizes[sizes > 0].min()))
    t = float(np.exp(brentq(missing, -60.0 + min(0.0, high), high))) if missing(high) < 0 else float(np.exp(high))
    share = np.sqrt(t * sizes / (1.0 + t * sizes))
    return (vectors[:, kept] * np.sqrt(values[kept])) @ (turn @ (share * (turn.T @ (white.T @ change))))
