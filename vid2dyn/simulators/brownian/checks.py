"""Arguments of the Brownian simulator, checked once, at the door."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from vid2dyn.core.errors import ConfigError
from vid2dyn.simulators.brownian.equilibrate import lattice

if TYPE_CHECKING:
    from vid2dyn.simulators.brownian.simulator import Brownian

_POSITIVE = ("frames_per_second", "diffusion", "micrometre_per_pixel", "box_length", "hydrodynamic_radius",
             "substeps")
_NOT_NEGATIVE = ("trap_stiffness", "equilibration", "exposure", "localisation_error", "localisation_scatter")
_MOST_ENERGY = 20.0  # kT between neighbours on the starting lattice


def check_brownian(sim: Brownian) -> None:
    """Raise `ConfigError` for an argument out of range or a combination that cannot be simulated."""
    _check_ranges(sim)
    _check_trap(sim)
    _check_space(sim)


def _check_ranges(sim: Brownian) -> None:
    for key in ("n_particles", "frames"):
        if getattr(sim, key) < 1 or getattr(sim, key) != int(getattr(sim, key)):
            raise ConfigError(f"Brownian({key}={getattr(sim, key)!r}): give a whole number, 1 or more.")
    if sim.dim not in (1, 2, 3):
        raise ConfigError(f"Brownian(dim={sim.dim!r}): space has 1, 2 or 3 dimensions here.")
    for key in _POSITIVE:
        value = getattr(sim, key)
        if value is not None and not (math.isfinite(value) and value > 0):
            raise ConfigError(f"Brownian({key}={value!r}): it must be a positive number.")
    for key in _NOT_NEGATIVE:
        value = getattr(sim, key)
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise ConfigError(f"Brownian({key}={value!r}): it must be zero or positive.")
    if not 0 <= sim.gap_probability < 1:
        raise ConfigError(f"Brownian(gap_probability={sim.gap_probability!r}): give 0 <= p < 1.")
    if sim.exposure * sim.frames_per_second > 1 + 1e-9:
        raise ConfigError(f"Brownian(exposure={sim.exposure:g}): the shutter cannot be open longer than one "
                          f"frame, 1/frames_per_second = {1 / sim.frames_per_second:g} s.")


def _check_trap(sim: Brownian) -> None:
    if sim.trap not in ("none", "shared", "each"):
        raise ConfigError(f"Brownian(trap={sim.trap!r}): known are 'none', 'shared', 'each'.")
    if (sim.trap == "none") != (sim.trap_stiffness == 0):
        raise ConfigError(f"Brownian(trap={sim.trap!r}, trap_stiffness={sim.trap_stiffness:g}): give both a "
                          "kind of trap and a positive stiffness in kT/µm², or neither.")
    if sim.trap == "shared" and sim.box_length and sim.trap_stiffness * sim.box_length**2 < 160:
        raise ConfigError(f"Brownian(trap='shared'): a stiffness of {sim.trap_stiffness:g} kT/µm² does not keep "
                          f"particles from the edge of a box of {sim.box_length:g} µm; "
                          "give box_length=None (inf in TOML).")


def _check_space(sim: Brownian) -> None:
    if sim.hydrodynamic_radius is not None and (sim.box_length is not None or sim.dim == 1):
        raise ConfigError("Brownian(hydrodynamic_radius=...): the Rotne-Prager coupling here is that of unbounded "
                          "space in 2 or 3 dimensions; give box_length=None (inf in TOML).")
    if sim.pair is None or sim.box_length is None:
        return
    if sim.box_length < 2 * sim.pair.reach:
        raise ConfigError(f"Brownian(box_length={sim.box_length:g}): the box is shorter than twice the cutoff of "
                          f"the pair potential ({sim.pair.reach:g} µm), so a particle would meet another twice. "
                          f"Give box_length >= {2 * sim.pair.reach:.4g} or a shorter cutoff.")
    spacing = lattice(sim.n_particles, sim.dim, sim.box_length)[1]
    contact = float(sim.pair.energy(max(spacing, sim.pair.core)))
    if contact > _MOST_ENERGY:
        raise ConfigError(f"Brownian(n_particles={sim.n_particles}, box_length={sim.box_length:g}): too dense to "
                          f"place: neighbours at the mean spacing of {spacing:.3g} µm repel with {contact:.3g} kT "
                          f"(limit {_MOST_ENERGY:g}). Take a longer box or fewer particles.")
