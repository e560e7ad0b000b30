"""Softness: a rule that is planted is found on cycles that were not seen, and where there is none, that is said."""

from __future__ import annotations

import numpy as np
import pytest

import vid2dyn as vd
from vid2dyn import analysis
from vid2dyn.analysis.structural_softness import _features, _vibration, area_under_curve
from vid2dyn.core.errors import ConfigError, DataError
from vid2dyn.data.box import Periodic

N, HALVES, SIZE = 300, 14, 120.0


def sheet(rule: str, seed: int = 0) -> vd.Trajectories:
    """Frames half a cycle apart, each a new disordered packing; particles jump in the next half cycle where the rule
    says: "sparse", where few neighbours are within 10 µm; "chance", anywhere."""
    rng = np.random.default_rng(seed)
    frames = []
    rest = rng.uniform(0, SIZE, (N, 2))
    for _ in range(HALVES):
        frames.append(rest.copy())
        away = np.abs(rest[:, None] - rest[None])
        away = np.minimum(away, SIZE - away)
        near = (np.linalg.norm(away, axis=2) < 10.0).sum(axis=1) + rng.uniform(0, 0.1, N)
        jumps = np.argsort(near)[:30] if rule == "sparse" else rng.choice(N, 30, replace=False)
        rest = rest + rng.normal(0, 0.05, rest.shape)
        rest[jumps] += rng.normal(0, 4.0, (30, 2))
        rest %= SIZE
    return vd.Trajectories.from_dense(np.array(frames), vd.Units(1.0, 1.0), box=Periodic((SIZE, SIZE)))


def test_a_planted_rule_is_found_on_unseen_cycles_and_particles() -> None:
    found = analysis.softness(sheet("sparse"), cutoff=14.0)
    mine = found.auc.loc["softness"]
    assert mine["auc"] - 0.5 > 4.9 * mine["stderr"], found.auc
    assert mine["auc"] > 0.7
    assert {"frame", "particle", "softness", "event", "seen"} <= set(found.dataframe)
    assert found.dataframe.groupby("frame")["event"].mean().between(0.09, 0.11).all()
    found.plot()


def test_nothing_to_be_learned_is_said() -> None:
    """Rearrangements at random: the AUC is within 4.9 standard errors of 1/2 (false alarm 1e-6), below 0.05."""
    found = analysis.softness(sheet("chance"), cutoff=14.0)
    mine = found.auc.loc["softness"]
    assert abs(mine["auc"] - 0.5) < 4.9 * mine["stderr"]
    assert mine["stderr"] < 0.05
    assert "nothing to be learned" in found.warnings[0]


def test_area_under_curve_counts_pairs() -> None:
    rng = np.random.default_rng(0)
    score, event = rng.integers(0, 6, 60).astype(float), rng.random(60) < 0.3
    pairs = [1.0 if a > b else 0.5 if a == b else 0.0 for a in score[event] for b in score[~event]]
    assert area_under_curve(score, event) == pytest.approx(np.mean(pairs))
    assert np.isnan(area_under_curve(score, np.zeros(60, bool)))


def test_features_do_not_change_when_the_sheet_is_turned() -> None:
    rng = np.random.default_rng(1)
    x = rng.uniform(0, 30, (25, 2))
    i, j = np.triu_indices(25, 1)
    turn = np.array([[np.cos(0.7), -np.sin(0.7)], [np.sin(0.7), np.cos(0.7)]])
    kind = rng.integers(0, 2, 25)
    near = np.linalg.norm(x[i] - x[j], axis=1) < 14
    i, j = i[near], j[near]
    a, b = (_features((y[j] - y[i]), i, j, kind, 14.0) for y in (x, x @ turn.T))
    assert np.abs(a - b).max() < 1e-12 * np.abs(a).max()


def test_vibration_is_that_of_the_matrix_of_stiffness() -> None:
    """One free particle between four, along each axis two whose force stiffens it and two whose force softens it."""
    x = np.array([[0.0, 0.0], [7.0, 0.0], [-7.0, 0.0], [0.0, 7.0], [0.0, -7.0]])
    i, j = np.triu_indices(5, 1)
    keep = i == 0
    i, j = i[keep], j[keep]

    def force(r: np.ndarray) -> np.ndarray:
        return 1e6 / np.asarray(r) ** 4

    found = _vibration(x[i] - x[j], i, j, np.arange(5), np.arange(5) == 0, (np.zeros((1, 1), int), None, [force]))
    k = 2 * 4e6 / 7.0**5 - 2 * 1e6 / 7.0**5
    assert found[0] == pytest.approx(2 / k, rel=1e-6)
    assert np.isnan(found[1:]).all()


def test_what_cannot_be_judged_is_refused() -> None:
    tracks = sheet("chance")
    with pytest.raises(DataError, match="half cycles"):
        analysis.softness(tracks.between(0, 5), cutoff=14.0)
    with pytest.raises(ConfigError, match="shares"):
        analysis.softness(tracks, cutoff=14.0, events=0.7)
