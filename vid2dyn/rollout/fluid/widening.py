"""A rollout whose tables grow: where a state leaves them they are made anew over a wider range, and it goes on.

How far entropies and volumes will go is not known before a rollout. Tables over all that could happen would be coarse,
so they begin with the fluctuations and the heat to be expected, and double when that was not enough. Noise is keyed on
the step, so what was rolled out before stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vid2dyn.core.errors import ModelError
from vid2dyn.core.progress import Progress, silent
from vid2dyn.dynamics.fluid.frozen import FrozenFluid
from vid2dyn.rollout.fluid.paths import FluidTrajectories, fluid_frames
from vid2dyn.rollout.fluid.state import FluidFrame, FluidRollout
from vid2dyn.rollout.fluid.stops import LeftTheTablesError

WIDEST = 8.0
"""Largest width, in units of the first one."""


def widening_paths(tables: Callable[[float], FrozenFluid], start: FluidFrame, settings: FluidRollout, *, steps: int,
                   every: int = 1, seed: int = 0, progress: Progress = silent) -> FluidTrajectories:
    """As `vid2dyn.rollout.fluid.paths.fluid_paths`, with tables over as much as the rollout visits.

    Parameters
    ----------
    tables : callable
        Width (1, 2, 4, ...) -> tables; those of width 1 hold the start with some room.

    Raises
    ------
    ModelError
        When a state leaves even the widest tables: the model itself runs away.
    """
    frames = 1 + steps // every
    position = np.empty((frames, *start.position.shape))
    velocity, entropy = np.empty_like(position), np.empty(position.shape[:2])
    last, done, width = start, 0, 1.0
    while True:
        further = _Further(progress, done * every, steps)
        coming = fluid_frames(tables(width), last, settings, steps=steps - done * every, every=every, seed=seed,
                              progress=further)
        try:
            for last in coming:
                position[done], velocity[done], entropy[done] = last.position, last.velocity, last.entropy
                done += 1
            return FluidTrajectories(position, velocity, entropy, start, last, every * settings.dt)
        except LeftTheTablesError as error:
            if width >= WIDEST:
                raise ModelError(f"{error} These tables are {width:g} times as wide as fluctuations and heating let "
                                 "expect, so the model itself runs away: its temperatures do not stay where the data "
                                 "had them. It was learned from too few or unsuitable data, or the start is not like "
                                 "them. Look at the bands of temperature and heat_capacity, fit more frames, or fit "
                                 "one temperature (entropy=False with listed terms).") from None
            width *= 2.0
            done = max(done - 1, 0)                         # `last` comes again, as the start of the next round


class _Further(Progress):
    """Counts steps from those on that were done before."""

    def __init__(self, progress: Progress, before: int, total: int) -> None:
        self.progress, self.before, self.total = progress, before, total

    def __call__(self, done: int, total: int, what: str) -> None:
        self.progress(self.before + done, self.total, what)
