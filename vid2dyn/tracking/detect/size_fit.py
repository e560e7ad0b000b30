"""Spots of several sizes in one frame: found, fitted together, told apart, those that were missed added."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vid2dyn.core.opencv import cv2
from vid2dyn.tracking.columns import AMPLITUDE, BACKGROUND, MISFIT, MOVE, SPOT_COLUMNS, UNSETTLED, WIDTH, X, Y
from vid2dyn.tracking.detect.size_search import lookalikes, maxima, missed, profile_of, rough_background
from vid2dyn.tracking.fit import sized
from vid2dyn.tracking.fit.nearby import Neighbours, neighbours
from vid2dyn.tracking.fit.shapes import Surface, measured_shapes
from vid2dyn.tracking.fit.sized import FINE, Shapes
from vid2dyn.tracking.sensor_noise import CameraNoise

_ROUNDS = 4                        # of fitting, telling apart, adding and dropping
_COARSE, _FINE = (8, 0.02), (30, 0.001)    # turns, and rest [sizes], of a fit within a round; of the last
_LOOSE = 0.3                       # spread of the logarithm of a size about that of its class, while that is free
_NODES = 16.0                      # largest sizes between nodes of the background: it is known far better than needed
_SIGNIFICANT = 5.0                 # standard errors of its brightness that a spot needs
_DIM = 0.2                         # of the typical brightness of a disc or ring: no spot of its own
_SAME = {"gaussian": 0.35, "disc": 0.45, "ring": 0.45}     # of the sum of two sizes: nearer ones are one spot
_MOST_LEFT = 100.0                 # times the noise, as a mean square, that one pixel counts for
_LIT = 3.0                         # standard deviations of the noise by which a pixel differs from the background
_DARK, _CROWDED = 2.5, 0.6         # sizes from a Gaussian to where it is dark; share of the frame that spots cover
_UNEVEN = 3.0                      # standard deviations of a pixel that an uneven background spans
_OUTLYING = 3.0                    # typical residuals beyond which a pixel has little say: spots not found yet
_BEYOND_DOUBT = 40.0               # logarithm of the odds of a class
_CLEAR = 8                         # spots of a class whose profile can be measured


@dataclass
class SizedFit:
    """Spots of one frame.

    Parameters
    ----------
    spots : (N, 7) array
        Table of spots, see `vid2dyn.tracking.columns`; WIDTH is the size, of the class where there are classes [px].
    kind : (N,) int64 array
        Class.
    probability : (N, C) array
        Of each class, from the image of the spot.
    variances : (N, 4) array
        Of A, y, x and log size.
    change : (N,) array
        What the logarithm of a size still would change if it were free.
    shapes : Shapes
    sizes : (C,) array
        Of the classes [px].
    near : Neighbours
    inflation : float
        What is left over the variance of the noise, the median over spots.
    light : (H, W) array
        Of all spots.
    left_over : float
        Mean square that is left over the noise, of the pixels that differ clearly from the background.
    """

    spots: np.ndarray
    kind: np.ndarray
    probability: np.ndarray
    variances: np.ndarray
    change: np.ndarray
    shapes: Shapes
    sizes: np.ndarray
    near: Neighbours
    inflation: float
    light: np.ndarray
    left_over: float


class FrameFit:
    """The fit of one frame.

    Parameters
    ----------
    image : (H, W) array of uint8, uint16 or float32
        Bright spots [grey levels].
    noise : CameraNoise
        Of its pixels.
    shape : {"gaussian", "disc", "ring"}
    sizes : (C,) sequence
        Of the classes [px]; or, with `free`, sizes spread over those that occur.
    free : bool
        Whether every spot has a size of its own.
    looked_for : sequence, optional
        Sizes that the search looks for; by default `sizes`.
    rounds : int
        Of fitting, telling apart, adding and dropping, at most.
    """

    def __init__(self, image: np.ndarray, noise: CameraNoise, shape: str, sizes: Sequence[float] | np.ndarray,
                 free: bool, looked_for: Sequence[float] | np.ndarray | None = None, rounds: int = _ROUNDS) -> None:
        self.image, self.noise, self.shape, self.free, self.rounds = image, noise, shape, free, rounds
        given = np.asarray(sizes, float)
        self.looked_for = given if looked_for is None else np.asarray(looked_for, float)
        self.sizes = np.exp(np.log(given).mean(keepdims=True)) if free else given
        spread = max(float(np.log(self.looked_for.max() / self.looked_for.min())), 0.1)
        self.range = max(_LOOSE, 0.5 * spread) if free else _LOOSE
        smooth = cv2.GaussianBlur(image.astype(np.float32), (0, 0), 1.5, borderType=cv2.BORDER_REFLECT)
        self.smooth = smooth
        self.weight = 1.0 / noise.variance(smooth)
        self.deviation = noise.std(float(np.median(image)))
        self.background = rough_background(image, self.deviation)
        self.even = False
        if shape != "gaussian":
            self._even_background()
        self.spacing = max(_NODES * float(self.looked_for.max()), 24.0)
        self.surface = Surface(image.shape, self.spacing, 2 if min(image.shape) >= 96 else 1)
        self.shapes = plain_shapes(shape, self.sizes)
        self.left = np.zeros(image.shape)
        self.curved = False
        self.odds = np.zeros((0, len(self.sizes)))         # logarithms of the probabilities of the classes, (N, C)

    def run(self) -> SizedFit | None:
        """All of it; None where there is no spot."""
        spots = self._first()
        if not len(spots):
            return None
        covered = len(spots) * math.pi * float(np.square(_DARK * self.sizes).mean()) / self.image.size
        if self.shape == "gaussian" and covered > _CROWDED:
            self._even_background()
        spots, kind = self._settled(spots, self._nearest_class(spots), True, 3)
        kind = self._nearest_class(spots)
        self.odds = np.zeros((len(spots), len(self.sizes)))
        for turn in range(self.rounds):
            if not len(spots):
                return None
            if not self.free:
                spots[:, WIDTH] = self.sizes[kind]
            self.curved = self.curved or (turn == 1 and self._uneven(spots, kind))
            self._measure_shapes(spots, kind)
            new = self._missed(spots, kind) if turn < self.rounds - 1 else np.empty((0, SPOT_COLUMNS + 1))
            if len(new):
                spots = np.concatenate([spots, new[:, :SPOT_COLUMNS]])
                kind = np.append(kind, np.zeros(len(new), np.int64) if self.free else new[:, -1].astype(np.int64))
                self.odds = np.concatenate([self.odds, np.zeros((len(new), len(self.sizes)))])
            spots, kind = self._settled(spots, kind, self.free, 2)
            changed = False
            if not self.free and len(self.sizes) > 1 and len(spots):
                told = self._classes(spots, kind)
                changed = bool((told != kind).any())
                kind = told
                spots[:, WIDTH] = self.sizes[kind]
            if turn and not len(new) and not changed:
                break
        return self._result(spots, kind) if len(spots) else None

    # ---------------------------------------------------------------- steps

    def _even_background(self) -> None:
        """Where images touch, parts of the frame may be all light: the background of the others goes for all."""
        self.even = True
        self.background = np.full(self.image.shape, float(np.quantile(self.background, 0.25)))

    def _first(self) -> np.ndarray:
        if self.shape == "gaussian":
            return maxima(self.image, float(self.looked_for.min()), float(self.looked_for.max()), self.deviation)
        return lookalikes(self.image, self.shape, self.looked_for, self.deviation)[0]

    def _nearest_class(self, spots: np.ndarray) -> np.ndarray:
        if self.free:
            return np.zeros(len(spots), np.int64)
        return np.abs(np.log(spots[:, WIDTH, None] / self.sizes)).argmin(axis=1)

    def _prior(self) -> np.ndarray:
        spread = self.range if self.free else _LOOSE
        n = len(self.sizes)
        return np.stack([np.log(self.sizes), np.full(n, spread**-2 / 4), np.full(n, 3 * spread)])

    def _near(self, spots: np.ndarray) -> Neighbours:
        reach = float(self.shapes.reach.max())
        return neighbours(spots[:, Y].copy(), spots[:, X].copy(), 1.6 * reach * float(np.max(spots[:, WIDTH])))

    def _settled(self, spots: np.ndarray, kind: np.ndarray, free: bool, turns: int) -> tuple[np.ndarray, np.ndarray]:
        """Spots and background fitted in turns; what is no spot is gone."""
        for _ in range(turns):
            if not len(spots):
                break
            self._fit(spots, kind, free, *_COARSE)
            keep = self._kept(spots, kind)
            spots, kind = spots[keep].copy(), kind[keep].copy()
            self.odds = self.odds[keep] if len(self.odds) else self.odds
        return spots, kind

    def _fit(self, spots: np.ndarray, kind: np.ndarray, free: bool, most: int, rest: float) -> Neighbours:
        """One fit of the spots and then of the background."""
        spots[:, MOVE] = UNSETTLED
        near = self._near(spots)
        self.left = sized.remainder(self.image, self.background, spots, kind, self.shapes)
        sized.fit(self.left, self.weight, spots, kind, self.shapes, near, free, self._prior(), rest, most)
        if self.shape == "gaussian":
            self._fit_background(spots, kind)
        return near

    def _fit_background(self, spots: np.ndarray, kind: np.ndarray) -> None:
        """Of Gaussians; that of discs and rings is measured with their profiles.

        Pixels with much light of spots say little about the background: their light would take its part.
        """
        if self.even:
            change = np.full(self.image.shape, self._constant(spots, kind))
        else:
            some = self.surface.asked
            left, weight = self.left[some], self.weight[some]
            light = self.image[some] - self.background[some] - left
            change = self.surface.fitted(left, weight / (1.0 + weight * light**2 * 4.0))
        self.background += change
        self.left -= change

    def _constant(self, spots: np.ndarray, kind: np.ndarray) -> float:
        """Change of an even background, solved for together with what all spots of a class would do about it: another
        brightness and another size. One after the other they would follow each other for ever."""
        columns = [np.ones(self.image.shape)]
        for c in range(len(self.sizes)):
            part, wider = (np.zeros(self.image.shape) for _ in range(2))
            for i in np.flatnonzero(kind == c):
                sized.add_light(part, spots, i, kind, self.shapes, 1.0)
            grown = spots.copy()
            grown[:, WIDTH] *= 1.01
            for i in np.flatnonzero(kind == c):
                sized.add_light(wider, grown, i, kind, self.shapes, 1.0)
            columns += [part, wider - part] if part.any() else []
        square = self.weight * self.left**2
        trust = self.weight / (1.0 + square / (_OUTLYING**2 * max(2.2 * float(np.median(square)), 1.0)))
        design = np.stack([column.ravel() for column in columns])
        matrix, right = (design * trust.ravel()) @ design.T, design @ (trust * self.left).ravel()
        found = np.linalg.lstsq(matrix, right, rcond=1e-12)[0]
        return float(found[0])

    def _kept(self, spots: np.ndarray, kind: np.ndarray) -> np.ndarray:
        """Spots with light of their own, and not twice."""
        near = self._near(spots)
        strength = sized.strengths(self.left, self.weight, spots, kind, self.shapes)
        height, width = self.image.shape
        keep = strength > _SIGNIFICANT * math.sqrt(max(float(np.median(spots[:, MISFIT])), 1.0))
        beyond = spots[:, WIDTH]                           # cut by the frame: their light is there all the same
        keep &= (spots[:, Y] > -beyond) & (spots[:, Y] < height - 1 + beyond)
        keep &= (spots[:, X] > -beyond) & (spots[:, X] < width - 1 + beyond)
        if self.shape != "gaussian" and keep.any():
            keep &= spots[:, AMPLITUDE] > _DIM * np.median(spots[keep, AMPLITUDE])
        owner = np.repeat(np.arange(len(spots)), np.diff(near.start))
        other = near.indices
        far = np.hypot(spots[owner, Y] - spots[other, Y], spots[owner, X] - spots[other, X])
        power = spots[:, AMPLITUDE] * spots[:, WIDTH]
        twice = (far < _SAME[self.shape] * (spots[owner, WIDTH] + spots[other, WIDTH])) & keep[owner] & keep[other]
        twice &= (power[owner] < power[other]) | ((power[owner] == power[other]) & (owner > other))
        keep[owner[twice]] = False
        return keep

    def _measure_shapes(self, spots: np.ndarray, kind: np.ndarray) -> None:
        """Profiles of discs and rings measured with all of them; those of Gaussians are known."""
        if self.shape == "gaussian" or not len(spots):
            return
        self.left = sized.remainder(self.image, self.background, spots, kind, self.shapes)
        square = self.weight * self.left**2
        trust = self.weight / (1.0 + square / (_OUTLYING**2 * max(2.2 * float(np.median(square)), 1.0)))
        found = self._measured(spots, kind, trust, self.curved)
        if found is not None:
            self.shapes, peaks, self.background = found
            spots[:, AMPLITUDE] *= peaks[kind]

    def _measured(self, spots: np.ndarray, kind: np.ndarray, weight: np.ndarray,
                  curved: bool) -> tuple[Shapes, np.ndarray, np.ndarray] | None:
        """`measured_shapes` of classes with spots enough; one with fewer has the profile of the most frequent class."""
        counts = np.bincount(kind, minlength=len(self.sizes))
        known = np.flatnonzero(counts >= _CLEAR)
        if not len(known):
            return None
        place = np.full(len(self.sizes), int(np.searchsorted(known, counts.argmax())))
        place[known] = np.arange(len(known))
        found = measured_shapes(self.image, self.background, weight, spots, place[kind], self.shapes.reach[known],
                                self.sizes[known], curved)
        if found is None:
            return None
        shapes, peaks, background = found
        return Shapes(shapes.table[place], shapes.reach[place]), peaks[place], background

    def _uneven(self, spots: np.ndarray, kind: np.ndarray) -> bool:
        """Whether a background of second order below discs or rings differs clearly from an even one."""
        if self.shape == "gaussian":
            return False
        found = self._measured(spots, kind, self.weight, True)
        return found is not None and float(np.ptp(found[2])) > _UNEVEN * self.deviation

    def _missed(self, spots: np.ndarray, kind: np.ndarray) -> np.ndarray:
        self.left = sized.remainder(self.image, self.background, spots, kind, self.shapes)
        light = self.image - self.background - self.left
        return missed(self.left, self.weight, light, self.shapes, self.sizes)

    def _classes(self, spots: np.ndarray, kind: np.ndarray) -> np.ndarray:
        """(N,) most probable class of each spot; those that change theirs get brightness and place of the new one.

        `odds` are kept; spots that were beyond doubt are not asked again.
        """
        n, count = self.odds.shape
        asked = np.flatnonzero(np.sort(self.odds, axis=1)[:, -2] > -_BEYOND_DOUBT)
        squares, trial = np.zeros((n, count)), np.zeros((n, count, 3))
        self.left = sized.remainder(self.image, self.background, spots, kind, self.shapes)
        sized.compare_classes(self.left, self.weight, spots, kind, self.shapes, self.sizes, asked, 2, squares, trial)
        inflation = max(float(np.median(spots[:, MISFIT])), 1.0)
        share = (np.bincount(kind, minlength=count) + 1.0) / (n + count)
        log = -0.5 * (squares - squares.min(axis=1, keepdims=True)) / inflation + np.log(share)
        self.odds[asked] = (log - log.max(axis=1, keepdims=True))[asked]
        best = self.odds.argmax(axis=1)
        rows = np.flatnonzero(best != kind)
        spots[rows, AMPLITUDE] = trial[rows, best[rows], 0]
        spots[rows, Y], spots[rows, X] = trial[rows, best[rows], 1], trial[rows, best[rows], 2]
        return best

    def _result(self, spots: np.ndarray, kind: np.ndarray) -> SizedFit:
        self.surface = Surface(self.image.shape, self.spacing)            # sizes of images follow the background
        for _ in range(1 if self.shape == "gaussian" else 2):
            self._fit(spots, kind, self.free, *_FINE)
            self._measure_shapes(spots, kind)
        near = self._fit(spots, kind, self.free, *_FINE)
        probability = np.ones((len(spots), 1))
        if not self.free and len(self.sizes) > 1:
            self._classes(spots.copy(), kind)
            probability = np.exp(self.odds) / np.exp(self.odds).sum(axis=1, keepdims=True)
        self.left = sized.remainder(self.image, self.background, spots, kind, self.shapes)
        variances, change = sized.covariances(self.left, self.weight, spots, kind, self.shapes, near, self.free,
                                              self._prior())
        misfit, pixels = sized.misfits(self.left, self.weight, spots, kind, self.shapes, 4)
        inflation = float(np.median(misfit)) if len(spots) >= 5 else max(float(np.median(misfit)), 1.0)
        spots[:, MISFIT] = misfit
        beyond = misfit > inflation * (1.0 + 5.0 * np.sqrt(2.0 / np.maximum(pixels, 8)))
        variances = variances * np.where(beyond, misfit, inflation)[:, None]
        y = np.clip(np.rint(spots[:, Y]).astype(int), 0, self.image.shape[0] - 1)
        x = np.clip(np.rint(spots[:, X]).astype(int), 0, self.image.shape[1] - 1)
        spots[:, BACKGROUND] = self.background[y, x]
        return SizedFit(spots, kind, probability, variances, change, self.shapes, self.sizes, near, inflation,
                        self.image - self.background - self.left, self._left_over())

    def _left_over(self) -> float:
        margin = min(round(2.5 * float(self.looked_for.max())), min(self.image.shape) // 4)
        inside = (slice(margin, -margin or None),) * 2     # what lies beyond the frame lights its edge
        lit = np.abs(self.smooth - float(np.median(self.smooth)))[inside] > _LIT * self.deviation
        square = np.minimum((self.weight * self.left**2)[inside], _MOST_LEFT)
        return float(square[lit].mean()) if lit.any() else float(square.mean())


def plain_shapes(shape: str, sizes: np.ndarray) -> Shapes:
    """Profiles to begin with."""
    if shape == "gaussian":
        return sized.gaussian_shapes(len(sizes))
    reach = 1.3 + 2.5 / sizes
    u = np.arange(math.ceil(reach.max() * FINE) + 3) / FINE
    light = profile_of(shape, u)
    table = np.stack([light, np.gradient(light, 1.0 / FINE)], axis=1)
    return Shapes(np.repeat(table[None], len(sizes), axis=0), reach)
