"""Friction of packed particles learned from their tracks, against a film whose friction is known."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

import vid2dyn as vd
from vid2dyn.core.errors import ConfigError, ModelError
from vid2dyn.fitting.brownian.packing.friction import PairFrictionLaw, _Snapshot, cage_diffusion, found_friction
from vid2dyn.fitting.brownian.recording import Recording

FILM = vd.simulators.Needle(gap=60.0, width=60.0, frames=250, strain=0.05, frequency=0.5, frames_per_second=200.0)
TRUE = np.array([FILM.node_friction, FILM.pair_friction])


def potentials(film):
    """The true ones, in the order large-large, large-small, small-small."""
    def force(a, b):
        return lambda r: film.pair_force(np.maximum(r, 4.0), a, b)

    return tuple(SimpleNamespace(spline=SimpleNamespace(cutoff=14.0), force=force(a, b))
                 for a, b in (("large", "large"), ("large", "small"), ("small", "small")))


def recording(tracks):
    """Sorted, with species, and without weight for held particles."""
    order = np.lexsort((tracks.frame, tracks.particle))
    tracks = tracks.replace(dataframe=tracks.dataframe.iloc[order].reset_index(drop=True))
    species = (tracks.dataframe["species"] == "small").to_numpy().astype(np.int64)
    held = tracks.dataframe["held"].to_numpy()
    return dataclasses.replace(Recording.of(tracks, None, species), weight=np.where(held, 0.0, 1.0)), held


@pytest.fixture(scope="module")
def film():
    return FILM.run(seed=4)


@pytest.fixture(scope="module")
def found(film):
    one, held = recording(film)
    return found_friction([one], [held], potentials(FILM), 7.0, 10.5, None, 0.1)


def test_planted_friction_is_found(found):
    """Against fluid and between pairs, at 5 ms a frame: both within 4.9 standard errors (false alarm 1e-6), which are
    below a quarter and a tenth, so that a friction between pairs that is half as large again would be told apart.

    Relaxation that is seen for some 200 of its times looks faster than it is by 2 to 4 of them (Hurwicz, 1950).
    """
    assert (np.abs(found.tracks - TRUE) < 4.9 * found.tracks_stderr).all(), (found.tracks, found.tracks_stderr)
    assert (found.tracks_stderr < [0.25 * TRUE[0], 0.1 * TRUE[1]]).all(), found.tracks_stderr
    assert found.tracks[1] == pytest.approx(TRUE[1], rel=0.15)
    assert abs(found.tracks[1] - 1.5 * TRUE[1]) > 4.9 * found.tracks_stderr[1]
    assert found.seen[1]


def test_given_diffusion_fixes_what_is_left(film, found):
    one, held = recording(film)
    known = found_friction([one], [held], potentials(FILM), 7.0, 10.5, 0.365, 0.1)
    assert known.diffusion == pytest.approx(0.365, rel=2e-3)
    assert known.pair.amplitude == pytest.approx(TRUE[1], rel=0.06)
    assert np.sqrt(known.covariance[1, 1]) < 0.7 * found.tracks_stderr[1]


def test_forces_twice_as_large_ask_for_twice_the_friction(film, found):
    one, held = recording(film)
    twice = tuple(SimpleNamespace(spline=phi.spline, force=lambda r, phi=phi: 2 * phi.force(r))
                  for phi in potentials(FILM))
    double = found_friction([one], [held], twice, 7.0, 10.5, None, 0.1)
    assert double.tracks == pytest.approx(2 * found.tracks, rel=1e-6)


def test_cage_diffusion_is_the_diagonal_of_the_inverse():
    rng = np.random.default_rng(0)
    x = np.stack(np.meshgrid(np.arange(8) * 7.0, np.arange(8) * 7.0), axis=-1).reshape(-1, 2) + rng.normal(0, 0.5,
                                                                                                          (64, 2))
    tracks = vd.Trajectories.from_dense(x[None], vd.Units(1.0, 10.0))
    one = Recording.of(tracks, None)
    law = PairFrictionLaw(1.0, 7.0, 10.5)
    snapshot = _Snapshot.of(one, np.arange(64) < 4, 0, law)
    R = 0.2 * np.eye(128)
    for (i, j), c, e in zip(snapshot.pairs, snapshot.unit, snapshot.line):
        for a, b, sign in ((i, i, 1), (j, j, 1), (i, j, -1), (j, i, -1)):
            R[2 * a:2 * a + 2, 2 * b:2 * b + 2] += sign * 1.5 * c * np.outer(e, e)
    exact = np.diag(np.linalg.inv(R[8:, 8:])).mean()
    assert cage_diffusion([snapshot], 0.2, 1.5) == pytest.approx(exact, rel=0.1)     # 8 probes
    assert cage_diffusion([snapshot], 0.2, 0.0) == pytest.approx(5.0)


RECIPE = vd.Brownian(cutoff=14.0, species="species", packed=True, held="held", pair_friction=10.5)


@pytest.fixture(scope="module")
def coarse():
    film = dataclasses.replace(FILM, frames=60, frames_per_second=30.0)
    return film.run(seed=4)


def test_what_frames_far_apart_do_not_show_is_said(coarse):
    model = vd.fit(coarse, RECIPE, seed=0)
    said = [one for one in model.report["warnings"] if "Friction between particles" in one]
    assert said
    assert "not known" in said[0]
    assert "diffusion = ..." in said[0]
    still = dataclasses.replace(FILM, frames=40, frames_per_second=5.0, strain=0.0).run(seed=4)
    lost = vd.fit(still, RECIPE, seed=0)
    assert any("cannot be learned" in one or "not known" in one for one in lost.report["warnings"])


def test_a_model_with_friction_says_it_and_keeps_it(coarse, tmp_path):
    model = vd.fit(coarse, dataclasses.replace(RECIPE, diffusion=0.365), seed=0)
    assert not [one for one in model.report["warnings"] if "riction" in one], model.report["warnings"]
    assert model.node_friction() == pytest.approx(TRUE[0], rel=0.6)
    assert float(model.pair_friction(7.0)) == pytest.approx(TRUE[1], rel=0.1)
    low, high = model.band("pair_friction", np.array([7.0, 9.0]))
    assert (low < model.pair_friction([7.0, 9.0])).all()
    assert (high > model.pair_friction([7.0, 9.0])).all()
    low, high = model.band("node_friction")
    assert low < model.node_friction() < high
    assert model.diffusion() == 0.365
    assert {"Friction against the fluid", "Friction of two particles at 6.94 µm"} <= {one.label for one in
                                                                                     model.numbers()}
    model.save(tmp_path / "m.vid2dyn")
    again = vd.load(tmp_path / "m.vid2dyn")
    assert (again.pair_friction([7.0]) == model.pair_friction([7.0])).all()
    vd.report(tmp_path / "page.html", tracks=coarse, model=model)
    assert "Friction of the particles" in (tmp_path / "page.html").read_text()
    plain = vd.fit(coarse, dataclasses.replace(RECIPE, diffusion=0.4, pair_friction=None), seed=0)
    with pytest.raises(ModelError, match="no friction between particles"):
        plain.pair_friction(7.0)


def test_recipes_that_make_no_sense_are_refused():
    with pytest.raises(ConfigError, match="up to the cutoff"):
        dataclasses.replace(RECIPE, pair_friction=20.0)
    with pytest.raises(ConfigError, match="held"):
        dataclasses.replace(RECIPE, held=None)
    with pytest.raises(ConfigError, match="packed"):
        vd.Brownian(cutoff=14.0, pair_friction=10.5)
    assert [term.title() for part in RECIPE.as_terms for term in part] == [
        "PairPotential", "SubstrateFriction", "PairFriction"]
