"""Runs the short benchmarks and keeps what they print in docs/measured/, for the page docs/benchmarks.md.

    python scripts/measure.py                    # all of them, about a quarter of an hour on one core
    python scripts/measure.py tracking lattice   # some

Every file begins with the command, the date and the machine. A benchmark that fails leaves its file as it was. Here is
also the loop over seeds that long benchmarks share (`kept_rows`).
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import vid2dyn as vd

ROOT = Path(__file__).resolve().parents[1]
MEASURED = ROOT / "docs" / "measured"
COMMANDS = {
    "tracking": "bench_tracking.py --parts sigma crowd",
    "linking": "bench_linking.py --parts component million",
    "stacks": "bench_stacks.py --parts static --stacks 1",
    "fit": "bench_fit.py --quick --pair yukawa --shutter 0",
    "lattice": "bench_lattice.py",
    "fluid": "bench_fluid_speed.py --parts step laws",
    "sample": "sample_coverage.py --seeds 4",
}


def machine() -> str:
    """Processor and number of cores of this machine."""
    info = Path("/proc/cpuinfo")
    names = [line.partition(":")[2].strip() for line in info.read_text().splitlines()
             if line.startswith("model name")] if info.exists() else []
    return f"{os.cpu_count()} cores of {names[0] if names else platform.processor() or platform.machine()}"


def kept_rows(names: Sequence[str], seeds: Iterable[int], make: Callable[[str, int], dict[str, Any]],
              out: Path | None) -> Iterator[list[dict[str, Any]]]:
    """For every name what `make(name, seed)` gives for all seeds, plain values with "name" and "seed" added.

    `out` keeps every one as a line of JSON; a run that was ended goes on from there.
    """
    done: dict[tuple[str, int], dict[str, Any]] = {}
    if out is not None and out.exists():
        for line in out.read_text(encoding="utf-8").splitlines():
            one = json.loads(line)
            done[one.get("name", ""), one["seed"]] = one
    for name in names:
        rows = []
        for seed in seeds:
            if (name, seed) not in done:
                done[name, seed] = {"name": name, "seed": seed, **make(name, seed)}
                if out is not None:
                    with out.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(done[name, seed]) + "\n")
            rows.append(done[name, seed])
        yield rows


def seed_options(about: str, names: Sequence[str], seeds: int, first: int) -> argparse.ArgumentParser:
    """A command line with --only, --seeds, --first and --out."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=tuple(names), default=[])
    parser.add_argument("--seeds", type=int, default=seeds)
    parser.add_argument("--first", type=int, default=first, help="first seed")
    parser.add_argument("--out", type=Path, help="file that keeps every seed, one a line, and from which a run goes on")
    return parser


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", choices=[*COMMANDS, []], default=list(COMMANDS))
    for name in parser.parse_args().names:
        start = time.monotonic()
        done = subprocess.run([sys.executable, *f"scripts/{COMMANDS[name]}".split()], cwd=ROOT, text=True,
                              capture_output=True)
        if done.returncode:
            print(f"{name}: failed\n{done.stderr[-2000:]}", file=sys.stderr)
            continue
        head = (f"python scripts/{COMMANDS[name]}\n{datetime.date.today():%-d %B %Y}, {machine()}, "
                f"{time.monotonic() - start:.0f} s, vid2dyn {vd.__version__}\n\n")
        (MEASURED / f"{name}.txt").write_text(head + done.stdout.strip() + "\n", encoding="utf-8")
        print(f"{name}: {time.monotonic() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
