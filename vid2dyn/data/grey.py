"""One grey plane of whatever pixels a recording has, in the three types that the rest of the house knows."""

from __future__ import annotations

import numpy as np

from vid2dyn.core.errors import DataError

GREEN = 1
"""Channel taken from a colour image (0 red, 1 green, 2 blue) unless another one is asked for.

Green has the most sensor pixels, the best sampling in compressed colour, and is the channel that
trackpy's published numbers were computed from.
"""

_COARSE = 1e-4                    # steps of single precision over the range of a frame: less is below any noise


def grey(image: np.ndarray, channel: int | None, where: str) -> np.ndarray:
    """One (H, W) plane of an image that is (H, W) or (H, W, samples), as uint8, uint16 or float32.

    Parameters
    ----------
    image : (H, W) or (H, W, samples) array
        One sample is grey, two are grey and alpha, three or four are colour in the order R, G, B[, A].
    channel : int or None
        Sample of a colour image; None takes green.
    where : str
        File and frame, said in errors.

    Raises
    ------
    DataError
        When the channel does not exist, or pixels are NaN or infinite.

    Examples
    --------
    >>> grey(np.arange(12, dtype=np.uint8).reshape(2, 2, 3), None, "clip.png").tolist()
    [[1, 4], [7, 10]]
    """
    if image.ndim == 3:
        samples = image.shape[2]
        image = image[..., channel_of(samples, channel, where)]
    if image.ndim != 2:
        raise DataError(f"{where}: an image has height and width, this one has shape {image.shape}. "
                        "Export one plane per frame.")
    if image.dtype.kind == "f" and not np.isfinite(image).all():
        bad = np.argwhere(~np.isfinite(image))
        raise DataError(f"{where}: {len(bad)} pixels are NaN or infinite, the first at row {bad[0][0]}, column "
                        f"{bad[0][1]}. Fill them (with the background, say) and save the movie again.")
    if image.dtype.kind not in "bui" and image.dtype.kind != "f":
        raise DataError(f"{where}: pixels are of type {image.dtype}; a recording has real numbers. Export the "
                        "magnitude of "
                        "complex pixels, say.")
    dtype = grey_dtype(image.dtype)
    _fits_single_precision(image, dtype, where)
    return np.ascontiguousarray(image, dtype=dtype)


def _fits_single_precision(image: np.ndarray, dtype: np.dtype, where: str) -> None:
    """Refuse wide pixels that single precision would round away: a large pedestal under little light, or too large."""
    if dtype != np.float32 or image.dtype.itemsize < 4 or image.dtype == np.float32 or not image.size:
        return
    low, high = float(image.min()), float(image.max())
    most = max(abs(low), abs(high))
    if most > float(np.finfo(np.float32).max):
        raise DataError(f"{where}: a pixel is {most:g}, too large for single precision. Divide the movie by a "
                        "constant and "
                        "save it again.")
    step = float(np.spacing(np.float32(most)))
    if high > low and step > _COARSE * (high - low):
        raise DataError(f"{where}: pixels lie between {low:.10g} and {high:.10g}, where single precision goes in "
                        "steps of "
                        f"{step:g}. Subtract the pedestal from the movie and save it again.")


def grey_dtype(dtype: np.dtype) -> np.dtype:
    """The type in which pixels are handed on: 8 and 16 bit unsigned as they are, all else as float32."""
    kind = {("b", 1): np.uint8, ("u", 1): np.uint8, ("u", 2): np.uint16}
    return np.dtype(kind.get((dtype.kind, dtype.itemsize), np.float32))


def channel_of(samples: int, channel: int | None, where: str) -> int:
    """The sample to take from a pixel that has `samples` of them."""
    if channel is None:
        return GREEN if samples >= 3 else 0
    if not 0 <= channel < samples:
        raise DataError(f"{where}: channel {channel} does not exist, there are {samples} (counted from 0).")
    return channel
