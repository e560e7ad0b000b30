"""Data beside rollouts of the model: the null is the model itself, and what is wrong by a tenth is found."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest

import vid2dyn as vd
from vid2dyn.assessment.rollouts import RUNS, against_runs, rollout_findings

CALIBRATED = vd.Units(0.1, 10.0)
SWIMMERS = vd.simulators.Departures(n_particles=60, frames=120, diffusion=0.4, spacing=2.0, swim_speed=5.0,
                                    rotational_diffusion=3.0)


def gas(rng: np.random.Generator, step: float = 0.1, velocity: float | None = None) -> vd.Trajectories:
    paths = rng.uniform(0, 10, (1, 60, 2)) + rng.normal(0, step, (60, 60, 2)).cumsum(axis=0)
    speeds = None if velocity is None else velocity * rng.standard_normal((60, 60, 2))
    return vd.Trajectories.from_dense(paths, CALIBRATED, velocity=speeds, box=vd.Periodic((10.0, 10.0)))


def test_p_values_are_uniform_where_the_model_is_right():
    """Three numbers that have much to do with each other, 400 times; without the margin. False alarm 1e-6."""
    rng = np.random.default_rng(0)
    mix = np.array([[1.0, 0.9, 0.8], [0.0, 0.3, 0.3], [0.0, 0.0, 0.2]])
    draws = rng.standard_normal((400, RUNS + 1, 3)) @ mix
    p = [against_runs("t", "q", one[0], one[1:], "", margin=0.0).p for one in draws]
    assert kstest(p, "uniform").pvalue > 1e-6
    moved = [against_runs("t", "q", one[0] + [0.0, 0.6, 0.0], one[1:], "", margin=0.0).p for one in draws]
    assert kstest(moved, "uniform").pvalue < 1e-6


def test_motion_neighbours_and_velocities_of_a_gas():
    rng = np.random.default_rng(1)
    runs = [gas(rng, velocity=1.0) for _ in range(RUNS)]
    same = rollout_findings(gas(rng, velocity=1.0), runs)
    assert [one.test for one in same] == ["rollout: motion", "rollout: neighbours", "rollout: velocities"]
    assert min(one.p for one in same) > 1e-5
    faster, hotter = rollout_findings(gas(rng, 0.12, 1.0), runs), rollout_findings(gas(rng, 0.1, 1.2), runs)
    assert faster[0].p < 1e-5
    assert faster[0].effect == pytest.approx(100 * np.log(1.2**2), abs=10)
    assert "times at 0.1 s" in faster[0].advice
    assert hotter[2].p < 1e-5


def test_nothing_is_said_of_edges_that_only_one_side_has():
    rng = np.random.default_rng(2)
    data = gas(rng)
    open_space = vd.Trajectories.from_dense(data.positions.reshape(60, 60, 2).swapaxes(0, 1), CALIBRATED)
    found = rollout_findings(open_space, [gas(rng) for _ in range(RUNS)])
    assert [one.test for one in found] == ["rollout: motion"]


def test_swimmers_go_farther_than_their_model():
    """What single steps hardly see adds up; clean particles beside them go as far as theirs."""
    clean = vd.simulators.Departures(n_particles=60, frames=120, diffusion=0.4, spacing=2.0).run(3)
    found = {one.test: one for one in vd.assess(clean, vd.fit(clean, vd.Brownian())).findings}
    assert found["rollout: motion"].p > 1e-4
    swimming = SWIMMERS.run(3)
    table = vd.assess(swimming, vd.fit(swimming, vd.Brownian()))
    motion = next(one for one in table.failed if one.test == "rollout: motion")
    assert motion.effect > 20
    assert "vd.compare" in motion.advice


def test_what_swimmers_spread_is_not_called_a_diffusion_coefficient():
    model = vd.fit(SWIMMERS.run(4), vd.Brownian())
    assert model.is_persistent
    assert model.report["parameters"]["persistent"] is True
    assert repr(model).startswith("<Model Brownian: spread over one frame = ")
    first = model.numbers()[0]
    assert first.label == "Spread over one frame, model"
    assert "no diffusion coefficient" in first.detail
    caged = vd.simulators.Departures(n_particles=60, frames=120, diffusion=0.4, spacing=2.0, hurst=0.35).run(4)
    assert not vd.fit(caged, vd.Brownian()).is_persistent


def test_drawn_models_scatter_as_their_bands_say():
    """400 draws; error of a standard deviation 3.5 %, so 15 % are 4.2 of them (false alarm 3e-5 each)."""
    film = vd.simulators.Brownian(n_particles=60, frames=60, box_length=None, trap="shared", trap_stiffness=0.5,
                                  pair=vd.simulators.Yukawa(amplitude=10.0, screening_length=0.3)).run(0)
    model = vd.fit(film, vd.Brownian(cutoff=2.0, trap="shared"))
    rng, r = np.random.default_rng(0), np.array([1.3])
    draws = [model.drawn(rng) for _ in range(400)]
    for values, stderr in (([one.diffusion() for one in draws], model.standard_error("diffusion")),
                           ([one.trap_stiffness() for one in draws], model.standard_error("trap_stiffness")),
                           ([float(one.pair_potential(r)[0]) for one in draws],
                            float(np.diff(model.band("pair_potential", r), axis=0)[0, 0]) / (2 * 1.959964))):
        assert np.std(values) == pytest.approx(stderr, rel=0.15)
    assert draws[0].recipe == model.recipe


def test_other_numbers_than_the_data_have_show_as_far_as_they_are_known():
    """D moved by four of its errors: a rollout of that model alone is too fast; with its errors four times as large it
    might be."""
    film = vd.simulators.Departures(n_particles=60, frames=120, diffusion=0.4, spacing=2.0).run(3)
    model = vd.fit(film, vd.Brownian(cutoff=None))
    D, stderr = model.arrays["diffusion"]

    def p(factor, error):
        moved = vd.model.brownian.BrownianModel({**model.arrays, "diffusion": np.array([factor * D, error])},
                                                model.recipe, model.units, model.box, model.report)
        return next(one.p for one in vd.assess(film, moved).findings if one.test == "rollout: motion")

    assert p(1.15, stderr) < 1e-3
    assert p(1.15, 0.15 * D) > 0.01
    assert p(1.0, stderr) > 1e-3
