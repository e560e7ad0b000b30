"""Density of independent particles: m = ρ D from noisy tracks. Z: false alarm 1e-6."""

from __future__ import annotations

import numpy as np
import pytest

import vid2dyn as vd
from vid2dyn.convert import to_fields
from vid2dyn.core.errors import ConfigError, DataError
from vid2dyn.fitting.fields.tracked import diffusion_of_density

Z = 4.9


@pytest.fixture(scope="module")
def tracks():
    """Localisation noise as large as the steps: variance of an increment doubled."""
    simulator = vd.simulators.Brownian(n_particles=400, frames=1600, box_length=30.0, diffusion=0.4, pair=None,
                                       frames_per_second=100.0, localisation_error=0.06)
    return vd.simulate(simulator, seed=3)


def test_mobility_of_a_density_is_density_times_diffusion(tracks):
    """D from fluctuations of the density: within its error, below 6 %; the shortest window alone is far off."""
    found = diffusion_of_density(to_fields(tracks, cells=300, lags=(1, 2, 4, 8)))
    assert abs(found.D - 0.4) < Z * found.D_stderr < 0.3 * 0.4
    assert found.through_origin > 1.5 * 0.4
    assert found.intercept == pytest.approx(0.06**2, rel=0.25)
    assert found.mobility(10.0) == 10.0 * found.D


def test_what_it_refuses(tracks):
    short = tracks.between(0, 30)
    with pytest.raises(ConfigError, match="increasing"):
        to_fields(short, lags=(2, 1))
    with pytest.raises(DataError, match="axis 'z'"):
        to_fields(short, axis="z")
    with pytest.raises(DataError, match="segments"):
        to_fields(short, lags=(1, 25))
    with pytest.raises(DataError, match="same width"):
        diffusion_of_density(to_fields(short, lags=(1, 2)))
    with pytest.raises(DataError, match="length of their ring"):
        diffusion_of_density(vd.Fields(np.ones((2, 3, 8)), np.arange(3.0)))
