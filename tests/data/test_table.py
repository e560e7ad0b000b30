"""The door of tables: what is refused, what is put right with a word, and files that are checked as tables are."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import vid2dyn as vd
from vid2dyn.core.errors import DataError
from vid2dyn.data.trajectories import Trajectories

UNITS = {"frames_per_second": 10.0, "micrometre_per_pixel": 1.0, "exposure": 0.0}


def walk(n: int = 30, frames: int = 40, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    path = rng.normal(0, 0.3, (frames, n, 2)).cumsum(0) + rng.uniform(0, 100, (1, n, 2))
    frame, particle = np.divmod(np.arange(frames * n), n)
    return pd.DataFrame({"frame": frame, "particle": particle, "y": path[..., 0].ravel(), "x": path[..., 1].ravel()})


def D(table: pd.DataFrame) -> tuple[float, int]:
    found = vd.diffusion(Trajectories.from_dataframe(table, **UNITS))
    return found.D, found.n_displacements


@pytest.mark.parametrize("z", [0.0, 3.0, -1e6])
def test_a_depth_that_never_changes_is_no_axis(z: float) -> None:
    table = walk()
    tracks = Trajectories.from_dataframe(table.assign(z=z, z_std=0.0), **UNITS)
    assert tracks.dim == 2
    assert "two-dimensional" in tracks.info["warnings"][0]
    assert D(table)[0] == vd.diffusion(tracks).D


def test_a_depth_that_changes_or_belongs_to_a_box_stays() -> None:
    table = walk()
    assert Trajectories.from_dataframe(table.assign(z=np.arange(len(table)) % 7), **UNITS).dim == 3
    assert Trajectories.from_dataframe(table.assign(z=0.0), box=vd.Periodic((200.0,) * 3), **UNITS).dim == 3
    assert Trajectories.from_dense(np.zeros((3, 2, 3)), vd.Units(1.0, 10.0)).dim == 3


@pytest.mark.parametrize("name", ["1e6*c+i", "37e14*i", "2^57+i", "2^62+i"])
def test_names_of_particles_change_no_number(name: str) -> None:
    table = walk()
    new = {"1e6*c+i": lambda i: 10**6 * (i % 7) + i, "37e14*i": lambda i: 37 * 10**14 * i,
           "2^57+i": lambda i: 2**57 + i, "2^62+i": lambda i: 2**62 + i}[name]
    assert D(table.assign(particle=new(table["particle"].astype("int64")))) == pytest.approx(D(table), rel=1e-12)


@given(st.lists(st.integers(0, 2**63 - 1), min_size=4, max_size=4, unique=True))
@settings(max_examples=40, deadline=None)
def test_any_four_names_are_four_tracks(names: list[int]) -> None:
    table = walk(4, 6)
    named = table.assign(particle=np.array(names, dtype=np.int64)[table["particle"]])
    tracks = Trajectories.from_dataframe(named, **UNITS)
    assert tracks.n_particles == 4
    assert [len(tracks.lagged(lag)[0]) for lag in (1, 5, 6)] == [20, 4, 0]


@pytest.mark.parametrize(("change", "says"), [
    (lambda t: t.assign(particle=t["particle"] + 1e17), "floating-point"),
    (lambda t: t.assign(particle=t["particle"].astype("uint64") + np.uint64(2**63 + 5)), "2\\^63"),
    (lambda t: t.assign(particle=-2), "numbered from 0"),
    (lambda t: t.assign(particle="cell " + t["particle"].astype(str)), "factorize"),
    (lambda t: t.assign(frame=t["frame"] + 2**31), "time stamps"),
    (lambda t: t.assign(frame=pd.array(t["frame"], dtype="Int64").copy()).assign(
        frame=lambda d: d["frame"].where(d.index != 3)), "frame"),
    (lambda t: t.assign(frame=t["frame"] + 0.5), "fractions"),
    (lambda t: t.assign(x=t["x"].astype(complex) + 1j), "complex"),
    (lambda t: t.assign(x=t["x"].map(lambda v: f"{v:.3f}".replace(".", ","))), "decimal comma"),
    (lambda t: t.assign(x=1e200), "positions count in pixels"),
    (lambda t: t.assign(y_std=np.inf), "standard error"),
    (lambda t: t.assign(y_std="small"), "standard error"),
    (lambda t: pd.concat([t, t[["x"]]], axis=1), "2 columns named 'x'"),
    (lambda t: pd.concat([t, t[["frame"]]], axis=1), "2 columns named 'frame'"),
    (lambda t: t.rename(columns={"particle": "track_id"}), "'track_id' seems to name the tracks"),
    (lambda t: t.rename(columns={"particle": "Particle"}), "'Particle' seems"),
    (lambda t: t.rename(columns={"particle": "trackID"}), "'trackID' seems"),
    (lambda t: t.set_index("frame"), "reset_index"),
    (lambda t: t["x"], "Series"),
    (lambda t: t.to_numpy(), "ndarray"),
    (lambda t: None, "NoneType"),
])
def test_what_does_not_fit_is_refused_in_words(change, says: str) -> None:
    with pytest.raises(DataError, match=says):
        Trajectories.from_dataframe(change(walk(5, 6)), **UNITS)


def test_the_table_that_was_given_stays_as_it_was() -> None:
    table = walk(5, 6).sample(frac=1, random_state=0)
    before = table.copy(deep=True)
    Trajectories.from_dataframe(table.assign(z=1.0), **UNITS)
    pd.testing.assert_frame_equal(table, before)


# ---------------------------------------------------------------- files

@pytest.mark.parametrize("name", ["o.csv", "o.txt", "o", "o.vid2dyn"])
def test_tracks_are_saved_as_what_their_name_says(name: str, tmp_path) -> None:
    with pytest.raises(DataError, match=r"\.parquet"):
        Trajectories.from_dataframe(walk(3, 4), **UNITS).save(tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("extra", [
    {"note": ["a", 1, None] * 4}, {5: 1.0}, {"bin": pd.cut(np.arange(12), 3)}, {"kind": pd.Categorical(["a", "b"] * 6)},
    {"when": pd.date_range("2020", periods=12)}, {"list": [[1, 2]] * 12},
])
def test_odd_columns_are_saved(extra, tmp_path) -> None:
    table = walk(3, 4)
    for name, values in extra.items():
        table[name] = values
    tracks = Trajectories.from_dataframe(table, **UNITS, info={"ms": np.float32(3), "a": np.arange(2), "p": tmp_path})
    again = vd.load(tracks.save(tmp_path / "o.parquet"))
    assert again.info["ms"] == 3.0
    assert again.info["a"] == [0, 1]
    np.testing.assert_array_equal(again.positions, tracks.positions)
    assert len(again.dataframe.columns) == 5


def test_info_that_no_file_holds_is_refused(tmp_path) -> None:
    with pytest.raises(DataError, match="info"):
        Trajectories.from_dataframe(walk(3, 4), **UNITS, info={(1, 2): 3}).save(tmp_path / "o.parquet")


def test_any_flipped_bit_of_a_file_is_refused_or_harmless(tmp_path) -> None:
    tracks = Trajectories.from_dataframe(walk(4, 10), **UNITS, info={"source": "a"})
    raw = tracks.save(tmp_path / "a.parquet").read_bytes()
    rng, other = np.random.default_rng(1), tmp_path / "b.parquet"
    refused = 0
    for at in rng.integers(0, len(raw), 200):
        data = bytearray(raw)
        data[at] ^= 1 << int(rng.integers(8))
        other.write_bytes(bytes(data))
        try:
            found = vd.load(other)
        except DataError:
            refused += 1
            continue
        assert found.dataframe.equals(tracks.dataframe), f"byte {at}"
        assert (found.units, found.info) == (tracks.units, tracks.info)
    assert refused > 100


def test_a_changed_digit_of_the_header_is_noticed(tmp_path) -> None:
    import pyarrow.parquet as pq

    path = Trajectories.from_dataframe(walk(4, 10), **UNITS).save(tmp_path / "a.parquet")
    table = pq.read_table(path)
    stored = dict(table.schema.metadata)
    changed = stored[b"vid2dyn"].replace(b'"frames_per_second": 10.0', b'"frames_per_second": 20.0')
    assert changed != stored[b"vid2dyn"]
    pq.write_table(table.replace_schema_metadata({**stored, b"vid2dyn": changed}), path)
    with pytest.raises(DataError, match="checksum"):
        vd.load(path)


@pytest.mark.parametrize("change", [
    lambda h: h.pop("box"), lambda h: h.update(units={"frames_per_second": "ten"}), lambda h: h.update(units=None),
    lambda h: h.update(box={"kind": "periodic"}), lambda h: h.update(field_of_view=[1]),
    lambda h: h.update(field_of_view=["a", "b"]), lambda h: h.update(drift={"frame": [1, 2]}),
    lambda h: h.update(info=3),
    lambda h: h.update(drift=5), lambda h: h.update(schema=99), lambda h: h.update(units={"lightyears": 3}),
])
def test_headers_with_missing_or_mistyped_keys_are_refused(change, tmp_path) -> None:
    import pyarrow.parquet as pq

    path = Trajectories.from_dataframe(walk(3, 4), **UNITS).save(tmp_path / "a.parquet")
    table = pq.read_table(path)
    header = json.loads(table.schema.metadata[b"vid2dyn"])
    change(header)
    pq.write_table(table.replace_schema_metadata({b"vid2dyn": json.dumps(header).encode()}), path)
    with pytest.raises(DataError, match=r"a\.parquet"):
        vd.load(path)


@pytest.mark.parametrize("change", [
    lambda t: t.assign(x=np.nan), lambda t: t.drop(columns="y"), lambda t: t.assign(frame=-1),
    lambda t: t.assign(frame=0, particle=0), lambda t: t.assign(particle="a"),
])
def test_tables_in_our_files_pass_the_same_door(change, tmp_path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = Trajectories.from_dataframe(walk(3, 4), **UNITS).save(tmp_path / "a.parquet")
    old = pq.read_table(path)
    new = pa.Table.from_pandas(change(old.to_pandas()), preserve_index=False)
    pq.write_table(new.replace_schema_metadata({b"vid2dyn": old.schema.metadata[b"vid2dyn"]}), path)
    with pytest.raises(DataError, match=r"a\.parquet"):
        vd.load(path)
