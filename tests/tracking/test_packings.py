"""Images that touch: what tracking says where its model of a spot does not hold."""

from __future__ import annotations

import warnings

import pytest

import vid2dyn as vd

FILM = vd.simulators.Needle(gap=30.0, width=40.0, frames=2, strain=0.0, equilibration=0.0, frames_per_second=500.0)


@pytest.mark.parametrize(("spot", "diameter", "told"), [("disc", 13, True), ("ring", 13, True), ("gaussian", 9, False)])
def test_touching_images_that_are_no_gaussians_are_told(spot, diameter, told):
    """Standard errors are several times too small on discs and rings that touch (std(z) 7), and right on spots."""
    video = vd.simulators.render(FILM, FILM.camera(spot), seed=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tracks = vd.track(video, diameter=diameter, invert=False)
    assert any("Images touch" in text for text in tracks.info["warnings"]) == told
