"""Converters: what goes out comes back, calibration included; hostile and damaged files are refused in words."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from vid2dyn.convert import from_napari, from_trackmate, from_trackpy, read_table, to_napari, to_sfi, to_trackpy
from vid2dyn.core.errors import ConfigError, DataError, UnitsError
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.data.units import Units

UNITS = Units(micrometre_per_pixel=0.16, frames_per_second=50.0, exposure=0.01, temperature=295.0)


def made_up(dim: int, units: Units = UNITS) -> Trajectories:
    """Five particles in twelve frames with gaps, an unlinked row, standard errors and a mass."""
    rng = np.random.default_rng(dim)
    frame, particle = np.nonzero(rng.uniform(size=(12, 5)) < 0.8)
    table = {"frame": frame + 3, "particle": particle}
    for axis in ("y", "x", "z")[:dim]:
        table[axis] = rng.uniform(0, 50, frame.size)
        table[f"{axis}_std"] = rng.uniform(0.01, 0.1, frame.size)
    table["mass"] = rng.uniform(50, 90, frame.size)
    return Trajectories.from_dataframe(pd.DataFrame(table), units=units)


def same(a: Trajectories, b: Trajectories) -> None:
    pd.testing.assert_frame_equal(a.dataframe, b.dataframe[a.dataframe.columns], check_exact=True)
    assert a.units == b.units


@pytest.mark.parametrize("dim", [2, 3])
def test_round_trips_are_exact(dim: int) -> None:
    tracks = made_up(dim)
    same(tracks, from_trackpy(to_trackpy(tracks), units=UNITS))
    data, properties = to_napari(tracks)
    assert data.shape == (len(tracks), 2 + dim)
    same(tracks, from_napari(data, properties, units=UNITS))
    positions, mask, frames, _ = tracks.dense()
    back = Trajectories.from_dense(positions, UNITS, mask=mask)
    np.testing.assert_allclose(back.positions, tracks.positions, rtol=1e-14)
    np.testing.assert_array_equal(back.frame + frames[0], tracks.frame)
    np.testing.assert_array_equal(back.particle, tracks.particle)


def test_napari_axes_are_id_t_z_y_x_in_pixels() -> None:
    table = pd.DataFrame({"frame": [4], "particle": [7], "x": [1.0], "y": [2.0], "z": [3.0]})
    data, _ = to_napari(Trajectories.from_dataframe(table, micrometre_per_pixel=0.1))
    assert data.tolist() == [[7.0, 4.0, 3.0, 2.0, 1.0]]


def test_trackpy_order_and_unlinked_tables() -> None:
    table = to_trackpy(made_up(3))
    assert list(table.columns[:3]) == ["z", "y", "x"]
    assert list(table.columns[-2:]) == ["frame", "particle"]
    assert table["frame"].is_monotonic_increasing
    unlinked = from_trackpy(pd.DataFrame({"frame": [0, 0], "y": [1.0, 2.0], "x": [1.0, 2.0]}))
    assert "particle" not in to_trackpy(unlinked)
    assert (unlinked.particle == -1).all()


def test_napari_refuses_other_shapes() -> None:
    with pytest.raises(DataError, match=r"\(5, 3\)"):
        from_napari(np.zeros((5, 3)))
    with pytest.raises(DataError, match="mass"):
        from_napari(np.zeros((5, 4)), {"mass": [1.0]})


@pytest.mark.parametrize("dim", [2, 3])
def test_sfi_table_holds_micrometres_seconds_and_gaps(dim: int, tmp_path) -> None:
    tracks = made_up(dim)
    path = to_sfi(tracks, tmp_path / "tracks.csv")
    text = path.read_text()
    assert text.startswith("# ---\n# dt: 0.02\n")
    table = pd.read_csv(path, comment="#", float_precision="round_trip")
    assert list(table.columns) == ["particle_id", "time_step", *(f"x{k}" for k in range(dim))]
    np.testing.assert_array_equal(table["time_step"] + tracks.frame.min(), tracks.frame)
    np.testing.assert_array_equal(table["particle_id"], tracks.particle)
    y_then_x = tracks.positions
    np.testing.assert_array_equal(table["x0"], y_then_x[:, 1])
    np.testing.assert_array_equal(table["x1"], y_then_x[:, 0])
    if dim == 3:
        np.testing.assert_array_equal(table["x2"], y_then_x[:, 2])
    with pytest.raises(UnitsError, match="frames_per_second"):
        to_sfi(made_up(dim, Units(micrometre_per_pixel=1.0)), tmp_path / "no.csv")
    assert not (tmp_path / "no.csv").exists()


# ---------------------------------------------------------------- TrackMate

def trackmate_csv(tracks: Trajectories, unit: str = "micron", seconds: str = "sec") -> str:
    """The spots table as TrackMate 7 writes it: keys, two lines of names, a line of units, then rows."""
    position = tracks.positions if unit == "micron" else tracks.dataframe[list(tracks.axes)].to_numpy()
    z = position[:, 2] if tracks.dim == 3 else np.zeros(len(tracks))
    time = tracks.frame * (tracks.units.dt if seconds == "sec" else 1)
    lines = ["LABEL,ID,TRACK_ID,QUALITY,POSITION_X,POSITION_Y,POSITION_Z,POSITION_T,FRAME,RADIUS,VISIBILITY",
             "Label,Spot ID,Track ID,Quality,X,Y,Z,T,Frame,Radius,Visibility",
             "Label,Spot ID,Track ID,Quality,X,Y,Z,T,Frame,R,Visibility",
             f",,,(quality),({unit}),({unit}),({unit}),({seconds}),,({unit}),"]
    for k, (row, particle, frame) in enumerate(zip(position, tracks.particle, tracks.frame)):
        label = "" if particle < 0 else particle
        lines.append(f"ID{k},{k},{label},5.5,{row[1]!r},{row[0]!r},{z[k]!r},{time[k]!r},{frame},0.8,1"
                     .replace("np.float64(", "").replace(")", ""))
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("dim", [2, 3])
def test_trackmate_csv_comes_back(dim: int, tmp_path) -> None:
    tracks = made_up(dim)
    path = tmp_path / "spots.csv"
    path.write_text(trackmate_csv(tracks), encoding="utf-8")
    back = read_table(path, micrometre_per_pixel=0.16, exposure=0.01, temperature=295)
    np.testing.assert_allclose(back.positions, tracks.positions, rtol=1e-12)
    np.testing.assert_array_equal(back.particle, tracks.particle)
    np.testing.assert_array_equal(back.frame, tracks.frame)
    assert back.units.frames_per_second == pytest.approx(50.0, rel=1e-12)
    assert back.units.micrometre_per_pixel == 0.16
    assert back.dataframe["radius"].iloc[0] == pytest.approx(0.8 / 0.16)
    assert back.info["warnings"] == []


def test_trackmate_csv_without_pixel_size_keeps_micrometres_and_says_so(tmp_path) -> None:
    tracks = made_up(2)
    path = tmp_path / "spots.csv"
    path.write_text(trackmate_csv(tracks).replace("micron", "µm"), encoding="latin-1")
    back = read_table(path)
    np.testing.assert_allclose(back.positions, tracks.positions, rtol=1e-12)
    assert "micrometre_per_pixel" in back.info["warnings"][0]


def test_trackmate_csv_in_pixels_and_frames_leaves_units_open(tmp_path) -> None:
    tracks = made_up(2)
    path = tmp_path / "spots.csv"
    path.write_text(trackmate_csv(tracks, "pixel", "frame"))
    back = read_table(path)
    np.testing.assert_allclose(back.dataframe[["y", "x"]], tracks.dataframe[["y", "x"]], rtol=1e-12)
    assert back.units == Units()
    assert "frames_per_second" in back.info["warnings"][0]


def test_old_trackmate_table_without_extra_lines_and_with_loose_spots(tmp_path) -> None:
    path = tmp_path / "old.txt"
    path.write_text("Label\tID\tTRACK_ID\tQUALITY\tPOSITION_X\tPOSITION_Y\tPOSITION_Z\tPOSITION_T\tFRAME\n"
                    "ID9\t9\tNone\t0.2\t1.0\t2.0\t0\t0.0\t0\nID4\t4\t0\t0.2\t3.0\t4.0\t0\t0.1\t1\n")
    back = read_table(path)
    assert back.particle.tolist() == [-1, 0]
    assert back.dataframe[["x", "y"]].to_numpy().tolist() == [[1.0, 2.0], [3.0, 4.0]]


EXPORTED = """<?xml version="1.0" encoding="UTF-8"?>
<Tracks nTracks="2" spaceUnits="{space}" frameInterval="0.02" timeUnits="sec" from="TrackMate v7.12.2">
  <particle nSpots="2"><detection t="1" x="1.6" y="3.2" z="{z}" /><detection t="0" x="1.0" y="3.0" z="0.0" /></particle>
  <particle nSpots="1"><detection t="4" x="8.0" y="9.0" z="0.0" /></particle>
</Tracks>
"""

SAVED = """<?xml version="1.0" encoding="UTF-8"?>
<TrackMate version="7.12.2">
  <Log>text &amp; more</Log>
  <Model spatialunits="{space}" timeunits="ms">
    <FeatureDeclarations><SpotFeatures><Feature feature="QUALITY" name="Quality" /></SpotFeatures></FeatureDeclarations>
    <AllSpots nspots="6">
      <SpotsInFrame frame="0">
        <Spot ID="10" name="ID10" QUALITY="4.0" POSITION_X="1.6" POSITION_Y="3.2" POSITION_Z="0.0" FRAME="0"
              POSITION_T="0.0" RADIUS="0.8" VISIBILITY="1" />
        <Spot ID="11" name="ID11" QUALITY="4.0" POSITION_X="5.0" POSITION_Y="5.0" POSITION_Z="0.0" FRAME="0"
              RADIUS="0.8" VISIBILITY="1" />
        <Spot ID="12" name="ID12" QUALITY="0.1" POSITION_X="7.0" POSITION_Y="7.0" POSITION_Z="0.0" FRAME="0"
              RADIUS="0.8" VISIBILITY="0" />
        <Spot ID="15" name="ID15" QUALITY="4.0" POSITION_X="9.0" POSITION_Y="9.0" POSITION_Z="0.0" FRAME="0"
              RADIUS="0.8" VISIBILITY="1" />
      </SpotsInFrame>
      <SpotsInFrame frame="1">
        <Spot ID="13" name="ID13" QUALITY="4.0" POSITION_X="3.2" POSITION_Y="3.2" POSITION_Z="0.0" FRAME="1"
              RADIUS="0.8" VISIBILITY="1" />
        <Spot ID="14" name="ID14" QUALITY="4.0" POSITION_X="5.5" POSITION_Y="5.0" POSITION_Z="0.0" FRAME="1"
              RADIUS="0.8" VISIBILITY="1" />
      </SpotsInFrame>
    </AllSpots>
    <AllTracks>
      <Track name="Track_3" TRACK_ID="3"><Edge SPOT_SOURCE_ID="10" SPOT_TARGET_ID="13" /></Track>
      <Track name="Track_5" TRACK_ID="5"><Edge SPOT_SOURCE_ID="11" SPOT_TARGET_ID="14" /></Track>
    </AllTracks>
    <FilteredTracks><TrackID TRACK_ID="3" /></FilteredTracks>
  </Model>
  <Settings>
    <ImageData filename="a.tif" folder="" width="512" height="256" nslices="1" nframes="2" pixelwidth="{pixel}"
               pixelheight="{pixel}" voxeldepth="1.0" timeinterval="20.0" />
  </Settings>
</TrackMate>
"""


def test_exported_tracks_xml(tmp_path) -> None:
    path = tmp_path / "tracks.xml"
    path.write_text(EXPORTED.format(space="micron", z="0.0"), encoding="utf-8")
    tracks = read_table(path, micrometre_per_pixel=0.2)
    assert tracks.dim == 2
    assert tracks.units == Units(micrometre_per_pixel=0.2, frames_per_second=50.0)
    assert tracks.particle.tolist() == [0, 0, 1]
    assert tracks.frame.tolist() == [0, 1, 4]
    np.testing.assert_allclose(tracks.positions, [[3.0, 1.0], [3.2, 1.6], [9.0, 8.0]])
    np.testing.assert_allclose(tracks.dataframe["x"], [5.0, 8.0, 40.0])
    path.write_text(EXPORTED.format(space="nm", z="500"), encoding="utf-8")
    tracks = read_table(path)
    assert tracks.dim == 3
    np.testing.assert_allclose(tracks.positions[1], [3.2e-3, 1.6e-3, 0.5])


def test_saved_trackmate_xml_with_filters_and_calibration(tmp_path) -> None:
    path = tmp_path / "model.xml"
    path.write_text(SAVED.format(space="µm", pixel="0.16"), encoding="utf-8")
    tracks = read_table(path)
    assert tracks.units.micrometre_per_pixel == pytest.approx(0.16)
    assert tracks.units.frames_per_second == pytest.approx(50.0)
    assert tracks.field_of_view == (256.0, 512.0)
    assert tracks.particle.tolist() == [-1, 3, 3]             # the hidden spot and the hidden track are left out
    np.testing.assert_allclose(tracks.dataframe["x"], [9.0 / 0.16, 10.0, 20.0])
    np.testing.assert_allclose(tracks.dataframe["radius"], 5.0)
    overruled = read_table(path, micrometre_per_pixel=0.17)
    np.testing.assert_allclose(overruled.dataframe["x"], tracks.dataframe["x"])
    assert overruled.units.micrometre_per_pixel == 0.17
    path.write_text(SAVED.format(space="pixel", pixel="1.0"), encoding="utf-8")
    assert read_table(path).units.micrometre_per_pixel is None


BOMB = ('<?xml version="1.0"?><!DOCTYPE Tracks [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
        '<Tracks spaceUnits="&b;"><particle><detection t="0" x="1" y="1" z="0"/></particle></Tracks>')
OUTSIDE = ('<?xml version="1.0"?><!DOCTYPE Tracks SYSTEM "file:///etc/hostname"><Tracks><particle>'
           '<detection t="0" x="1" y="1" z="0"/></particle></Tracks>')
SPLIT = ('<Tracks spaceUnits="pixel"><particle><detection t="0" x="1" y="1" z="0"/>'
         '<detection t="0" x="2" y="1" z="0"/></particle></Tracks>')


@pytest.mark.parametrize(("text", "says"), [
    (BOMB, "refused for safety"),
    (OUTSIDE, "refused for safety"),
    (EXPORTED[:200], "not valid XML"),
    ("<html><body/></html>", "<html>"),
    ("not xml at all", "not valid XML"),
    ('<Tracks spaceUnits="pixel"><particle><detection t="0" x="1"/></particle></Tracks>', "lacks a number"),
    ('<Tracks spaceUnits="pixel"><particle><detection t="0" x="one" y="1"/></particle></Tracks>', "lacks a number"),
    ('<Tracks spaceUnits="pixel"><particle><detection t="0" x="nan" y="1"/></particle></Tracks>', "not finite"),
    ('<Tracks spaceUnits="pixel"></Tracks>', "no spots"),
    ('<Tracks spaceUnits="furlong"><particle><detection t="0" x="1" y="1" z="0"/></particle></Tracks>', "furlong"),
    (SPLIT, "splits or merges"),
])
def test_bad_xml_is_refused_by_name(text: str, says: str, tmp_path) -> None:
    path = tmp_path / "bad.xml"
    path.write_text(text)
    with pytest.raises(DataError, match=says) as caught:
        read_table(path)
    assert "bad.xml" in str(caught.value)


@pytest.mark.parametrize(("text", "says"), [
    ("a,b\n1,2\n", "Rename"),
    ("\0\0\0\0\n", "not a text table"),
    ("frame,y,x\n0,one,2\n", "not finite"),
    ("frame,particle,y,x\n0,0,1,2\n0,0,1,3\n", "link again"),
    ("POSITION_X,POSITION_Y,FRAME\na,a,a\nb,b,b\nc,c,c\nd,d,d\n1,1,0\n", "at most three"),
])
def test_bad_csv_is_refused_by_name(text: str, says: str, tmp_path) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=says) as caught:
        read_table(path)
    assert "bad.csv" in str(caught.value)


def test_missing_empty_foreign_and_misspelt(tmp_path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_table(tmp_path / "absent.csv")
    (tmp_path / "empty.xml").touch()
    with pytest.raises(DataError, match="empty"):
        read_table(tmp_path / "empty.xml")
    path = tmp_path / "tracks.csv"
    path.write_text("frame,particle,y,x\n0,0,1.0,2.0\n")
    with pytest.raises(ConfigError, match="frames_per_second"):
        read_table(path, frame_per_second=10)
    with pytest.raises(DataError, match="not a table"):
        read_table(path.rename(tmp_path / "tracks.xls"))
    with pytest.raises(DataError, match="no such file"):
        from_trackmate(tmp_path / "absent.xml")


def test_plain_csv_with_a_saved_index(tmp_path) -> None:
    tracks = made_up(2)
    to_trackpy(tracks).to_csv(tmp_path / "saved.csv")
    same(tracks, read_table(tmp_path / "saved.csv", **UNITS.to_dict()))
