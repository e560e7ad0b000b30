"""The steps of a metriplectic fluid: laws over long runs, stationary statistics, and the same gas simulated apart.

    python scripts/bench_rollout.py                          # all parts
    python scripts/bench_rollout.py --parts laws --steps 1000
    python scripts/bench_rollout.py --json figures.json --plot figures.png

laws        torch steps, 500 particles of noisy gas: change of energy in N kT (asked: exact step 1e-10, Verlet 1e-3,
            which is a random walk of .76e-3 rms over seeds, and a quarter of it at half the dt), change of momentum
            (1e-13), and without noise the smallest production of entropy in a step (>= 0) and the spread of
            temperatures under strong conduction.
statistics  compiled steps (the same method, noise and order): kinetic energy against its Beta distribution, internal
            energies against Beta(c, (N - 1) c), which is what exp(S/kB) dr dv dS says of an ideal gas, pair counts of
            a gas without pressure against uniform ones, detailed balance. Asked: 0.5 % or 3 standard errors.
witness     the SDPD simulator, which shares no code, and the same functions in a metriplectic rollout: RDF, MSD, VACF
            beside each other in standard errors.

The gas is that of the SDPD simulator's defaults (N = 500, box 1, cutoff 0.2); dt = 5e-4 and four times that.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from scipy import stats

from vid2dyn.data.box import Periodic
from vid2dyn.dynamics.fluid.sdpd import Fluid
from vid2dyn.dynamics.snapshot import Snapshot
from vid2dyn.rollout.fluid.paths import FluidFrame, FluidRollout, fluid_frames
from vid2dyn.rollout.steps.stepper import FluidState, FluidStepper
from vid2dyn.simulators.fluid.sdpd.gas import SDPD

DT = 5e-4
BOX = Periodic((1.0, 1.0, 1.0))
BLOCKS = 10


def fluid_of(gas: SDPD, **changes: Any) -> Fluid:
    """The simulator's gas as a metriplectic fluid."""
    settings: dict[str, Any] = {
        "cutoff": gas.cutoff, "mass": gas.mass, "heat_capacity": gas.heat_capacity, "molecules": gas.atoms,
        "dim": gas.dim, "temperature": gas.kT, "volume": gas.volume0, "shear_viscosity": gas.shear_viscosity,
        "bulk_viscosity": gas.bulk_viscosity, "conductivity": gas.conductivity}
    return Fluid.ideal_gas(**{**settings, **changes})


def equilibrated(gas: SDPD, seed: int = 0) -> FluidFrame:
    """The first frame of the simulator: sampled from equilibrium by a Monte Carlo of its own."""
    from dataclasses import replace

    tracks = replace(gas, frames=2).run(seed=seed)
    first = tracks.frame == 0
    assert tracks.velocities is not None
    assert tracks.entropy is not None
    return FluidFrame(tracks.positions[first], tracks.velocities[first], tracks.entropy[first], BOX)


def begin(stepper: FluidStepper, start: FluidFrame) -> FluidState:
    """A state of the torch steps."""
    x, v, S = (torch.as_tensor(a) for a in (start.position, start.velocity, start.entropy))
    return stepper.start(Snapshot.of(x, stepper.fluid.cutoff, BOX, velocity=v, entropy=S))


# ---------------------------------------------------------------- laws

def part_laws(steps: int = 10_000) -> dict[str, float]:
    """Energy, momentum and entropy of torch steps."""
    gas = SDPD()
    fluid, start = fluid_of(gas), equilibrated(gas)
    out: dict[str, float] = {"steps": steps}
    for name, mode, dt in (("exact", "exact", DT), ("verlet", "verlet", DT)):
        stepper = FluidStepper(fluid, dt=dt, conservative=mode, seed=1)          # type: ignore[arg-type]
        state = begin(stepper, start)
        energy, momentum, started = state.energy(gas.mass), state.velocity.sum(0), time.perf_counter()
        worst = 0.0
        last = state
        for last in stepper.run(state, steps, every=max(1, steps // 100)):
            worst = max(worst, abs(last.energy(gas.mass) - energy))
        out[f"energy_{name}"] = worst / (gas.n_particles * gas.kT)
        out[f"momentum_{name}"] = float((last.velocity.sum(0) - momentum).abs().max()) / gas.n_particles
        out[f"ms_per_step_{name}"] = 1e3 * (time.perf_counter() - started) / steps
    out["energy_ratio_dt_halved"] = _order(fluid, start, gas)
    out.update(_second_law(gas, start, max(20, steps // 50)))
    print(f"laws, {steps} noisy torch steps of dt = {DT:g}, N = {gas.n_particles}")
    print(f"  |dE|/(N kT): exact {out['energy_exact']:.1e} (asked 1e-10), Verlet {out['energy_verlet']:.1e} (1e-3), "
          f"Verlet without friction dt : dt/2 = {out['energy_ratio_dt_halved']:.2f} (4)")
    print(f"  momentum a particle: {out['momentum_exact']:.1e}, {out['momentum_verlet']:.1e} (1e-13)")
    print(f"  ms a step: exact {out['ms_per_step_exact']:.1f}, Verlet {out['ms_per_step_verlet']:.1f}")
    print(f"  noise off, smallest production in a step: {out['least_production']:.2e} kB (>= 0); "
          f"spread of T after a conduction 1e4 relaxations long: {out['spread_after_conduction']:.1e} of before, "
          f"overshoot {out['overshoot']:.1e}")
    return out


def _order(fluid: Fluid, start: FluidFrame, gas: SDPD) -> float:
    """Largest energy error of Verlet without friction over 0.02, dt against dt/2."""
    still = fluid_of(gas, shear_viscosity=0.0, bulk_viscosity=0.0, conductivity=0.0)
    errors = []
    for dt in (2 * DT, DT):
        stepper = FluidStepper(still, dt=dt, kB=0)
        state = begin(stepper, start)
        energy = state.energy(gas.mass)
        errors.append(max(abs(s.energy(gas.mass) - energy) for s in stepper.run(state, round(0.02 / dt))))
    return errors[0] / errors[1]


def _second_law(gas: SDPD, start: FluidFrame, steps: int) -> dict[str, float]:
    fluid = fluid_of(gas)
    least = np.inf
    for dt in (DT, 4 * DT):
        stepper = FluidStepper(fluid, dt=dt, conservative="exact", kB=0)
        state = begin(stepper, start)
        total = float(state.entropy.sum())
        for after in stepper.run(state, steps):
            least, total = min(least, float(after.entropy.sum()) - total), float(after.entropy.sum())
    hot = FluidStepper(fluid_of(gas, shear_viscosity=0.0, bulk_viscosity=0.0, conductivity=1e8), dt=1.0, kB=0)
    state = begin(hot, start)
    T, new = state.thermo.T, hot._dissipate(state).thermo.T
    beyond = max(float(new.max() - T.max()), float(T.min() - new.min()), 0.0)
    return {"least_production": least, "spread_after_conduction": float(new.std() / T.std()), "overshoot": beyond}


# ---------------------------------------------------------------- statistics

def part_statistics(duration: float = 5.0) -> dict[str, Any]:
    """Stationary averages of the compiled steps at dt and 4 dt, in relative deviation and standard errors."""
    gas = SDPD()
    fluid, start, out = fluid_of(gas), equilibrated(gas), {}
    frozen = fluid.freeze((-150.0, 150.0), (-8.5, -4.5))
    print(f"statistics over {duration:g} time units, 10 blocks")
    for dt in (DT, 4 * DT):
        settings = FluidRollout(dt=dt)
        every = max(1, round(0.01 / dt))
        rows = [_observe(fluid, gas, frame) for frame in
                fluid_frames(frozen, start, settings, steps=round(duration / dt), every=every, seed=3, threads=1)]
        out[f"dt={dt:g}"] = found = _compare(np.array(rows), gas)
        print(f"  dt = {dt:g}: " + "; ".join(f"{k} {v[0]:+.3%} ({v[1]:+.1f} se)" for k, v in found.items()))
        out[f"rdf dt={dt:g}"] = flat = _flat_pairs(gas, dt, min(duration, 2.0))
        print(f"    pairs of a gas without pressure: largest deviation of 6 shells {flat[0]:.2%}, "
              f"chi² p = {flat[1]:.2g}")
    return out


def _observe(fluid: Fluid, gas: SDPD, frame: FluidFrame) -> tuple[float, ...]:
    """Kinetic share, mean square deviation of the shares of internal energy, mean log share, two energies."""
    x, S = torch.as_tensor(frame.position), torch.as_tensor(frame.entropy)
    density = fluid.density(Snapshot.of(x, gas.cutoff, BOX))
    U = fluid.eos(S, 1 / density).U.numpy()
    motion = 0.5 * gas.mass * float((frame.velocity**2).sum())
    share = U / U.sum() * len(U)
    return motion / (motion + U.sum()), ((share - 1) ** 2).mean(), np.log(share).mean(), ((share - 1) ** 3).mean()


def _compare(rows: np.ndarray, gas: SDPD) -> dict[str, tuple[float, float]]:
    """(relative deviation, standard errors) of each average from its exact value."""
    from scipy.special import digamma

    n, c = gas.n_particles, gas.heat_capacity
    a, b = 0.5 * gas.dim * (n - 1), n * c
    law = stats.beta(c, (n - 1) * c)
    exact = (a / (a + b), law.var() * n * n, digamma(c) - digamma(n * c) + np.log(n),
             law.stats("s") * law.std() ** 3 * n**3)
    names = ("kinetic temperature", "variance of U", "mean of ln U (entropy)", "third moment of U")
    out = {}
    for k, name in enumerate(names):
        blocks = np.array([block.mean() for block in np.array_split(rows[len(rows) // 20:, k], BLOCKS)])
        error = blocks.std(ddof=1) / np.sqrt(BLOCKS)
        out[name] = (float(blocks.mean() / exact[k] - 1), float((blocks.mean() - exact[k]) / error))
    return out


def _flat_pairs(gas: SDPD, dt: float, duration: float) -> tuple[float, float]:
    """Pair counts of a gas whose particles do not push each other: (largest relative deviation, p of chi²)."""
    from scipy.spatial import cKDTree

    fluid = fluid_of(gas, molecules=1e-9)
    rng = np.random.default_rng(1)
    n = gas.n_particles
    v = rng.normal(size=(n, 3)) * np.sqrt(gas.kT / gas.mass)
    S = gas.heat_capacity * np.log(rng.gamma(gas.heat_capacity, 1 / gas.heat_capacity, n))
    start = FluidFrame(rng.uniform(size=(n, 3)), v - v.mean(0), S, BOX)
    edges = np.linspace(0, gas.cutoff, 9)
    counts, frames = np.zeros(8), 0
    frozen = fluid.freeze((-150.0, 150.0), (-8.5, -4.5))
    for frame in fluid_frames(frozen, start, FluidRollout(dt=dt), steps=round(duration / dt), every=round(0.1 / dt),
                              seed=5, threads=1):
        tree = cKDTree(frame.position % 1.0, boxsize=1.0)
        counts += np.diff(tree.count_neighbors(tree, edges) - n) / 2
        frames += 1
    expected = frames * n * (n - 1) / 2 * 4 / 3 * np.pi * np.diff(edges**3)
    chi = ((counts - expected) ** 2 / expected).sum()
    return float(np.abs(counts / expected - 1)[2:].max()), float(stats.chi2.sf(chi, 8))


# ---------------------------------------------------------------- the witness

def part_witness(frames: int = 3000) -> dict[str, Any]:
    """SDPD simulator and metriplectic rollout of the same functions."""
    from dataclasses import replace

    gas = replace(SDPD(), frames=max(frames, 2 * BLOCKS * LAGS[-1]))
    frames = gas.frames
    tracks = gas.run(seed=11)
    assert tracks.velocities is not None
    n = gas.n_particles
    order = np.lexsort((tracks.particle, tracks.frame))
    simulated = tracks.positions[order].reshape(-1, n, 3), tracks.velocities[order].reshape(-1, n, 3)
    frozen = fluid_of(gas).freeze((-150.0, 150.0), (-8.5, -4.5))
    run = list(fluid_frames(frozen, equilibrated(gas, seed=12), FluidRollout(dt=gas.time_step),
                            steps=(frames - 1) * gas.substeps, every=gas.substeps, seed=13, threads=1))
    rolled = np.array([f.position for f in run]), np.array([f.velocity for f in run])
    out: dict[str, Any] = {}
    print(f"witness: {frames} frames of {n} particles, SDPD simulator against metriplectic rollout, {BLOCKS} blocks")
    frame = gas.substeps * gas.time_step
    lags, r = frame * np.array(LAGS), 0.5 * (EDGES[1:] + EDGES[:-1])
    for name, curve, where, axis in (("VACF", _vacf, lags, "lag [time]"), ("MSD", _msd, lags[1:], "lag [time]"),
                                     ("RDF", _rdf, r, "r [box edge]")):
        a, b = (np.array([curve(x, v) for x, v in _blocks(data)]) for data in (simulated, rolled))
        difference = a.mean(0) - b.mean(0)
        error = np.sqrt((a.var(0, ddof=1) + b.var(0, ddof=1)) / len(a))
        kept = error > 0
        z = difference[kept] / error[kept]
        rmse = float(np.sqrt((difference**2).mean() / (a.mean(0) ** 2).mean()))
        out[name] = {"rmse": rmse, "chi2_per_point": float((z**2).mean()), "largest_z": float(np.abs(z).max()),
                     "simulator": a.mean(0).tolist(), "rollout": b.mean(0).tolist(), "error": error.tolist(),
                     "at": where.tolist(), "axis": axis}
        print(f"  {name}: relative RMSE {rmse:.2%}, mean z² {out[name]['chi2_per_point']:.2f}, largest |z| "
              f"{out[name]['largest_z']:.1f} of {kept.sum()} points")
    return out


def _blocks(data: tuple[np.ndarray, np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
    return list(zip(np.array_split(data[0], BLOCKS), np.array_split(data[1], BLOCKS)))


LAGS = (0, 2, 5, 10, 20, 40, 70, 100)
"""In frames; a tenth of the run must be longer than the last."""
EDGES = np.linspace(0.02, 0.4, 20)
"""Bins of r, up to twice the cutoff."""


def _vacf(x: np.ndarray, v: np.ndarray) -> np.ndarray:
    """<v(0)·v(t)>."""
    return np.array([(v[: len(v) - k] * v[k:]).sum(-1).mean() for k in LAGS])


def _msd(x: np.ndarray, v: np.ndarray) -> np.ndarray:
    """<|x(t) - x(0)|²>; positions that were wrapped are unwrapped first."""
    step = np.diff(x, axis=0)
    path = np.concatenate([np.zeros_like(x[:1]), np.cumsum(step - np.round(step), axis=0)])
    return np.array([((path[k:] - path[: len(path) - k]) ** 2).sum(-1).mean() for k in LAGS[1:]])


def _rdf(x: np.ndarray, v: np.ndarray) -> np.ndarray:
    """g(r) up to twice the cutoff, from every 20th frame."""
    from scipy.spatial import cKDTree

    n = x.shape[1]
    counts = np.zeros(len(EDGES) - 1)
    for frame in x[::20]:
        tree = cKDTree(frame % 1.0, boxsize=1.0)
        counts += np.diff(tree.count_neighbors(tree, EDGES))
    return counts / (len(x[::20]) * n * (n - 1) * 4 / 3 * np.pi * np.diff(EDGES**3))


def plot(out: dict[str, Any], path: Path) -> None:
    """The three curves of the witness."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(12, 3.6))
    for axis, (name, curve) in zip(axes, out.items()):
        axis.errorbar(curve["at"], curve["simulator"], curve["error"], fmt="o", ms=4, label="simulator")
        axis.plot(curve["at"], curve["rollout"], label="rollout")
        axis.set(title=name, xlabel=curve["axis"])
    axes[0].legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = ("laws", "statistics", "witness")
    parser.add_argument("--parts", nargs="+", default=list(parts), choices=parts)
    parser.add_argument("--steps", type=int, default=10_000, help="torch steps of the laws")
    parser.add_argument("--duration", type=float, default=5.0, help="time of the statistics")
    parser.add_argument("--frames", type=int, default=3000, help="frames of the witness")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    figures: dict[str, Any] = {}
    if "laws" in given.parts:
        figures["laws"] = part_laws(given.steps)
    if "statistics" in given.parts:
        figures["statistics"] = part_statistics(given.duration)
    if "witness" in given.parts:
        figures["witness"] = part_witness(given.frames)
        if given.plot:
            plot(figures["witness"], given.plot)
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
