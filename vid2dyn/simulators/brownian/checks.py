"""Arguments of the Brownian simulator, checked once, at the door."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from vid2dyn.core.errors import ConfigError
from vid2dyn.simulators.brownian.equilibrate import lattice
from vid2dyn.simulators.brownian.pair_base import AnalyticPairPotential

_POSITIVE = ("frames_per_second", "diffusion", "micrometre_per_pixel", "box_length", "hydrodynamic_radius",
             "substeps")
_NOT_NEGATIVE = ("trap_stiffness", "equilibration", "exposure", "localisation_error", "localisation_scatter")
_MOST_ENERGY = 20.0  # kT between neighbours on the starting lattice


def check_ranges(arguments: Mapping[str, Any]) -> None:
    """Raise `ConfigError` for an argument of `Brownian` that is out of range on its own."""
    for key in ("n_particles", "frames"):
        if arguments[key] < 1 or arguments[key] != int(arguments[key]):
            raise ConfigError(f"Brownian({key}={arguments[key]!r}): give a whole number, 1 or more.")
    if arguments["dim"] not in (1, 2, 3):
        raise ConfigError(f"Brownian(dim={arguments['dim']!r}): space has 1, 2 or 3 dimensions here.")
    for key in _POSITIVE:
        value = arguments[key]
        if value is not None and not (math.isfinite(value) and value > 0):
            raise ConfigError(f"Brownian({key}={value!r}): it must be a positive number.")
    for key in _NOT_NEGATIVE:
        value = arguments[key]
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise ConfigError(f"Brownian({key}={value!r}): it must be zero or positive.")
    if not 0 <= arguments["gap_probability"] < 1:
        raise ConfigError(f"Brownian(gap_probability={arguments['gap_probability']!r}): give 0 <= p < 1.")
    exposure, rate = arguments["exposure"], arguments["frames_per_second"]
    if exposure * rate > 1 + 1e-9:
        raise ConfigError(f"Brownian(exposure={exposure:g}): the shutter cannot be open longer than one "
                          f"frame, 1/frames_per_second = {1 / rate:g} s.")


def check_trap(trap: str, stiffness: float, box_length: float | None) -> None:
    """Raise `ConfigError` for an unknown kind of trap, or one that does not keep particles inside the box.

    Parameters
    ----------
    trap : str
        "none", "shared" or "each".
    stiffness : float
        Stiffness of the traps [kT/µm²].
    box_length : float or None
        Edge of the periodic box [µm]; None for unbounded space.
    """
    if trap not in ("none", "shared", "each"):
        raise ConfigError(f"Brownian(trap={trap!r}): known are 'none', 'shared', 'each'.")
    if (trap == "none") != (stiffness == 0):
        raise ConfigError(f"Brownian(trap={trap!r}, trap_stiffness={stiffness:g}): give both a "
                          "kind of trap and a positive stiffness in kT/µm², or neither.")
    if trap == "shared" and box_length and stiffness * box_length**2 < 160:
        raise ConfigError(f"Brownian(trap='shared'): a stiffness of {stiffness:g} kT/µm² does not keep "
                          f"particles from the edge of a box of {box_length:g} µm; "
                          "give box_length=None (inf in TOML).")


def check_space(n_particles: int, dim: int, box_length: float | None, pair: AnalyticPairPotential | None,
                hydrodynamic_radius: float | None) -> None:
    """Raise `ConfigError` where the box does not fit the pair potential, the coupling or the number of particles.

    Parameters
    ----------
    n_particles, dim : int
        Number of particles and dimensions of space.
    box_length : float or None
        Edge of the periodic box [µm]; None for unbounded space.
    pair : AnalyticPairPotential or None
        Interaction of the particles.
    hydrodynamic_radius : float or None
        Radius in the Rotne-Prager coupling [µm]; None for no coupling.
    """
    if hydrodynamic_radius is not None and (box_length is not None or dim == 1):
        raise ConfigError("Brownian(hydrodynamic_radius=...): the Rotne-Prager coupling here is that of unbounded "
                          "space in 2 or 3 dimensions; give box_length=None (inf in TOML).")
    if pair is None or box_length is None:
        return
    if box_length < 2 * pair.reach:
        raise ConfigError(f"Brownian(box_length={box_length:g}): the box is shorter than twice the cutoff of "
                          f"the pair potential ({pair.reach:g} µm), so a particle would meet another twice. "
                          f"Give box_length >= {2 * pair.reach:.4g} or a shorter cutoff.")
    spacing = lattice(n_particles, dim, box_length)[1]
    contact = float(pair.energy(max(spacing, pair.core)))
    if contact > _MOST_ENERGY:
        raise ConfigError(f"Brownian(n_particles={n_particles}, box_length={box_length:g}): too dense to "
                          f"place: neighbours at the mean spacing of {spacing:.3g} µm repel with {contact:.3g} kT "
                          f"(limit {_MOST_ENERGY:g}). Take a longer box or fewer particles.")
