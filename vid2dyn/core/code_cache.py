"""A place for compiled code where the usual ones cannot be written."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterable
from pathlib import Path


def with_a_place_for_code(places: Iterable[Path] | None = None) -> Path | None:
    """Make a temporary folder for compiled code where none of the usual places can be written, and say so.

    numba keeps compiled code in ``NUMBA_CACHE_DIR``, beside the source files, or in the user's cache. Where it can
    write to none of them it refuses to define a function that is to be kept, and nothing could be imported. Called
    once, when vid2dyn is imported, before numba is needed.

    Parameters
    ----------
    places : iterable of Path, optional
        In place of the usual ones.

    Returns
    -------
    Path or None
        The folder, removed when this process ends; None where one of the places will do.
    """
    if any(map(_writable, _usual() if places is None else places)):
        return None
    made = Path(tempfile.mkdtemp(prefix="vid2dyn-code-"))
    atexit.register(_removed, made, os.getpid())
    os.environ["NUMBA_CACHE_DIR"] = str(made)              # for processes that are started here, too
    if "numba" in sys.modules:
        sys.modules["numba"].config.CACHE_DIR = str(made)
    warnings.warn("Compiled code cannot be kept: neither the folder of vid2dyn nor the user's cache can be written. "
                  "About half a minute is spent on compiling at every start. Set the environment variable "
                  "NUMBA_CACHE_DIR to a folder that can be written.", RuntimeWarning, stacklevel=3)
    return made


def _usual() -> Iterable[Path]:
    """Where numba looks for a place, in this order."""
    given = os.environ.get("NUMBA_CACHE_DIR")
    if given:
        yield Path(given)
    yield Path(__file__).with_name("__pycache__")
    yield user_cache()


def user_cache() -> Path:
    """numba's folder in the cache of the user."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "numba" / "Cache"
    if sys.platform == "darwin":
        return Path(os.path.expanduser("~/Library/Caches/numba"))
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "numba"


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True


def _removed(folder: Path, process: int) -> None:
    if os.getpid() == process:                             # not when a process forked from it ends
        shutil.rmtree(folder, ignore_errors=True)
