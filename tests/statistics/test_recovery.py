"""The learner recovers what was put in: pair force, diffusion, trap stiffness from blurred and noisy tracks.

`Z` = 4.9: false-alarm rate 1e-6 of each comparison. Every test says what error it detects and shows that an error of
that size fails. The sharp version, with more films, is in tests/cases.
"""

from __future__ import annotations

import functools

import numpy as np
import pytest

import vid2dyn as vd
from vid2dyn.model.brownian import BrownianModel

Z = 4.9
D0, DT, NOISE = 0.405, 0.01, 0.027
YUKAWA = vd.simulators.Yukawa(amplitude=8.0, screening_length=0.45, diameter=1.0, cutoff=3.0)
R = np.linspace(1.15, 2.2, 22)

SCATTER_FORCE, SCATTER_TILT, SCATTER_D = 0.04, 0.036, 0.015
"""Standard deviations over films of 100 particles x 150 frames (seeds 0-5): of the scale of the force, of its tilt
(below), of D/D0."""


@functools.lru_cache
def films() -> tuple[BrownianModel, ...]:
    """Models of three films with localisation noise of 30 % of a step."""
    simulator = vd.simulators.Brownian(n_particles=100, frames=150, box_length=15.84, pair=YUKAWA, diffusion=D0,
                                       localisation_error=NOISE)
    return tuple(vd.fit(simulator.run(seed), vd.Brownian(cutoff=3.0), seed=seed) for seed in range(3))


def scale(model: BrownianModel, truth: np.ndarray) -> float:
    """The factor by which `truth` fits the learned force best."""
    return float(model.pair_force(R) @ truth / (truth @ truth))


def test_pair_force_has_the_right_size() -> None:
    """Detects a force that is 25 % wrong (8 standard errors of the mean of three films); a sign as well."""
    truth = YUKAWA.force(R)
    error = SCATTER_FORCE / np.sqrt(len(films()))
    off = {factor: abs(np.mean([scale(m, factor * truth) for m in films()]) - 1) for factor in (1.0, 1.25, 0.8, -1.0)}
    assert off[1.0] < Z * error
    assert min(off[1.25], off[0.8], off[-1.0]) > Z * error, "a force scaled or turned round must fail"


def tilt(force: np.ndarray) -> float:
    """How far a force leans toward a longer range than the truth: 0 for any multiple of the truth."""
    truth, longer = YUKAWA.force(R), yukawa_force(0.63)
    across = longer - (longer @ truth) / (truth @ truth) * truth
    return float(force @ across / np.linalg.norm(across) / (force @ truth) * np.linalg.norm(truth))


def yukawa_force(screening_length: float) -> np.ndarray:
    return vd.simulators.Yukawa(amplitude=8.0, screening_length=screening_length, diameter=1.0, cutoff=3.0).force(R)


def test_pair_force_has_the_right_range() -> None:
    """Detects a screening length wrong by a factor 2 (9 standard errors) or 0.56 (10)."""
    found = np.mean([tilt(m.pair_force(R)) for m in films()])
    error = SCATTER_TILT / np.sqrt(len(films()))
    assert abs(found) < Z * error
    assert tilt(yukawa_force(0.9)) - found > Z * error
    assert found - tilt(yukawa_force(0.25)) > Z * error


def test_diffusion_is_that_of_one_particle_alone() -> None:
    """Detects 8 % in D; what forces do to lag-1 steps and to the covariance estimate is left out here on purpose."""
    found = np.mean([m.diffusion() for m in films()]) / D0
    error = SCATTER_D / np.sqrt(len(films()))
    assert abs(found - 1) < Z * error
    assert abs(found - 1.09) > Z * error, "a D that is 9 % wrong must fail"


@pytest.mark.parametrize("exposure", [0.0, DT], ids=["flash", "open shutter"])
def test_trap_stiffness_and_diffusion_from_noisy_tracks(exposure: float) -> None:
    """Stated errors are 0.8 % in k and 0.5 % in D: detects 8 % in k (10 standard errors) and 5 % in D (10)."""
    k0 = 0.1 / (D0 * DT)
    tracks = vd.simulators.Brownian(n_particles=600, frames=300, diffusion=D0, box_length=None, trap="each",
                                    trap_stiffness=k0, exposure=exposure, localisation_error=NOISE).run(5)
    model = vd.fit(tracks, vd.Brownian(trap="each"))
    k, k_error = model.arrays["trap"]
    D, D_error = model.arrays["diffusion"]
    assert k_error < 0.01 * k0
    assert D_error < 0.008 * D0
    assert abs(k - k0) < Z * k_error
    assert abs(D - D0) < Z * D_error
    assert abs(k - 1.08 * k0) > Z * k_error
    assert abs(D - 1.05 * D0) > Z * D_error
