"""The SDPD gas against theory: stationary state, conservation, viscosity from shear and from a vortex, speed.

    python scripts/bench_sdpd.py [--quick] [--plots FOLDER] [--json FILE]

Prints what is measured beside what theory says. Viscosities over the nominal one: the friction of the pairs, less its
kB term 1/(2 C); what momentum carried by particles and by pressure adds; their sum beside the same from the heat taken
out; then the decay rate of the Taylor-Green vortex beside the friction of the pairs in that flow (a sum over the
arrangement: `kernel_sum` at finite wavelength) with the same additions.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats
from scipy.optimize import curve_fit

from vid2dyn.analysis import rdf, stress, thermodynamics
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.simulators import SDPD

BLOCKS = 16
FLUIDS = {
    "2-D, 64 neighbours, C = 15": {"dim": 2, "n_particles": 900, "cutoff": 0.15, "heat_capacity": 15.0, "mass": 0.3,
                                   "shear_viscosity": 80.0, "bulk_viscosity": 40.0},
    "3-D, 64 neighbours, C = 15": {"dim": 3, "n_particles": 1000, "cutoff": 0.25, "heat_capacity": 15.0, "mass": 0.3},
    "3-D, 17 neighbours, C = 60 (defaults)": {},
}

RATES = dict(zip(FLUIDS, (15.0, 15.0, 5.0)))
"""Shear rates [1/s]: the ordered gas of the defaults thins, so it is sheared slowly."""


def fields(tracks: Trajectories) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions, velocities (T, N, dim) and entropies (T, N)."""
    x = tracks.dense()[0]
    v, s = np.empty_like(x), np.empty(x.shape[:2])
    v[tracks.frame, tracks.particle], s[tracks.frame, tracks.particle] = tracks.velocities, tracks.entropy
    return x, v, s


def of_blocks(values: np.ndarray) -> tuple[float, float]:
    """Mean and its standard error from blocks."""
    blocks = np.array([block.mean() for block in np.array_split(values, BLOCKS)])
    return float(values.mean()), float(blocks.std(ddof=1) / math.sqrt(BLOCKS))


def equilibrium(frames: int, substeps: int = 1, frames_per_second: float = 2000.0, seed: int = 0,
                **arguments: Any) -> dict[str, Any]:
    """Ratios of what is measured at rest to what exp(sum S/kB) dr dv dS says; each a (ratio, standard error)."""
    gas = SDPD(frames=frames, substeps=substeps, frames_per_second=frames_per_second, **arguments)
    tracks = gas.run(seed=seed)
    every = max(1, frames // 400)
    budget = thermodynamics(tracks, gas, every=every)
    x, v, s = fields(tracks)
    n, dim, C = gas.n_particles, gas.dim, gas.heat_capacity
    U = np.array([gas.internal_energy(S, 1 / gas.densities(y)) for S, y in zip(s[::every], x[::every])])
    share, f = budget.kinetic / budget.energy, U / budget.energy[:, None]
    a = 0.5 * dim * (n - 1)
    kinetic, one = stats.beta(a, n * C), stats.beta(C, (n - 1) * C + a)
    g = rdf(tracks.between(0, 50 * every).rows(tracks.frame[tracks.frame < 50 * every] % every == 0), bins=60)
    return {
        "dt": gas.time_step, "kinetic": of_blocks(share / kinetic.mean()),
        "kinetic fluctuation": of_blocks((share - kinetic.mean()) ** 2 / kinetic.var()),
        "T": of_blocks(f.mean(axis=1) / one.mean()),
        "T fluctuation": of_blocks(((f - one.mean()) ** 2).mean(axis=1) / one.var()),
        "mean ln U - theory": of_blocks(np.log(f).mean(axis=1) - float(one.expect(np.log))),
        # T and V are independent, so <P> = atoms <T> <d>; <d> itself exceeds N/volume where neighbours are few
        "<P>/(atoms T <d>)": of_blocks(budget.pressure / (gas.atoms * gas.kT * budget.density.mean())),
        "<d> V0": of_blocks(budget.density * gas.volume0),
        "Maxwell p": float(stats.kstest(v[:: 10 * every].ravel() / math.sqrt(gas.kT / gas.mass * (1 - 1 / n)),
                                        "norm").pvalue),
        "|dE|/(N kT)": budget.energy_drift, "momentum": float(np.abs(budget.momentum).max()),
        "steps": (frames - 1) * substeps, "shares": f[::40].ravel(), "exact": one, "g": (g.r, g.value, g.stderr),
    }


def shear(rate: float, frames: int, skip: float = 0.2, seed: int = 0, **arguments: Any) -> dict[str, Any]:
    """Viscosities over the nominal one under steady shear, energy held: parts of the stress, and the heat taken."""
    gas = SDPD(flow="shear", shear_rate=rate, hold_energy=True, frames=frames, **arguments)
    tracks = gas.run(seed=seed)
    start, every = int(skip * frames), 4
    sigma = stress(tracks, gas, every=every)
    eta, parts = gas.shear_viscosity, ("friction", "kinetic", "pressure", "total")
    found: dict[str, Any] = {part: tuple(np.array(sigma.viscosity(part, start // every)) / eta)
                             for part in parts}
    heat = np.diff(np.array(tracks.info["truth"]["heat_taken"])[start:]) * gas.frames_per_second
    found["friction"] = tuple(np.array(found["friction"]) * kB_factor(gas))
    found["sum"] = (found["friction"][0] + found["kinetic"][0] + found["pressure"][0], found.pop("total")[1])
    found["from heat"] = tuple(np.array(of_blocks(heat)) / (rate**2 * gas.box_length**gas.dim * eta))
    x = tracks.dense()[0]
    found["kernel sum"] = float(np.mean([gas.kernel_sum(x[k], rate * k / gas.frames_per_second)
                                         for k in range(start, frames, max(1, frames // 20))]))
    return found


def kB_factor(gas: SDPD) -> float:
    """What kB div M leaves of the friction M grad S, for constant viscosities at equal temperatures."""
    return 1 - 1 / (2 * gas.heat_capacity)


def vortex_sum(gas: SDPD, x: np.ndarray) -> float:
    """Friction of the pairs in the Taylor-Green flow over that of the nominal viscosity: `kernel_sum` at finite k.

    sum over pairs of u_ij·(K/T) u_ij over eta k² volume <u²>, for the flow u at the particles.
    """
    from scipy.spatial import cKDTree

    edge, k = gas.box_length, 2 * math.pi / gas.box_length
    x = x % edge
    i, j = cKDTree(x, boxsize=edge).query_pairs(gas.cutoff, output_type="ndarray").T
    r_ij = x[i] - x[j]
    r_ij -= edge * np.round(r_ij / edge)
    r, d, u = np.linalg.norm(r_ij, axis=1), gas.densities(x), mode(x, k)
    A2, B2, _ = gas.pair_coefficients(r, gas.kT, gas.kT, d[i], d[j])
    w = u[i] - u[j]
    along = (w * r_ij).sum(axis=1) ** 2 / r**2
    lost = (0.5 * A2 * ((w**2).sum(axis=1) + along) + (B2 - A2) / gas.dim * along).sum() / gas.kT
    return float(lost / (gas.shear_viscosity * 2 * k**2 * edge**gas.dim * (u**2).sum(axis=1).mean()))


def mode(x: np.ndarray, k: float) -> np.ndarray:
    """Unit Taylor-Green flow at x (..., dim)."""
    u = np.zeros_like(x)
    u[..., 0] = -np.cos(k * x[..., 1]) * np.sin(k * x[..., 0])
    u[..., 1] = np.sin(k * x[..., 1]) * np.cos(k * x[..., 0])
    return u


def vortex(seeds: int, speed: float = 2.0, **arguments: Any) -> dict[str, Any]:
    """Viscosity over the nominal one from the decay rate 2 k² eta/(m n) of a Taylor-Green vortex, mean of seeds."""
    gas = SDPD(flow="taylor_green", flow_speed=speed, **arguments)
    k = 2 * math.pi / gas.box_length
    nominal = gas.shear_viscosity * 2 * k**2 * gas.volume0 / gas.mass
    gas = SDPD(flow="taylor_green", flow_speed=speed, frames=int(1.6 / nominal * 2000), **arguments)
    amplitude, sums = [], []
    for seed in range(seeds):
        x, v, _ = fields(gas.run(seed=seed))
        u = mode(x, k)
        amplitude.append((v * u).sum(axis=(1, 2)) / (u**2).sum(axis=(1, 2)))
        sums += [vortex_sum(gas, y) for y in x[:: max(1, len(x) // 5)]]
    time_, mean = np.arange(gas.frames) / gas.frames_per_second, np.mean(amplitude, axis=0)
    used = time_ * nominal > 0.15
    # one seed left out after another: jackknife
    rates = [_decay_rate(time_[used], np.mean(np.delete(amplitude, s, axis=0), axis=0)[used]) for s in range(seeds)]
    error = math.sqrt((seeds - 1) / seeds * np.sum((np.array(rates) - np.mean(rates)) ** 2))
    return {"decay": (_decay_rate(time_[used], mean[used]) / nominal, error / nominal),
            "friction at k": float(np.mean(sums)) * kB_factor(gas), "time": time_, "amplitude": mean,
            "nominal rate": nominal}


def _decay_rate(t: np.ndarray, a: np.ndarray) -> float:
    """Least squares of a exp(-rate t): the logarithm of a small noisy amplitude would be biased."""
    guess = (a[0], math.log(a[0] / max(a[len(a) // 2], 0.1 * a[0])) / (t[len(t) // 2] - t[0]))
    return float(curve_fit(lambda u, size, rate: size * np.exp(-rate * (u - t[0])), t, a, guess)[0][1])


def seconds_per_step(n: int, threads: int = 1) -> float:
    """Wall time of one step at the default density and 17 neighbours [s]."""
    gas = SDPD(n_particles=n, box_length=(n / 500) ** (1 / 3), frames=2, substeps=8, equilibration=0, threads=threads)
    gas.run(seed=0)
    start = time.perf_counter()
    gas.run(seed=1)
    return (time.perf_counter() - start) / 8


def show(found: dict[str, Any]) -> None:
    for key, value in found.items():
        if isinstance(value, tuple) and len(value) == 2:
            print(f"    {key:26} {value[0]:9.4f} ± {value[1]:.4f}")
        elif isinstance(value, int | float):
            print(f"    {key:26} {value:9.4g}")


def plot(folder: Path, rest: dict[str, Any], decays: dict[str, dict[str, Any]]) -> None:
    """Histogram of the internal energies, g(r), and the decays."""
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
    left.hist(rest["shares"], 60, density=True, alpha=0.5, label="simulated")
    f = np.linspace(rest["shares"].min(), rest["shares"].max(), 300)
    left.plot(f, rest["exact"].pdf(f), "k", label="Beta (exact)")
    left.set(xlabel="share of the energy in one particle", ylabel="density")
    left.legend()
    r, g, error = rest["g"]
    middle.errorbar(r, g, error)
    middle.set(xlabel="r [µm]", ylabel="g(r)")
    for name, found in decays.items():
        right.semilogy(found["time"] * found["nominal rate"], found["amplitude"], label=name)
    t = np.linspace(0, 1.6, 10)
    right.semilogy(t, 2 * np.exp(-t), "k--", label="nominal viscosity")
    right.set(xlabel="time × nominal rate", ylabel="vortex [µm/s]")
    right.legend(fontsize=7)
    figure.savefig(folder / "sdpd.png", dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a quarter of the statistics")
    parser.add_argument("--plots", type=Path, help="folder for the figure")
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args()
    part = 4 if options.quick else 1
    print(f"SDPD against theory, {platform.processor() or platform.machine()}, {datetime.now(UTC):%Y-%m-%d}")
    rest = {}
    for factor in (1, 4):
        print(f"At rest, N = 500, time step {factor} x 0.5 ms / 2 (ratios to theory)")
        rest[factor] = equilibrium(4000 // part, frames_per_second=4000.0 / factor)
        show(rest[factor])
    decays, viscosities = {}, {}
    for name, arguments in FLUIDS.items():
        print(f"Viscosity over nominal: {name}")
        viscosities[name] = shear(RATES[name], 2000 // part, **arguments)
        decays[name] = vortex(16 // part, equilibration=10, **arguments)
        decays[name]["expected"] = decays[name]["friction at k"] + sum(viscosities[name][p][0]
                                                                       for p in ("kinetic", "pressure"))
        show(viscosities[name])
        show({f"vortex: {key}": value for key, value in decays[name].items()})
    speed = {n: seconds_per_step(n) for n in (500, 5000, 50_000)}
    print("Seconds a step: " + ", ".join(f"N = {n}: {s:.4f}" for n, s in speed.items()))
    if options.plots:
        plot(options.plots, rest[1], decays)
    if options.json:
        plain = {"rest": rest, "shear": viscosities, "vortex": decays, "seconds_per_step": speed}
        options.json.write_text(json.dumps(plain, default=lambda o: o.tolist() if isinstance(o, np.ndarray) else None))


if __name__ == "__main__":
    main()
