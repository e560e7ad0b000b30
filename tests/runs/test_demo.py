"""The demonstration: within its time and memory, with bands that contain the truth, on one self-contained page."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import time
from pathlib import Path

import numba
import pytest

import vid2dyn as vd

SECONDS, GIGABYTES = 90.0, 2.0
NUMBA_OF_THE_LIST = (0, 68)
"""Version by which the list of compiled functions was written."""


NOTED = """
import sys
from numba.core import event
from vid2dyn.core.precompile import listed, text_of

inner, depth = set(), [0]

def text(function, types):
    return f"{function.__module__}:{function.__qualname__} {' '.join(map(text_of, types))}"

class Noted(event.Listener):
    def on_start(self, event):
        function = event.data["dispatcher"].py_func
        if depth[0] and function.__module__.startswith("vid2dyn"):
            inner.add((function, event.data["args"]))
        depth[0] += 1

    def on_end(self, event):
        depth[0] -= 1

event.register("numba:compile", Noted())

def called():
    # Compiled functions that were called: of those compiled here for others, which the cache hides, only listed ones.
    known = set(map(str, listed()))
    there = {id(thing): thing for name, module in list(sys.modules.items()) if name.startswith("vid2dyn")
             for thing in vars(module).values() if hasattr(thing, "py_func")}
    used = {(thing.py_func, types) for thing in there.values() for types in thing.signatures}
    return sorted(text(*one) for one in used if one not in inner or text(*one) in known)

"""
"""Makes a process note which compiled functions it calls, whether they were compiled there or came from the cache."""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, float, float]:
    """Folder, printed text, seconds and peak memory [GB] of ``vid2dyn demo`` in a process of its own."""
    folder = tmp_path_factory.mktemp("demo")
    code = ("from vid2dyn.cli.commands import app; from vid2dyn.core.workers import peak_memory\n"
            + NOTED + "try:\n    app(['demo', '--out', 'result'])\nexcept SystemExit as end:\n    assert not end.code\n"
            "open('compiled.txt', 'w').write('\\n'.join(called()))\n"
            "print('GB', peak_memory())")
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=300)
    seconds = time.perf_counter() - start
    assert done.returncode == 0, done.stdout + done.stderr
    memory = float(done.stdout.split("GB")[-1])
    return folder / "result", done.stdout, seconds, memory


def test_demo_stays_within_its_time_and_memory(ran: tuple[Path, str, float, float]) -> None:
    assert ran[2] < SECONDS
    assert ran[3] < GIGABYTES


def test_demo_calls_the_compiled_functions_of_the_list_and_no_others(ran: tuple[Path, str, float, float]) -> None:
    from vid2dyn.core.precompile import listed

    called, kept = set((ran[0].parent / "compiled.txt").read_text().splitlines()), set(map(str, listed()))
    # versions of numba differ in what they compile apart from its caller: 0.60 has three functions more
    more = called - kept if numba.version_info.short < NUMBA_OF_THE_LIST else set()
    assert called - more == kept, "python scripts/bench_first_minute.py --parts signatures --write"


def test_demo_states_its_numbers_beside_the_truth_and_they_agree(ran: tuple[Path, str, float, float]) -> None:
    result = vd.demo(ran[0])                                   # finished already: only read again
    assert str(result).splitlines()[:-1] == ran[1].splitlines()[: len(str(result).splitlines()) - 1]
    names = [row.name for row in result.rows]
    assert names[:2] == ["diffusion coefficient D", "localisation error σ"]
    assert sum("pair potential" in name for name in names) >= 4
    # bands of 95 %, of which the five of one potential err together; 3.3 standard errors are passed once in a thousand
    assert sum(not row.covered for row in result.rows) <= 1, str(result)
    assert all(abs(row.value - row.truth) < 3.3 / 1.96 * 0.5 * (row.high - row.low) for row in result.rows), str(result)
    diffusion = result.rows[0]
    assert abs(diffusion.value / diffusion.truth - 1) < 0.05
    assert (diffusion.high - diffusion.low) / diffusion.truth < 0.1, "a band that wide contains anything"
    for row in result.rows[2:]:
        assert abs(row.value - row.truth) < 0.3
    near = result.rows[2]
    # smoothness taken for granted: somebody who watches continuously and without noise but assumes none has 0.86 kT
    assert near.high - near.low < 1.0, "a band that wide says too little"


def test_report_is_one_self_contained_page(ran: tuple[Path, str, float, float]) -> None:
    page = (ran[0] / "report.html").read_text()
    assert len(page) < 3e6
    assert not re.search(r'(src|href|url)\s*[=(](?!"(data:|#))', page), "nothing is loaded from elsewhere"
    assert "<script" not in page
    for section in ("numbers", "seen", "motion", "interactions", "agreement", "trust", "provenance"):
        assert f'id="{section}"' in page
    assert page.count("data:image/") >= 7


def test_absent_sample_recording_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.import_module("vid2dyn.runs.demo"), "SAMPLE_DATA", tmp_path)   # vd.demo is the verb
    with pytest.raises(vd.DataError, match=r"install vid2dyn again.*make_sample_data"):
        vd.demo(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_page_escapes_what_files_say(tmp_path: Path) -> None:
    tracks = vd.simulate(vd.simulators.Brownian(n_particles=12, frames=20, box_length=8.0), seed=0)
    hostile = "<script>alert(1)</script>"
    page = vd.report(tmp_path / "x.html", tracks=tracks.replace(info={"source": hostile, "warnings": [hostile]}))
    assert "<script>" not in page.read_text()
    assert "&lt;script&gt;" in page.read_text()
