"""What a user writes to have Brownian colloids learned: `vd.Brownian(cutoff=...)`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from vid2dyn.core.errors import ConfigError
from vid2dyn.dynamics.recipes.base import Recipe
from vid2dyn.dynamics.terms.base import Energy, Friction
from vid2dyn.dynamics.terms.harmonic_trap import HarmonicTrap
from vid2dyn.dynamics.terms.pair_friction import PairFriction
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
        Range of the pair force [µm]. "auto": where neighbours are seen to push or pull each other, the shortest range
        that predicts motion that was set aside as well as any longer one, within the error, which takes several times
        as long as a fit of a given range; else none, as with `structure` and traps for each. None (in files "none"):
        particles do not interact.
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
    packed : bool
        Whether particles are packed, so that the forces on one nearly cancel: pair forces are then learned from the
        motion in the cages, beside an unknown static force on every particle in every window of time. Plain fits of
        packings make all forces too small, and warn.
    window : int or None
        Frames of such a window, in which the sheet is deformed by less than the cages move; None: a tenth of the
        recording, from 10 to 60 frames.
    labels : {"given", "balanced", "found"}
        Species of packed particles: as the column says; corrected so that mean forces cancel; or two species found by
        the balance of forces, without a column.
    diffusion : float or None
        D of a particle in its cage [µm²/s], where frames are too far apart to show it; None: from the motion.
    pair_friction : float or None
        Range of the friction between particles [µm], often the distance at which the first shell of neighbours ends.
        Friction against the fluid and between particles are then learned from how collective motion relaxes; needs
        `held`. None: friction is against the fluid alone, kT/D.
    held : str or None
        A column of the table that is True for particles moved by hand (an edge that is driven): neighbours, whose own
        motion says nothing.
    flow : {"none", "affine", "profile"}
        What a rollout's friction is against: a fluid at rest; one that moves with the driven edge, linearly to the
        other one; or one with the mean motion of the recording it starts from, layer by layer.

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

    cutoff: float | Literal["auto"] | None = "auto"
    knots: int = 24
    trap: Literal["none", "shared", "each"] = "none"
    stationary: bool | Literal["auto"] = "auto"
    localisation: Literal["learned", "table"] = "learned"
    structure: str | None = None
    structure_delay: int = 2
    species: str | None = None
    packed: bool = False
    window: int | None = None
    labels: Literal["given", "balanced", "found"] = "given"
    diffusion: float | None = None
    pair_friction: float | None = None
    held: str | None = None
    flow: Literal["none", "affine", "profile"] = "none"

    def __post_init__(self) -> None:
        if isinstance(self.cutoff, str):
            if self.cutoff != "auto":
                raise ConfigError(f"Brownian: cutoff = {self.cutoff!r}; give a length in µm, or 'auto'.")
        elif self.cutoff is not None and not (np.isfinite(self.cutoff) and self.cutoff > 0):
            raise ConfigError(f"Brownian: cutoff = {self.cutoff!r} must be a positive length in µm, 'auto' or None.")
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
        self._check_packing()

    def _check_packing(self) -> None:
        for key, known in (("labels", ("given", "balanced", "found")), ("flow", ("none", "affine", "profile"))):
            if getattr(self, key) not in known:
                raise ConfigError(f"Brownian: {key} = {getattr(self, key)!r}; choose one of {', '.join(known)}.")
        if not self.packed:
            for key, default in (("window", None), ("labels", "given"), ("diffusion", None), ("held", None),
                                 ("flow", "none"), ("pair_friction", None)):
                if getattr(self, key) != default:
                    raise ConfigError(f"Brownian: {key} belongs to packed particles; add packed = True.")
            return
        if self.cutoff is None or isinstance(self.cutoff, str):
            raise ConfigError("Brownian: packed particles need the range of their force, cutoff = ... in µm.")
        if self.trap != "none" or self.structure is not None:
            raise ConfigError("Brownian: packed particles have pair forces alone; leave out trap and structure.")
        if self.window is not None and self.window < 4:
            raise ConfigError(f"Brownian: window = {self.window}; give 4 frames or more.")
        if self.diffusion is not None and not (np.isfinite(self.diffusion) and self.diffusion > 0):
            raise ConfigError(f"Brownian: diffusion = {self.diffusion!r}; give a positive number in µm²/s.")
        if self.pair_friction is not None:
            if not (np.isfinite(self.pair_friction) and 0 < self.pair_friction <= self.cutoff):
                raise ConfigError(f"Brownian: pair_friction = {self.pair_friction!r}; give the range of the friction "
                                  f"between particles, up to the cutoff of the forces, {self.cutoff:g} µm.")
            if self.held is None:
                raise ConfigError("Brownian: pair_friction is learned and rolled out beside particles that are moved "
                                  "by hand; name their column, held = ...")
        if self.labels == "balanced" and self.species is None:
            raise ConfigError("Brownian: labels = 'balanced' corrects a column; name it with species = ..., or give "
                              "labels = 'found'.")
        if self.labels == "found" and self.species is not None:
            raise ConfigError("Brownian: labels = 'found' needs no column; leave out species.")

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
        if self.pair_friction is not None:
            return tuple(energies), (SubstrateFriction(), PairFriction(self.pair_friction))
        return tuple(energies), (SubstrateFriction(),)

    @property
    def summary(self) -> str:
        parts = ["Brownian particles"]
        asked = self.structure is None and self.trap != "each"              # where it is not, "auto" is no pair force
        if self.cutoff is not None and (asked or not isinstance(self.cutoff, str)):
            parts.append("pair force if one shows" if isinstance(self.cutoff, str) else
                         f"pair force up to {self.cutoff:g} µm")
        if self.trap != "none":
            parts.append("one harmonic trap" if self.trap == "shared" else "a harmonic trap each")
        if self.structure is not None:
            parts.append(f"mobility {'and forces ' if isinstance(self.cutoff, float | int) else ''}set by "
                         f"{self.structure}")
        if self.species is not None:
            parts.append("for every pair of species" if self.cutoff is not None else "one D for each species")
        if self.packed:
            parts.append("packed" if self.labels == "given" else f"packed, labels {self.labels}")
        if self.pair_friction is not None:
            parts.append(f"friction of pairs up to {self.pair_friction:g} µm")
        return ", ".join(parts)
