"""Do 95 % bands of a fluid with hidden entropy hold the truth? Many small vortices of gases whose functions are known.

    python scripts/bench_fluid_bands.py                        # every gas, 40 seeds (half an hour)
    python scripts/bench_fluid_bands.py --only warm --seeds 8
    python scripts/bench_fluid_bands.py --out fluid.jsonl      # keeps every fit; a run that was ended goes on there

Each recording: 100 particles in a plane, 20 within a cutoff, velocities of a decaying Taylor-Green vortex (30 µm/s at
the start) over 120 steps of 0.5 ms, fitted with `vd.Metriplectic` without variants for comparison. Columns:

T, P       part of the states of the recording at which the band of temperature and of pressure holds the truth, mean
           over seeds (entropies matched by one number: their origin is free)
eta, zeta, kappa
           part of the seeds whose band holds shear and bulk viscosity and conductivity
.../0      mean over the truth, and in brackets the mean half width of the band over the truth
s          seconds of a fit
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from measure import kept_rows, seed_options

import vid2dyn as vd

PARTICLES, FRAMES, CUTOFF, NEIGHBOURS = 100, 121, 0.2, 20
NUMBERS = ("shear_viscosity", "bulk_viscosity", "conductivity")
GASES: dict[str, dict[str, float]] = {
    "usual": {},
    "warm": {"adiabatic_index": 1.4, "heat_capacity": 30.0, "kT": 2.0, "bulk_viscosity": 60.0, "conductivity": 3e4},
    "no conduction": {"conductivity": 0.0},
}
"""Arguments of the simulator other than its defaults. "warm": temperatures even out nine times as fast as the fit first
believes, from a conductivity like the viscosity."""


@dataclass(frozen=True)
class Fit:
    """What one recording gave. `holds`, `ratio` and `width`: of T and P means over states, of numbers themselves."""

    gas: str
    seed: int
    holds: dict[str, float]
    ratio: dict[str, float]
    width: dict[str, float]
    warnings: list[str]
    seconds: float


def simulator(gas: str) -> Any:
    """The gas of this name."""
    length = float((PARTICLES * np.pi * CUTOFF**2 / NEIGHBOURS) ** 0.5)
    settings: dict[str, Any] = {"dim": 2, "n_particles": PARTICLES, "frames": FRAMES, "cutoff": CUTOFF, "substeps": 5,
                                "box_length": length, "flow": "taylor_green", "flow_speed": 30.0, **GASES[gas]}
    return vd.simulators.SDPD(**settings)


def fitted(gas: str, seed: int) -> Fit:
    """Simulate, fit, compare with the truth."""
    truth = simulator(gas)
    tracks = truth.run(seed=seed)
    start = time.perf_counter()
    model = vd.fit(tracks, vd.Metriplectic(cutoff=CUTOFF, mass=truth.mass, compare=()), seed=seed)
    seconds = time.perf_counter() - start
    holds, ratio, width = {}, {}, {}

    def note(name: str, value: Any, low: Any, high: Any, true: Any) -> None:
        scale = true if np.all(true > 0) else 1.0
        holds[name] = float(np.mean((low <= true) & (true <= high)))
        ratio[name], width[name] = float(np.mean(value / scale)), float(np.mean((high - low) / 2 / scale))

    n, every = PARTICLES, 10
    x = tracks.positions.reshape(n, -1, 2)[:, ::every]
    V = 1 / np.stack([truth.densities(x[:, k]) for k in range(x.shape[1])], axis=1)
    S = tracks.entropy.reshape(n, -1)[:, ::every]
    moved = S + (model.entropy(tracks).reshape(n, -1)[:, 0] - S[:, 0]).mean()
    for name in ("temperature", "pressure"):
        note(name, getattr(model, name)(moved, V), *model.band(name, (moved, V)), getattr(truth, name)(S, V))
    for name in NUMBERS:
        note(name, getattr(model, name)(), *model.band(name), getattr(truth, name))
    return Fit(gas, seed, holds, ratio, width, list(model.report["warnings"]), seconds)


def row(fits: Sequence[Fit]) -> str:
    """One line of the table."""
    names = ("temperature", "pressure", *NUMBERS)
    cover = "".join(f"{np.mean([one.holds[name] for one in fits]):7.3f}" for name in names)
    values = "".join(f"{np.mean([one.ratio[name] for one in fits]):7.3g} "
                     f"({np.mean([one.width[name] for one in fits]):.2g})" for name in names)
    return f"{fits[0].gas:<14}{len(fits):6d}{cover}  {values}{np.mean([one.seconds for one in fits]):6.1f}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    options = seed_options(__doc__, tuple(GASES), seeds=40, first=1000).parse_args(arguments)
    print("gas           seeds      T      P    eta   zeta  kappa   T/0, P/0, eta/0, zeta/0, kappa/0 (half width)    s")
    for fits in kept_rows(options.only or tuple(GASES), range(options.first, options.first + options.seeds),
                          lambda gas, seed: asdict(fitted(gas, seed)), options.out):
        print(row([Fit(**{key: one[key] for key in Fit.__dataclass_fields__}) for one in fits]), flush=True)


if __name__ == "__main__":
    main()
