"""Tracks as fields, from a film: independent colloids rendered, tracked, and their density asked for m = ρ D.

Ten seconds a film: run with --cases. The default suite has the same from noisy tracks (tests/statistics).
"""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

import vid2dyn as vd
from vid2dyn.convert import to_fields
from vid2dyn.fitting.fields.tracked import DensityDiffusion, diffusion_of_density

pytestmark = pytest.mark.case
Z, D, STEP, SIGMA = 4.9, 0.02, 0.01, np.sqrt(2 / np.pi) / 6 * 0.1


@pytest.fixture(scope="module")
def found(bench_video: ModuleType) -> list[DensityDiffusion]:
    """Along x and y of two films of 1,200 frames: 0.2 px a step, localised to 0.13 px, the shutter always open."""
    each = []
    for seed in (0, 1):
        colloids = vd.simulators.Brownian(n_particles=60, frames=1200, frames_per_second=1 / STEP, diffusion=D,
                                          box_length=30.0, pair=None, exposure=STEP, micrometre_per_pixel=0.1)
        film = vd.render(colloids, bench_video.camera(256, 6.0), seed=seed)
        tracks = vd.track(film, diameter=9, search_range=4, memory=0, min_length=10)
        each += [diffusion_of_density(to_fields(tracks, axis=axis, cells=2000)) for axis in "xy"]
    return each


def test_mobility_of_a_filmed_density(found: list[DensityDiffusion]) -> None:
    """Each within its error, the mean of four within 8 % (2 % is one standard error); D of twice the size fails."""
    for one in found:
        assert abs(one.D - D) < Z * one.D_stderr < 0.35 * D
        assert one.mobility(3.0) == 3.0 * one.D
    assert np.mean([one.D for one in found]) == pytest.approx(D, rel=0.08)


def test_noise_of_localisation_would_double_it(found: list[DensityDiffusion]) -> None:
    """It is in the intercept, less what the open shutter takes off; the shortest window alone has it in D."""
    assert np.mean([one.intercept for one in found]) == pytest.approx(SIGMA**2 - D * STEP / 3, rel=0.25)
    for one in found:
        assert one.through_origin > 1.5 * D
