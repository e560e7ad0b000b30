"""Memory is asked for before it is taken: work that cannot fit is refused with the number, not killed in the middle."""

from __future__ import annotations

import os
from pathlib import Path

from vid2dyn.core.errors import DataError

_UNKNOWN = 16 << 30               # bytes, where the system does not say
_SHARE = 0.9                      # of what is free that one piece of work may take


def free_memory() -> int:
    """Bytes that can be had without swapping; 16 GB where the system does not say.

    >>> free_memory() > 1 << 20
    True
    """
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) << 10
    except (OSError, ValueError, IndexError):
        pass
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):          # Windows
        return _UNKNOWN


def need_memory(needed: float, what: str) -> None:
    """Refuse what does not fit.

    Parameters
    ----------
    needed : float
        Bytes.
    what : str
        What takes them and how to take less, a sentence without its full stop.

    Examples
    --------
    >>> need_memory(1e18, "A rollout of 10^9 frames. Make fewer")
    Traceback (most recent call last):
    ...
    vid2dyn.core.errors.DataError: It needs 9.31e+08 GB of memory, ... are free: A rollout of 10^9 frames. Make fewer.
    """
    free = free_memory()
    if needed > _SHARE * free:
        raise DataError(f"It needs {needed / 2**30:.3g} GB of memory, {free / 2**30:.3g} GB are free: {what}.")
