"""How large the spots of a movie are, and of which sign: the scale-normalised Laplacian.

-s² ∇²(G_s * image) over the middle of a Gaussian spot of width w is largest at s = w (Lindeberg, Int. J. Comput. Vis.
30, 79 (1998)); white noise of standard deviation n gives it n/(s √(2π)).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from vid2dyn.core.opencv import cv2
from vid2dyn.tracking.detect.bad_pixels import without_bad_pixels
from vid2dyn.tracking.sensor_noise import camera_noise

_TILES = 6                        # along each edge of a frame, that have a say in the sign of the particles
_SIGNIFICANT = 6.0                # standard deviations of the noise that a spot exceeds
_FINE = 4.0                       # least width of a spot in pixels of a reduced image: its maximum is not missed
_MIDDLE = 256                     # edge of the middle of a frame that is looked at first [px]
_TELLING, _CLEAR = 60, 4.0        # maxima there of one sign, and how many times stronger it is, to leave it at that
_Maxima = tuple[int, int, np.ndarray, np.ndarray, np.ndarray]      # of one sign and scale: see `_response`


def scale_response(frames: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """How much structure of which size and sign there is.

    Returns
    -------
    scales : (k,) array
        Widths s [px], a factor of 2^(1/4) apart, up to a sixteenth of the frame's shorter edge.
    response : (2, k) array
        Root of the sum, over all significant maxima in place and scale, of the fourth power of the scale-normalised
        Laplacian [grey levels²]: bright spots, dark spots. Fourth, so that a bright core outweighs its dark ring.
    """
    scales = scale_of(frames[0].shape)
    total = np.zeros((2, len(scales)))
    for frame in frames:
        for sign, k, _, _, value in _response(frame, scales):
            total[sign, k] += (value**4).sum()
    return scales, np.sqrt(total)


def scale_of(shape: tuple[int, ...]) -> np.ndarray:
    """(k,) widths of spots that are looked for in a frame of that shape [px]."""
    largest = max(min(shape) / 16, 2.0)
    return np.asarray(2.0 ** np.arange(-0.75, math.log2(largest) + 0.26, 0.25))


def _response(frame: np.ndarray, scales: np.ndarray) -> Iterator[_Maxima]:
    """Maxima of the response of a frame in place and scale, single bad pixels repaired.

    Yields the sign (0 bright, 1 dark), the number of the scale, y and x [px] and the response of the maxima among
    places (within about one scale) and neighbouring scales.
    """
    noise = float(camera_noise(frame).std(float(np.median(frame[::2, ::2]))))
    image = without_bad_pixels(frame, noise).astype(np.float32)
    factor, inner = 1, range(1, len(scales) - 1)
    while inner:
        here = [k for k in inner if scales[k] < 2 * factor * _FINE] or [inner[0]]
        stack = {k: _laplacian(image, float(scales[k]), factor) for k in range(here[0] - 1, here[-1] + 2)}
        for k in here:
            edge = 2 * max(round(0.8 * scales[k] / factor), 1) + 1
            limit = _SIGNIFICANT * noise / (scales[k] * math.sqrt(2 * math.pi))
            window = np.ones((edge, edge), np.uint8)
            for sign, extreme in enumerate((cv2.dilate, cv2.erode)):
                at = extreme(stack[k], window) == stack[k]
                at &= stack[k] > limit if sign == 0 else stack[k] < -limit
                y, x = np.divmod(np.flatnonzero(at), at.shape[1])
                value, below, above = ((1 - 2 * sign) * stack[j][y, x] for j in (k, k - 1, k + 1))
                best = (value >= below) & (value >= above)
                yield sign, k, factor * y[best], factor * x[best], value[best].astype(float)
        factor, inner = 2 * factor, inner[len(here):]
        height, width = (edge // 2 for edge in image.shape)
        if inner:
            image = np.asarray(cv2.resize(image[:2 * height, :2 * width], (width, height),
                                          interpolation=cv2.INTER_AREA), np.float32)


def _laplacian(image: np.ndarray, scale: float, factor: int) -> np.ndarray:
    """The response at a scale [px of the frame].

    A pixel of the image is the mean of `factor` by `factor` of the frame, and differences of its pixels stand for the
    derivatives. Both smooth: the mean by a variance of (factor² - 1)/12, and the five-point Laplacian, which is
    ∇² + (∂y⁴ + ∂x⁴) factor²/12, in the middle of a Gaussian by factor²/8. The blur makes up for both.
    """
    s = math.sqrt(scale**2 - (factor**2 - 1) * (1 / 12 + 1 / 8)) / factor
    smooth = cv2.GaussianBlur(image, (0, 0), s, borderType=cv2.BORDER_REFLECT)
    return -((scale / factor) ** 2) * cv2.Laplacian(smooth, cv2.CV_32F, ksize=1, borderType=cv2.BORDER_REFLECT)


def dark_over_bright(frames: Sequence[np.ndarray]) -> tuple[float, float]:
    """How much stronger dark spots are than bright ones: in the frames as a whole, and in a typical part of them.

    The first is that of the strongest spots, whose halos are weak; but a bad row, a clock or a scratch outweighs all
    particles. The second is a median over tiles that are lit, where no such thing decides; but with a few particles it
    sees their halos. Where both agree, the sign is beyond doubt. Both are 0 where there are no spots. The middle of the
    first frame is asked first, and that of all; the rest only where these leave it open.

    >>> y, x = np.mgrid[:96, :96]
    >>> at = [(a, b) for a in range(12, 96, 18) for b in range(12, 96, 18)]
    >>> light = sum(80 * np.exp(-((y - a) ** 2 + (x - b) ** 2) / 8) for a, b in at)
    >>> frame = 120 - light + np.random.default_rng(0).normal(0, 2, y.shape)
    >>> min(dark_over_bright([frame])) > 2, max(dark_over_bright([-frame])) < 0.5
    (True, True)
    """
    seen: list[list[_Maxima]] = []
    for some in (frames[:1], frames):
        middles = [_middle(frame) for frame in some]
        seen += [list(_response(middle, scale_of(middle.shape))) for middle in middles[len(seen):]]
        whole, typical, maxima = _dark_over_bright(middles[0].shape, seen)
        if max(maxima) >= _TELLING and (min(whole, typical) > _CLEAR or max(whole, typical) < 1 / _CLEAR):
            return whole, typical
    if middles[0].shape == frames[0].shape:
        return whole, typical
    shape = frames[0].shape
    return _dark_over_bright(shape, (_response(frame, scale_of(shape)) for frame in frames))[:2]


def _middle(frame: np.ndarray) -> np.ndarray:
    y, x = (max(0, (edge - _MIDDLE) // 2) for edge in frame.shape)
    return np.ascontiguousarray(frame[y:y + _MIDDLE, x:x + _MIDDLE])


def _dark_over_bright(shape: tuple[int, ...],
                      responses: Iterable[Iterable[_Maxima]]) -> tuple[float, float, tuple[int, int]]:
    """Both figures of whole frames of that shape, from `_response` of each; how many bright and dark maxima."""
    height, width = shape
    scales, tiles, count = scale_of(shape), np.zeros((2, _TILES, _TILES)), [0, 0]
    total = np.zeros((2, len(scales)))
    for response in responses:
        for sign, k, y, x, value in response:
            total[sign, k] += (value**4).sum()
            count[sign] += len(value)
            np.add.at(tiles[sign], (y * _TILES // height, x * _TILES // width), value**4)
    bright, dark = (np.sqrt(one.ravel()) for one in tiles)
    lit = (bright > 0) | (dark > 0)
    if not lit.any():
        return 0.0, 0.0, (0, 0)
    both = (dark + bright)[lit]
    part, weight = dark[lit] / both, np.minimum(both, 3 * np.median(both))
    order = np.argsort(part)
    typical = float(part[order][np.searchsorted(np.cumsum(weight[order]), 0.5 * weight.sum())])
    peak_bright, peak_dark = (highest_peak(scales, np.sqrt(one))[0] for one in total)
    whole = peak_dark / (peak_dark + peak_bright)
    return _odds(whole), _odds(typical), (count[0], count[1])


def _odds(share: float) -> float:
    return float(share / (1 - share)) if share < 1 else np.inf


def highest_peak(scales: np.ndarray, response: np.ndarray) -> tuple[float, float]:
    """Height of the highest peak of the response of one sign, (k,), and the width of a spot there [px]."""
    smooth = response[:-2] + response[1:-1] + response[2:]
    at = int(smooth.argmax())
    weight = response[at:at + 3]
    if not weight.sum() > 0:
        return 0.0, 1.0
    return float(smooth[at]), float(np.exp((weight * np.log(scales[at:at + 3])).sum() / weight.sum()))
