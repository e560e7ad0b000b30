"""Diffusion of 1 µm spheres in water, from H.264 video whose compression fools lag-1 estimates.

Theory: D = 0.43-0.45 µm²/s at 20-22 °C. The lag-1 displacement gives 0.25 here, the covariance estimate 0.33
(../shared/data/README.md).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from vid2dyn.analysis import Diffusion, diffusion, drift, msd
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.readers import open_video
from vid2dyn.tracking import Track, keep, track


def water(recordings: Path, frames: int) -> Trajectories:
    """The trackpy walkthrough's tracks, over the first `frames` frames."""
    path = recordings / "bulk-water.mov"
    if not path.exists():
        pytest.skip(f"no recording {path.name}")
    video = open_video(path, micrometre_per_pixel=100 / 285, frames_per_second=24)
    settings = Track(diameter=11, minmass=20, invert=True, search_range=5, memory=3, min_length=25, stop=frames,
                     compat="trackpy")
    return keep(track(video, settings), min_mass=50, max_size=2.6, max_ecc=0.3)


def compression_is_seen_and_avoided(found: Diffusion) -> None:
    assert 0.38 <= found.D <= 0.46
    assert 0 < found.D_stderr < 0.05
    assert found.method == "slope"
    warning = next(w for w in found.warnings if "correlated" in w)
    assert "compression" in warning
    lag_one = found.covariances.value[0] / 2 * 24
    assert lag_one < 0.28, "the trap of this recording"
    assert abs(found.D - lag_one) > 5 * found.D_stderr


def test_bulk_water_60_frames(recordings: Path) -> None:
    compression_is_seen_and_avoided(diffusion(water(recordings, 60)))


@pytest.mark.case
def test_bulk_water_is_trackpys_walkthrough(recordings: Path) -> None:
    """All 300 frames: D, and the published power law A = 1.602 µm²/s, n = 1.080 (their weights differ in gaps)."""
    tracks = water(recordings, 300)
    compression_is_seen_and_avoided(diffusion(tracks))
    law = msd(tracks.without_drift(drift(tracks)), 100).power_law()
    assert abs(law.A - 1.602) < 0.002
    assert abs(law.n - 1.080) < 0.001


def test_brightfield_is_near_a_wall_and_short_of_data(recordings: Path) -> None:
    """Five particles, 25 frames: D = 0.05-0.06 µm²/s, no more than 25 % sure."""
    path = recordings / "brightfield_25f.tif"
    if not path.exists():
        pytest.skip(f"no recording {path.name}")
    video = open_video(path, micrometre_per_pixel=0.15192872980868, frames_per_second=7)
    tracks = track(video, Track(diameter=21, search_range=10, minmass=2000, min_length=25))
    found = diffusion(tracks)
    assert tracks.n_particles == 5
    assert 0.02 < found.D < 0.12
    assert abs(found.D - 0.055) < 3 * found.D_stderr
    assert not found.drift_removed


def test_D_of_water_without_tracking_agrees_with_tracking(recordings: Path) -> None:
    from vid2dyn.analysis import differential_dynamics

    tracked = diffusion(water(recordings, 300))
    video = open_video(recordings / "bulk-water.mov", micrometre_per_pixel=100 / 285, frames_per_second=24)
    found = differential_dynamics(video, stop=300)
    error = (found.D_stderr**2 + tracked.D_stderr**2) ** 0.5
    assert abs(found.D - tracked.D) < 4 * error
    assert found.D_stderr < 0.05
    assert "lags begin at 4 frames" in found.warnings[0]
