"""The words for units of length and time that microscopes and programs write: one table for all readers.

A word that is not in the table leaves the quantity open: what a file means by "fortnight" or "a.u." nobody should
guess. Inches are left out on purpose: those of a TIFF are of paper.
"""

from __future__ import annotations

import math

import numpy as np

UNEVEN = 0.05
"""Part by which a frame interval may differ from the usual one before it is said."""

_LENGTHS = {
    1e-6: ("pm", "picometer", "picometre"),
    1e-4: ("Å", "Å", "A", "angstrom", "angstroem", "ångström", "ångstrom"),
    1e-3: ("nm", "nanometer", "nanometre"),
    1.0: ("µm", "μm", "\ufffdm", "um", "mum", "\\mum", "\\u00b5m", "\\u03bcm", "&#181;m", "&micro;m", "Âµm", "Î¼m", "µ",
          "μ", "u", "micron", "micrometer", "micrometre", "micro meter", "micro-meter"),
    1e3: ("mm", "millimeter", "millimetre"),
    1e4: ("cm", "centimeter", "centimetre"),
    1e5: ("dm", "decimeter", "decimetre"),
    1e6: ("m", "meter", "metre"),
}
_TIMES = {
    1e-12: ("ps", "picosecond"),
    1e-9: ("ns", "nsec", "nanosec", "nanosecond"),
    1e-6: ("µs", "μs", "\ufffds", "us", "usec", "µsec", "μsec", "\\u00b5s", "&#181;s", "&micro;s", "Âµs", "microsec",
           "microsecond"),
    1e-3: ("ms", "msec", "millisec", "millisecond"),
    1.0: ("s", "sec", "second"),
    60.0: ("min", "minute", "mn"),
    3600.0: ("h", "hr", "hour"),
    86400.0: ("d", "day"),
}
_PIXELS = ("pixel", "px", "pix")


def _by_word(table: dict[float, tuple[str, ...]]) -> dict[str, float]:
    return {_plain(word): value for value, words in table.items() for word in words}


def _plain(word: str) -> str:
    """The word without what does not matter: case, blanks, brackets, a full stop."""
    return word.strip().strip("[]()").strip().rstrip(".").casefold()


_MICROMETRES, _SECONDS = _by_word(_LENGTHS), _by_word(_TIMES)


def _of(word: object, table: dict[str, float]) -> float | None:
    if not isinstance(word, str):
        return None
    plain = _plain(word)
    return table.get(plain, table.get(plain[:-1]) if len(plain) > 2 and plain.endswith("s") else None)


def micrometres(word: object) -> float | None:
    """Length of the unit `word` [µm]; None for a word that is not a known length.

    >>> micrometres("nm"), micrometres("Microns"), micrometres("\\\\u00B5m"), micrometres("fathom")
    (0.001, 1.0, 1.0, None)
    """
    return _of(word, _MICROMETRES)


def seconds(word: object) -> float | None:
    """Duration of the unit `word` [s]; None for a word that is not a known time.

    >>> seconds("msec"), seconds("Minutes"), seconds("hrs"), seconds("fortnight")
    (0.001, 60.0, 3600.0, None)
    """
    return _of(word, _SECONDS)


def is_pixel(word: object) -> bool:
    """Whether the word says that lengths count in pixels.

    >>> is_pixel("Pixels"), is_pixel("")
    (True, False)
    """
    return isinstance(word, str) and _plain(word).removesuffix("s") in _PIXELS


def in_seconds(value: float | None, word: object, what: str = "frame interval") -> tuple[float | None, tuple[str, ...]]:
    """A time that a file states, in seconds; None with a warning where its unit is not known.

    >>> in_seconds(30.0, "msec")
    (0.03, ())
    >>> in_seconds(30.0, "fortnight")[0] is None
    True
    """
    scale = seconds(word)
    if value is None or not math.isfinite(value):
        return None, ()
    if scale is None:
        return None, (f"The file states a {what} of {value:g} in the unit {str(word)!r}, which is not known; it is not "
                      "used. Give frames_per_second=... (frames per second) and exposure=... (in s) where they "
                      "matter.",)
    return value * scale, ()


def in_micrometres(value: float | None, word: object, what: str = "pixel size") -> tuple[float | None, tuple[str, ...]]:
    """A length that a file states, in µm; None with a warning where its unit is not known, None where it is the pixel.

    >>> in_micrometres(160.0, "nm")
    (0.16, ())
    """
    scale = micrometres(word)
    if value is None or not math.isfinite(value) or is_pixel(word):
        return None, ()
    if scale is None:
        return None, (f"The file states a {what} of {value:g} in the unit {str(word)!r}, which is not known; it is not "
                      "used. Give micrometre_per_pixel=... (in µm).",)
    return value * scale, ()


def uneven_steps(step: np.ndarray, unit: str = "s") -> tuple[str, ...]:
    """A warning where time stamps do not grow evenly, or not at all.

    Parameters
    ----------
    step : (n,) array
        Times between successive frames.
    unit : str
        Their unit, said in the warning.

    Examples
    --------
    >>> uneven_steps(np.full(9, 0.1)), len(uneven_steps(np.array([0.1, 0.1, 0.4])))
    ((), 1)
    """
    step = np.asarray(step, dtype=float)
    if not len(step):
        return ()
    still = int((step <= 0).sum())
    if still:
        return (f"{still} of {len(step)} time stamps of the file do not grow from frame to frame: they cannot be "
                "trusted. "
                "Give frames_per_second=... of the camera.",)
    usual = float(np.median(step))
    odd = int((np.abs(step / usual - 1) > UNEVEN).sum())
    if not odd:
        return ()
    return (f"{odd} of {len(step)} frame intervals differ from the usual {usual:.4g} {unit} by more than 5 % (from "
            f"{step.min():.4g} to {step.max():.4g}): frames were dropped or the rate varies. Times assume equal steps; "
            "record at a fixed rate.",)
