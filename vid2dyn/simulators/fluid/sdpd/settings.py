"""What an SDPD gas is made of: its constructor arguments, checked, and the numbers that follow from them at once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from vid2dyn.core.errors import ConfigError
from vid2dyn.simulators.base import Simulator
from vid2dyn.simulators.fluid.sdpd.cells import cell_counts
from vid2dyn.simulators.fluid.sdpd.physics import GasParameters

_POSITIVE = ("frames_per_second", "box_length", "cutoff", "mass", "kT", "heat_capacity")
_NOT_NEGATIVE = ("shear_viscosity", "bulk_viscosity", "conductivity", "flow_speed")
_WHOLE = ("n_particles", "frames", "substeps", "equilibration", "threads")
_COURANT = 0.1          # of a cutoff that sound may travel in one step


@dataclass(frozen=True)
class GasSettings(Simulator):
    """Arguments of the `SDPD` simulator, where they are explained; what starts, drives and records a run takes these.

    Raises
    ------
    ConfigError
        For an argument out of range or a combination that cannot be simulated.
    """

    n_particles: int = 500
    frames: int = 300
    frames_per_second: float = 2000.0
    substeps: int = 2
    dim: int = 3
    box_length: float = 1.0
    cutoff: float = 0.2
    mass: float = 0.5
    kT: float = 1.0
    heat_capacity: float = 60.0
    adiabatic_index: float = 5.0 / 3.0
    shear_viscosity: float = 50.0
    bulk_viscosity: float = 25.0
    conductivity: float = 1e4
    coefficients: Literal["constant", "radial"] = "constant"
    flow: Literal["rest", "shear", "taylor_green", "forced_taylor_green"] = "rest"
    shear_rate: float = 0.0
    flow_speed: float = 0.0
    hold_energy: bool = False
    noise: bool = True
    equilibration: int = 20
    threads: int = 1

    def __post_init__(self) -> None:
        _check_numbers(self)
        _check_flow(self)
        _check_space(self)

    @property
    def time_step(self) -> float:
        """[s]"""
        return 1.0 / (self.frames_per_second * self.substeps)

    @property
    def volume0(self) -> float:
        """V0, volume of the box per particle [µm^dim]."""
        return self.box_length**self.dim / self.n_particles

    @property
    def atoms(self) -> float:
        """Atoms in a particle: P V/T."""
        return (self.adiabatic_index - 1.0) * self.heat_capacity

    @property
    def sound_speed(self) -> float:
        """Adiabatic, at T0 [µm/s]."""
        return math.sqrt(self.adiabatic_index * self.atoms * self.kT / self.mass)

    @property
    def fluid(self) -> GasParameters:
        """The constants as the compiled kernels read them."""
        d, eta, zeta = self.dim, self.shear_viscosity, self.bulk_viscosity
        norm = 5.0 / (math.pi * self.cutoff**2) if d == 2 else 105.0 / (16.0 * math.pi * self.cutoff**3)
        return GasParameters(d, self.mass, self.cutoff, norm, self.heat_capacity, self.atoms, self.volume0,
                     self.heat_capacity * self.kT, eta * (d + 2) / d - zeta,
                     (d + 2) * (zeta + eta * (d - 2) / d), self.conductivity, self.coefficients == "constant",
                     self.kT, 1.0 / self.volume0, self.noise)

    def internal_energy(self, S: Any, V: Any) -> np.ndarray:
        """U(S, V), entropy [kB] and volume [µm^dim] of a particle; (...)."""
        return self.heat_capacity * self.temperature(S, V)

    def temperature(self, S: Any, V: Any) -> np.ndarray:
        """T = dU/dS at fixed V [energy], (...)."""
        volume = np.asarray(V, dtype=float) / self.volume0
        return self.kT * np.exp((np.asarray(S, dtype=float) - self.atoms * np.log(volume)) / self.heat_capacity)

    def entropy(self, U: Any, V: Any) -> np.ndarray:
        """S(U, V) [kB], the inverse of `internal_energy`; (...)."""
        share = np.asarray(U, dtype=float) / (self.heat_capacity * self.kT)
        return self.heat_capacity * np.log(share) + self.atoms * np.log(np.asarray(V, dtype=float) / self.volume0)


def _check_numbers(sim: GasSettings) -> None:
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


def _check_flow(sim: GasSettings) -> None:
    if sim.flow not in ("rest", "shear", "taylor_green", "forced_taylor_green"):
        raise ConfigError(f"SDPD(flow={sim.flow!r}): known are 'rest', 'shear', 'taylor_green', "
                          "'forced_taylor_green'.")
    if (sim.flow == "shear") != (sim.shear_rate != 0):
        raise ConfigError(f"SDPD(flow={sim.flow!r}, shear_rate={sim.shear_rate:g}): give both flow='shear' and a "
                          "shear rate in 1/s, or neither.")
    if sim.flow.endswith("taylor_green") != (sim.flow_speed > 0):
        raise ConfigError(f"SDPD(flow={sim.flow!r}, flow_speed={sim.flow_speed:g}): give both a Taylor-Green flow "
                          "and its speed in µm/s, or neither.")


def _check_space(sim: GasSettings) -> None:
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
