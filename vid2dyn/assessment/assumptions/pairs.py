"""Pair forces: nothing across the line of centres, nothing beyond the range, no coupling through the solvent."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from vid2dyn.assessment.base import AssumptionTest, Finding
from vid2dyn.assessment.quantities import Quantities, means
from vid2dyn.assessment.steps import Neighbours, Steps

SHELLS = 4
BUMPS = np.array([[1.0, 1.5]])
"""Between which distances, over the cutoff, a force is looked for."""


def _sums(near: Neighbours, steps: Steps, vectors: np.ndarray, shells: np.ndarray, count: int) -> np.ndarray:
    """(seen steps, dim, count) sum of the vectors of each step's neighbours in every shell."""
    place = np.full(len(steps), -1)
    place[near.seen] = np.arange(len(near.seen))
    out = np.zeros((count, steps.dim, len(near.seen)))
    for s in range(count):
        some = shells == s
        for a in range(steps.dim):
            out[s, a] = np.bincount(place[near.step[some]], vectors[some, a], len(near.seen))
    return out.transpose(2, 1, 0)


def shell_forces(steps: Steps, vectors: np.ndarray, edges: np.ndarray) -> Quantities | None:
    """Force [kT/µm] along `vectors` (pairs, dim) in the shells between `edges` that the residuals show."""
    near = steps.neighbours
    assert near is not None
    shells = np.searchsorted(edges, near.distance, side="right") - 1
    count = len(edges) - 1
    number = np.bincount(shells[(shells >= 0) & (shells < count)], minlength=count)
    if (number < 100).any():
        return None
    g = _sums(near, steps, vectors, shells, count)
    z = steps.white[near.seen]
    gram = np.einsum("nas,nat->st", g, g) / len(z)
    if np.linalg.cond(gram) > 1e8:
        return None
    solve = np.linalg.inv(gram)
    value = solve @ np.einsum("nas,na->s", g, z) / len(z)
    left = z - g @ value
    found = means(np.einsum("nas,na->ns", g, left), steps.cluster[near.seen])
    if found is None:
        return None
    return Quantities(value / steps.response, solve @ found.covariance @ solve / steps.response**2, found.pieces)


def _edges(steps: Steps, last: float) -> np.ndarray | None:
    """Edges of shells that hold about as many pairs each, up to `last`."""
    near = steps.neighbours
    if near is None:
        return None
    within = near.distance[near.distance < last]
    if len(within) < 200 * SHELLS:
        return None
    return np.append(np.quantile(within, np.arange(SHELLS) / SHELLS) * (1 - 1e-12), last)


class Central(AssumptionTest):
    """Forces across the line of centres, in shells of distance."""

    name = "transverse pair force"
    question = "pair forces act along the line of centres"
    unit = "kT/µm"
    margin = 0.05

    def measure(self, steps: Steps) -> Quantities | None:
        if steps.dim != 2 or steps.neighbours is None:
            return None
        edges = _edges(steps, min(steps.neighbours.reach, steps.cutoff or np.inf))
        if edges is None:
            return None
        e = steps.neighbours.direction
        return shell_forces(_without_circulation(steps), np.stack([-e[:, 1], e[:, 0]], axis=1), edges)

    def effect(self, found: Quantities, steps: Steps) -> float:
        return float(np.abs(found.value).max())

    def advice(self, found: Quantities, steps: Steps) -> str:
        return (f"Neighbours push each other sideways by up to {self.effect(found, steps):.2g} kT/µm: rotating or "
                "chiral particles, or a flow that they drive. Such forces have no potential; the pair potential "
                "describes the part along the line of centres alone, and the sample is not at equilibrium.")


def _without_circulation(steps: Steps) -> Steps:
    """The steps less what circulates around the centres of traps: a particle on the side of a neighbour, which is held
    in its own trap, goes past it sideways without being pushed by it."""
    if steps.offset is None:
        return steps
    around = np.stack([-steps.offset[:, 1], steps.offset[:, 0]], axis=1)
    size = float((around**2).sum())
    share = float((around * steps.white).sum()) / size if size else 0.0
    return replace(steps, white=steps.white - share * around)


class SameForces(AssumptionTest):
    """The learned forces, as motion shows them: the residuals along them.

    At equilibrium where particles are (equipartition) and how they move tell of the same forces. A sample that is
    driven, swims or relaxes keeps places that its forces alone would not give it.
    """

    name = "forces from motion"
    question = "particles move as the forces that their places tell"
    unit = "% of the force"
    margin = 8.0
    bias = 0.1

    def measure(self, steps: Steps) -> Quantities | None:
        expected = steps.response * steps.force
        size = (expected**2).sum(axis=1)
        if steps.cutoff is None or not steps.stationary or size.mean() <= 0:
            return None
        found = means((steps.white * expected).sum(axis=1), steps.cluster)
        return None if found is None else found.transformed(np.eye(1) / size.mean())

    def effect(self, found: Quantities, steps: Steps) -> float:
        return 100.0 * float(found.value[0])

    def advice(self, found: Quantities, steps: Steps) -> str:
        more = "more" if found.value[0] > 0 else "less"
        return (f"Particles move along the learned forces by {abs(self.effect(found, steps)):.0f} % {more} than forces "
                "of that strength make them: places and motion tell of different forces, as in samples that are "
                "active, driven or relaxing, with mixed sizes, or an external field. Fit with stationary = False and "
                "compare.")


class DiesOut(AssumptionTest):
    """The learned energy at 0.85 of the cutoff: a spline is made to vanish at its end, so force left is cut off."""

    name = "energy near the cutoff"
    question = "the pair potential has died out before the cutoff"
    unit = "kT"
    margin = 0.15

    def measure(self, steps: Steps) -> Quantities | None:
        if steps.cutoff is None or not steps.end_energy:
            return None
        values = np.array(steps.end_energy)
        return Quantities(values[:, 0], np.diag(values[:, 1] ** 2), 1000)

    def effect(self, found: Quantities, steps: Steps) -> float:
        return float(np.abs(found.value).max())

    def advice(self, found: Quantities, steps: Steps) -> str:
        return (f"The pair potential still falls by {self.effect(found, steps):.2g} kT over the last 15 % of cutoff = "
                f"{steps.cutoff:g} µm, at which it is set to zero: the forces reach farther, and all of the potential "
                "is too low by what is cut off, at least that much. Raise the cutoff, or let it be found: cutoff = "
                "\"auto\".")


class Range(AssumptionTest):
    """Forces along the line of centres beyond the cutoff, from motion and, at equilibrium, from places.

    Where the arrangement is at equilibrium, E[f · w(r) e + ∇·(w(r) e)] = 0 for any smooth weight w (integration by
    parts, as in score matching): the weight is a sin² bump, and what the sum lacks is the force that the model lacks.
    It says far more than motion does.
    """

    name = "force at the cutoff"
    question = "no force is left at the end of the range"
    unit = "kT/µm"
    margin = 0.06
    bias = 0.1

    def _edges(self, steps: Steps) -> np.ndarray | None:
        if steps.neighbours is None:
            return None
        if steps.cutoff is None:
            return _edges(steps, steps.neighbours.reach)
        edges = steps.cutoff * np.array([1.0, 1.2, 1.5])
        edges = edges[edges <= 1.001 * steps.neighbours.reach]
        return edges if len(edges) > 1 else None

    def measure(self, steps: Steps) -> Quantities | None:
        edges = self._edges(steps)
        if edges is None or steps.neighbours is None:
            return None
        if steps.cutoff is not None and steps.stationary:
            return _bump_forces(steps, steps.cutoff * BUMPS)
        return shell_forces(steps, steps.neighbours.direction, edges)

    def judge(self, steps: Steps, control: Steps | None) -> Finding | None:
        """Where no pair force was fitted, also how large one may be that does not show."""
        finding = super().judge(steps, control)
        if finding is None or steps.cutoff is not None or steps.neighbours is None:
            return finding
        found, edges = self.measure(steps), self._edges(steps)
        assert found is not None
        assert edges is not None
        return replace(finding, question="neighbours do not push or pull each other",
                       hidden=float((np.abs(found.value) + 2 * found.stderr).max()), within=float(edges[-1]))

    def effect(self, found: Quantities, steps: Steps) -> float:
        return float(np.abs(found.value).max())

    def advice(self, found: Quantities, steps: Steps) -> str:
        if steps.cutoff is None:
            return (f"Neighbours push or pull each other by up to {self.effect(found, steps):.2g} kT/µm: the particles "
                    "interact (or some are found as two), and D is that of interacting particles. Fit their forces: "
                    "vd.Brownian(cutoff=...) with the range in µm, or look at what report[\"range\"] says.")
        return (f"Beyond cutoff = {steps.cutoff:g} µm neighbours still push or pull by up to "
                f"{self.effect(found, steps):.2g} kT/µm: the range is too short, and the potential, which is zero at "
                "its end, is off by what is missing. Raise the cutoff, or let it be found: cutoff = \"auto\".")


def _bump_forces(steps: Steps, ranges: np.ndarray) -> Quantities | None:
    """Mean forces [kT/µm] between pairs of distances that the learned forces lack, from where particles are."""
    near = steps.neighbours
    assert near is not None
    columns, values = [], []
    for low, high in ranges[ranges[:, 0] < near.reach]:
        high = min(high, near.reach)
        some = (near.distance > low) & (near.distance < high)
        if some.sum() < 500:
            continue
        r, e, row = near.distance[some], near.direction[some], near.step[some]
        phase = np.pi * (r - low) / (high - low)
        w, slope = np.sin(phase) ** 2, np.pi / (high - low) * np.sin(2 * phase)
        number, dim = len(steps), steps.dim
        g = np.stack([np.bincount(row, w * e[:, a], number) for a in range(dim)], axis=1)[near.seen]
        divergence = np.bincount(row, slope + (dim - 1) * w / r, number)[near.seen]
        size = (g**2).sum(axis=1)
        lacks = -divergence - (g * steps.force[near.seen]).sum(axis=1)
        values.append(lacks.sum() / size.sum())
        columns.append((lacks - values[-1] * size) / size.mean())
    if not columns:
        return None
    found = means(np.stack(columns, axis=1), steps.index[near.seen])
    return None if found is None else Quantities(np.array(values), found.covariance, found.pieces)


class Uncoupled(AssumptionTest):
    """Residuals of two neighbours are uncorrelated: the solvent does not carry the motion of one to the other.

    Rotne and Prager (1969): particles of radius a at distance r share 3a/(2r) of their motion along the line of centres
    and 3a/(4r) across it, to leading order.
    """

    name = "hydrodynamic coupling"
    question = "neighbours diffuse independently"
    unit = "% of D"
    margin = 2.0
    bias = 0.03

    def measure(self, steps: Steps) -> Quantities | None:
        near = steps.neighbours
        if near is None or steps.dim < 2:
            return None
        edges = _edges(steps, near.reach)
        if edges is None:
            return None
        pair = (near.other > near.step) & (near.distance < edges[-1])
        i, j, e = near.step[pair], near.other[pair], near.direction[pair]
        if len(i) < 400:
            return None
        zi, zj = steps.white[i], steps.white[j]
        along = (zi * e).sum(axis=1) * (zj * e).sum(axis=1)
        across = ((zi * zj).sum(axis=1) - along) / (steps.dim - 1)
        # the common motion was taken out of every frame, where there are ten steps or more
        number = np.bincount(steps.frame - steps.frame.min())[steps.frame[i] - steps.frame.min()]
        taken = 1 / number if np.median(number) >= 10 else 0.0
        shell = np.searchsorted(edges, near.distance[pair], side="right") - 1
        scores = np.zeros((len(i), 2 * SHELLS))
        scores[np.arange(len(i)), np.minimum(shell, SHELLS - 1)] = along + taken
        scores[np.arange(len(i)), SHELLS + np.minimum(shell, SHELLS - 1)] = across + taken
        frames = np.unique(steps.frame[i], return_inverse=True)[1]
        found = means(scores, frames)
        if found is None:
            return None
        share = np.bincount(np.minimum(shell, SHELLS - 1), minlength=SHELLS) / len(i)
        if (share <= 0).any():
            return None
        size = np.concatenate([share, share]) * float((steps.white**2).mean())
        return Quantities(found.value / size, found.covariance / np.outer(size, size), found.pieces)

    def effect(self, found: Quantities, steps: Steps) -> float:
        return 100.0 * float(np.abs(found.value).max())

    def advice(self, found: Quantities, steps: Steps) -> str:
        near = float(found.value[0])
        right = "D stays" if steps.cutoff is None else "potentials stay"
        return (f"Neighbours move together: residuals of the nearest pairs are correlated by {near:+.2f} along the "
                "line of centres, as the solvent couples them (or a flow carries both, or two detections are one "
                f"particle). The model takes them for independent: {right} right, but "
                "collective motion and error bars of D do not.")
