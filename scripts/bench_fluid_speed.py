"""The compiled fluid: cost, memory, growth with size, and the laws over 10,000 steps.

    python scripts/bench_fluid_speed.py                      # all parts
    python scripts/bench_fluid_speed.py --parts step train   # some: step, torch, train, memory, growth, laws
    python scripts/bench_fluid_speed.py --json figures.json  # the same numbers, for machines

step     cost of a step in yardsticks: the forward pass of an MLP 2-50-50-1 (tanh, float32) on 200,334 rows, six times
         33,389 pairs; the fluid has 4,000 particles and 35,183 pairs, 33,389 were it without order. Both on one thread,
         timed in turns in this run; of each the smallest of the repeats counts, and beside it the ratio of the medians,
         as whatever else the machine does can only add. Asked: 0.15 or less.
torch    the same for the torch path, one thread. Asked: 0.8 or less.
train    cost of learning from one step of the same fluid in yardsticks: forces, friction, full covariance by conjugate
         gradients, score in all numbers, entropy carried with its slopes, and the share of information and of the
         scoring step. Neighbours are searched in the first sweep and kept. Asked: 2.5 or less.
memory   resident memory of 100,000 particles with their pairs, by a process of its own. Asked: under 4 GB.
growth   processor time (one thread) and memory a particle from 1,000 to 1,000,000. Asked: linear.
laws     500 particles of noisy gas, 10,000 steps: change of energy in N kT (exact step 1e-10, Verlet 1e-3), change of
         total momentum (1e-13 a particle), and without noise the smallest production of entropy in a step (>= 0).
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
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from vid2dyn.core.workers import peak_memory
from vid2dyn.data.box import Periodic
from vid2dyn.dynamics.fluid.frozen import FrozenFluid
from vid2dyn.rollout.fluid.example import ideal_gas, lattice
from vid2dyn.rollout.fluid.paths import (
    FluidFrame,
    FluidRollout,
    _engine,
    fluid_energy,
    fluid_frames,
)

PAIRS, PARTICLES = 33_389, 4_000
DT = 5e-4


def fluid(n: int) -> tuple[FrozenFluid, FluidFrame]:
    """Gas at 500 particles in a unit box, cutoff 0.2: 16.7 neighbours each."""
    x, v, edge = lattice(n, volume=1 / 500)
    return ideal_gas(), FluidFrame(x, v, np.zeros(n), Periodic((edge,) * 3))


def yardstick() -> Any:
    """A function that makes one forward pass."""
    import torch

    torch.set_num_threads(1)
    net = torch.nn.Sequential(torch.nn.Linear(2, 50), torch.nn.Tanh(), torch.nn.Linear(50, 50), torch.nn.Tanh(),
                              torch.nn.Linear(50, 1))
    rows = torch.randn(6 * PAIRS, 2)

    def forward() -> None:
        with torch.no_grad():
            net(rows)

    return forward


def seconds(call: Any, times: int = 1) -> float:
    start = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - start) / times


def steps(n: int, conservative: str, threads: int) -> Any:
    """A function that makes one step of a fluid that has already made a few."""
    frozen, start = fluid(n)
    walk = fluid_frames(frozen, start, FluidRollout(DT, conservative), steps=10**9, threads=threads)  # type: ignore[arg-type]
    for _ in range(12):
        next(walk)
    return lambda: next(walk)


def part_step(repeats: int = 12) -> dict[str, float]:
    """Steps in yardsticks; each repeat averages 20 steps, so neighbour lists count with their share."""
    forward = yardstick()
    kinds = {"Verlet, 1 thread": steps(PARTICLES, "verlet", 1), "exact, 1 thread": steps(PARTICLES, "exact", 1),
             "Verlet, 2 threads": steps(PARTICLES, "verlet", 2)}
    forward()
    times: dict[str, list[float]] = {"yardstick": [], **{name: [] for name in kinds}}
    for _ in range(repeats):
        times["yardstick"].append(seconds(forward))
        for name, step in kinds.items():
            times[name].append(seconds(step, 20 if "2" not in name else 5))
    best = {name: min(values) for name, values in times.items()}
    frozen, start = fluid(PARTICLES)
    engine = _engine(frozen, start, FluidRollout(DT), 0, 1)
    pairs = int((engine.on_pairs.geometry.value > 0).sum())
    print(f"yardstick {1e3 * best['yardstick']:.1f} ms; fluid of {PARTICLES} particles, {pairs} pairs")
    for name in kinds:
        middle = float(np.median(times[name]) / np.median(times["yardstick"]))
        print(f"  {name:18s} {1e3 * best[name]:7.2f} ms a step = {best[name] / best['yardstick']:.3f} yardsticks"
              f" (medians: {middle:.3f})")
    return {"yardstick_ms": 1e3 * best["yardstick"],
            **{name: best[name] / best["yardstick"] for name in kinds}}


def part_torch(repeats: int = 6) -> dict[str, float]:
    """Steps of the torch path in yardsticks; each repeat averages 5."""
    import torch

    from vid2dyn.dynamics.fluid.sdpd import Fluid
    from vid2dyn.dynamics.snapshot import Snapshot
    from vid2dyn.rollout.steps.stepper import FluidStepper

    gas = Fluid.ideal_gas(cutoff=0.2, mass=1.0, heat_capacity=30.0, molecules=20.0, volume=1 / 500,
                          shear_viscosity=20.0, bulk_viscosity=10.0, conductivity=500.0)
    _, start = fluid(PARTICLES)
    x, v, S = (torch.as_tensor(a) for a in (start.position, start.velocity, start.entropy))
    forward, found = yardstick(), {}
    forward()
    for name in ("verlet", "exact"):
        stepper = FluidStepper(gas, dt=DT, conservative=name)                        # type: ignore[arg-type]
        state = stepper.start(Snapshot.of(x, gas.cutoff, start.box, velocity=v, entropy=S))
        times: dict[str, list[float]] = {"yardstick": [], name: []}
        for _ in range(repeats):
            times["yardstick"].append(seconds(forward))
            began = time.perf_counter()
            for _ in range(5):
                state = stepper.step(state)
            times[name].append((time.perf_counter() - began) / 5)
        ratio, middle = (float(f(times[name]) / f(times["yardstick"])) for f in (np.min, np.median))
        found[name] = ratio
        print(f"  torch, {name:7s} {1e3 * min(times[name]):7.2f} ms a step = {ratio:.3f} yardsticks "
              f"(medians: {middle:.3f})")
    return found


def part_train(repeats: int = 6, count: int = 10) -> dict[str, float]:
    """One sweep over `count` steps with one information and one scoring step, per step."""
    from vid2dyn.dynamics.fluid.numbers import Layout, Thermal
    from vid2dyn.fitting.particles.fluid_likelihood import FluidLikelihood, moments, prior_of, score_and_information
    from vid2dyn.fitting.particles.scoring import Scored, ascent
    from vid2dyn.inference.steps import FluidSteps

    frozen, start = fluid(PARTICLES)
    frames = list(fluid_frames(frozen, start, FluidRollout(DT), steps=60 + count, threads=1))[60:]
    data = FluidSteps(np.stack([f.position for f in frames]), np.stack([f.velocity for f in frames]), DT, start.box,
                      frozen.cutoff)
    layout = Layout(3, frozen.cutoff, frozen.mass, 1 / 500, 4, 1).without(Thermal.START)
    numbers = moments([data], layout)
    sigma = np.zeros(data.n)
    likelihood = FluidLikelihood([data], numbers, prior_of(numbers), lambda _: [sigma], 0)
    forward = yardstick()

    def train() -> None:
        ascent(likelihood, Scored(numbers.vector, *score_and_information([data], [sigma], numbers, 0, every=count)))

    forward()
    train()
    times: dict[str, list[float]] = {"yardstick": [], "train": []}
    for _ in range(repeats):
        times["yardstick"].append(seconds(forward, 3))
        times["train"].append(seconds(train) / count)
    best = {name: min(values) for name, values in times.items()}
    pairs = len(data.pairs(0).first)
    middle = float(np.median(times["train"]) / np.median(times["yardstick"]))
    print(f"yardstick {1e3 * best['yardstick']:.1f} ms; learning from a step of {PARTICLES} particles, {pairs} pairs: "
          f"{1e3 * best['train']:.1f} ms = {best['train'] / best['yardstick']:.2f} yardsticks (medians: {middle:.2f})")
    return {"yardstick_ms": 1e3 * best["yardstick"], "train_ms": 1e3 * best["train"],
            "train": best["train"] / best["yardstick"], "medians": middle}


def measure(n: int, count: int) -> dict[str, float]:
    """One process: time of a step and memory of n particles."""
    frozen, start = fluid(n)
    small = fluid(1000)
    for _ in fluid_frames(*small, FluidRollout(DT), steps=2, threads=1):
        pass
    before = resident()
    walk = fluid_frames(frozen, start, FluidRollout(DT), steps=10**9, every=count, threads=1)
    next(walk)
    used = time.process_time()
    next(walk)
    return {"n": n, "seconds": (time.process_time() - used) / count, "resident": resident() - before,
            "peak": peak_memory() * 2**30}


def resident() -> float:
    """Memory in use now [bytes]; Linux."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096.0


def apart(n: int, count: int) -> dict[str, float]:
    """`measure` in a process of its own."""
    out = subprocess.run([sys.executable, __file__, "--one", str(n), str(count)], capture_output=True, text=True,
                         check=True)
    return json.loads(out.stdout.splitlines()[-1])


def part_memory() -> dict[str, float]:
    found = apart(100_000, 12)
    print(f"100,000 particles: {found['peak'] / 1e9:.2f} GB at the peak of the whole process, "
          f"{found['resident'] / 1e5 / 1e3:.2f} kB a particle")
    return found


def part_growth() -> list[dict[str, float]]:
    rows = [apart(n, count) for n, count in ((1_000, 400), (10_000, 60), (100_000, 12), (1_000_000, 8))]
    for row in rows:
        print(f"  {int(row['n']):8d} particles  {1e3 * row['seconds']:9.2f} ms a step  "
              f"{1e6 * row['seconds'] / row['n']:6.2f} µs a particle  {row['resident'] / row['n'] / 1e3:5.2f} kB each")
    slope = np.polyfit(np.log([r["n"] for r in rows]), np.log([r["seconds"] for r in rows]), 1)[0]
    print(f"  cost grows as N^{slope:.3f}")
    return rows


def part_laws(count: int = 10_000) -> dict[str, float]:
    frozen, start = fluid(500)
    found: dict[str, float] = {}
    for conservative in ("exact", "verlet"):
        first, worst, drift = sum(fluid_energy(frozen, start)), 0.0, 0.0
        for frame in fluid_frames(frozen, start, FluidRollout(DT, conservative), steps=count, every=500, seed=1):  # type: ignore[arg-type]
            worst = max(worst, abs(sum(fluid_energy(frozen, frame)) - first) / 500)
            drift = max(drift, float(np.abs((frame.velocity - start.velocity).mean(axis=0)).max()))
        found |= {f"{conservative} dE": worst, f"{conservative} momentum": drift}
        print(f"{conservative:7s} {count} steps with noise: energy within {worst:.2e} N kT, momentum {drift:.1e} "
              "sqrt(kT/m) a particle")
    S, least = np.inf, np.inf
    for frame in fluid_frames(frozen, start, FluidRollout(DT, noise=False), steps=count // 10):
        total = float(frame.entropy.sum())
        least, S = min(least, total - S if np.isfinite(S) else np.inf), total
    print(f"without noise the least entropy of {count // 10} steps: {least:.3e} kB")
    return found | {"least entropy production": least}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", default=["step", "torch", "train", "memory", "growth", "laws"],
                        choices=["step", "torch", "train", "memory", "growth", "laws"])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", nargs=2, type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(*arguments.one)))
        return
    figures: dict[str, Any] = {"date": datetime.datetime.now(datetime.UTC).isoformat(timespec="minutes"),
                               "machine": platform.processor() or platform.machine(), "cores": os.cpu_count(),
                               "load": os.getloadavg()[0]}
    print(f"{figures['machine']}, {figures['cores']} cores, load {figures['load']:.1f} when started")
    for part in arguments.parts:
        figures[part] = {"step": part_step, "torch": part_torch, "train": part_train, "memory": part_memory,
                         "growth": part_growth, "laws": part_laws}[part]()
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
