"""Equilibrium of the SDPD gas, drawn without its own time step's help.

The invariant density exp(sum S_i/kB) dr dv dS at given energy E and momentum 0 factorises for the ideal gas:
exp(S_i) = (U_i/U0)^C (V_i/V0)^gas and dS_i = C dU_i/U_i, so

    p(r)  ~  prod_i V_i^gas,       p(U)  ~  prod_i U_i^(C - 1),       p(v) uniform,       sum U_i + sum m v²/2 = E:

positions know nothing of energies, the shares of the internal energies and of the kinetic energy are Dirichlet with
exponents C (each) and dim (N - 1)/2. Energies and velocities are drawn from this directly; positions by Hamiltonian
Monte Carlo with them, friction off.
"""

from __future__ import annotations

import math

import numpy as np

from vid2dyn.core.errors import ConfigError
from vid2dyn.core.progress import Progress
from vid2dyn.simulators.brownian.equilibrate import lattice
from vid2dyn.simulators.fluid.sdpd.cells import cell_counts, sweep_blocks
from vid2dyn.simulators.fluid.sdpd.observe import densities_at
from vid2dyn.simulators.fluid.sdpd.settings import GasSettings
from vid2dyn.simulators.fluid.sdpd.steps import Drive, advance

_EASY_COURANT = 0.05    # the same during equilibration, where only the structure counts


def rest_energy(sim: GasSettings) -> float:
    """Total energy of the gas at rest: heat_capacity · T for each particle, T/2 for each free velocity component."""
    return sim.kT * (sim.n_particles * sim.heat_capacity + 0.5 * sim.dim * (sim.n_particles - 1))


def draw_energies(sim: GasSettings, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
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


def equilibrium(sim: GasSettings, rng: np.random.Generator,
                progress: Progress) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions (N, 3) in the box, velocities (N, 3) and entropies (N,) of the gas at rest."""
    n, dim = sim.n_particles, sim.dim
    x = np.zeros((n, 3))
    sites, spacing = lattice(n, dim, sim.box_length)
    x[:, :dim] = (sites + 0.1 * spacing * rng.uniform(-1, 1, sites.shape)) % sim.box_length
    fluid = sim.fluid._replace(alpha=0.0, beta=0.0, kappa=0.0)
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
