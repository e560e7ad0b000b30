"""An experiment file whose recording has depth: from the stacks to the page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import vid2dyn as vd
from vid2dyn.analysis.detection_score import score as detection_score

FILE = """
[video]
path = "beads.tif"
micrometre_per_plane = 0.25

[track]
search_range = 8
spot_width = 2.0
axial_width = 2.0

[dynamics]
kind = "Brownian"

[rollout]
steps = 10
"""


@pytest.mark.filterwarnings("ignore::vid2dyn.Vid2DynWarning")
def test_an_experiment_file_takes_stacks(tmp_path: Path) -> None:
    sim = vd.simulators.Brownian(n_particles=25, frames=15, dim=3, box_length=8.0, frames_per_second=50.0,
                                 exposure=0.02, diffusion=0.2)
    vd.render(sim, vd.simulators.StackRenderer(planes=24, height=64, width=64, micrometre_per_plane=0.25), 1,
              to=tmp_path / "beads.tif")
    (tmp_path / "beads.toml").write_text(FILE)
    vd.run(tmp_path / "beads.toml", out=tmp_path / "out")
    tracks = next(tmp_path.glob("out/**/tracks.parquet"))
    found = vd.load(tracks)
    assert found.dim == 3
    assert found.field_of_view == (64.0, 64.0, 60.0)
    assert found.info["planes"] == 24
    assert vd.load(next(tmp_path.glob("out/**/rollout.parquet"))).dim == 3
    page = next(tmp_path.glob("out/**/report.html")).read_text()
    assert "the brightest voxel over the depth" in page
    truth = vd.load(tmp_path / "beads.truth.parquet")
    score = detection_score(found, truth)
    assert score.recall > 0.99
    assert score.precision > 0.99
    assert np.isfinite(found.sigma).all()
