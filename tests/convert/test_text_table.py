"""Tables of text in the dialects of programs and countries: the same numbers, or the true cause."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import vid2dyn as vd
from vid2dyn.convert import from_trackmate, read_table
from vid2dyn.core.errors import DataError

RNG = np.random.default_rng(3)
TABLE = pd.DataFrame({"frame": np.repeat(np.arange(6), 4), "particle": np.tile(np.arange(4), 6),
                      "y": RNG.uniform(0, 90, 24).round(4), "x": RNG.uniform(0, 90, 24).round(4)})
KEYS = "LABEL;ID;TRACK_ID;QUALITY;POSITION_X;POSITION_Y;POSITION_T;FRAME\n"


def same(path, text: str, encoding: str = "utf-8") -> None:
    path.write_bytes(text.encode(encoding))
    found = vd.open(path, frames_per_second=10, micrometre_per_pixel=1.0)
    expected = vd.Trajectories.from_dataframe(TABLE)
    pd.testing.assert_frame_equal(found.dataframe[["frame", "particle", "y", "x"]], expected.dataframe)


@pytest.mark.parametrize(("name", "text", "encoding"), [
    ("a.csv", TABLE.to_csv(index=False), "utf-8"),
    ("a.csv", TABLE.to_csv(index=False), "utf-8-sig"),
    ("a.csv", TABLE.to_csv(index=False), "utf-16"),
    ("a.csv", TABLE.to_csv(index=True), "utf-8"),
    ("a.csv", TABLE.to_csv(index=False, sep=";", decimal=","), "utf-8"),
    ("a.csv", TABLE.to_csv(index=False).replace(",", ", "), "utf-8"),
    ("a.csv", TABLE.to_csv(index=False).replace("\n", ",\n").replace("x,\n", "x\n"), "utf-8"),   # commas at the end
    ("a.csv", TABLE.to_csv(index=False, quoting=1), "utf-8"),
    ("a.csv", TABLE.assign(**{"power µW": 1.0}).to_csv(index=False), "cp1252"),
    ("a.csv", "\n" + TABLE.to_csv(index=False).replace("\n", "\r\n"), "utf-8"),
    ("a.tsv", TABLE.to_csv(index=False, sep="\t"), "utf-8"),
    ("a.tsv", TABLE.to_csv(index=False, sep="\t", decimal=","), "utf-8"),
    ("a.txt", TABLE.to_csv(index=False, sep="\t"), "utf-8"),
    ("a.txt", TABLE.to_csv(index=False, sep=" "), "utf-8"),
    ("a.csv", TABLE.assign(X=TABLE["x"] * 0.1).to_csv(index=False), "utf-8"),
    ("a.csv", TABLE.assign(Frame=7).to_csv(index=False), "utf-8"),
    ("a.csv", TABLE.rename(columns=str.upper).to_csv(index=False), "utf-8"),
])
def test_dialects_are_read(name: str, text: str, encoding: str, tmp_path) -> None:
    same(tmp_path / name, text, encoding)


@pytest.mark.parametrize(("text", "says"), [
    ("frame,particle,y,x\n0,0,1.0,2.0,9\n1,0,1.0,2.0,9\n", "line 2: 5 values.*4 columns"),
    (TABLE.to_csv(index=False) + "5,9,1.0,2.0,9\n", "line 26: 5 values"),
    (TABLE.to_csv(index=False, decimal=","), "decimal comma"),
    ("frame,particle,y,x,x\n0,0,1,2,3\n", "2 columns named 'x'|'x', 'x'"),
    ("frame,particle,y,X,X\n0,0,1,2,3\n", "'X', 'X'"),
    ("Frame,FRAME,particle,y,x\n0,0,0,1,2\n", "'Frame', 'FRAME'"),
    ("frame,track_id,y,x\n0,0,1,2\n", "'track_id' seems to name"),
    ("frame,particle,y,x\n0,99999999999999999999999,1,2\n", "particle"),
    ("frame,particle,y,x\n4294967296,0,1,2\n", "frames are counted"),
    ("frame,particle,y,x\n0,0,1\n", "'x' has 1 values"),
    ("frame,particle,y,x\n0,0,1,inf\n", "not finite"),
    ("frame particle y\n0 0 1\n", "neither trackpy's"),
    ("\0\0\0\0", "not a text table"),
])
def test_what_nobody_can_read_rightly_is_refused(text: str, says: str, tmp_path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=says):
        read_table(path)


def test_a_long_row_far_down_is_named(tmp_path) -> None:
    rows = [f"{k},0,1.0,2.0" for k in range(400)]
    rows[350] += ",7"
    (tmp_path / "a.csv").write_text("frame,particle,y,x\n" + "\n".join(rows) + "\n")
    with pytest.raises(DataError, match="line 352"):
        read_table(tmp_path / "a.csv")


def test_a_value_beyond_the_header_far_down_is_no_trailing_comma(tmp_path, recwarn) -> None:
    """Every row ends with a comma, which means nothing; in one row a number follows, which would be lost."""
    rows = [f"{k},0,1.0,2.0," for k in range(400)]
    (tmp_path / "a.csv").write_text("frame,particle,y,x\n" + "\n".join(rows) + "\n")
    assert len(read_table(tmp_path / "a.csv")) == 400
    assert not [one for one in recwarn if "loss of data" in str(one.message)]
    rows[350] += "7"
    (tmp_path / "a.csv").write_text("frame,particle,y,x\n" + "\n".join(rows) + "\n")
    with pytest.raises(DataError, match="line 352"):
        read_table(tmp_path / "a.csv")


def trackmate(decimal: str = ".", unit: str = "", time: str = "", step: float = 0.1) -> str:
    rows = [f"ID{k};{k};{r.particle};5,0;{r.x};{r.y};{r.frame * step:.3f};{r.frame}" for k,
            r in enumerate(TABLE.itertuples())]
    lines = [";;;(quality);" + f"({unit});({unit});({time});"] if unit else []
    return KEYS + "\n".join([*lines, *(row.replace(".", decimal) for row in rows)]) + "\n"


def test_trackmate_with_decimal_commas(tmp_path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(trackmate(","))
    found = from_trackmate(path, frames_per_second=10, micrometre_per_pixel=0.2)
    np.testing.assert_allclose(np.sort(found.dataframe["x"]), np.sort(TABLE["x"]))
    assert "unit" in found.info["warnings"][0]


@pytest.mark.parametrize(("time", "rate"), [("msec", 10_000.0), ("minutes", 10 / 60), ("hour", 10 / 3600), ("frame",
                                                                                                            None)])
def test_trackmate_times_in_any_unit(time: str, rate: float | None, tmp_path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(trackmate(unit="nm", time=time))
    found = from_trackmate(path, micrometre_per_pixel=0.16)
    assert found.units.frames_per_second == (rate if rate is None else pytest.approx(rate))
    np.testing.assert_allclose(np.sort(found.positions[:, 1]), np.sort(TABLE["x"]) * 1e-3)


def test_trackmate_stamps_that_are_uneven_or_stand_still_are_said(tmp_path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(trackmate(unit="µm", time="s").replace(";0.300;", ";0.350;"))
    assert any("intervals differ" in w for w in from_trackmate(path, micrometre_per_pixel=1.0).info["warnings"])
    path.write_text(trackmate(unit="µm", time="s", step=0.0))
    found = from_trackmate(path, micrometre_per_pixel=1.0)
    assert found.units.frames_per_second is None
    assert any("do not grow" in w for w in found.info["warnings"])
    path.write_text(trackmate(unit="µm", time="s").replace(";3;5,0", ";3b;5,0"))
    with pytest.raises(DataError, match="3b"):
        from_trackmate(path)
