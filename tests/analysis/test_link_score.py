"""Link scores: what a perfect, a lazy and a confused linker get."""

from __future__ import annotations

import numpy as np
import pytest

from vid2dyn.analysis.link_score import match, score_links
from vid2dyn.core.errors import ConfigError, DataError
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.data.units import Units


def truth(n: int = 40, frames: int = 30, seed: int = 0) -> Trajectories:
    rng = np.random.default_rng(seed)
    return Trajectories.from_dense(rng.uniform(0, 400, (1, n, 2)) + rng.normal(0, 1, (frames, n, 2)).cumsum(0),
                                   Units(1.0, 10.0))


def renamed(true: Trajectories, particle: np.ndarray, keep: np.ndarray | None = None) -> Trajectories:
    table = true.dataframe.assign(particle=particle)
    return Trajectories.from_dataframe(table if keep is None else table[keep])


def test_perfect_tracks_score_one_whatever_their_names() -> None:
    true = truth()
    result = score_links(renamed(true, 1000 - true.particle), true)
    assert (result.recall, result.precision, result.jaccard, result.links) == (1.0, 1.0, 1.0, 40 * 29)


def test_missing_detections_cost_recall_but_not_precision() -> None:
    """One detection in ten is absent, tracks go on over the gap: both links at it are lost, the bridge is right."""
    true = truth()
    keep = np.random.default_rng(1).uniform(size=len(true)) < 0.9
    result = score_links(renamed(true, true.particle, keep), true)
    both = keep[:-1] & keep[1:] & (np.diff(true.particle) == 0)
    assert result.recall == pytest.approx(both.sum() / (40 * 29))
    assert (result.recall_of_detected, result.precision) == (1.0, 1.0)


def test_every_planted_swap_is_counted() -> None:
    """k pairs of particles swap names once: 2 k of the links are wrong, in recall and in precision."""
    true = truth()
    particle = true.particle.copy()
    for pair in range(10):
        late = true.frame >= 5 + pair
        a, b = (true.particle == 2 * pair) & late, (true.particle == 2 * pair + 1) & late
        particle[a], particle[b] = 2 * pair + 1, 2 * pair
    result = score_links(renamed(true, particle), true)
    assert result.recall == pytest.approx(1 - 20 / (40 * 29))
    assert result.precision == pytest.approx(1 - 20 / (40 * 29))
    assert result.jaccard == pytest.approx((40 * 29 - 20) / (40 * 29 + 20))


def test_matching_is_one_to_one_and_within_reach() -> None:
    true = Trajectories.from_dense(np.array([[[0.0, 0.0], [0.0, 4.0]]]), Units(1.0, 10.0))
    found = Trajectories.from_dense(np.array([[[0.0, 1.0], [0.0, 1.9], [30.0, 0.0]]]), Units(1.0, 10.0))
    assert match(found, true).tolist() == [0, 1, -1]     # both are nearest to the first; the sum decides
    assert match(found, true, reach=2.0).tolist() == [0, -1, -1]


def test_nothing_to_score_is_said() -> None:
    true = truth(frames=2)
    with pytest.raises(DataError, match="no detection"):
        score_links(true.rows(np.zeros(len(true), bool)), true)
    with pytest.raises(DataError, match="no link"):
        score_links(true.between(0, 1), true)
    with pytest.raises(ConfigError, match="reach"):
        score_links(true, true, reach=0.0)
