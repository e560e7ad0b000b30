"""Statistics of particles in stacks: edges in three dimensions."""

from __future__ import annotations

import numpy as np

import vid2dyn as vd
from vid2dyn.simulators import observe

UNITS = vd.Units(0.1, 50.0, micrometre_per_plane=0.4)


def gas(view: tuple[float, ...]) -> vd.Trajectories:
    """An ideal gas seen in a flat stack of 8 x 8 x 4 µm."""
    path = np.random.default_rng(3).uniform(0, 12, (60, 700, 3))
    return observe(path, UNITS, np.random.default_rng(0), box=vd.Periodic((12.0,) * 3), field_of_view=view)


def test_an_ideal_gas_has_no_structure() -> None:
    """25 shells within 5.3 errors (1e-6 in all): the errors are below 3 % beyond 1 µm, so that 0.16 would be seen."""
    tracks = gas((80.0, 80.0, 40.0))
    assert tracks.field_of_view == (80.0, 80.0, 40.0)
    g = vd.analysis.rdf(tracks, r_max=3.0, bins=25)
    assert (np.abs(g.value - 1) < 5.3 * g.stderr).all()
    assert g.stderr[9:].max() < 0.03
    assert abs(g.density * 12**3 / 700 - 1) < 0.03
    # planted: faces a fifth further apart than they are
    wrong = vd.analysis.rdf(tracks, r_max=3.0, bins=25, region=(8.0, 8.0, 4.8))
    assert (np.abs(wrong.value - 1) > 5.3 * wrong.stderr).any()


def test_depths_begin_half_a_plane_below_the_first() -> None:
    low, edges = gas((80.0, 80.0, 40.0)).view()
    assert np.allclose(low, (-0.05, -0.05, -0.2))
    assert np.allclose(edges, (8.0, 8.0, 4.0))
    corner, sides = vd.analysis.radial_distribution.detectable_area(gas((80.0, 80.0, 40.0)))
    assert np.allclose(corner, low, atol=0.01)
    assert np.allclose(sides, edges, atol=0.01)


def test_structure_factor_and_comparison_see_the_stack() -> None:
    tracks = gas((80.0, 80.0, 40.0))
    s = vd.analysis.structure_factor(tracks, q_max=8.0)
    assert abs(float(s.dataframe["value"].mean()) - 1) < 0.1
    other = vd.Trajectories.from_dense(np.random.default_rng(4).uniform(-0.2, 8, (60, 250, 3)), UNITS)
    assert "RDF" in str(vd.compare(tracks, other, r_max=1.5))
