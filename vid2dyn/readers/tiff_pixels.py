"""Pixels of a TIFF page as viewers show them: white where 0 is white, colours where numbers are a palette's."""

from __future__ import annotations

from typing import Any

import numpy as np
import tifffile

_WHITE, _PALETTE = tifffile.PHOTOMETRIC.MINISWHITE, tifffile.PHOTOMETRIC.PALETTE


def as_shown(image: np.ndarray, page: Any, is_imagej: bool) -> np.ndarray:
    """The pixels with larger numbers for more light.

    Parameters
    ----------
    image : (H, W) or (H, W, samples) array
        As stored.
    page : tifffile.TiffPage
        Whose tags say what the numbers mean.
    is_imagej : bool
        ImageJ stores what was measured and a palette to look at it: there the numbers count, not the colours.

    Returns
    -------
    array
        Of the same type, or (H, W, 3) uint8 or uint16 where a palette has colours.
    """
    if page.photometric == _WHITE:
        if image.dtype.kind == "b":
            return ~image
        if image.dtype.kind == "u":
            return (np.array(2 ** _bits(page, image) - 1, dtype=image.dtype) - image).astype(image.dtype)
        return -image
    if is_coloured(page, is_imagej):
        palette = np.asarray(page.colormap)
        wide = palette if palette.max() > 255 else palette * 257
        colours = wide[:, np.minimum(image, palette.shape[1] - 1)]
        return np.moveaxis(colours // 257, 0, -1).astype(np.uint8)
    return image


def shown_warning(page: Any, is_imagej: bool) -> tuple[str, ...]:
    """What `as_shown` changes, in plain words."""
    if page.photometric == _WHITE:
        return ("The file stores light as low numbers (MinIsWhite): pixels are turned to what viewers show. If "
                "particles "
                "are dark then, track with invert = true.",)
    if is_coloured(page, is_imagej):
        return ("Pixels are numbers of a palette: its colours are used, of which one channel is taken as grey.",)
    return ()


def is_coloured(page: Any, is_imagej: bool) -> bool:
    """Whether the numbers of a page stand for the colours of a palette."""
    return bool(page.photometric == _PALETTE) and not is_imagej and _has_colours(page)


def _bits(page: Any, image: np.ndarray) -> int:
    stated = page.bitspersample
    bits = int(max(stated) if isinstance(stated, tuple) else stated)
    return bits if 0 < bits <= 8 * image.dtype.itemsize else 8 * image.dtype.itemsize


def _has_colours(page: Any) -> bool:
    """Whether the palette is more than the grey levels themselves."""
    palette = getattr(page, "colormap", None)
    if palette is None:
        return False
    palette = np.asarray(palette, dtype=np.int64)
    grey = np.linspace(0, 65535, palette.shape[1])
    return palette.ndim == 2 and palette.shape[0] == 3 and bool((np.abs(palette - grey) > 300).any())
