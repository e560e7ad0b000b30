"""What a user writes to have Brownian colloids learned: `vd.Brownian(cutoff=...)`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from vid2dyn.core.errors import ConfigError
from vid2dyn.dynamics.recipes.base import Recipe
from vid2dyn.dynamics.terms.base import Energy, Friction
from vid2dyn.dynamics.terms.harmonic_trap import HarmonicTrap
from vid2dyn.dynamics.terms.pair_potential import PairPotential
from vid2dyn.dynamics.terms.substrate_friction import SubstrateFriction


def species_name(value: Any) -> str:
    """A value of the species column as the name of a species: 1, 1.0 and "1" are the same one.

    >>> species_name("A"), species_name(2.0), species_name(np.int64(1)), species_name(True)
    ('A', '2', '1', 'True')
    """
    if isinstance(value, bool | np.bool_):
        return str(bool(value))
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value)


@dataclass(frozen=True)
class Brownian(Recipe):
    """Overdamped colloids in a solvent.

    Parameters
    ----------
    cutoff : float, "auto" or None
        Range of the pair force [µm]. "auto": the shortest range that predicts motion that was set aside as well as any
        longer one, within the error; it takes several times as long. None: particles do not interact.
    knots : int
        Number of splines of which the pair potential is made. Its smoothness is chosen from the data, so more of them
        cost only time.
    trap : {"none", "shared", "each"}
        Harmonic trap: none, one for all particles, or one for every particle at its own centre.
    stationary : bool or "auto"
        Whether the recording is at equilibrium, so that where particles are tells of the forces as much as how they
        move. False, for samples that relax or are driven: forces come from motion alone. "auto": a test of how the
        surroundings of the particles change over time decides, and a warning says so where they do.
    localisation : {"learned", "table"}
        Errors of the positions. "learned": the standard errors in the table are right up to one common factor, which
        is learned with D. "table": they are right as they stand; choose it when frames are so far apart that noise and
        diffusion look alike.
    structure : str or None
        A column of the table that sets the mobility, D = D(column): its name, or "latent" for the one of latent_0,
        latent_1, ... (`vd.encode`) that explains the motion best. With pair forces (`cutoff`) it sets their strength,
        too: particles are put into classes of the column, each with its D, each pair with its potential. None: one D
        for all.
    structure_delay : int
        How many detections before a step its value of that column is read. With 2 the picture shares neither motion
        blur nor camera noise with the step that it predicts. Give 0 for a column that does not come from pictures.
    species : str or None
        A column of the table that names the species of each particle, the same for all of its life. Each pair of
        species has its own potential, each species its own D. None: all particles are alike.

    Examples
    --------
    >>> Brownian(cutoff=3.0).summary
    'Brownian particles, pair force up to 3 µm'
    >>> Brownian(cutoff=3.0, species="species").summary
    'Brownian particles, pair force up to 3 µm, for every pair of species'
    """

    estimator: ClassVar[str] = "vid2dyn.fitting.brownian.fit:fit_brownian"
    model: ClassVar[str] = "vid2dyn.model.brownian:BrownianModel"
    assessor: ClassVar[str] = "vid2dyn.fitting.brownian.assessed:assess_brownian"
    shown_first: ClassVar[tuple[str, ...]] = ("cutoff", "trap", "stationary")

    cutoff: float | Literal["auto"] | None = None
    knots: int = 24
    trap: Literal["none", "shared", "each"] = "none"
    stationary: bool | Literal["auto"] = "auto"
    localisation: Literal["learned", "table"] = "learned"
    structure: str | None = None
    structure_delay: int = 2
    species: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.cutoff, str):
            if self.cutoff != "auto":
                raise ConfigError(f"Brownian: cutoff = {self.cutoff!r}; give a length in µm, or 'auto'.")
        elif self.cutoff is not None and not (np.isfinite(self.cutoff) and self.cutoff > 0):
            raise ConfigError(f"Brownian: cutoff = {self.cutoff!r} must be a positive length in µm, or left out.")
        if self.knots < 6:
            raise ConfigError(f"Brownian: knots = {self.knots}; use at least 6.")
        if self.trap not in ("none", "shared", "each"):
            raise ConfigError(f"Brownian: trap = {self.trap!r}; choose 'none', 'shared' or 'each'.")
        if not isinstance(self.stationary, bool | np.bool_) and self.stationary != "auto":
            raise ConfigError(f"Brownian: stationary = {self.stationary!r}; give true, false or 'auto'.")
        if self.localisation not in ("learned", "table"):
            raise ConfigError(f"Brownian: localisation = {self.localisation!r}; choose 'learned' or 'table'.")
        if self.structure_delay < 0:
            raise ConfigError(f"Brownian: structure_delay = {self.structure_delay}; give 0 or more detections.")
        if self.structure is not None and self.trap != "none":
            raise ConfigError("Brownian: structure sets the mobility of particles without traps; leave out trap.")
        if self.species is not None and (self.structure is not None or self.trap != "none"):
            raise ConfigError("Brownian: species have pair forces and a D each; leave out structure and trap.")

    @property
    def as_terms(self) -> tuple[tuple[Energy, ...], tuple[Friction, ...]]:
        """Energies and frictions that this is short for, to be read: overdamped motion has an estimator of its own.

        Leaves out what is no term: a range that is to be found, a trap for each particle, a mobility by a column.

        >>> [term.title() for part in Brownian(cutoff=3.0, trap="shared").as_terms for term in part]
        ['PairPotential', 'HarmonicTrap', 'SubstrateFriction']
        """
        energies: list[Energy] = []
        if self.cutoff is not None and not isinstance(self.cutoff, str):
            energies.append(PairPotential(self.cutoff, knots=self.knots))
        if self.trap == "shared":
            energies.append(HarmonicTrap())
        return tuple(energies), (SubstrateFriction(),)

    @property
    def summary(self) -> str:
        parts = ["Brownian particles"]
        if self.cutoff is not None:
            parts.append("pair force of a range to be found" if isinstance(self.cutoff, str) else
                         f"pair force up to {self.cutoff:g} µm")
        if self.trap != "none":
            parts.append("one harmonic trap" if self.trap == "shared" else "a harmonic trap each")
        if self.structure is not None:
            parts.append(f"mobility {'and forces ' if self.cutoff is not None else ''}set by {self.structure}")
        if self.species is not None:
            parts.append("for every pair of species" if self.cutoff is not None else "one D for each species")
        return ", ".join(parts)
