"""Smoothed dissipative particle dynamics of an ideal gas: a fluid whose every function is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from vid2dyn.core.config import recipe
from vid2dyn.core.errors import DataError
from vid2dyn.core.progress import Progress, silent
from vid2dyn.data.box import Box, LeesEdwards, Periodic
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.data.units import Units
from vid2dyn.simulators.fluid.sdpd.observe import densities_at, kernel_sum_at, threads
from vid2dyn.simulators.fluid.sdpd.record import flow_at, record
from vid2dyn.simulators.fluid.sdpd.settings import GasSettings
from vid2dyn.simulators.fluid.sdpd.start import equilibrium, rest_energy


@dataclass(frozen=True)
class SDPD(GasSettings):
    """Ideal gas of fluid particles with position, velocity and entropy (Español, Revenga, PRE 67, 026705, 2003).

    Each particle is a parcel of gas of heat capacity C and (adiabatic_index - 1) C atoms, kB = 1:

        d_i = sum_j W(r_ij) + W(0),  V_i = 1/d_i,  W Lucy's kernel, integral 1
        U(S, V) = C T0 (V0/V)^(atoms/C) exp(S/C),   T = U/C,   P V = atoms T,   V0 = volume/N,  S = 0 at T0, V0
        m dv_i = -sum_j (P_i/d_i² + P_j/d_j²) W' e dt - (1/2) sum_j (1/T_i + 1/T_j) K v_ij dt + kB terms + noise
        T_i dS_i = the heat of that friction, half to each + conduction + kB terms + noise

    with K = f h [alpha I + beta e e], f = F/(d_i d_j), F = -W'/r, h = 2 T_i T_j/(T_i + T_j), conduction coefficient
    2 kappa f T_i T_j, and in dim dimensions (expand v_j around i; sum_j d^-1 -> integral, the integral of r² F is dim)

        alpha = eta (dim + 2)/dim - zeta,      beta = (dim + 2)[zeta + eta (dim - 2)/dim].

    All of kB div M is kept; the invariant density is exp(sum S_i/kB) with respect to dr dv dS, at given energy and
    momentum. (With dU in place of dS each particle would carry a further factor T_i.) How it is integrated, with
    exact conservation in every pair and an exact stationary state: `updates`, `steps`.

    Units: lengths µm, times s, energies k_B times the unit of temperature, masses energy s²/µm².

    Parameters
    ----------
    n_particles : int
        Number of particles.
    frames : int
        Number of frames recorded; the first is the start.
    frames_per_second : float
        Frame rate [1/s].
    substeps : int
        Time steps per frame; sound may travel a tenth of the cutoff in one.
    dim : {2, 3}
        Dimensions of space.
    box_length : float
        Edge of the periodic (or sheared) box [µm]; at least 3 cutoffs, 3.36 if sheared.
    cutoff : float
        Range of the kernel [µm].
    mass : float
        Mass of a particle [energy s²/µm²].
    kT : float
        T0: the gas at rest has energy T0 (N C + dim (N - 1)/2).
    heat_capacity : float
        C of a particle at constant volume [kB].
    adiabatic_index : float
        5/3: monatomic, 2 C/3 atoms a particle.
    shear_viscosity : float
        eta of the continuum [energy s/µm^dim].
    bulk_viscosity : float
        zeta of the continuum [energy s/µm^dim], below eta (dim + 2)/dim.
    conductivity : float
        kappa of the continuum [kB/(s µm^(dim - 2))].
    coefficients : {"constant", "radial"}
        "constant": viscosities and conductivity are constants, as above. "radial": the pair coefficients depend on
        the distance alone, f = F V0², h = T0, so that eta ~ T0/T (d V0)²: see `transport`.
    flow : {"rest", "shear", "taylor_green", "forced_taylor_green"}
        "shear": v_x = shear_rate y under Lees-Edwards images. "taylor_green": a vortex in x and y that decays;
        forced: by a body force that holds it at `flow_speed` if the viscosity is the nominal one.
    shear_rate : float
        dv_x/dy [1/s], for flow = "shear".
    flow_speed : float
        Amplitude of v_x [µm/s], for the Taylor-Green flows.
    hold_energy : bool
        Take the heat of a driven flow out in every step by scaling all internal energies alike, so that the sum of
        internal and peculiar kinetic energy stays. Otherwise a driven gas heats up, as it should.
    noise : bool
        False: kB = 0 from the first frame on: neither noise nor kB div M.
    equilibration : int
        Stretches of Hamiltonian Monte Carlo before the start; each lets a particle fly about its own diameter.
    threads : int
        Threads; the result does not depend on it.

    Raises
    ------
    ConfigError
        For arguments out of range, and from `run` when a step fails.

    Notes
    -----
    A measured viscosity is not the nominal one. Pair friction under an affine flow carries exactly `kernel_sum` (0.83
    at the defaults, 0.95 at 55 neighbours) times the nominal stress, less a kB term of 1/(2 C) ("constant"; 1/C if
    "radial"). In a steady flow the particles do not move affinely, which takes away a few per cent more, and momentum
    is also carried by the particles themselves and by the pressure forces of the strained arrangement; what is
    measured is exactly the sum (`vid2dyn.analysis.stress_tensor`). It is the nominal value to 3 % for 64 neighbours in
    two dimensions and C = 15. At the defaults the particles are ordered like a liquid and the pressure of the strained
    arrangement carries more than friction does: 1.8 times the nominal value at 5/s, 1.5 times at 15/s (it thins). The
    benchmark script has the table. Pair friction across the line of centres does not conserve
    angular momentum, so the stress under uniform expansion is not zeta div v; zeta is what damps sound.

    Examples
    --------
    >>> gas = SDPD(n_particles=100, frames=3, box_length=0.6, equilibration=2)
    >>> tracks = gas.run(seed=0)
    >>> tracks.dim, tracks.velocities.shape, tracks.entropy.shape
    (3, (300, 3), (300,))
    >>> float(gas.temperature(0.0, gas.volume0)), round(float(gas.pressure(0.0, gas.volume0) * gas.volume0), 9)
    (1.0, 40.0)
    """

    # ------------------------------------------------------------------ what is known

    def kernel(self, r: Any) -> np.ndarray:
        """W(r) [1/µm^dim], (...)."""
        s = np.minimum(np.asarray(r, dtype=float) / self.cutoff, 1.0)
        return self.fluid.norm * (1 + 3 * s) * (1 - s) ** 3

    def kernel_slope(self, r: Any) -> np.ndarray:
        """dW/dr [1/µm^(dim + 1)], (...)."""
        s = np.minimum(np.asarray(r, dtype=float) / self.cutoff, 1.0)
        return -12.0 * self.fluid.norm / self.cutoff * s * (1 - s) ** 2

    def pressure(self, S: Any, V: Any) -> np.ndarray:
        """P = -dU/dV at fixed S [energy/µm^dim], (...)."""
        return self.atoms * self.temperature(S, V) / np.asarray(V, dtype=float)

    def pair_coefficients(self, r: Any, T_i: Any, T_j: Any, d_i: Any, d_j: Any) -> tuple[np.ndarray, ...]:
        """A², B², C² of one pair: K = A²/2 (I + e e) + (B² - A²)/dim e e and the conduction C², (...) each.

        In the convention dv = -(1/2m)(1/T_i + 1/T_j) K v_ij dt and T_i dS_i = (1/T_i - 1/T_j) C² dt. A² = 2 f h alpha
        and B² = f h [dim beta - (dim - 2) alpha], both >= 0.
        """
        fluid, f = self.fluid, -self.kernel_slope(r) / np.asarray(r, dtype=float)
        if fluid.constant:
            f, h, product = f / (d_i * d_j), 2.0 * T_i * T_j / (T_i + T_j), T_i * T_j
        else:
            f, h, product = f * self.volume0**2, self.kT, self.kT**2
        return (2 * f * h * fluid.alpha, f * h * (self.dim * fluid.beta - (self.dim - 2) * fluid.alpha),
                2 * self.conductivity * f * product)

    def transport(self, T: Any, d: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Shear viscosity, bulk viscosity and conductivity of the continuum at temperature T and density d; (...)."""
        cold = 1.0 if self.coefficients == "constant" else self.kT / np.asarray(T, dtype=float)
        dense = 1.0 if self.coefficients == "constant" else (np.asarray(d, dtype=float) * self.volume0) ** 2
        shape = np.ones(np.broadcast_shapes(np.shape(T), np.shape(d)))
        return (self.shear_viscosity * cold * dense * shape, self.bulk_viscosity * cold * dense * shape,
                self.conductivity * cold**2 * dense * shape)

    @property
    def collision_rate(self) -> float:
        """Friction of one particle in a continuum at rest, over its mass [1/s]: sum_j (alpha + beta/dim) F/(d² m)."""
        # the integral of F over space is 10 norm-free cutoff^-2: 10 in two dimensions, 10.5 in three
        per_volume = {2: 10.0, 3: 10.5}[self.dim] / self.cutoff**2
        return (self.fluid.alpha + self.fluid.beta / self.dim) * per_volume * self.volume0 / self.mass

    def densities(self, positions: np.ndarray, strain: float = 0.0) -> np.ndarray:
        """d_i = sum_j W(r_ij) + W(0) of one configuration (N, dim) [µm], (N,) [1/µm^dim]."""
        return densities_at(np.asarray(positions, dtype=float), self, strain)

    def kernel_sum(self, positions: np.ndarray, strain: float = 0.0) -> float:
        """What the discrete sum makes of the viscosities: dissipative over nominal viscosity of a configuration.

        Under v_i = shear_rate y_i the pair friction carries the stress shear_rate/volume times the sum over pairs of
        (alpha y² + beta x² y²/r²) f; averaged over directions this is eta times

            (2/(dim volume)) sum_{i<j} r² F(r)/(d_i d_j),

        1 where the sum is an integral. The same number multiplies zeta and kappa.
        """
        return kernel_sum_at(np.asarray(positions, dtype=float), self, strain)

    @property
    def box(self) -> Box:
        """Space the particles live in, at frame 0."""
        lengths = (self.box_length,) * self.dim
        return LeesEdwards(lengths, self.shear_rate) if self.flow == "shear" else Periodic(lengths)

    @property
    def units(self) -> Units:
        """Calibration: one µm per pixel."""
        return Units(1.0, self.frames_per_second)

    @classmethod
    def of(cls, tracks: Trajectories) -> SDPD:
        """The gas that `tracks` came from, rebuilt from their truth.

        Raises
        ------
        DataError
            If they did not come from one.
        """
        table = dict(tracks.info.get("truth", {}).get("simulator", {}))
        if table.pop("kind", None) != "SDPD":
            raise DataError("These trajectories were not simulated by SDPD: info['truth']['simulator'] says "
                            f"{table or 'nothing'}.")
        return cls(**table)

    # ------------------------------------------------------------------ running it

    def run(self, seed: int = 0, progress: Progress = silent) -> Trajectories:
        """Simulate: `Trajectories` with velocities and entropies, positions never wrapped.

        `.info["truth"]` has the recipe (`SDPD.of` rebuilds the gas from it), the energy at rest, the heat taken out
        up to each frame, and the share of pair updates that Metropolis rejected.
        """
        start, dynamics = np.random.SeedSequence(seed).spawn(2)
        with threads(self.threads):
            x, v, s = equilibrium(self, np.random.default_rng(start), progress)
            frames = record(self, x, v + flow_at(x, self), s, dynamics.generate_state(1, np.uint64)[0], progress)
        truth = {"simulator": recipe(self), "seed": seed, "energy_at_rest": rest_energy(self), **frames.as_truth()}
        return Trajectories.from_dense(frames.position, self.units, velocity=frames.velocity, entropy=frames.entropy,
                                       box=self.box, info={"source": "simulated", "truth": truth})
