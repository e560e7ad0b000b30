"""Learned models in LAMMPS: identity with our own engine, cost against stock styles, processes, size, statistics.

    python scripts/bench_lammps.py                              # all parts, some minutes on two free cores
    python scripts/bench_lammps.py --parts identity cost
    python scripts/bench_lammps.py --json figures.json --model star11.vid2dyn

identity    50 noisy steps: LAMMPS on one and two processes against our own engine, positions (asked: 1e-12); momentum
            (1e-10); energy drift of the gas in both engines.
cost        CPU µs a particle-step at 8,000 and 100,000 particles with 16.3 neighbours: the compiled step, stock `dpd`
            (asked: at most 2.5 times), and `table` + `dpd/ext/tstat` (asked: not slower), all with the same potential,
            friction along the line of centres and skin.
ranks       100,000 particles on one process and two (asked: 1.6 times faster), 50,000 on each (asked: 80 %); messages
            and bytes of a step and process.
million     1,000,000 particles, some steps: memory (asked: below 12 GB), which must grow linearly.
statistics  RDF, MSD and VACF of 100,000 particles against those of eight runs of 4,000, in standard errors.
viscosity   decay of a shear wave v_x(y) in a large box against that of a small one in our own engine, in standard
            errors, and, for the gas, against the viscosity of its friction.
step        error of the time step that both engines share: kinetic temperature of the soft particles, which
            Crank-Nicolson friction leaves right and Verlet changes as dt².

Times are CPU times of the slowest process (`process_time` around LAMMPS's run), because they hold on a busy machine;
wall times stand beside them where processes wait for each other.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from bench_rollout import equilibrated, fluid_of
from bench_sdpd import FLUIDS, kB_factor
from scipy.optimize import curve_fit
from scipy.spatial import cKDTree

import vid2dyn as vd
from vid2dyn.data.box import Periodic
from vid2dyn.dynamics.fluid.frozen import FrozenFluid
from vid2dyn.rollout.fluid.example import SoftParticleTables
from vid2dyn.rollout.fluid.paths import FluidFrame, FluidRollout, fluid_energy, fluid_frames, fluid_paths
from vid2dyn.rollout.lammps.launch import lammps_paths, launcher, run_package
from vid2dyn.rollout.lammps.package import LammpsRun, write_package
from vid2dyn.rollout.starts import at_rest, relaxed, relaxing, replicated, seeded

NEIGHBOURS = 16.3
DENSITY = NEIGHBOURS / (4.0 / 3.0 * math.pi)
SKIN = 0.3
DT = 0.005


def soft(n: int, density: float = DENSITY, across: float = 0.0, seed: int = 0) -> tuple[FrozenFluid, FluidFrame]:
    """Soft particles of stock `dpd`: a = 25, γ = 4.5, kT = 1, cutoff 1, on a shaken grid."""
    edge = (n / density) ** (1 / 3)
    return (SoftParticleTables(across=across, rows=2049).freeze(),
            seeded(n, (edge,) * 3, 1.0, [1.0], seed=seed))


def gas(one: Any = None) -> tuple[FrozenFluid, FluidFrame]:
    """An SDPD gas with entropy at equilibrium; default: that of the simulator's defaults."""
    from vid2dyn.simulators.fluid.sdpd.gas import SDPD

    one = SDPD() if one is None else one
    start = dataclasses.replace(equilibrated(one), box=Periodic((one.box_length,) * one.dim))
    c = one.heat_capacity
    x = math.log(one.volume0)
    return fluid_of(one).freeze((float(start.entropy.min()) - 1.5 * c, float(start.entropy.max()) + 1.5 * c),
                                (x - 2.5, x + 2.5)), start


def star(path: str | None) -> tuple[FrozenFluid, FluidFrame, float] | None:
    """A learned model of star-11 polymers and a start of 1,000 stars; time step of a rollout."""
    if path is None:
        return None
    from vid2dyn.export import ready_for

    found = ready_for(vd.load(path), None, 1, particles=1000)
    return found.frozen, found.start, found.settings.dt


# ---------------------------------------------------------------- identity

def part_identity(model: str | None) -> dict[str, Any]:
    """Differences after 50 noisy steps."""
    out: dict[str, Any] = {}
    cases: dict[str, tuple[FrozenFluid, FluidFrame, float]] = {
        "soft": (*soft(1000, 3.0, 1.5), 0.01), "SDPD gas": (*gas(), 5e-4)}
    stars = star(model)
    if stars is not None:
        cases["star 11"] = stars
    for name, (frozen, start, dt) in cases.items():
        settings, run = FluidRollout(dt), LammpsRun(50, 50, 3)
        ours = fluid_paths(frozen, start, settings, steps=50, every=50, seed=3)
        one, two = (lammps_paths(frozen, start, settings, run, ranks=ranks) for ranks in (1, 2))
        mass = frozen.masses[0]
        momentum = max(mass * float(np.abs((found.velocity[-1] - start.velocity).sum(axis=0)).max())
                       for found in (one, two))
        found = {"one": _far(one.position, ours.position), "two": _far(two.position, ours.position),
                 "one_two": _far(one.position, two.position), "momentum": momentum}
        if frozen.eos is not None:
            before = sum(fluid_energy(frozen, start))
            for who, last in (("ours", ours.last), ("lammps", two.last)):
                found[f"energy_{who}"] = (sum(fluid_energy(frozen, last)) - before) / len(start.position)
        out[name] = found
        print(f"  {name}: 1 process {found['one']:.1e}, 2 {found['two']:.1e}, 1 against 2 {found['one_two']:.1e} µm "
              f"(asked 1e-12); momentum {momentum:.1e} (1e-10)"
              + (f"; energy drift a particle: ours {found['energy_ours']:.2e}, LAMMPS {found['energy_lammps']:.2e} kT"
                 if "energy_ours" in found else ""))
    return out


def _far(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).max())


# ---------------------------------------------------------------- cost

STOCK = """
import json, sys, time
from mpi4py import MPI
from lammps import lammps
n, steps, edge, skin, dt = int(sys.argv[1]), int(sys.argv[2]), *(float(w) for w in sys.argv[3:6])
style = sys.argv[6]
lmp = lammps(cmdargs=["-log", "none", "-screen", "none", "-nocite"])
pair = {"dpd": "pair_style dpd 1.0 1.0 3928\\npair_coeff * * 25.0 4.5",
        "table": "pair_style hybrid/overlay table spline 4000 dpd/ext/tstat 1.0 1.0 1.0 3928\\n"
                 f"pair_coeff * * table {sys.argv[7]} KIND_0 1.0\\n"
                 "pair_coeff * * dpd/ext/tstat 4.5 0.0 1.0 1.0 1.0"}[style]
lmp.commands_string(f'''units lj
atom_style atomic
comm_modify vel yes
region b block 0 {edge} 0 {edge} 0 {edge}
create_box 1 b
lattice sc {n / edge**3}
create_atoms 1 random {n} 123 b
mass 1 1.0
velocity all create 1.0 4928
{pair}
neighbor {skin} bin
neigh_modify every 1 delay 0 check yes
timestep {dt}
thermo 1000000000
fix soft all nve/limit 0.05
run 100 post no
unfix soft
fix move all nve
run 20 post no''')
cpu, wall = time.process_time(), time.perf_counter()
lmp.command(f"run {steps} pre no post no")
mine = time.process_time() - cpu, time.perf_counter() - wall
every = MPI.COMM_WORLD.allgather(mine)
if MPI.COMM_WORLD.rank == 0:
    print(json.dumps({"cpu": max(e[0] for e in every), "seconds": max(e[1] for e in every)}))
"""


def stock(style: str, n: int, steps: int, ranks: int = 1, dt: float = DT) -> dict[str, float]:
    """A run of stock styles with the same particles, potential and friction."""
    from vid2dyn.export import pair_tables

    with tempfile.TemporaryDirectory() as folder:
        table = pair_tables(soft(8)[0], folder)[0]
        edge = (n / DENSITY) ** (1 / 3)
        words = [str(w) for w in (n, steps, edge, SKIN, dt, style, table)]
        found = subprocess.run([*launcher(ranks), sys.executable, "-c", STOCK, *words], stdin=subprocess.DEVNULL,
                               capture_output=True, text=True, timeout=1200)
    if found.returncode:
        raise SystemExit(found.stderr[-2000:])
    return json.loads(found.stdout.splitlines()[-1])           # type: ignore[no-any-return]


def compiled(n: int, steps: int, ranks: int = 1) -> dict[str, float]:
    """Where the time of the compiled step went, from a state at rest; the time step of `stock`."""
    frozen, start = soft(n)
    with tempfile.TemporaryDirectory() as folder:
        write_package(folder, frozen, start, FluidRollout(DT), LammpsRun(steps, steps, 1, skin=SKIN))
        return run_package(folder, ranks)


def part_cost(steps: int) -> dict[str, Any]:
    """CPU µs a particle-step."""
    out: dict[str, Any] = {}
    for n, count in ((8000, 2 * steps), (100_000, max(20, steps // 4))):
        scale = 1e6 / n / count
        tables = {"compiled": compiled(n, count)["cpu"] * scale, "dpd": stock("dpd", n, count)["cpu"] * scale,
                  "table": stock("table", n, count)["cpu"] * scale}
        tables["over_dpd"], tables["over_table"] = (tables["compiled"] / tables[k] for k in ("dpd", "table"))
        out[str(n)] = tables
        print(f"  {n} particles: compiled step {tables['compiled']:.2f}, stock dpd {tables['dpd']:.2f} (ratio "
              f"{tables['over_dpd']:.2f}, asked 2.5), table + dpd/ext/tstat {tables['table']:.2f} (ratio "
              f"{tables['over_table']:.2f}, asked 1) CPU µs a particle-step")
    return out


# ---------------------------------------------------------------- processes and size

def part_ranks(steps: int) -> dict[str, Any]:
    """Strong and weak scaling; what a step sends."""
    count = max(20, steps // 4)
    one, two, half = (min((compiled(n, count, ranks) for _ in range(3)), key=lambda found: found["seconds"])
                      for n, ranks in ((100_000, 1), (100_000, 2), (50_000, 1)))
    out = {"speed_up": one["seconds"] / two["seconds"], "weak": half["seconds"] / two["seconds"],
           "work_speed_up": one["work"] / two["work"], "work_weak": half["work"] / two["work"],
           "load": os.getloadavg()[0],
           "bytes_a_step": two["bytes_sent"] / count, "messages_a_step": two["forwards"] / count,
           "sums_a_step": two["sums"] / count, "communication": two["communication"] / two["seconds"],
           "iterations_a_step": two["iterations"] / count}
    print(f"  100,000 particles: 2 processes {out['speed_up']:.2f} times as fast as one by the clock (asked 1.6)")
    print(f"  in CPU time without waiting for messages: {out['work_speed_up']:.2f} times, weak scaling "
          f"{100 * out['work_weak']:.0f} %")
    print(f"  50,000 a process, 1 against 2: {100 * out['weak']:.0f} % (asked 80 %), best of 3, "
          f"load {out['load']:.1f}, {os.cpu_count()} cores")
    print(f"  a step and process: {out['messages_a_step']:.1f} exchanges with neighbours, {out['sums_a_step']:.1f} "
          f"sums over all, {out['bytes_a_step'] / 1e6:.2f} MB sent, {100 * out['communication']:.0f} % of the time; "
          f"{out['iterations_a_step']:.1f} iterations")
    return out


def part_million(steps: int) -> dict[str, Any]:
    """Memory at three sizes."""
    out: dict[str, Any] = {}
    for n in (8000, 100_000, 1_000_000):
        count = 5 if n > 500_000 else 20
        found = compiled(n, count)
        out[str(n)] = {"GB": found["memory"] / 1e9, "cpu": 1e6 * found["cpu"] / n / count}
        print(f"  {n} particles: {out[str(n)]['GB']:.2f} GB, {out[str(n)]['cpu']:.2f} CPU µs a particle-step"
              + (" (asked below 12 GB)" if n == 1_000_000 else ""))
    slope = (out["1000000"]["GB"] - out["100000"]["GB"]) / 0.9
    out["bytes_a_particle"] = 1e3 * slope
    print(f"  {1e3 * slope:.0f} bytes a particle from 100,000 to 1,000,000")
    return out


# ---------------------------------------------------------------- statistics

def curves(position: np.ndarray, velocity: np.ndarray, box: Periodic, every: int = 10) -> dict[str, np.ndarray]:
    """RDF (bins of 0.05 to 2), MSD and VACF at all lags from frame 0, of one run."""
    n, edge = position.shape[1], np.array(box.lengths)
    bins = np.linspace(0.4, 2.0, 33)
    count = np.zeros(len(bins) - 1)
    frames = range(0, len(position), every)
    for k in frames:
        tree = cKDTree(np.mod(position[k], edge), boxsize=edge)
        count += np.diff((tree.count_neighbors(tree, bins) - n) / 2.0)
    shell = 4.0 / 3.0 * math.pi * np.diff(bins**3)
    rdf = count / len(frames) / (0.5 * n * n / float(edge.prod()) * shell)
    moved = position - position[:1]
    return {"rdf": rdf, "msd": (moved**2).sum(axis=2).mean(axis=1)[1:],
            "vacf": (velocity * velocity[:1]).sum(axis=2).mean(axis=1)}


def part_statistics(steps: int) -> dict[str, Any]:
    """One large run against eight small ones, all from starts at rest."""
    dt, frames, every, runs, few = 0.01, 40, 4, 8, 4000
    settings = FluidRollout(dt)
    small: list[dict[str, np.ndarray]] = []
    for k in range(runs):
        frozen, start = soft(few, 3.0, 1.5, seed=k)
        start = relaxed(frozen, start, settings, steps=600, seed=100 + k)
        found = fluid_paths(frozen, start, settings, steps=frames * every, every=every, seed=k)
        small.append(curves(found.position, found.velocity, start.box))        # type: ignore[arg-type]
    frozen, start = soft(100_000, 3.0, 1.5, seed=50)
    rest = lammps_paths(frozen, start, relaxing(frozen, settings), LammpsRun(600, 600, 5), ranks=2)
    start = at_rest(frozen, rest.last)
    found = lammps_paths(frozen, start, settings, LammpsRun(frames * every, every, 6), ranks=2)
    large = curves(found.position, found.velocity, start.box)                  # type: ignore[arg-type]
    out: dict[str, Any] = {}
    for name, curve in large.items():
        of_small = np.array([one[name] for one in small])
        mean, spread = of_small.mean(axis=0), of_small.std(axis=0, ddof=1)
        error = spread * math.sqrt(1.0 / runs + few / 100_000)
        z = (curve - mean) / np.maximum(error, 1e-12)
        off = float(np.sqrt(((curve - mean) ** 2).sum() / (mean**2).sum()))
        out[name] = {"rms_z": float(np.sqrt((z**2).mean())), "rmse": off,
                     "error": float(np.sqrt((error**2).sum() / (mean**2).sum()))}
        print(f"  {name.upper()}: relative RMSE {100 * off:.3f} %, standard error {100 * out[name]['error']:.3f} %; "
              f"rms of z {out[name]['rms_z']:.2f}")
    return out


# ---------------------------------------------------------------- viscosity and time step

def wave(frozen: FrozenFluid, start: FluidFrame, amplitude: float) -> FluidFrame:
    """A start with a shear wave v_x = amplitude sin(2π y/L) added."""
    edge = start.box.lengths[0]                                # type: ignore[index]
    v = start.velocity.copy()
    v[:, 1] += amplitude * np.sin(2 * math.pi * start.position[:, 0] / edge)
    return dataclasses.replace(start, velocity=v)


def decay(position: np.ndarray, velocity: np.ndarray, edge: float, interval: float) -> float:
    """Kinematic viscosity from the decay of the wave, A exp(-ν k² t), by least squares."""
    k = 2 * math.pi / edge
    size = 2 * (velocity[:, :, 1] * np.sin(k * position[:, :, 0])).mean(axis=1)
    t = interval * np.arange(len(size))
    rate = -np.polyfit(t[1:], np.log(np.maximum(size[1:], 0.05 * size[0])), 1)[0]
    found, _ = curve_fit(lambda t, a, r: a * np.exp(-r * t), t[1:], size[1:], [size[0], rate])
    return float(found[1] / k**2)


def part_viscosity(steps: int) -> dict[str, Any]:
    """Shear wave in the small box in our own engine, and in a box eight times as large in LAMMPS."""
    dt, settings, found = 0.01, FluidRollout(0.01), []
    frozen, base = soft(3000, 3.0, 1.5)
    base = relaxed(frozen, base, settings, steps=600, seed=1)
    for k in range(4):
        start = wave(frozen, relaxed(frozen, base, settings, steps=100, seed=10 + k), 1.0)
        one = fluid_paths(frozen, start, settings, steps=240, every=4, seed=k)
        found.append(decay(one.position, one.velocity, start.box.lengths[0], 4 * dt))     # type: ignore[index]
    large = replicated(base, (2, 3, 3))
    large = wave(frozen, large, 1.0)
    run = lammps_paths(frozen, large, settings, LammpsRun(800, 10, 9), ranks=2)
    nu = decay(run.position, run.velocity, large.box.lengths[0], 10 * dt)      # type: ignore[index]
    mean, error = float(np.mean(found)), float(np.std(found, ddof=1) / 2)
    print(f"  kinematic viscosity: {len(large.position)} particles in LAMMPS {nu:.4f}, 3,000 in our own engine "
          f"{mean:.4f} ± {error:.4f} µm²/s ({100 * (nu / mean - 1):+.1f} %)")
    return {"large": nu, "small": mean, "small_stderr": error, **_viscosity_of_gas()}


def _viscosity_of_gas() -> dict[str, float]:
    """A wave in a large box of a gas whose viscosity is that of its friction to 5 % (plane, 64 neighbours)."""
    from vid2dyn.simulators.fluid.sdpd.gas import SDPD

    one = SDPD(**FLUIDS["2-D, 64 neighbours, C = 15"])
    frozen, base = gas(one)
    nominal = one.shear_viscosity * one.volume0 / one.mass
    times = (2, 4)
    edge, dt = 2 * one.box_length, 1.0 / (one.frames_per_second * one.substeps)
    large = wave(frozen, replicated(base, times), 1.0)
    steps = round(1.2 / (nominal * (2 * math.pi / edge) ** 2) / dt / 20) * 20
    found = []
    for seed in range(4):
        run = lammps_paths(frozen, large, FluidRollout(dt), LammpsRun(steps, steps // 20, seed))
        found.append(decay(run.position, run.velocity, edge, steps // 20 * dt) / nominal)
    mean, error = float(np.mean(found)), float(np.std(found, ddof=1) / 2)
    expected = _friction_of_wave(one, replicated(base, (2, 1)))
    print(f"  gas with entropy, {len(large.position)} particles in LAMMPS, {steps} steps: viscosity over that of its "
          f"friction {mean:.3f} ± {error:.3f}; friction of the pairs in this wave, by a sum over them: {expected:.3f}")
    return {"gas": mean, "gas_stderr": error, "gas_pairs": expected}


def _friction_of_wave(one: Any, state: FluidFrame) -> float:
    """Friction of the pairs in the flow v_x = sin(k y) over η k² volume <v²>, mean of eight phases.

    As `bench_sdpd.vortex_sum`; 1 at long waves. With the factor of its kB term.
    """
    edges = np.array(state.box.lengths)
    x, k = np.mod(state.position, edges), 2 * math.pi / edges[0]
    i, j = cKDTree(x, boxsize=edges).query_pairs(one.cutoff, output_type="ndarray").T
    apart = x[i] - x[j]
    apart -= edges * np.round(apart / edges)
    r = np.linalg.norm(apart, axis=1)
    d = np.tile(one.densities(x[:len(x) // 2]), 2)             # both halves are copies of one box
    A2, B2, _ = one.pair_coefficients(r, one.kT, one.kT, d[i], d[j])
    sums = []
    for phase in np.linspace(0, 2 * math.pi, 8, endpoint=False):
        u = np.zeros_like(x)
        u[:, 1] = np.sin(k * x[:, 0] + phase)
        w = u[i] - u[j]
        along = (w * apart).sum(axis=1) ** 2 / r**2
        lost = (0.5 * A2 * ((w**2).sum(axis=1) + along) + (B2 - A2) / one.dim * along).sum() / one.kT
        sums.append(lost / (one.shear_viscosity * k**2 * edges.prod() * (u**2).sum(axis=1).mean()))
    return float(np.mean(sums)) * float(kB_factor(one))


def part_step(steps: int) -> dict[str, Any]:
    """Kinetic temperature against the time step."""
    out: dict[str, Any] = {}
    for dt in (0.005, 0.01, 0.02):
        frozen, start = soft(4000, DENSITY)
        settings = FluidRollout(dt)
        start = relaxed(frozen, start, FluidRollout(0.01), steps=400)
        T = [float((frame.velocity**2).mean()) for k, frame in enumerate(
            fluid_frames(frozen, start, settings, steps=round(8 / dt), every=4)) if k > 20]
        out[str(dt)] = float(np.mean(T))
        print(f"  dt = {dt:g}: kinetic temperature {np.mean(T):.4f} (asked 1)")
    return out


PARTS: dict[str, Callable[..., dict[str, Any]]] = {
    "identity": part_identity, "cost": part_cost, "ranks": part_ranks, "million": part_million,
    "statistics": part_statistics, "viscosity": part_viscosity, "step": part_step}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--steps", type=int, default=200, help="steps of the timings")
    parser.add_argument("--model", help="a fitted list of terms (.vid2dyn), for the identity")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parent))
    figures: dict[str, Any] = {}
    for name in given.parts:
        begun = time.perf_counter()
        print(name)
        figures[name] = PARTS[name](given.model if name == "identity" else given.steps)
        print(f"  ({time.perf_counter() - begun:.0f} s)", flush=True)
        if given.json:
            given.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
