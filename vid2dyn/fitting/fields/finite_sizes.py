"""What finite waves and windows leave in mobility and free energy, as an error of its own.

The flow is the limit of long waves; the data have waves of some elements and windows of some time. What is found from
waves twice as long, and from the later half of the windows, would be the same but for chance if that limit were
reached. The differences, less the part that chance alone makes, enter the bands as errors of one sign each, as the
scatter between realisations knows nothing of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vid2dyn.dynamics.terms.landscape import Landscape
from vid2dyn.fitting.fields.evidence import information_covariance
from vid2dyn.fitting.fields.fluctuations import Design, refined, short_windows
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
        moved = refined(other, found, some)
        change = np.concatenate([moved.log_mobility - found.log_mobility, moved.curvature - found.curvature])
        # an estimate from part of the data scatters about that from all by the difference of their covariances
        chance = information_covariance(other, found, some) - known
        out += beyond_chance(change, chance, known) * np.outer(change, change)
    return out


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


def beyond_chance(change: np.ndarray, chance: np.ndarray, known: np.ndarray) -> float:
    """Share of the square of a change that chance does not explain: 1 - k/χ², none where χ² is below k.

    >>> round(beyond_chance(np.array([0.05, 0.1]), 0.01 * np.eye(2), 0.01 * np.eye(2)), 2)
    0.0
    >>> round(beyond_chance(np.array([1.0, 1.0]), 0.01 * np.eye(2), 0.01 * np.eye(2)), 2)
    0.99
    """
    values, vectors = np.linalg.eigh(0.5 * (chance + chance.T))
    least = 0.05 * float(np.trace(known)) / len(known) * 1e-3
    kept = values > least
    if not kept.any():
        return 0.0
    square = float(((vectors[:, kept].T @ change) ** 2 / values[kept]).sum())
    return max(0.0, 1.0 - float(kept.sum()) / max(square, 1e-300))
