"""Do the data look like what the model does on its own? Motion, neighbours and velocities of both, as tests.

The model runs from the first frame of the data several times. A few numbers of the data (mean squared displacements,
numbers of neighbours, velocity correlations) are then compared with their scatter over these runs, so that the null is
the model itself, with everything that points of one curve have to do with each other:

    T = d' [S (1 + 1/K)]⁻¹ d,    d = (of the data) - (mean of K runs),  S their covariance: Hotelling's T²

(`quantities`, with K in place of pieces). Every run of colloids and of listed terms is one of a model whose numbers are
drawn from their errors (`Model.drawn`), so that S holds what these make as well. A test of single steps sees a
departure of the same size earlier; this one sees what steps do not: slow and collective motion.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from vid2dyn.analysis.mean_squared_displacement import msd
from vid2dyn.assessment.base import SAID, Finding
from vid2dyn.assessment.quantities import Quantities, hotelling, p_value
from vid2dyn.core.errors import ConfigError
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.dynamics.snapshot import neighbour_pairs

RUNS = 16
"""Rollouts that the data are compared with."""
LOOKED_AT = 40
"""Frames in which neighbours are counted."""
REACH = (0.7, 1.0, 1.5)
"""Distances within which they are counted, in mean spacings of the particles."""
FEWEST_PAIRS = 200
"""Pairs within a distance, below which nothing is said of it."""
MARGIN = 1.0
"""Departure that is allowed [%]: about what smooth functions and steps of finite length make. The errors of learned
numbers are not in it, runs differ by them."""


def rollout_findings(data: Trajectories, runs: Sequence[Trajectories], margin: float = MARGIN) -> list[Finding]:
    """Findings about motion, neighbours and, where both have them, recorded velocities.

    Parameters
    ----------
    data : Trajectories
        Linked, with frame rate and length of a pixel.
    runs : sequence of Trajectories
        Rollouts from the first frame of the data, each of the model with its numbers drawn from their errors, with as
        many frames, seen by the same camera.
    margin : float
        Departure that is allowed [%].

    Examples
    --------
    >>> from vid2dyn import Periodic, Units
    >>> rng = np.random.default_rng(0)
    >>> def gas(step):
    ...     paths = rng.uniform(0, 10, (1, 40, 2)) + rng.normal(0, step, (60, 40, 2)).cumsum(axis=0)
    ...     return Trajectories.from_dense(paths, Units(0.1, 10.0), box=Periodic((10.0, 10.0)))
    >>> runs = [gas(0.1) for _ in range(16)]
    >>> found = rollout_findings(gas(0.1), runs)
    >>> [one.test for one in found], all(one.p > 1e-4 for one in found)
    (['rollout: motion', 'rollout: neighbours'], True)
    >>> bool(rollout_findings(gas(0.15), runs)[0].p < 1e-4)
    True
    """
    found = [kind(data, runs, margin) for kind in (_motion, _neighbours, _velocities)]
    return [one for one in found if one is not None]


def against_runs(test: str, question: str, of_data: np.ndarray, of_runs: np.ndarray, advice: str,
                 margin: float = MARGIN) -> Finding | None:
    """The finding of numbers (k,) of the data beside those of (runs, k) of the model, both relative (1 is 100 %).

    None where the numbers are too few or too many for so many runs.
    """
    runs, count = of_runs.shape
    if not count or runs < count + 4 or not (np.isfinite(of_data).all() and np.isfinite(of_runs).all()):
        return None
    mean = of_runs.mean(axis=0)
    scatter = np.atleast_2d(np.cov(of_runs, rowvar=False)) * (1 + 1 / runs)
    if not (np.diag(scatter) > 0).all():
        return None
    found = Quantities(of_data - mean, scatter, runs)
    statistic, effect = hotelling(found), 100.0 * float(np.abs(found.value).max())
    p = p_value(statistic, count, runs, margin / max(effect, 1e-300))
    return Finding(test, question, statistic, p, effect, "%", advice if p < SAID else "", margin)


def _motion(data: Trajectories, runs: Sequence[Trajectories], margin: float) -> Finding | None:
    """ln MSD at one frame, at a tenth of the recording and between."""
    longest = max(1, min(100, min(one.n_frames for one in (data, *runs)) // 10))
    lags = sorted({1, max(1, round(math.sqrt(longest))), longest})
    values = [np.log(np.maximum(msd(one, lags=lags).value, 1e-300)) for one in (data, *runs)]
    lag = [f"{k * data.units.dt:.3g} s" for k in lags]
    change = np.exp(values[0] - np.mean(values[1:], axis=0))
    said = ", ".join(f"{ratio:.3g} times at {at}" for ratio, at in zip(change, lag, strict=True))
    return against_runs("rollout: motion", "the model's own motion goes as far as that of the data", values[0],
                        np.array(values[1:]), f"Mean squared displacements of the data are {said} of those of the "
                        "model let run from the first frame. What it predicts over such times is wrong by that: look "
                        "at vd.compare(tracks, rollout) and at the other tests for the cause.", margin)


def _neighbours(data: Trajectories, runs: Sequence[Trajectories], margin: float) -> Finding | None:
    """Numbers of pairs within some distances, over the mean of the model's."""
    each = len(data) / max(1, len(np.unique(data.frame)))
    lengths = data.box.lengths
    if any((one.box.lengths is None) != (lengths is None) for one in runs):      # one of both has edges
        return None
    size = np.ptp(data.positions, axis=0) if lengths is None else np.asarray(lengths, dtype=float)[:data.dim]
    if each < 3 or not (size > 0).all():
        return None
    spacing = float((np.prod(size) / each) ** (1 / data.dim))
    most = 0.49 * float(size.min()) if lengths is not None else math.inf
    radii = np.array([r * spacing for r in REACH if r * spacing < most])
    if not len(radii):
        return None
    try:
        counts = np.array([_pairs_within(one, radii) for one in (data, *runs)])
    except ConfigError:                                        # a box that has no nearest images this far
        return None
    enough = (counts > FEWEST_PAIRS).all(axis=0)
    radii, counts = radii[enough], counts[:, enough]
    if not len(radii):
        return None
    # shells are counted once each, so that neighbouring numbers have less to do with each other
    shells = np.diff(counts, axis=1, prepend=0.0)
    kept = (shells > FEWEST_PAIRS).all(axis=0)
    radii, values = radii[kept], np.log(shells[:, kept])
    change = np.exp(values[0] - values[1:].mean(axis=0))
    said = ", ".join(f"{ratio:.3g} times as many up to {r:.3g} µm" for ratio, r in zip(change, radii, strict=True))
    return against_runs("rollout: neighbours", "the model keeps the arrangement of the particles", values[0],
                        values[1:], f"Neighbours in the data, shell by shell, are {said} as when the model is let run "
                        "from the first frame: forces are wrong or missing, or the sample was not at rest. Look at "
                        "vd.compare(tracks, rollout).", margin)


def _velocities(data: Trajectories, runs: Sequence[Trajectories], margin: float) -> Finding | None:
    """Recorded velocities: mean square at the beginning and at the end, and how much of it is left after some frames.
    """
    if data.velocities is None or any(one.velocities is None for one in runs):
        return None
    values = np.array([_correlations(one) for one in (data, *runs)])
    if not (values > 0).all():
        values, scale = values[:, :2], "mean squares of velocities in the first and in the second half"
    else:
        scale = "mean squares of velocities in the first and in the second half, and their correlation over 4 frames,"
    values = np.log(np.maximum(values, 1e-300))
    change = np.exp(values[0] - values[1:].mean(axis=0))
    return against_runs("rollout: velocities", "velocities of the model last as those of the data", values[0],
                        values[1:], f"The {scale} are {', '.join(f'{ratio:.3g}' for ratio in change)} times those of "
                        "the model let run from the first frame: temperature, friction or heating are wrong.", margin)


def _correlations(tracks: Trajectories) -> np.ndarray:
    """<v²> of the halves of a recording, and <v(t) v(t + 4)>."""
    velocity = tracks.velocities
    assert velocity is not None
    square = (velocity**2).sum(axis=1)
    late = tracks.frame - tracks.frame.min() >= 0.5 * np.ptp(tracks.frame)
    i, j = tracks.lagged(4)
    left = float((velocity[i] * velocity[j]).sum(axis=1).mean()) if len(i) else math.nan
    return np.array([float(square[~late].mean()), float(square[late].mean()), left])


def _pairs_within(tracks: Trajectories, radii: np.ndarray) -> np.ndarray:
    """Numbers of pairs in some of the frames."""
    frames = np.unique(tracks.frame)
    total = np.zeros(len(radii))
    for frame in frames[np.unique(np.linspace(0, len(frames) - 1, LOOKED_AT).round().astype(int))]:
        box = tracks.box.after(float(frame) * tracks.units.dt)
        x = tracks.positions[tracks.frame == frame]
        pairs = neighbour_pairs(x, float(radii[-1]), box)
        r = np.linalg.norm(box.displacement(x[pairs[:, 0]], x[pairs[:, 1]]), axis=1)
        total += (r[:, None] < radii).sum(axis=0)
    return total
