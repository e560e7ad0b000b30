"""Which sizes the particles of a movie have, and their shape and sign: asked of a few of its frames.

Every spot is given a size of its own. Where classes are asked for, the logarithms of the sizes are taken for a mixture
of normal distributions, each blurred by the standard error of a size; a class more is believed where the Bayesian
information criterion gains ten by it and the classes do not run into each other.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from vid2dyn.core.errors import DataError
from vid2dyn.tracking.columns import AMPLITUDE, POSITION, WIDTH
from vid2dyn.tracking.detect.size_fit import FrameFit, SizedFit
from vid2dyn.tracking.detect.sized_spots import SizedSpots, edges
from vid2dyn.tracking.detect.spots import with_bright_particles
from vid2dyn.tracking.settings import Track

_FRAMES = 2                        # asked
_CROP = 16, 160                    # edge of what is asked for the shape: diameters, and at least [px]
_START = 4.6                       # diameters of a mask per width of a spot
_SHORT, _LONG = 2, 4               # rounds of a fit that compares shapes, and of one that measures sizes
_FINER = 2.0 ** (1 / 6)            # ratio of sizes of discs and rings looked for
_LEAST = 2.0                       # radius of a disc or ring [px]
_GOOD = 1.15                       # left over the noise: nothing else need be tried
_BETTER = 0.8                      # of what Gaussians leave beyond noise: another shape
_FEW = 8                           # spots that show a size
_CLEAR = 0.1                       # standard error of the logarithm of a size that counts
_CERTAIN = 10.0                    # gain of the Bayesian information criterion
_APART = 2.5                       # distance of classes over their spreads, at least
_MOST = 4                          # classes
_SPREAD = 0.01                     # of a class, at least
_ODD = 0.02                        # share of sizes that belong to no class
_MISFIT = 1.5                      # times the noise left: said


def choose_sizes(frames: Sequence[np.ndarray], settings: Track) -> tuple[Track, tuple[str, ...]]:
    """Settings with `spot`, `invert` and `class_sizes` filled in; and what a user should know, in plain words.

    Raises
    ------
    DataError
        Where too few spots show a size.
    """
    notes: tuple[str, ...] = ()
    chosen = list(frames[:: max(1, -(-len(frames) // _FRAMES))])
    if settings.spot == "auto" or settings.invert is None:
        settings, notes = _shape_and_sign(chosen[0], settings)
    if settings.class_sizes is None:
        fits = [fit for frame in chosen if (fit := _free_fit(frame, settings)) is not None]
        logs, errors = _sizes(fits, settings.spot)
        if len(logs) < _FEW:
            raise DataError(f"sizes = {settings.sizes!r}: only {len(logs)} spots in {len(chosen)} frames looked at "
                            "show their size. Check diameter, spot and invert, or give class_sizes.")
        sizes, more = _found(logs, errors, settings)
        settings = dataclasses.replace(settings, class_sizes=sizes)
        notes += more
    fitted, _ = SizedSpots(settings).fitted(chosen[0])
    return settings, notes if fitted is None else (*notes, *_misfit_note(fitted.inflation))


def _misfit_note(left: float) -> tuple[str, ...]:
    if left < _MISFIT**2:
        return ()
    return (f"The fit leaves {math.sqrt(left):.1f} times the noise of the camera around the particles: their images "
            "are not quite the shape that was fitted. y_std and x_std are made larger by that factor; look at the "
            "picture of the detections, and try another spot (gaussian, disc, ring) or sizes.",)


def _free_fit(frame: np.ndarray, settings: Track, short: bool = False) -> SizedFit | None:
    """Every spot with a size of its own; in a `short` one not all that were missed are looked for."""
    frame = frame if frame.dtype.isnative else frame.astype(frame.dtype.newbyteorder("="))
    image, noise = with_bright_particles(frame, settings.invert)
    image = np.array(image)
    given = settings.class_sizes
    looked_for = np.asarray(given, float) if given else _bank(settings)
    fit = FrameFit(image, noise, settings.spot, looked_for, True, rounds=_SHORT if short else _LONG).run()
    if short or given or fit is None or settings.spot != "gaussian" or len(fit.spots) < _FEW:
        return fit
    low, middle, high = np.quantile(fit.spots[:, WIDTH], [0.05, 0.5, 0.95])
    return FrameFit(image, noise, settings.spot, (low, middle, high), True).run()


def _bank(settings: Track) -> np.ndarray:
    """Sizes to look for first [px]."""
    if settings.spot == "gaussian":
        return settings.diameter / _START * np.array([0.6, 1.0, 1.6])
    count = max(int(math.log(0.75 * settings.diameter / _LEAST) / math.log(_FINER)), 1)
    return np.asarray(_LEAST * _FINER ** np.arange(count + 1))


def _shape_and_sign(frame: np.ndarray, settings: Track) -> tuple[Track, tuple[str, ...]]:
    """The shape and sign that leave least of the middle of a frame."""
    most = max(_CROP[0] * settings.diameter, _CROP[1])
    y, x = (max(0, (edge - most) // 2) for edge in frame.shape)
    part = np.ascontiguousarray(frame[y:y + most, x:x + most])
    shapes = ("gaussian", "disc", "ring") if settings.spot == "auto" else (settings.spot,)
    signs = (False, True) if settings.invert is None else (settings.invert,)
    best: tuple[float, Track] | None = None
    for shape in shapes:
        for sign in signs:
            tried = dataclasses.replace(settings, spot=shape, invert=sign)    # type: ignore[arg-type]
            left = _unexplained(part, tried)
            bar = left if best is None or best[1].spot == shape else left / _BETTER
            if best is None or bar < best[0]:
                best = left, tried
            if best[0] < _GOOD - 1.0:
                break
        if best is not None and best[0] < _GOOD - 1.0:
            break
    assert best is not None
    chosen = best[1]
    notes = []
    if settings.spot == "auto" and chosen.spot != "gaussian":
        notes.append(f"The particles look like {chosen.spot}s: spot = '{chosen.spot}' was chosen.")
    if settings.invert is None and chosen.invert:
        notes.append("The particles are dark on a bright background: invert = true was chosen.")
    return chosen, tuple(notes)


def _unexplained(part: np.ndarray, settings: Track) -> float:
    """Mean square that the fit leaves over the noise, less 1."""
    fit = _free_fit(part, settings, short=True)
    if fit is None:
        return float("inf")
    return max(fit.left_over - 1.0, 1e-6)


def _sizes(fits: Sequence[SizedFit], shape: str) -> tuple[np.ndarray, np.ndarray]:
    """Logarithms of the sizes of clear spots [px], and their standard errors."""
    logs, errors = [np.empty(0)], [np.empty(0)]
    for fit in fits:
        edge = edges(fit.shapes, shape)[0] if shape in ("disc", "ring") else 1.0
        error = np.sqrt(fit.variances[:, 3])
        margin = fit.spots[:, WIDTH, None]
        inside = (fit.spots[:, POSITION] > margin) & (fit.spots[:, POSITION] < np.array(fit.light.shape) - 1 - margin)
        bright = fit.spots[:, AMPLITUDE] > 0
        good = np.isfinite(error) & (error < _CLEAR) & inside.all(axis=1) & bright
        logs.append(np.log(fit.spots[good, WIDTH] * edge))
        errors.append(error[good])
    return np.concatenate(logs), np.concatenate(errors)


def _found(logs: np.ndarray, errors: np.ndarray, settings: Track) -> tuple[tuple[float, ...], tuple[str, ...]]:
    """Sizes of the classes, or for "each" sizes from the smallest to the largest; and a word about them."""
    if settings.sizes == "each":
        low, middle, high = np.exp(np.quantile(logs, [0.02, 0.5, 0.98]))
        return tuple(sorted({round(float(v), 4) for v in (low, middle, high)})), ()
    wanted = {"two": 2, "three": 3}.get(settings.sizes)
    centres = classes_of(logs, errors, wanted)
    sizes = tuple(round(float(v), 4) for v in np.exp(centres))
    listed = ", ".join(f"{v:.3g}" for v in sizes)
    if wanted is None:
        many = "one size" if len(sizes) == 1 else f"{len(sizes)} sizes"
        return sizes, (f"{many} of images in {len(logs)} particles looked at: class_sizes = {listed} px.",)
    believed = len(classes_of(logs, errors, None))
    if believed < wanted:
        return sizes, (f"{wanted} sizes were asked for, and the images show {believed}: class_sizes = {listed} px part "
                       "what may be one population. Compare sizes = 'each'.",)
    return sizes, ()


def classes_of(logs: np.ndarray, errors: np.ndarray, count: int | None = None) -> np.ndarray:
    """(C,) centres of the classes in the logarithms of sizes, small ones first; `count` of them, or as many as show.

    >>> rng = np.random.default_rng(0)
    >>> logs = np.concatenate([rng.normal(0.0, 0.03, 80), rng.normal(0.3, 0.03, 40)])
    >>> classes_of(logs, np.full(120, 0.02)).round(1).tolist()
    [0.0, 0.3]
    >>> len(classes_of(rng.normal(0, 0.2, 300), np.full(300, 0.03)))
    1
    """
    if count is not None:
        return _mixture(logs, errors, count)[0]
    centres, _, criterion = _mixture(logs, errors, 1)
    for k in range(2, _MOST + 1):
        if len(logs) < _FEW * k:
            break
        more, spreads, lower = _mixture(logs, errors, k)
        apart = np.diff(more) / np.maximum(np.hypot(spreads[1:], spreads[:-1]) / math.sqrt(2), 1e-12)
        if criterion - lower < _CERTAIN or apart.min() < _APART:
            break
        centres, criterion = more, lower
    return centres


def _mixture(logs: np.ndarray, errors: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Centres, spreads (errors of single sizes not included) and the Bayesian information criterion of a mixture."""
    order = np.sort(logs)
    extent = max(float(order[-1] - order[0]), 0.1)
    odd = _ODD / (2 * extent)
    best: tuple[np.ndarray, np.ndarray, float] | None = None
    part = (np.arange(count) + 0.5) / count
    for start in (np.quantile(order, part), order[0] + extent * part):
        centres, spreads = start.astype(float).copy(), np.full(count, max(0.3 * extent / count, _SPREAD))
        shares = np.full(count, (1 - _ODD) / count)
        total = np.full(len(logs), odd)
        for _ in range(200):
            variance = spreads**2 + errors[:, None] ** 2
            each = shares * np.exp(-0.5 * (logs[:, None] - centres) ** 2 / variance) / np.sqrt(2 * np.pi * variance)
            total = each.sum(axis=1) + odd
            member = each / total[:, None]
            weight = member / variance
            weight_sum = np.maximum(weight.sum(axis=0), 1e-300)
            before = centres.copy()
            centres = (weight * logs[:, None]).sum(axis=0) / weight_sum
            # variance of a class by one step of expectation-maximisation with blurred members
            gain = spreads**2 / variance
            square = (gain * (logs[:, None] - centres)) ** 2 + gain * errors[:, None] ** 2
            members = np.maximum(member.sum(axis=0), 1e-12)
            spreads = np.maximum(np.sqrt((member * square).sum(axis=0) / members), _SPREAD)
            shares = (1 - _ODD) * np.maximum(members, 1e-6) / members.sum()
            if np.abs(centres - before).max() < 1e-6:
                break
        criterion = -2 * float(np.log(total).sum()) + (3 * count - 1) * math.log(len(logs))
        if best is None or criterion < best[2]:
            sort = np.argsort(centres)
            best = centres[sort], spreads[sort], criterion
    assert best is not None
    return best
