"""Several recordings of fields in one fit."""

import numpy as np
import pytest

import vid2dyn as vd
from vid2dyn.core.errors import DataError
from vid2dyn.simulators import Arrhenius

Z = 4.9


def lattice(seed, **settings):
    return Arrhenius(**{"sites": 120, "realisations": 120, **settings}).run(seed)


def test_one_recording_is_a_list_of_one(tmp_path):
    fields = lattice(0)
    one, listed = vd.fit(fields).save(tmp_path / "a.vid2dyn"), vd.fit([fields]).save(tmp_path / "b.vid2dyn")
    assert one.read_bytes() == listed.read_bytes()


def test_realisations_are_taken_together():
    """Three recordings: m = ρ(1 - ρ) of independent hops is in the band, which is narrower than that of one."""
    data = [lattice(k) for k in range(3)]
    model, alone = vd.fit(data), vd.fit(data[0])
    entries = model.report["recordings"]
    assert [one["realisations"] for one in entries] == [240] * 3
    for one in entries:
        assert one["belongs"]
        for name in ("mobility_strength", "drift_strength"):
            assert abs(one[name] - 1) < Z * one[f"{name}_stderr"] < 0.2
    assert model.report["warnings"] == []
    low, high = model.band("mobility", 0.5)
    assert low < 0.25 < high
    assert np.diff(model.band("mobility", 0.5), axis=0) < np.diff(alone.band("mobility", 0.5), axis=0)
    page = vd.reports.page.contents(data[0], model)
    assert any(section.id == "recordings" for section in page["sections"])


def test_a_recording_that_does_not_belong_is_named(tmp_path):
    """A process 25 % faster, seen at the same times (strengths are known to 3 and 4 %)."""
    d = 1.25
    paths = [lattice(k).save(tmp_path / f"{k}.fields") for k in range(2)]
    fast = lattice(3, d=d, windows=tuple(d * w for w in (100.0, 200.0, 400.0))).save(tmp_path / "fast.fields")
    said = vd.fit([*paths, fast]).report
    named = [text for text in said["warnings"] if "belong" in text]
    assert len(named) == 1
    assert named[0].startswith("fast.fields does not belong to the others")
    assert [one["belongs"] for one in said["recordings"]] == [True, True, False]


def test_other_lattices_and_windows_are_refused():
    first = lattice(0, realisations=30)
    with pytest.raises(DataError, match="recording 2 has 240 cells and recording 1 has 120"):
        vd.fit([first, lattice(1, sites=240, realisations=30)])
    with pytest.raises(DataError, match=r"recording 2 has windows of .* and recording 1 of"):
        vd.fit([first, lattice(1, realisations=30, windows=(100.0, 200.0))])
    with pytest.raises(DataError, match="not from Trajectories"):
        vd.fit([first, vd.simulators.Brownian(n_particles=3, frames=5).run(0)])
