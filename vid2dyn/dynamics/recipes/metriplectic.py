"""What a user writes to have a metriplectic fluid learned: `vd.Metriplectic(cutoff=...)`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from vid2dyn.core.errors import ConfigError
from vid2dyn.dynamics.recipes.base import Recipe

MEMBERS = ("isothermal", "unconstrained")


@dataclass(frozen=True)
class Metriplectic(Recipe):
    """Particles with inertia, friction, noise and heat of their own; entropy is inferred, never given.

    Equations and symbols: `vid2dyn.dynamics.fluid.sdpd`; what is learned of them: `vid2dyn.dynamics.terms.gas`
    (equation of state), radial splines of A² and B² (shear and bulk friction), one amplitude of C² (conduction). The
    kernel of the density is Lucy's of this cutoff: it says what V and P mean. Units: µm, s, and energies mass ·
    µm²/s²; kB = 1.

    Parameters
    ----------
    cutoff : float
        Range of all pair functions [µm], at most half the box; 15 to 60 neighbours are a good choice.
    mass : float
        Of a particle. It sets the unit of energy, as velocities alone do not.
    law : {"transport", "radial"}
        "transport": A², B², C² times V_i V_j and temperature, so that viscosities do not depend on the state.
        "radial": functions of distance alone, as in dissipative particle dynamics.
    knots : int
        Resolution of the radial functions.
    bend, cold, conduction : bool
        Learn a heat capacity that changes with temperature; a cold part of the pressure; conduction.
    start : {"even", "local"}
        Temperature at the first frame: even, or as the random motion about the local flow shows it, weighed against
        its own error. Choose "local" only if the flow is smooth over a cutoff.
    window : int
        First steps of a trajectory that tell its mean temperature at the start.
    held_out : float
        Last part of a single trajectory that judges the fit before it is used; of several, the last one does.
    compare : tuple of {"isothermal", "unconstrained"}
        Members fitted beside it. Without "isothermal" nothing is said of whether entropy is identifiable.
    iterations, tolerance : int, float
        Scoring ends after so many, or when less than this is left to be gained [nats].
    checkpoint : str or None
        File that holds every finished iteration; a killed fit goes on from it, to the same bits.

    Examples
    --------
    >>> Metriplectic(cutoff=2.5).summary
    'metriplectic fluid, pairs up to 2.5 µm, viscosities independent of the state'
    """

    estimator: ClassVar[str] = "vid2dyn.fitting.particles.fit:fit_metriplectic"
    model: ClassVar[str] = "vid2dyn.model.metriplectic:MetriplecticModel"

    cutoff: float
    mass: float = 1.0
    law: Literal["transport", "radial"] = "transport"
    knots: int = 4
    bend: bool = True
    cold: bool = True
    conduction: bool = True
    start: Literal["even", "local"] = "even"
    window: int = 32
    held_out: float = 0.2
    compare: tuple[Literal["isothermal", "unconstrained"], ...] = MEMBERS  # type: ignore[assignment]
    iterations: int = 30
    tolerance: float = 0.1
    checkpoint: str | None = None

    def __post_init__(self) -> None:
        for name in ("cutoff", "mass", "tolerance"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value > 0):
                raise ConfigError(f"Metriplectic: {name} = {value!r} must be a positive number.")
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

    @property
    def summary(self) -> str:
        law = "viscosities independent of the state" if self.law == "transport" else "friction by distance alone"
        return f"metriplectic fluid, pairs up to {self.cutoff:g} µm, {law}"
