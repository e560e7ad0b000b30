"""Are all particles alike? A fit that takes them so asks the residuals of each particle, early and late.

Under the model the whitened residuals are independent standard normal numbers, so what a particle shows in the first
half of its track says nothing of what it shows in the second. Two numbers are made of each half, both standard normal
under the model: x, from how far its steps scatter (Σ|z|² is chi-square), and from how strongly it follows the learned
forces (the score in a factor on the forces, over its own size). If particles differ, the halves of one agree:

    T = Σ_i w_i x_i y_i / sqrt(Σ w_i²),     x_i, y_i: first and second half of particle i

has mean zero and variance 1 where all are alike, and is a difference of two gamma variables (Σ x y of n pairs is
(χ²_n - χ'²_n)/2), from which the limit is taken: one false alarm in 1e6 (`ALPHA`) for each of the two numbers.

T is about sqrt(n) times the squared relative difference times the information of half a track: for n particles of k
steps in a plane sqrt(n) h² k/2 for a relative difference h in the mean-square steps, so that 100 particles of 60 frames
show 13 %. Forces show less: 80 particles with charges 4:1 need some 350 frames.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy.optimize import brentq
from scipy.special import gammainc, gammaincc, ndtri
from scipy.stats import gamma

from vid2dyn.fitting.brownian.evidence import StepModel, force_and_stiffness, trusted_steps
from vid2dyn.fitting.brownian.likelihood import residuals
from vid2dyn.fitting.brownian.recording import Recording, steps_of
from vid2dyn.fitting.brownian.records import FitData
from vid2dyn.fitting.brownian.species import several_species

ALPHA = 1e-6
MOST = 30_000
"""Detections that are looked at, the first ones; bounds the time."""
FEWEST = 20
"""Steps in half a track, and particles, below which nothing is said."""
UNLIKE = {"steps": 0.1, "forces": 0.2}
"""Relative differences between particles below which nothing is said: no two colloids are quite alike."""


@dataclasses.dataclass(frozen=True)
class Unlike:
    """How particles differ: T, its limit, and the relative standard deviation between particles."""

    score: float
    limit: float
    spread: float

    @property
    def shows(self) -> bool:
        """Whether T is beyond its limit."""
        return self.score > self.limit


def population_warnings(data: Sequence[FitData], models: Sequence[StepModel]) -> list[str]:
    """Warnings of a fit that took all particles for alike; `models` those of each recording."""
    recipe = data[0].recipe
    if recipe.species is not None or recipe.structure is not None:
        return []
    steps, forces = unlike_particles([one.recording for one in data], models)
    named = next((found for one in data if (found := several_species(one.tracks))), [])
    said = []
    if steps is not None and steps.shows and steps.spread > UNLIKE["steps"]:
        said.append(f"the mean-square steps of some are larger than those of others, by {steps.spread:.0%} (standard "
                    f"deviation between particles; T = {steps.score:.1f}, by chance below {steps.limit:.1f})")
    if forces is not None and forces.shows and forces.spread > UNLIKE["forces"]:
        said.append(f"some feel their neighbours more strongly than others, by {forces.spread:.0%} (standard deviation "
                    f"between particles; T = {forces.score:.1f}, by chance below {forces.limit:.1f})")
    remedy = ('give its name, species = "species"' if named else
              "give a column that names the species of each particle, vd.Brownian(species=...)")
    if said:
        return [f"The particles are not alike: {' and '.join(said)}. One D and one pair potential are a mean over two "
                f"populations or more, or over a wide distribution of sizes, or some particles stick: {remedy}, or fit "
                "each kind alone."]
    if named:
        return [f"The table tells {' and '.join(named)} apart in its column 'species', and this fit takes all "
                f"particles for alike. For a D of each, and a pair potential of every pair, {remedy}."]
    return []


def unlike_particles(recordings: Sequence[Recording],
                     models: Sequence[StepModel]) -> tuple[Unlike | None, Unlike | None]:
    """T of the steps and of the forces (None without forces); None for both where tracks are few or short."""
    parts = [_halves(*_shortened(recording, model)) for recording, model in zip(recordings, models, strict=True)]
    steps = _compared([part[0] for part in parts])
    forces = _compared([part[1] for part in parts if part[1] is not None])
    return steps, forces


def _shortened(recording: Recording, model: StepModel) -> tuple[Recording, StepModel]:
    """The first frames of a recording, so many that they hold at most MOST detections, and their model."""
    if len(recording.position) <= MOST:
        return recording, model
    frames, count = np.unique(recording.frame, return_counts=True)
    last = frames[max(2 * FEWEST, int(np.searchsorted(np.cumsum(count), MOST))) - 1]
    rows = np.flatnonzero(recording.frame <= last)
    short = dataclasses.replace(
        recording, **{name: getattr(recording, name)[rows] for name in (
            "position", "frame", "track", "variance", "weight", "weight_slope")},
        steps=steps_of(recording.track[rows], recording.frame[rows]))
    return short, dataclasses.replace(model, centre=model.centre[rows])


@dataclasses.dataclass(frozen=True, eq=False)
class _Pairs:
    """Both halves of every particle as standard normal numbers, and what a relative difference of one would do to each
    (the root of the information in it)."""

    x: np.ndarray
    y: np.ndarray
    of_x: np.ndarray
    of_y: np.ndarray


def _halves(recording: Recording, model: StepModel) -> tuple[_Pairs, _Pairs | None]:
    trusted = trusted_steps(recording)
    force, hessian = force_and_stiffness(recording, model.pairs, model.stiffness, model.centre)

    def found(factor: float):  # type: ignore[no-untyped-def]
        return residuals(recording, factor * force, factor * hessian, model.diffusion, model.noise_scale, trusted)

    track = recording.track[recording.steps[trusted]]
    names, which, count = np.unique(track, return_inverse=True, return_counts=True)
    rank = np.arange(len(track)) - np.repeat(np.cumsum(count) - count, count)       # rows are sorted by track
    late = rank >= (count // 2)[which]
    kept = np.flatnonzero(count // 2 >= FEWEST)

    def both(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Sums over the first and the second half of each particle that is kept."""
        return tuple(np.bincount(which[half], values[half], len(names))[kept] for half in (~late, late))  # type: ignore

    middle = found(1.0)
    square, dim = (middle.white**2).sum(axis=1), recording.dim
    square = square / max(float(square.sum()) / max(len(square), 1) / dim, 1e-300)         # no step may be left
    steps = [dim * n for n in both(np.ones(len(track)))]
    x, y = (_normal(total, n) for total, n in zip(both(square), steps))
    of_steps = _Pairs(x, y, *(np.sqrt(0.5 * n) for n in steps))
    if not model.pairs:
        return of_steps, None
    h = 0.01     # one-sided: the error, h/2 of the information, is small against its root
    score = (found(1 + h).log_likelihood - middle.log_likelihood) / h
    score = score - score.sum() / max(len(score), 1)
    sums, sizes = both(score), [np.sqrt(np.maximum(total, 1e-300)) for total in both(score**2)]
    return of_steps, _Pairs(sums[0] / sizes[0], sums[1] / sizes[1], *sizes)


def _normal(total: np.ndarray, freedom: np.ndarray) -> np.ndarray:
    """The normal quantile of a chi-square number."""
    p = gammainc(0.5 * freedom, 0.5 * total)
    q = gammaincc(0.5 * freedom, 0.5 * total)
    return np.clip(np.where(p < 0.5, ndtri(np.maximum(p, 1e-300)), -ndtri(np.maximum(q, 1e-300))), -12.0, 12.0)


def _compared(parts: Sequence[_Pairs]) -> Unlike | None:
    """T of all particles."""
    if not parts:
        return None
    x, y, of_x, of_y = (np.concatenate([getattr(part, name) for part in parts]) for name in ("x", "y", "of_x", "of_y"))
    if len(x) < FEWEST:
        return None
    weight = of_x * of_y
    number = float((weight**2).sum() ** 2 / (weight**4).sum())
    score = float((weight * x * y).sum() / np.sqrt((weight**2).sum()))
    spread = float(np.sqrt(max((weight * x * y).sum() / (weight * of_x * of_y).sum(), 0.0)))
    return Unlike(score, limit_of_products(number), spread)


def limit_of_products(number: float, alpha: float = ALPHA) -> float:
    """What Σ x y/sqrt(n), x and y standard normal, exceeds with probability `alpha`.

    Σ x y = G - G', two gamma variables of shape n/2: P(G - G' > s) is a mean over G', taken at its quantiles.

    >>> round(limit_of_products(1e5), 1), round(limit_of_products(30), 1)
    (4.8, 5.4)
    """
    shape = 0.5 * number
    if shape > 400:                                  # normal but for its kurtosis (Cornish-Fisher)
        z = float(-ndtri(alpha))
        return z + (z**3 - 3 * z) / 24 * 6 / number
    points = gamma.ppf((np.arange(4000) + 0.5) / 4000, shape)

    def excess(s: float) -> float:
        return float(np.log(gammaincc(shape, points + s).mean()) - np.log(alpha))

    return float(brentq(excess, 0.0, 40 * np.sqrt(shape) + 60) / np.sqrt(number))
