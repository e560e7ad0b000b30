"""Crowds without a spot that stands alone: everybody is found in every frame, and one width is agreed on."""

from __future__ import annotations

import numpy as np
import pytest

from vid2dyn.score import DetectionScore
from vid2dyn.simulators import Renderer
from vid2dyn.tracking import Track, detector


def exposed(points: np.ndarray, size: int, seed: int, width: float, snr: float = 25.0) -> np.ndarray:
    """(size, size) uint16 frame of Gaussian spots in white noise."""
    camera = Renderer(height=size, width=size, spot_sigma=width, amplitude=8000.0, background=2560.0, gain=0.0,
                      read_noise=8000.0 / snr, bit_depth=16)
    return camera.scene(seed, len(points)).frame(0, points[None])


@pytest.mark.parametrize("seed", range(4))
def test_every_frame_of_a_dense_crowd_is_searched_to_the_end(seed: int) -> None:
    """750 spots of width 2 px at random in 256 x 256 px: 5 of 6 are found, the rest melt into others.

    Recall measured in twelve frames: .82-.88. A search that takes the misfit of a crowd half found for what spots
    look like stops at .62-.74 in most frames.
    """
    truth = np.random.default_rng([7, seed]).uniform(10, 246, (750, 2))
    found = detector(Track(diameter=11, minmass=30_000.0))(exposed(truth, 256, seed, 2.0))
    score = DetectionScore.of([(found, truth)])
    assert score.recall > 0.8
    assert score.precision > 0.97


def test_one_width_for_a_packing() -> None:
    """900 spots 3.2 widths apart, jitter .3 px: errors at most 25 % beyond the stated ones (8-12 % measured).

    A width 13 % off, which widths that are free one by one run to, gives errors of 3.7 times the stated ones.
    """
    rng = np.random.default_rng(5)
    a, b = np.divmod(np.arange(900), 30)
    truth = np.stack([20 + 8 * a * np.sqrt(0.75), 20 + 8 * (b + 0.5 * (a % 2))], axis=1) + rng.normal(0, 0.3, (900, 2))
    frame = exposed(truth, 290, 1, 2.5)
    score = DetectionScore.of([(detector(Track(diameter=11, minmass=15_000.0))(frame), truth)])
    assert score.recall > 0.98
    assert score.z_std < 1.25
    wrong = DetectionScore.of([(detector(Track(diameter=11, minmass=15_000.0, spot_width=2.17))(frame), truth)])
    assert wrong.z_std > 2.0
