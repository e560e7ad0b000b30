"""D is the same everywhere; no force depends on the place but those that were fitted; nothing circulates."""

from __future__ import annotations

import itertools

import numpy as np

from vid2dyn.assessment.base import AssumptionTest
from vid2dyn.assessment.quantities import Quantities, means, regression
from vid2dyn.assessment.steps import Steps


def scaled_positions(steps: Steps) -> np.ndarray:
    """(m, dim) positions that run over about -1 to 1."""
    low, high = np.quantile(steps.position, [0.01, 0.99], axis=0)
    return np.clip(2 * (steps.position - low) / np.maximum(high - low, 1e-12) - 1, -1.5, 1.5)


def mobility_functions(x: np.ndarray) -> np.ndarray:
    """(m, k) functions of place that a D may follow: slopes, curvatures and saddles, of mean zero."""
    columns = [x[:, a] for a in range(x.shape[1])] + [x[:, a] ** 2 for a in range(x.shape[1])]
    columns += [x[:, a] * x[:, b] for a, b in itertools.combinations(range(x.shape[1]), 2)]
    found = np.stack(columns, axis=1)
    return found - found.mean(axis=0)


class SameEverywhere(AssumptionTest):
    """Mean squares of the residuals against place."""

    name = "D against place"
    question = "D is the same everywhere"
    unit = "% of D"
    margin = 3.0
    bias = 0.02

    def measure(self, steps: Steps) -> Quantities | None:
        square = (steps.white**2).mean(axis=1)
        return regression(square / square.mean() - 1, mobility_functions(scaled_positions(steps)), steps.cluster)

    def effect(self, found: Quantities, steps: Steps) -> float:
        spread = mobility_functions(scaled_positions(steps)) @ found.value
        return 100.0 * float(spread.std())

    def advice(self, found: Quantities, steps: Steps) -> str:
        return (f"D varies over the field of view by {self.effect(found, steps):.0f} % (standard deviation): a wall, a "
                "gradient of temperature or concentration, focus or illumination that changes the localisation error. "
                "One D is a mean over places. Fit parts of the view, or a mobility that depends on a column "
                "(vd.Brownian(structure=...)).")


class NoField(AssumptionTest):
    """Mean residual against place: forces and flows that the model lacks.

    Each axis of the residual is regressed on linear, quadratic and cubic functions of the place; the common motion of
    all particles is taken out of the steps, so a constant force does not show.
    """

    name = "force against place"
    question = "no external field or flow is left"
    unit = "kT/µm"

    def measure(self, steps: Steps) -> Quantities | None:
        if steps.offset is not None or len(np.unique(steps.particle)) < 2:
            return None
        x = scaled_positions(steps)
        found = _vector_regression(steps, _field_functions(x))
        return None if found is None else found.transformed(np.eye(len(found.value)) / steps.response)

    def effect(self, found: Quantities, steps: Steps) -> float:
        functions = _field_functions(scaled_positions(steps))
        along = functions @ found.value.reshape(steps.dim, -1).T
        return float(np.sqrt((along**2).sum(axis=1).mean()))

    def advice(self, found: Quantities, steps: Steps) -> str:
        speed = self.effect(found, steps) * steps.diffusion
        return (f"Particles are driven by {self.effect(found, steps):.2g} kT/µm ({speed:.2g} µm/s) that depends on "
                "where they are: gravity with a wall, an optical or electric field, shear or another flow (or, where "
                "neighbours move together, chance that they share). Pair potentials from positions (stationary = True) "
                "take it for an interaction. Take the flow out, or fit a part of the view in which the field hardly "
                "changes.")


def _field_functions(x: np.ndarray) -> np.ndarray:
    """(m, k): x, y, x², y², x³, y³, xy, without their means."""
    columns = [x[:, a] ** power for power in (1, 2, 3) for a in range(x.shape[1])]
    columns += [x[:, a] * x[:, b] for a, b in itertools.combinations(range(x.shape[1]), 2)]
    found = np.stack(columns, axis=1)
    return found - found.mean(axis=0)


def _vector_regression(steps: Steps, functions: np.ndarray) -> Quantities | None:
    """Coefficients of every axis of the residuals on the functions: (dim × k,), axis by axis."""
    gram = functions.T @ functions / len(functions)
    if np.linalg.cond(gram) > 1e10:
        return None
    solve = np.linalg.inv(gram)
    z = steps.white
    coefficients = solve @ (functions.T @ z) / len(z)
    left = z - functions @ coefficients
    scores = np.concatenate([functions * left[:, [a]] for a in range(steps.dim)], axis=1)
    found = means(scores, steps.cluster)
    if found is None:
        return None
    both = np.kron(np.eye(steps.dim), solve)
    return Quantities(coefficients.T.ravel(), both @ found.covariance @ both.T, found.pieces)


class HarmonicTraps(AssumptionTest):
    """Mean residual against the place in the trap: Hermite polynomials that a spring does not have."""

    name = "shape of the trap"
    question = "traps are harmonic"
    unit = "kT/µm"

    def measure(self, steps: Steps) -> Quantities | None:
        if steps.offset is None:
            return None
        u = steps.offset / steps.offset.std()
        columns = [(steps.white * (u**3 - 3 * u)).sum(axis=1), *(steps.white * (u**2 - 1)).T]
        found = means(np.stack(columns, axis=1), steps.cluster)
        if found is None:
            return None
        size = np.array([6.0 * steps.dim, *[2.0] * steps.dim]) * steps.response
        return Quantities(found.value / size, found.covariance / np.outer(size, size), found.pieces)

    def effect(self, found: Quantities, steps: Steps) -> float:
        return float(np.sqrt((found.value**2 * np.array([6.0 * steps.dim, *[2.0] * steps.dim])).sum()))

    def advice(self, found: Quantities, steps: Steps) -> str:
        return (f"The force in the trap is not that of a spring by {self.effect(found, steps):.2g} kT/µm: a double "
                "well, hard walls or a trap that opens at its edge. Stiffness and D are those of the best spring and "
                "are off. Film where the particle stays near the middle, or with less power.")


class NoCirculation(AssumptionTest):
    """Antisymmetric correlation of place and residual: what a gradient of an energy cannot do.

    A force ω ẑ × u beside -k u drives a steady rotation; it produces the entropy D ω² <u²> per particle [kT/s], which
    is a lower bound where other currents flow too.
    """

    name = "circulation"
    question = "nothing circulates in the traps"
    unit = "kT/s"

    def measure(self, steps: Steps) -> Quantities | None:
        if steps.offset is None or steps.dim < 2:
            return None
        u, z = steps.offset, steps.white
        columns = [z[:, a] * u[:, b] - z[:, b] * u[:, a] for a, b in itertools.combinations(range(steps.dim), 2)]
        size = np.array([(u[:, a] ** 2 + u[:, b] ** 2).mean() for a, b in itertools.combinations(range(steps.dim), 2)])
        found = means(np.stack(columns, axis=1), steps.cluster)
        if found is None:
            return None
        size = size * steps.response
        return Quantities(found.value / size, found.covariance / np.outer(size, size), found.pieces)

    def effect(self, found: Quantities, steps: Steps) -> float:
        assert steps.offset is not None
        square = float((found.value**2).sum() - np.trace(found.covariance))
        return steps.diffusion * max(square, 0.0) * float((steps.offset**2).mean()) * 2

    def advice(self, found: Quantities, steps: Steps) -> str:
        rate = steps.diffusion * float(np.abs(found.value).max()) / (2 * np.pi)
        return (f"Particles circulate ({rate:.2g} turns/s) and produce at least {self.effect(found, steps):.2g} kT/s "
                "of entropy each: the trap does work (scattering force, a flow, an asymmetric beam) and no energy "
                "describes it. The stiffness is that of the symmetric part alone.")
