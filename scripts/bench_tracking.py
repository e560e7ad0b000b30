"""Finding particles: speed, completeness and error bars beside trackpy, on the same rendered frames in one run.

    python scripts/bench_tracking.py                       # everything, one thread
    python scripts/bench_tracking.py --parts locate crowd

locate  processor time of one frame, recall and precision; spots of width 2 px at SNR 24 (brightness of a spot over the
        noise of a pixel). `apart`: no two nearer than 12 px (images of 11 px do not overlap); `random`: anywhere.
        What both need to know of the frames (least brightness; ours the width of a spot) is found before the clock runs
sigma   isolated spots: RMSE over the Cramér-Rao bound sqrt(2/pi)/SNR and std of (error / stated error); phase: least p
        of the test of uniform sub-pixel positions
crowd   pairs at given distances (width 2.5 px, SNR 25): bias of the distance and RMSE over the joint bound; hexagonal
        packings of 3,025 spots
challenge  frames of the particle tracking challenge family at full size (512² px): three densities, SNR 1, 2, 4, 7,
        each detector with the brightness limit that is automatic for it; links: scripts/bench_linking.py
mixtures  two sizes 1 : 1.5, two brightnesses 1 : 4, sizes scattered by 20 %: recall, precision, std of error/sigma,
        sizes off by; beside trackpy with the diameter of the larger ones
packings  touching discs and rings of two sizes (the needle's film): the same, and the species
real    recordings beside the repository: steadiness of the count, test of sub-pixel phases
"""

from __future__ import annotations

# ruff: noqa: E402   the number of threads has to be said before numpy is imported
import os

for _name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import argparse
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import trackpy
from scipy.spatial import cKDTree

from vid2dyn.analysis.detection_score import DetectionScore, joint_bound, matches, pair_distance_bias, phase_p
from vid2dyn.core.opencv import cv2
from vid2dyn.readers import open_video
from vid2dyn.simulators import Needle, Renderer, render
from vid2dyn.simulators.camera.challenge import DENSITIES, SNRS, TrackingChallenge
from vid2dyn.tracking import Track, automatic_minmass, detector, settings_in_force
from vid2dyn.tracking.columns import SIZE_OF_IMAGE, SIZE_OF_IMAGE_STD, SPECIES
from vid2dyn.tracking.phase import phase_correction

sys.path.insert(0, str(Path(__file__).parent))
from bench_fit import machine

RECORDINGS = Path(__file__).resolve().parents[2] / "shared" / "data"


def scattered(rng: np.random.Generator, size: int, count: int, apart: float, margin: float = 12.0) -> np.ndarray:
    """`count` positions (N, 2) [px] at random, no two nearer than `apart`."""
    points = np.empty((0, 2))
    while len(points) < count:
        points = np.concatenate([points, rng.uniform(margin, size - margin, (count, 2))])
        pairs = cKDTree(points).query_pairs(apart, output_type="ndarray") if apart else np.empty((0, 2), int)
        gone = np.zeros(len(points), bool)
        for i, j in pairs[np.lexsort((pairs[:, 0], pairs[:, 1]))]:
            gone[j] |= not gone[i]
        points = points[~gone]
    return points[:count]


def lattice(rng: np.random.Generator, size: int, spacing: int, edge: int) -> np.ndarray:
    """Positions (N, 2) [px] far from each other, at every sub-pixel phase."""
    nodes = np.arange(edge, size - edge, spacing)
    points = np.stack(np.meshgrid(nodes, nodes, indexing="ij"), axis=-1).reshape(-1, 2)
    return points + rng.uniform(-0.5, 0.5, points.shape)


def pairs(rng: np.random.Generator, size: int, distance: float) -> np.ndarray:
    """Positions (2 P, 2) [px] of pairs in every direction, rows 2 k and 2 k + 1."""
    middle = lattice(rng, size, 46, 32)
    angle = rng.uniform(0, 2 * np.pi, len(middle))
    half = 0.5 * distance * np.stack([np.sin(angle), np.cos(angle)], axis=1)
    return np.stack([middle + half, middle - half], axis=1).reshape(-1, 2)


def packing(rng: np.random.Generator, spacing: float, rows: int = 55, jitter: float = 0.3) -> np.ndarray:
    """A hexagonal packing of rows² positions (N, 2) [px] that tremble by `jitter`."""
    a, b = np.divmod(np.arange(rows * rows), rows)
    points = np.stack([20 + a * spacing * np.sqrt(0.75), 20 + (b + 0.5 * (a % 2)) * spacing], axis=1)
    return points + rng.normal(0, jitter, points.shape)


def exposed(points: np.ndarray, size: int, seed: int, snr: float, width: float = 2.0, depth: int = 16) -> np.ndarray:
    """A frame with white noise only, so that the signal-to-noise ratio says it all."""
    amplitude = 120.0 if depth == 8 else 8000.0
    noise = amplitude / snr
    camera = Renderer(height=size, width=size, spot_sigma=width, amplitude=amplitude, background=8 * noise, gain=0.0,
                      read_noise=float(np.sqrt(noise**2 - 1 / 12)), bit_depth=depth)       # rounding adds 1/12
    return camera.scene(seed, len(points)).frame(0, points[None])


def peer(frame: np.ndarray, **arguments: float) -> np.ndarray:
    """trackpy's positions (N, 2)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return trackpy.locate(frame, engine="numba", **arguments)[["y", "x"]].to_numpy()


def timed(*works: Callable, repeats: int = 5, rounds: int = 3) -> list[float]:
    """Median processor times of calls [ms], in rounds of several in a row as over a movie, the first of each left out.

    Rounds of the works take turns, so that what else runs on the machine is in the way of all alike.
    """
    taken: list[list[float]] = [[] for _ in works]
    for _ in range(rounds):
        for work, times in zip(works, taken):
            work()
            for _ in range(repeats):
                start = time.process_time()
                work()
                times.append(time.process_time() - start)
    return [1e3 * float(np.median(times)) for times in taken]


def locate() -> None:
    for size, count in ((512, 500), (1024, 3000), (2048, 10_000)):
        for name, apart, depth in (("apart", 12.0, 8), ("apart", 12.0, 16), ("random", 0.0, 8)):
            truth = scattered(np.random.default_rng(size), size, count, apart)
            frame = exposed(truth, size, 1, 24.0, depth=depth)
            settings = settings_in_force([frame], Track(diameter=11))
            theirs = {"diameter": 11, "minmass": automatic_minmass([frame], Track(diameter=11, compat="trackpy"))}
            find, peer_find = detector(settings), partial(peer, frame, **theirs)
            fast, slow = timed(partial(find, frame), peer_find)
            a, b = DetectionScore.of([(find(frame), truth)]), DetectionScore.of([(peer_find(), truth)])
            print(f"locate {size}² {count:>6} {name:<6} {depth:>2} bit: {fast:7.2f} ms, trackpy {slow:7.1f} ms, "
                  f"{slow / fast:5.1f} times; recall {a.recall:.4f} ({b.recall:.4f}), precision {a.precision:.4f} "
                  f"({b.precision:.4f}), RMSE {a.rmse:.4f} ({b.rmse:.4f}) px", flush=True)


def sigma() -> None:
    for width, diameter in ((1.5, 9), (2.0, 11), (2.5, 13)):
        for snr in (6.0, 12.0, 24.0, 60.0, 120.0):
            ours, theirs = [], []
            limit = 0.25 * 8000.0 * np.pi * width**2
            find = detector(Track(diameter=diameter, minmass=limit))
            for seed in range(8):
                truth = lattice(np.random.default_rng([seed, int(snr), int(10 * width)]), 512, 26, 24)
                frame = exposed(truth, 512, seed, snr, width)
                ours.append((find(frame), truth))
                if seed < 2:
                    theirs.append((peer(frame, diameter=diameter, minmass=limit), truth))
            a, b, bound = DetectionScore.of(ours), DetectionScore.of(theirs), np.sqrt(2 / np.pi) / snr
            print(f"sigma  width {width} SNR {snr:4.0f}: RMSE/bound {a.rmse / bound:.3f} (trackpy "
                  f"{b.rmse / bound:.3f}), std of error/sigma {a.z_std:.3f}, phase p {a.phase_p:.2g} "
                  f"(trackpy {b.phase_p:.2g}), recall {a.recall:.4f}, precision {a.precision:.4f}", flush=True)


def crowd() -> None:
    width, snr = 2.5, 25.0
    limit = 0.25 * 8000.0 * np.pi * width**2
    find = detector(Track(diameter=11, minmass=limit))
    for distance in (6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 14.0):
        ours, theirs = [], []
        for seed in range(6):
            truth = pairs(np.random.default_rng([seed, int(10 * distance)]), 512, distance)
            frame = exposed(truth, 512, seed, snr, width)
            ours.append((find(frame), truth))
            theirs.append((peer(frame, diameter=11, minmass=limit, separation=5), truth))
        bound = np.mean([np.sqrt(np.mean(joint_bound(truth[k:k + 2], width, snr) ** 2)) for k in range(0, 60, 2)])
        (bias, stderr, both), (other, _, two), a = (*map(pair_distance_bias, (ours, theirs)), DetectionScore.of(ours))
        b = DetectionScore.of(theirs)
        print(f"pair   {distance:4.1f} px: bias {bias:+.4f} ± {stderr:.4f} px (trackpy {other:+.3f}), RMSE/joint bound "
              f"{a.rmse / bound:.3f} ({b.rmse / bound:.2f}), std of error/sigma {a.z_std:.3f}, both found {both:.3f} "
              f"({two:.3f})", flush=True)
    for spacing in (8.0, 10.0, 12.0):
        truth = packing(np.random.default_rng(5), spacing)
        frame = exposed(truth, int(truth.max()) + 25, 1, snr, width)
        find = detector(settings_in_force([frame], Track(diameter=11, minmass=0.4 * limit)))
        theirs_find = partial(peer, frame, diameter=11, minmass=0.4 * limit, separation=5)
        inner = truth[(np.abs(truth - truth.mean(axis=0)) < 12).all(axis=1)]
        middle = np.argmin(((inner - inner.mean(axis=0)) ** 2).sum(axis=1))
        bound = np.sqrt(np.mean(joint_bound(inner, width, snr)[middle] ** 2))
        a, b = DetectionScore.of([(find(frame), truth)]), DetectionScore.of([(theirs_find(), truth)])
        fast, slow = timed(partial(find, frame), theirs_find, repeats=2, rounds=2)
        print(f"packed {len(truth)} at {spacing:4.1f} px: {fast:5.0f} ms (trackpy {slow:.0f}), RMSE/joint bound "
              f"{a.rmse / bound:.3f} ({b.rmse / bound:.2f}), std of error/sigma {a.z_std:.3f}, recall {a.recall:.4f} "
              f"({b.recall:.4f}), precision {a.precision:.4f} ({b.precision:.4f})", flush=True)


def real() -> None:
    """Recordings without truth: counts from frame to frame, and sub-pixel phases before and after the correction."""
    for name, settings in (("active_rollers_8f.tif", Track(diameter=7)),
                           ("hydrogel.mp4", Track(diameter=31, invert=True)), ("colloids.mp4", Track(diameter=9)),
                           ("bulk-water.mov", Track(diameter=11, invert=True)),
                           ("brightfield_25f.tif", Track(diameter=13))):
        if not (RECORDINGS / name).exists():
            print(f"real   {name}: absent")
            continue
        video = open_video(RECORDINGS / name)
        shown = [video[int(k)] for k in np.linspace(0, len(video) - 1, 8).astype(int)]
        in_force = settings_in_force(shown[::2], settings)
        find = detector(in_force)
        found = [find(frame) for frame in shown]
        counts = np.array([len(features) for features in found])
        first, rest = (np.concatenate(found[k::2])[:, :2] for k in range(2))
        corrected = phase_p(phase_correction(first)(rest)) if len(first) > 200 else float("nan")
        print(f"real   {name}: {', '.join(map(str, counts))} particles, spread {counts.std() / counts.mean():.1%}; "
              f"phase p {phase_p(rest):.2g}, corrected by the other frames {corrected:.2g}; "
              f"{timed(partial(find, shown[0]), repeats=2, rounds=2)[0]:.0f} ms a frame", flush=True)


def challenge() -> None:
    """Detection only: where a particle is does not depend on how it came there, so one kind of motion is enough."""
    for density in DENSITIES:
        sim = TrackingChallenge("brownian", density, frames=41)           # type: ignore[arg-type]
        for snr in SNRS:
            video = render(sim, sim.camera(snr), seed=1)
            table = video.truth.dataframe
            numbers = range(0, 41, 10)
            truth = [table.loc[table["frame"] == k, ["y", "x"]].to_numpy() for k in numbers]
            frames = [video[k] for k in numbers]
            ours = settings_in_force(frames, Track(diameter=9))
            theirs = settings_in_force(frames, Track(diameter=9, compat="trackpy"))
            finds = detector(ours), partial(peer, diameter=9, minmass=theirs.minmass)
            fast, slow = timed(*(partial(find, frames[0]) for find in finds), repeats=2, rounds=2)
            a, b = (DetectionScore.of([(find(frame), t) for frame, t in zip(frames, truth)]) for find in finds)
            print(f"challenge {density:<4} SNR {snr}: {fast:6.2f} ms (trackpy {slow:4.1f}), {slow / fast:5.1f} times; "
                  f"recall {a.recall:.3f} ({b.recall:.3f}), precision {a.precision:.3f} ({b.precision:.3f}), "
                  f"RMSE {a.rmse:.3f} ({b.rmse:.3f}) px", flush=True)


def mixture(kind: str, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A frame of 512 x 512 px with 500 spots no nearer than 6 px (SNR 24, or 16 for the brighter ones and 4 for the
    others), true positions (N, 2), widths (N,) and which are large or bright (N,)."""
    rng = np.random.default_rng([seed, len(kind)])
    truth = scattered(rng, 512, 500, 7.0, 16.0)
    odd = rng.random(500) < 0.5
    noise = 8000.0 / 24.0
    common = {"height": 512, "width": 512, "background": 8 * noise, "gain": 0.0, "read_noise": noise, "bit_depth": 16,
              "spot_sigma": 2.0, "amplitude": 8000.0}
    if kind == "sizes":
        camera = Renderer(**common, state_width=1.5, state_brightness=2.25)           # as bright at the middle
        return camera.scene(seed, 500).frame(0, truth[None], odd.astype(float)), truth, 2.0 * 1.5**odd, odd
    if kind == "brightness":
        camera = Renderer(**common, state_brightness=4.0)
        return camera.scene(seed, 500).frame(0, truth[None], odd.astype(float)), truth, np.full(500, 2.0), odd
    camera = Renderer(**common, spot_sigma_scatter=0.2)
    scene = camera.scene(seed, 500)
    return scene.frame(0, truth[None]), truth, scene.sigma, odd


def mixtures() -> None:
    for kind, sizes in (("sizes", "two"), ("sizes", "classes"), ("brightness", "classes"), ("lognormal", "each")):
        ours, theirs, off, z, told, resolvable = [], [], [], [], [], []
        for seed in range(4):
            frame, truth, width, odd = mixture(kind, seed)
            if not seed:
                find = detector(settings_in_force([frame], Track(diameter=13, sizes=sizes)))   # type: ignore[arg-type]
            limit = automatic_minmass([frame], Track(diameter=13, compat="trackpy"))
            peer_find = partial(peer, frame, diameter=13, minmass=limit, separation=5)
            found = find(frame)
            near = cKDTree(truth).query(truth, k=2)[0][:, 1]
            i, j = matches(found[:, :2], truth)
            off.append(found[i, SIZE_OF_IMAGE] / width[j] - 1)
            z.append((found[i, SIZE_OF_IMAGE] - width[j]) / found[i, SIZE_OF_IMAGE_STD])
            told.append(found[i, SPECIES] == odd[j])
            resolvable.append(np.isin(np.flatnonzero(near > 3.0 * width), j))
            ours.append((found, truth))
            theirs.append((peer_find(), truth))
        fast, slow = timed(partial(find, frame), peer_find, repeats=2, rounds=2)
        a, b = DetectionScore.of(ours), DetectionScore.of(theirs)
        size, error = np.concatenate(off), np.concatenate(z)
        species = f", species right {np.concatenate(told).mean():.4f}" if kind == "sizes" else ""
        print(f"mixture {kind:<10} {sizes:<7}: recall {a.recall:.4f} ({b.recall:.4f}), of those 3 widths apart "
              f"{np.concatenate(resolvable).mean():.4f}; precision {a.precision:.4f} ({b.precision:.4f}), RMSE "
              f"{a.rmse:.4f} ({b.rmse:.4f}) px, std of error/sigma {a.z_std:.3f}; size off by {np.median(size):+.1%} "
              f"in the median, {np.median(np.abs(size)):.1%} typically, std of error/sigma "
              f"{1.4826 * np.median(np.abs(error)):.3f}{species}; {fast:.0f} ms (trackpy {slow:.0f})", flush=True)


def packings() -> None:
    film = Needle(gap=220.0, width=280.0, frames=2, strain=0.0, equilibration=0.0, frames_per_second=500.0)
    path = film.path(1)
    for spot in ("disc", "ring"):
        video = render(path, film.camera(spot), seed=1)                                         # type: ignore[arg-type]
        table = video.truth.dataframe
        frames = [video[k] for k in range(2)]
        start = time.process_time()
        settings = settings_in_force(frames, Track(diameter=13, sizes="classes"))
        chosen = time.process_time() - start
        find = detector(settings)
        scores, right, count = [], [], 0
        for k, frame in enumerate(frames):
            rows = table[table["frame"] == k]
            truth, large = rows[["y", "x"]].to_numpy(), (rows["species"] == "large").to_numpy()
            found = find(frame)
            count += len(truth)
            inside = [((p > 9) & (p < np.array(frame.shape) - 10)).all(axis=1) for p in (found[:, :2], truth)]
            i, j = matches(found[:, :2], truth)
            right.append((found[i, SPECIES] == large[j])[inside[1][j]])
            scores.append((found[inside[0]], truth[inside[1]]))
        a = DetectionScore.of(scores)
        works = partial(find, frames[0]), partial(peer, frames[0], diameter=13, minmass=0)
        fast, slow = timed(*works, repeats=1, rounds=2)
        print(f"packing {spot}s, {count // 2} particles, chosen: {settings.spot}, {settings.class_sizes} px: recall "
              f"{a.recall:.4f}, precision {a.precision:.4f}, RMSE {a.rmse:.4f} px, std of error/sigma {a.z_std:.3f}, "
              f"species right {np.concatenate(right).mean():.4f}; {fast:.0f} ms a frame (trackpy {slow:.0f}), settings "
              f"{chosen:.1f} s", flush=True)


PARTS = {"locate": locate, "sigma": sigma, "crowd": crowd, "mixtures": mixtures, "packings": packings,
         "challenge": challenge, "real": real}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    options = parser.parse_args()
    cv2.setNumThreads(1)
    print(f"{machine()}, trackpy {trackpy.__version__}, one thread", flush=True)
    for part in options.parts:
        PARTS[part]()


if __name__ == "__main__":
    main()
