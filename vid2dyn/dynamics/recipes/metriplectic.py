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
        Range of all functions of the distance of a pair [µm]. At most half the box; a range that holds 15 to 60
        neighbours is a good choice.
    mass : float
        Mass of a particle. It sets the unit of energy, mass · µm²/s², which velocities alone do not tell.
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
    compare : tuple of {"isothermal", "unconstrained"}
        Models that are fitted beside it for comparison: a fluid at one temperature, and a network without the
        structure. Without "isothermal" the report does not say whether entropy is identifiable.
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
    needs_velocities: ClassVar[bool] = True
    shown_first: ClassVar[tuple[str, ...]] = ("cutoff", "mass", "law")

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
