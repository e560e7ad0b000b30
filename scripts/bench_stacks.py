"""Particles in z-stacks: completeness, errors and speed beside trackpy, on the same rendered stacks in one run.

    python scripts/bench_stacks.py                         # everything, one thread
    python scripts/bench_stacks.py --parts static --stacks 2

static  stacks of 64 x 256 x 256 voxels with 500 spots anywhere (width 2 px and 2 planes of 0.25 µm, pixels of 0.1 µm,
        brightness 100 ± 20 grey levels on 20, shot and read noise). Recall and precision; RMSE of every axis over the
        Cramér-Rao bound (`vid2dyn.simulators.camera.stack_bound`), std of (error / stated error); processor time of a
        stack. `inside`: spots 6 voxels or more from every face, where trackpy looks. Errors are of spots inside that
        can be told apart: no true neighbour within one width, and a bound below a tenth of a width. Diameter,
        separation and least brightness of trackpy are the best of many on another stack; our widths are measured on
        that stack too, before the clock runs
film    diffusion coefficient of a simulation filmed in stacks, tracked and estimated, over the true one
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
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import trackpy
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

import vid2dyn as vd
from vid2dyn.simulators.camera.stack_bound import stack_bound
from vid2dyn.simulators.camera.stack_renderer import StackRenderer
from vid2dyn.tracking.columns import StackFeature
from vid2dyn.tracking.stacks.choice import stack_settings
from vid2dyn.tracking.stacks.detector import StackDetector

sys.path.insert(0, str(Path(__file__).parent))
from bench_fit import machine

PER_PIXEL, PER_PLANE = 0.1, 0.25                       # µm
MARGIN = 6.0                                           # voxels: half the largest diameter that trackpy is given
_RESOLVED = 0.1                                        # widths: a larger bound says that spots are hardly told apart
REACH = 1.5                                            # widths within which a detection is that of a spot


@dataclass(frozen=True)
class Scene:
    """A rendered stack and its truth."""

    stack: np.ndarray
    place: np.ndarray          # (N, 3): y, x [px], z [planes]
    amplitude: np.ndarray
    renderer: StackRenderer

    @property
    def widths(self) -> np.ndarray:
        r = self.renderer
        return np.array([r.spot_sigma, r.spot_sigma, r.axial_sigma])

    @property
    def inside(self) -> np.ndarray:
        size = np.array([self.renderer.height, self.renderer.width, self.renderer.planes])
        return ((self.place >= MARGIN) & (self.place <= size - 1 - MARGIN)).all(axis=1)

    @property
    def apart(self) -> np.ndarray:
        scaled = self.place / self.widths
        return cKDTree(scaled).query(scaled, k=2)[0][:, 1] > 1.0

    def matched(self, found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Spots and detections (M, 3) that belong together: least sum of distances within `REACH` widths."""
        distance = np.minimum(cdist(self.place / self.widths, found / self.widths), REACH)
        i, j = linear_sum_assignment(distance)
        kept = distance[i, j] < REACH
        return i[kept], j[kept]


def scene(seed: int, count: int = 500, shape: tuple[int, int, int] = (64, 256, 256), **settings: float) -> Scene:
    """`count` spots anywhere in a stack."""
    planes, height, width = shape
    r = StackRenderer(planes=planes, height=height, width=width, micrometre_per_plane=PER_PLANE,
                      **{"amplitude_scatter": 0.2, **settings})  # type: ignore[arg-type]
    place = np.random.default_rng((seed, 7)).uniform(0, (height - 1, width - 1, planes - 1), (count, 3))
    drawn = r.scene(seed, count)
    return Scene(drawn.frame(0, place[None]), place, drawn.amplitude, r)


@dataclass
class Result:
    """What one detector made of some stacks; `error` in bounds."""

    spots: int = 0
    found: int = 0
    hits: int = 0
    hits_inside: int = 0
    inside: int = 0
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.error: list[np.ndarray] = []
        self.z: list[np.ndarray] = []

    def add(self, one: Scene, found: np.ndarray, stated: np.ndarray | None, bound: np.ndarray, seconds: float) -> None:
        i, j = one.matched(found)
        inside, apart = one.inside, one.apart
        self.spots, self.found, self.hits = self.spots + len(one.place), self.found + len(found), self.hits + len(i)
        self.hits_inside, self.inside = self.hits_inside + int(inside[i].sum()), self.inside + int(inside.sum())
        self.seconds += seconds
        kept = (apart & inside & (bound < _RESOLVED * one.widths).all(axis=1))[i]
        error = (found[j] - one.place[i])[kept]
        self.error.append(error / bound[i][kept])
        if stated is not None:
            self.z.append(error / stated[j][kept])

    @property
    def rmse(self) -> np.ndarray:
        """Root mean square of error over bound, y, x, z."""
        return np.sqrt((np.concatenate(self.error) ** 2).mean(axis=0))

    @property
    def z_std(self) -> np.ndarray:
        return np.concatenate(self.z).std(axis=0)


@dataclass(frozen=True)
class TrackpySettings:
    """Diameter [voxels], separation [voxels, None: its default] and least brightness."""

    diameter: int
    separation: float | None
    minmass: float

    def __call__(self, stack: np.ndarray) -> np.ndarray:
        """(N, 3) y, x, z in voxels."""
        return self.table(stack)[["y", "x", "z"]].to_numpy()

    def table(self, stack: np.ndarray):  # type: ignore[no-untyped-def]
        """What trackpy finds."""
        more = {} if self.separation is None else {"separation": self.separation}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return trackpy.locate(stack, (self.diameter,) * 3, minmass=self.minmass, engine="numba", **more)


def best_of_trackpy(one: Scene) -> TrackpySettings:
    """The settings with which trackpy does best: most hits less false detections and misses."""
    found = []
    for diameter in (7, 9, 11):
        for separation in (None, diameter / 2, 0.75 * diameter):
            table = TrackpySettings(diameter, separation, 0.0).table(one.stack)
            mass, place = table["mass"].to_numpy(), table[["y", "x", "z"]].to_numpy()
            for limit in np.quantile(mass, np.linspace(0, 0.98, 30)):
                bright = mass >= limit
                found.append((2 * len(one.matched(place[bright])[0]) - int(bright.sum()), len(found),
                              TrackpySettings(diameter, separation, float(limit))))
    return max(found)[2]


def compare(stacks: int = 4, first: int = 0, repeat: int = 3, **settings: float) -> tuple[Result, Result]:
    """Ours and trackpy's results on the same stacks."""
    other = scene(first + 1000, **settings)             # type: ignore[arg-type]
    of_trackpy = best_of_trackpy(other)
    video = vd.Video.from_array(other.stack, axes="zyx", micrometre_per_pixel=PER_PIXEL,
                                micrometre_per_plane=PER_PLANE)
    chosen, _ = stack_settings(video, vd.tracking.Track(), [0])
    assert chosen.spot_width is not None
    assert chosen.axial_width is not None
    find = StackDetector(chosen.spot_width, chosen.axial_width, PER_PLANE / PER_PIXEL)
    find(other.stack)                                   # compiled before the clock runs
    ours, theirs = Result(), Result()
    scale = np.array([1.0, 1.0, PER_PIXEL / PER_PLANE])
    for k in range(stacks):
        one = scene(first + k, **settings)              # type: ignore[arg-type]
        bound = stack_bound(one.place, one.amplitude, one.renderer)
        seconds, table = _timed(partial(find, one.stack), repeat)
        columns = table[:, : StackFeature.Z + 1], table[:, StackFeature.Y_STD: StackFeature.Z_STD + 1]
        ours.add(one, columns[0] * scale, columns[1] * scale, bound, seconds)
        seconds, places = _timed(partial(of_trackpy, one.stack), repeat)
        theirs.add(one, places, None, bound, seconds)
    return ours, theirs


def _timed(call, repeat: int) -> tuple[float, np.ndarray]:  # type: ignore[no-untyped-def]
    """Least processor time of some calls [s], and what came out."""
    times, out = [], np.empty(0)
    for _ in range(repeat):
        begin = time.process_time()
        out = call()
        times.append(time.process_time() - begin)
    return min(times), out


def static(stacks: int) -> None:
    cases = {"brightness 100": {}, "dim: 30": {"amplitude": 30.0}, "narrow: 1.2 px, 1.5 planes":
             {"spot_sigma": 1.2, "axial_sigma": 1.5},
             "deep: 1.5 px, 3.5 planes": {"spot_sigma": 1.5, "axial_sigma": 3.5}}
    print(f"{'':28s} {'recall':>7s} {'inside':>7s} {'precis.':>7s}  RMSE/bound y, x, z     std(z) y, x, z     s/stack")
    for name, settings in cases.items():
        ours, theirs = compare(stacks if name == "brightness 100" else 1, **settings)
        for who, r in (("vid2dyn", ours), ("trackpy", theirs)):
            z = "-" * 5 if not r.z else " ".join(f"{v:5.3f}" for v in r.z_std)
            print(f"{name if who == 'vid2dyn' else '':19s} {who:8s} {r.hits / r.spots:7.4f} "
                  f"{r.hits_inside / r.inside:7.4f} {r.hits / r.found:7.4f}  {' '.join(f'{v:6.3f}' for v in r.rmse)}   "
                  f"{z:18s} {r.seconds * 1.0 / (stacks if name == 'brightness 100' else 1):7.3f}")
        print(f"{'':28s} {theirs.seconds / ours.seconds:.1f} times as fast", flush=True)


def film_diffusion(seed: int, frames: int = 60, exposure: float = 0.01) -> float:
    """Estimated over true diffusion coefficient of a film."""
    sim = vd.simulators.Brownian(n_particles=300, frames=frames, dim=3, box_length=17.0, frames_per_second=50,
                                 exposure=exposure, diffusion=0.3, micrometre_per_pixel=PER_PIXEL)
    video = vd.render(sim, StackRenderer(planes=56, height=144, width=144, micrometre_per_plane=PER_PLANE), seed)
    tracks = vd.track(video, search_range=8)
    return float(vd.diffusion(tracks).D / 0.3)


def film() -> None:
    for exposure in (0.0, 0.01, 0.02):
        ratios = [film_diffusion(seed, exposure=exposure) for seed in (0, 1, 2)]
        print(f"exposure {exposure:g} of 0.02 s: D/true = {', '.join(f'{r:.4f}' for r in ratios)}; mean "
              f"{np.mean(ratios):.4f}", flush=True)


PARTS = ("static", "film")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--stacks", type=int, default=4)
    chosen = parser.parse_args()
    print(machine())
    if "static" in chosen.parts:
        static(chosen.stacks)
    if "film" in chosen.parts:
        film()


if __name__ == "__main__":
    main()
