"""How the napari panel feels: ticks of the GUI while it works, cancel, a million rows, ten thousand frames.

    xvfb-run -a -s "-screen 0 1920x1200x24" python scripts/bench_gui.py

Prints one line for each figure with its bound; exit code 1 if one is missed. A tick is a timer of 10 ms in the GUI
thread; how late it comes is what a user feels.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import vid2dyn as vd
from vid2dyn_napari import samples

BOUNDS: list[bool] = []


def say(what: str, value: float, unit: str, bound: float | None = None) -> None:
    """One line of the table."""
    ok = bound is None or value <= bound
    BOUNDS.append(ok)
    print(f"{what:<58}{value:>9.3g} {unit:<9}{'' if bound is None else f'at most {bound:g}'}{'' if ok else '  MISSED'}",
          flush=True)


class Bench:
    """A viewer with the panel and a ticking clock."""

    def __init__(self) -> None:
        import napari
        from qtpy.QtCore import QTimer
        from qtpy.QtWidgets import QApplication

        from vid2dyn_napari.panel import open_panel

        self.viewer = napari.Viewer(title="bench")
        self.viewer.window.resize(1600, 1000)
        self.panel = open_panel(self.viewer)
        self.app = QApplication.instance()
        self.late: list[float] = []
        self.last = time.perf_counter()
        self.timer = QTimer()
        self.timer.setInterval(10)
        self.timer.timeout.connect(self._tick)
        self.timer.start()
        self.settle(1.0)

    def _tick(self) -> None:
        now = time.perf_counter()
        self.late.append(now - self.last - 0.01)
        self.last = now

    def settle(self, seconds: float) -> None:
        """Run the event loop for a while."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.app.processEvents()
            time.sleep(0.001)

    def until(self, condition: Any, seconds: float = 240.0) -> float:
        """Run the event loop until `condition`; returns the seconds it took."""
        begin = time.perf_counter()
        while not condition():
            self.app.processEvents()
            time.sleep(0.001)
            if time.perf_counter() - begin > seconds:
                raise TimeoutError(str([s.message.text() for s in self.panel.sections.values()]))
        return time.perf_counter() - begin

    def ticks(self, what: str, bound: float | None) -> None:
        """Report the ticks since the last report."""
        late = 1e3 * np.maximum(self.late, 0.0)
        say(f"{what}: tick late, p50", float(np.percentile(late, 50)), "ms")
        say(f"{what}: tick late, p95", float(np.percentile(late, 95)), "ms", bound)
        say(f"{what}: tick late, longest", float(late.max()), "ms")
        self.late.clear()


def working(bench: Bench) -> None:
    """Ticks while tracking and fitting; how long a cancel takes."""
    panel, sections = bench.panel, bench.panel.sections
    sections["Open"].sample_button.click()
    bench.until(lambda: not panel.worker.busy)
    for warm in (True, False):                            # the first round compiles
        sections["Detect"].form.fill({"diameter": 9})
        sections["Track and check"].form.fill({"memory": 2, "min_length": 5})
        sections["Track and check"].track_button.click()
        bench.until(lambda: not panel.worker.busy)
        bench.settle(1.0)
        bench.late.clear()
        sections["Fit"].unfold()
        sections["Fit"].form.fill({"cutoff": 3.0})
        sections["Fit"].fit_button.click()
        seconds = bench.until(lambda: not panel.worker.busy)
        say(f"fit, {'compiling' if warm else 'compiled'}", seconds, "s")
        bench.ticks(f"while fitting, {'compiling' if warm else 'compiled'}", None if warm else 50.0)
    sections["Fit"].fit_button.click()
    bench.until(lambda: bool(sections["Fit"].likelihoods))         # a round is done, so there is a model to keep
    sections["Fit"].cancel_button.click()
    say("stop a fit, the best so far kept as a model", bench.until(lambda: not panel.worker.busy), "s", 1.0)
    say("rounds of the model that was kept", float(panel.session.model.report["stopped_early"]["rounds"]), "")
    bench.until(lambda: not [t for t in threading.enumerate() if t.name == "vid2dyn verb"])
    sections["Track and check"].unfold()
    bench.settle(2.0)                                     # what was learned is drawn
    before = panel.session.tracks
    sections["Track and check"].track_button.click()
    bench.settle(0.1)
    sections["Track and check"].cancel_button.click()
    say("cancel tracking, what is done kept and drawn",
        bench.until(lambda: panel.session.tracks is not before and "tracks" in panel.workspace.ours), "s", 1.0)
    bench.until(lambda: not panel.worker.busy)


def million(bench: Bench, folder: Path) -> None:
    """A table of a million rows, from file to picture."""
    particles, frames = 5000, 200
    rng = np.random.default_rng(0)
    yx = rng.uniform(0, 1000, (particles, 1, 2)) + rng.normal(0, 1, (particles, frames, 2)).cumsum(axis=1)
    table = pd.DataFrame({"frame": np.tile(np.arange(frames), particles),
                          "particle": np.repeat(np.arange(particles), frames), "y": yx[..., 0].ravel(),
                          "x": yx[..., 1].ravel()})
    path = vd.Trajectories.from_dataframe(table, 50.0, 0.1, 0.01).save(folder / "million.parquet")
    begin = time.perf_counter()
    bench.viewer.layers.clear()
    bench.viewer.open(str(path), plugin="vid2dyn")
    bench.settle(0.0)
    bench.app.processEvents()
    say(f"open {len(table):,} rows of tracks, drawn", time.perf_counter() - begin, "s", 5.0)
    say("vertices drawn", float(len(bench.viewer.layers[-1].data)), "")


def long_movie(bench: Bench, folder: Path, frames: int = 10_000, edge: int = 256) -> None:
    """A movie of ten thousand frames, scrubbed in order and at random, in little memory."""
    import tifffile

    path = folder / "long.tif"
    rng = np.random.default_rng(0)
    some = rng.integers(0, 255, (16, edge, edge), dtype=np.uint8)
    tifffile.imwrite(path, (some[k % 16] for k in range(frames)), shape=(frames, edge, edge), dtype=np.uint8,
                     photometric="minisblack")
    before = memory()
    begin = time.perf_counter()
    bench.viewer.layers.clear()
    bench.viewer.open(str(path), plugin="vid2dyn")
    bench.app.processEvents()
    say(f"open {frames:,} frames of {edge} x {edge} px ({path.stat().st_size / 1e6:.0f} MB)",
        time.perf_counter() - begin, "s")
    for name, order, bound in (("in order", range(300), 50.0), ("at random", rng.integers(0, frames, 300), 100.0)):
        took = []
        for k in order:
            begin = time.perf_counter()
            bench.viewer.dims.set_current_step(0, int(k))
            bench.app.processEvents()
            took.append(time.perf_counter() - begin)
        say(f"one step of the slider, {name}, median", 1e3 * float(np.median(took)), "ms", bound)
    say("memory that this took", memory() - before, "MB", 250.0)


def memory() -> float:
    """Resident memory of this process [MB]."""
    import psutil

    return psutil.Process(os.getpid()).memory_info().rss / 1e6


def main() -> None:
    """Everything."""
    if not samples.CLIP.is_file():
        raise SystemExit("the sample recording is not there; run this in a clone of the repository")
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench()
        working(bench)
        million(bench, Path(folder))
        bench.panel.stop()
        long_movie(bench, Path(folder))
        bench.timer.stop()
        bench.viewer.close()
        bench.settle(0.2)
    sys.exit(0 if all(BOUNDS) else 1)


if __name__ == "__main__":
    main()
