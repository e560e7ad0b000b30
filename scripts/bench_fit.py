"""The learner against known truth: pair forces, diffusion and traps from simulated tracks.

    python scripts/bench_fit.py                     # pair forces, 5 seeds
    python scripts/bench_fit.py --quick             # 2 seeds, noise 30 % only
    python scripts/bench_fit.py --traps             # stiffness of harmonic traps
    python scripts/bench_fit.py --json figures.json # the same numbers, for machines

200 particles in two dimensions, 10 ms a frame, D = 0.405 µm²/s (rms step 0.09 µm per axis). "noise" is the standard
deviation of a position in units of that step; "shutter" the part of a frame during which it is open. Columns:

rel      relative L2 error of the pair force over all r with at least 100 pairs (bins of cutoff/60)
bound    the same for the best unbiased estimator, on the same spline, of somebody who watches the noise-free particles
         continuously: covariance 2 (D A dt)^-1, since Girsanov's formula for dx = D F dt + sqrt(2D) dW puts
         -D F² dt/4 into the log-likelihood (of a trap: relative variance 2/(k D T)). Smoothing can go below it.
lag-1    the same for least squares of the steps on the forces (Itô), with D from the lag-1 steps
D/D0     fitted D over the truth; CVE: the covariance-based estimate, which knows nothing of forces
cover    part of those r where the 95 % band of force (F) and potential (U) contains the truth
|dU|     largest error of the potential there [kT]; floor: its largest standard error for that ideal observer
s, CPU s wall and processor time of the fit, compiled beforehand

S...     StochasticForceInference in two modes on the same tracks (--sfi), see scripts/peer_sfi.py

`PEERS` is where another estimator joins: a function from tracks to a force at r.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

import vid2dyn as vd
from vid2dyn.core.workers import peak_memory
from vid2dyn.dynamics.snapshot import neighbour_pairs
from vid2dyn.dynamics.terms.splines import RadialSpline
from vid2dyn.fitting.brownian.design import Field, moments
from vid2dyn.fitting.brownian.recording import Recording

S = vd.simulators
D0, DT, STEP, PARTICLES = 0.405, 0.01, 0.09, 200
FRESH = 112
"""First seed of what is reported: no setting was ever chosen by looking at films from here on."""


def fresh(count: int) -> range:
    """Seeds of that many films on which nothing was tuned."""
    return range(FRESH, FRESH + count)


PAIRS = {
    "yukawa": (S.Yukawa(amplitude=8.0, screening_length=0.45, diameter=1.0, cutoff=3.0), 3.0),
    "wca": (S.WCA(epsilon=1.0, diameter=1.2), 1.6),
    "morse": (S.Morse(depth=2.0, width=1 / 3.5, r0=1.2, cutoff=3.0), 3.0),
}
"""Potential put in, and cutoff of the fit [µm]."""


@dataclass(frozen=True)
class PairResult:
    """One fit of pair forces; see the columns above."""

    pair: str
    noise: float
    shutter: float
    frames: int
    seed: int
    rel: float
    bound: float
    lag1: float
    D: float
    D_stderr: float
    D_covariance: float
    cover_force: float
    cover_potential: float
    max_dU: float
    dU_floor: float
    seconds: float
    cpu_seconds: float
    peers: dict[str, float]


@dataclass(frozen=True)
class TrapResult:
    """One fit of traps: estimates over the truth. `naive` is the drift rate from regression over the true k D."""

    trap: str
    relaxation: float
    noise: float
    shutter: float
    frames: int
    seed: int
    k: float
    k_stderr: float
    D: float
    floor: float
    naive: float
    seconds: float
    cpu_seconds: float


def simulate(pair: str, noise: float, shutter: float, frames: int, seed: int) -> vd.Trajectories:
    """Tracks of the benchmark."""
    return S.Brownian(n_particles=PARTICLES, frames=frames, frames_per_second=1 / DT, diffusion=D0, box_length=22.4,
                      pair=PAIRS[pair][0], exposure=shutter * DT, localisation_error=noise * STEP,
                      micrometre_per_pixel=0.1).run(seed)


def sampled(clean: vd.Trajectories, cutoff: float) -> np.ndarray:
    """Middles of the bins (cutoff/60 wide) in which at least 100 pairs were seen [µm]."""
    recording = Recording.of(clean, cutoff)
    counts = np.zeros(60, dtype=int)
    for rows in recording.blocks(max(2, len(clean) // 20_000)):
        x = recording.position[rows]
        i, j = neighbour_pairs(x, cutoff, recording.box, recording.frame[rows]).T
        r = np.linalg.norm(recording.box.displacement(x[i], x[j]), axis=1)
        counts += np.histogram(r, bins=60, range=(0.0, cutoff))[0]
    return (np.flatnonzero(counts >= 100) + 0.5) * cutoff / 60


def fisher_bound(clean: vd.Trajectories, spline: RadialSpline, r: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """What continuous, noise-free observation allows on this spline.

    Relative L2 error of the pair force, and the largest standard error of the potential over r [kT].
    """
    A = moments(Recording.of(clean, spline.cutoff), Field(spline, "none", np.zeros(2)), blocks=2).A
    values, slopes, _ = spline(r)
    # directions that no pair touches carry no force either; pinv leaves them out
    covariance = 2.0 * np.linalg.pinv(D0 * DT * A, rcond=1e-10)
    force = np.einsum("ra,ab,rb->", slopes, covariance, slopes)
    potential = np.einsum("ra,ab,rb->r", values, covariance, values)
    return float(np.sqrt(force) / np.linalg.norm(truth)), float(np.sqrt(potential.max()))


def spline_of(model: vd.Model) -> RadialSpline:
    """The basis that a model was fitted on."""
    inner, outer, knots = model.arrays["spline"]
    return RadialSpline(float(inner), float(outer), int(knots))


def lag1_force(tracks: vd.Trajectories, spline: RadialSpline) -> Callable[[np.ndarray], np.ndarray]:
    """Least squares of steps on forces at their start (Itô), D from the mean squared step: what is done by hand."""
    recording = Recording.of(tracks, spline.cutoff)
    field = Field(spline, "none", np.zeros(2))
    normal, right, square, count = np.zeros((field.size, field.size)), np.zeros(field.size), 0.0, 0
    for rows in recording.blocks(max(2, len(tracks) // 20_000)):
        g, _ = field.evaluate(recording, rows)
        place = np.full(len(recording.position), -1)
        place[rows] = np.arange(len(rows))
        i = recording.steps[place[recording.steps] >= 0]
        dx = recording.position[i + 1] - recording.position[i]
        g = g[place[i]].reshape(-1, field.size)
        normal += g.T @ g
        right += g.T @ dx.ravel()
        square += float((dx**2).sum())
        count += dx.size
    D = square / count / (2 * DT)
    coefficients = np.linalg.pinv(normal, rcond=1e-10) @ right / (D * DT)
    return lambda r: -(spline(r)[1] @ coefficients)


PEERS: dict[str, Callable[[vd.Trajectories, RadialSpline, np.ndarray], np.ndarray]] = {}
"""Other estimators: name -> function of (tracks, spline, r) that returns the pair force [kT/µm] at r."""


def stochastic_force_inference(python: Path, mode: str, tracks: vd.Trajectories, spline: RadialSpline,
                               r: np.ndarray) -> np.ndarray:
    """StochasticForceInference in its own interpreter (scripts/peer_sfi.py); half our knots, as it has no smoothing."""
    assert tracks.box.lengths is not None
    positions, there, *_ = tracks.dense()
    assert there.all()
    with tempfile.TemporaryDirectory() as folder:
        given, found = Path(folder, "in.npz"), Path(folder, "out.npz")
        np.savez(given, positions=positions, dt=tracks.units.dt, box=tracks.box.lengths, cutoff=spline.cutoff,
                 inner=spline.inner, knots=spline.knots // 2, r=r)
        subprocess.run([python, Path(__file__).parent / "peer_sfi.py", given, found, mode], check=True, timeout=3600,
                       capture_output=True)
        return np.load(found)["force"]


def pair_case(pair: str, noise: float, shutter: float, frames: int, seed: int) -> PairResult:
    """Simulate, fit, compare with the truth."""
    potential, cutoff = PAIRS[pair]
    tracks = simulate(pair, noise, shutter, frames, seed)
    clean = simulate(pair, 0.0, 0.0, frames, seed) if noise or shutter else tracks
    start, busy = time.perf_counter(), time.process_time()
    model = vd.fit(tracks, vd.Brownian(cutoff=cutoff), seed=seed)
    seconds, cpu = time.perf_counter() - start, time.process_time() - busy
    r = sampled(clean, cutoff)
    force, energy = potential.force(r), potential.energy(r)
    spline = spline_of(model)
    bound, dU_floor = fisher_bound(clean, spline, r, force)

    def relative(found: np.ndarray) -> float:
        return float(np.linalg.norm(found - force) / np.linalg.norm(force))

    def cover(name: str, truth: np.ndarray) -> float:
        low, high = model.band(name, r)
        return float(np.mean((low <= truth) & (truth <= high)))

    return PairResult(
        pair, noise, shutter, frames, seed, relative(model.pair_force(r)), bound,
        relative(lag1_force(tracks, spline)(r)), model.diffusion() / D0, model.standard_error("diffusion") / D0,
        vd.diffusion(tracks).D / D0, cover("pair_force", force), cover("pair_potential", energy),
        float(np.abs(model.pair_potential(r) - energy).max()), dU_floor, seconds, cpu,
        {name: relative(peer(tracks, spline, r)) for name, peer in PEERS.items()})


def naive_rate(tracks: vd.Trajectories, *, shared: bool) -> float:
    """k D [1/s] from least squares of the steps on the displacement from the mean position."""
    recording = Recording.of(tracks, None)
    x, track = recording.position, recording.track
    group = np.zeros(len(x), dtype=int) if shared else np.unique(track, return_inverse=True)[1]
    mean = np.stack([np.bincount(group, x[:, c]) for c in range(x.shape[1])], 1) / np.bincount(group)[:, None]
    i = recording.steps
    away = (x - mean[group])[i]
    return float(-(away * (x[i + 1] - x[i])).sum() / (away**2).sum() / DT)


def trap_case(trap: str, relaxation: float, noise: float, shutter: float, frames: int, seed: int) -> TrapResult:
    """`relaxation` is k D dt: the part of its way home that a particle drifts in one frame."""
    k0 = relaxation / (D0 * DT)
    tracks = S.Brownian(n_particles=PARTICLES, frames=frames, frames_per_second=1 / DT, diffusion=D0, box_length=None,
                        trap=trap, trap_stiffness=k0, exposure=shutter * DT, localisation_error=noise * STEP).run(seed)
    start, busy = time.perf_counter(), time.process_time()
    model = vd.fit(tracks, vd.Brownian(trap=trap), seed=seed)
    seconds, cpu = time.perf_counter() - start, time.process_time() - busy
    floor = float(np.sqrt(2 / (PARTICLES * 2 * relaxation * frames)))
    return TrapResult(trap, relaxation, noise, shutter, frames, seed, model.trap_stiffness() / k0,
                      model.standard_error("trap_stiffness") / k0, model.diffusion() / D0, floor,
                      naive_rate(tracks, shared=trap == "shared") / (k0 * D0), seconds, cpu)


def machine() -> str:
    """Where and when, without which a time means nothing."""
    try:
        model = next(line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                     if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor() or platform.machine()
    return (f"{datetime.date.today()}, {model}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, "
            f"Python {platform.python_version()}, vid2dyn {vd.__version__}")


def pair_row(results: list[PairResult]) -> str:
    """Means over seeds in one line, the worst of D and |dU| beside them."""
    def mean(key: str) -> float:
        return float(np.mean([getattr(r, key) for r in results]))

    first = results[0]
    peers = "".join(f"{np.mean([r.peers[n] for r in results]):8.3f}" for n in first.peers)
    worst = max((r.D for r in results), key=lambda D: abs(D - 1))
    return (f"{first.pair:<7}{first.noise:5.0%}{first.shutter:8.0f}{first.frames:7d}"
            f"{mean('rel'):8.3f}{max(r.rel for r in results):8.3f}{mean('bound'):8.3f}"
            f"{mean('rel') / mean('bound'):7.2f}{mean('lag1'):8.3f}{peers}"
            f"{mean('D'):8.3f}{worst:8.3f}{mean('D_covariance'):8.3f}{mean('cover_force'):8.2f}{mean('cover_potential'):8.2f}{mean('max_dU'):8.2f}{mean('dU_floor'):8.2f}"
            f"{mean('seconds'):7.1f}{mean('cpu_seconds'):7.1f}")


def trap_row(results: list[TrapResult]) -> str:
    """Means over seeds in one line; rms is the root mean squared error of k/k0."""
    first = results[0]
    k = np.array([r.k for r in results])
    stated = np.mean([r.k_stderr for r in results])
    return (f"{first.trap:<7}{first.relaxation:6.2f}{first.noise:6.0%}{first.shutter:8.0f}{first.frames:7d}"
            f"{k.mean():8.4f}{np.sqrt(((k - 1) ** 2).mean()):8.4f}{stated:8.4f}{first.floor:8.4f}"
            f"{np.mean([r.naive for r in results]):8.3f}{np.mean([r.D for r in results]):8.4f}"
            f"{np.mean([r.seconds for r in results]):7.1f}{np.mean([r.cpu_seconds for r in results]):7.1f}")


def cases(options: argparse.Namespace) -> Iterable[tuple[Callable[..., PairResult | TrapResult], tuple]]:
    """What is to be run: function and arguments but for the seed."""
    noises = options.noise or ([0.3] if options.quick else [0.0, 0.3, 0.8])
    if not options.traps:
        for pair in options.pair or PAIRS:
            for noise in noises:
                for shutter in options.shutter:
                    yield pair_case, (pair, noise, shutter, options.frames[0])
        return
    for trap in ("each", "shared"):
        for relaxation in (0.03, 0.1):
            for frames in options.frames if len(options.frames) > 1 or options.quick else (300, 2000):
                for shutter in options.shutter:
                    yield trap_case, (trap, relaxation, 0.3, shutter, frames)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=FRESH, help="settings were chosen on seeds below")
    parser.add_argument("--frames", type=int, nargs="+", default=[300])
    parser.add_argument("--pair", nargs="+", choices=list(PAIRS))
    parser.add_argument("--noise", type=float, nargs="+", help="in units of the step (default 0 0.3 0.8)")
    parser.add_argument("--shutter", type=float, nargs="+", default=[0.0, 1.0], help="open part of a frame")
    parser.add_argument("--traps", action="store_true", help="stiffness of traps instead of pair forces")
    parser.add_argument("--quick", action="store_true", help="2 seeds, noise 30 % only")
    parser.add_argument("--sfi", type=Path, metavar="PYTHON", help="interpreter that has StochasticForceInference")
    parser.add_argument("--json", type=Path, help="also write every result to this file")
    options = parser.parse_args()
    if options.quick:
        options.seeds = min(options.seeds, 2)
    return options


def main() -> None:
    options = arguments()
    if options.sfi:
        for mode in ("auto", "clean"):
            PEERS[f"S{mode[:5]}"] = partial(stochastic_force_inference, options.sfi, mode)
    print(machine())
    vd.fit(simulate("wca", 0.3, 1.0, 30, 0), vd.Brownian(cutoff=1.6))        # compile before the clock runs
    before = peak_memory()
    if options.traps:
        print("trap    kDdt noise shutter frames    k/k0     rms  stated   floor   naive    D/D0      s  CPU s")
    else:
        print(f"pair   noise shutter frames    rel   worst   bound  ratio   lag-1{''.join(f'{n:>8}' for n in PEERS)}"
              "    D/D0   worst     CVE cover F cover U    |dU|   floor      s  CPU s")
    everything: list[PairResult | TrapResult] = []
    for function, given in cases(options):
        results = [function(*given, seed) for seed in range(options.first_seed, options.first_seed + options.seeds)]
        print(trap_row(results) if options.traps else pair_row(results), flush=True)
        everything += results
    print(f"peak memory {peak_memory():.2f} GB ({before:.2f} GB before the first case)")
    if options.json:
        from vid2dyn.core.files import atomic

        with atomic(options.json) as scratch:
            scratch.write_text(json.dumps({"machine": machine(), "peak_memory_GB": peak_memory(),
                                           "results": [asdict(r) for r in everything]}, indent=1))


if __name__ == "__main__":
    main()
