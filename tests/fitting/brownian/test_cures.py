"""Faults that are cured before anything is learned: gaps, wrong links, a moving stage, samples that relax."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import vid2dyn as vd
from vid2dyn.fitting.brownian.gaps import filled_gaps
from vid2dyn.fitting.brownian.pair_forces import FILLED
from vid2dyn.fitting.brownian.recording import Recording
from vid2dyn.fitting.brownian.stage_drift import SIGMAS, common_motion, without_common_motion
from vid2dyn.fitting.brownian.stationarity import changing_surroundings
from vid2dyn.fitting.brownian.wrong_links import without_wrong_links

S = vd.simulators
PAIR = S.Yukawa(amplitude=8.0, screening_length=0.3)


def film(**fault: Any) -> vd.Trajectories:
    return S.Departures(**{"n_particles": 60, "frames": 80, "box_length": 14.0, **fault}).run(seed=1)


@pytest.mark.parametrize("broken", [False, True], ids=["tracks go on", "tracks are cut"])
def test_what_was_missed_is_put_back(broken: bool) -> None:
    """Gaps are filled within 5 standard deviations of a step; cut tracks where they cannot be taken for others."""
    whole = film()
    seen = film(missing=0.2, broken_tracks=broken)
    truth = {(int(f), int(p)): x for f, p, x in zip(whole.frame, whole.particle, whole.positions)}
    known = film(missing=0.2)
    there = set(zip(known.frame.tolist(), known.particle.tolist()))
    inside = [(f, p) for (f, p) in truth if (f, p) not in there and 8 < f < 72]
    found = filled_gaps(seen, cutoff=3.0)
    tree = {f: found.position[found.frame == f] for f in range(80)}
    apart = np.array([np.abs(whole.box.displacement(tree[f], truth[f, p])).max(axis=1).min() for f, p in inside])
    assert (apart < 5 * np.sqrt(2 * 0.4 * 0.01)).mean() > (0.99 if not broken else 0.88)
    assert abs(len(found.frame) - len(inside)) < 0.25 * len(inside)


def test_missed_neighbours_have_no_weight_and_no_steps() -> None:
    seen = film(missing=0.2, pair=PAIR)
    recording, bare = Recording.of(seen, 3.0), Recording.of(seen, None)
    assert recording.filled > 100
    assert len(recording.position) == len(seen) + recording.filled
    assert not recording.weight[len(seen):].any()
    assert (recording.weight[: len(seen)] == 1).all()
    assert np.array_equal(recording.steps, bare.steps)


def test_the_strength_of_forces_is_known_no_better_than_what_was_put_back() -> None:
    """Whatever else is known, 1/(c·C⁻¹c) is the square of the relative error of all pair forces together."""
    whole, seen = film(pair=PAIR), film(pair=PAIR, missing=0.3)
    share = Recording.of(seen, 3.0).filled / len(whole)
    assert share > 0.2
    error = []
    for one in (whole, seen):
        arrays = vd.fit(one, vd.Brownian(cutoff=3.0), seed=0).arrays
        error.append((arrays["coefficients"] @ np.linalg.solve(arrays["covariance"], arrays["coefficients"])) ** -0.5)
    assert error[1] > 0.95 * FILLED * share > error[0]


def test_a_long_gap_takes_the_weight_of_its_surroundings() -> None:
    whole = film()
    table = whole.dataframe
    lost = (table["particle"] == 7) & table["frame"].between(20, 60)
    recording = Recording.of(whole.replace(dataframe=table[~lost].reset_index(drop=True)), 3.0)
    middle = recording.frame == 40
    assert 0 < (recording.weight[middle] == 0).sum() < middle.sum()
    assert (recording.weight[recording.frame == 10] == 1).all()
    assert recording.lost == 0


def test_a_particle_that_is_gone_is_counted() -> None:
    whole = film()
    table = whole.dataframe
    gone = (table["particle"] == 7) & (table["frame"] > 40)
    assert filled_gaps(whole, 3.0).lost == 0
    assert filled_gaps(whole.replace(dataframe=table[~gone].reset_index(drop=True)), 3.0).lost == 1


def test_wrong_links_are_cut_and_right_ones_are_not() -> None:
    clean = film()
    same, said = without_wrong_links(clean)
    assert same is clean
    assert said == []
    swapped, said = without_wrong_links(film(swap_probability=0.01))
    assert "identity swaps" in said[0]
    D = [vd.fit(one, vd.Brownian()).diffusion() for one in (clean, film(swap_probability=0.01))]
    assert abs(D[1] / D[0] - 1) < 0.05
    _, said = without_wrong_links(film(second_share=0.3, second_diffusion=8.0))     # fast particles are no links
    assert said == []
    assert swapped.n_particles > clean.n_particles


def trapped(**fault: Any) -> vd.Trajectories:
    return S.Departures(**{"n_particles": 40, "frames": 400, "trap": "each", "trap_stiffness": 12.5, "spacing": 4.0,
                           "box_length": None, **fault}).run(seed=2)


@pytest.mark.parametrize("fault", [{"drift": 0.1}, {"drift": 0.335}, {"drift": 2.0, "drift_period": 1.0}],
                         ids=["slow", "fast", "swings"])
def test_a_moving_stage_does_not_soften_traps(fault: dict[str, Any]) -> None:
    """k within 3 standard errors of 12.5; without the cure it is 11.0, 4.6 and 4.4."""
    model = vd.fit(trapped(**fault), vd.Brownian(trap="each"))
    assert abs(model.trap_stiffness() - 12.5) < 3 * model.standard_error("trap_stiffness") < 2.0
    assert abs(model.diffusion() - 0.4) < 3 * model.standard_error("diffusion")
    assert any("moved together" in text for text in model.report["warnings"])


def test_traps_at_rest_are_left_alone() -> None:
    """Particles' own motion is no common motion: 12 recordings within SIGMAS, far from it in the mean."""
    sigmas = []
    for seed in range(12):
        found = common_motion(S.Departures(n_particles=20, frames=200, trap="each", trap_stiffness=12.5, spacing=4.0,
                                           box_length=None).run(seed))
        assert found is not None
        sigmas.append(found.sigmas)
    assert max(sigmas) < SIGMAS
    tracks = trapped()
    same, said = without_common_motion(tracks)
    assert same is tracks
    assert said == []


def test_what_is_taken_out_gives_the_variance_back() -> None:
    """The variance about the mean places is that of a stage at rest, to 1 %, and not 1 - 1/N of it."""
    rest, moved = (S.Departures(n_particles=8, frames=3000, trap="each", trap_stiffness=12.5, spacing=4.0,
                                box_length=None, drift=drift).run(seed=0) for drift in (0.0, 1.0))
    cured, said = without_common_motion(moved)
    assert said
    spread = [float(np.mean([one.positions[one.particle == p].var(axis=0) for p in range(8)])) for one in (rest, cured)]
    assert abs(spread[1] / spread[0] - 1) < 0.08 < 1 / 8


def test_relaxing_samples_are_seen_and_resting_ones_are_not() -> None:
    """Eight recordings at rest, none below 1e-4; a crystal that expands, always."""
    for seed in range(8):
        rest = S.Departures(n_particles=80, frames=60, box_length=14.0, pair=PAIR).run(seed)
        assert changing_surroundings([Recording.of(rest, 3.0)], 3.0) is None
    for seed in range(3):
        crystal = S.Departures(n_particles=80, frames=60, box_length=None, spacing=1.2, equilibration=0.0,
                               pair=PAIR).run(seed)
        assert "not at rest" in str(changing_surroundings([Recording.of(crystal, 3.0)], 3.0))


def test_auto_falls_back_to_motion() -> None:
    crystal = S.Departures(n_particles=80, frames=100, box_length=None, spacing=1.2, equilibration=0.0,
                           pair=PAIR).run(0)
    model = vd.fit(crystal, vd.Brownian(cutoff=3.0, knots=12), seed=0)
    assert model.recipe["stationary"] is False
    assert any("from motion alone" in text for text in model.report["warnings"])
    with pytest.raises(vd.ConfigError, match="stationary"):
        vd.Brownian(stationary="sometimes")  # type: ignore[arg-type]
