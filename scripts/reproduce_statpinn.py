"""Lattice processes: free energy and mobility from short bursts, against exact answers, then long times.

    python scripts/reproduce_statpinn.py --out statpinn            # every case; finished ones are read again
    python scripts/reproduce_statpinn.py --cases ssep nn+1 --out statpinn

One case: simulate bursts from local equilibrium, fit `vd.GradientFlow`, compare with `lattice_limits`, predict an
unseen two-bump profile to 1,000 times the longest window. Relative L2 over densities 0.1 to 0.9 (zero range: 0.3 to
1.7):

m        mobility; for Kac kernels against independent sites at finite range; for range 2 the exact one is unknown and
         the column states m over the instant mobility at density 1/2
f'', f   curvature; free energy up to an affine function
D        m f''
cover    part of the densities at which the 95 % band holds the exact m and f''
profile  largest relative L2 of the predicted density over ten times, against the exact limit
drift    error of m and of D when only drift is learned, from m = 1 on: D is right, m is not
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

import vid2dyn as vd
from vid2dyn.dynamics.density import DensityFunction, Landscape
from vid2dyn.field_rollout import flow
from vid2dyn.files import atomic
from vid2dyn.fitting.elements import Elements, Statistics
from vid2dyn.fitting.fluctuations import Design, drift_only
from vid2dyn.simulators import lattice_limits

sys.path.insert(0, str(Path(__file__).parent))
from bench_fit import machine

S = vd.simulators
WINDOWS = (25.0, 50.0, 75.0, 100.0, 150.0, 200.0, *np.arange(300.0, 1001.0, 100.0).tolist())
STARTS = ((0.5, 0.45, 2), (0.5, 0.45, 3))
BURSTS: dict[str, Any] = {"sites": 500, "starts": STARTS, "windows": WINDOWS, "realisations": 4000}
KAC: dict[str, Any] = {"sites": 2000, "starts": ((0.5, 0.45, 3), (0.5, 0.45, 4)), "windows": (50.0, 100.0, 200.0, 400.0,
                       700.0, 1000.0, 1500.0, 2000.0), "realisations": 1000}

CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "ssep": (S.Arrhenius(**BURSTS), {}),
    "zrp": (S.ZeroRange(**{**BURSTS, "starts": ((1.0, 0.85, 2), (1.0, 0.85, 3))}), {}),
    "nn+1": (S.Arrhenius(kernel=(1.0,), **BURSTS), {}),
    "nn+2": (S.Arrhenius(kernel=(2.0,), **BURSTS), {}),
    "nn-1": (S.Arrhenius(kernel=(-1.0,), **BURSTS), {}),
    "nn-2": (S.Arrhenius(kernel=(-2.0,), **BURSTS), {}),
    "kac+2": (S.Arrhenius(kac_range=50, kac_strength=2.0, **KAC), {"force_range": 50}),
    "kac-2": (S.Arrhenius(kac_range=50, kac_strength=-2.0, **KAC), {"force_range": 50}),
    "range2 1,1": (S.Arrhenius(kernel=(1.0, 1.0), **BURSTS), {}),
    "range2 0,2": (S.Arrhenius(kernel=(0.0, 2.0), **BURSTS), {}),
}


def relative(found: np.ndarray, truth: np.ndarray) -> float:
    return float(np.linalg.norm(found - truth) / np.linalg.norm(truth))


def without_line(rho: np.ndarray, values: np.ndarray) -> np.ndarray:
    return values - np.polyval(np.polyfit(rho, values, 1), rho)


def exact_landscape(simulator: Any, low: float, high: float) -> Landscape:
    """The exact limit on a fine spline."""
    function = DensityFunction(low, high, 60)
    rho = np.linspace(low, high, 600)
    limit, basis = simulator.limit(rho), function.basis(np.linspace(low, high, 600))
    return Landscape(function, np.linalg.lstsq(basis, np.log(limit.mobility))[0],
                     np.linalg.lstsq(basis, limit.curvature)[0])


def profile_error(model: Any, simulator: Any, low: float, high: float) -> float:
    """Two bumps that no start had, to 1,000 windows: largest relative L2 from the exact limit."""
    n = 200
    x = np.arange(n) / n
    bumps = np.exp(-((x - 0.3) / 0.1) ** 2) + 0.6 * np.exp(-((x - 0.7) / 0.07) ** 2)
    rho = low + (high - low) * (0.15 + 0.6 * bumps)
    longest = simulator.windows[-1] / (simulator.sites**2 * simulator.d)
    times = longest * np.geomspace(1.0, 1000.0, 10)
    found, truth = flow(model.landscape, rho, times), flow(exact_landscape(simulator, low, high), rho, times)
    return max(relative(a, b) for a, b in zip(found, truth, strict=True))


def case(name: str, seed: int) -> dict[str, Any]:
    """Simulate, fit, compare."""
    simulator, settings = CASES[name]
    start = time.perf_counter()
    fields = vd.simulate(simulator, seed=seed)
    simulated = time.perf_counter()
    model = vd.fit(fields, vd.GradientFlow(**settings))
    fitted = time.perf_counter()
    low, high = (0.3, 1.7) if name == "zrp" else (0.1, 0.9)
    rho = np.linspace(low, high, 81)
    limit = simulator.limit(rho)
    row: dict[str, Any] = {"case": name, "f''": relative(model.curvature(rho), limit.curvature),
                           "f": relative(without_line(rho, model.free_energy(rho)),
                                         without_line(rho, limit.free_energy)),
                           "seconds simulating": simulated - start, "seconds fitting": fitted - simulated,
                           "warnings": model.report["warnings"]}

    def cover(quantity: str, truth: np.ndarray) -> float:
        below, above = model.band(quantity, rho)
        return float(np.mean((below <= truth) & (truth <= above)))

    row["cover f''"] = cover("curvature", limit.curvature)
    if limit.mobility is None:
        instant = lattice_limits.instant_mobility([0.5], simulator.energies)[0]
        row["m over instant"] = float(model.mobility(0.5)) / instant
        below, above = model.band("mobility", 0.5)
        row["m over instant, error"] = float(above - below) / 3.92 / instant
        return row
    row |= {"m": relative(model.mobility(rho), limit.mobility), "D": relative(model.diffusion(rho), limit.diffusion),
            "cover m": cover("mobility", limit.mobility), "profile": profile_error(model, simulator, low, high)}
    if name == "ssep":
        statistics = Statistics.of(fields, Elements(fields.n_cells, int(model.recipe["elements"]))).without(None)
        blind = drift_only(Design.of(statistics, DensityFunction(*model.support, 9)))
        row |= {"drift only, m": relative(blind.mobility(rho), limit.mobility),
                "drift only, D": relative(blind.diffusion(rho), limit.diffusion)}
    return row


def say(row: dict[str, Any]) -> str:
    numbers = [f"{key} {value:.2%}" if key in ("m", "f''", "f", "D", "profile") or key.startswith("drift")
               else f"{key} {value:.2f}" for key, value in row.items() if isinstance(value, float)]
    return f"{row['case']:<11}" + ", ".join(numbers) + "".join(f"\n    {w}" for w in row["warnings"])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--out", type=Path, default=Path("statpinn"))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(machine())
    begun = time.perf_counter()
    for done, name in enumerate(options.cases):
        kept = options.out / f"{name.replace(' ', '_')}-{options.seed}.json"
        if not kept.exists():
            row = case(name, options.seed)
            with atomic(kept) as scratch:
                scratch.write_text(json.dumps(row, indent=1))
        print(say(json.loads(kept.read_text())), flush=True)
        left = (time.perf_counter() - begun) / (done + 1) * (len(options.cases) - done - 1)
        print(f"    {done + 1}/{len(options.cases)}, about {left:.0f} s left", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
