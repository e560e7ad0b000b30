"""Compiled code ahead of its use: the list, the second process and its end, the command."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from vid2dyn.core import precompile
from vid2dyn.core.precompile import Kernel, compile_listed, compiling_ahead, listed, text_of, types_of

MOST = 32
"""Functions that the demonstration may compile. Each costs a new user about a second: think twice before this number is
raised."""
PACKAGE = Path(precompile.__file__).parents[1]
DEAR = {"median", "percentile", "quantile", "partition", "sort", "argsort", "unique", "concatenate", "linalg", "cumsum"}


def test_the_list_is_read_as_it_is_written_and_does_not_grow() -> None:
    for kernel in listed():
        assert " ".join(map(text_of, types_of(kernel.arguments))) == kernel.arguments
        assert hasattr(kernel.function, "py_func"), kernel
    assert len(listed()) <= MOST
    assert len({kernel.name for kernel in listed()}) >= len(listed()) - 1, "functions are compiled for several types"


def test_types_are_those_of_arguments() -> None:
    from numba import typeof

    from vid2dyn.tracking.fit.nearby import Neighbours

    near = Neighbours(np.zeros(2, np.int64), np.zeros(2, np.int64), np.zeros(2))
    things = (1, 1.0, True, np.zeros((2, 2), np.float32), np.zeros(4)[::2], np.asfortranarray(np.zeros((2, 3))),
              (1, 2.0), (1.0, 2.0), near, np.random.default_rng(0), np.zeros(3, np.uint8), np.zeros(3, bool))
    kinds = tuple(map(typeof, things))
    assert types_of(" ".join(map(text_of, kinds))) == kinds


def compiled_functions(module: ast.Module) -> list[ast.FunctionDef]:
    return [node for node in module.body if isinstance(node, ast.FunctionDef)
            and any("njit" in ast.unparse(decorator) for decorator in node.decorator_list)]


def test_functions_of_the_list_use_nothing_that_takes_seconds_to_compile() -> None:
    """numpy functions that sort, select or solve; arrays assigned to slices, the words of whose error are compiled."""
    wrong = []
    for name in sorted({kernel.name.split(":")[0] for kernel in listed()}):
        path = PACKAGE.parent / (name.replace(".", "/") + ".py")
        for function in compiled_functions(ast.parse(path.read_text(encoding="utf-8"))):
            for node in ast.walk(function):
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "np" \
                        and node.attr in DEAR:
                    wrong.append(f"{name}:{function.name} np.{node.attr}")
                if isinstance(node, ast.Assign) and any(isinstance(part, ast.Slice) for target in node.targets
                                                        for part in ast.walk(target)) \
                        and not re.fullmatch(r"(np\.float32\()?-?(np\.)?[\w.]+\)?", ast.unparse(node.value)):
                    wrong.append(f"{name}:{function.name} {ast.unparse(node)}")
    assert not wrong, "\n".join(wrong)


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def empty(tmp_path: Path) -> dict[str, str]:
    """An environment with an empty cache of compiled code."""
    return {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}


def test_the_second_process_fills_the_cache_and_ends_with_the_block(tmp_path: Path,
                                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(precompile, "_worth_it", lambda: True)
    with compiling_ahead("vid2dyn.tracking.fit.crowd") as process:
        assert process is not None
        assert process.wait(60) == 0
    kept = {path.name.split("-")[0] for path in (tmp_path / "cache").rglob("*.nbi")}
    assert {"crowd._of_width", "crowd._limits"} <= kept
    assert not any(name.startswith(("joint", "neighbours", "crowd._share_left")) for name in kept), "reads images"
    with compiling_ahead() as process:
        assert process is not None
        assert process.poll() is None
    assert process.returncode is not None


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_the_second_process_ends_when_the_first_is_killed(empty: dict[str, str]) -> None:
    code = ("import time\nfrom vid2dyn.core import precompile\nprecompile._worth_it = lambda: True\n"
            "with precompile.compiling_ahead() as process:\n    print(process.pid, flush=True)\n    time.sleep(100)")
    first = subprocess.Popen([sys.executable, "-c", code], env=empty, stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None
    second = int(first.stdout.readline())
    assert alive(second)
    first.kill()
    first.communicate()
    stop = time.monotonic() + 20
    while alive(second) and time.monotonic() < stop:
        time.sleep(0.05)
    assert not alive(second)


def test_a_list_that_is_out_of_date_and_a_second_process_that_cannot_start_do_no_harm(
        monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(precompile, "listed", lambda: (Kernel("vid2dyn.core.compiled_arrays:gone", "f8"),
                                                       Kernel("vid2dyn.nowhere:gone", "f8"),
                                                       Kernel("vid2dyn.core.compiled_arrays:median", "f8 f8")))
    monkeypatch.setattr(precompile.threading, "Thread", lambda **_: _Nothing())
    monkeypatch.setattr(precompile.signal, "signal", lambda *_: None)
    precompile.main([])
    monkeypatch.setattr(precompile, "_worth_it", lambda: True)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no python"))
    with compiling_ahead() as process:
        assert process is None


class _Nothing:
    def start(self) -> None:
        pass


def test_nothing_is_started_where_code_is_there_already() -> None:
    compile_listed(kernel for kernel in listed() if kernel.name == precompile._SIGNS[-1])
    with compiling_ahead() as process:
        assert process is None


def test_kinds_of_pixels_are_those_that_the_tracker_keeps() -> None:
    from vid2dyn.tracking.detect.spots import with_bright_particles

    frames = (np.zeros((8, 8), kind) for kind in (np.uint8, np.uint16, np.int16, np.float64))
    kinds = [with_bright_particles(frame, None)[0].dtype for frame in frames]
    assert [np.dtype(kind) for kind in precompile.PIXELS] == list(dict.fromkeys(kinds))
    assert sum(kernel.reads_images for kernel in listed()) > 5


def test_signs_of_a_cache_are_in_the_list() -> None:
    assert set(precompile._SIGNS) <= {kernel.name for kernel in listed()}
