"""Words for units: the right factor, or none."""

from __future__ import annotations

import pytest

from vid2dyn.data.unit_words import in_micrometres, in_seconds, is_pixel, micrometres, seconds


@pytest.mark.parametrize(("word", "factor"), [
    ("s", 1), ("sec", 1), ("Seconds", 1), ("ms", 1e-3), ("msec", 1e-3), ("msecs", 1e-3), ("milliseconds", 1e-3),
    ("min", 60), ("mins", 60), ("minutes", 60), ("hours", 3600), ("hr", 3600), ("h", 3600), ("day", 86400), ("usec",
                                                                                                             1e-6),
    ("µs", 1e-6), ("\u03bcs", 1e-6), ("ns", 1e-9), ("[s]", 1), ("sec.", 1), (" s ", 1),
    ("fortnight", None), ("frame", None), ("", None), ("a.u.", None), (None, None), (3, None), ("m", None),
])
def test_times(word, factor) -> None:
    assert seconds(word) == factor


@pytest.mark.parametrize(("word", "factor"), [
    ("µm", 1), ("\u03bcm", 1), ("um", 1), ("microns", 1), ("\\u00B5m", 1), ("micrometers", 1), ("Micrometre", 1),
    ("nm", 1e-3),
    ("nanometers", 1e-3), ("mm", 1e3), ("cm", 1e4), ("m", 1e6), ("metres", 1e6), ("Å", 1e-4), ("pm", 1e-6),
    ("inch", None), ("pixel", None), ("furlong", None), ("", None), (None, None),
])
def test_lengths(word, factor) -> None:
    assert micrometres(word) == factor


def test_unknown_words_leave_the_quantity_open_with_a_warning() -> None:
    assert in_seconds(30.0, "msec") == (0.03, ())
    value, warnings = in_seconds(30.0, "fortnight")
    assert value is None
    assert "fortnight" in warnings[0]
    value, warnings = in_micrometres(3.0, "inch")
    assert value is None
    assert "inch" in warnings[0]
    assert in_micrometres(3.0, "pixels") == (None, ())
    assert is_pixel("Pixel")
