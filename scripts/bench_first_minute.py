"""The first minute: what `vid2dyn demo` costs when nothing is compiled yet, when all is, and what is compiled.

    python scripts/bench_first_minute.py             # all three parts, about two minutes
    python scripts/bench_first_minute.py --parts signatures --write

cold        seconds of ``vid2dyn demo`` with an empty cache of compiled code, as after an installation: imports,
            compiling in this and in a second process, and the work
warm        seconds of the same again
signatures  in one process with an empty cache: functions compiled for types of arguments, numba's own included, and the
            processor time of each, without what it calls; then, with a full cache, which of them are called from Python

``--write`` writes the latter to vid2dyn/core/precompile.txt, the list that a second process and ``vid2dyn warmup`` work
through. Do so when tests/runs/test_first_minute.py says that the list is out of date.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

HEAD = """# Compiled functions that `vid2dyn demo` calls, and the types of their arguments, in the order of compilation.
# Written by scripts/bench_first_minute.py --write; read by vid2dyn/core/precompile.py.
"""


def demo(cache: Path, out: Path) -> str:
    """Seconds of the command, its compiled code in `cache`, and processor time of its processes."""
    begin = time.monotonic()
    done = subprocess.run([sys.executable, __file__, "--demo", str(out)], check=True, stdout=subprocess.PIPE, text=True,
                          env={**os.environ, "NUMBA_CACHE_DIR": str(cache)})
    return f"{time.monotonic() - begin:.1f} s ({done.stdout.splitlines()[-1]})"


def command(out: str) -> None:
    """The command in this process, then the processor time of this and of the second process."""
    from vid2dyn.cli.commands import app

    with contextlib.suppress(SystemExit):
        app(["demo", "--quiet", "--out", out])
    spent = os.times()
    print(f"processor time: {spent.user + spent.system:.1f} s in the first process, "
          f"{spent.children_user + spent.children_system:.1f} s in the second")


def listen(out: str) -> None:
    """Run the demonstration in this process and print as JSON what was compiled and what is called from Python."""
    from numba.core import event

    from vid2dyn.core.precompile import text_of

    compiled: list[tuple[str, float]] = []
    open_ones: list[list[float]] = []

    def text(function: Callable, types: tuple) -> str:
        name = f"{function.__module__}:{function.__qualname__}"
        return f"{name} {' '.join(map(text_of, types))}" if name.startswith("vid2dyn") else name

    class Compiled(event.Listener):
        def on_start(self, event: event.Event) -> None:
            open_ones.append([time.thread_time(), 0.0])

        def on_end(self, event: event.Event) -> None:
            begin, inside = open_ones.pop()
            seconds = time.thread_time() - begin
            if open_ones:
                open_ones[-1][1] += seconds
            compiled.append((text(event.data["dispatcher"].py_func, event.data["args"]), seconds - inside))

    from vid2dyn.runs.demo import demo as run

    with event.install_listener("numba:compile", Compiled()):
        run(out)
    there = {id(thing): thing for name, module in list(sys.modules.items()) if name.startswith("vid2dyn")
             for thing in vars(module).values() if hasattr(thing, "py_func")}
    used = [text(thing.py_func, types) for thing in there.values() for types in thing.signatures]
    print(json.dumps({"compiled": compiled, "used": used}))


def signatures(write: bool) -> None:
    """Print the table, and write the list if asked to."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "NUMBA_CACHE_DIR": f"{folder}/cache"}
        cold, warm = (json.loads(subprocess.run([sys.executable, __file__, "--listen", f"{folder}/{name}"], check=True,
                                                text=True, stdout=subprocess.PIPE, env=environment
                                                ).stdout.splitlines()[-1]) for name in ("cold", "warm"))
    if warm["compiled"]:
        print("not kept in the cache:", *(name for name, _ in warm["compiled"]), sep="\n  ")
    sums: dict[str, list[float]] = defaultdict(lambda: [0, 0.0])
    for name, seconds in cold["compiled"]:
        kind = name.split(" ")[0] if name.startswith("vid2dyn") else "numba's own"
        sums[kind][0] += 1
        sums[kind][1] += seconds
    called = [name for name, _ in cold["compiled"] if name in set(warm["used"])]
    print(f"signatures: {len(cold['compiled'])} compiled, {len(called)} of them called from Python, "
          f"{sum(seconds for _, seconds in cold['compiled']):.1f} s of processor time")
    for name, (number, seconds) in sorted(sums.items(), key=lambda item: -item[1][1]):
        print(f"  {seconds:6.2f} s {number:4.0f}  {name}")
    if write:
        import vid2dyn.core.precompile

        target = vid2dyn.core.precompile.LIST
        target.write_text(HEAD + "\n".join(called) + "\n", encoding="utf-8")
        print(f"written to {target}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=["time", "signatures"], default=["time", "signatures"])
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--listen", metavar="FOLDER", help=argparse.SUPPRESS)
    parser.add_argument("--demo", metavar="FOLDER", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.demo:
        command(asked.demo)
        return
    if asked.listen:
        listen(asked.listen)
        return
    if "time" in asked.parts:
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
            print(f"cold: {demo(place / 'cache', place / 'first')} on {cores} cores", flush=True)
            print(f"warm: {demo(place / 'cache', place / 'second')}", flush=True)
    if "signatures" in asked.parts:
        signatures(asked.write)


if __name__ == "__main__":
    main()
