"""Feature positions frame by frame in, particle numbers out.

`Linker` is the interface; `NearestLinks` the first inhabitant: trackpy's optimal assignment within the search
range (Crocker and Grier 1996, section 4), which holds one frame and its memory at a time.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np

from vid2dyn.errors import DataError
from vid2dyn.tracking.settings import Track


class Linker(ABC):
    """Says which features of successive frames are the same particle."""

    @abstractmethod
    def __call__(self, frames: Iterable[tuple[int, np.ndarray]]) -> Iterator[np.ndarray]:
        """(N,) int64 particle numbers for every (frame number, (N, 2) positions (y, x) [px]).

        Successive frames are taken one at a time, in order, empty ones too.
        """


class NearestLinks(Linker):
    """Least sum of squared displacements within `search_range`, with memory (trackpy).

    Raises
    ------
    DataError
        Where so many particles are within reach of each other that the best assignment cannot be found.

    Examples
    --------
    >>> frames = [(0, np.array([[5.0, 5.0], [20.0, 20.0]])), (1, np.array([[21.0, 20.0], [5.0, 6.0]]))]
    >>> [numbers.tolist() for numbers in NearestLinks(Track(search_range=3))(frames)]
    [[0, 1], [1, 0]]
    """

    def __init__(self, settings: Track) -> None:
        self.settings = settings

    def __call__(self, frames: Iterable[tuple[int, np.ndarray]]) -> Iterator[np.ndarray]:
        from trackpy.linking import Linker as Trackpy

        linker = Trackpy(self.settings.search_range, memory=self.settings.memory)
        started = False
        for number, positions in frames:
            if not started and not len(positions):
                yield np.empty(0, np.int64)            # trackpy cannot start on an empty frame
                continue
            with _quiet():
                self._advance(linker, started, number, positions)
            started = True
            yield np.asarray(linker.particle_ids, dtype=np.int64)

    def _advance(self, linker, started: bool, number: int, positions: np.ndarray) -> None:
        from trackpy import SubnetOversizeException

        try:
            (linker.next_level if started else linker.init_level)(positions, number)
        except SubnetOversizeException as error:
            raise DataError(
                f"Linking frame {number}: too many particles are within search_range = "
                f"{self.settings.search_range:g} px of each other to find the best assignment ({error}). Use a "
                "smaller search_range (at most about half the distance of neighbours) or record at a higher frame "
                "rate; a larger minmass helps where noise was taken for particles.") from None


@contextmanager
def _quiet() -> Iterator[None]:
    """trackpy reports every frame on its logger; silence that here only."""
    logger = logging.getLogger("trackpy")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
