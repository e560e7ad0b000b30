"""A place for compiled code: the usual ones, and a temporary folder with one note where none can be written."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path

from vid2dyn.core.code_cache import user_cache, with_a_place_for_code

NOWHERE = """
import tempfile
tried, real = [], tempfile.TemporaryFile

def refuse(*args, dir=None, **more):           # this is how numba, too, finds out whether a folder can be written
    if dir is not None and "vid2dyn-code-" not in str(dir):
        tried.append(dir)
        raise PermissionError(13, "Permission denied", str(dir))
    return real(*args, dir=dir, **more)

tempfile.TemporaryFile = refuse
"""


def test_the_users_cache_is_that_of_numba() -> None:
    from numba.misc.appdirs import AppDirs

    assert user_cache() == Path(AppDirs(appname="numba", appauthor=False).user_cache_dir)


def test_nothing_is_done_where_one_of_the_places_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert with_a_place_for_code([tmp_path / "file" / "no folder", tmp_path / "made"]) is None


def test_where_no_place_can_be_written_code_runs_with_one_note_and_leaves_nothing() -> None:
    code = (NOWHERE + "import numpy as np\n"
            "from vid2dyn.core.compiled_arrays import median\n"
            "assert median(np.array([3.0, 1.0, 2.0])) == 2.0\n"
            "assert len(tried) >= 2, tried\n"
            "print(median.stats.cache_path)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120,
                          env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])})
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("Warning") == 1
    assert "NUMBA_CACHE_DIR" in done.stderr
    place = Path(done.stdout.strip()).parent
    assert place.name.startswith("vid2dyn-code-")
    assert not place.exists()
