"""Window moments without the noise of the positions: noise is added on purpose, and the sums are followed back to none.

Noise of variance v makes A grow by about v times the squared gradients of g, 1850 µm⁻² of its size for neighbours at
7 µm:
at 25 nm forces come out half as large as they are. A and b are smooth in v, so they are evaluated at the variance of
the data and with two more amounts of noise, and the parabola through them is read at v = 0. Exposure spreads
positions less than an instant does: it counts as negative noise, -2 D t_E/6 for each axis (`indirect`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from vid2dyn.fitting.brownian.packing.window_moments import WindowMoments
from vid2dyn.fitting.brownian.recording import Recording

SMALLEST = 1e-6
"""Variance [µm²] below which noise does not matter: 1 nm."""


def without_noise(recording: Recording, variance: np.ndarray, moments: Callable[[Recording], WindowMoments],
                  rng: np.random.Generator) -> WindowMoments:
    """Moments of the positions without their noise.

    Parameters
    ----------
    variance : (n, dim) array
        Of the noise [µm²], less what the exposure took away; may be negative.
    moments : callable
        Recording -> its window moments.
    rng : numpy.random.Generator
    """
    typical = float(np.mean(variance))
    seen = moments(recording)
    if abs(typical) < SMALLEST:
        return seen
    # Each amount is added and taken away: what is of first order in the noise cancels, and only what is followed back
    # is left. Scatter of A bends the solution (A's inverse is convex): forces came out 4 % large at 25 nm without.
    # One draw is in both amounts: its own fluctuation is nearly a shift of the parabola.
    step, others = np.abs(variance), []
    first, second = (rng.standard_normal(recording.position.shape) for _ in range(2))
    for noise in (np.sqrt(step) * first, np.sqrt(step) * (first + second)):
        others += [moments(replace(recording, position=recording.position + sign * noise)) for sign in (1.0, -1.0)]
    at = np.array([np.sign(typical), np.sign(typical) + 1.0, np.sign(typical) + 2.0])
    seen_weight, once, twice = np.linalg.solve(np.vander(at, 3).T, np.array([0.0, 0.0, 1.0]))
    return seen.linear(others, np.array([seen_weight, once / 2, once / 2, twice / 2, twice / 2]))
