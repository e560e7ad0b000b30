"""Jobs in processes of their own: a share of the cores each, Ctrl-C for the parent alone, and no half-written files."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any, TypeVar

from vid2dyn.core.errors import DataError

T = TypeVar("T")
_PATIENCE = 5.0                    # s that a worker without a parent has to tidy up


def peak_memory() -> float:
    """The most memory that this process has held so far [GB].

    Not `ru_maxrss` where Linux has better: there the count of a fresh process begins at the size of its parent.

    >>> 0.01 < peak_memory() < 1000
    True
    """
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().split("VmHWM:")[1].split()[0]) / 2**20
    import resource  # not on Windows

    unit = 1 if sys.platform == "darwin" else 1024                           # macOS counts bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def in_processes(function: Callable[..., T], jobs: Sequence[tuple[Any, ...]], workers: int,
                 names: Sequence[str]) -> Iterator[tuple[int, T]]:
    """(job number, ``function(*job)``) as the jobs finish, each in one of `workers` fresh processes.

    Parameters
    ----------
    function : callable
        Of a module, with arguments that travel: a worker imports it and opens files by path.
    names : sequence of str
        Of the jobs, for errors.

    Raises
    ------
    DataError
        When a process dies (lack of memory).

    Whatever else a job raises is raised here. An exception, in a job or in the caller's loop, stops the other workers.
    """
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_start_worker,
                               initargs=(workers,))
    try:
        futures = {pool.submit(function, *job): i for i, job in enumerate(jobs)}
        for future in as_completed(futures):
            i = futures[future]
            try:
                result = future.result()
            except BrokenProcessPool:
                raise DataError(f"{names[i]}: a worker process died, perhaps for lack of memory. Use fewer workers and "
                                "repeat; what is finished is kept.") from None
            yield i, result
    except BaseException:
        for process in list((pool._processes or {}).values()):
            process.terminate()
        pool.shutdown(wait=True, cancel_futures=True)
        raise
    pool.shutdown()


def _start_worker(workers: int) -> None:
    """A worker takes its share of the cores, leaves Ctrl-C to its parent, and tidies up when that stops it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))     # an exit runs the clean-up of `files.atomic`
    threads = max(1, (os.cpu_count() or 1) // workers)
    threading.Thread(target=_leave_with_parent, name="leave with parent", daemon=True).start()
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ.setdefault(variable, str(threads))


def _leave_with_parent() -> None:
    """End this worker when its parent is gone, however that died: nobody waits for the result any more."""
    parent = parent_process()
    if parent is None:
        return
    parent.join()                                               # kill -9 closes the pipe that this waits on
    os.kill(os.getpid(), signal.SIGTERM)                        # tidies up
    time.sleep(_PATIENCE)
    os._exit(143)                                               # within compiled code nothing is tidied up
