"""Numbers of threads that the environment asks for, as far as they would keep a library from starting."""

from __future__ import annotations

import os
import sys
import warnings


def without_useless_settings() -> None:
    """Leave ``NUMBA_NUM_THREADS`` out of account where it is no number of threads, and say so.

    numba refuses to be imported with 0 or less ("Number of threads specified must be > 0"), long after the mistake was
    made. Nothing is done where numba is there already.

    """
    name = "NUMBA_NUM_THREADS"
    given = os.environ.get(name)
    if given is None or "numba" in sys.modules:
        return
    try:
        useful = int(given) > 0
    except ValueError:
        useful = False
    if not useful:
        del os.environ[name]
        warnings.warn(f"{name} = {given!r} is no number of threads (1 or more) and is left out of account: as many "
                      "are used as there are cores. Set it to a whole number, or not at all.", RuntimeWarning,
                      stacklevel=3)
