"""Radial functions as cubic splines: the one shape in which pair potentials are learned.

A pair potential is ``phi(r) = sum_a c_a B_a(u(r))`` with uniform cubic B-splines in the stretched
distance ``u``, 0 at `inner` and 1 at `cutoff`. The last three splines of the usual basis are left out,
so phi, phi' and phi'' vanish at the cutoff: forces and stiffness are continuous there (C2).

The stretching ``u = (inner^-p - r^-p) / (inner^-p - cutoff^-p)`` with p = 1/2 puts more knots where
repulsive potentials bend. Inside `inner`, where no pair was seen, phi continues as a parabola.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vid2dyn.core.errors import ConfigError


@dataclass(frozen=True)
class RadialSpline:
    """Basis of cubic B-splines on [inner, cutoff], C2 at the cutoff.

    Parameters
    ----------
    inner : float
        Shortest distance resolved [µm]; 0 for soft particles that overlap.
    cutoff : float
        Distance beyond which the function is zero [µm].
    knots : int
        Number of basis functions (and of knot intervals).

    Examples
    --------
    >>> spline = RadialSpline(inner=0.8, cutoff=3.0, knots=12)
    >>> value, slope, curvature = spline(np.array([1.0, 3.0]))
    >>> value.shape, bool(np.abs(curvature[1]).max() < 1e-12)
    ((2, 12), True)
    """

    inner: float
    cutoff: float
    knots: int

    def __post_init__(self) -> None:
        if not 0 <= self.inner < self.cutoff:
            raise ConfigError(f"RadialSpline: inner = {self.inner:g} µm must lie in [0, cutoff = {self.cutoff:g} µm).")
        if self.knots < 4:
            raise ConfigError(f"RadialSpline: knots = {self.knots}; a cubic spline needs at least 4.")

    @property
    def stretch(self) -> float:
        """Exponent p of the stretching; 0 (none) when the spline reaches close to contact r = 0."""
        return 0.5 if self.inner > 0.1 * self.cutoff else 0.0

    @property
    def end(self) -> float:
        """Where the last two knot intervals begin [µm]: beyond, at most two functions are left, and the form of their
        sum is that of the smooth end, whatever the data are.

        >>> round(RadialSpline(inner=0.0, cutoff=3.0, knots=12).end, 6), round(RadialSpline(0.8, 3.0, 12).end, 6)
        (2.5, 2.244626)
        """
        u, p = 1 - 2 / self.knots, self.stretch
        if p == 0.0:
            return self.inner + u * (self.cutoff - self.inner)
        return float((self.inner**-p - u * (self.inner**-p - self.cutoff**-p)) ** (-1 / p))

    def coordinate(self, r: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """u(r) and its first two derivatives, for r in [inner, cutoff]."""
        p = self.stretch
        if p == 0.0:
            span = self.cutoff - self.inner
            return (r - self.inner) / span, np.full_like(r, 1 / span), np.zeros_like(r)
        span = self.inner**-p - self.cutoff**-p
        return ((self.inner**-p - r**-p) / span, p * r ** (-p - 1) / span, -p * (p + 1) * r ** (-p - 2) / span)

    def __call__(self, r: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Basis functions B_a(r), dB_a/dr and d²B_a/dr², each of shape (len(r), knots)."""
        r = np.atleast_1d(np.asarray(r, dtype=float))
        u, du, ddu = self.coordinate(np.clip(r, self.inner, self.cutoff))
        s = u * self.knots
        first = np.clip(np.floor(s).astype(int), 0, self.knots - 1)
        local = bspline(s - first)
        out = np.zeros((3, r.size, self.knots))
        slope = du * self.knots
        for m in range(4):
            here = (first + m < self.knots) & (r < self.cutoff)
            i, a = np.flatnonzero(here), (first + m)[here]
            b, db, ddb = (local[k][m][here] for k in range(3))
            out[0, i, a] = b
            out[1, i, a] = db * slope[here]
            out[2, i, a] = ddb * slope[here] ** 2 + db * ddu[here] * self.knots
        inside = r < self.inner
        d = (r - self.inner)[inside, None]
        out[0, inside] += out[1, inside] * d + 0.5 * out[2, inside] * d**2
        out[1, inside] += out[2, inside] * d
        return out[0], out[1], out[2]

    def local(self, r: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The four functions that live at each r, for sums over many pairs: their numbers, B_a(r) and dB_a/dr,
        (n, 4) each.

        Where fewer than four live, the rest have the number 0 and the value 0.

        >>> spline = RadialSpline(inner=0.8, cutoff=3.0, knots=12)
        >>> which, value, slope = spline.local(np.array([1.3]))
        >>> bool(np.allclose(value[0], spline(np.array([1.3]))[0][0, which[0]]))
        True
        """
        r = np.asarray(r, dtype=float)
        at = np.clip(r, self.inner, self.cutoff)
        u, du, ddu = self.coordinate(at)
        s = u * self.knots
        first = np.clip(s.astype(np.int64), 0, self.knots - 1)
        b, db, ddb = (np.stack(part, axis=1) for part in bspline(s - first))
        which = first[:, None] + np.arange(4)
        here = (which < self.knots) & (r < self.cutoff)[:, None]
        rate = (du * self.knots)[:, None]
        value, slope = b, db * rate
        inside = r < self.inner
        if inside.any():
            d = (r - self.inner)[inside, None]
            bend = ddb[inside] * rate[inside] ** 2 + db[inside] * (ddu[inside] * self.knots)[:, None]
            value[inside] += slope[inside] * d + 0.5 * bend * d**2
            slope[inside] += bend * d
        return np.where(here, which, 0), np.where(here, value, 0.0), np.where(here, slope, 0.0)

    def roughness(self) -> np.ndarray:
        """(knots, knots) matrix P: c·P c is the summed squared third difference of the coefficients.

        P-splines (Eilers & Marx, Statist. Sci. 11, 89, 1996), with the coefficients beyond the cutoff zero. The
        three differences that reach past the cutoff count a twentieth: at full weight they bend the tail of every
        potential down to zero before its time (0.2 kT at contact for Yukawa), without any the tail is free to swing.
        """
        third = np.diff(np.eye(self.knots + 3), 3, axis=0)[:, : self.knots]
        weight = np.ones(self.knots)
        weight[-3:] = 0.05
        return third.T @ (weight[:, None] * third)


def bspline(w: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    """The four uniform cubic B-splines over one interval, w in [0, 1]: values, first, second derivatives."""
    v = 1 - w
    value = [v**3 / 6, (3 * w**3 - 6 * w**2 + 4) / 6, (-3 * w**3 + 3 * w**2 + 3 * w + 1) / 6, w**3 / 6]
    first = [-(v**2) / 2, (9 * w**2 - 12 * w) / 6, (-9 * w**2 + 6 * w + 3) / 6, w**2 / 2]
    second = [v, 3 * w - 2, 1 - 3 * w, w]
    return value, first, second
