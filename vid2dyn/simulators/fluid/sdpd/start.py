"""Arguments of the SDPD gas checked at the door, and its equilibrium drawn without its own time step's help.

The invariant density exp(sum S_i/kB) dr dv dS at given energy E and momentum 0 factorises for the ideal gas:
exp(S_i) = (U_i/U0)^C (V_i/V0)^gas and dS_i = C dU_i/U_i, so

    p(r)  ~  prod_i V_i^gas,       p(U)  ~  prod_i U_i^(C - 1),       p(v) uniform,       sum U_i + sum m v²/2 = E:

positions know nothing of energies, the shares of the internal energies and of the kinetic energy are Dirichlet with
exponents C (each) and dim (N - 1)/2. Energies and velocities are drawn from this directly; positions by Hamiltonian
Monte Carlo with them, friction off.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from vid2dyn.core.errors import ConfigError
from vid2dyn.core.progress import Progress
from vid2dyn.simulators.brownian.equilibrate import lattice
from vid2dyn.simulators.fluid.sdpd.cells import cell_counts, sweep_blocks
from vid2dyn.simulators.fluid.sdpd.observe import densities_at
from vid2dyn.simulators.fluid.sdpd.physics import Fluid
from vid2dyn.simulators.fluid.sdpd.steps import Drive, advance

if TYPE_CHECKING:
    from vid2dyn.simulators.fluid.sdpd.gas import SDPD

_POSITIVE = ("frames_per_second", "box_length", "cutoff", "mass", "kT", "heat_capacity")
_NOT_NEGATIVE = ("shear_viscosity", "bulk_viscosity", "conductivity", "flow_speed")
_WHOLE = ("n_particles", "frames", "substeps", "equilibration", "threads")
_COURANT = 0.1          # of a cutoff that sound may travel in one step
_EASY_COURANT = 0.05    # the same during equilibration, where only the structure counts


def check_sdpd(sim: SDPD) -> None:
    """Raise `ConfigError` for an argument out of range or a combination that cannot be simulated."""
    for key in (*_POSITIVE, *_NOT_NEGATIVE, "shear_rate"):
        value = getattr(sim, key)
        if not math.isfinite(value) or (key in _POSITIVE and value <= 0) or (key in _NOT_NEGATIVE and value < 0):
            raise ConfigError(f"SDPD({key}={value!r}): give a finite number"
                              f"{', positive' * (key in _POSITIVE)}{', zero or more' * (key in _NOT_NEGATIVE)}.")
    for key in _WHOLE:
        if getattr(sim, key) != int(getattr(sim, key)) or getattr(sim, key) < (key != "equilibration"):
            raise ConfigError(f"SDPD({key}={getattr(sim, key)!r}): give a whole number, 1 or more.")
    if sim.dim not in (2, 3):
        raise ConfigError(f"SDPD(dim={sim.dim!r}): the gas has 2 or 3 dimensions.")
    if sim.heat_capacity <= 2 or not 1 < sim.adiabatic_index < 10:
        raise ConfigError(f"SDPD(heat_capacity={sim.heat_capacity:g}, adiabatic_index={sim.adiabatic_index:g}): give "
                          "a heat capacity above 2 kB (below, 1/T_i has no finite mean) and an index above 1.")
    if sim.coefficients not in ("constant", "radial"):
        raise ConfigError(f"SDPD(coefficients={sim.coefficients!r}): known are 'constant', 'radial'.")
    _check_flow(sim)
    _check_space(sim)


def _check_flow(sim: SDPD) -> None:
    if sim.flow not in ("rest", "shear", "taylor_green", "forced_taylor_green"):
        raise ConfigError(f"SDPD(flow={sim.flow!r}): known are 'rest', 'shear', 'taylor_green', "
                          "'forced_taylor_green'.")
    if (sim.flow == "shear") != (sim.shear_rate != 0):
        raise ConfigError(f"SDPD(flow={sim.flow!r}, shear_rate={sim.shear_rate:g}): give both flow='shear' and a "
                          "shear rate in 1/s, or neither.")
    if sim.flow.endswith("taylor_green") != (sim.flow_speed > 0):
        raise ConfigError(f"SDPD(flow={sim.flow!r}, flow_speed={sim.flow_speed:g}): give both a Taylor-Green flow "
                          "and its speed in µm/s, or neither.")


def _check_space(sim: SDPD) -> None:
    lengths = np.full(3, sim.box_length)
    counts = cell_counts(lengths, sim.cutoff, sim.dim, sim.flow == "shear")[:sim.dim]
    if counts.min() < 3:
        raise ConfigError(f"SDPD(box_length={sim.box_length:g}, cutoff={sim.cutoff:g}): the box must hold three "
                          f"cutoffs ({'3.36 in a sheared box' if sim.flow == 'shear' else 'in each direction'}); "
                          "take a larger box with more particles, or a shorter cutoff.")
    limit = sim.shear_viscosity * (sim.dim + 2) / sim.dim
    if sim.bulk_viscosity > 0 and sim.bulk_viscosity >= limit:
        raise ConfigError(f"SDPD(bulk_viscosity={sim.bulk_viscosity:g}): pair friction across the line of centres "
                          f"would be negative; it must be below (dim + 2)/dim shear_viscosity = {limit:g}.")
    courant = sim.sound_speed * sim.time_step / sim.cutoff
    if courant > _COURANT:
        raise ConfigError(f"SDPD: sound ({sim.sound_speed:.3g} µm/s) travels {courant:.2g} of the cutoff in one step "
                          f"of {sim.time_step:.3g} s; give substeps={math.ceil(sim.substeps * courant / _COURANT)}.")


def rest_energy(sim: SDPD) -> float:
    """Total energy of the gas at rest: heat_capacity · T for each particle, T/2 for each free velocity component."""
    return sim.kT * (sim.n_particles * sim.heat_capacity + 0.5 * sim.dim * (sim.n_particles - 1))


def draw_energies(sim: SDPD, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Velocities (N, 3) and internal energies (N,) from the exact microcanonical distribution."""
    n, dim = sim.n_particles, sim.dim
    v = np.zeros((n, 3))
    v[:, :dim] = rng.standard_normal((n, dim))
    v -= v.mean(axis=0)
    kinetic = rng.gamma(0.5 * dim * (n - 1)) if n > 1 else 0.0
    u = rng.gamma(sim.heat_capacity, size=n)
    scale = rest_energy(sim) / (kinetic + u.sum())
    if n > 1:
        v *= math.sqrt(2 * kinetic * scale / (sim.mass * (v**2).sum()))
    return v, u * scale


def equilibrium(sim: SDPD, rng: np.random.Generator, progress: Progress) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions (N, 3) in the box, velocities (N, 3) and entropies (N,) of the gas at rest."""
    n, dim = sim.n_particles, sim.dim
    x = np.zeros((n, 3))
    sites, spacing = lattice(n, dim, sim.box_length)
    x[:, :dim] = (sites + 0.1 * spacing * rng.uniform(-1, 1, sites.shape)) % sim.box_length
    fluid: Fluid = sim.fluid._replace(alpha=0.0, beta=0.0, kappa=0.0)
    lengths = np.full(3, sim.box_length)
    count = cell_counts(lengths, sim.cutoff, dim, False)
    dt = _EASY_COURANT * sim.cutoff / sim.sound_speed
    steps = max(1, math.ceil(spacing / math.sqrt(sim.kT / sim.mass) / dt))
    for k in range(sim.equilibration):
        v, u = draw_energies(sim, rng)
        s = sim.entropy(u, 1 / densities_at(x, sim))
        # a random length of each stretch: no mode comes back to where it started in every one of them
        x, v, s, _, ids, _, _, failed = advance(
            x, v, s, np.zeros((n, 3), np.int64), np.arange(n), lengths, count, sweep_blocks(count, dim),
            Drive(0.0, 0.0, math.nan), fluid, np.uint64(0), 0, int(steps * rng.uniform(0.5, 1.5)) + 1, dt)
        if failed >= 0:
            raise ConfigError(f"SDPD: the start failed to equilibrate in stretch {k}; check box_length, cutoff, mass.")
        x = x[np.argsort(ids)]
        x[:, :dim] %= sim.box_length
        progress(k + 1, sim.equilibration, "equilibrating")
    v, u = draw_energies(sim, rng)
    return x, v, sim.entropy(u, 1 / densities_at(x, sim))
