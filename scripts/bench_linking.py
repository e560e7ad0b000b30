"""Linking beside trackpy, on the same positions in the same run, one thread each.

    python scripts/bench_linking.py                          # everything (about six minutes)
    python scripts/bench_linking.py --parts link component   # some of it

link       seconds and links of bulk-water (300 frames, features of trackpy's detection) and of a hexagonal packing of
           3,000 that vibrates; a link is a pair of detections, and all have to be the same
component  one component of 5,000 and more, where trackpy raises
million    1,000,000 features in 1,000 frames: seconds and peak memory of a process of its own
long       peak memory of tracking a movie of 2,000 and of 10,000 frames into a file, each in a process of its own
movie      bulk-water from file to tracks, 480 frames: decode, locate, link; wall seconds beside trackpy in one process
           and in two
challenge  recall, precision and Jaccard index of links for three motions, three densities and SNR 1, 2, 4, 7, beside
           trackpy's links of the same detections; --quick takes 20 frames of 256 x 256 px instead of 100 of 512 x 512
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")              # before numpy: one thread each
os.environ.setdefault("NUMBA_NUM_THREADS", "1")

import argparse
import json
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pandas as pd
import trackpy

import vid2dyn as vd
from vid2dyn.analysis.link_score import score_links
from vid2dyn.core.errors import DataError
from vid2dyn.simulators.camera.challenge import DENSITIES, SCENARIOS, SNRS, TrackingChallenge
from vid2dyn.tracking import NearestLinks, Track, detector
from vid2dyn.tracking.link.assignment import assign
from vid2dyn.tracking.link.candidates import candidates

RECORDINGS = Path(__file__).resolve().parents[2] / "shared" / "data"
Frames = list[tuple[int, np.ndarray]]


def links(frame: np.ndarray, particle: np.ndarray) -> set[tuple[int, int]]:
    """Pairs of rows that follow each other in one particle."""
    order = np.lexsort((frame, particle))
    same = particle[order][1:] == particle[order][:-1]
    return set(zip(order[:-1][same].tolist(), order[1:][same].tolist()))


def ours(frames: Frames, **options: Any) -> tuple[np.ndarray, float]:
    """Particle numbers, and seconds: the best of three, as the machine may be shared."""
    best = np.inf
    for _ in range(3):
        start = time.perf_counter()
        numbers = list(NearestLinks(Track(**options))(frames))
        best = min(best, time.perf_counter() - start)
    return np.concatenate(numbers), best


def theirs(frames: Frames, search_range: float, memory: int, times: int = 2) -> tuple[np.ndarray, float]:
    """The same by trackpy."""
    table = pd.concat([pd.DataFrame({"frame": k, "y": p[:, 0], "x": p[:, 1]}) for k, p in frames], ignore_index=True)
    best = np.inf
    for _ in range(times):
        start = time.perf_counter()
        particle = trackpy.link(table, search_range, memory=memory)["particle"].to_numpy()
        best = min(best, time.perf_counter() - start)
    return particle, best


def bulk_water() -> Frames | None:
    if not (RECORDINGS / "bulk-water.mov").exists():
        print("bulk-water.mov is not beside the repository: left out")
        return None
    find = detector(Track(diameter=11, minmass=20, invert=True, compat="trackpy"))
    video = vd.open(RECORDINGS / "bulk-water.mov")
    return [(k, find(frame)[:, :2]) for k, frame in enumerate(video.frames(0, 300))]


def packing(rows: int, columns: int, step: float, frames: int, seed: int = 0) -> Frames:
    """A hexagonal packing of spacing 10 px that vibrates about its lattice."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:rows, :columns].astype(float)
    lattice = 10.0 * np.stack([y * np.sqrt(3) / 2, x + 0.5 * (y % 2)], -1).reshape(-1, 2)
    return [(k, lattice + rng.normal(0, step, lattice.shape)) for k in range(frames)]


def bench_link() -> list[dict[str, Any]]:
    out = []
    cases: list[tuple[str, Frames | None, float, int]] = [
        ("bulk-water", bulk_water(), 5.0, 3), ("hexagonal packing of 3,000", packing(50, 60, 1.0, 20), 6.0, 0)]
    NearestLinks(Track())                                  # compile before the clock runs
    ours(packing(5, 5, 1.0, 3), search_range=5.0, memory=1)
    for name, frames, search_range, memory in cases:
        if frames is None:
            continue
        frame = np.concatenate([np.full(len(p), k) for k, p in frames])
        mine, seconds = ours(frames, search_range=search_range, memory=memory)
        other, their_seconds = theirs(frames, search_range, memory)
        a, b = links(frame, mine), links(frame, other)
        out.append({"case": name, "features": len(frame), "links": len(a), "their_links": len(b), "same": len(a & b),
                    "seconds": seconds, "their_seconds": their_seconds, "ratio": their_seconds / seconds})
        print(f"{name}: {len(frame):,} features; {len(a):,} links, trackpy {len(b):,}, the same {len(a & b):,}; "
              f"{seconds:.3f} s against {their_seconds:.2f} s: {their_seconds / seconds:.0f} times faster, "
              f"{len(frame) / seconds / 1e6:.1f} million features a second")
    return out


def bench_component() -> list[dict[str, Any]]:
    out = []
    for rows, columns in ((50, 60), (50, 100), (100, 200)):
        for step, search_range in ((1.0, 6.0), (3.0, 15.0), (5.0, 15.0)):
            frames = packing(rows, columns, step, 2)
            try:
                theirs(frames, search_range, 0, times=1)
                their = "trackpy finishes"
            except trackpy.SubnetOversizeException:
                their = "trackpy raises"
            start = time.perf_counter()
            here, there = frames[0][1], frames[1][1]
            table = candidates(here, np.full(len(here), search_range), there)
            _, work, unsettled = assign(*table[:3], np.full(len(here), search_range**2), len(there), 10**9)
            seconds = time.perf_counter() - start
            out.append({"particles": len(here), "step": step, "search_range": search_range, "seconds": seconds,
                        "work": work, "unsettled": unsettled, "trackpy": their})
            print(f"packing of {len(here):,}, step {step:g}, search range {search_range:g} px of a spacing of 10: "
                  f"{1e3 * seconds:.1f} ms a frame pair, {len(table[1]) / len(here):.1f} candidates a particle, "
                  f"{unsettled} unsettled; {their}")
    return out


def fresh(code: str) -> list[float]:
    """Numbers printed by a process of its own, the last its peak memory [MB]."""
    code = f"{code}\nfrom vid2dyn.core.workers import peak_memory\nprint(1024 * peak_memory())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return [float(word) for word in done.stdout.split()]


MILLION = """
import time
import numpy as np, pandas as pd
from vid2dyn.tracking import LinkStream, Track
from vid2dyn.data.trajectories import Trajectories
rng = np.random.default_rng(0)
position = rng.uniform(0, 1000, (1000, 2))
stream = LinkStream(Track(search_range=5, memory=3))
stream.step(0, position)
rows, seconds = [], 0.0
for k in range(1, 1001):
    position = position + rng.normal(0, 1, position.shape)
    start = time.perf_counter()
    particle = stream.step(k, position)
    seconds += time.perf_counter() - start
    rows.append((particle, position))
table = pd.DataFrame({"frame": np.repeat(np.arange(1, 1001), 1000), "particle": np.concatenate([p for p, _ in rows]),
                      "y": np.concatenate([x[:, 0] for _, x in rows]), "x": np.concatenate([x[:, 1] for _, x in rows])})
rows.clear()
tracks = Trajectories.from_dataframe(table)
print(len(tracks), seconds)
"""

LONG = """
from vid2dyn.runs.chunks import track_movie
from vid2dyn.tracking import Track
print(track_movie({movie!r}, {out!r}, Track(diameter=9, minmass=300, search_range=4, memory=2)).n_detections)
"""


def bench_million() -> list[dict[str, Any]]:
    rows, seconds, peak = fresh(MILLION)
    print(f"{rows:,.0f} features linked in {seconds:.2f} s, table included {peak:.0f} MB at most")
    return [{"features": rows, "seconds": seconds, "peak_MB": peak}]


def write_long(path: Path, frames: int, particles: int = 60) -> None:
    """Spots that walk in 128 x 128 px, uncompressed."""
    import tifffile

    rng = np.random.default_rng(0)
    y, x = np.mgrid[:128, :128]
    position = rng.uniform(8, 120, (particles, 2))
    pool = []
    for _ in range(100):
        position = np.clip(position + rng.normal(0, 0.5, position.shape), 6, 122)
        light = sum(100 * np.exp(-((y - a) ** 2 + (x - b) ** 2) / 8) for a, b in position)
        pool.append((20 + light + rng.normal(0, 2, y.shape)).clip(0, 255).astype(np.uint8))
    there_and_back = pool + pool[::-1]
    tifffile.imwrite(path, (there_and_back[k % 200] for k in range(frames)), shape=(frames, 128, 128), dtype=np.uint8,
                     photometric="minisblack")


def bench_long() -> list[dict[str, Any]]:
    out = []
    with tempfile.TemporaryDirectory() as folder:
        for frames in (2000, 10_000):
            movie = Path(folder) / f"{frames}.tif"
            write_long(movie, frames)
            start = time.perf_counter()
            rows, peak = fresh(LONG.format(movie=str(movie), out=str(movie.with_suffix(".parquet"))))
            seconds = time.perf_counter() - start
            out.append({"frames": frames, "detections": rows, "peak_MB": peak, "seconds": seconds})
            print(f"movie of {frames:,} frames into a file: {rows:,.0f} detections, {peak:.0f} MB at most, "
                  f"{seconds:.0f} s")
    return out


def bench_movie() -> list[dict[str, Any]]:
    movie = RECORDINGS / "bulk-water.mov"
    if not movie.exists():
        print("bulk-water.mov is not beside the repository: left out")
        return []

    def trackpys_own() -> tuple[int, int]:
        frames = [trackpy.locate(frame, 11, minmass=20, invert=True, engine="numba").assign(frame=k)
                  for k, frame in enumerate(vd.open(movie).frames())]
        table = trackpy.link(pd.concat(frames, ignore_index=True), 5, memory=3)
        return len(table), table["particle"].nunique()

    def trackpys_batch() -> tuple[int, int]:
        table = trackpy.batch(list(vd.open(movie).frames()), 11, minmass=20, invert=True, engine="numba", processes=2)
        table = trackpy.link(table, 5, memory=3)
        return len(table), table["particle"].nunique()

    def vid2dyns(threads: int, compat: str) -> tuple[int, int]:
        numba.config.NUMBA_NUM_THREADS = threads                          # frames searched side by side
        tracks = vd.track(movie, diameter=11, minmass=20, invert=True, search_range=5, memory=3, compat=compat)
        numba.config.NUMBA_NUM_THREADS = 1
        return len(tracks), tracks.n_particles

    cases: dict[str, Callable[[], tuple[int, int]]] = {
        "trackpy": trackpys_own, "trackpy.batch, two processes": trackpys_batch,
        "vid2dyn, compat = trackpy": lambda: vid2dyns(1, "trackpy"), "vid2dyn, one thread": lambda: vid2dyns(1, "none"),
        "vid2dyn, two threads": lambda: vid2dyns(2, "none")}
    vd.track(movie, diameter=11, minmass=20, invert=True, stop=3)         # compile before the clock runs
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    found = {}
    for _ in range(3):                                                    # in turn: what else runs is in the way of all
        for name, work in cases.items():
            start = time.perf_counter()
            found[name] = work()
            seconds[name].append(time.perf_counter() - start)
    out = []
    for name, times in seconds.items():
        rows, particles = found[name]
        middle = float(np.median(times))
        ratio = float(np.median(seconds["trackpy"])) / middle
        out.append({"case": name, "seconds": times, "detections": rows, "tracks": particles, "ratio": ratio})
        print(f"bulk-water, 480 frames, {name}: {rows:,} detections, {particles:,} tracks, {middle:.2f} s "
              f"({min(times):.2f} to {max(times):.2f}): {ratio:.1f} times as fast as trackpy")
    return out


def bench_challenge(quick: bool) -> list[dict[str, Any]]:
    out = []
    extent = {"frames": 20, "height": 256, "width": 256} if quick else {}
    print("                         recall  precision  Jaccard | trackpy's links: recall  precision  Jaccard")
    for scenario in SCENARIOS:
        predictor = "none" if scenario == "brownian" else "velocity"
        for density in DENSITIES:
            sim = TrackingChallenge(scenario, density, **extent)          # type: ignore[arg-type]
            for snr in SNRS:
                video = vd.render(sim, sim.camera(snr), seed=1)
                settings = Track(diameter=9, search_range=8.0, memory=1, predictor=predictor)  # type: ignore[arg-type]
                try:
                    tracks = vd.track(video, settings)
                    mine = score_links(tracks, video.truth)
                except DataError as error:
                    print(f"{scenario:<10} {density:<5} SNR {snr}: {str(error)[:80]}")
                    continue
                their = trackpys(tracks, video.truth, 8.0, 1)
                out.append({"scenario": scenario, "density": density, "snr": snr, **vars(mine),
                            "their_jaccard": their.jaccard if their else None})
                beside = f"{their.recall:.3f}  {their.precision:.3f}  {their.jaccard:.3f}" if their else "raises"
                print(f"{scenario:<10} {density:<5} SNR {snr}:  {mine.recall:.3f}     {mine.precision:.3f}    "
                      f"{mine.jaccard:.3f} | {beside}", flush=True)
    return out


def trackpys(tracks: vd.Trajectories, truth: vd.Trajectories, search_range: float, memory: int) -> Any:
    """The score of trackpy's links of the same detections; None where it raises."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            table = trackpy.link(tracks.dataframe.drop(columns="particle"), search_range, memory=memory)
    except trackpy.SubnetOversizeException:
        return None
    return score_links(vd.Trajectories.from_dataframe(table.reset_index(drop=True), units=tracks.units), truth)


PARTS: dict[str, Callable[[], list[dict[str, Any]]]] = {
    "link": bench_link, "component": bench_component, "million": bench_million, "long": bench_long,
    "movie": bench_movie}


def main(arguments: Iterable[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=[*PARTS, "challenge"], default=[*PARTS, "challenge"])
    parser.add_argument("--quick", action="store_true", help="a small challenge")
    parser.add_argument("--json", type=Path, help="also write every result to this file")
    options = parser.parse_args(None if arguments is None else list(arguments))
    trackpy.quiet()
    results = {}
    for part in options.parts:
        print(f"== {part}", flush=True)
        results[part] = bench_challenge(options.quick) if part == "challenge" else PARTS[part]()
    if options.json:
        from vid2dyn.core.files import atomic

        with atomic(options.json) as scratch:
            scratch.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
