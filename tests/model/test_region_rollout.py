"""A rollout beside the data of a region that is no rectangle: at its density, without overlaps, seen inside it only."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import cKDTree

import vid2dyn as vd
from vid2dyn.data.region import Region
from vid2dyn.model import region_rollout
from vid2dyn.model.region_rollout import RegionBox

SIZE = (200, 200)
Y, X = np.mgrid[:SIZE[0], :SIZE[1]]
RING = Region((np.hypot(Y - 100, X - 100) < 96) & (np.hypot(Y - 100, X - 100) > 40))


def followed(simulated: vd.Trajectories, region: Region) -> vd.Trajectories:
    """What a camera that knows a region sees of a simulation in a periodic box of its frame."""
    table, side = simulated.dataframe, np.array(SIZE, float)
    yx = table[["y", "x"]].to_numpy()
    turns, inside = np.floor(yx / side), region.contains(*(yx % side).T)
    kept = table.assign(y=yx[:, 0] % side[0], x=yx[:, 1] % side[1])[inside]
    new = (np.diff(kept.particle) != 0) | (np.diff(kept.frame) != 1) | (np.diff(turns[inside], axis=0) != 0).any(axis=1)
    kept = kept.assign(particle=np.concatenate([[0], np.cumsum(new)]))
    return vd.Trajectories.from_dataframe(kept, units=simulated.units, field_of_view=SIZE, region=region)


@pytest.fixture(scope="module")
def gas() -> vd.Trajectories:
    """Free particles, of which half leave the ring within the recording."""
    free = vd.simulators.Brownian(n_particles=300, frames=100, box_length=20.0, frames_per_second=10, pair=None)
    return followed(vd.simulate(free, seed=0), RING)


def test_what_is_put_around_keeps_density_and_distances() -> None:
    repel = vd.simulators.Brownian(n_particles=200, frames=6, box_length=20.0, pair=vd.simulators.Yukawa())
    seen = followed(vd.simulate(repel, seed=0), RING)
    box = RegionBox.around(seen, seed=3)
    assert box is not None
    sides = np.array(box.start.box.lengths) / seen.units.um
    place = box.start.dataframe[["y", "x"]].to_numpy()
    first = seen.dataframe[seen.frame == 0][["y", "x"]].to_numpy()
    assert place[: len(first)] + box.corner == pytest.approx(first)
    density = len(seen) / 6 / RING.area
    assert box.added == pytest.approx(density * (sides.prod() - RING.area), abs=3)
    nearest = cKDTree(place % sides, boxsize=sides).query(place % sides, k=2)[0][:, 1]
    theirs = [cKDTree(here).query(here, k=2)[0][:, 1] for here in (
        seen.dataframe[seen.frame == k][["y", "x"]].to_numpy() for k in range(6))]
    assert nearest.min() > 0.95 * np.quantile(np.concatenate(theirs), 0.01)
    again = RegionBox.around(seen, seed=3)
    assert again is not None
    assert again.start.dataframe.equals(box.start.dataframe)


def test_a_rectangle_is_its_own_box(gas: vd.Trajectories) -> None:
    rectangle = Region.of([[20, 30], [180, 150]], SIZE)
    inside = gas.rows(rectangle.contains(gas.dataframe.y, gas.dataframe.x)).replace(region=rectangle)
    assert RegionBox.around(inside, seed=0) is None
    made = vd.fit(inside, vd.Brownian(cutoff=None), seed=0).rollout(inside, steps=3, seed=1)
    assert made.box.lengths == pytest.approx((16.1, 12.1))
    assert made.region is None


def test_a_rollout_stays_at_the_density_of_the_region(gas: vd.Trajectories, monkeypatch: pytest.MonkeyPatch,
                                                      tmp_path: Path) -> None:
    """The number inside at the end is binomial; false alarm 1e-6 (4.9 standard deviations, a fifth of it). Without
    surroundings, planted, more than a quarter of the particles leave and none come."""
    model = vd.fit(gas, vd.Brownian(cutoff=None), seed=0)
    made = model.rollout(gas, steps=100, seed=1)
    assert made.region is not None
    assert made.box.lengths is None
    assert made.field_of_view == gas.field_of_view
    assert made.region.contains(made.dataframe.y, made.dataframe.x).all()
    about = made.info["rollout"]["around_region"]
    share = made.region.area / np.prod(about["box"])
    total = int((gas.frame == 0).sum()) + about["added"]
    allowed = 4.9 * math.sqrt(total * share * (1 - share))
    assert abs((made.frame == 99).sum() - total * share) < allowed
    compared = vd.compare(gas, made)
    assert all(np.nanmax(np.abs(curve.z)) < 6 for curve in compared.curves)
    assert compared.rdf is not None
    assert compared.rdf.b[5:].mean() == pytest.approx(1, abs=0.05)
    vd.report(tmp_path / "page.html", tracks=gas, model=model, rollout=made)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert f"around the region of interest, in which {about['added']} particles were put" in page
    monkeypatch.setattr(region_rollout, "_surroundings", lambda *_: (np.empty((0, 2)), np.empty(0, np.int64)))
    bare = model.rollout(gas, steps=100, seed=1)
    assert abs((bare.frame == 99).sum() - total * share) > allowed


def test_every_stay_is_a_track() -> None:
    """One particle that leaves the ring for its hole and comes back, one that goes around the box."""
    path = np.full((6, 2, 2), np.nan)
    path[:, 0] = [[10.0, 4.0], [10.0, 5.0], [10.0, 9.0], [10.0, 10.0], [10.0, 5.0], [10.0, 4.0]]
    path[:, 1] = [[10.0, x] for x in (18.0, 19.0, 23.0, 24.0, 25.0, 26.0)]
    seen = vd.Trajectories.from_dense(path[:, :1], vd.Units(0.1, 10.0), field_of_view=SIZE).replace(region=RING)
    box = RegionBox(seen, RING, np.zeros(2), 0, seen)
    made = box.followed(vd.Trajectories.from_dense(path, seen.units, box=vd.Periodic((20.0, 20.0)),
                                                   info={"rollout": {}}))
    tracks = {int(p): made.frame[made.particle == p].tolist() for p in np.unique(made.particle)}
    assert tracks == {0: [0, 1], 1: [4, 5], 2: [0, 1], 3: [2, 3, 4]}
    assert made.dataframe.x[made.particle == 3].iloc[0] == pytest.approx(30.0)
