"""One stack in, detections with calibrated errors out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from vid2dyn.tracking.columns import Flag, StackFeature
from vid2dyn.tracking.sensor_noise import stack_noise
from vid2dyn.tracking.stacks.gaussians import (
    AMPLITUDE,
    BACKGROUND,
    MOVE,
    NEIGHBOUR,
    NEVER,
    SPOT_COLUMNS,
    UNSETTLED,
    VOXELS,
    WINDOW,
    X,
    Y,
    Z,
    fit_together,
)
from vid2dyn.tracking.stacks.information import errors
from vid2dyn.tracking.stacks.maxima import filter_for, maxima
from vid2dyn.tracking.stacks.missed import left_over

LEAST = 6.0
"""Standard errors by which the brightness of a detection exceeds zero: noise alone does it once in 10^9 places, and a
stack of some million voxels has far more than a million places to try, as spots settle where noise is brightest."""
_CANDIDATE = 4.2                  # standard deviations of the filtered noise by which a maximum is looked at
_SWEEPS = 150
_ROUNDS = 6                       # searches for what was left over
_PRUNINGS = 4                     # times that spots are dropped and the others fitted again
_SAME = 0.7                       # widths: two spots nearer than this are one
_NOISE_PIXELS = 120_000


@dataclass(frozen=True)
class StackDetector:
    """Gaussian spots of one stack, fitted together.

    Parameters
    ----------
    spot_width : float
        Width (standard deviation) of a spot within a plane [px].
    axial_width : float
        Width along the depth [planes].
    aspect : float
        Distance of the planes over that of the pixels.
    minmass : float
        Least summed brightness [grey levels].
    separation : float
        Least distance of two detections [px]; of two that are nearer the dimmer one is dropped.
    invert : bool
        Whether particles are dark.

    Examples
    --------
    >>> from vid2dyn.simulators import StackRenderer
    >>> scene = StackRenderer(planes=16, height=32, width=32).scene(seed=0, n_particles=1)
    >>> found = StackDetector(2.0, 2.0, aspect=2.0)(scene.frame(0, np.array([[[16.3, 14.8, 8.4]]])))
    >>> found[0, :3].round(0).tolist(), bool(found[0, StackFeature.Z_STD] < 0.2)          # y, x, z, all in px
    ([16.0, 15.0, 17.0], True)
    """

    spot_width: float
    axial_width: float
    aspect: float
    minmass: float = 0.0
    separation: float = 0.0
    invert: bool = False

    def __call__(self, stack: np.ndarray) -> np.ndarray:
        """(N, `len(StackFeature)`) detections of a (Z, H, W) stack of grey levels, plane after plane."""
        spots, error, added = self.fitted(stack)
        return self._table(stack, spots, error, added)

    def fitted(self, stack: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Fitted spots, their errors (y, x [px], z [planes], brightness, neighbours), and which were added later."""
        stack, full = prepared(stack, self.invert)
        w, u = float(self.spot_width), float(self.axial_width)
        noise = stack_noise(stack, _NOISE_PIXELS)
        noise_model = (noise.offset, noise.gain, noise.floor)
        taps = filter_for(w, u, len(stack))
        found = maxima(stack, taps.lateral, taps.axial, taps.box, taps.box_axial, taps.noise, noise_model, _CANDIDATE)
        spots = np.zeros((len(found), SPOT_COLUMNS))
        spots[:, [Y, X, Z]] = found[:, :3]
        spots[:, AMPLITUDE], spots[:, BACKGROUND] = 1.5 * (found[:, 3] - found[:, 4]), found[:, 4]
        spots[:, MOVE] = UNSETTLED
        added, active = np.zeros(len(spots), bool), np.ones(len(spots), bool)
        error = np.full((len(spots), 5), np.inf)
        for turn in range(_ROUNDS + 1):
            for _ in range(_PRUNINGS):
                start, neighbour = self._neighbours(spots)
                changed = active.copy()
                fit_together(stack, spots, start, neighbour, w, u, noise_model, full, _SWEEPS, active)
                errors(stack, spots, start, neighbour, w, u, noise_model, full, changed, error)
                kept = self._kept(spots, error)
                if kept.all():
                    break
                gone = spots[~kept & (spots[:, AMPLITUDE] > 0)]     # of others the neighbours know already
                spots, added, error = spots[kept], added[kept], error[kept]
                start, neighbour = self._neighbours(spots)
                active = self._near(spots, gone)
                if not active.any():
                    break
            if turn == _ROUNDS or not len(spots):
                break
            more = left_over(stack, spots, start, neighbour, w, u, noise_model, full, LEAST)
            more = more[~self._near(more, spots, _SAME)] if len(more) else more
            more = more[first_of_pairs(self._scaled(more), more[:, AMPLITUDE], 1.5)]
            if not len(more):
                break
            active = np.concatenate([self._near(spots, more), np.ones(len(more), bool)])
            spots, added = np.vstack([spots, more]), np.concatenate([added, np.ones(len(more), bool)])
            error = np.vstack([error, np.full((len(more), 5), np.inf)])
        order = np.lexsort((spots[:, X], spots[:, Y], spots[:, Z]))
        return spots[order], error[order], added[order]

    def _scaled(self, spots: np.ndarray) -> np.ndarray:
        """Places in widths."""
        return spots[:, [Y, X, Z]] / (self.spot_width, self.spot_width, self.axial_width)

    def _neighbours(self, spots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The spots whose light reaches the box of each, as compressed rows."""
        n = len(spots)
        if n < 2:
            return np.zeros(n + 1, np.int64), np.empty(0, np.int64)
        pair = cKDTree(self._scaled(spots)).query_pairs(NEIGHBOUR, p=np.inf, output_type="ndarray")
        both = np.concatenate([pair, pair[:, ::-1]]).astype(np.int64)
        both = both[np.lexsort((both[:, 1], both[:, 0]))]
        start = np.concatenate([[0], np.cumsum(np.bincount(both[:, 0], minlength=n))]).astype(np.int64)
        return start, both[:, 1].copy()

    def _near(self, spots: np.ndarray, others: np.ndarray, reach: float = NEIGHBOUR) -> np.ndarray:
        """(N,) which spots have one of `others` within `reach` widths."""
        if not len(spots) or not len(others):
            return np.zeros(len(spots), bool)
        return cKDTree(self._scaled(others)).query(self._scaled(spots), distance_upper_bound=reach)[0] < reach

    def _kept(self, spots: np.ndarray, error: np.ndarray) -> np.ndarray:
        """(N,) which spots stand out of the noise, are bright enough, and are not a second one of the same light."""
        lit = np.flatnonzero(spots[:, AMPLITUDE] > 0)
        single = lit[first_of_pairs(self._scaled(spots[lit]), spots[lit, AMPLITUDE], _SAME)]
        # the errors of a spot say nothing while a second one of the same light is there
        doubled = self._near(spots[single], spots[np.setdiff1d(lit, single)], 2 * _SAME)
        bright = (spots[single, AMPLITUDE] >= LEAST * error[single, 3]) & (self._mass(spots[single]) >= self.minmass)
        kept = single[bright | doubled]
        if self.separation > 0:
            place = spots[kept][:, [Y, X, Z]] * (1.0, 1.0, self.aspect)
            kept = kept[first_of_pairs(place, spots[kept, AMPLITUDE], self.separation)]
        mask = np.zeros(len(spots), bool)
        mask[kept] = True
        return mask

    def _mass(self, spots: np.ndarray) -> np.ndarray:
        """Summed brightness: (2π)^(3/2) A w² u [grey levels]."""
        return (2 * np.pi) ** 1.5 * spots[:, AMPLITUDE] * self.spot_width**2 * self.axial_width

    def _table(self, stack: np.ndarray, spots: np.ndarray, error: np.ndarray, added: np.ndarray) -> np.ndarray:
        out = np.empty((len(spots), len(StackFeature)))
        F, k = StackFeature, self.aspect
        out[:, F.Y], out[:, F.X], out[:, F.Z] = spots[:, Y], spots[:, X], k * spots[:, Z]
        out[:, F.Y_STD], out[:, F.X_STD], out[:, F.Z_STD] = error[:, 0], error[:, 1], k * error[:, 2]
        out[:, F.MASS], out[:, F.SIGNAL] = self._mass(spots), spots[:, AMPLITUDE]
        flag = np.where(error[:, 4] > 0, int(Flag.TOGETHER), int(Flag.ALONE)) | int(Flag.WIDTH_HELD)
        flag[added] |= int(Flag.ADDED)
        size = np.array([stack.shape[1], stack.shape[2], stack.shape[0]])
        room = WINDOW * np.array([self.spot_width, self.spot_width, self.axial_width])
        place = spots[:, [Y, X, Z]]
        cut = ((place < room - 0.5) | (place > size - 0.5 - room)).any(axis=1)
        flag[cut] |= int(Flag.CUT)
        whole = np.issubdtype(stack.dtype, np.integer)
        if whole and (stack == (0 if self.invert else np.iinfo(stack.dtype).max)).any():
            first, last = np.maximum(np.ceil(place - room), 0), np.minimum(np.floor(place + room), size - 1)
            flag[spots[:, VOXELS] < (last - first + 1).prod(axis=1)] |= int(Flag.SATURATED)
        out[:, F.FLAG] = flag
        return out


def prepared(stack: np.ndarray, invert: bool) -> tuple[np.ndarray, float]:
    """The stack with bright particles, 16 bit or single precision, and the grey level from which on it is saturated."""
    stack = np.ascontiguousarray(stack)
    if stack.dtype not in (np.uint8, np.uint16):
        stack = stack.astype(np.float32, copy=False)
        return (stack.max() - stack, NEVER) if invert else (stack, NEVER)
    top = float(np.iinfo(stack.dtype).max)
    stack = stack.astype(np.uint16, copy=False)               # compiled code for one kind of whole numbers
    if invert:
        stack = np.uint16(top) - stack                        # black becomes the level at which voxels are cut off
    return stack, top


def first_of_pairs(place: np.ndarray, bright: np.ndarray, reach: float) -> np.ndarray:
    """(N,) which places stay when of any two nearer than `reach` the dimmer goes.

    >>> first_of_pairs(np.array([[0.0, 0, 0], [0, 0, 1], [0, 0, 9]]), np.array([1.0, 2.0, 1.0]), 2.0).tolist()
    [False, True, True]
    """
    keep = np.ones(len(place), bool)
    if len(place) < 2:
        return keep
    for i, j in sorted(cKDTree(place).query_pairs(reach), key=lambda pair: -max(bright[pair[0]], bright[pair[1]])):
        if keep[i] and keep[j]:
            keep[j if (bright[i], -i) >= (bright[j], -j) else i] = False
    return keep
