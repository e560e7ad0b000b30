"""Mixtures of dissipative particles: momentum, temperature of every pair, names in the table, one species as before."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import chi2

import vid2dyn as vd
from vid2dyn.core.errors import ConfigError
from vid2dyn.simulators.fluid.dpd import _apply_friction, _kick

MIX: dict[str, Any] = {"species": ("A", "B"), "mass": (1.0, 3.0), "repulsion": (25.0, 10.0, 40.0),
                       "friction": (4.0, 8.0, 2.0)}


def test_kick_is_the_force_over_the_mass() -> None:
    """Two particles 0.4 cutoffs apart: a (1 - s) along the line, on each by its own mass."""
    x, v = np.array([[0.0, 0.0], [0.4, 0.0]]), np.zeros((2, 2))
    _kick(x, v, np.array([0, 1]), np.array([1.0, 3.0]), np.array([[0, 1]]), np.array([[25.0, 10.0], [10.0, 40.0]]),
          1.0, 9.0)
    assert np.allclose(v, [[-6.0, 0.0], [2.0, 0.0]])


def test_relative_velocity_of_a_pair_has_its_temperature() -> None:
    """20,000 draws of strong friction between masses 1 and 3: variance kT/μ along the line, momentum to rounding.

    χ², false alarm 1e-6; finds 5 %; the reduced mass of two equal particles, 50 % off, must fail.
    """
    rng = np.random.default_rng(0)
    x, v, mass = np.array([[0.0, 0.0], [0.3, 0.2]]), np.zeros((2, 2)), np.array([1.0, 3.0])
    e = (x[0] - x[1]) / np.linalg.norm(x[0] - x[1])
    seen = np.empty(20000)
    for k in range(len(seen)):
        _apply_friction(x, v, np.array([0, 1]), mass, np.array([[0, 1]]), rng.standard_normal(1), np.full((2, 2), 80.0),
                        0.7, 1.0, 9.0)
        seen[k] = (v[0] - v[1]) @ e
    total = float((seen**2).sum())

    def p(variance: float) -> float:
        return 2 * min(chi2.sf(total / variance, len(seen)), chi2.cdf(total / variance, len(seen)))

    assert p(0.7 / 0.75) > 1e-6
    assert p(0.7 / 0.5) < 1e-6
    assert np.abs(mass @ v).max() < 1e-10


def test_mixture_in_the_table() -> None:
    made = vd.simulators.DPD(n_particles=30, frames=5, dim=2, box_length=4.0, equilibration=5, **MIX).run(seed=1)
    table = made.dataframe
    assert set(table["species"]) == {"A", "B"}
    assert (table.groupby("particle")["species"].nunique() == 1).all()
    mass = np.where(table["species"] == "A", 1.0, 3.0)
    momentum = (mass[:, None] * made.velocities).reshape(-1, 2)
    assert np.abs(np.array([momentum[made.frame == t].sum(axis=0) for t in range(5)])).max() < 1e-10
    one = vd.simulators.DPD(frames=2)
    r = np.array([0.25, 1.2])
    truth = one.true_function("pair_force", r)
    assert truth is not None
    assert np.allclose(truth, [25.0 * 0.75, 0.0])
    assert vd.simulators.DPD(frames=2, **MIX).true_function("pair_force", r) is None


def test_equal_species_are_one() -> None:
    """A mixture of equals moves as one species does, bit for bit."""
    small = {"n_particles": 40, "frames": 4, "dim": 2, "box_length": 4.0, "equilibration": 3}
    one = vd.simulators.DPD(**small).run(seed=2)
    two = vd.simulators.DPD(**small, species=("A", "B"), mass=(1.0, 1.0), repulsion=(25.0,) * 3,
                            friction=(4.5,) * 3).run(seed=2)
    assert np.array_equal(one.positions, two.positions)
    assert np.array_equal(one.velocities, two.velocities)


@pytest.mark.parametrize(("settings", "words"), [
    ({"species": ("A", "B"), "mass": (1.0, 2.0, 3.0)}, "give one number, or 2 for 2 species"),
    ({"species": ("A", "B"), "repulsion": (1.0, 2.0)}, "give one number, or 3 for 2 species"),
    ({"species": ("A", "A")}, "a name of its own"), ({"species": ("A", "B"), "mass": (1.0, -1.0)}, "positive")])
def test_bad_mixtures(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        vd.simulators.DPD(**settings)
