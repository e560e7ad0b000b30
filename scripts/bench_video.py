"""From rendered pixels to physics: the whole chain against known truth.

    python scripts/bench_video.py                            # everything, 6 seeds a potential
    python scripts/bench_video.py --parts pair --seeds 40    # coverage of the bands
    python scripts/bench_video.py --workers 2 --json video.json

Every film is simulated, rendered in memory, tracked and fitted. Parts:

free   D of free particles at several signal-to-noise ratios (brightness of a spot over the noise of a pixel), with
       a flash and with the shutter always open; by the covariances (vd.diffusion) and by vd.fit
trap   stiffness of traps where least squares of steps on displacements (with D known) gives twice the truth:
       the localisation variance is about D dt
pair   Yukawa and WCA potentials: largest error over all r with at least 100 pairs, and how often 95 % bands hold the
       truth there. `floor` is the largest standard error of the potential for somebody who watches the particles in
       view continuously and without noise; it falls as one over the root of --frames
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

import vid2dyn as vd
from vid2dyn.fitting.brownian.recording import Recording

sys.path.insert(0, str(Path(__file__).parent))
from bench_fit import fisher_bound, fresh, machine, naive_rate, peak_memory, sampled, spline_of

S = vd.simulators
DT, LIGHT = 0.01, 4000.0
"""Seconds a frame; brightness of a spot in grey levels of a 16-bit camera."""

PAIRS = {
    "yukawa": (S.Yukawa(amplitude=8.0, screening_length=0.45, diameter=1.0, cutoff=3.0), 3.0),
    "wca": (S.WCA(epsilon=1.0, diameter=1.2), 1.6),
}


@dataclass(frozen=True)
class FreeFilm:
    """D over the truth, by covariances and by the fit, with standard errors; localisation error over the truth."""

    snr: float
    shutter: float
    seed: int
    D_covariance: float
    D: float
    D_stderr: float
    lag1: float
    sigma: float
    seconds: float


@dataclass(frozen=True)
class TrapFilm:
    """Stiffness over the truth; `naive` by least squares of steps on displacements."""

    shutter: float
    seed: int
    k: float
    k_stderr: float
    D: float
    naive: float
    seconds: float


@dataclass(frozen=True)
class PairFilm:
    """Error of the potential [kT] over the sampled r, coverage of 95 % bands, D over the truth."""

    pair: str
    shutter: float
    seed: int
    max_dU: float
    dU_floor: float
    at: float
    nearest: float
    rms_dU: float
    cover_potential: float
    cover_force: float
    rel_force: float
    D: float
    seconds: float


def camera(pixels: int, snr: float, spot_sigma: float = 1.6) -> S.Renderer:
    """White noise only, so that the signal-to-noise ratio says it all."""
    return S.Renderer(height=pixels, width=pixels, spot_sigma=spot_sigma, amplitude=LIGHT, background=20 * LIGHT / snr,
                      gain=0.0, read_noise=LIGHT / snr, bit_depth=16)


def free_film(snr: float, shutter: float, seed: int) -> FreeFilm:
    """About 80 free particles in view in 400 frames, far apart; the step per frame and axis is 0.9 px."""
    start = time.perf_counter()
    simulation = S.Brownian(n_particles=100, frames=400, frames_per_second=1 / DT, diffusion=0.405, box_length=43.0,
                            exposure=shutter * DT, micrometre_per_pixel=0.1)
    video = vd.render(simulation, camera(384, snr), seed=seed)
    tracks = vd.track(video, diameter=9, search_range=6, memory=0, min_length=5)
    recording = Recording.of(tracks, None)
    steps = recording.position[recording.steps + 1] - recording.position[recording.steps]
    found, model = vd.diffusion(tracks), vd.fit(tracks, vd.Brownian(), seed=seed)
    return FreeFilm(snr, shutter, seed, found.D / 0.405, model.diffusion() / 0.405,
                    model.standard_error("diffusion") / 0.405, float((steps**2).mean()) / (2 * 0.405 * DT),
                    model.localisation_error() / (np.sqrt(2 / np.pi) / snr * 0.1), time.perf_counter() - start)


def trap_film(shutter: float, seed: int) -> TrapFilm:
    """100 large, slow particles in tweezers 40 px apart; noise about as large as a step (0.14 px)."""
    start = time.perf_counter()
    D0, relaxation, um = 0.05, 0.03, 0.16
    k0 = relaxation / (D0 * DT)
    simulation = S.Brownian(n_particles=100, frames=500, frames_per_second=1 / DT, diffusion=D0, trap="each",
                            trap_stiffness=k0, box_length=64.0, exposure=shutter * DT, micrometre_per_pixel=um)
    video = vd.render(simulation, camera(400, 6.5), seed=seed)
    tracks = vd.track(video, diameter=9, search_range=6, memory=0, min_length=50)
    model = vd.fit(tracks, vd.Brownian(trap="each"), seed=seed)
    return TrapFilm(shutter, seed, model.trap_stiffness() / k0, model.standard_error("trap_stiffness") / k0,
                    model.diffusion() / D0, naive_rate(tracks, shared=False) / (k0 * D0), time.perf_counter() - start)


def pair_film(pair: str, shutter: float, seed: int, frames: int = 300, snr: float = 20.0) -> PairFilm:
    """About 260 particles in view, half of them far enough from the edge to be asked for their force.

    The closest pairs are 7 spot widths apart: nearer ones a tracker merges or pulls together.
    """
    start = time.perf_counter()
    potential, cutoff = PAIRS[pair]
    simulation = S.Brownian(n_particles=400, frames=frames, frames_per_second=1 / DT, diffusion=0.405, box_length=31.6,
                            pair=potential, exposure=shutter * DT, micrometre_per_pixel=0.08)
    video = vd.render(simulation, camera(320, snr), seed=seed)
    tracks = vd.track(video, diameter=9, search_range=6, memory=1, min_length=3)
    model = vd.fit(tracks, vd.Brownian(cutoff=cutoff), seed=seed)
    r = sampled(video.truth, cutoff)
    energy, force = potential.energy(r), potential.force(r)
    error = model.pair_potential(r) - energy

    def cover(name: str, truth: np.ndarray) -> float:
        low, high = model.band(name, r)
        return float(np.mean((low <= truth) & (truth <= high)))

    worst = int(np.argmax(np.abs(error)))
    return PairFilm(pair, shutter, seed, float(abs(error[worst])),
                    fisher_bound(video.truth, spline_of(model), r, force)[1], float(r[worst]), float(r[0]),
                    float(np.sqrt(np.mean(error**2))), cover("pair_potential", energy), cover("pair_force", force),
                    float(np.linalg.norm(model.pair_force(r) - force) / np.linalg.norm(force)),
                    model.diffusion() / 0.405, time.perf_counter() - start)


def say_free(films: list[FreeFilm]) -> str:
    def mean(key: str) -> float:
        return float(np.mean([getattr(f, key) for f in films]))

    return (f"free   SNR {films[0].snr:4.0f} shutter {films[0].shutter:.0f}: D/D0 fit {mean('D'):.4f} "
            f"(worst {max((f.D for f in films), key=lambda d: abs(d - 1)):.4f}, stated ± {mean('D_stderr'):.4f}), "
            f"CVE {mean('D_covariance'):.4f}, lag-1 {mean('lag1'):.3f}; sigma over the bound {mean('sigma'):.2f}; "
            f"{mean('seconds'):.0f} s")


def say_trap(films: list[TrapFilm]) -> str:
    k = np.array([f.k for f in films])
    return (f"trap   shutter {films[0].shutter:.0f}: k/k0 {k.mean():.4f} (each {', '.join(f'{v:.3f}' for v in k)}; "
            f"stated ± {np.mean([f.k_stderr for f in films]):.4f}), naive {np.mean([f.naive for f in films]):.2f}, "
            f"D/D0 {np.mean([f.D for f in films]):.4f}; {np.mean([f.seconds for f in films]):.0f} s")


def say_pair(films: list[PairFilm]) -> str:
    worst = max(films, key=lambda f: f.max_dU)
    return (f"{films[0].pair:<6} shutter {films[0].shutter:.0f}: max |dU| {np.mean([f.max_dU for f in films]):.3f} kT "
            f"(worst {worst.max_dU:.3f} at r = {worst.at:.2f} µm, sampled from {worst.nearest:.2f}; "
            f"floor {np.mean([f.dU_floor for f in films]):.3f}), "
            f"rms {np.mean([f.rms_dU for f in films]):.3f}; bands hold U "
            f"{np.mean([f.cover_potential for f in films]):.3f}, F {np.mean([f.cover_force for f in films]):.3f}; "
            f"force off by {np.mean([f.rel_force for f in films]):.3f}; D/D0 {np.mean([f.D for f in films]):.4f}; "
            f"{np.mean([f.seconds for f in films]):.0f} s")


PARTS: dict[str, tuple[Callable, Callable, list[tuple]]] = {
    "free": (free_film, say_free, [(snr, shutter) for snr in (5.0, 15.0, 50.0) for shutter in (0.0, 1.0)]),
    "trap": (trap_film, say_trap, [(0.0,), (1.0,)]),
    "pair": (pair_film, say_pair, [(pair, shutter) for pair in PAIRS for shutter in (0.0, 1.0)]),
}
SEEDS = {"free": 2, "trap": 3, "pair": 6}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--seeds", type=int, help=f"films of each case (default {SEEDS})")
    parser.add_argument("--frames", type=int, default=300, help="frames of a film of part pair")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--json", type=Path, help="also write every result to this file")
    options = parser.parse_args()
    print(machine(), flush=True)
    everything = []
    with ProcessPoolExecutor(options.workers) as pool:
        several = map if options.workers == 1 else pool.map          # one process can state its memory
        for part in options.parts:
            run, say, given = PARTS[part]
            for arguments in given:
                run = partial(pair_film, frames=options.frames) if part == "pair" else run
                seeds = fresh(options.seeds or SEEDS[part])
                films = list(several(run, *([a] * len(seeds) for a in arguments), seeds))
                print(say(films), flush=True)
                everything += films
    if options.workers == 1:
        print(f"peak memory {peak_memory():.2f} GB")
    if options.json:
        from vid2dyn.core.files import atomic

        with atomic(options.json) as scratch:
            scratch.write_text(json.dumps({"machine": machine(), "results": [asdict(f) for f in everything]}, indent=1))


if __name__ == "__main__":
    main()
