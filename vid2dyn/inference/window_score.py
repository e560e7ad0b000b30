"""Likelihood of the momentum changes over windows: score, information, held-out log-likelihood.

For a window (`vid2dyn.inference.windows`) of length T = k dt with A(φ) = ∫ Γ dt,

    R = impulse - pushes·θ + drags·φ ~ Normal(0, C),     C = 2 kT [c A(φ) + ν T],
    -log p = 1/2 Rᵀ C⁻¹ R + 1/2 log det C - J(φ).

c, at most one, is the share of the noise that a memory shorter than T lets show (`plateau`). ν is noise that no
friction of the list explains, a number of the fit that ought to come out small against Γ: errors of the integrals,
forces that are not in the list. It also keeps C regular where a particle has no neighbour.

J belongs to R being evaluated along the path that the noise itself has bent: v inside the window holds what R has done
to it before, so E[∂R/∂φ C⁻¹ R] is not zero. With X = Γ T/m and the mean response of the midpoint rule of k steps,

    E[∫ v dt Rᵀ] = 2 kT T X [1/2 - X (1/6 + 1/12k²) + ...],      J = [tr X/2 - (1/12 + 1/24k²) tr X²]/c

(for k = 1, tr X/2 - tr X²/8: the Jacobian log det(1 + X/2) of one Crank-Nicolson step, to this order). Left out, kT
would come out wrong by X/2 of itself. Positions are bent too, by E[δx(t) Rᵀ] = 2 kT Γ t²/2m, and forces answer:
E[∂R/∂θ C⁻¹ R] = ∂ tr Y (1 + 1/2k²)/6 with Y = M⁻¹K T² and the second derivative K of the energy, so

    J gains tr Y (1 + 1/2k²)/6      (left out: tr XY/24 and tr Y²/240, so windows should not be longer than Y ~ 1).

Without it forces of stiff particles come out weak, by a third where the motion in a well turns around in a window.

The covariance is the full sparse one. With x = C⁻¹ R by conjugate gradients and y the same for draws of the model
itself, fixed for every window so that the score is a smooth function, the slope in any number is

    -x·∂R + [x·∂C x - mean y·∂C y]/2 + ∂J,

and the information ∂R·C⁻¹∂R + y·∂C C⁻¹∂C y/2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from vid2dyn.inference.pair_matrix import PairMatrix
from vid2dyn.inference.windows import Mixing, Terms, Window

PROBES = 2
"""Draws of the model's own noise for the slope of the log determinant."""
EXACT, ROUGH = 1e-5, 1e-2
"""Tolerances of conjugate gradients: for the score, and for the information, of which two digits are enough."""
LANCZOS = 24
"""Steps of the Lanczos recursion for a log determinant."""
DENSE = 900
"""Coordinates up to which log determinants are exact."""


@dataclass(frozen=True, eq=False)
class Numbers:
    """All numbers of a model of terms.

    Parameters
    ----------
    theta : (parameters,) array
        Of all terms, energies first [their units].
    kT : float
        [energy]
    unexplained : float
        ν [mass/s].
    """

    theta: np.ndarray
    kT: float
    unexplained: float

    @property
    def vector(self) -> np.ndarray:
        """θ, ln kT, ν."""
        return np.concatenate([self.theta, [math.log(self.kT), self.unexplained]])

    @classmethod
    def of(cls, vector: np.ndarray) -> Numbers:
        """From `vector`."""
        return cls(vector[:-2], math.exp(float(vector[-2])), float(vector[-1]))


@dataclass(frozen=True, eq=False)
class Scored:
    """What one window gives: score (parameters + 2,), information of the same size or None, R·C⁻¹R, its expectation."""

    score: np.ndarray
    information: np.ndarray | None
    chi2: float
    freedom: int


@dataclass(frozen=True, eq=False)
class WindowModel:
    """A window under some numbers.

    Parameters
    ----------
    window : Window
    mixing, middle : Mixing
        Friction over the window, and at its middle alone (every pair once) for J.
    terms : Terms
    numbers : Numbers
    inverse_mass : (n,) array
    shown : float
        c.
    """

    window: Window
    mixing: Mixing
    middle: Mixing
    terms: Terms
    numbers: Numbers
    inverse_mass: np.ndarray
    shown: float = 1.0

    @property
    def closed(self) -> bool:
        """Whether nothing takes the total momentum away."""
        return self.mixing.node_which.shape[1] == 0

    @property
    def freedom(self) -> int:
        """Independent numbers in R."""
        n, dim = self.window.impulse.shape
        return (n - 1) * dim if self.closed else n * dim

    def covariance(self) -> PairMatrix:
        """C."""
        numbers, phi = self.numbers, self.numbers.theta[self.terms.of_energies:]
        scale = 2.0 * numbers.kT
        A = self.mixing.matrix(phi)
        return replace(A, across=scale * self.shown * A.across, along=scale * self.shown * A.along,
                       node=scale * (self.shown * A.node + numbers.unexplained * self.mixing.length))

    def residual(self) -> np.ndarray:
        """R, (n, dim); relative to the mean where the total momentum is kept."""
        R = self.window.impulse + np.tensordot(self.numbers.theta, self.window.columns, axes=1)
        return R - R.mean(axis=0) if self.closed else R

    def response(self) -> tuple[float, np.ndarray]:
        """J and its slopes in the parameters of all terms."""
        count = self.terms.of_frictions
        phi, k = self.numbers.theta[self.terms.of_energies:], self.window.frames
        bend = 1 / 12 + 1 / (24 * k**2)
        trace, square, *slopes = self.middle.matrix(phi).response(self.inverse_mass)
        on_pairs = 0.5 * slopes[0] - bend * slopes[1]
        on_nodes = 0.5 * slopes[2] - bend * slopes[3]
        on_energies = self.window.stiffness * (self.mixing.length**2 * (1 + 1 / (2 * k**2)) / 6)
        theta = self.numbers.theta[:self.terms.of_energies]
        return ((0.5 * trace - bend * square) / self.shown + float(on_energies @ theta),
                np.concatenate([on_energies, self.middle.slopes(on_pairs, on_nodes, count) / self.shown]))

    def scored(self, rng: np.random.Generator, *, information: bool) -> Scored:
        """Score, and information if wanted."""
        C, R = self.covariance(), self.residual()
        energies, count = self.terms.of_energies, self.terms.of_frictions
        total = energies + count
        x = self.centred(C.solve(R, EXACT))
        scale = 2.0 * self.numbers.kT
        drawn = [self.centred(C.solve(self.centred(C.draw(rng)), EXACT)) for _ in range(PROBES)]
        score = np.zeros(total + 2)
        score[:total] = -np.tensordot(self.window.columns, x, axes=2)
        noise = self._noise_slopes(C, x, count)
        # all slopes of C together, times their numbers, make C, of which the trace is known: draws of that size have no
        # error in the direction in which kT rises as friction falls, where the noise tells nothing
        expected = [self._noise_slopes(C, y, count) for y in drawn]
        noise -= np.mean([slopes * (self.freedom / slopes[count]) for slopes in expected], axis=0)
        score[energies:] += 0.5 * noise
        # of the log determinant in ln kT the mean is known
        chi2 = float((x * R).sum())
        score[total] = 0.5 * (chi2 - self.freedom)
        score[:total] += self.response()[1]
        found = None
        if information:
            found = np.zeros((total + 2, total + 2))
            solved = np.stack([self.centred(C.solve(self.centred(column), ROUGH)) for column in self.window.columns])
            flat = self.window.columns.reshape(total, -1)
            found[:total, :total] = solved.reshape(total, -1) @ flat.T
            y = drawn[0]
            changes = np.concatenate([scale * self.shown * self.mixing.part(y, count), C.times(y)[None],
                                      scale * self.mixing.length * y[None]])
            back = np.stack([self.centred(C.solve(self.centred(change), ROUGH)) for change in changes])
            found[energies:, energies:] += 0.5 * back.reshape(count + 2, -1) @ changes.reshape(count + 2, -1).T
            found = 0.5 * (found + found.T)
        return Scored(score, found, chi2, self.freedom)

    def _noise_slopes(self, C: PairMatrix, x: np.ndarray, count: int) -> np.ndarray:
        """x·∂C x in the amplitudes, ln kT and ν."""
        scale = 2.0 * self.numbers.kT
        on_pairs, on_nodes = C.forms(x, x)
        return np.concatenate([scale * self.shown * self.mixing.slopes(on_pairs, on_nodes, count),
                               [float((x * C.times(x)).sum())], [scale * self.mixing.length * float((x * x).sum())]])

    def centred(self, x: np.ndarray) -> np.ndarray:
        return x - x.mean(axis=0) if self.closed else x

    def log_likelihood(self, rng: np.random.Generator, frame: Literal["own", "whole", "relative"] = "own") -> float:
        """Log-likelihood of the window: exact for small systems, else its determinant by Lanczos from the same random
        vectors for every model, so that differences between models are much better known than each.

        What is learned from is, in a model that keeps the total momentum, the motion relative to the centre of mass
        ("own"). To compare such a model with one that does not keep it, both are taken of the same numbers: with the
        centre of mass ("whole"; a model that keeps its momentum leaves it the unexplained noise), or of the relative
        motion alone ("relative"; of data that keep it to rounding, where the width that a model gives to zero says
        nothing).
        """
        C, n, dim = self.covariance(), *self.window.impulse.shape
        R = self.window.impulse + np.tensordot(self.numbers.theta, self.window.columns, axes=1)
        x = C.solve(R, EXACT)
        found = -0.5 * float((x * R).sum()) + self.response()[0] - 0.5 * n * dim * math.log(2 * math.pi)
        found -= 0.5 * (dense_log_determinant(C) if n * dim <= DENSE else log_determinant(C, rng))
        if frame == "whole" or (frame == "own" and not self.closed):
            return found
        # less the centre of mass, U the unit vectors along which all move: log p(R) - log p(UᵀC⁻¹R | relative motion)
        U = np.zeros((dim, n, dim))
        U[np.arange(dim), :, np.arange(dim)] = n**-0.5
        back = np.stack([C.solve(u, EXACT) for u in U])
        S = np.tensordot(back, U, axes=([1, 2], [1, 2]))
        middle = np.tensordot(U, x, axes=2)
        return found + 0.5 * float(middle @ np.linalg.solve(S, middle)) - 0.5 * float(np.linalg.slogdet(S)[1]) \
            + 0.5 * dim * math.log(2 * math.pi)


def dense_log_determinant(C: PairMatrix) -> float:
    """log det C."""
    return 2.0 * float(np.log(np.diag(np.linalg.cholesky(C.dense()))).sum())


def log_determinant(C: PairMatrix, rng: np.random.Generator, probes: int = 4) -> float:
    """log det C by stochastic Lanczos quadrature (Ubaru, Chen & Saad, SIAM J. Matrix Anal. 38, 1075, 2017).

    The diagonal is taken out first and exactly; what is left has eigenvalues of order one.
    """
    size = C.diagonal()
    root = 1.0 / np.sqrt(size)[:, None]
    n, dim = len(size), C.e.shape[1]
    total = 0.0
    for _ in range(probes):
        q = rng.choice([-1.0, 1.0], (n, dim)) / math.sqrt(n * dim)
        total += _log_form(C, root, q)
    return dim * float(np.log(size).sum()) + n * dim * total / probes


def _log_form(C: PairMatrix, root: np.ndarray, q: np.ndarray) -> float:
    """q·log(D^-1/2 C D^-1/2) q for a unit vector q, by Gauss quadrature of the Lanczos recursion."""
    alpha, beta = [], []
    before, b = np.zeros_like(q), 0.0
    for _ in range(LANCZOS):
        z = root * C.times(root * q) - b * before
        a = float((z * q).sum())
        z -= a * q
        alpha.append(a)
        b = float(np.sqrt((z * z).sum()))
        if b < 1e-12:
            break
        beta.append(b)
        before, q = q, z / b
    beside = beta[:len(alpha) - 1]
    values, vectors = np.linalg.eigh(np.diag(alpha) + np.diag(beside, 1) + np.diag(beside, -1))
    return float((vectors[0] ** 2 * np.log(np.maximum(values, 1e-300))).sum())
