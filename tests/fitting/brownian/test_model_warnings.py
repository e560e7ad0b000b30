"""What a fit says about where the tracker does not tell two particles apart."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

import vid2dyn as vd
from vid2dyn.fitting.brownian.model_warnings import resolution_warning


def said(shortest: float, **info: Any) -> list[str]:
    """Warnings of tracks with pixels of 0.1 µm, for a model that saw pairs from `shortest` [µm] on."""
    tracks = vd.Trajectories.from_dense(np.zeros((3, 1, 2)), vd.Units(0.1, 10.0))
    model = cast(Any, SimpleNamespace(support=(shortest, 3.0)))
    return resolution_warning(dataclasses.replace(tracks, info=info), model)


@pytest.mark.parametrize(("settings", "limit"), [
    ({"diameter": 11}, 0.6),                                        # three widths of 2 px
    ({"diameter": 11, "separation": 10.0}, 1.15),
    ({"diameter": 11, "compat": "trackpy"}, 1.38),                  # diameter + 1, and 15 %
])
def test_pairs_closer_than_the_tracker_tells_apart(settings: dict[str, Any], limit: float) -> None:
    info = {"parameters": settings, "spot_width": 2.0}
    assert not said(limit + 0.01, **info)
    (warning,) = said(limit - 0.01, **info)
    assert f"closer than {limit:.2f} µm" in warning
    assert "magnification" in warning


def test_nothing_is_said_of_tracks_from_elsewhere_or_fitted_with_sizes_of_their_own() -> None:
    assert not said(0.1)
    assert not said(0.1, parameters={"diameter": 11, "sizes": "two"}, spot_width=2.0)
