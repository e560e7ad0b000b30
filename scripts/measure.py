"""Runs the short benchmarks and keeps what they print in docs/measured/, for the page docs/benchmarks.md.

    python scripts/measure.py                    # all of them, about a quarter of an hour on one core
    python scripts/measure.py tracking lattice   # some

Every file begins with the command, the date and the machine. A benchmark that fails leaves its file as it was.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

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
