"""False alarms and power of `vd.assess` for models other than colloids, and of its comparison with rollouts.

    python scripts/assess_others.py                          # every family, 12 seeds
    python scripts/assess_others.py --only fields --seeds 40
    python scripts/assess_others.py --out others.jsonl       # keeps every seed; a run that was ended goes on from there

A small recording is fitted and the table asked three times: of the recording itself (own), of another one of the same
process (same), and of one with a fault (hops twice as fast; velocities read with noise of .8 of a step, of fluid and
terms; particles that swim). Columns: part of the seeds in which a test fails, the tests that do, and seconds.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from measure import kept_rows, seed_options

import vid2dyn as vd

S = vd.simulators
LATTICE = S.Arrhenius(sites=120, kernel=(1.0,), realisations=400, windows=(20.0, 40.0, 80.0))
GAS = S.SDPD(n_particles=64, dim=2, box_length=0.64, frames=81, flow="taylor_green", flow_speed=30.0, substeps=5)
SOFT = S.DPD(n_particles=60, frames=80, box_length=2.7)
"""As dense as the simulator's default: a dilute one still cools from its random start (kT 1.24 for 1)."""
FREE = S.Departures(n_particles=60, frames=120, diffusion=0.4, spacing=2.0)


def faster(fields: vd.Fields) -> vd.Fields:
    """The same states at half the times: hops twice as fast."""
    return vd.Fields(fields.values, 0.5 * fields.times, fields.starts)


def noisy(tracks: vd.Trajectories) -> vd.Trajectories:
    """Velocities read with an error of .8 of their change from frame to frame."""
    v, x = (values.reshape(tracks.n_particles, -1, tracks.dim) for values in (tracks.velocities, tracks.positions))
    error = 0.8 * np.diff(v, axis=1).std() * np.random.default_rng(0).standard_normal(v.shape)
    return vd.Trajectories.from_dense(x.swapaxes(0, 1), tracks.units, box=tracks.box,
                                      velocity=(v + error).swapaxes(0, 1))


@dataclasses.dataclass(frozen=True)
class Family:
    """What is simulated and fitted, and what makes its fault of another recording."""

    simulator: Any
    recipe: Any
    fault: Callable[[Any], Any] | None = None
    faulty: Any = None


FAMILIES: dict[str, Family] = {
    "fields": Family(LATTICE, vd.GradientFlow(), faster),
    "fluid": Family(GAS, vd.Metriplectic(cutoff=0.2, mass=0.5, knots=3, compare=(), window=16, tolerance=1.0), noisy),
    # the force has a kink at its end, which 6 knots cannot follow
    "terms": Family(SOFT, vd.Metriplectic(energy=[vd.terms.PairPotential(cutoff=1.0, knots=12)],
                                          friction=[vd.terms.PairFriction(cutoff=1.0, knots=6)], entropy=False,
                                          select=False), noisy),
    "colloids": Family(FREE, vd.Brownian(), None, dataclasses.replace(FREE, swim_speed=5.0, rotational_diffusion=3.0)),
}


def asked(name: str, seed: int) -> dict[str, Any]:
    """Failed tests of the three recordings of one seed."""
    family, start = FAMILIES[name], time.perf_counter()
    data, other = family.simulator.run(seed), family.simulator.run(seed + 10_000)
    model = vd.fit(data, family.recipe, seed=0)
    fault = family.fault(other) if family.fault is not None else family.faulty.run(seed)
    found = {what: [one.test for one in vd.assess(one, model, seed=seed).failed]
             for what, one in (("own", data), ("same", other), ("fault", fault))}
    return {**found, "seconds": time.perf_counter() - start}


def row(found: Sequence[dict[str, Any]]) -> str:
    """One line of the table."""
    parts = []
    for what in ("own", "same", "fault"):
        tests = sorted({test for one in found for test in one[what]})
        parts.append(f"{what} {np.mean([bool(one[what]) for one in found]):.2f} ({', '.join(tests) or '-'})")
    return (f"{found[0]['name']:<9}{len(found):4d}  {'; '.join(parts)}  "
            f"[{np.mean([one['seconds'] for one in found]):.0f} s]")


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    options = seed_options(__doc__, tuple(FAMILIES), seeds=12, first=0).parse_args(arguments)
    seeds = range(options.first, options.first + options.seeds)
    for found in kept_rows(options.only or tuple(FAMILIES), seeds, asked, options.out):
        print(row(found), flush=True)


if __name__ == "__main__":
    main()
