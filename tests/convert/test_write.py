"""Tracks written for other programs and read again: what each format keeps, to rounding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import vid2dyn as vd
from vid2dyn.convert import write_table


def seen() -> vd.Trajectories:
    """A track with a gap, one that begins late, and a detection that was never linked."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"frame": [0, 1, 3, 2, 3, 1], "particle": [0, 0, 0, 4, 4, -1], "y": rng.uniform(0, 90, 6),
                          "x": rng.uniform(0, 60, 6), "mass": rng.uniform(1, 9, 6), "y_std": 0.1, "x_std": 0.2})
    return vd.Trajectories.from_dataframe(table, frames_per_second=25, micrometre_per_pixel=0.16, exposure=0.01,
                                          field_of_view=(100, 70), info={"source": "clip.tif", "warnings": ["none"]})


NEEDS = {".h5": "h5py", ".gsd": "gsd", ".geff": "geff"}


@pytest.mark.parametrize("kind", [".csv", ".xml", ".h5", ".geff", ".lammpstrj", ".gsd"])
def test_written_and_read_again(kind: str, tmp_path: Path) -> None:
    if kind in NEEDS:
        pytest.importorskip(NEEDS[kind])
    tracks = seen()
    path = write_table(tracks, tmp_path / f"tracks{kind}")
    given = {"frames_per_second": 25, "micrometre_per_pixel": 0.16} if kind == ".csv" else {}
    again = vd.open(path, **given)
    kept = tracks.linked() if kind in (".lammpstrj", ".gsd") else tracks
    assert (again.particle == kept.particle).all()
    assert (again.frame == kept.frame).all()
    assert again.units.frames_per_second == pytest.approx(25)
    exact = 1e-5 if kind == ".gsd" else 1e-12
    assert again.positions == pytest.approx(kept.positions, rel=exact, abs=exact)
    if kind in (".h5", ".geff", ".csv"):
        for name in ("mass", "y_std", "x_std"):
            assert (again.dataframe[name] == kept.dataframe[name]).all()
    if kind == ".h5":
        assert again.info == tracks.info
        assert again.field_of_view == (100, 70)
        assert again.units == tracks.units


def test_a_periodic_box_goes_along(tmp_path: Path) -> None:
    gas = vd.simulate(vd.simulators.Brownian(n_particles=5, frames=20, box_length=3.0, diffusion=2.0), seed=0)
    for kind in (".lammpstrj", *((".gsd",) if _there("gsd") else ())):
        again = vd.open(write_table(gas, tmp_path / f"gas{kind}"))
        assert again.box.lengths == pytest.approx((3.0, 3.0)), kind
        i, j = gas.lagged(1)
        assert np.diff(again.positions, axis=0).max() < 3.0
        assert again.positions[j] - again.positions[i] == pytest.approx(gas.positions[j] - gas.positions[i], abs=1e-5)


def _there(name: str) -> bool:
    try:
        __import__(name)
    except ImportError:
        return False
    return True


def test_trackmate_counts_links_and_filters(tmp_path: Path) -> None:
    text = write_table(seen(), tmp_path / "tracks.xml").read_text()
    assert text.count("<Edge ") == 3
    assert text.count("<TrackID ") == 2
    assert 'nspots="6"' in text
    assert "np.float" not in text


def test_what_is_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(vd.DataError, match=r"written as \.csv"):
        write_table(seen(), tmp_path / "tracks.docx")
    with pytest.raises(vd.UnitsError):
        write_table(seen().replace(units=vd.Units()), tmp_path / "t.lammpstrj")
    import vid2dyn.convert.optional as optional

    def absent(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(optional, "import_module", absent)
    for kind, extra in ((".h5", "hdf5"), (".gsd", "gsd"), (".geff", "geff")):
        with pytest.raises(vd.DataError, match=rf"pip install 'vid2dyn\[{extra}\]'"):
            write_table(seen(), tmp_path / f"t{kind}")
    assert not list(tmp_path.iterdir()), "nothing half written"


def test_a_graph_that_splits_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("geff")
    import geff
    import networkx as nx

    graph = nx.DiGraph()
    for node, (t, x) in enumerate([(0, 1.0), (1, 1.0), (1, 2.0)]):
        graph.add_node(node, t=t, y=0.5, x=x)
    graph.add_edges_from([(0, 1), (0, 2)])
    geff.write(graph, str(tmp_path / "split.geff"), axis_names=["t", "y", "x"], axis_types=["time", "space", "space"],
               axis_units=["frame", "micrometer", "micrometer"])
    with pytest.raises(vd.DataError, match="a track splits at node 0"):
        vd.open(tmp_path / "split.geff")
