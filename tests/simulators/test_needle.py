"""The needle rheometer against sums and a static calculation written here; nothing of the learner."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import erfcinv

import vid2dyn as vd
from vid2dyn.core.errors import ConfigError
from vid2dyn.simulators import Needle, render

ALPHA = 1e-6
Z = float(np.sqrt(2) * erfcinv(ALPHA))
FILM = Needle(gap=60.0, width=60.0, frames=40, strain=0.01, frequency=1.0, frames_per_second=40.0, thermal=False)
"""One cycle without noise. Drag of the fluid reaches as far as in the default film at its lower frequency."""


@pytest.fixture(scope="module")
def cycle():
    return FILM.path(seed=1)


def near_pairs(film, x):
    """Pairs within the cutoff: i < j, unit vectors from j to i, distances. All of them compared."""
    i, j = np.triu_indices(len(x), 1)
    d = x[i] - x[j]
    d[:, 1] -= film.width * np.round(d[:, 1] / film.width)
    r = np.hypot(d[:, 0], d[:, 1])
    near = r < film.cutoff
    return i[near], j[near], d[near] / r[near, None], r[near]


def dipoles(film, r, kind):
    """Energy and force of U = A/(3 r³) times the smooth end, written again from its formula; kind 0, 1, 2."""
    A = np.array([film.strength_small, film.strength_mixed, film.strength_large])[kind]
    t = np.clip((r / film.cutoff - 0.8) / 0.2, 0.0, 1.0)
    end, slope = 1 - 10 * t**3 + 15 * t**4 - 6 * t**5, (-30 * t**2 + 60 * t**3 - 30 * t**4) / (0.2 * film.cutoff)
    return A / (3 * r**3) * end, A / r**4 * end - A / (3 * r**3) * slope


def forces(film, x, large):
    i, j, e, r = near_pairs(film, x)
    energy, f = dipoles(film, r, large[i].astype(int) + large[j])
    out = np.zeros_like(x)
    np.add.at(out, i, f[:, None] * e)
    np.add.at(out, j, -f[:, None] * e)
    return energy.sum(), out


def test_forces_are_those_of_the_formula(cycle):
    large = cycle.columns["species"][0] == "large"
    for frame in (0, 17):
        exact = forces(FILM, cycle.middle[frame], large)[1]
        assert np.abs(cycle.forces[frame] - exact).max() < 1e-10 * 1000.0


def test_the_packing_is_at_rest_and_as_dense_as_asked(cycle):
    free = cycle.columns["body"][0] == "free"
    assert np.abs(cycle.forces[0][free]).max() < 2e-3
    density = len(free) / ((FILM.gap + 2 * FILM.cutoff) * FILM.width)
    assert density == pytest.approx(2 / (np.sqrt(3) * FILM.spacing**2), rel=0.01)


def test_needle_and_wall_move_as_prescribed(cycle):
    body, x = cycle.columns["body"][0], cycle.middle
    z = FILM.strain * FILM.gap * np.sin(2 * np.pi * np.arange(40) / 40)
    assert np.abs(x[:, body == "needle", 1] - x[0, body == "needle", 1] - z[:, None]).max() < 1e-9
    assert np.abs(x[:, body == "needle", 0] - x[0, body == "needle", 0]).max() == 0
    assert np.abs(x[:, body == "wall"] - x[0, body == "wall"]).max() == 0


@pytest.mark.parametrize("changes", [{}, {"flow": "affine"}, {"thermal": True, "exposure": 0.01}])
def test_needle_force_is_bulk_stress_and_drag(changes):
    """Force on the needle = -width · (mean stress) + what the fluid pulls, in every frame, to rounding."""
    truth = replace(FILM, frames=8, **changes).run(seed=1).info["truth"]
    force, stress, drag = (np.array(truth[key]) for key in ("needle_force", "stress", "drag_on_needle"))
    stress = stress + np.array(truth["stress_friction"])
    assert np.abs(force + FILM.width * stress - drag).max() < 1e-9 * np.abs(force).max()
    assert np.abs(drag).max() > 1e-3 * np.abs(force).max()                       # without it the sum is off by this


def amplitudes(film, seed):
    """Amplitude of the displacement along x at the frequency of the drive over that of the needle, in five layers;
    and what a linear profile has there."""
    path = film.path(seed=seed)
    t = 2 * np.pi * np.arange(film.frames) / film.frames
    u = path.middle[:, :, 1] - path.middle[:, :, 1].mean(axis=0)
    amplitude = np.abs((u * np.exp(-1j * t)[:, None]).mean(axis=0)) * 2 / (film.strain * film.gap)
    height = (path.middle[0, :, 0] - film.low) / film.gap
    layers = [(height > a) & (height < a + 0.2) for a in (0.0, 0.2, 0.4, 0.6, 0.8)]
    return np.array([[amplitude[some].mean(), 1 - height[some].mean()] for some in layers]).T


def test_profile_is_linear_within_5_percent():
    """A long film, as short ones are softer in one place. With a particle's own drag it is not so."""
    film = replace(FILM, width=360.0, strain=0.003)
    found, linear = amplitudes(film, seed=1)
    assert np.abs(found - linear).max() < 0.05, found - linear
    stokes = replace(FILM, node_friction=40 * FILM.node_friction, time_step=2e-4)
    found, linear = amplitudes(stokes, seed=1)
    assert found[2] < 0.35 < linear[2]


def test_storage_modulus_is_that_of_a_static_calculation(cycle):
    """G' at 1 % strain within 5 % of energies minimised at strains of ±1 %, with virial stress of this file."""
    x, large = cycle.middle[0], cycle.columns["species"][0] == "large"
    body = cycle.columns["body"][0]
    free = body == "free"

    def stress(strain):
        start = x.copy()
        start[body == "needle", 1] += strain * FILM.gap
        start[free, 1] += strain * (FILM.high - x[free, 0])

        def energy(flat):
            y = start.copy()
            y[free] = flat.reshape(-1, 2)
            value, f = forces(FILM, y, large)
            return value, -f[free].ravel()

        y = start.copy()
        y[free] = minimize(energy, start[free].ravel(), jac=True, method="L-BFGS-B",
                           options={"maxiter": 3000, "ftol": 1e-15, "gtol": 1e-4, "maxls": 60}).x.reshape(-1, 2)
        # the force that needle and film exchange, which in balance is the stress at every height
        return -forces(FILM, y, large)[1][body == "needle", 1].sum() / FILM.width

    static = (stress(0.01) - stress(-0.01)) / 0.02
    found = cycle.truth["storage_modulus"]
    assert abs(found / static - 1) < 0.05, (found, static)
    assert 0 < cycle.truth["loss_modulus"] < 0.2 * found


def test_temperature_is_right():
    """kT = <F²>/<-div F> of the free particles (Rugh, Phys. Rev. Lett. 78, 772, 1997), in blocks of eight frames.

    False-alarm rate 1e-6. The error is 0.6 %, so a temperature that is off by 6 % is detected, as is one planted here.
    A run of 1000 frames of a larger film has
    0.993 ± 0.002: steps of 0.5 ms take 0.7 % (tests/cases).
    """
    film = Needle(gap=80.0, width=90.0, frames=320, strain=0.0, frames_per_second=100.0, strength_small=0.4e6,
                  strength_mixed=0.7e6, strength_large=1.2e6)
    path = film.path(seed=3)
    free, large = path.columns["body"][0] == "free", path.columns["species"][0] == "large"
    square, div = np.empty(len(path.middle)), np.empty(len(path.middle))
    for k, x in enumerate(path.middle):
        i, j, _, r = near_pairs(film, x)
        kind = large[i].astype(int) + large[j]
        f, up, down = (dipoles(film, r + h, kind)[1] for h in (0.0, 1e-4, -1e-4))
        second = np.zeros(len(x))
        np.add.at(second, i, -(up - down) / 2e-4 + -f / r)
        np.add.at(second, j, -(up - down) / 2e-4 + -f / r)
        square[k], div[k] = (path.forces[k][free] ** 2).sum(), second[free].sum()
    off = (square / div - 1).reshape(-1, 8).mean(axis=1)
    error = off.std(ddof=1) / np.sqrt(len(off))
    assert abs(off.mean()) < Z * error, (off.mean(), error)
    assert Z * error < 0.03
    assert abs((1.06 * (1 + off) - 1).mean()) > Z * error


def test_replicas_begin_alike_and_part():
    film = replace(FILM, frames=3, thermal=True)
    one, other = film.path(seed=2), replace(film, replica=1).path(seed=2)
    assert np.array_equal(one.middle[0], other.middle[0])
    assert np.abs(one.middle[2] - other.middle[2]).max() > 0.01


def test_a_forced_needle_obeys_its_equation_of_motion():
    film = replace(FILM, drive="force", force=60.0, frames=200, frames_per_second=200.0, needle_mass=0.05)
    truth = film.run(seed=1).info["truth"]
    z, pull, t = (np.array(truth[key]) for key in ("needle_position", "needle_force", "time"))
    h = 1 / 200
    v, a = (z[2:] - z[:-2]) / (2 * h), (z[2:] - 2 * z[1:-1] + z[:-2]) / h**2
    drive = film.force * np.sin(2 * np.pi * t)
    rest = drive - film.needle_stiffness * z + pull
    off = film.needle_mass * a - (rest[1:-1] - film.needle_drag * v)
    assert np.abs(off[5:]).max() < 0.02 * film.force
    assert np.abs(z).max() > 0.1


def test_the_same_path_for_any_parts_of_the_exposure():
    film = replace(FILM, frames=3, thermal=True, exposure=0.02)
    one, four = film.path(seed=2), film.path(seed=2, parts=4)
    assert np.abs(one.mean - four.mean).max() < 1e-6             # velocities are solved to 1e-6
    assert np.abs(one.middle - four.middle).max() < 1e-6


@pytest.mark.parametrize("spot", ["gaussian", "disc", "ring"])
def test_it_renders_two_sizes(spot):
    video = render(replace(FILM, frames=2), FILM.camera(spot), seed=1)
    assert video[0].std() > 5
    truth = video.truth.dataframe
    assert set(truth["species"]) == {"small", "large"}
    assert truth["held"].dtype == bool
    assert set(truth.columns) >= {"force_y", "force_x", "state"}
    assert truth.loc[truth["species"] == "large", "state"].min() == 1


def test_the_table_and_its_columns():
    tracks = replace(FILM, frames=3, localisation_error=0.05).run(seed=0)
    held = tracks.rows(tracks.dataframe["held"].to_numpy())
    assert set(held.dataframe["body"]) == {"needle", "wall"}
    assert tracks.sigma is not None
    assert isinstance(tracks.box, vd.Periodic)


@pytest.mark.parametrize(("arguments", "message"), [
    ({"gap": 10.0}, "twice the cutoff"), ({"cutoff": 7.5}, "would not feel"), ({"flow": "up"}, "affine"),
    ({"node_friction": 0.0, "pair_friction": 0.0}, "need a friction"), ({"strain": -0.1}, "zero or positive"),
    ({"exposure": 1.0}, "longer than one frame"), ({"share_large": 2.0}, "share"), ({"frames": 0}, "whole number")])
def test_wrong_arguments_are_told(arguments, message):
    with pytest.raises(ConfigError, match=message):
        Needle(**arguments)


def test_steps_that_are_too_long_are_told():
    with pytest.raises(ConfigError, match="Halve time_step"):
        replace(FILM, frames=10, time_step=0.05, frames_per_second=10.0, thermal=True).run(seed=0)
