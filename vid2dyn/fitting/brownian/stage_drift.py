"""Common motion of particles that sit in traps of their own: found, tested, taken out without eating the trap.

In the picture a stage that moves carries all traps along, and the spread of positions about fixed centres then says
drift, not stiffness: 0.1 µm/s over 4 s made k = 12.5 kT/µm² come out as 11, .335 µm/s as 4.6. Positions are split as

    x_i(t) = m_i + c(t) + rest,

by least squares; c is the common motion. Thermal motion puts the mean of N particles into c as well, and with it 1/N of
the variance of every particle's own motion: what is left is stretched by sqrt(N/(N - 1)) about m_i, which gives
variance and covariances in time back. So k, D and the noise stay what they are, and 1/N of the information is lost.

It is done only where c is more than chance: particles in traps of their own are independent and as likely on one side
as on the other, so that a mean with random signs, Σ ± (x_i - m_i - c)/sqrt(N (N - 1)), is what chance gives.

What cannot be told apart: one shared trap that moves from a stage that moves; a steady flow beside traps at rest from
traps at other places. Both need a reference (a bead stuck to the glass).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vid2dyn.core.describe import plain
from vid2dyn.data.trajectories import Trajectories

FEWEST = 6
"""Particles, in the mean over frames, below which common motion is not told from their own."""
SIGMAS = 4.5
"""How far beyond chance; one false alarm in 100,000 recordings or fewer."""
FLIPS = 300
MOST_FRAMES = 2000
"""Frames in which chance is looked at; bounds memory."""


@dataclass(frozen=True, eq=False)
class CommonMotion:
    """c(t) of the module docstring, and how far beyond chance it is.

    `path` (frames, dim) [µm] over all frames from the first to the last, zero in the mean over the first twentieth.
    """

    path: np.ndarray
    sigmas: float
    number: float

    @property
    def extent(self) -> float:
        """Largest distance between two places on the path, along an axis [µm]."""
        return float(np.ptp(self.path, axis=0).max())


def common_motion(tracks: Trajectories) -> CommonMotion | None:
    """The common motion of trapped particles; None with too few of them.

    Examples
    --------
    >>> import vid2dyn as vd
    >>> traps = vd.simulators.Departures(n_particles=20, frames=200, trap="each", trap_stiffness=10.0, spacing=4.0,
    ...                                  box_length=None, drift=0.3)
    >>> found = common_motion(traps.run(seed=0))
    >>> found.sigmas > SIGMAS, abs(found.extent - 0.6) < 0.3
    (True, True)
    """
    linked = np.flatnonzero(tracks.particle >= 0)
    x = tracks.positions[linked]
    which = np.unique(tracks.particle[linked], return_inverse=True)[1]
    frame = tracks.frame[linked].astype(np.int64)
    frame = frame - frame.min()
    present = np.bincount(frame)
    number = float(present[present > 0].mean())
    if number < FEWEST:
        return None
    path, middle = _split(x, which, frame, present)
    start = max(1, len(present) // 20)
    deviation = x - middle[which]
    sigmas = _beyond_chance(deviation, deviation - path[frame], which, frame, present)
    return CommonMotion(path - path[:start][present[:start] > 0].mean(axis=0), sigmas, number)


def _split(x: np.ndarray, which: np.ndarray, frame: np.ndarray, present: np.ndarray,
           rounds: int = 30) -> tuple[np.ndarray, np.ndarray]:
    """c (frames, dim) and m (particles, dim) by alternating least squares; frames without particles keep the last c."""
    count = np.bincount(which)
    path = np.zeros((len(present), x.shape[1]))
    middle = np.zeros((len(count), x.shape[1]))
    for _ in range(rounds):
        for a in range(x.shape[1]):
            middle[:, a] = np.bincount(which, x[:, a] - path[frame, a]) / count
            path[:, a] = np.bincount(frame, x[:, a] - middle[which, a], len(present)) / np.maximum(present, 1)
    empty = np.flatnonzero(present == 0)
    for k in empty:
        path[k] = path[k - 1]
    return path, middle


def _beyond_chance(deviation: np.ndarray, rest: np.ndarray, which: np.ndarray, frame: np.ndarray,
                   present: np.ndarray) -> float:
    """How many standard deviations the common path is larger than chance, from what is left with random signs.

    The larger of two: its sum of squares (in the logarithm) and its trend.
    """
    frames = len(present)
    every = max(1, -(-frames // MOST_FRAMES))
    kept = frame % every == 0
    rows, columns = frame[kept] // every, which[kept]
    size = (-(-frames // every), int(which.max()) + 1)
    share = 1 / np.maximum(present[::every], 1)
    signs = np.random.default_rng(0).choice([-1.0, 1.0], size=(size[1], FLIPS))
    number = np.maximum(present[::every], 2)
    time = np.arange(size[0]) - 0.5 * (size[0] - 1)
    squares, trends = np.zeros(FLIPS), []
    for a in range(deviation.shape[1]):
        dense, left = np.zeros(size), np.zeros(size)
        dense[rows, columns], left[rows, columns] = deviation[kept, a], rest[kept, a]
        paths = (left @ signs) * (share * np.sqrt(number / (number - 1)))[:, None]
        paths[:, 0] = dense.sum(axis=1) * share
        squares += (paths**2).sum(axis=0)
        trends.append(time @ paths)
    log = np.log(np.maximum(squares, 1e-300))
    found = [(log[0] - log[1:].mean()) / max(float(log[1:].std()), 1e-12)]
    found += [abs(trend[0]) / max(float(np.sqrt((trend[1:] ** 2).mean())), 1e-300) for trend in trends]
    return float(max(found))


def without_common_motion(tracks: Trajectories) -> tuple[Trajectories, list[str]]:
    """Tracks of trapped particles without their common motion, where it is more than chance, and a word about it."""
    found = common_motion(tracks)
    if found is None or found.sigmas < SIGMAS:
        return tracks, []
    x = tracks.positions
    frame = tracks.frame.astype(np.int64)
    linked = tracks.particle >= 0
    frame = frame - frame[linked].min()
    inside = (frame >= 0) & (frame < len(found.path))
    rest = x - found.path[np.clip(frame, 0, len(found.path) - 1)]
    which = np.unique(tracks.particle, return_inverse=True)[1]
    middle = np.stack([np.bincount(which, column) for column in rest.T], axis=1) / np.bincount(which)[:, None]
    stretched = middle[which] + np.sqrt(found.number / (found.number - 1)) * (rest - middle[which])
    kept = np.where((linked & inside)[:, None], stretched, rest)
    table = tracks.dataframe.assign(**{axis: kept[:, a] / tracks.units.um for a, axis in enumerate(tracks.axes)})
    speed = found.extent / (len(found.path) * tracks.units.dt)
    return tracks.replace(dataframe=table), [
        f"All particles moved together by {plain(found.extent)} µm ({plain(speed)} µm/s in the mean; "
        f"{found.sigmas:.0f} standard deviations beyond chance), as a stage that drifts or vibrates makes them: it was "
        "taken out before the traps were fitted. A steady flow beside traps at rest cannot be told from traps at "
        "other places."]
