"""Ranges and terms must earn their place: each is judged by the likelihood of motion that nobody learned from.

A range is tried shorter where the function that was learned has come down to nothing; the shorter one is kept unless
it predicts held-out motion worse by more than twice the error of the difference. Otherwise a longer one is tried, which
has to predict better by as much. A term is left out, the others are fitted again, and what that costs is what the term
adds.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from vid2dyn.dynamics.terms.base import Configuration, Energy, Friction, Scene, Term, pair_coefficients
from vid2dyn.dynamics.terms.pair_potential import PairPotential
from vid2dyn.fitting.particles.scoring import Learned
from vid2dyn.fitting.particles.window_likelihood import WindowSet
from vid2dyn.inference.window_score import Numbers, WindowModel
from vid2dyn.inference.windows import Terms

SMALL_ENERGY, SMALL_FRICTION = 0.01, 0.005
"""Below these, in kT and in parts of the largest value, a function has come down to nothing."""
KEPT = 1e-6
"""Change of the mean momentum, relative to the largest of a particle, below which data keep it."""
DEGENERATE = 1e-5
"""1 - (largest canonical correlation of two terms)² below which they cannot be told apart."""


@dataclass(frozen=True, eq=False)
class Judge:
    """Windows that nobody learns from."""

    windows: WindowSet

    def log_likelihoods(self, terms: Terms, numbers: Numbers) -> np.ndarray:
        """Per particle, of every window; the same random vectors for every model."""
        one = dataclasses.replace(self.windows, terms=terms, _kept={})
        return np.array([model.log_likelihood(rng, _frame(model)) / len(model.inverse_mass)
                         for _, model, rng in one.models(numbers)])

    def chi2(self, terms: Terms, numbers: Numbers) -> np.ndarray:
        """R·C⁻¹R over its expectation, of every window."""
        one = dataclasses.replace(self.windows, terms=terms, _kept={})
        found = []
        for _, model, _ in one.models(numbers):
            R = model.residual()
            found.append(float((model.covariance().solve(R, 1e-5) * R).sum()) / model.freedom)
        return np.array(found)


def _frame(model: WindowModel) -> Literal["whole", "relative"]:
    """In which models that keep the total momentum are compared with others: by whether the data keep it."""
    impulse = model.window.impulse
    return "relative" if float(np.abs(impulse.mean(axis=0)).max()) < KEPT * float(np.abs(impulse).max()) else "whole"


def gain(better: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Mean of the difference and its error from window to window.

    >>> gain(np.array([2.0, 2.0, 2.0]), np.array([1.0, 1.0, 1.0]))
    (1.0, 0.0)
    """
    difference = better - other
    error = float(np.std(difference, ddof=1) / math.sqrt(len(difference))) if len(difference) > 1 else math.inf
    return float(difference.mean()), error


LONGER = 1.2
"""What a range is multiplied by where a longer one is tried."""


def longer(term: Energy | Friction, theta: np.ndarray, scene: Scene) -> Term | None:
    """The term with a longer range, where the box has room for it: a given range may cut a force off."""
    reach = LONGER * term.reach
    if term.reach == 0 or (scene.box.lengths is not None and reach > 0.5 * min(scene.box.lengths)):
        return None
    return term.with_reach(round(reach, 4))


def shorter(term: Energy | Friction, theta: np.ndarray, scene: Scene) -> Term | None:
    """The term with the range in which its function is more than nothing, or None where that is most of it."""
    r = np.linspace(0.2, 1.0, 401) * term.reach
    if isinstance(term, PairPotential):
        kinds = len(term.kinds)
        size = np.max([np.abs(term.of_kind(theta, r, k)) for k in range(kinds)], axis=0) / scene.kT
        limit = SMALL_ENERGY
    elif isinstance(term, Friction) and term.reach > 0:
        size = _friction_size(term, theta, r)
        limit = SMALL_FRICTION * size.max()
    else:
        return None
    beyond = np.flatnonzero(size > limit)
    if not len(beyond):
        return None
    reach = 1.05 * float(r[beyond[-1]])
    if reach > 0.92 * term.reach:
        return None
    return term.with_reach(round(reach, 4))


def _friction_size(term: Friction, theta: np.ndarray, r: np.ndarray) -> np.ndarray:
    """Friction of single pairs of every kind at distances r, the largest of them."""
    kinds = max(1, len(getattr(term, "kinds", ((),))))
    size = np.zeros(len(r))
    for kind in range(kinds):
        pairs = np.arange(len(r))
        at = Configuration(np.zeros((2 * len(r), 1)), 2 * pairs, 2 * pairs + 1, np.ones((len(r), 1)), r,
                           np.full(len(r), kind), np.zeros(2 * len(r), np.int64), None, np.arange(2 * len(r)))  # type: ignore[arg-type]
        columns = term.pair_columns(at)
        if columns is not None:
            size = np.maximum(size, np.maximum(*pair_coefficients(columns, theta)))
    return size


def degenerate_terms(terms: Terms, learned: Learned) -> list[str]:
    """Pairs of terms whose parameters do not act differently on the motion, by the Fisher information."""
    found = []
    places = terms.slices()
    for a, (one, here) in enumerate(places):
        for other, there in places[a + 1:]:
            rho = _canonical(learned.at.information, here, there)
            if 1.0 - rho * rho < DEGENERATE:
                found.append(f"{one.title()} and {other.title()} cannot be told apart in these data: their canonical "
                             f"correlation is {rho:.6f}. What one adds the other can take away; only the sum along "
                             "that combination is known. Leave one of them out, or give them different ranges.")
    return found


def _canonical(information: np.ndarray, a: slice, b: slice) -> float:
    """Largest canonical correlation of two groups of parameters."""
    size = np.sqrt(np.maximum(np.diag(information), 0.0))
    size[size == 0] = 1.0
    info = information / size[:, None] / size

    def whitened(part: slice) -> np.ndarray:
        values, vectors = np.linalg.eigh(info[part, part])
        good = values > 1e-3 * max(values.max(), 1e-300)
        return vectors[:, good] / np.sqrt(values[good])

    one, other = whitened(a), whitened(b)
    if not one.size or not other.size:
        return 0.0
    return float(min(1.0, np.linalg.svd(one.T @ info[a, b] @ other, compute_uv=False)[0]))


def mapped(old: Sequence[Energy | Friction], theta: Sequence[np.ndarray], new: Term, place: int) -> np.ndarray:
    """Numbers of a term with another range that make about the same function."""
    before, numbers = old[place], theta[place]
    if type(before) is not type(new):
        return numbers
    if isinstance(new, PairPotential) and isinstance(before, PairPotential):
        out = []
        for k, spline in enumerate(new.splines()):
            r = np.linspace(max(spline.inner, 1e-3 * new.cutoff), new.cutoff, 200)
            basis = spline(r)[0]
            out.append(np.linalg.lstsq(basis, before.of_kind(numbers, r, k), rcond=1e-8)[0])
        return np.concatenate(out)
    splines = getattr(new, "splines", None)
    of_kind = getattr(before, "of_kind", None)
    if splines is None or of_kind is None:
        return numbers[:new.count] if len(numbers) >= new.count else np.resize(numbers, new.count)
    out = []
    for k, spline in enumerate(splines()):
        r = np.linspace(max(spline.inner, 1e-3 * new.reach), new.reach, 200)
        basis = spline(r)[0]
        for row in of_kind(numbers, r, k):
            out.append(np.maximum(np.linalg.lstsq(basis, row, rcond=1e-8)[0], 0.0))
    return np.concatenate(out)
