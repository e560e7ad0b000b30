"""Lattice processes: free energy and mobility from short bursts, against exact answers, then long times.

    python scripts/reproduce_statpinn.py statpinn                  # every case; finished ones are read again
    python scripts/reproduce_statpinn.py statpinn --cases ssep nn+1

Writes one table, one figure a case and one JSON text a case to the folder. One case: simulate bursts from local
equilibrium, fit `vd.GradientFlow`, compare with `lattice_limits`, predict an unseen two-bump profile to 1,000 times the
time of the bursts. Relative L2 over densities 0.1 to 0.9 (zero range: 0.3 to 1.7):

m        mobility; for Kac kernels against independent sites at finite range; for range 2 the exact one is unknown, and
         the column states m over the instant mobility at density 1/2
f'', f   curvature; free energy up to an affine function
D        m f''
K        entries of the operator on ten hats, non-local case: against ρ(1-ρ) exp(-J * ρ) of the first start
cover    part of the densities at which the 95 % band holds the exact m and f''
profile  largest relative L2 of the predicted density over ten times, against the exact limit (non-local kernel: of the
         mean-field equation; range 2: none, the simulation is beside it)
KMC      rms difference of the first three Fourier modes of the same prediction from kinetic Monte Carlo, over their
         amplitude at the start, at three times within reach of it; in brackets what chance alone does
drift    error of m and of D when only drift is learned, from m = 1 on: D is right, m is not
faster   time of direct simulation to the end, at the realisations that give its profile the accuracy of the prediction,
         over that of the prediction (`cost`)
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

import vid2dyn as vd
from vid2dyn.core.files import atomic
from vid2dyn.dynamics.terms.even_kernels import EvenKernels
from vid2dyn.dynamics.terms.landscape import DensityFunction, Landscape
from vid2dyn.fitting.fields.elements import Elements, Statistics
from vid2dyn.fitting.fields.fluctuations import Design, drift_only
from vid2dyn.fitting.fields.windows import windows as windows_of
from vid2dyn.rollout.fields import flow
from vid2dyn.simulators.lattice import limits as lattice_limits

sys.path.insert(0, str(Path(__file__).parent))
from bench_fit import machine
from statpinn_figures import draw

S = vd.simulators
STARTS = ((0.5, 0.45, 4), (0.275, 0.225, 5), (0.725, 0.225, 5))
# fluctuations beside a profile slow it down: the drift of 5 waves in 500 sites by 3 % for J = 2, that of 6 in the zero-
# range process by 1.8, of 12 by 2.4, of 24 by 4.8 (the ring's length does not matter): as few waves as chance allows
SLOW_STARTS = ((0.5, 0.45, 3), (0.275, 0.225, 3), (0.725, 0.225, 3))
SLOWER_STARTS = ((0.5, 0.45, 2), (0.275, 0.225, 2), (0.725, 0.225, 3))
FAR_STARTS = ((0.5, 0.45, 6), (0.5, 0.45, 20), (0.275, 0.225, 10), (0.725, 0.225, 10))
NONLOCAL_STARTS = ((0.5, 0.45, 2), (0.5, 0.45, 5), (0.275, 0.225, 3), (0.725, 0.225, 3))


def windows(count: int, width: float) -> tuple[float, ...]:
    """`count` windows of that many hops of a free particle, one after the other."""
    return tuple(width * k for k in range(1, count + 1))


def exclusion(kernel: tuple[float, ...], width: float, realisations: int, starts: Any = SLOW_STARTS) -> Any:
    return S.Arrhenius(sites=500, kernel=kernel, starts=starts, windows=windows(8, width), realisations=realisations)


def box(strength: float, width: float, realisations: int) -> Any:
    return S.Arrhenius(sites=2000, kac_range=50, kac_strength=strength, starts=FAR_STARTS, windows=windows(8, width),
                       realisations=realisations)


FAR: dict[str, Any] = {"force_range": 50, "elements": 50, "fluctuation_wave": 2}
LONG: dict[str, Any] = {"fluctuation_wave": 8, "knots": 7}
CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "ssep": (exclusion((), 50.0, 6000, STARTS), {}),
    "zrp": (S.ZeroRange(sites=500, starts=((1.0, 0.85, 3), (0.45, 0.3, 3), (1.5, 0.4, 3)), windows=windows(16, 75.0),
                        realisations=9000), {}),
    "nn+1": (exclusion((1.0,), 50.0, 10_000), {}),
    "nn+2": (exclusion((2.0,), 150.0, 20_000, SLOWER_STARTS), LONG),
    "nn-1": (exclusion((-1.0,), 15.0, 12_000), {}),
    "nn-2": (exclusion((-2.0,), 3.0, 16_000), {}),
    "kac+2": (box(2.0, 200.0, 1000), FAR),
    "kac-2": (box(-2.0, 12.0, 1500), FAR),
    "nonlocal": (S.Arrhenius(sites=500, kac_range=50, kac_strength=2.0, starts=NONLOCAL_STARTS,
                             windows=windows(8, 100.0), realisations=4000), {"force_range": 50, "elements": 25}),
    "range2 1,1": (exclusion((1.0, 1.0), 400.0, 8000, SLOWER_STARTS), LONG),
    "range2 0,2": (exclusion((0.0, 2.0), 400.0, 8000, SLOWER_STARTS), LONG),
}


def relative(found: np.ndarray, truth: np.ndarray) -> float:
    return float(np.linalg.norm(found - truth) / np.linalg.norm(truth))


def without_line(rho: np.ndarray, values: np.ndarray) -> np.ndarray:
    return values - np.polyval(np.polyfit(rho, values, 1), rho)


def exact_landscape(simulator: Any, low: float, high: float) -> Landscape:
    """The exact limit on a fine spline; a box kernel acts as it does on independent sites."""
    function = DensityFunction(low, high, 60)
    rho = np.linspace(low, high, 600)
    limit, basis = simulator.limit(rho), function.basis(rho)
    log_mobility = np.linalg.lstsq(basis, np.log(limit.mobility))[0]
    curvature = np.linalg.lstsq(basis, limit.curvature)[0]
    if getattr(simulator, "kac_range", None) is None:
        return Landscape(function, log_mobility, curvature)
    J = simulator.kac_strength
    return Landscape(function, np.append(log_mobility, -J), np.append(curvature, J),
                     EvenKernels(simulator.kac_range, 1, simulator.sites))


def operator(landscape: Landscape, rho: np.ndarray, elements: int = 10) -> np.ndarray:
    """K = Γᵀ diag(m) Γ on hats, for a profile (sites,)."""
    slopes = Elements(len(rho), elements, 1).slopes()
    return (slopes * landscape.face_mobility(rho)[:, None]).T @ slopes / len(rho)


def measured(fields: Any, landscape: Landscape, profile: np.ndarray, elements: int = 10) -> np.ndarray:
    """K of a profile by the covariance of hats over the first window, N Cov/2h, times what the flow of `landscape`
    takes off it within the window; of one start and window, no fit of m."""
    hats = Elements(fields.n_cells, elements, 1)
    data = Statistics.of(dataclasses.replace(fields.of_start(0), values=fields.of_start(0).values[:, :2],
                                             times=fields.times[:2]), hats, 2).without(None)
    window = windows_of(data, landscape, np.eye(elements))[0]
    m = landscape.mobility(window.rho) * np.exp(window.kernel_density @ landscape.hindrance)
    model = (window.spread * m[:, None]).T @ window.spread + window.extra
    scale = fields.n_cells / (2 * data.widths[0])
    return scale * (data.covariance[0, 0] - model) + operator(landscape, profile, elements)


def two_bumps(n: int, low: float, high: float) -> np.ndarray:
    """(n,) a profile that no start had."""
    x = np.arange(n) / n
    bumps = np.exp(-((x - 0.3) / 0.1) ** 2) + 0.6 * np.exp(-((x - 0.7) / 0.07) ** 2)
    return low + (high - low) * (0.15 + 0.6 * bumps)


def modes(profiles: np.ndarray) -> np.ndarray:
    """(..., 3) complex Fourier modes 1 to 3."""
    return np.fft.rfft(profiles, axis=-1)[..., 1:4] / profiles.shape[-1]


def predict(row: dict[str, Any], model: Any, simulator: Any, low: float, high: float, seed: int) -> dict[str, Any]:
    """Two bumps to 1,000 bursts: error against the exact limit and against simulation; fills `row`."""
    last = simulator.windows[-1]
    burst = last / (simulator.sites**2 * simulator.d)
    rho = two_bumps(200, low, high)
    times = burst * np.geomspace(1.0, 1000.0, 10)
    begun = time.perf_counter()
    found = flow(model.landscape, rho, times)
    row["cost"] = time.perf_counter() - begun
    truth = None
    if simulator.limit([0.5]).mobility is not None:
        truth = flow(exact_landscape(simulator, low, high), rho, times)
        row["profile"] = max(relative(a, b) for a, b in zip(found, truth, strict=True))
    fine = two_bumps(simulator.sites, low, high)
    # as long as 300 realisations in 2e9 trials allow
    reach = min(20.0, 2e9 / (300 * simulator.trials(fine, last)))
    waits = last * np.array([0.1, 0.3, 1.0]) * reach
    direct = dataclasses.replace(simulator, windows=tuple(waits), realisations=300).run_from(fine, seed=seed + 1)
    ahead = flow(model.landscape, rho, direct.times[1:])
    known = None if truth is None else flow(exact_landscape(simulator, low, high), rho, direct.times[1:])
    size = np.abs(modes(fine)).max()
    row["KMC"] = float(np.sqrt((np.abs(modes(direct.mean()[0, 1:]) - modes(ahead)) ** 2).mean()) / size)
    chi = float(np.mean(1 / model.curvature(rho)))
    row["KMC, chance"] = float(np.sqrt(chi / (simulator.sites * 300)) / size)
    if "profile" in row:
        needed = max(1.0, chi * 20 / (simulator.sites * row["profile"] ** 2 * (rho**2).mean()))
        trials = needed * simulator.trials(fine, 1000 * last)
        row["faster"] = trials / row["trials/s"] / row["cost"]
        row["faster, learning included"] = trials / row["trials/s"] / (
            row["cost"] + row["seconds simulating"] + row["seconds fitting"])
    return {"x": np.arange(200) / 200, "times": times, "found": found, "truth": truth, "start": rho,
            "kmc times": direct.times[1:], "kmc": direct.mean()[0, 1:], "ahead": ahead, "ahead, exact": known,
            "chi": chi, "particles of a profile": simulator.sites * 300}


def case(name: str, seed: int, picture: Path) -> dict[str, Any]:
    """Simulate, fit, compare, draw."""
    simulator, settings = CASES[name]
    start = time.perf_counter()
    fields = vd.simulate(simulator, seed=seed)
    simulated = time.perf_counter()
    model = vd.fit(fields, vd.GradientFlow(**settings))
    fitted = time.perf_counter()
    low, high = (0.3, 1.7) if name == "zrp" else (0.1, 0.9)
    rho = np.linspace(low, high, 81)
    limit = simulator.limit(rho)
    trials = fields.n_realisations * simulator.trials(simulator.profiles()[0], simulator.windows[-1])
    row: dict[str, Any] = {
        "case": name, "f''": relative(model.curvature(rho), limit.curvature),
        "f": relative(without_line(rho, model.free_energy(rho)), without_line(rho, limit.free_energy)),
        "seconds simulating": simulated - start, "seconds fitting": fitted - simulated,
        "trials/s": trials / (simulated - start),
        "warnings": model.report["warnings"], "cover f''": cover(model, "curvature", rho, limit.curvature)}
    if limit.mobility is None:
        instant = lattice_limits.instant_mobility([0.5], simulator.energies)[0]
        below, above = model.band("mobility", 0.5)
        row |= {"m over instant": float(model.mobility(0.5)) / instant,
                "m over instant, error": float(above - below) / 4.52 / instant}
    profile = simulator.profiles()[0]
    K: dict[str, Any] = {"learned": operator(model.landscape, profile), "exact": None,
                         "measured": measured(fields, model.landscape, profile)}
    if limit.mobility is not None:
        row |= {"m": relative(model.mobility(rho), limit.mobility),
                "cover m": cover(model, "mobility", rho, limit.mobility),
                "D": relative(model.diffusion(rho), limit.diffusion)}
        K["exact"] = operator(exact_landscape(simulator, *model.support), profile)
        row["K"] = relative(K["learned"], K["exact"])
    row["K measured"] = relative(K["measured"], K["learned"])
    if name == "ssep":
        row |= drift_baseline(fields, model, rho, limit)
    draw(picture, name, model, limit, predict(row, model, simulator, low, high, seed), K)
    return row


def cover(model: Any, quantity: str, rho: np.ndarray, truth: np.ndarray) -> float:
    """Part of the densities at which the 95 % band holds the truth."""
    below, above = model.band(quantity, rho)
    return float(np.mean((below <= truth) & (truth <= above)))


def drift_baseline(fields: Any, model: Any, rho: np.ndarray, limit: Any) -> dict[str, float]:
    """What remains when only the drift is learned."""
    statistics = Statistics.of(fields, Elements(fields.n_cells, int(model.recipe["elements"]))).without(None)
    blind = drift_only(Design.of(statistics, DensityFunction(*model.support, 9)))
    return {"drift only, m": relative(blind.mobility(rho), limit.mobility),
            "drift only, f''": relative(blind.second(rho), limit.curvature),
            "drift only, D": relative(blind.diffusion(rho), limit.diffusion)}


COLUMNS = ("m", "f''", "f", "D", "K", "profile", "KMC", "cover m", "cover f''", "faster", "seconds simulating",
           "seconds fitting")


def table(rows: list[dict[str, Any]]) -> str:
    """One line a case, per cent but for the last three."""
    def cell(row: dict[str, Any], key: str) -> str:
        if key not in row:
            return "-"
        if key == "KMC":
            return f"{100 * row[key]:.2f} ({100 * row['KMC, chance']:.2f})"
        return f"{row[key]:.3g}" if key in COLUMNS[-3:] or key.startswith("cover") else f"{100 * row[key]:.2f}"

    head = ["case", *(f"{key} %" if key in COLUMNS[:7] else key.replace("seconds ", "s ") for key in COLUMNS)]
    lines = [head] + [[row["case"], *(cell(row, key) for key in COLUMNS)] for row in rows]
    wide = [max(len(line[k]) for line in lines) for k in range(len(head))]
    out = ["  ".join(text.rjust(w) if k else text.ljust(w) for k, (text, w) in enumerate(zip(line, wide)))
           for line in lines]
    for row in rows:
        if "m over instant" in row:
            out.append(f"{row['case']}: m over instant at 1/2 = {row['m over instant']:.3f} ± "
                       f"{row['m over instant, error']:.3f}")
        if "drift only, m" in row:
            out.append("ssep, drift only: " + ", ".join(f"{k[12:]} off {v:.1%}" for k, v in row.items()
                                                        if k.startswith("drift only")))
        if "faster, learning included" in row:
            out.append(f"{row['case']}: direct simulation {row['faster']:.0f} times the cost of the prediction, "
                       f"{row['faster, learning included']:.1f} times with learning included")
        out += [f"{row['case']}: {warning}" for warning in row["warnings"]]
    return "\n".join(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path, nargs="?", default=Path("statpinn"), help="folder for figures and numbers")
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(machine())
    begun, worked, rows = time.perf_counter(), 0, []
    for done, name in enumerate(options.cases):
        kept = options.out / f"{name.replace(' ', '_').replace(',', '')}-{options.seed}.json"
        if not kept.exists():
            row = case(name, options.seed, kept.with_suffix(".png"))
            with atomic(kept) as scratch:
                scratch.write_text(json.dumps(row, indent=1))
            worked += 1
        rows.append(json.loads(kept.read_text()))
        left = (time.perf_counter() - begun) / max(1, worked) * (len(options.cases) - done - 1)
        print(f"{done + 1}/{len(options.cases)} {name}, about {left:.0f} s left", file=sys.stderr, flush=True)
    print(table(rows))
    with atomic(options.out / "table.txt") as scratch:
        scratch.write_text(machine() + "\n" + table(rows) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
