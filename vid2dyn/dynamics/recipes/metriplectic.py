"""What a user writes to have a metriplectic fluid learned: `vd.Metriplectic(cutoff=...)`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import numpy as np

from vid2dyn.core.errors import ConfigError
from vid2dyn.dynamics.recipes.base import Recipe
from vid2dyn.dynamics.terms.base import BondTerm, Energy, Friction, Term
from vid2dyn.dynamics.terms.conduction import Conduction
from vid2dyn.dynamics.terms.density_energy import DensityEnergy
from vid2dyn.dynamics.terms.equation_of_state import EquationOfState
from vid2dyn.dynamics.terms.pair_friction import PairFriction

MEMBERS = ("isothermal", "unconstrained", "deformation")


class FluidTerms(NamedTuple):
    """Terms of a fluid whose particles have heat of their own."""

    state: EquationOfState
    friction: PairFriction
    conduction: Conduction | None
    further: tuple[Energy, ...]
    """Energies beside the equation of state."""


@dataclass(frozen=True)
class Metriplectic(Recipe):
    """Particles with inertia: energies and frictions as a list of terms, or a fluid with heat of its own.

    ``Metriplectic(energy=[vd.terms.PairPotential(cutoff=4.75)], friction=[vd.terms.PairFriction(cutoff=4.75)],
    mass=11.0, entropy=False)`` states a model of one temperature term by term; without ``entropy=False`` heat that the
    particles carry is looked for. ``Metriplectic(cutoff=0.2)`` is short for the fluid whose entropy is inferred, never
    given: an equation of state, shear and bulk friction, conduction.

    With terms on bonds, ``energy=[vd.terms.BondEnergy(cutoff=0.15)], friction=[vd.terms.BondDashpot(cutoff=0.15)]``,
    the particles are nodes of a solid, which has a reference frame; nodes of its driven edges are named in the column
    "held" of the table (`vid2dyn.fitting.particles.solids`).

    Equations and symbols of the fluid: `vid2dyn.dynamics.fluid.sdpd`; what is learned of them:
    `vid2dyn.dynamics.terms.gas` (equation of state), radial splines of A² and B² (shear and bulk friction), one
    amplitude of C² (conduction). The kernel of the density is Lucy's of this cutoff: it says what V and P mean. Units:
    µm, s, and energies mass · µm²/s²; kB = 1.

    Parameters
    ----------
    cutoff : float, optional
        Range of all functions of the distance of a pair of the fluid [µm]. At most half the box; a range that holds 15
        to 60 neighbours is a good choice. Leave it out where terms are listed: each has a range of its own.
    mass : float or tuple of float
        Mass of a particle; one for each species (in the order of their names) where these differ. It sets the unit of
        energy, mass · µm²/s², which velocities alone do not tell.
    energy : sequence of energy terms
        Terms of the energy, such as PairPotential (`vd.terms`).
    friction : sequence of friction terms
        Terms of friction, such as PairFriction (`vd.terms`).
    entropy : bool
        Whether particles may carry heat of their own. With EquationOfState they are a fluid: its other terms are
        PairFriction, Conduction if heat is conducted, and further energies that do not touch heat. Other lists are
        learned at one temperature first; then heat is looked for in their motion (`vid2dyn.inference.hidden_heat`),
        and the report says whether these data tell of it. Conduction says how far it flows, else as far as friction
        reaches. False: one temperature for all.
    species : str, optional
        Column of the table that names the species of every particle. None: all are alike.
    stationary : bool
        Whether the recording is at equilibrium, so that velocities tell the temperature as well as friction and noise
        do. Switch it off for samples that are driven or relax. (Listed terms.)
    window_frames : int, optional
        Frames of the windows that are learned from. None: as many as it takes to see all of the friction; of a fluid
        single frames, unless its noise remembers.
    select : bool
        Whether ranges become shorter and terms are left out where that predicts as well. (Listed terms.)
    reference_frame : int or (int, int)
        Frame in which a solid is at rest, counted from the first of the recording; its bonds have their own lengths
        there. Or the first and the last of several frames in which it rests: positions are averaged, which takes
        out noise, and the motion starts from there if the first frame is one of them. (Terms on bonds.)
    law : {"transport", "radial"}
        How friction and conduction depend on the state. "transport": A², B², C² are multiplied by V_i V_j and
        temperature, so that viscosities and conductivity do not depend on the state. "radial": they are functions of
        the distance alone, as in dissipative particle dynamics.
    knots : int
        Number of intervals of the splines of shear and bulk friction. More of them resolve finer structure and need
        more data.
    bend : bool
        Whether the heat capacity may change with temperature. If not, it is one number.
    cold : bool
        Whether the pressure has a part that does not depend on temperature, beside that of a gas.
    conduction : bool
        Whether heat is conducted between particles. If not, the conductivity is zero.
    start : {"even", "local"}
        Temperatures at the first frame. "even": the same for all particles. "local": as the random motion about the
        local flow shows them, weighed against its own error. Choose "local" only if the flow is smooth over a cutoff.
    window : int
        Number of steps at the start of a trajectory from which its mean temperature there is found.
    held_out : float
        Share of a single trajectory, its last part, that evaluates the fit before it is used. Of several trajectories
        the last one does.
    compare : tuple of {"isothermal", "unconstrained", "deformation"}
        Models that are fitted beside it for comparison. Of a fluid: one at one temperature, and a network without the
        structure; without "isothermal" the report does not say whether entropy is identifiable. Of a solid: one whose
        energy is that of the deformation gradient (DeformationEnergy) in place of springs.
    iterations : int
        Largest number of iterations of the fit (Fisher scoring).
    tolerance : float
        The fit ends when less than this is left to be gained in log-likelihood [nats].
    checkpoint : str or None
        File that keeps the state after every iteration. A fit that was stopped goes on from it to the same result.

    Examples
    --------
    >>> Metriplectic(cutoff=2.5).summary
    'metriplectic fluid, pairs up to 2.5 µm, viscosities independent of the state'
    """

    estimator: ClassVar[str] = "vid2dyn.fitting.particles.fit:fit_metriplectic"
    model: ClassVar[str] = "vid2dyn.model.metriplectic:MetriplecticModel"
    assessor: ClassVar[str] = "vid2dyn.fitting.particles.assessed:assess_particles"
    needs_velocities: ClassVar[bool] = True
    shown_first: ClassVar[tuple[str, ...]] = ("cutoff", "mass", "energy", "friction", "entropy", "law")

    cutoff: float | None = None
    mass: float | tuple[float, ...] = 1.0
    energy: tuple[Energy, ...] = ()
    friction: tuple[Friction, ...] = ()
    entropy: bool = True
    species: str | None = None
    stationary: bool = True
    window_frames: int | None = None
    select: bool = True
    reference_frame: int | tuple[int, int] = 0
    law: Literal["transport", "radial"] = "transport"
    knots: int = 4
    bend: bool = True
    cold: bool = True
    conduction: bool = True
    start: Literal["even", "local"] = "even"
    window: int = 32
    held_out: float = 0.2
    compare: tuple[Literal["isothermal", "unconstrained", "deformation"], ...] = MEMBERS  # type: ignore[assignment]
    iterations: int = 30
    tolerance: float = 0.1
    checkpoint: str | None = None

    def __post_init__(self) -> None:
        for name in ("energy", "friction"):
            value = getattr(self, name)
            object.__setattr__(self, name, tuple(value) if isinstance(value, Sequence) else (value,))
        if not isinstance(self.mass, int | float):
            object.__setattr__(self, "mass", tuple(float(m) for m in self.mass))
        if not isinstance(self.reference_frame, int):
            object.__setattr__(self, "reference_frame", tuple(self.reference_frame))
        for name in ("cutoff", "mass", "tolerance"):
            value = getattr(self, name)
            if value is not None and not (np.size(value) and np.isfinite(value).all() and np.min(value) > 0):
                raise ConfigError(f"Metriplectic: {name} = {value!r} must be a positive number.")
        self._check_terms()
        if self.law not in ("transport", "radial"):
            raise ConfigError(f"Metriplectic: law = {self.law!r}; choose 'transport' or 'radial'.")
        if self.start not in ("even", "local"):
            raise ConfigError(f"Metriplectic: start = {self.start!r}; choose 'even' or 'local'.")
        if self.knots < 2:
            raise ConfigError(f"Metriplectic: knots = {self.knots}; use at least 2.")
        if self.window < 4:
            raise ConfigError(f"Metriplectic: window = {self.window} steps; use at least 4.")
        if not 0.05 <= self.held_out <= 0.5:
            raise ConfigError(f"Metriplectic: held_out = {self.held_out!r}; give a part between 0.05 and 0.5.")
        if self.iterations < 1:
            raise ConfigError(f"Metriplectic: iterations = {self.iterations}; use at least 1.")
        object.__setattr__(self, "compare", tuple(self.compare))
        for member in self.compare:
            if member not in MEMBERS:
                raise ConfigError(f"Metriplectic: compare = {member!r}; choose from {', '.join(MEMBERS)}.")

    def _check_terms(self) -> None:
        for name, base in (("energy", Energy), ("friction", Friction)):
            for term in getattr(self, name):
                if not isinstance(term, base):
                    raise ConfigError(f"Metriplectic: {name} holds {term!r}; give terms such as "
                                      f"vd.terms.{'PairPotential' if base is Energy else 'PairFriction'}(cutoff=2.0).")
        if not self.terms:
            if self.cutoff is None:
                raise ConfigError("Metriplectic: give the cutoff of a fluid, or terms: "
                                  "energy=[vd.terms.PairPotential(cutoff=2.0)], "
                                  "friction=[vd.terms.PairFriction(cutoff=2.0)].")
            if not self.entropy or self.species is not None:
                raise ConfigError("Metriplectic: a fluid by its cutoff carries entropy and has one species; for "
                                  "entropy=False or species list its terms (energy=[...], friction=[...]).")
            if not isinstance(self.mass, int | float):
                raise ConfigError("Metriplectic: a fluid by its cutoff has one mass.")
            return
        if self.cutoff is not None:
            raise ConfigError("Metriplectic: cutoff belongs to the short form; listed terms have a range each. "
                              "Leave it out, or list no terms.")
        if not self.friction:
            raise ConfigError("Metriplectic: friction is empty: without friction there is no noise to learn from. Give "
                              "friction=[vd.terms.PairFriction(cutoff=2.0)].")
        if self.is_solid:
            self._check_solid()
        elif self.is_fluid:
            self._check_fluid()
        elif self.entropy:
            self._check_heat()
        else:
            for term in self.terms:
                if term.needs_entropy:
                    raise ConfigError(f"Metriplectic: {term.title()} belongs to particles with heat of their own, and "
                                      "entropy=False is one temperature for all. Give entropy=True with "
                                      "EquationOfState, PairFriction and Conduction; or leave it out.")
        if self.window_frames is not None and self.window_frames < 1:
            raise ConfigError(f"Metriplectic: window_frames = {self.window_frames}; give at least 1 frame.")

    @property
    def is_solid(self) -> bool:
        """Whether terms act on the bonds of a reference frame."""
        return any(isinstance(term, BondTerm) for term in self.terms)

    def _check_solid(self) -> None:
        """Stops at a list that is not one of a solid."""
        strange = [t.title() for t in self.terms if not isinstance(t, BondTerm)]
        if strange:
            bonds = ", ".join(t.title() for t in self.terms if isinstance(t, BondTerm))
            raise ConfigError(f"Metriplectic: {', '.join(strange)} acts on particles that flow, and {bonds} on the "
                              "bonds of a solid; they cannot be learned together. For a solid list BondEnergy, "
                              "NodeVolume or DeformationEnergy, and BondDashpot.")
        if not self.energy:
            raise ConfigError("Metriplectic: a solid without energy falls apart; give "
                              "energy=[vd.terms.BondEnergy(cutoff=...)].")
        names = [t.title() for t in self.terms]
        if len(set(names)) < len(names):
            raise ConfigError(f"Metriplectic: {', '.join(names)}: a solid has each term once.")
        if self.species is not None or not isinstance(self.mass, int | float):
            raise ConfigError("Metriplectic: a solid has one species of nodes and one mass.")
        frame = self.reference_frame
        frames = (frame, frame) if isinstance(frame, int) else tuple(frame)
        if len(frames) != 2 or not all(isinstance(f, int) for f in frames) or not 0 <= frames[0] <= frames[1]:
            raise ConfigError(f"Metriplectic: reference_frame = {self.reference_frame!r}; give one frame, or the first "
                              "and the last of several, counted from 0.")

    @property
    def is_fluid(self) -> bool:
        """Whether it is the fluid with an equation of state, listed or by its cutoff."""
        return self.entropy and (not self.terms or any(t.needs_entropy and not isinstance(t, Conduction)
                                                       for t in self.terms))

    def _check_heat(self) -> None:
        """Stops at a list that cannot carry heat."""
        if not any(t.reach > 0 and not isinstance(t, Conduction) for t in self.friction):
            raise ConfigError("Metriplectic: heat of the particles (entropy=True) shows in the noise of pair friction, "
                              "and the list has none. Give friction=[vd.terms.PairFriction(cutoff=2.0)], or "
                              "entropy=False.")

    def _check_fluid(self) -> None:
        """Stops at a list with entropy that the estimator of the fluid cannot learn."""
        energies, frictions = [t.title() for t in self.energy], sorted(t.title() for t in self.friction)
        can = ("With entropy=True it can be learned from energy=[EquationOfState(cutoff)] with further energies beside "
               "it, and friction=[PairFriction(cutoff), Conduction(cutoff)] (Conduction may be left out) of one "
               "species, one mass and one cutoff; without further energies this is what Metriplectic(cutoff=...) is "
               "short for. ")
        states = [t for t in self.energy if isinstance(t, EquationOfState)]
        strange = [t for t in self.energy if t.needs_entropy and not isinstance(t, EquationOfState)]
        if len(states) != 1 or strange or frictions not in (["PairFriction"], ["Conduction", "PairFriction"]):
            raise ConfigError(f"Metriplectic: {', '.join([*energies, *frictions])} cannot be learned with heat of the "
                              f"particles. {can}For these terms at one temperature give entropy=False"
                              + (" and leave out " + " and ".join(t.title() for t in self.terms if t.needs_entropy)
                                 if any(t.needs_entropy for t in self.terms) else "") + ".")
        # a density energy is a part of U(S, V), so it has to mean the same volume
        joined = (*states, *self.friction, *(t for t in self.energy if isinstance(t, DensityEnergy)))
        ranges = {term.reach for term in joined}
        if len(ranges) > 1 or self.species is not None or not isinstance(self.mass, int | float):
            several = ", ".join(f"{c:g}" for c in sorted(ranges))
            raise ConfigError(f"Metriplectic: terms with heat have cutoffs {several} µm, species = "
                              f"{self.species!r} and mass = {self.mass!r}. {can}".rstrip())

    @property
    def short_form(self) -> Metriplectic:
        """The same recipe as a fluid by its cutoff, where the list is one; else itself."""
        if not (self.is_fluid and self.terms):
            return self
        state, friction, _, further = self.fluid
        if state.form != "gas" or further:
            return self
        return dataclasses.replace(
            self, cutoff=state.cutoff, energy=(), friction=(), bend=state.bend, cold=state.cold, law=friction.law,
            knots=friction.knots, conduction=any(isinstance(t, Conduction) for t in self.friction))

    @property
    def fluid(self) -> FluidTerms:
        """The terms of a recipe with entropy by what they are."""
        energy, friction = self.as_terms
        return FluidTerms(next(t for t in energy if isinstance(t, EquationOfState)),
                          next(t for t in friction if isinstance(t, PairFriction)),
                          next((t for t in friction if isinstance(t, Conduction)), None),
                          tuple(t for t in energy if not isinstance(t, EquationOfState)))

    @property
    def as_terms(self) -> tuple[tuple[Energy, ...], tuple[Friction, ...]]:
        """Energies and frictions; of a fluid by its cutoff those that it is short for.

        >>> energy, friction = Metriplectic(cutoff=2.5).as_terms
        >>> Metriplectic(energy=energy, friction=friction).short_form == Metriplectic(cutoff=2.5)
        True
        """
        if self.terms:
            return self.energy, self.friction
        cutoff = self.fluid_cutoff
        frictions: tuple[Friction, ...] = (PairFriction(cutoff, knots=self.knots, law=self.law),)
        if self.conduction:
            frictions = (*frictions, Conduction(cutoff))
        return (EquationOfState(cutoff, bend=self.bend, cold=self.cold),), frictions

    @property
    def fluid_cutoff(self) -> float:
        """The cutoff of the equation of state."""
        return self.cutoff if self.cutoff is not None else self.fluid.state.cutoff

    @property
    def fluid_mass(self) -> float:
        """The mass of all particles."""
        assert isinstance(self.mass, int | float)
        return float(self.mass)

    @property
    def mass_of_node(self) -> float:
        """The mass of all nodes of a solid."""
        return self.fluid_mass

    @property
    def terms(self) -> tuple[Term, ...]:
        """The listed terms, energies first; empty for the short form of a fluid."""
        return (*self.energy, *self.friction)

    @property
    def memory_modes(self) -> int:
        """Most memory times that are tried: those of a term that acts with a delay, else one, for the correction."""
        return max((int(getattr(term, "modes", 1)) for term in self.friction if term.temporal), default=1)

    def settled_as(self, energy: Sequence[Energy], friction: Sequence[Friction]) -> Metriplectic:
        """The same recipe with other terms."""
        return dataclasses.replace(self, energy=tuple(energy), friction=tuple(friction))

    @property
    def summary(self) -> str:
        if self.is_solid:
            return f"solid, {', '.join(term.title() for term in self.terms)}"
        if self.terms:
            return f"inertial particles, {', '.join(term.title() for term in self.terms)}"
        law = "viscosities independent of the state" if self.law == "transport" else "friction by distance alone"
        return f"metriplectic fluid, pairs up to {self.cutoff:g} µm, {law}"
