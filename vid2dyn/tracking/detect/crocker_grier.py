"""Crocker-Grier detection, for compat = "trackpy".

`CrockerGrier` takes trackpy's own steps (band-pass, maxima, iterated centroid, close pairs), called one by one so that
the filtered image serves the error bars too. The numbers are those of `trackpy.locate`, to the last bit.
"""

from __future__ import annotations

import warnings

import numpy as np

from vid2dyn.core.opencv import cv2
from vid2dyn.tracking.columns import ECC, MASS, POSITION, SIGNAL, SIZE
from vid2dyn.tracking.detect.base import Detector
from vid2dyn.tracking.fit.precision import centroid_std
from vid2dyn.tracking.sensor_noise import camera_noise
from vid2dyn.tracking.settings import Track


class CrockerGrier(Detector):
    """Crocker-Grier detection by trackpy, with a calibrated standard error for every position.

    Parameters
    ----------
    settings : Track
        How particles are found; a `minmass` of None counts as 0 here.

    Examples
    --------
    >>> y, x = np.mgrid[:64, :64]
    >>> frame = (10 + 100 * np.exp(-((y - 30.0) ** 2 + (x - 25.0) ** 2) / 8)).round().astype(np.uint8)
    >>> CrockerGrier(Track(diameter=11))(frame)[:, POSITION].round(1).tolist()
    [[30.0, 25.0]]
    """

    def __init__(self, settings: Track) -> None:
        self.settings = settings

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        settings = self.settings
        image, exact, scale, whole = self._filtered(frame)
        features = self._features(image, whole)
        position, appearance = features[:, POSITION], features[:, POSITION.stop:]
        appearance[:, MASS] /= scale                   # from whole numbers back to grey levels
        appearance[:, SIGNAL] /= scale
        keep = appearance[:, MASS] > (settings.minmass or 0.0)
        if settings.max_size is not None:
            keep &= appearance[:, SIZE] < settings.max_size
        if settings.max_ecc is not None:
            keep &= appearance[:, ECC] < settings.max_ecc
        position, appearance = position[keep], appearance[keep]
        std = centroid_std(frame, exact, whole / scale, position, camera_noise(frame),
                           diameter=settings.diameter, noise_size=settings.noise_size,
                           smoothing_size=settings.boxcar)
        return np.concatenate([position, std, appearance, np.zeros((len(position), 1))], axis=1)

    def _filtered(self, frame: np.ndarray) -> tuple[np.ndarray, np.ndarray, float, np.ndarray]:
        """The (inverted) frame, its band-passed and clipped image, and the same scaled to whole numbers."""
        from trackpy.preprocessing import boxcar, convert_to_int, invert_image, lowpass

        settings = self.settings
        integer = np.issubdtype(frame.dtype, np.integer)
        image = np.asarray(invert_image(frame)) if settings.invert else frame
        threshold = settings.threshold if settings.threshold is not None else (1.0 if integer else 1.0 / 255.0)
        smooth = lowpass(image, settings.noise_size)
        exact = smooth - cv2.blur(image.astype(np.float64), (settings.boxcar,) * 2,
                                  borderType=cv2.BORDER_REPLICATE)
        exact = np.where(exact >= threshold, exact, 0.0)
        if integer:                                    # trackpy truncates an integer image's boxcar; so do we
            smooth -= boxcar(image, settings.boxcar)
            filtered = np.where(smooth >= threshold, smooth, 0.0)
        else:
            filtered = exact
        scale, whole = convert_to_int(filtered, frame.dtype if integer else np.uint8)
        return image, exact, float(scale), whole

    def _features(self, image: np.ndarray, whole: np.ndarray) -> np.ndarray:
        """(N, 7) position and appearance of the maxima; mass and signal in units of `whole`."""
        from trackpy.find import grey_dilation, where_close
        from trackpy.refine.center_of_mass import refine_com_arr

        settings = self.settings
        separation = settings.diameter + 1 if settings.separation is None else settings.separation
        radius = settings.diameter // 2
        margin = int(max(radius, separation // 2 - 1, settings.boxcar // 2))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")            # "image is completely black": no particles, nothing wrong
            maxima = grey_dilation(whole, (separation,) * 2, settings.percentile, (margin,) * 2, precise=False)
        if not len(maxima):
            return np.empty((0, 7))
        features = refine_com_arr(image, whole, (radius,) * 2, maxima, max_iterations=10, engine="auto")
        if separation > 0:
            features = np.delete(features, where_close(features[:, POSITION], separation,
                                                       features[:, POSITION.stop + MASS]), axis=0)
        return features
