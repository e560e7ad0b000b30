"""Lattice processes: trials per second beside a bare random-number loop, threads, and what 95 % bands cover.

    python scripts/bench_lattice.py                  # throughput, N = 2,000
    python scripts/bench_lattice.py --coverage 40    # seeds; about 3 s each

Throughput: a trial is one attempted hop, failed ones counted. The bare loop draws the simulators' own words one after
the other and uses each as a number below N; numba's generator of uniform numbers stands beside it. Best of five, in
processor time of the thread: wall times mean nothing where others compute.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numba
import numpy as np

import vid2dyn as vd
from vid2dyn.simulators.lattice.kernels import _GOLDEN, _below, _exclusion, _recount, _word, thresholds

sys.path.insert(0, str(Path(__file__).parent))
from bench_fit import machine

N, TRIALS = 2000, 20_000_000
S = vd.simulators
CASES = {"exclusion": S.Arrhenius(sites=N), "nearest neighbour, J = 1": S.Arrhenius(sites=N, kernel=(1.0,)),
         "nearest neighbour, J = -1": S.Arrhenius(sites=N, kernel=(-1.0,)),
         "range 2, (0, 2)": S.Arrhenius(sites=N, kernel=(0.0, 2.0)),
         "box, L = 50": S.Arrhenius(sites=N, kac_range=50, kac_strength=2.0),
         "box, L = 200": S.Arrhenius(sites=N, kac_range=200, kac_strength=2.0),
         "box, L = 900": S.Arrhenius(sites=N, kac_range=900, kac_strength=2.0)}


@numba.njit
def bare(trials: int, state: Any, n: int) -> int:
    """Words one after the other; the shift ties each to the last, or the compiler would draw eight at once."""
    total = 0
    for _ in range(trials):
        state += _GOLDEN
        total = (total >> 1) ^ _below(_word(state), n)
    return total


@numba.njit
def uniform(trials: int) -> float:
    total = 0.0
    for _ in range(trials):
        total += np.random.random()                                            # noqa: NPY002
    return total


def seconds(work: Callable[[], Any], clock: Callable[[], float] = time.thread_time) -> float:
    """Best of five, after one run to compile."""
    work()
    taken = []
    for _ in range(5):
        start = clock()
        work()
        taken.append(clock() - start)
    return min(taken)


def loop(simulator: Any) -> Callable[[], Any]:
    """TRIALS trials on a half-full ring."""
    start = np.zeros(N, np.uint8)
    start[np.random.default_rng(0).permutation(N)[: N // 2]] = 1
    accept = thresholds(simulator.acceptance())

    def work() -> None:
        occupied, neighbours = start.copy(), np.zeros(N, np.int32)
        if simulator._counted:
            _recount(occupied, simulator.reach, neighbours)
        _exclusion(occupied, neighbours, simulator._counted, simulator.reach, accept, TRIALS, np.uint64(5))

    return work


def throughput() -> None:
    own, numbas = seconds(lambda: bare(TRIALS, np.uint64(3), N)), seconds(lambda: uniform(TRIALS))
    print(f"one thread, N = {N}\n{'':<26}{'ns a trial':>11}{'trials/s':>11}{'over bare':>11}{'over numba':>11}")
    print(f"{'bare loop, own words':<26}{1e9 * own / TRIALS:>11.2f}{TRIALS / own:>11.2e}")
    print(f"{'numba, uniform numbers':<26}{1e9 * numbas / TRIALS:>11.2f}{TRIALS / numbas:>11.2e}")
    for name, simulator in CASES.items():
        taken = seconds(loop(simulator))
        print(f"{name:<26}{1e9 * taken / TRIALS:>11.2f}{TRIALS / taken:>11.2e}"
              f"{taken / own:>11.1f}{taken / numbas:>11.2f}")


def threads() -> None:
    """Realisations over threads, wall time: means something on an idle machine only."""
    for name in ("nearest neighbour, J = 1", "box, L = 200"):
        simulator = CASES[name]
        states = np.zeros((64, 2, N), np.uint8)
        states[:, 0] = simulator._draw(np.full(N, 0.5), np.random.default_rng(0))[:64]
        trials, seeds = np.full((64, 1), 5_000_000), np.arange(64, dtype=np.uint64)
        rates = []
        for count in (1, 2):
            if count > numba.config.NUMBA_NUM_THREADS:
                print(f"{name}: one thread is all there is (NUMBA_NUM_THREADS, or one core)")
                break
            numba.set_num_threads(count)
            rates.append(trials.sum() / seconds(partial(simulator._advance, states, trials, seeds), time.perf_counter))
            print(f"{name}: {count} thread(s), {rates[-1]:.2e} trials/s, {rates[-1] / rates[0]:.2f} times one")


FREE = S.Arrhenius(sites=200, realisations=600, starts=((0.5, 0.42, 1), (0.5, 0.42, 2)),
                   windows=(20.0, 40.0, 60.0, 80.0, 100.0))
FAST = S.Arrhenius(kernel=(-1.5,), starts=((0.5, 0.42, 1), (0.5, 0.42, 2)))
"""Repulsion by 1.5 kT, D up to 6; the windows are those of a pilot."""


def coverage(seeds: int, simulator: S.Arrhenius = FREE) -> dict[str, np.ndarray]:
    """(seeds, densities) whether the 95 % band holds the exact mobility, f'' and D, and relative errors ("... off")."""
    rho = np.linspace(0.1, 0.9, 9)                                              # starts visit 0.08 to 0.92
    exact = simulator.limit(rho)
    names = {"mobility": exact.mobility, "curvature": exact.curvature, "diffusion": exact.diffusion}
    held: dict[str, list[np.ndarray]] = {f"{name}{what}": [] for name in names for what in ("", " off")}
    for seed in range(seeds):
        model = vd.fit(vd.simulate(simulator, seed=seed), vd.GradientFlow(knots=7))
        for name, truth in names.items():
            low, high = model.band(name, rho)
            held[name].append((low <= truth) & (truth <= high))
            held[f"{name} off"].append(getattr(model, name)(rho) / truth - 1)
        print(f"{seed + 1}/{seeds}", end="\r", file=sys.stderr, flush=True)
    return {name: np.array(each) for name, each in held.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--coverage", type=int, default=0, metavar="SEEDS")
    parser.add_argument("--fast", action="store_true", help="coverage of a process with D up to 6, windows of a pilot")
    options = parser.parse_args()
    print(machine())
    if options.coverage:
        found = coverage(options.coverage, FAST if options.fast else FREE)
        for name in ("mobility", "curvature", "diffusion"):
            print(f"{name:<10} held {found[name].mean():.1%}, by density "
                  + " ".join(f"{p:.2f}" for p in found[name].mean(axis=0))
                  + f"; off by {100 * np.sqrt((found[f'{name} off']**2).mean()):.2g} %")
        return
    throughput()
    threads()


if __name__ == "__main__":
    main()
