"""Do 95 % bands hold the truth 95 times in 100? Many small recordings, of which the truth is known.

    python scripts/bench_bands.py                       # every family, noise and shutter, 40 seeds (an hour or two)
    python scripts/bench_bands.py --only wca morse --noise 0.8 --seeds 12
    python scripts/bench_bands.py --out bands.jsonl     # keeps every fit; a run that was ended goes on from there

100 particles, 150 frames of 10 ms, D = 0.405 µm²/s (0.09 µm a step and axis), in a plane. "noise" is the standard
deviation of a position in units of that step; "shutter" the part of a frame during which it is open. Columns, means
over the seeds:

U, F     part of the distances (40 over the range that was seen) at which the 95 % band of the pair potential and of the
         pair force holds the truth
worst    the same for U at the distance where the fewest seeds hold it
D, k     part of the seeds whose 95 % band of D and of the stiffness of traps holds the truth
D/D0     mean of D over the truth
rms F    error of the force relative to the force (root mean square over all distances and seeds)
zigzag   largest total variation of the force over the nearer half of what was seen, over that of the truth; 1 is none
none     part of the distances at which the fit refuses a band, because noise hides how steep the force is
told     part of the seeds in which the fit says so, or that it did not settle
s        seconds of a fit
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import vid2dyn as vd

S = vd.simulators
D0, DT, STEP, PARTICLES, FRAMES, BOX = 0.405, 0.01, 0.09, 100, 150, 15.8
STIFFNESS = 0.1 / (D0 * DT)
"""Of the traps [kT/µm²]: a tenth of the way home in one frame."""

PAIRS: dict[str, tuple[Any, float]] = {
    "yukawa": (S.Yukawa(amplitude=8.0, screening_length=0.45, diameter=1.0, cutoff=3.0), 3.0),
    "wca": (S.WCA(epsilon=1.0, diameter=1.2), 1.6),
    "dipolar": (S.Dipolar(strength=3.0, cutoff=5.0), 5.0),
    "morse": (S.Morse(depth=2.0, width=1 / 3.5, r0=1.2, cutoff=3.0), 3.0),
}
"""Potential put in, and cutoff of the fit [µm]."""
FAMILIES = (*PAIRS, "trap")
NOISES, SHUTTERS = (0.3, 0.8), (0.0, 1.0)
WORDS = ("steep part", "did not settle")
"""Of warnings that say that bands do not hold."""


@dataclass(frozen=True)
class Fit:
    """What one recording gave; `energy` and `force`: whether the band holds the truth at each distance, None where
    there is no band."""

    family: str
    noise: float
    shutter: float
    seed: int
    holds_D: bool
    D: float
    holds_k: bool | None
    k: float | None
    energy: list[bool | None]
    force: list[bool | None]
    error: list[float]
    true_force: list[float]
    zigzag: float
    told: bool
    warnings: list[str]
    seconds: float


def recording(family: str, noise: float, shutter: float, seed: int, particles: int = PARTICLES,
              frames: int = FRAMES) -> vd.Trajectories:
    """One recording of a family."""
    common: dict[str, Any] = {"n_particles": particles, "frames": frames, "frames_per_second": 1 / DT, "diffusion": D0,
                              "exposure": shutter * DT, "localisation_error": noise * STEP, "micrometre_per_pixel": 0.1}
    if family == "trap":
        return S.Brownian(box_length=None, trap="each", trap_stiffness=STIFFNESS, **common).run(seed)
    return S.Brownian(box_length=BOX * (particles / PARTICLES) ** 0.5, pair=PAIRS[family][0], **common).run(seed)


def fitted(family: str, noise: float, shutter: float, seed: int, particles: int = PARTICLES,
           frames: int = FRAMES) -> Fit:
    """Simulate, fit, compare with the truth."""
    tracks = recording(family, noise, shutter, seed, particles, frames)
    recipe = vd.Brownian(trap="each") if family == "trap" else vd.Brownian(cutoff=PAIRS[family][1])
    start = time.perf_counter()
    model = vd.fit(tracks, recipe, seed=seed)
    seconds = time.perf_counter() - start

    def holds(name: str, x: np.ndarray | None, truth: Any) -> list[bool | None]:
        low, high = (np.atleast_1d(edge) for edge in model.band(name, x))
        return [bool(a <= t <= b) if np.isfinite(a) else None
                for a, t, b in zip(low, np.broadcast_to(truth, low.shape), high)]

    warnings = list(model.report["warnings"])
    told = any(word in text for text in warnings for word in WORDS)
    first = (family, noise, shutter, seed, bool(holds("diffusion", None, D0)[0]), model.diffusion() / D0)
    if family == "trap":
        return Fit(*first, holds("trap_stiffness", None, STIFFNESS)[0], model.trap_stiffness() / STIFFNESS, [], [], [],
                   [], 1.0, told, warnings, seconds)
    potential = PAIRS[family][0]
    r = np.linspace(*model.support, 42)[1:-1]
    near = np.linspace(model.support[0], 0.5 * sum(model.support), 80)
    variation = [float(np.abs(np.diff(one(near))).sum()) for one in (model.pair_force, potential.force)]
    return Fit(*first, None, None, holds("pair_potential", r, potential.energy(r)),
               holds("pair_force", r, potential.force(r)), (model.pair_force(r) - potential.force(r)).tolist(),
               potential.force(r).tolist(), variation[0] / variation[1], told, warnings, seconds)


def row(fits: Sequence[Fit]) -> str:
    """One line of the table."""
    one = fits[0]
    text = (f"{one.family:<8}{one.noise:5.0%}{one.shutter:8.0f}{len(fits):6d}")
    if one.family == "trap":
        text += " " * 18
    else:
        U, F = (np.array([getattr(fit, name) for fit in fits], float) for name in ("energy", "force"))
        known = U[np.isfinite(U)], F[np.isfinite(F)], _means(U)
        for values, of in zip(known, (np.mean, np.mean, np.min), strict=True):
            text += f"{of(values):6.3f}" if len(values) else f"{'-':>6}"     # noise hides all of the force
    text += f"{np.mean([fit.holds_D for fit in fits]):6.2f}"
    text += f"{np.mean([bool(fit.holds_k) for fit in fits]):6.2f}" if one.family == "trap" else " " * 6
    text += f"{np.mean([fit.D for fit in fits]):7.3f}"
    if one.family == "trap":
        text += " " * 20
    else:
        error = np.sqrt(np.mean([np.square(fit.error).mean() for fit in fits])
                        / np.mean([np.square(fit.true_force).mean() for fit in fits]))
        text += f"{error:7.3f}{max(fit.zigzag for fit in fits):7.2f}{np.isnan(U).mean():6.2f}"
    return text + f"{np.mean([fit.told for fit in fits]):6.2f}{np.mean([fit.seconds for fit in fits]):6.1f}"


def _means(values: np.ndarray) -> np.ndarray:
    """Means over seeds at each distance at which half of the seeds have a band."""
    here = np.isfinite(values).mean(axis=0) >= 0.5
    return np.nanmean(values[:, here], axis=0)


def kept(path: Path | None) -> dict[tuple[str, float, float, int], Fit]:
    """Fits of an earlier run."""
    if path is None or not path.exists():
        return {}
    fits = [Fit(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return {(one.family, one.noise, one.shutter, one.seed): one for one in fits}


def cells(options: argparse.Namespace) -> Iterator[tuple[str, float, float]]:
    """Families with noise and shutter."""
    for family in options.only or FAMILIES:
        for noise in options.noise:
            for shutter in options.shutter:
                yield family, noise, shutter


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=FAMILIES, default=[])
    parser.add_argument("--noise", type=float, nargs="+", default=NOISES, help="in units of the step")
    parser.add_argument("--shutter", type=float, nargs="+", default=SHUTTERS, help="open part of a frame")
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--first", type=int, default=1000, help="first seed")
    parser.add_argument("--out", type=Path, help="file that keeps every fit, one a line, and from which a run goes on")
    options = parser.parse_args(arguments)
    done = kept(options.out)
    print(f"seeds {options.first} to {options.first + options.seeds - 1}; {PARTICLES} particles, {FRAMES} frames")
    print("family  noise shutter seeds     U     F worst     D     k   D/D0  rms F zigzag  none  told     s")
    for cell in cells(options):
        fits = []
        for seed in range(options.first, options.first + options.seeds):
            if (*cell, seed) not in done:
                done[(*cell, seed)] = fitted(*cell, seed)
                if options.out is not None:
                    with options.out.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(asdict(done[(*cell, seed)])) + "\n")
            fits.append(done[(*cell, seed)])
        print(row(fits), flush=True)


if __name__ == "__main__":
    main()
