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

The trace is shared out over pairs to first order (`heat_sums.shares`). A list of terms that errs a little, in a force
or a friction at some distance, makes scores that depend on where the neighbours are, and stay alike as long as these
stay. So what positions alone tell of a score is taken off, by regression (`Baseline`) on

    sum_j B_k(r_ij),      f_i·g_ik with f_i = sum_j F_ij, g_ik = sum_j B_k(r_ij) e_ij,

B_k hat functions of the distance: to first order in an error of noise, and to second in one of the force. In a mixture
every species has a regression of its own, with sums over the neighbours of each species.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vid2dyn.core.progress import Progress, silent
from vid2dyn.dynamics.terms.base import Configuration, PairEnergy
from vid2dyn.inference import heat_sums, sums
from vid2dyn.inference.pair_matrix import PairMatrix
from vid2dyn.inference.steps import FluidSteps
from vid2dyn.inference.window_score import EXACT, Numbers, WindowModel
from vid2dyn.inference.windows import Terms, configuration, mixing, window

NOISE, STRENGTH = 0, 1
"""Rows of the scores: strength of the noise, strength of the pair forces."""
NAMES = ("noise", "pair forces")
HATS = 8
"""Hat functions of the distance by which positions are described."""
FORGOTTEN = 0.1
"""Autocorrelation of forces below which errors that come with them are over: scores hold them twice."""


@dataclass(frozen=True, eq=False)
class LocalScores:
    """Scores of consecutive windows of one recording.

    Parameters
    ----------
    scores : (couplings, windows, n) array
        g; the row of pair forces is there if the model has any.
    null : array of the same shape
        Those of one draw of the model's own noise in every window.
    places : (windows, n, features) array
        What positions alone could tell, in the middle of every window.
    species : (n,) int array
    forces : (windows, n, dim) array
        Of all pairs together on every particle, in the middle of every window; zero without any.
    frames : int
        Of a window.
    time : float
        Length of a window [s].
    """

    scores: np.ndarray
    null: np.ndarray
    places: np.ndarray
    forces: np.ndarray
    species: np.ndarray
    frames: int
    time: float


@dataclass(frozen=True, eq=False)
class Baseline:
    """What turns scores into observations y: their information and what positions tell of them.

    Parameters
    ----------
    information : (species, couplings) array
        h.
    slopes : (species, couplings, 1 + features) array
        Constant and slopes in `LocalScores.places` that are taken off g.
    """

    information: np.ndarray
    slopes: np.ndarray

    @classmethod
    def of(cls, found: list[LocalScores]) -> Baseline:
        """From recordings."""
        kinds = 1 + max(int(one.species.max()) for one in found)
        parts = [cls._of_species(found, [one.species == kind for one in found]) for kind in range(kinds)]
        return cls(np.stack([h for h, _ in parts]), np.stack([slopes for _, slopes in parts]))

    @staticmethod
    def _of_species(found: list[LocalScores], own: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """h and slopes of one species, `own` of the particles of each recording."""
        couplings, features = len(found[0].scores), found[0].places.shape[2] + 1
        normal, right = np.zeros((features, features)), np.zeros((features, couplings))
        for one, which in zip(found, own, strict=True):
            for places, g in zip(one.places, one.scores.swapaxes(0, 1), strict=True):
                known = np.column_stack([np.ones(int(which.sum())), places[which]])
                normal += known.T @ known
                right += known.T @ g[:, which].T
        size = np.sqrt(np.maximum(np.diag(normal), 1e-300))
        slopes = np.linalg.lstsq(normal / size[:, None] / size, right / size[:, None], rcond=1e-10)[0] / size[:, None]
        null = np.stack([np.concatenate([one.null[c][:, which].ravel() for one, which in zip(found, own, strict=True)])
                         for c in range(couplings)])
        return null.var(axis=1), slopes.T

    def observations(self, one: LocalScores) -> np.ndarray:
        """y, (couplings, windows, n)."""
        slopes, information = self.slopes[one.species], self.information[one.species]
        expected = slopes[..., 0].T[:, None] + np.einsum("wnk,nck->cwn", one.places, slopes[..., 1:])
        return (one.scores - expected) / information.T[:, None]


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
    # a potential that was learned to be nothing has no strength to be told
    has_forces = any(isinstance(term, PairEnergy) and bool(numbers.theta[place].any())
                     for term, place in terms.slices())
    couplings = 1 + has_forces
    scores, null = np.zeros((2, couplings, count, data.n))
    places = np.zeros((count, data.n, HATS * len(terms.mass) * (1 + has_forces)), np.float32)
    forces = np.zeros((count, data.n, data.dim), np.float32)
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
        places[w], forces[w] = described(data, start + frames // 2, terms, numbers)
        shares = heat_sums.shares(*C.ends, C.across, C.along, np.linalg.inv(blocks))
        for out, x in zip((scores, null), solved, strict=True):
            out[NOISE, w] = noise_scores(C, shares, x)
        if has_forces:
            scores[STRENGTH, w], null[STRENGTH, w] = force_scores(data, start, frames, terms, numbers, solved)
    progress(count, count, "what particles carry")
    return LocalScores(scores, null, places, forces, data.species, frames, frames * data.dt)


def noise_scores(C: PairMatrix, shares: np.ndarray, x: np.ndarray) -> np.ndarray:
    """g of the noise, (n,); shares: tr C_ij (C⁻¹) of every pair."""
    on_pairs, _ = C.forms(x, x)
    return 0.25 * _both_ends(C.first, C.second, C.across * on_pairs[0] + C.along * on_pairs[1] - shares, len(x))


def lasting_forces(found: list[LocalScores], least: int) -> int:
    """Windows after which the force on a particle has forgotten itself to `FORGOTTEN`, at least `least`.

    So long errors of the list of terms, which come with the forces, may keep scores alike.
    """
    longest = max(len(one.forces) for one in found) // 2
    size = sum(float((one.forces**2).sum()) for one in found) / sum(one.forces.size for one in found)
    for lag in range(least, longest):
        late = [(one.forces[lag:] * one.forces[:-lag]).mean() for one in found if len(one.forces) > lag]
        if not float(np.mean(late)) > FORGOTTEN * size:
            return lag
    return max(least, longest)


def described(data: FluidSteps, frame: int, terms: Terms, numbers: Numbers) -> tuple[np.ndarray, np.ndarray]:
    """What positions could tell of a score, (n, features), see the head of this file; and pair forces (n, dim)."""
    at = configuration(data, frame, terms.reach, len(terms.mass))
    place = np.clip(at.r / terms.reach * HATS, 0.0, HATS - 1e-9)
    low = place.astype(np.int64)
    hats = np.zeros((HATS + 1, len(at.r)))
    hats[low, np.arange(len(low))] = 1.0 - (place - low)
    hats[low + 1, np.arange(len(low))] = place - low
    # of the neighbours of each species: what the first end of a pair sees is the second one's, and the other way round
    sides = [(at.species[at.second] == kind, at.species[at.first] == kind) for kind in range(len(terms.mass))]
    sums_of = [_sums(at, hat * seen, hat * seeing) for seen, seeing in sides for hat in hats[:HATS]]
    force = pair_forces(at, terms, numbers)
    if force is None or not numbers.theta[:terms.of_energies].any():
        return np.stack(sums_of, axis=1), np.zeros((at.n, at.dim))
    f = _pushes(at, force, force)
    sums_of += [(f * _pushes(at, hat * seen, hat * seeing)).sum(axis=1) for seen, seeing in sides
                for hat in hats[:HATS]]
    return np.stack(sums_of, axis=1), f


def _pushes(at: Configuration, on_first: np.ndarray, on_second: np.ndarray) -> np.ndarray:
    """Sums over neighbours of size e, (n, dim), the sizes for either end of a pair."""
    return np.stack([np.bincount(at.first, on_first * one, at.n) - np.bincount(at.second, on_second * one, at.n)
                     for one in at.e.T], axis=1)


def pair_forces(at: Configuration, terms: Terms, numbers: Numbers) -> np.ndarray | None:
    """Force of every pair along its line of centres, of all energies of pairs together; None without any."""
    found = None
    for term, place in terms.slices():
        if isinstance(term, PairEnergy):
            which, slope = term.pair_slopes(at.r, at.kind)
            force = (slope * numbers.theta[place][which]).sum(axis=1)
            found = force if found is None else found + force
    return found


def force_scores(data: FluidSteps, start: int, frames: int, terms: Terms, numbers: Numbers,
                 solved: list[np.ndarray]) -> list[np.ndarray]:
    """g of the pair forces along the path, (n,) for each x = C⁻¹ R in `solved`."""
    found = [np.zeros(data.n) for _ in solved]
    reach = max(term.reach for term in terms.energies if isinstance(term, PairEnergy))
    for step in range(frames + 1):
        weight = 0.5 * data.dt * (0.5 if step in (0, frames) else 1.0)
        at = configuration(data, start + step, reach, len(terms.mass))
        force = pair_forces(at, terms, numbers)
        assert force is not None
        push = (weight * force)[:, None] * at.e
        for out, x in zip(found, solved, strict=True):
            out += _both_ends(at.first, at.second, (push * (x[at.first] - x[at.second])).sum(axis=1), data.n)
    return found


def _sums(at: Configuration, on_first: np.ndarray, on_second: np.ndarray) -> np.ndarray:
    return np.bincount(at.first, on_first, at.n) + np.bincount(at.second, on_second, at.n)


def _both_ends(first: np.ndarray, second: np.ndarray, values: np.ndarray, n: int) -> np.ndarray:
    return np.bincount(first, values, n) + np.bincount(second, values, n)
