"""What happens within a window, against the exact answer for a flat profile."""

from __future__ import annotations

import numpy as np
import pytest

import vid2dyn.fitting.fields.windows as windows_module
from vid2dyn.dynamics.terms.landscape import DensityFunction, Landscape
from vid2dyn.fitting.fields.elements import Elements, IncrementMoments
from vid2dyn.fitting.fields.finite_sizes import beyond_chance
from vid2dyn.fitting.fields.fluctuations import covariance
from vid2dyn.fitting.fields.windows import windows

SITES, ELEMENTS, RHO = 200, 20, 0.5


def off_exact(decay: float) -> float:
    """Variance of the increment of the shortest slow wave over the exact one, less 1; `decay` = D k² h.

    A flat profile of independent particles: every wave of fluctuations of variance χ decays as exp(-D k² t), so
    increments have 2 χ (1 - exp(-D k² h)).
    """
    elements = Elements(SITES, ELEMENTS)
    wave = 2 * np.pi * ELEMENTS / 4
    width = decay / wave**2
    data = IncrementMoments(elements, np.array([width]), np.array([100.0]), np.full((1, 2, SITES), RHO),
                            np.zeros((1, 1, ELEMENTS)), np.zeros((1, 1, ELEMENTS, ELEMENTS)), np.ones(1))
    flow = Landscape(DensityFunction(0.1, 0.9, 9, 1.0), np.zeros(9), np.ones(9))
    mode = np.cos(2 * np.pi * np.arange(ELEMENTS) / 4)[:, None] / np.sqrt(ELEMENTS / 2)
    (window,) = windows(data, flow, mode)
    found = covariance(window, flow.mobility(window.rho))[0, 0]
    gamma = elements.values() @ mode[:, 0]
    power = np.abs(np.fft.fft(gamma) / SITES) ** 2
    rate = (2 * SITES * np.sin(np.pi * np.arange(SITES) / SITES)) ** 2
    exact = 2 * RHO * (1 - RHO) / SITES * (power * (1 - np.exp(-rate * width))).sum()
    return float(found / exact - 1)


@pytest.mark.parametrize("decay", [0.1, 1.0, 2.0, 5.0, 8.0])
def test_fluctuations_in_a_window_are_exact(decay: float) -> None:
    """Within half a percent, however far they decay within the window (the step of the integration is adapted)."""
    assert abs(off_exact(decay)) < 0.005


def test_too_few_steps_would_show(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four steps, which serve short windows, are off by several percent in a long one."""
    monkeypatch.setattr(windows_module, "MOST_STEPS", 4)
    assert abs(off_exact(8.0)) > 0.02


def test_what_chance_explains_is_no_error_of_finite_sizes() -> None:
    """A change as large as its own chance adds little; one ten times larger adds itself."""
    rng, chance = np.random.default_rng(0), 0.01 * np.eye(18)
    small, large = 0.1 * rng.normal(size=18), 1.0 * rng.normal(size=18)
    assert np.linalg.norm(beyond_chance(small, chance, chance)) < 0.85 * np.linalg.norm(small)
    assert np.linalg.norm(beyond_chance(large, chance, chance)) > 0.97 * np.linalg.norm(large)


def test_what_long_waves_do_not_know_is_no_error_of_finite_sizes() -> None:
    """Changes in directions of which the part of the data says nothing are chance, whatever else it shows: what is
    added there is of the size of what it shows elsewhere."""
    rng = np.random.default_rng(1)
    known = 0.01 * np.eye(18)
    sizes = np.r_[np.full(9, 0.01), np.full(9, 100.0)]
    change = np.sqrt(sizes) * rng.normal(size=18)
    change[:9] *= 5.0
    found = beyond_chance(change, np.diag(sizes), known)
    assert (found[:9] / change[:9]).min() > 0.9
    assert np.abs(found[9:]).max() < 0.3 < 5.0 < np.abs(change[9:]).max()
