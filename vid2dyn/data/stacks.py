"""Recordings of stacks seen as flat movies: for pictures on pages and screens, never for measuring."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from vid2dyn.data.video import Video


class Projection(Video):
    """The brightest pixel over the depth, frame by frame.

    Parameters
    ----------
    stacks : Video
        With planes in depth.
    """

    def __init__(self, stacks: Video) -> None:
        super().__init__(replace(stacks.info, planes=0))
        self._stacks = stacks

    def decode_start(self, index: int) -> int:
        """As of the stacks."""
        return self._stacks.decode_start(index)

    def decode(self, start: int, stop: int) -> Iterator[np.ndarray]:
        """Frames start, ..., stop - 1."""
        for stack in self._stacks.safely(start, stop):
            yield stack.max(axis=0)
