"""Dumps of LAMMPS as trajectories: units, unwrapping, and files that are not what they should be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import vid2dyn as vd
from vid2dyn.core.errors import DataError

HEAD = ("ITEM: TIMESTEP\n{step}\nITEM: NUMBER OF ATOMS\n{n}\nITEM: BOX BOUNDS pp pp pp\n0 10\n0 20\n0 30\n"
        "ITEM: ATOMS {names}\n")


def frame(step: int, names: str, *rows: str, units: str = "", time: float | None = None) -> str:
    said = f"ITEM: UNITS\n{units}\n" if units else ""
    said += f"ITEM: TIME\n{time}\n" if time is not None else ""
    return said + HEAD.format(step=step, n=len(rows), names=names) + "".join(f"{row}\n" for row in rows)


def test_units_and_times_that_the_dump_says(tmp_path: Path) -> None:
    path = tmp_path / "metal.lammpstrj"
    path.write_text(frame(0, "id type xu yu zu vx vy vz", "2 1 1 2 3 0 0 0", "1 1 4 5 6 1 2 3", units="metal", time=0.0)
                    + frame(500, "id type xu yu zu vx vy vz", "1 1 14 5 6 1 2 3", "2 1 1 2 3 0 0 0", time=0.5))
    tracks = vd.open(path)
    assert isinstance(tracks, vd.Trajectories)
    assert tracks.units.micrometre_per_pixel == 1e-4
    assert tracks.units.frames_per_second == pytest.approx(2e12)
    assert tracks.box.lengths == pytest.approx((2e-3, 1e-3, 3e-3))
    first = tracks.dataframe[tracks.dataframe.particle == 0]
    assert first.x.tolist() == [4.0, 14.0]
    assert first.vy.tolist() == pytest.approx([2e8, 2e8])      # 2 Å/ps in µm/s
    assert "units metal: one length is 0.0001 µm" in tracks.info["units"]


def test_wrapped_positions_are_followed_or_unwrapped_by_their_flags(tmp_path: Path) -> None:
    path = tmp_path / "wrapped.dump"
    path.write_text(frame(0, "id x y z", "1 9.5 1 1") + frame(1, "id x y z", "1 0.5 19.5 1")
                    + frame(2, "id x y z", "1 1.5 19 1.5"))
    tracks = vd.open(path, micrometre_per_pixel=1.0, frames_per_second=1.0)
    assert tracks.dataframe.x.tolist() == [9.5, 10.5, 11.5]                                          # type: ignore[union-attr]
    assert tracks.dataframe.y.tolist() == [1.0, -0.5, -1.0]                                          # type: ignore[union-attr]
    path.write_text(frame(0, "id xs ys zs ix iy iz", "1 0.95 0.5 0.5 0 0 2") + frame(
        1, "id xs ys zs ix iy iz", "1 0.05 0.5 0.6 1 0 2"))
    tracks = vd.open(path)
    np.testing.assert_allclose(tracks.dataframe.x, [9.5, 10.5])                                      # type: ignore[union-attr]
    np.testing.assert_allclose(tracks.dataframe.z, [75.0, 78.0])                                     # type: ignore[union-attr]


@pytest.mark.parametrize(("text", "message"), [
    ("frame,particle\n0,0\n", "no text dump of LAMMPS"),
    (frame(0, "type x y z", "1 1 1 1"), "no column id"),
    (frame(0, "id vx vy vz", "1 1 1 1"), "no column for the z positions|no column for the y positions"),
    (frame(0, "id x y z", "1 1 1 1", "2 2 2 2")[:-9], "breaks off after 1 of 2 particles"),
    (frame(0, "id x y z", "1 1 1 1") + frame(10, "id x y z", "1 1 1 1") + frame(15, "id x y z", "1 1 1 1"),
     "not evenly spaced; step 15 follows 10"),
    (frame(0, "id x y z", "1 1 1 1").replace("pp pp pp", "xy xz yz pp pp pp"), "right angles"),
    (frame(0, "id x y z", "1 1 1 1").replace("NUMBER OF ATOMS\n1", "NUMBER OF ATOMS\nmany"), "damaged"),
    (frame(0, "id x y z", "1 1 1 1", units="furlong"), "unknown units 'furlong'"),
])
def test_bad_dumps_are_named(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.lammpstrj"
    path.write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        vd.open(path)
    assert "bad.lammpstrj" in str(caught.value)
