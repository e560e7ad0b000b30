"""Profiles of the classes of spots in a frame, measured with all spots at once; and the background between them.

With places, sizes and brightnesses as they stand, the light of a frame is linear in the profiles: each is a cubic
spline of r/s with a level middle that ends smoothly at its reach, and all of them, with the background (a constant,
or a polynomial of second order), are solved for by weighted least squares of all pixels. Where images touch or
overlap, the light of neighbours is thereby told apart, which means over spots, one by one, cannot do. Beside
Gaussians, whose profile is known, the background is a surface of straight pieces between nodes several particles
apart.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from vid2dyn.tracking.columns import AMPLITUDE, WIDTH, X, Y
from vid2dyn.tracking.fit.sized import FINE, Shapes

_BAND = 64                         # rows of the frame taken at a time
_KNOTS = 0.45, 16                   # distance of knots [px] at least, and knots in a size at most
_STIFF = 1e-4                      # of the mean weight of a coefficient: against ripples
_LOOSE = 1e-3                      # the same for nodes of the background


def measured_shapes(image: np.ndarray, background: np.ndarray, weight: np.ndarray, spots: np.ndarray, kind: np.ndarray,
                    reach: np.ndarray, sizes: np.ndarray,
                    curved: bool) -> tuple[Shapes, np.ndarray, np.ndarray] | None:
    """Profiles of all classes, largest value 1; what amplitudes have to be multiplied by, (C,); and the background.

    Parameters
    ----------
    image, background, weight : (H, W) arrays
        Grey levels, and inverse variance of pixels.
    spots : (N, 7) array
        Table of spots; WIDTH is the size.
    kind : (N,) int64 array
        Class of each.
    reach : (C,) array
        r/s at which each profile ends.
    sizes : (C,) array
        Typical size of each class [px].
    curved : bool
        Whether the background changes by a polynomial of second order, or by a constant only.

    Returns
    -------
    None where a class has too little light to show a profile.
    """
    classes = len(reach)
    spacing = np.array([max(_KNOTS[0] / s, 1.0 / _KNOTS[1]) for s in sizes])
    count = np.maximum(np.ceil(reach / spacing).astype(int), 5)
    spacing = reach / count
    first = np.concatenate([[0], np.cumsum(count - 1)])
    curve = _polynomial(image.shape)[:None if curved else 1]
    terms = int(first[-1])
    n = terms + len(curve)
    matrix, right = np.zeros((n, n)), np.zeros(n)
    rows, width = image.shape
    design = np.zeros((_BAND * width, n))
    for top in range(0, rows, _BAND):
        size = (min(top + _BAND, rows) - top) * width
        part = design[:size]
        part[:] = 0.0
        _add_basis(part, top, width, size // width, spots, kind, reach, spacing, count, first)
        for k, (along_y, along_x) in enumerate(curve):
            part[:, terms + k] = np.outer(along_y[top:top + _BAND], along_x).ravel()
        weighted = part * weight[top:top + _BAND].ravel()[:, None]
        matrix += weighted.T @ part
        right += weighted.T @ (image[top:top + _BAND] - background[top:top + _BAND]).ravel()
    scale = np.diag(matrix)
    for c in range(classes):
        own = slice(first[c], first[c + 1])
        k = count[c] - 1
        if not (scale[own] > 0).all():
            return None
        bend = np.diff(np.eye(k + 2), 2, axis=0)[:, :k] * math.sqrt(_STIFF * scale[own].mean())
        matrix[own, own] += bend.T @ bend
    try:
        found = np.linalg.solve(matrix, right)
    except np.linalg.LinAlgError:
        return None
    longest = int(np.ceil(reach.max() * FINE)) + 3
    table, peaks = np.zeros((classes, longest, 2)), np.ones(classes)
    for c in range(classes):
        u = np.arange(longest) / FINE
        light, slope = _spline(found[first[c]:first[c + 1]], u / spacing[c])
        peaks[c] = light[np.abs(light).argmax()]
        if not peaks[c] > 0:
            return None
        table[c] = np.stack([light, slope / spacing[c]], axis=1) / peaks[c]
    change = sum(a * np.outer(y, x) for a, (y, x) in zip(found[terms:], curve))
    return Shapes(table, reach.astype(float).copy()), peaks, background + change


def _polynomial(shape: tuple[int, ...]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Factors along y and x of 1, u, v, u², u v, v², with u and v from -1 to 1."""
    u, v = (np.linspace(-1.0, 1.0, edge) for edge in shape)
    one, other = np.ones(shape[0]), np.ones(shape[1])
    return [(one, other), (u, other), (one, v), (u * u, other), (u, v), (one, v * v)]


@njit(cache=True, nogil=True)
def _basis(t, out):
    """Values of the four cubic B-splines that live at the fraction t of a piece."""
    s = 1.0 - t
    out[0] = s * s * s / 6.0
    out[1] = (3.0 * t * t * t - 6.0 * t * t + 4.0) / 6.0
    out[2] = (3.0 * s * s * s - 6.0 * s * s + 4.0) / 6.0
    out[3] = t * t * t / 6.0


@njit(cache=True, nogil=True)
def _add_basis(design, top, width, rows, spots, kind, reach, spacing, count, first):
    """Columns of the design matrix of a band of rows: brightness times the splines of each spot."""
    value = np.empty(4)
    for i in range(spots.shape[0]):
        c = kind[i]
        far, scale = reach[c] * spots[i, WIDTH], 1.0 / (spots[i, WIDTH] * spacing[c])
        cy, cx, light = spots[i, Y], spots[i, X], spots[i, AMPLITUDE]
        for y in range(max(math.ceil(cy - far), top), min(math.floor(cy + far), top + rows - 1) + 1):
            half = math.sqrt(max(far * far - (y - cy) ** 2, 0.0))
            for x in range(max(math.ceil(cx - half), 0), min(math.floor(cx + half), width - 1) + 1):
                t = math.sqrt((y - cy) ** 2 + (x - cx) ** 2) * scale
                k = int(t)
                _basis(t - k, value)
                row = design[(y - top) * width + x]
                for q in range(4):
                    j = abs(k + q - 1)                     # even in r: level in the middle
                    if j < count[c] - 1:                   # the last ones would not end smoothly
                        row[first[c] + j] += light * value[q]


def _spline(coefficients: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values and derivatives by t of a spline whose first piece is mirrored at 0."""
    n = len(coefficients)
    k = np.minimum(t.astype(int), n + 1)
    f = np.minimum(t - k, 1.0)
    padded = np.concatenate([coefficients[1:2], coefficients, np.zeros(6)])
    a, b, c, d = (padded[k + q] for q in range(4))
    g = 1 - f
    light = (a * g**3 + b * (3 * f**3 - 6 * f**2 + 4) + c * (3 * g**3 - 6 * g**2 + 4) + d * f**3) / 6
    slope = (-a * g**2 + b * (3 * f**2 - 4 * f) - c * (3 * g**2 - 4 * g) + d * f**2) / 2
    return light, slope


class Surface:
    """A smooth background: straight pieces between nodes on a grid.

    Parameters
    ----------
    shape : (int, int)
        Of the frame.
    spacing : float
        Distance of the nodes [px], at least; there are 13 along an edge at most.
    every : int
        Rows and columns between the pixels that are asked.
    """

    def __init__(self, shape: tuple[int, int], spacing: float, every: int = 1) -> None:
        self.asked = (slice(None, None, every), slice(None, None, every))
        self.nodes = tuple(2 if edge < 2 * spacing else min(int(edge / spacing) + 1, 13) for edge in shape)
        self.axes = [self._axis(edge, n) for edge, n in zip(shape, self.nodes)]

    @staticmethod
    def _axis(edge: int, nodes: int) -> np.ndarray:
        """(edge, nodes) weights of the nodes at every pixel."""
        place = np.linspace(0, nodes - 1, edge)
        k = np.minimum(place.astype(int), nodes - 2)
        out = np.zeros((edge, nodes))
        out[np.arange(edge), k] = 1 - (place - k)
        out[np.arange(edge), k + 1] = place - k
        return out

    def fitted(self, values: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """(H, W) surface nearest in weighted least squares to `values`, those of a frame at the pixels `asked`."""
        n, m = self.nodes
        a, b = (axis[part] for axis, part in zip(self.axes, self.asked))
        pairs_a = (a[:, :, None] * a[:, None, :]).reshape(len(a), -1)             # (H, n n)
        pairs_b = (b[:, :, None] * b[:, None, :]).reshape(len(b), -1)
        matrix = (pairs_a.T @ weight @ pairs_b).reshape(n, n, m, m).transpose(0, 2, 1, 3).reshape(n * m, n * m)
        right = (a.T @ (weight * values) @ b).ravel()
        grid = np.arange(n * m).reshape(n, m)
        loose = _LOOSE * np.diag(matrix).mean()
        for one, other in ((grid[:, :-1], grid[:, 1:]), (grid[:-1], grid[1:])):
            i, j = one.ravel(), other.ravel()
            np.add.at(matrix, (i, i), loose)
            np.add.at(matrix, (j, j), loose)
            np.add.at(matrix, (i, j), -loose)
            np.add.at(matrix, (j, i), -loose)
        found = np.linalg.solve(matrix, right).reshape(n, m)
        return np.asarray(self.axes[0] @ found @ self.axes[1].T)
