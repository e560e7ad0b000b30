"""The viscoelastic sheet: energy, moduli by sums written apart, rest, turned axes, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import vid2dyn as vd
from vid2dyn.core.errors import ConfigError
from vid2dyn.simulators import viscoelastic
from vid2dyn.simulators.viscoelastic import ViscoelasticSheet

SMALL: dict[str, Any] = {"nodes": 12, "cutoff": 0.4, "frames": 50, "rest_frames": 5, "out_frames": 20,
                         "back_frames": 20}

LOOSE: dict[str, Any] = SMALL | {"frames": 300, "friction": 480.0, "substeps": 80, "start_velocity": 0.5}
"""Left alone until it is at rest; short steps, because the stiffest dashpots act within a hundredth of a frame."""


def account(tracks: vd.Trajectories) -> dict[str, np.ndarray]:
    return {name: np.array(values) for name, values in tracks.info["truth"]["energy"].items()}


def imbalance(**settings: Any) -> float:
    """Energy put in less stored and dissipated, at worst, over the work."""
    e = account(ViscoelasticSheet(**SMALL, **settings).run(seed=1))
    return float(np.abs(e["work"] - e["stored"] - e["kinetic"] - e["heat"]).max() / np.abs(e["work"]).max())


@pytest.mark.parametrize("drive", ["triangle", "sine"])
def test_energy_put_in_is_stored_or_dissipated_to_the_order_of_the_step(drive: str) -> None:
    coarse, fine = (imbalance(drive=drive, substeps=n, jitter=0.2) for n in (10, 20))
    assert fine < 1e-7
    assert 12 < coarse / fine < 24, "the error falls with the fourth power of the step, 16 for half of it"


def lattice_sum(sheet: ViscoelasticSheet, what: str, power: str) -> float:
    """C_yxyx or (C_yyyy + C_xxxx + 2 C_yyxx)/4 of an endless square grid, neighbour by neighbour."""
    a = sheet.size / (sheet.nodes - 1)
    total = 0.0
    for ny in range(-20, 21):
        for nx in range(-20, 21):
            R = a * np.hypot(ny, nx)
            if 0 < R < sheet.cutoff:
                s = R / sheet.cutoff
                strength = sheet.stiffness * (1 - s * s) ** 2 if what == "k" else sheet.friction * (1 - s) ** 2
                y, x = a * ny, a * nx
                total += 0.5 * strength * ((y * x / R) ** 2 if power == "shear" else (y * y + x * x) ** 2 / (4 * R * R))
    return float(total / a**2)


def test_moduli_and_viscosities_are_those_of_the_grid() -> None:
    sheet = ViscoelasticSheet(nodes=16, cutoff=0.31, frames=1)
    truth = sheet.run().info["truth"]
    for name, what, power in (("shear_modulus", "k", "shear"), ("bulk_modulus", "k", "bulk"),
                              ("shear_viscosity", "c", "shear"), ("bulk_viscosity", "c", "bulk")):
        assert truth[name] == pytest.approx(lattice_sum(sheet, what, power), rel=1e-12)


def test_slow_shear_is_resisted_by_the_modulus() -> None:
    """The stress of a slow shear of a wide part is µ γ: within a tenth, as the free sides carry less."""
    sheet = ViscoelasticSheet(**SMALL | {"frames": 205, "out_frames": 200}, strain=0.02, friction=400.0)
    truth = sheet.run().info["truth"]
    sigma = np.array(truth["boundary_stress"])[-1]
    assert sigma[1] == pytest.approx(0.02 * truth["shear_modulus"], rel=0.25)
    assert sigma[1] < 0.02 * truth["shear_modulus"]


def test_released_without_drive_it_comes_to_rest() -> None:
    tracks = ViscoelasticSheet(**LOOSE, drive="none").run(seed=2)
    e = account(tracks)
    assert (e["work"] == 0).all(), "edges that stay do no work"
    assert e["kinetic"][-1] + e["stored"][-1] < 1e-6 * e["kinetic"][0]
    assert e["heat"][-1] == pytest.approx(e["kinetic"][0], rel=1e-6)
    x, *_ = tracks.dense()
    assert np.abs(x[-1] - x[0]).max() < 1e-3 * np.abs(x - x[0]).max()


def test_a_free_sheet_keeps_its_momentum_and_ends_as_a_rigid_body() -> None:
    tracks = ViscoelasticSheet(**LOOSE, held=False).run(seed=2)
    assert tracks.velocities is not None
    v = tracks.velocities.reshape(144, 300, 2).transpose(1, 0, 2)
    assert np.abs(v.sum(axis=1) - v[0].sum(axis=0)).max() < 1e-10
    x, *_ = tracks.dense()
    arm, rest = x[-1] - x[-1].mean(axis=0), v[-1] - v[-1].mean(axis=0)
    spin = (arm[:, 0] * rest[:, 1] - arm[:, 1] * rest[:, 0]).sum() / (arm**2).sum()
    turning = spin * np.stack([-arm[:, 1], arm[:, 0]], axis=1)
    assert np.abs(rest - turning).max() < 1e-3 * np.abs(v[0]).max()


def test_forces_heat_and_energy_turn_with_the_sheet() -> None:
    rng = np.random.default_rng(3)
    sheet = ViscoelasticSheet(**SMALL)
    X, _ = sheet._at_rest(rng)
    bonds = sheet._bonds(X)
    x, v = X + 0.05 * rng.normal(size=X.shape), rng.normal(size=X.shape)
    turn = np.array([[np.cos(1.1), -np.sin(1.1)], [np.sin(1.1), np.cos(1.1)]])
    found = []
    for axes in (np.eye(2), turn):
        force, heat = np.empty_like(x), np.empty(len(x))
        viscoelastic._forces(x @ axes.T, v @ axes.T, *bonds, force, heat)
        found.append((force @ axes, heat, viscoelastic._stored(x @ axes.T, *bonds[:4])))
    (f, q, e), (f2, q2, e2) = found
    assert np.abs(f2 - f).max() < 1e-12 * np.abs(f).max()
    assert np.abs(q2 - q).max() < 1e-12 * q.max()
    assert abs(e2 - e) < 1e-12 * e


def test_edges_follow_the_published_triangle() -> None:
    tracks = ViscoelasticSheet(**SMALL, strain=0.25).run()
    x, *_ = tracks.dense()
    held = tracks.dataframe.drop_duplicates("particle")["held"].to_numpy()
    assert (held > 0).sum() == 24
    moved = (x - x[0])[:, held == 2, 1]
    assert np.ptp(moved, axis=1).max() < 1e-15
    assert np.allclose(moved[[5, 15, 25, 35, 45, 49], 0], [0, 0.125, 0.25, 0.125, 0, 0], atol=1e-12)
    assert np.allclose((x - x[0])[:, held == 1, 1], -moved, atol=1e-15)


def test_the_same_seed_gives_the_same_sheet_and_noise_is_on_the_record_alone() -> None:
    clean, again, noisy = (ViscoelasticSheet(**SMALL, jitter=0.2, velocity_noise=noise).run(seed=4)
                           for noise in (0.0, 0.0, 0.01))
    assert clean.dataframe.equals(again.dataframe)
    assert np.array_equal(clean.positions, noisy.positions)
    assert clean.velocities is not None
    assert noisy.velocities is not None
    assert np.std(noisy.velocities - clean.velocities) == pytest.approx(0.01, rel=0.05)


@pytest.mark.parametrize(("wrong", "said"), [
    ({"cutoff": 0.05}, "1.5 spacings"), ({"substeps": 1}, "give substeps="), ({"jitter": 0.6}, "0.3"),
    ({"drive": "square"}, "triangle"), ({"mass": 0.0}, "positive"), ({"strain": 1.5}, "-1 and 1")])
def test_bad_settings_are_refused_in_words(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        ViscoelasticSheet(**wrong)
