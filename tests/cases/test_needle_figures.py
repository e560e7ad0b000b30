"""Figures of the needle rheometer: temperature, moduli, forces from a noisy film, a rollout beside its bound."""

from __future__ import annotations

import numpy as np
import pytest

import vid2dyn as vd
from vid2dyn.simulators.brownian.forces import neighbours

pytestmark = pytest.mark.case


def test_temperature_within_1_percent():
    """<F²>/<-div F> of the free particles in 1000 frames; error 0.2 %."""
    film = vd.simulators.Needle(gap=140.0, width=140.0, frames=1000, strain=0.0, frames_per_second=100.0)
    path = film.path(seed=11)
    free, names = path.columns["body"][0] == "free", path.columns["species"][0]
    lengths, ratio = np.array(film.box.lengths), []
    for k, x in enumerate(path.middle):
        pairs = neighbours(x, lengths, film.cutoff)
        d = x[pairs[:, 0]] - x[pairs[:, 1]]
        r = np.linalg.norm(d - lengths * np.round(d / lengths), axis=1)
        second = np.zeros(len(x))
        for a, b in (("small", "small"), ("small", "large"), ("large", "small"), ("large", "large")):
            some = (names[pairs[:, 0]] == a) & (names[pairs[:, 1]] == b)
            f, up, down = (film.pair_force(r[some] + h, a, b) for h in (0.0, 1e-4, -1e-4))
            value = -(up - down) / 2e-4 - f / r[some]
            for end in range(2):
                second += np.bincount(pairs[some, end], value, len(x))
        ratio.append((path.forces[k][free] ** 2).sum() / second[free].sum())
    assert abs(np.mean(ratio) - 1) < 0.01, np.mean(ratio)


@pytest.fixture(scope="module")
def figures(script):
    return script("reproduce_needle").measured()


def test_from_a_noisy_film_to_forces(figures):
    """Driven at 5 %, 25 nm, a tenth of the labels wrong: labels, forces at neighbours and to 9 µm, moduli.

    Measured: all labels, 1.3 % and 1.4 %, all in their 95 % bands.
    """
    assert figures["labels right inside"] >= 0.99
    assert figures["forces at neighbours, worst"] < 0.05
    assert figures["forces to 9 µm, worst"] < 0.10
    assert figures["band holds the truth"] > 0.8
    assert abs(figures["G' learned over true"] - 1) < 0.10
    assert abs(figures["G'' learned over true"] - 1) < 0.10


def test_rollout_beside_its_bound(figures):
    assert figures["D²min correlation"] >= 0.7
    assert figures["RDF"] < 0.03
    assert figures["energy imbalance"] < 1e-10


def test_rollout_within_1_6_times_its_bound(figures):
    """Three rollouts beside four films: 1.56; 1.36 with another fit, whose forces were 3 % large. Single rollouts are
    from 1.2 to 1.8: how the sheet yields is chance."""
    assert figures["RMSE over bound"] < 1.6


def test_friction_of_particles_and_pairs(figures):
    """Measured 9 % and 3 % off; their standard errors are 7 % and 1.5 %, D in the cage being given within 2 %."""
    assert abs(figures["friction against the fluid, learned over true"] - 1) < 0.3
    assert abs(figures["pair friction, learned over true"] - 1) < 0.1


@pytest.fixture(scope="module")
def movie(script):
    return script("reproduce_needle").rendered()


def test_from_a_rendered_movie_to_forces(movie):
    """Rings of two sizes that touch, tracked; species by the size of their images."""
    assert movie["labels right inside"] >= 0.99
    assert movie["forces at neighbours, worst"] < 0.05
    assert movie["forces to 9 µm, worst"] < 0.10


@pytest.mark.parametrize("strain", ["1%", "5%", "10%"])
def test_from_a_rendered_movie_to_moduli(movie, strain):
    """Trained at 5 %; the movies at 1 and 10 % were not learned from."""
    assert abs(movie[f"G' at {strain}, learned over true"] - 1) < 0.10
    assert abs(movie[f"G'' at {strain}, learned over true"] - 1) < 0.10


def test_from_a_rendered_movie_to_a_rollout(movie):
    """Measured 1.42 with two rollouts and three films, .95 (the bound has .96) and 1.7 %."""
    assert movie["movie: RMSE over bound"] < 1.6
    assert movie["movie: D²min correlation"] >= 0.7
    assert movie["movie: RDF"] < 0.03
    assert movie["movie: energy imbalance"] < 1e-10
