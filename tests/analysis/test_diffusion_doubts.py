"""Diffusion coefficients of tracks as users bring them: the right number, or a word about why not.

Statistical checks compare with the truth within 5 stated standard errors: one false alarm in a million each.
"""

from __future__ import annotations

import numpy as np
import pytest

import vid2dyn as vd
from vid2dyn.core.errors import DataError

UNITS = vd.Units(1.0, 10.0, exposure=0.0)


def walk(n: int, frames: int, D: float | np.ndarray = 0.5, dim: int = 2, seed: int = 0,
         noise: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    steps = rng.normal(0, 1, (frames, n, dim)) * np.sqrt(2 * 0.1 * np.broadcast_to(D, (n,)))[None, :, None]
    return steps.cumsum(0) + rng.uniform(0, 100, (1, n, dim)) + rng.normal(0, noise, (frames, n, dim))


def diffusion(path: np.ndarray, units: vd.Units = UNITS, **more):
    return vd.diffusion(vd.Trajectories.from_dense(path, units, **more))


def said(found, *words: str) -> bool:
    return any(all(word in warning for word in words) for warning in found.warnings)


@pytest.mark.parametrize(("n", "dim"), [(2000, 2), (800, 3), (3000, 1), (60, 2)])
def test_tracks_of_three_frames_have_an_estimator(n: int, dim: int) -> None:
    path = walk(n, 3, dim=dim)
    found = diffusion(path)
    assert abs(found.D - 0.5) < 5 * found.D_stderr
    assert found.D_stderr < 0.6 * np.sqrt(60 / n)
    assert not said(found, "not free")
    assert said(found, "four frames")
    if n >= 800:                     # Vestergaard, Blainey, Flyvbjerg 2014, eq. 14, common motion taken out
        d = np.diff(path, axis=0)
        d = d - d.mean(axis=1, keepdims=True)
        expected = ((d**2).mean() / 0.2 + (d[1] * d[0]).mean() / 0.1) * n / (n - 1)
        assert abs(found.D / expected - 1) < 1e-9


def test_pieces_of_three_frames_anywhere_in_the_recording() -> None:
    rng, mask = np.random.default_rng(1), np.zeros((60, 400), bool)
    for k, start in enumerate(rng.integers(0, 57, 400)):
        mask[start:start + 3, k] = True
    found = diffusion(walk(400, 60), mask=mask)
    assert abs(found.D - 0.5) < 5 * found.D_stderr
    assert found.D_stderr < 0.1
    assert np.isfinite(found.D_per_axis).all()


@pytest.mark.parametrize("n", [1, 2, 5])
@pytest.mark.parametrize("frames", [3, 4, 5])
def test_no_number_is_nan(n: int, frames: int) -> None:
    found = diffusion(walk(n, frames))
    assert np.isfinite([found.D, found.D_stderr, *found.D_per_axis, *found.D_per_axis_stderr]).all()
    assert not any("nan" in warning for warning in found.warnings)
    assert "nan" not in str(found)


def test_positions_that_never_change_are_refused() -> None:
    for still in (np.repeat(walk(20, 1), 30, axis=0), np.repeat(walk(1, 1), 30, axis=0) + 0.0):
        with pytest.raises(DataError, match="neither motion nor noise"):
            diffusion(still)
    with pytest.raises(DataError, match="neither motion nor noise"):
        diffusion(np.repeat(walk(20, 1), 30, axis=0) + np.linspace(0, 9, 30)[:, None, None])      # all carried alike


@pytest.mark.parametrize("noise", [0.02, 0.5])
def test_stuck_particles_get_an_upper_bound(noise: float) -> None:
    found = diffusion(walk(40, 60, D=0.0, noise=noise))
    sigmas = found.D / found.D_stderr
    assert abs(sigmas) < 5
    assert said(found, "D is below") == (sigmas <= 2)
    assert found.localisation_error == pytest.approx(noise, rel=0.1)


# ---------------------------------------------------------------- carried and swimming particles

def rotated(path: np.ndarray, rate: float) -> np.ndarray:
    angle, q = np.arange(len(path))[:, None] * rate, path - 50.0
    return np.stack([q[..., 0] * np.cos(angle) - q[..., 1] * np.sin(angle),
                     q[..., 0] * np.sin(angle) + q[..., 1] * np.cos(angle)], axis=-1) + 50.0


def sheared(path: np.ndarray, rate: float) -> np.ndarray:
    out = path.copy()
    out[..., 1] += rate * (path[0, :, 0] - 50.0) * np.arange(len(path))[:, None]
    return out


def carried(name: str) -> np.ndarray:
    path, time = walk(50, 80), np.arange(80)[:, None, None]
    return {"rotation": lambda: rotated(path, 0.02), "shear": lambda: sheared(path, 0.01),
            "few in a drift": lambda: (path + 0.3 * time)[:, :3], "one in a drift": lambda: (path + 0.6 * time)[:, :1],
            "outflow": lambda: 50 + (path - 50) * np.exp(0.004 * time)}[name]()


@pytest.mark.parametrize("name", ["rotation", "shear", "few in a drift", "one in a drift", "outflow"])
def test_a_flow_is_named_and_taken_out(name: str) -> None:
    found = diffusion(carried(name))
    assert said(found, "flow", "taken out")
    assert not said(found, "compression")
    assert abs(found.D - 0.5) < 5 * found.D_stderr


def test_swimmers_are_named() -> None:
    rng = np.random.default_rng(3)
    turn = rng.uniform(0, 2 * np.pi, (1, 50)) + rng.normal(0, np.sqrt(0.1), (200, 50)).cumsum(0)
    steps = 0.2 * np.stack([np.cos(turn), np.sin(turn)], -1) + rng.normal(0, np.sqrt(0.02), (200, 50, 2))
    found = diffusion(steps.cumsum(0) + rng.uniform(0, 100, (1, 50, 2)))
    assert said(found, "active (swim)")
    assert 0.08 < found.D < 0.16                                  # true 0.1; with the swimming 0.4


def test_errors_that_last_are_no_flow() -> None:
    """Positions that lag behind, as in movies coded from frame to frame, are correlated but not carried."""
    path = walk(60, 200)
    late = path.copy()
    for t in range(1, 200):
        late[t] = 0.5 * late[t - 1] + 0.5 * path[t]
    found = diffusion(late)
    assert said(found, "correlated in time")
    assert not said(found, "taken out")
    assert abs(found.D - 0.5) < 5 * found.D_stderr


# ---------------------------------------------------------------- particles that differ

@pytest.mark.parametrize(("D", "differ"), [
    (np.full(50, 0.5), False), (np.r_[np.zeros(25), np.full(25, 0.5)], True), (np.r_[np.full(25, 0.05), np.full(25,
    2.0)], True),
    (np.r_[np.full(45, 0.5), np.full(5, 0.01)], True), (np.linspace(0.45, 0.55, 50), False),
    (np.random.default_rng(0).lognormal(0, 0.8, 50), True),
])
def test_populations_are_said_and_alike_ones_are_not(D: np.ndarray, differ: bool) -> None:
    for noise in (0.0, 0.03):
        found = diffusion(walk(50, 80, D=D, noise=noise))
        assert said(found, "particles differ") == differ


def test_alike_particles_pass_for_many_seeds() -> None:
    """False alarms: the limit is six standard deviations and a spread of a quarter; none in 100 short recordings."""
    alarms = sum(said(diffusion(walk(20, 25, seed=seed, noise=0.1)), "particles differ") for seed in range(100))
    assert alarms == 0


@pytest.mark.parametrize("swaps", [0.0, 0.007, 0.01, 0.02])
def test_identity_swaps_are_said(swaps: float) -> None:
    rng, path = np.random.default_rng(4), walk(60, 80) * 0.5           # neighbours about 5 µm away, steps of 0.16 µm
    for t in range(1, 80):
        for a in np.flatnonzero(rng.random(60) < swaps / 2):
            b = np.argsort(np.linalg.norm(path[t] - path[t, a], axis=1))[1]
            path[t:, [a, b]] = path[t:, [b, a]]
    found = diffusion(path)
    assert said(found, "identity swaps") == (swaps > 0)
    assert (found.D > 0.15) == (swaps > 0)                             # true: 0.125


def test_fast_and_slow_particles_are_no_swaps() -> None:
    for D in (np.r_[np.full(25, 0.01), np.full(25, 2.0)], np.full(50, 0.5)):
        for dim in (1, 2, 3):
            assert not said(diffusion(walk(50, 80, D=D, dim=dim)), "identity swaps")


# ---------------------------------------------------------------- gaps, strides, axes, calibration

@pytest.mark.parametrize("stride", [2, 3, 10, 1000])
def test_frames_that_step_are_named(stride: int) -> None:
    tracks = vd.Trajectories.from_dense(walk(10, 20), UNITS)
    stepping = vd.Trajectories.from_dataframe(tracks.dataframe.assign(frame=tracks.frame * stride), units=UNITS)
    with pytest.raises(DataError, match=rf"steps by {stride} frames"):
        vd.diffusion(stepping)


def test_tracks_that_take_no_part_are_counted() -> None:
    mask = np.ones((60, 50), bool)
    mask[1::2, 25:] = False
    assert said(diffusion(walk(50, 60), mask=mask), "Only 25 of 50 tracks")
    assert not said(diffusion(walk(50, 60)), "tracks take part")


def test_axes_without_motion_have_no_part() -> None:
    path = walk(40, 60)
    planes = np.concatenate([path, np.broadcast_to(np.arange(40.0)[None, :, None], (60, 40, 1))], axis=2)
    found = diffusion(planes)
    assert found.D == diffusion(path).D
    assert said(found, "ever moves along z")
    line = path.copy()
    line[..., 0] = 7.0
    found = diffusion(line)
    assert abs(found.D - 0.5) < 5 * found.D_stderr
    assert found.axes == ("x",)


@pytest.mark.parametrize(("factor", "wrong"), [(1.0, False), (3.0, False), (0.2, False), (1000.0, True), (1e-3, True)])
def test_lengths_in_another_unit_are_doubted(factor: float, wrong: bool) -> None:
    units = vd.Units(1.0, 10.0, exposure=0.0, temperature=295.0, viscosity=1e-3, particle_radius=0.5)
    assert said(diffusion(walk(40, 60, D=0.43) * factor, units), "check the calibration") == wrong


@pytest.mark.parametrize(("pixel", "wrong"), [(0.16, False), (0.5, False), (160.0, True), (1.6e-4, True)])
def test_an_image_that_is_too_large_for_its_motion_is_doubted(pixel: float, wrong: bool) -> None:
    tracks = vd.Trajectories.from_dense(walk(40, 60, D=0.43), vd.Units(0.16, 10.0, exposure=0.0))
    seen = vd.Trajectories.from_dataframe(tracks.dataframe.assign(size=2.5, mass=900.0), units=vd.Units(pixel, 10.0,
    exposure=0))
    assert said(vd.diffusion(seen), "check the calibration") == wrong
