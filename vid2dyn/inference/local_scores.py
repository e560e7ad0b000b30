"""Local scores: what one window of motion says of each particle by itself.

A particle may carry something that nobody sees, such as heat of its own. If it makes the noise of its pairs stronger by
a small share θ_i, or their forces by c_i,

    C = sum over pairs of (1 + θ_i/2 + θ_j/2) C_ij + ...,        F_ij = (1 + c_i/2 + c_j/2) F_ij,

then the slopes of the log-likelihood of the window (`vid2dyn.inference.window_score`) at θ = c = 0 are, with
x = C⁻¹ R,

    g_i = ∂ log p/∂θ_i = 1/4 sum_j [(x_i - x_j)·C_ij (x_i - x_j) - tr C_ij (C⁻¹)_(pair)]
    g_i = ∂ log p/∂c_i = 1/2 sum_j ∫ F_ij dt · (x_i - x_j)

and y_i = g_i/h, h = Var g_i under the model, is θ_i (or c_i) plus noise of variance 1/h: the best that a window of
motion can say of a weak effect (the locally most powerful statistic; Cox & Hinkley, Theoretical Statistics, §4.8). A
score is a function of distances and relative velocities, so numbering, rotation and uniform motion leave it as it is.

The trace is shared out over pairs to first order (`heat_sums.shares`), and what local density alone tells of a score,
which is where positions say all there is, is taken off as a cubic (`Baseline`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vid2dyn.core.progress import Progress, silent
from vid2dyn.dynamics.terms.base import PairEnergy
from vid2dyn.inference import heat_sums, sums
from vid2dyn.inference.pair_matrix import PairMatrix
from vid2dyn.inference.steps import FluidSteps
from vid2dyn.inference.window_score import EXACT, Numbers, WindowModel
from vid2dyn.inference.windows import Terms, configuration, mixing, window

NOISE, STRENGTH = 0, 1
"""Rows of the scores: strength of the noise, strength of the pair forces."""
NAMES = ("noise", "pair forces")
_POWERS = np.arange(4)


@dataclass(frozen=True, eq=False)
class LocalScores:
    """Scores of consecutive windows of one recording.

    Parameters
    ----------
    scores : (couplings, windows, n) array
        g; the row of pair forces is there if the model has any.
    null : array of the same shape
        Those of one draw of the model's own noise in every window.
    size : (windows, n) array
        Noise of every particle, its local density for short.
    first, frames : int
        First frame of the first window, frames of a window.
    time : float
        Length of a window [s].
    """

    scores: np.ndarray
    null: np.ndarray
    size: np.ndarray
    first: int
    frames: int
    time: float


@dataclass(frozen=True, eq=False)
class Baseline:
    """What turns scores into observations y: their information and what local density tells of them.

    Parameters
    ----------
    information : (couplings,) array
        h.
    middle, spread : float
        Of `LocalScores.size`.
    cubic : (couplings, 4) array
        Polynomial in the standardised size that is taken off g.
    """

    information: np.ndarray
    middle: float
    spread: float
    cubic: np.ndarray

    @classmethod
    def of(cls, found: list[LocalScores]) -> Baseline:
        """From recordings."""
        size = np.concatenate([one.size.ravel() for one in found])
        middle, spread = float(size.mean()), float(size.std()) or 1.0
        powers = ((size - middle) / spread)[:, None] ** _POWERS
        couplings = len(found[0].scores)
        g = np.stack([np.concatenate([one.scores[c].ravel() for one in found]) for c in range(couplings)])
        null = np.stack([np.concatenate([one.null[c].ravel() for one in found]) for c in range(couplings)])
        return cls(null.var(axis=1), middle, spread, np.linalg.lstsq(powers, g.T, rcond=None)[0].T)

    def observations(self, one: LocalScores) -> np.ndarray:
        """y, (couplings, windows, n)."""
        powers = ((one.size - self.middle) / self.spread)[..., None] ** _POWERS
        expected = np.einsum("wnk,ck->cwn", powers, self.cubic)
        return (one.scores - expected) / self.information[:, None, None]


def local_scores(data: FluidSteps, terms: Terms, numbers: Numbers, frames: int, shown: float, seed: int,
                 progress: Progress = silent) -> LocalScores:
    """Scores of all windows of `frames` steps of a recording, one after the other.

    Parameters
    ----------
    data : FluidSteps
    terms : Terms
    numbers : Numbers
        Of the fitted model.
    frames : int
    shown : float
        Share of the noise that such windows show.
    seed : int
        Of the model's own noise.
    """
    count = data.count // frames
    has_forces = any(isinstance(term, PairEnergy) for term in terms.energies)
    couplings = 1 + has_forces
    scores, null = np.zeros((2, couplings, count, data.n))
    size = np.zeros((count, data.n))
    inverse_mass = 1.0 / terms.mass[data.species]
    for w in range(count):
        progress(w, count, "what particles carry")
        start = w * frames
        mixed = mixing(data, start, frames, terms)
        model = WindowModel(window(data, 0, start, frames, terms), mixed, mixed, terms, numbers, inverse_mass, shown)
        C = model.covariance()
        rng = np.random.default_rng([seed, w])
        solved = [model.centred(C.solve(model.centred(b), EXACT)) for b in (model.residual(), C.draw(rng))]
        blocks = sums.blocks(*C.ends, C.across, C.along, data.n) + C.node[:, None, None] * np.eye(data.dim)
        size[w] = np.einsum("naa->n", blocks)
        shares = heat_sums.shares(*C.ends, C.across, C.along, np.linalg.inv(blocks))
        for out, x in zip((scores, null), solved, strict=True):
            out[NOISE, w] = noise_scores(C, shares, x)
        if has_forces:
            scores[STRENGTH, w], null[STRENGTH, w] = force_scores(data, start, frames, terms, numbers, solved)
    progress(count, count, "what particles carry")
    return LocalScores(scores, null, size, data.first_frame, frames, frames * data.dt)


def noise_scores(C: PairMatrix, shares: np.ndarray, x: np.ndarray) -> np.ndarray:
    """g of the noise, (n,); shares: tr C_ij (C⁻¹) of every pair."""
    on_pairs, _ = C.forms(x, x)
    return 0.25 * _both_ends(C.first, C.second, C.across * on_pairs[0] + C.along * on_pairs[1] - shares, len(x))


def force_scores(data: FluidSteps, start: int, frames: int, terms: Terms, numbers: Numbers,
                 solved: list[np.ndarray]) -> list[np.ndarray]:
    """g of the pair forces along the path, (n,) for each x = C⁻¹ R in `solved`."""
    found = [np.zeros(data.n) for _ in solved]
    energies = [(term, place) for term, place in terms.slices() if isinstance(term, PairEnergy)]
    reach = max(term.reach for term, _ in energies)
    for step in range(frames + 1):
        weight = 0.5 * data.dt * (0.5 if step in (0, frames) else 1.0)
        at = configuration(data, start + step, reach, len(terms.mass))
        force = np.zeros(len(at.r))
        for term, place in energies:
            which, slope = term.pair_slopes(at.r, at.kind)
            force += (slope * numbers.theta[place][which]).sum(axis=1)
        push = (weight * force)[:, None] * at.e
        for out, x in zip(found, solved, strict=True):
            out += _both_ends(at.first, at.second, (push * (x[at.first] - x[at.second])).sum(axis=1), data.n)
    return found


def _both_ends(first: np.ndarray, second: np.ndarray, values: np.ndarray, n: int) -> np.ndarray:
    return np.bincount(first, values, n) + np.bincount(second, values, n)
