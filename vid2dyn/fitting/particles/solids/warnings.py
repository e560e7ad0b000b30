"""What is to be said of a fitted solid: quantity, value, unit, what it means, what to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vid2dyn.core.errors import DataError
from vid2dyn.dynamics.recipes.metriplectic import Metriplectic
from vid2dyn.dynamics.terms.bonds import Bonds
from vid2dyn.fitting.particles.solids.rounds import SolidFit
from vid2dyn.fitting.particles.solids.shooting import strain_components
from vid2dyn.model.solid import SolidModel
from vid2dyn.rollout.solids.moduli import NAMES

EXPLAINED = 0.1
"""Share of what is left that a strain of the reference frame must explain to be said."""
STRAINED = 2e-3
"""Strain of the reference frame below which it counts as undeformed."""
WRONG = 0.05
"""Error of unseen displacements, over the displacements, from which on it is said."""
VAGUE = 0.1
"""Relative half width of the 95 % band of a modulus from which on it is said."""


def warnings_of(model: SolidModel, fit: SolidFit, bonds: Bonds, recipe: Metriplectic,
                members: Sequence[dict[str, Any]]) -> list[str]:
    """Everything that a user should know before using the model."""
    found = [*_deformed_reference(fit, recipe, bonds.dim), *_negative(model, bonds)]
    error = float(members[0]["displacement_error"])
    if error > WRONG:
        found.append(f"Unseen motion is predicted to {100 * error:.0f} % of how far nodes move: the terms do not say "
                     "what this solid does. Look at the reference frame, give longer bonds (cutoff), or add "
                     "NodeVolume.")
    if len(members) > 1 and float(members[1]["displacement_error"]) < 0.8 * error:
        found.append(f"The deformation gradient predicts unseen motion better, to "
                     f"{100 * float(members[1]['displacement_error']):.2g} % against {100 * error:.2g} %: fit "
                     "energy=[vd.terms.DeformationEnergy(cutoff=...)] in place of springs.")
    if not fit.left_off and len(fit.decrements) >= recipe.iterations and fit.decrements[-1] > 10 * recipe.tolerance:
        found.append(f"The fit stopped after {len(fit.decrements)} rounds with about {fit.decrements[-1]:.2g} nats "
                     "still to be gained: raise iterations, or take fewer knots.")
    found += _vague(model)
    return found


def _deformed_reference(fit: SolidFit, recipe: Metriplectic, dim: int) -> list[str]:
    """A strain of the reference frame that explains a good part of what is left: of a frame at rest it explains as
    little as any number would, under a hundredth, of a sheet half way out a quarter and more."""
    if fit.strain_share < EXPLAINED or not (np.abs(fit.strain) > STRAINED).any():
        return []
    axes = "yxz"
    said = ", ".join(f"{100 * e:+.2g} ± {100 * s:.1g} % ({axes[a]}{axes[b]})"
                     for (a, b), e, s in zip(strain_components(dim), fit.strain, fit.strain_error))
    return [f"The reference frame is deformed: a strain of it of {said} would explain "
            f"{100 * fit.strain_share:.0f} % of what does not fit. Stiffness and moduli then mean little. Choose a "
            f"frame in which the solid is at rest (reference_frame, now {recipe.reference_frame!r}), or start the "
            "recording there."]


def _negative(model: SolidModel, bonds: Bonds) -> list[str]:
    """Stiffness below zero where there were bonds, and sure of it."""
    if not any(term.title() == "BondEnergy" for term in model.terms):
        return []
    lengths = np.quantile(bonds.length, np.linspace(0.0, 1.0, 64), method="nearest")
    value = model.bond_stiffness(lengths)
    _, high = model.band("bond_stiffness", lengths, level=1 - 6e-7)
    sure = high < 0
    if not sure.any():
        return []
    k = int(np.argmin(np.where(sure, value, np.inf)))
    return [f"The stiffness of bonds of {lengths[sure].min():.3g} to {lengths[sure].max():.3g} µm is negative, at "
            f"lowest {value[k]:.3g} ± {(high[k] - value[k]) / 5:.1g} energy/µm² at {lengths[k]:.3g} µm: such springs "
            "push apart what is stretched. It is what the motion says and was not clipped; a sheet that is under "
            "tension in its reference frame shows it, and energies that springs cannot have. Rollouts may break loose."]


def _vague(model: SolidModel) -> list[str]:
    """Moduli that the motion does not tell, for lack of inertia: only ratios of stiffness are then known."""
    found = []
    try:
        for name in NAMES[:2]:
            low, high = (float(edge) for edge in model.band(name))
            if high - low > VAGUE * abs(high + low):
                found.append(f"{name.replace('_', ' ')} {0.5 * (high + low):.3g} ± {0.5 * (high - low):.2g} energy/µm²")
    except DataError:
        return []
    if not found:
        return []
    return [f"The scale of forces is hardly seen ({'; '.join(found)}, 95 %): a slow drive shows ratios of stiffness "
            "alone. Drive it faster, or with turns in which nodes speed up."]
