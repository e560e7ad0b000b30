"""Ranges and terms must earn their place: each is judged by the likelihood of motion that nobody learned from.

A range is tried shorter where the function that was learned has come down to nothing; the shorter one is kept unless
it predicts held-out motion worse by more than twice the error of the difference. Otherwise a longer one is tried, which
has to predict better by as much. A term is left out, the others are fitted again, and what that costs is what the term
adds; those that add nothing are left out.

The routine is `selected`. What a likelihood has to say is in its `Candidate`: how terms are fitted again, which may go,
which range is worth a try, and how much a term has to add.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, Self, TypeVar

import numpy as np

from vid2dyn.dynamics.terms.base import Configuration, Energy, Friction, Scene, Term, pair_coefficients
from vid2dyn.dynamics.terms.pair_potential import PairPotential

SMALL_ENERGY, SMALL_FRICTION = 0.01, 0.005
"""Below these, in kT and in parts of the largest value, a function has come down to nothing."""
LONGER = 1.2
"""What a range is multiplied by where a longer one is tried."""
WITHOUT = 8
"""Most iterations of a fit without one of the terms: one that is missed leaves covariances that take long to settle,
and is missed by far more than that."""
DEGENERATE = 1e-5
"""1 - (largest canonical correlation of two terms)² below which they cannot be told apart."""


class Candidate(ABC):
    """Terms with numbers that were learned, which can be learned again with others in their place."""

    seconds: float
    """Time that one held-out likelihood is about."""
    blocks: int | None = None
    """Of held-out likelihoods that are taken for independent; None: each is."""

    @property
    @abstractmethod
    def terms(self) -> tuple[Energy | Friction, ...]:
        """Energies first."""

    @abstractmethod
    def held_out(self) -> np.ndarray:
        """Log-likelihood of a particle in windows of motion that nobody learned from, (windows,)."""

    @abstractmethod
    def fitted(self, what: str, terms: Sequence[Energy | Friction | None], iterations: int | None = None) -> Self:
        """Learned again, from the numbers of this one, with these terms, None where one is left out."""

    @abstractmethod
    def without(self, places: Sequence[int]) -> Self:
        """What is left when terms are left out for good."""

    @abstractmethod
    def resized(self, place: int, what: Literal["shorter", "longer"]) -> Term | None:
        """A term with another range that is worth a try."""

    @abstractmethod
    def may_go(self, place: int) -> bool:
        """Whether the others make a model without this term."""

    def has_to_add(self, place: int, error: float) -> float:
        """Held-out likelihood beyond which a term stays; error: of what it adds."""
        return 2 * error


C = TypeVar("C", bound=Candidate)


@dataclass(frozen=True, eq=False)
class Selection(Generic[C]):
    """What is left; entries of the report; what is to be said."""

    left: C
    ranges: list[dict[str, Any]] = field(default_factory=list)
    terms: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def selected(candidate: C) -> Selection[C]:
    """Terms with the ranges that they earn, without those that add nothing."""
    ranges, entries, said = [], [], []
    ours, seconds = candidate.held_out(), candidate.seconds
    ways: tuple[Literal["shorter"], Literal["longer"]] = ("shorter", "longer")
    for what in ways:
        old = candidate.terms
        new = [candidate.resized(place, what) or term for place, term in enumerate(old)]
        changed = [(a, b) for a, b in zip(old, new, strict=True) if a.reach != b.reach]
        if not changed:
            continue
        other = candidate.fitted(f"{what} ranges", new)                                         # type: ignore[arg-type]
        theirs = other.held_out()
        adds, error = gain(theirs, ours, candidate.blocks)
        # a shorter range has to be as good, a longer one better
        kept = adds > (-2 * error if what == "shorter" else 2 * error)
        ranges += [{"term": b.title(), "from": a.reach, "to": b.reach, "adds": adds / seconds,
                    "stderr": error / seconds, "kept": bool(kept)} for a, b in changed]
        if kept:
            candidate, ours = other, theirs
            break
    dropped = []
    for place, term in enumerate(candidate.terms):
        entry: dict[str, Any] = {"term": term.title(), "range": term.reach, "adds": None, "stderr": None, "kept": True}
        entries.append(entry)
        if not candidate.may_go(place):
            continue
        others = [None if k == place else one for k, one in enumerate(candidate.terms)]
        other = candidate.fitted(f"without number {place}", others, WITHOUT)
        adds, error = gain(ours, other.held_out(), candidate.blocks)
        entry |= {"adds": adds / seconds, "stderr": error / seconds,
                  "kept": bool(adds > candidate.has_to_add(place, error))}
        if not entry["kept"]:
            dropped.append(place)
            said.append(f"{term.title()} adds nothing to the prediction of motion that was set aside "
                        f"({adds / seconds:.2g} ± {error / seconds:.1g} nats per particle and second) and was left "
                        "out.")
    return Selection(candidate.without(dropped) if dropped else candidate, ranges, entries, said)


def gain(better: np.ndarray, other: np.ndarray, blocks: int | None = None) -> tuple[float, float]:
    """Mean of the difference of log-likelihoods and its error, from window to window or between blocks of time.

    >>> gain(np.array([2.0, 2.0, 2.0]), np.array([1.0, 1.0, 1.0]))
    (1.0, 0.0)
    >>> gain(np.arange(16.0) % 2 + 0.25, np.arange(16.0) % 2, blocks=8)
    (0.25, 0.0)
    """
    difference = better - other
    means = [block.mean() for block in np.array_split(difference, min(blocks or len(difference), len(difference)))]
    error = float(np.std(means, ddof=1) / math.sqrt(len(means))) if len(means) > 1 else math.inf
    return float(difference.mean()), error


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


def degenerate_terms(places: Sequence[tuple[str, slice]], information: np.ndarray) -> list[str]:
    """Pairs of terms, given by title and place, whose parameters do not act differently on the motion, by the Fisher
    information."""
    found = []
    for a, (one, here) in enumerate(places):
        for other, there in places[a + 1:]:
            rho = _canonical(information, here, there)
            if 1.0 - rho * rho < DEGENERATE:
                found.append(f"{one} and {other} cannot be told apart in these data: their canonical correlation is "
                             f"{rho:.6f}. What one adds the other can take away; only the sum along that combination "
                             "is known. Leave one of them out, or give them different ranges.")
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
    if new == before or type(before) is not type(new):
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
