"""The likelihood of a list of terms as scoring sees it: start from least squares, prior, bounds, score and information.

The likelihood of a window is `vid2dyn.inference.window_score`. Start: forces by least squares, friction amplitudes so
that the mean noise is right; friction is at least zero. The information, which changes slowly, comes from every few
windows. Nothing is random but the probes, which are keyed on seed, recording and first frame of the window.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np
from scipy.optimize import nnls

from vid2dyn.core.errors import ModelError
from vid2dyn.dynamics.terms.base import Parameters, Scene
from vid2dyn.fitting.particles.scoring import Likelihood, Scored
from vid2dyn.inference.steps import FluidSteps
from vid2dyn.inference.window_score import Numbers, WindowModel
from vid2dyn.inference.windows import Terms, Window, mixing, window

KEEP = 1.5e9
"""Bytes of windows kept in memory; the others are read anew in every iteration."""
INFORMATION = 12
"""Windows that the information is taken from."""
LEAST_NOISE = 1e-3
"""Least unexplained noise, as a share of all noise: it keeps covariances regular."""
FIRST_NOISE = 0.3
"""Unexplained noise at the start, as the same share: with little of it scoring listens first to the few directions that
a rough guess of the friction leaves without noise."""
DEEPEST = 0.1
"""Least part of a friction amplitude, or of the unexplained noise, that is left after one iteration."""
KEPT = 1e-6
"""Change of the mean momentum, relative to the largest of a particle, below which data keep it."""
BOLDEST = 0.5
"""Largest change of ln kT in one iteration."""


@dataclass(frozen=True, eq=False)
class Observed:
    """What is learned from: recordings, windows in them, and a first frame of each.

    Parameters
    ----------
    recordings : tuple of FluidSteps
    starts : tuple of (recording, first frame)
    frames : int
        k.
    shown : float
        Share of the noise that a window shows.
    log_kT, log_kT_error : float
        Of the velocities alone, where they are at equilibrium; an infinite error: they do not count.
    """

    recordings: tuple[FluidSteps, ...]
    starts: tuple[tuple[int, int], ...]
    frames: int
    shown: float
    log_kT: float = 0.0
    log_kT_error: float = math.inf

    def only(self, most: int) -> Observed:
        """The same with at most so many windows, evenly taken."""
        if len(self.starts) <= most:
            return self
        rows = np.unique(np.linspace(0, len(self.starts) - 1, most).round().astype(int))
        return replace(self, starts=tuple(self.starts[k] for k in rows))

    def of(self, recordings: tuple[FluidSteps, ...], most: int) -> Observed:
        """At most so many windows of other recordings, of the same length."""
        return replace(self, recordings=recordings, starts=window_starts(recordings, self.frames, most))


def window_starts(recordings: Sequence[FluidSteps], frames: int, most: int,
                  first: int = 0) -> tuple[tuple[int, int], ...]:
    """First frames of windows that do not overlap, evenly over all recordings; `first`: frame to begin with."""
    total = sum(max(0, part.count - first) for part in recordings)
    found = []
    for r, part in enumerate(recordings):
        room = max(0, part.count - first)
        count = min(room // frames, max(1, round(most * room / max(total, 1))))
        found += [(r, int(start)) for start in np.linspace(first, part.count - frames, count)] if count else []
    return tuple(found)


@dataclass(frozen=True, eq=False)
class WindowSet:
    """Windows of some terms, kept in memory as far as there is room."""

    seen: Observed
    terms: Terms
    seed: int = 0
    _kept: dict[tuple[int, int], Window] = field(default_factory=dict, repr=False)

    def window(self, place: tuple[int, int]) -> Window:
        """The window that starts there."""
        if place not in self._kept:
            part = self.seen.recordings[place[0]]
            found = window(part, place[0], place[1], self.seen.frames, self.terms)
            if (len(self._kept) + 1) * (found.columns.nbytes + found.impulse.nbytes) > KEEP:
                return found
            self._kept[place] = found
        return self._kept[place]

    def models(self, numbers: Numbers) -> Iterator[tuple[tuple[int, int], WindowModel, np.random.Generator]]:
        """Every window under some numbers, with its random numbers."""
        seen, terms = self.seen, self.terms
        for place in seen.starts:
            part = seen.recordings[place[0]]
            yield place, WindowModel(
                self.window(place), mixing(part, place[1], seen.frames, terms),
                mixing(part, place[1], seen.frames, terms, single=True), terms, numbers,
                1.0 / terms.mass[part.species], seen.shown), np.random.default_rng([self.seed, *place])


@dataclass(frozen=True, eq=False)
class Judge:
    """Windows that nobody learns from."""

    windows: WindowSet

    def log_likelihoods(self, terms: Terms, numbers: Numbers) -> np.ndarray:
        """Per particle, of every window; the same random vectors for every model."""
        one = replace(self.windows, terms=terms, _kept={})
        return np.array([model.log_likelihood(rng, _frame(model)) / len(model.inverse_mass)
                         for _, model, rng in one.models(numbers)])

    def chi2(self, terms: Terms, numbers: Numbers) -> np.ndarray:
        """R·C⁻¹R over its expectation, of every window."""
        one = replace(self.windows, terms=terms, _kept={})
        found = []
        for _, model, _ in one.models(numbers):
            R = model.residual()
            found.append(float((model.covariance().solve(R, 1e-5) * R).sum()) / model.freedom)
        return np.array(found)


def _frame(model: WindowModel) -> Literal["whole", "relative"]:
    """In which models that keep the total momentum are compared with others: by whether the data keep it."""
    impulse = model.window.impulse
    return "relative" if float(np.abs(impulse.mean(axis=0)).max()) < KEPT * float(np.abs(impulse).max()) else "whole"


@dataclass(frozen=True, eq=False)
class WindowLikelihood(Likelihood):
    """Of windows of motion under a list of terms; the vector is that of `Numbers`.

    Parameters
    ----------
    windows : WindowSet
    scene : Scene
    what : str
    """

    windows: WindowSet
    scene: Scene
    what: str = "terms"

    @property
    def terms(self) -> Terms:
        """Of the windows."""
        return self.windows.terms

    @property
    def pieces(self) -> int:
        """Windows."""
        return len(self.windows.seen.starts)

    def parameters(self) -> list[Parameters]:
        """Of every term."""
        terms = self.terms
        return [term.parameters(self.scene) for term in (*terms.energies, *terms.frictions)]

    def start(self) -> np.ndarray:
        return self._start.vector

    @cached_property
    def _start(self) -> Numbers:
        """Forces by least squares; friction amplitudes from the noise of every particle, by least squares that keeps
        them positive."""
        windows, terms = self.windows, self.terms
        P, F = terms.of_energies, terms.of_frictions
        known = self.parameters()
        theta = np.concatenate([np.zeros(0), *(p.start for p in known)])
        normal, right = np.zeros((P, P)), np.zeros(P)
        few = windows.seen.only(INFORMATION).starts
        for place in few:
            one = windows.window(place)
            flat = one.columns[:P].reshape(P, one.impulse.size)
            normal += flat @ flat.T
            right += flat @ one.impulse.ravel()
        if P:
            size = np.sqrt(np.diag(normal)) + 1e-12 * math.sqrt(np.trace(normal) + 1e-300)
            theta[:P] = -np.linalg.solve(normal / size[:, None] / size + 1e-8 * np.eye(P), right / size) / size
        kT = self.scene.kT
        if not F:
            return Numbers(theta, kT, 1.0)
        rows, values = [], []
        for place in few:
            one, part = windows.window(place), windows.seen.recordings[place[0]]
            left = one.impulse + np.tensordot(theta[:P], one.columns[:P], axes=1)
            mix = mixing(part, place[1], windows.seen.frames, terms)
            rows.append(_diagonals(mix, F, part.dim))
            values.append((left**2).mean(axis=1))
        A, b = 2.0 * kT * windows.seen.shown * np.concatenate(rows), np.concatenate(values)
        weight = 1.0 / (A.mean(axis=1) * b.mean() / max(A.mean(), 1e-300) + b.mean())
        phi, _ = nnls(A * weight[:, None], b * weight)
        guess = theta[P:] * b.mean() / max(float((A @ theta[P:]).mean()), 1e-300)
        theta[P:] = np.maximum(phi, 0.05 * guess)
        friction = mean_friction(windows, theta)
        if not friction > 0:
            raise ModelError("The motion shows no friction within the range of the friction terms: what is left of the "
                             "momentum changes when forces are taken off is zero. Check velocities and cutoff.")
        return Numbers(theta, kT, FIRST_NOISE * float(b.mean()) / (2.0 * kT * windows.seen.shown * mix.length))

    @cached_property
    def least_noise(self) -> float:
        """Least unexplained noise [mass/s], a share of all noise of the data: a share of the friction that is being
        learned would move while it is."""
        return LEAST_NOISE / FIRST_NOISE * self._start.unexplained if self.terms.of_frictions else 0.0

    def allowed(self, vector: np.ndarray) -> np.ndarray:
        return np.append(vector[:-1], max(vector[-1], self.least_noise))

    def scored(self, vector: np.ndarray, told: Callable[[int], None] = lambda piece: None) -> Scored:
        numbers, windows = Numbers.of(vector), self.windows
        starts = windows.seen.starts
        every, size = max(1, len(starts) // INFORMATION), len(vector)
        information, counted, scores = np.zeros((size, size)), 0, np.zeros((len(starts), size))
        for w, (_, model, rng) in enumerate(windows.models(numbers)):
            told(w)
            found = model.scored(rng, information=w % every == every // 2)
            scores[w] = found.score
            if found.information is not None:
                information += found.information
                counted += 1
        return Scored(numbers.vector, scores, information * len(starts) / max(1, counted))

    def prior(self, vector: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        numbers = Numbers.of(vector)
        seen, terms = self.windows.seen, self.terms
        size = len(vector)
        precision, slope = np.zeros((size, size)), np.zeros(size)
        # a friction that has come down to zero is still a friction, with a prior of finite width
        least = max(1e-3 * float(numbers.theta[terms.of_energies:].mean()), 1e-100) if terms.of_frictions else 1.0
        for (_, place), known in zip(terms.slices(), self.parameters(), strict=True):
            theta = numbers.theta[place]
            scale = max(float(theta.mean()), least) if known.positive else 1.0
            precision[place, place] = known.precision / scale**2
            slope[place] = -precision[place, place] @ theta
        precision[-2, -2] = seen.log_kT_error**-2
        slope[-2] = -precision[-2, -2] * (math.log(numbers.kT) - seen.log_kT)
        return precision, slope

    def lowest(self, vector: np.ndarray) -> np.ndarray:
        of = slice(self.terms.of_energies, -2)
        low = np.full(len(vector), -np.inf)
        low[of], low[-1] = DEEPEST * vector[of], max(self.least_noise, DEEPEST * vector[-1])
        return low

    def after(self, vector: np.ndarray, step: np.ndarray) -> np.ndarray:
        shrink = min(1.0, BOLDEST / max(abs(float(step[-2])), 1e-300))
        new, change = vector + shrink * step, shrink * float(step[-2])
        # noise shows kT times friction: a step in that product and in ln kT is the same to first order, and does not
        # let kT run away while friction goes to zero
        noisy = np.r_[self.terms.of_energies:len(vector) - 2, len(vector) - 1]
        new[noisy] = math.exp(-change) * (new[noisy] + change * vector[noisy])
        return new


def _diagonals(mix, count: int, dim: int) -> np.ndarray:  # type: ignore[no-untyped-def]
    """Mean over directions of the diagonal blocks of ∂A/∂φ_k, (n, count)."""
    n = len(mix.node_which)
    out = np.zeros((n, count))
    size = ((dim - 1) * mix.columns.across + mix.columns.along) / dim
    for ends in (mix.first, mix.second):
        np.add.at(out, (ends[:, None], mix.columns.which), size)
    for m in range(mix.node_which.shape[1]):
        np.add.at(out, (np.arange(n), mix.node_which[:, m]), mix.node_drag[:, m])
    return out


def friction_slopes(windows: WindowSet) -> np.ndarray:
    """Slopes of Γ of a particle, mean over particles, directions and some windows, in the amplitudes, (amplitudes,)."""
    terms, found = windows.terms, []
    for place in windows.seen.only(4).starts:
        part = windows.seen.recordings[place[0]]
        mix = mixing(part, place[1], windows.seen.frames, terms)
        found.append(_diagonals(mix, terms.of_frictions, part.dim).mean(axis=0) / mix.length)
    return np.mean(found, axis=0)


def mean_friction(windows: WindowSet, theta: np.ndarray) -> float:
    """Γ of a particle [mass/s]; see `friction_slopes`."""
    return float(friction_slopes(windows) @ theta[windows.terms.of_energies:])
