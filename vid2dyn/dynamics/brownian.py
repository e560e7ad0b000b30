"""Brownian colloids, the everyday case: positions only, solvent friction, kT known.

    dx_i = D F_i dt + sqrt(2 D) dW_i,     F_i = -∇_i [ sum_pairs phi(r_ij) + trap ] / kT

Video of Brownian particles has no usable velocity (its variance is 2D/dt + 2σ²/dt², not kT/m), so the model
is overdamped. `vd.Brownian` is what a user writes; `brownian_dynamics` makes potentials and friction matrix of it.
"""

from __future__ import annotations

from vid2dyn.dynamics.base import Overdamped, Potential
from vid2dyn.dynamics.terms.friction import SolventMobility, StructuredMobility
from vid2dyn.dynamics.terms.potentials import HarmonicTrap, PairPotential


def brownian_dynamics(diffusion: float | StructuredMobility, pair: PairPotential | None = None,
             trap: HarmonicTrap | None = None) -> Overdamped:
    """The dynamics of Brownian colloids on the root-first base.

    Parameters
    ----------
    diffusion : float or StructuredMobility
        [µm²/s]; or as a function of a structural variable.
    pair, trap : potentials or None
        [kT].
    """
    potentials: tuple[Potential, ...] = tuple(p for p in (pair, trap) if p is not None)
    friction = diffusion if isinstance(diffusion, StructuredMobility) else SolventMobility(diffusion)
    return Overdamped(potentials, friction)
