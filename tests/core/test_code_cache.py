"""A place for compiled code: the usual ones, and a temporary folder with one note where none can be written."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from vid2dyn.core.code_cache import user_cache, with_a_place_for_code

PACKAGE = Path(__file__).resolve().parents[2] / "vid2dyn"


def test_the_users_cache_is_that_of_numba() -> None:
    from numba.misc.appdirs import AppDirs

    assert user_cache() == Path(AppDirs(appname="numba", appauthor=False).user_cache_dir)


def test_nothing_is_done_where_one_of_the_places_can_be_written(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert with_a_place_for_code([Path(os.devnull) / "no folder", tmp_path / "made"]) is None


def in_a_process(code: str, **more: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent), "NUMBA_CACHE_DIR": os.devnull + "/none"}
    environment |= {"HOME": os.devnull, "XDG_CACHE_HOME": os.devnull}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120,
                          **more)                                   # type: ignore[call-overload,no-any-return]


@pytest.mark.skipif(sys.platform == "win32", reason="paths of POSIX")
def test_where_no_place_can_be_written_code_runs_with_one_note_and_leaves_nothing(tmp_path: Path) -> None:
    code = ("import os, sys\n"
            "import vid2dyn.core.code_cache as here\n"
            "made = here.with_a_place_for_code([here.Path(os.devnull) / 'none'])\n"
            "from vid2dyn.core.selection import median\n"
            "import numpy as np\n"
            "assert median(np.array([3.0, 1.0, 2.0])) == 2.0\n"
            "assert str(median.stats.cache_path).startswith(str(made)), median.stats\n"
            "print(made)")
    done = in_a_process(code)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("Warning") == 1 and "NUMBA_CACHE_DIR" in done.stderr
    assert not Path(done.stdout.strip()).exists()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can become another user")
def test_a_user_who_may_write_nowhere_can_use_an_installation_of_root(tmp_path: Path) -> None:
    readable = all(place.stat().st_mode & 0o005 == 0o005 for place in [PACKAGE, *PACKAGE.parents])
    owned = not (PACKAGE / "core").stat().st_mode & 0o002
    if not (readable and owned):
        pytest.skip("the clone lies where others may not read, or may write")
    code = ("from vid2dyn.core.selection import median\nimport numpy as np\n"
            "print(median(np.array([3.0, 1.0, 2.0])))")
    done = in_a_process(code, user=65534, cwd="/")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["2.0"]
    assert done.stderr.count("Warning") == 1
