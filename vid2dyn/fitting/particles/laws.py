"""The laws of a learned fluid, kept by short rollouts of it."""

from __future__ import annotations

import math

import numpy as np

from vid2dyn.dynamics.fluid.frozen import FrozenFluid
from vid2dyn.dynamics.fluid.table_range import table_range
from vid2dyn.encoders.entropy import invariants
from vid2dyn.inference.score import sweep
from vid2dyn.inference.steps import FluidSteps
from vid2dyn.model.metriplectic import MetriplecticModel
from vid2dyn.model.term_list import TermListModel
from vid2dyn.rollout.fluid.paths import FluidFrame, FluidRollout, fluid_energy, fluid_frames
from vid2dyn.rollout.fluid.stops import LeftTheTablesError
from vid2dyn.rollout.fluid.time_step import stable_step

STEPS = 40
SHORTER = (1, 4, 16)
"""Times that the step is made shorter where states leave the tables."""


def laws(model: MetriplecticModel, data: FluidSteps, start: np.ndarray) -> dict[str, float]:
    """Energy and momentum over steps with noise, entropy production without: of the exact step, from the first frame.

    energy_drift in N T, momentum_drift in a particle's thermal momentum (0 where forces from outside act),
    least_entropy_production of a step [kB]. Nothing where no step is short enough to follow the fluid.
    """
    numbers, layout = model.learned, model.layout
    S = sweep(data, numbers, start, slopes=False, until=1).entropy[0]
    c, T = 1.0 / max(float(numbers.softness), 1e-6), math.exp(numbers.log_temperature)
    wide = 15 * math.sqrt(c) + float(numbers.molecules) \
        + c * math.log1p(layout.mass * float((data.velocity[0] ** 2).sum(axis=1).mean()) / (c * T))
    box = data.box.after(data.first_frame * data.dt)
    x = invariants(data.position[0], data.velocity[0], box, data.cutoff).log_volume
    span = table_range(numbers, S, x, wide, wide, 2.0, least=(129, 65))
    frozen = model.freeze(span.entropy, span.log_volume, span.nodes)
    first = FluidFrame(data.position[0], data.velocity[0], S, box)
    dt = data.dt / 4 if model.further is None else min(data.dt / 4, stable_step(frozen, first))
    outside = frozen.external is not None or frozen.traps is not None
    for shorter in SHORTER:
        try:
            return _kept(frozen, first, dt / shorter, layout.mass, T, momentum=not outside,
                         energy=data.box.after(1.0) == data.box)
        except LeftTheTablesError:
            # conduction that the data hardly show may be learned so large that a particle loses all heat in one step
            continue
    return {}


def laws_of_terms(model: TermListModel, data: FluidSteps) -> dict[str, float]:
    """The same of a list of terms: energy with the heat of the bath, if nothing goes through walls or a substrate."""
    frozen = model.frozen()
    kT, mass = model.kT(), float(np.mean(model.arrays["mass"]))
    first = FluidFrame(data.position[0], data.velocity[0], np.zeros(data.n), data.box.after(data.first_frame * data.dt),
                       species=data.species if len(model.arrays["mass"]) > 1 else None)
    dt = min(data.dt / 4, stable_step(frozen, first))
    found = _kept(frozen, first, dt, mass, kT, momentum=len(model.arrays["mass"]) == 1,
                  energy=frozen.drag is None and data.box.after(1.0) == data.box)
    if not (frozen.drag is None and frozen.external is None and frozen.traps is None):
        del found["momentum_drift"]
    return found


def _kept(frozen: FrozenFluid, first: FluidFrame, dt: float, mass: float, kT: float, *, momentum: bool,
          energy: bool) -> dict[str, float]:
    """What a rollout from a frame keeps; `momentum`, `energy`: whether it should (momentum_drift is 0 where not)."""
    n = len(first.entropy)
    *_, last = fluid_frames(frozen, first, FluidRollout(dt, "exact"), steps=STEPS)
    change = float(np.abs((last.velocity - first.velocity).mean(axis=0)).max())
    found = {"momentum_drift": change * math.sqrt(mass / kT) if momentum else 0.0}
    if energy:
        gained = sum(fluid_energy(frozen, last)) - sum(fluid_energy(frozen, first))
        found["energy_drift"] = float(abs(gained) / (n * kT))
    total = [float(frame.entropy.sum()) for frame in fluid_frames(frozen, first, FluidRollout(dt, noise=False),
                                                                  steps=STEPS)]
    return found | {"least_entropy_production": float(np.diff(total).min())}
