"""Ideal gas: a fluid with hidden entropy learned from one Taylor-Green vortex, tried on three flows.

    python scripts/reproduce_ideal_gas.py --out ideal_gas           # everything: table, page of figures, figures.json
    python scripts/reproduce_ideal_gas.py --fisher --out ideal_gas  # also: what which flow can tell, at the truth

Truth: SDPD gas of 500 particles (`vd.simulators.SDPD`, its defaults), every function known. Training: velocities and
positions of one decaying vortex, 300 steps (--steps); the true entropies are used for the table only. Judged on
another vortex and on self-diffusion and steady shear (2,000 steps each, other seeds).

T, P     rms relative error over the states of the held-out vortex, entropies matched by one number (their origin is
         free); "covered": share of these states where the 95 % band holds the truth
S        correlation of the inferred with the true entropies of all particles and frames of the held-out vortex; beside
         it what is reached with the true functions, which is the most that this vortex lets be known
flows    relative RMSE of RDF, MSD and VACF, rollouts against simulations, and what noise alone gives; VACF(0) ratio.
         Means over six of each: two simulations of self-diffusion differ by .8 % in VACF(0)

Why a fast vortex: at rest and in slow flows entropy varies mostly by thermal conduction noise, which moves nothing that
is seen, so even who knows all functions can follow S with a correlation of 0.5 only (--fisher); heating by a fast
vortex is seen, and the same 300 steps then give 0.9 and the heat capacity to 3 %.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

import vid2dyn as vd
from vid2dyn.core.files import atomic
from vid2dyn.dynamics.fluid.numbers import FluidNumbers, Layout, Thermal
from vid2dyn.dynamics.fluid.radial_splines import spline
from vid2dyn.inference.score import sweep
from vid2dyn.inference.steps import FluidSteps
from vid2dyn.simulators.fluid.sdpd.gas import SDPD

SPEED = 30.0
VORTEX = SDPD(flow="taylor_green", flow_speed=SPEED, frames=301, substeps=4)
FLOWS: dict[str, SDPD] = {"self-diffusion": SDPD(frames=2001),
                          "shear": SDPD(frames=2001, flow="shear", shear_rate=15.0), "Taylor-Green": VORTEX}
RECIPE = vd.Metriplectic(cutoff=VORTEX.cutoff, mass=VORTEX.mass, window=64)


def true_numbers(gas: SDPD, knots: int = 4) -> FluidNumbers:
    """The gas in the learner's numbers: exact but for the spline of the friction (1 % near contact)."""
    layout = Layout(gas.dim, gas.cutoff, gas.mass, gas.volume0, knots, 1).without(Thermal.START)
    u = np.linspace(0.03, 0.999, 2000)
    B = np.empty((knots + 3, len(u)))
    spline(u, np.eye(knots + 3), knots, B)
    r = np.sqrt(u) * gas.cutoff
    F = -gas.kernel_slope(r) / r
    alpha, beta = gas.fluid.alpha, gas.fluid.beta
    fit = lambda f: np.linalg.lstsq(B.T, f, rcond=None)[0]                                          # noqa: E731
    weight = r**gas.dim
    kappa = 2 * gas.conductivity * float((F * weight).sum() / ((1 - u) ** 2 * weight).sum())
    thermal = [np.log(gas.kT), 1 / gas.heat_capacity, gas.atoms, 0.0, 0.0, 0.0, kappa, 0.0]
    radial = fit(2 * F * alpha), fit(F * (gas.dim * beta - (gas.dim - 2) * alpha))
    return FluidNumbers(np.concatenate([thermal, *radial]), layout)


def states(gas: SDPD, tracks: vd.Trajectories, every: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """True S and V, (particles, frames)."""
    n = gas.n_particles
    x = tracks.positions.reshape(n, -1, gas.dim)[:, ::every]
    V = 1 / np.stack([gas.densities(x[:, k]) for k in range(x.shape[1])], axis=1)
    assert tracks.entropy is not None
    return tracks.entropy.reshape(n, -1)[:, ::every], V


def known_at_best(gas: SDPD, tracks: vd.Trajectories) -> float:
    """Correlation with the true entropy when every function is known."""
    data = FluidSteps.of(tracks, gas.cutoff)
    S = sweep(data, true_numbers(gas), np.zeros(data.n), slopes=False).entropy
    assert tracks.entropy is not None
    return float(np.corrcoef(S.T.ravel(), tracks.entropy)[0, 1])


def functions(model: Any, held_out: vd.Trajectories) -> dict[str, float]:
    """Learned against exact functions."""
    S, V = states(VORTEX, held_out)
    found = model.entropy(held_out)
    moved = S + (found.reshape(len(S), -1)[:, 0] - S[:, 0]).mean()
    row: dict[str, float] = {}
    for name, truth in (("temperature", VORTEX.temperature(S, V)), ("pressure", VORTEX.pressure(S, V))):
        error = getattr(model, name)(moved, V) / truth - 1
        low, high = model.band(name, (moved[:, ::6], V[:, ::6]))
        row |= {name: float(np.sqrt((error**2).mean())), f"{name} bias": float(error.mean()),
                f"{name} covered": float(((low < truth[:, ::6]) & (truth[:, ::6] < high)).mean())}
    for name, truth in (("shear_viscosity", VORTEX.shear_viscosity), ("bulk_viscosity", VORTEX.bulk_viscosity),
                        ("conductivity", VORTEX.conductivity)):
        low, high = model.band(name)
        row |= {name: getattr(model, name)() / truth - 1, f"{name} covered": float(low < truth < high),
                f"{name} band": float(high - low) / 2 / truth}
    row["S"] = float(np.corrcoef(found, held_out.entropy)[0, 1])
    row["S at best"] = known_at_best(VORTEX, held_out)
    return row


def flow(model: Any, name: str, seeds: range) -> tuple[dict[str, float], Any]:
    """Rollouts beside simulations of one flow; curves averaged over seeds."""
    pairs = []
    for seed in seeds:
        truth = FLOWS[name].run(seed=seed)
        pairs.append(vd.compare(truth, model.rollout(truth, seed=seed + 1000)))
    row, mean = {}, {}
    for key in ("rdf", "msd", "vacf"):
        one = [getattr(c, key) for c in pairs]
        parts = {k: np.mean([getattr(c, k) for c in one], axis=0) for k in ("a", "b")}
        errors = {k: np.sqrt(np.mean([getattr(c, k) ** 2 for c in one], axis=0) / len(one))
                  for k in ("a_stderr", "b_stderr")}
        curve = dataclasses.replace(one[0], **parts, **errors)
        row |= {key: curve.relative_rmse, f"{key} noise": curve.relative_rmse_of_noise}
        mean[key] = curve
    row["VACF(0)"] = float(mean["vacf"].b[0] / mean["vacf"].a[0] - 1)
    return row, mean


def fisher(speeds: tuple[float, ...] = (0.0, 5.0, 10.0, 20.0, 30.0)) -> list[dict[str, float]]:
    """At the true numbers: standard errors that 300 steps of each flow allow, and how well S can be known."""
    rows = []
    for speed in speeds:
        gas = dataclasses.replace(VORTEX, flow="taylor_green", flow_speed=speed) if speed else \
            dataclasses.replace(VORTEX, flow="rest", flow_speed=0.0)
        tracks = gas.run(seed=11)
        numbers = true_numbers(gas)
        data = FluidSteps.of(tracks, gas.cutoff)
        found = sweep(data, numbers, np.zeros(data.n), information_every=8)
        at = np.flatnonzero(numbers.layout.active)
        information = found.information[np.ix_(at, at)]
        size = np.sqrt(np.diag(information))
        error = np.sqrt(np.diag(np.linalg.inv(information / size[:, None] / size))) / size
        simple = [Thermal.LOG_TEMPERATURE, Thermal.SOFTNESS, Thermal.MOLECULES,
                  *range(numbers.layout.thermal, numbers.layout.size)]
        alone = np.linalg.inv(found.information[np.ix_(simple, simple)])
        rows.append({"speed": speed, "T0": float(error[Thermal.LOG_TEMPERATURE]),
                     "1/c": float(error[Thermal.SOFTNESS] / numbers.softness),
                     "n": float(error[Thermal.MOLECULES] / numbers.molecules),
                     "C²": float(error[Thermal.CONDUCTION] / numbers.conduction),
                     "T0, ideal gas": float(np.sqrt(alone[0, 0])),
                     "1/c, ideal gas": float(np.sqrt(alone[1, 1]) / numbers.softness),
                     "S at best": float(np.corrcoef(found.entropy.T.ravel(), tracks.entropy)[0, 1])})
    return rows


def bias(seeds: range, knots: int = 10, heat_capacity: float = 1.0, frames: int = 1) -> dict[str, Any]:
    """Score at the true numbers, summed over vortices: what a fit would be off by, and z in independent directions.

    Without bias the score of every step has the mean zero given the past, so its sum over its own spread is normal.
    `heat_capacity` times the true one is taken, to plant an error; `frames`: steps of a window.
    """
    names = ("ln T0", "1/c", "n", "C²", "A²", "B²")
    total, information, squares = np.zeros(6), np.zeros((6, 6)), np.zeros((6, 6))
    for seed in seeds:
        tracks = VORTEX.run(seed=seed)
        numbers = true_numbers(VORTEX, knots)
        layout, theta = numbers.layout, numbers.vector
        theta[Thermal.SOFTNESS] /= heat_capacity
        data = FluidSteps.of(tracks, VORTEX.cutoff).in_windows(frames)
        found = sweep(data, numbers, np.zeros(data.n), information_every=max(1, 20 // frames))
        way = np.zeros((6, layout.size))
        way[0, Thermal.LOG_TEMPERATURE] = 1.0
        for row, at in enumerate((Thermal.SOFTNESS, Thermal.MOLECULES, Thermal.CONDUCTION), start=1):
            way[row, at] = theta[at]
        half = layout.thermal + layout.coefficients
        way[4, layout.thermal:half], way[5, half:] = theta[layout.thermal:half], theta[half:]
        score = found.score @ way.T
        total += score.sum(axis=0)
        squares += score.T @ score
        information += way @ found.information @ way.T
    size = np.sqrt(np.diag(information))
    _, vectors = np.linalg.eigh(information / np.outer(size, size))
    spread = np.sqrt(np.einsum("ak,ab,bk->k", vectors, squares / np.outer(size, size), vectors))
    inverse = np.linalg.inv(information)
    return {"off by": dict(zip(names, (inverse @ total).tolist(), strict=True)),
            "standard error": dict(zip(names, np.sqrt(np.diag(inverse @ squares @ inverse)).tolist(), strict=True)),
            "z": (vectors.T @ (total / size) / spread).tolist()}


def page(model: Any, held_out: vd.Trajectories, curves: dict[str, Any], out: Path) -> None:
    """One page of figures."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(3, 5, figsize=(19, 10.5), layout="constrained")
    S, V = states(VORTEX, held_out)
    found = model.entropy(held_out)
    shift = float((found.reshape(len(S), -1)[:, 0] - S[:, 0]).mean())
    middle = float(np.median(S)), float(np.median(V))

    def learned(ax: Any, name: str, x: np.ndarray, at: tuple[Any, ...], truth: np.ndarray, seen: np.ndarray) -> None:
        low, high = model.band(name, at if len(at) > 1 else at[0])
        ax.axvspan(*np.quantile(seen, [0.025, 0.975]), color="0.93", lw=0)
        ax.fill_between(x, low, high, alpha=0.35, lw=0, label="95 % band")
        ax.plot(x, getattr(model, name)(*at), label="learned")
        ax.plot(x, truth, "k--", lw=1, label="exact")
        ax.set_title(name.replace("_", " "))

    x = np.linspace(*np.quantile(S, [0.002, 0.998]), 100)
    learned(axes[0, 0], "temperature", x, (x + shift, middle[1]), VORTEX.temperature(x, middle[1]), S)
    axes[0, 0].set(xlabel="S (kB)", ylabel="T")
    axes[0, 0].legend()
    x = np.linspace(*np.quantile(V, [0.002, 0.998]), 100)
    learned(axes[0, 1], "pressure", x, (middle[0] + shift, x), VORTEX.pressure(middle[0], x), V)
    axes[0, 1].set(xlabel="V (µm³)", ylabel="P")
    r = np.linspace(0.02, 1, 100) * VORTEX.cutoff
    F = -VORTEX.kernel_slope(r) / r
    seen = np.array(model.support["r"])
    learned(axes[0, 2], "shear", r, (r,), 2 * F * VORTEX.fluid.alpha, seen)
    learned(axes[0, 3], "bulk", r, (r,), F * (3 * VORTEX.fluid.beta - VORTEX.fluid.alpha), seen)
    for ax, label in ((axes[0, 2], "A²"), (axes[0, 3], "B²")):
        ax.set(xlabel="r (µm)", ylabel=label)
        ax.set_ylim(0, 1.3 * float(getattr(model, "shear" if label == "A²" else "bulk")(r[15])))
    axes[0, 4].hexbin(held_out.entropy + shift, found, gridsize=60, mincnt=1, cmap="Blues", bins="log")
    axes[0, 4].axline((0, 0), slope=1, color="k", lw=0.8, ls="--")
    axes[0, 4].set(xlabel="true S + constant (kB)", ylabel="inferred S (kB)",
                   title=f"held-out vortex, r = {np.corrcoef(found, held_out.entropy)[0, 1]:.3f}")
    places = [(1, 0), (1, 1), (1, 2), (1, 3), (1, 4), (2, 0), (2, 1), (2, 2), (2, 3)]
    for (a, b), (name, key) in zip(places, [(f, k) for f in curves for k in ("rdf", "msd", "vacf")], strict=True):
        curve, ax = curves[name][key], axes[a, b]
        ax.errorbar(curve.x, curve.a, curve.a_stderr, fmt="k.", ms=3, lw=0.6, label="simulator")
        ax.plot(curve.x, curve.b, label="rollout of the model")
        ax.set(xlabel=curve.x_label, ylabel=curve.y_label, title=f"{name}: {100 * curve.relative_rmse:.1f} %")
    axes[1, 0].legend()
    mean = np.stack([held_out.entropy.reshape(len(S), -1).mean(0) + shift, found.reshape(len(S), -1).mean(0)])
    axes[2, 4].plot(mean[0], "k--", label="true")
    axes[2, 4].plot(mean[1], label="inferred")
    axes[2, 4].set(xlabel="frame", ylabel="mean S (kB)", title="heating of the held-out vortex")
    axes[2, 4].legend()
    with atomic(out) as scratch:
        figure.savefig(scratch, dpi=90)
    plt.close(figure)


def say(figures: dict[str, Any]) -> None:
    f = figures["functions"]
    print(f"\n{'':18s}{'error':>9s}{'asked':>8s}   95 % band")
    for name, asked in (("temperature", 0.03), ("pressure", 0.03)):
        print(f"{name:18s}{f[name]:9.2%}{asked:8.0%}   holds the truth at {f[f'{name} covered']:.0%} of the states")
    for name, asked in (("shear_viscosity", "5%"), ("bulk_viscosity", "10%"), ("conductivity", "-")):
        inside = "holds" if f[f"{name} covered"] else "misses"
        print(f"{name:18s}{f[name]:+9.2%}{asked:>8s}   ±{f[f'{name} band']:.1%}, {inside} the truth")
    print(f"correlation of S  {f['S']:9.3f}{'0.9':>8s}   {f['S at best']:.3f} with the true functions")
    print(f"\n{'flow':16s}{'RDF':>8s}{'(noise)':>9s}{'MSD':>8s}{'(noise)':>9s}{'VACF':>8s}{'(noise)':>9s}{'VACF(0)':>9s}")
    for name, row in figures["flows"].items():
        print(f"{name:16s}" + "".join(f"{row[k]:8.2%}{row[f'{k} noise']:9.2%}" for k in ("rdf", "msd", "vacf"))
              + f"{row['VACF(0)']:+9.2%}")
    held = figures["report"]["held_out"]
    print(f"\nheld-out log-likelihood per particle and step {held['log_likelihood_per_step']:.4f}; entropy adds "
          f"{held['entropy_gain_per_step']:.4f} ± {held['entropy_gain_per_step_stderr']:.4f} to one temperature")
    if "structure_gain_per_step" in held:
        print(f"the laws add {held['structure_gain_per_step']:.4f} ± {held['structure_gain_per_step_stderr']:.4f} to "
              "nets without them")
    print(f"fit {figures['seconds fitting']:.0f} s, everything {figures['seconds']:.0f} s")
    for row in figures.get("fisher", []):
        print("flow speed {speed:4.0f}: errors at best T0 {T0:.1%}, 1/c {1/c:.1%}, n {n:.1%}, C² {C²:.1%}; as an ideal "
              "gas T0 {T0, ideal gas:.1%}, 1/c {1/c, ideal gas:.1%}; correlation of S {S at best:.3f}".format(**row))


def reproduce(out: Path, repeats: int = 6, compare: tuple[str, ...] = RECIPE.compare, with_fisher: bool = False,
              steps: int = VORTEX.frames - 1, progress: Any = None) -> dict[str, Any]:
    """Everything; returns the figures."""
    begun = time.perf_counter()
    train, held_out = dataclasses.replace(VORTEX, frames=steps + 1).run(seed=1), VORTEX.run(seed=2)
    fitting = time.perf_counter()
    recipe = dataclasses.replace(RECIPE, compare=compare)
    model = vd.fit([train, held_out], recipe, seed=0, **({"progress": progress} if progress else {}))
    fitted = time.perf_counter()
    model.save(out / "ideal_gas.vid2dyn")
    figures: dict[str, Any] = {"functions": functions(model, held_out), "flows": {}, "report": model.report,
                               "seconds fitting": fitted - fitting, "load": os.getloadavg()[0]}
    curves = {}
    for name in FLOWS:
        figures["flows"][name], curves[name] = flow(model, name, range(21, 21 + repeats))
        print(f"{time.perf_counter() - begun:5.0f} s {name}", file=sys.stderr)
    page(model, held_out, curves, out / "ideal_gas.png")
    if with_fisher:
        figures["fisher"] = fisher()
    figures["seconds"] = time.perf_counter() - begun
    with atomic(out / "figures.json") as scratch:
        scratch.write_text(json.dumps(figures, indent=1))
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("ideal_gas"))
    parser.add_argument("--repeats", type=int, default=6, help="simulations of each flow that rollouts go beside")
    parser.add_argument("--fisher", action="store_true", help="also the information of several flows")
    parser.add_argument("--bias", action="store_true", help="only: bias of the score at the truth, 12 vortices")
    parser.add_argument("--steps", type=int, default=300, help="steps of the vortex that is learned from")
    arguments = parser.parse_args()
    if arguments.bias:
        found = bias(range(1, 13))
        for name, off in found["off by"].items():
            print(f"{name:6s} off by {off:+7.2%} ± {found['standard error'][name]:.2%}")
        print("in independent directions, standard errors:", *(f"{z:+.1f}" for z in found["z"]))
        return
    arguments.out.mkdir(parents=True, exist_ok=True)

    def report_progress(done: int, total: int, what: str) -> None:
        if total < 100 or done % 100 == 0:
            print(f"{what} {done}/{total}", file=sys.stderr)

    say(reproduce(arguments.out, arguments.repeats, with_fisher=arguments.fisher, steps=arguments.steps,
                  progress=report_progress))


if __name__ == "__main__":
    main()
