"""Heat that particles carry and nobody sees: how much, for how long, and how strong pair forces depend on it.

    E = kinetic energy + sum of the energies + sum_i {C kT [e^(S_i/C) - 1] + [e^(β S_i/C) - 1] Φ_i/2},
    Φ_i = sum_j φ(r_ij),      T_i = ∂E/∂S_i = kT e^(S_i/C) + ...

C is the heat capacity of a particle [kB] and β = ∂ ln φ/∂ ln T: zero for forces that do not know of heat, one for those
of entropy, such as the repulsion of soft polymers. Noise of pairs is that of their temperatures, friction stays, and
heat flows between neighbours: dissipative particle dynamics with energy (Español, Europhys. Lett. 40, 631, 1997; Avalos
& Mackie, ibid. 40, 141, 1997), with forces that depend on heat. At equilibrium θ_i = S_i/C has the variance 1/C, and
heat that flows to the neighbours gives it a relaxation time τ.

Local scores of windows (`vid2dyn.inference.local_scores`) are, to first order, observations y = b θ + noise with
b = (1, β). Then with T the length of a window

    <y_a(t) y_b(t + l T)> = b_a b_b/C e^(-l T/τ) + N_ab(l),

where N, what a window has in common with the next ones for other reasons (its own noise at l = 0, memory of the noise,
errors of the list of terms, which stay alike as long as the forces), is not modelled but measured: it is all that there
is at lags below a memory of at least `MEMORY` windows, and nothing beyond. So the three numbers come from the later
lags by least squares, and S of every particle from the best linear estimate (Wiener) with all of y, of which the
variance that remains is known. In a mixture C, β and τ are those of all species together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import toeplitz
from scipy.optimize import least_squares

MEMORY = 3
"""Windows, after which at the earliest the noise of one has nothing in common with that of another."""
SPAN = 200
"""Most lags that are looked at [windows]."""
SEGMENT, OVERLAP = 240, 60
"""Windows that are smoothed together, and those at both ends that are only help (if others follow)."""


@dataclass(frozen=True, eq=False)
class Persistence:
    """How long local scores stay alike.

    Parameters
    ----------
    covariance : (lags, couplings, couplings) array
        Mean of y(t) y(t + l)ᵀ, made symmetric.
    counted : (lags,) array
        Products in each mean.
    time : float
        Between windows [s].
    """

    covariance: np.ndarray
    counted: np.ndarray
    time: float

    @classmethod
    def of(cls, observations: Sequence[np.ndarray], time: float) -> Persistence:
        """From y (couplings, windows, n) of recordings."""
        longest = max(y.shape[1] for y in observations)
        lags = min(SPAN, longest // 2) + 1
        couplings = len(observations[0])
        total, counted = np.zeros((lags, couplings, couplings)), np.zeros(lags)
        for y in observations:
            for lag in range(min(lags, y.shape[1])):
                early, late = (part.reshape(couplings, -1) for part in (y[:, :y.shape[1] - lag], y[:, lag:]))
                both = early @ late.T
                total[lag] += 0.5 * (both + both.T)
                counted[lag] += early.shape[1]
        return cls(total / np.maximum(counted, 1)[:, None, None], counted, time)

    def errors(self) -> np.ndarray:
        """Standard errors of `covariance` where nothing persists, (lags, couplings, couplings)."""
        size = np.diag(self.covariance[0])
        square = np.outer(size, size) + self.covariance[0] ** 2
        return np.sqrt(0.5 * square / np.maximum(self.counted, 1)[:, None, None]
                       * (1.0 + np.eye(len(size)) * (2 * np.outer(size, size) / square - 1.0)))


@dataclass(frozen=True, eq=False)
class HiddenHeat:
    """What particles carry.

    Parameters
    ----------
    loadings : (couplings,) array
        b/√C: standard deviations of θ and of the relative strength of pair forces.
    relaxation : float
        τ [s].
    time : float
        Between windows [s].
    noise : (memory, couplings, couplings) array
        N.
    """

    loadings: np.ndarray
    relaxation: float
    time: float
    noise: np.ndarray

    @property
    def heat_capacity(self) -> float:
        """C [kB]."""
        return 1.0 / max(float(self.loadings[0]) ** 2, 1e-300)

    @property
    def exponent(self) -> float:
        """β."""
        return float(self.loadings[1] / self.loadings[0]) if len(self.loadings) > 1 else 0.0

    def _blocks(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Covariance of y of `count` windows, (couplings count, same), and of y with θ √C, (couplings count, count)."""
        fade = np.exp(-np.arange(count) * self.time / self.relaxation)
        one = toeplitz(fade)
        couplings = len(self.loadings)
        whole = np.kron(np.outer(self.loadings, self.loadings), one) + self.noise_of(count)
        assert whole.shape == (couplings * count, couplings * count)
        return whole, np.kron(self.loadings[:, None], one)

    def noise_of(self, count: int) -> np.ndarray:
        """Covariance of the noise of `count` windows."""
        couplings = len(self.loadings)
        out = np.zeros((couplings, count, couplings, count))
        for lag in range(min(len(self.noise), count)):
            rows = np.arange(count - lag)
            out[:, rows, :, rows + lag] = self.noise[lag]
            out[:, rows + lag, :, rows] = self.noise[lag]
        return out.reshape(couplings * count, couplings * count)

    def smoothed(self, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """θ √C of every window and particle, (windows, n), and the share of its variance that is left, (windows,).

        Of a long recording in pieces that overlap.
        """
        count = y.shape[1]
        mean, left = np.empty(y.shape[1:]), np.empty(count)
        for start, stop, first, last in segments(count):
            whole, with_it = self._blocks(stop - start)
            weights = np.linalg.solve(whole, with_it)
            inner = slice(first - start, last - start)
            mean[first:last] = weights[:, inner].T @ y[:, start:stop].reshape(-1, y.shape[2])
            left[first:last] = 1.0 - np.einsum("kt,kt->t", weights, with_it)[inner]
        return mean, left

    def attainable(self, count: int) -> float:
        """Largest correlation of an estimate with what it estimates, in a recording of `count` windows.

        A bound: what particles tell of each other counts as noise that is known, and heat that they exchange faster
        than a few windows is not in it.
        """
        whole, with_it = self._blocks(min(count, SEGMENT))
        seen = np.einsum("kt,kt->t", np.linalg.solve(whole, with_it), with_it)
        return math.sqrt(max(float(seen.mean()), 0.0))

    def gain(self, y: np.ndarray) -> np.ndarray:
        """Log-likelihood of y over that of noise alone of the same size at short lags, of every particle, (n,)."""
        found = np.zeros(y.shape[2])
        count = y.shape[1]
        # cut off at the memory, what persists need not be a covariance any more
        short = _regular(self.noise + self._persistent(len(self.noise)))
        plain = HiddenHeat(self.loadings, self.relaxation, self.time, short)
        for start in range(0, count, SEGMENT):
            stop = min(start + SEGMENT, count)
            rows = y[:, start:stop].reshape(-1, y.shape[2])
            for sign, C in ((1.0, self._blocks(stop - start)[0]), (-1.0, plain.noise_of(stop - start))):
                root = np.linalg.cholesky(C)
                white = np.linalg.solve(root, rows)
                found += sign * (-0.5 * (white**2).sum(axis=0) - np.log(np.diag(root)).sum())
        return found

    def _persistent(self, lags: int) -> np.ndarray:
        fade = np.exp(-np.arange(lags) * self.time / self.relaxation)
        return fade[:, None, None] * np.outer(self.loadings, self.loadings)


@dataclass(frozen=True, eq=False)
class HeatEstimate:
    """Least squares of the persistence.

    Parameters
    ----------
    heat : HiddenHeat
    gained : float
        How much less χ² is with it than without, in units of what is left of it per degree of freedom: about a sum of
        three squared normal numbers if nothing is carried.
    covariance : (couplings + 1, couplings + 1) array
        Of the loadings and ln τ.
    rest : float
        χ² over its expectation with it.
    least : float
        Smallest standard deviation of θ that would have been seen at five standard errors, if it lasted as long.
    """

    heat: HiddenHeat
    gained: float
    covariance: np.ndarray
    rest: float
    least: float


def segments(count: int) -> list[tuple[int, int, int, int]]:
    """(start, stop, first, last): what is smoothed together and which part of it is kept.

    >>> segments(100), segments(300)
    ([(0, 100, 0, 100)], [(0, 240, 0, 180), (120, 300, 180, 300)])
    """
    if count <= SEGMENT:
        return [(0, count, 0, count)]
    found, first = [], 0
    while first < count:
        start = max(0, first - OVERLAP)
        stop = min(start + SEGMENT, count)
        last = count if stop == count else stop - OVERLAP
        found.append((start, stop, first, last))
        first = last
    return found


def estimated(seen: Persistence, memory: int = MEMORY) -> HeatEstimate:
    """Loadings and relaxation time from the lags from `memory` on [windows].

    Couplings are made uncorrelated first, so that errors of all means are independent.
    """
    couplings = seen.covariance.shape[1]
    root = np.linalg.cholesky(seen.covariance[0])
    back = np.linalg.inv(root)
    white = back @ seen.covariance @ back.T
    lags = np.arange(memory, len(white))
    rows, columns = np.tril_indices(couplings)
    # products of one kind have the variance 1/count, means of both mixed ones half of it
    error = np.sqrt(np.where(rows == columns, 1.0, 0.5) / seen.counted[lags][:, None])
    data = white[lags][:, rows, columns]
    fade_of = -lags[:, None] * seen.time

    def model(p: np.ndarray) -> np.ndarray:
        return (p[rows] * p[columns])[None] * np.exp(fade_of / np.exp(p[-1]))

    def left(p: np.ndarray) -> np.ndarray:
        return ((model(p) - data) / error).ravel()

    # what fades within the memory of the noise cannot be told from it
    shortest, longest = memory * seen.time, 2.0 * len(white) * seen.time
    best = None
    early = data[:max(1, min(4, len(data)))].mean(axis=0)
    size = np.sqrt(np.maximum(early[rows == columns], 1e-12))
    for guess in np.geomspace(1.5 * shortest, 0.5 * longest, 4):
        for signs in np.array(np.meshgrid(*[[1.0]] + [[1.0, -1.0]] * (couplings - 1))).reshape(couplings, -1).T:
            tried = least_squares(left, np.append(size * signs, math.log(guess)),
                                  bounds=(np.append(np.full(couplings, -np.inf), math.log(shortest)),
                                          np.append(np.full(couplings, np.inf), math.log(longest))))
            if best is None or tried.cost < best.cost:
                best = tried
    assert best is not None
    freedom = max(1, data.size - couplings - 1)
    rest = 2.0 * best.cost / freedom
    gained = (float(((data / error) ** 2).sum()) - 2.0 * best.cost) / max(1.0, rest)
    size = np.sqrt(np.maximum((best.jac**2).sum(axis=0), 1e-300))
    covariance = np.linalg.pinv(best.jac.T @ best.jac / size[:, None] / size, rcond=1e-12, hermitian=True)
    covariance = max(1.0, rest) * covariance / size[:, None] / size
    white_loadings, relaxation = best.x[:-1], math.exp(best.x[-1])
    loadings = root @ white_loadings
    turn = np.eye(couplings + 1)
    turn[:couplings, :couplings] = root
    if loadings[0] < 0:                        # θ and -θ are one and the same
        loadings, turn[:couplings] = -loadings, -turn[:couplings]
    covariance = turn @ covariance @ turn.T + _of_the_sample(seen, loadings, relaxation)
    fade = np.exp(-np.arange(memory) * seen.time / relaxation)
    noise = seen.covariance[:memory] - fade[:, None, None] * np.outer(loadings, loadings)
    heat = HiddenHeat(loadings, relaxation, seen.time, _regular(noise))
    least = math.sqrt(5.0 * float(seen.errors()[memory, 0, 0])
                      / math.sqrt(float(np.exp(2.0 * fade_of[:, 0] / relaxation).sum())))
    return HeatEstimate(heat, gained, covariance, rest, least)


def _of_the_sample(seen: Persistence, loadings: np.ndarray, relaxation: float) -> np.ndarray:
    """Errors that the noise does not make, (couplings + 1, same).

    What so many particles happened to carry in so much time: with n t/τ independent values <θ²> is known to
    sqrt(2 τ/n t) (Bartlett, J. R. Stat. Soc. Suppl. 8, 27, 1946), twice that for heat that neighbours share.
    """
    couplings = len(loadings)
    shared = relaxation / (seen.counted[0] * seen.time)
    out = np.zeros((couplings + 1, couplings + 1))
    out[:couplings, :couplings] = shared * np.outer(loadings, loadings)
    out[-1, -1] = 4.0 * shared
    return out


def _regular(noise: np.ndarray) -> np.ndarray:
    """Noise whose spectrum is positive: lags beyond zero are made smaller if they have to be."""
    frequency = np.linspace(0.0, math.pi, 65)
    out = noise.copy()
    for _ in range(60):
        spectrum = out[0] + 2.0 * np.einsum("fl,lab->fab", np.cos(np.outer(frequency, np.arange(1, len(out)))), out[1:])
        if np.linalg.eigvalsh(spectrum).min() > 0.02 * float(np.linalg.eigvalsh(out[0]).min()):
            return out
        out[1:] *= 0.9
    return out
