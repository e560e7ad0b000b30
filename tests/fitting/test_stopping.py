"""Fits that are watched, stopped and gone on with: a usable model at any round, and the same bytes in the end."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vid2dyn as vd
from vid2dyn.core.errors import ConfigError, ModelError
from vid2dyn.core.progress import Cancelled
from vid2dyn.fitting.fields import rounds as field_rounds


@pytest.fixture(scope="module")
def fields() -> Any:
    return vd.simulate(vd.simulators.Arrhenius(kernel=(1.0,), sites=100, realisations=100), seed=0)


@pytest.fixture(scope="module")
def few() -> Any:
    """Enough for what only compares bytes."""
    return vd.simulate(vd.simulators.Arrhenius(kernel=(1.0,), sites=60, realisations=40), seed=0)


class Watch:
    """A progress callback that keeps what it hears and cancels at its `last` call."""

    def __init__(self, last: int | None = None) -> None:
        self.calls, self.last = 0, last
        self.heard: list[tuple[int, float, float]] = []

    def __call__(self, done: int, total: int, what: str) -> None:
        self.calls += 1
        if self.last is not None and self.calls >= self.last:
            raise Cancelled

    def likelihood(self, step: int, train: float, held_out: float, what: str) -> None:
        self.heard.append((step, train, held_out))


def written(model: Any, folder: Path) -> bytes:
    return model.save(folder / "m.vid2dyn").read_bytes()


@pytest.mark.parametrize(("recipe", "many"), [
    (vd.GradientFlow(knots=6), 6), (vd.GradientFlow(knots=5, shape="network"), 3)])
def test_fields_stop_and_go_on_to_the_same_bytes(few: Any, recipe: Any, many: int, tmp_path: Path,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(field_rounds, "trained", functools.partial(field_rounds.trained, iterations=5))
    check_every_stop(few, recipe, tmp_path, many)


def check_every_stop(data: Any, recipe: Any, folder: Path, many: int) -> None:
    """Cancelled at `many` places: what is kept is the model of the rounds done, and it goes on to the whole one."""
    whole_watch = Watch()
    whole = vd.fit(data, recipe, seed=3, progress=whole_watch)
    course = whole.report["course"]
    assert whole_watch.heard == [(k + 1, t, h) for k, (t, h) in enumerate(zip(course["train"], course["held_out"]))]
    assert "stopped_early" not in whole.report
    usable, stopped = 0, functools.cache(lambda rounds: written(vd.fit(data, recipe, seed=3, stop=rounds), folder))
    for last in np.unique(np.linspace(1, whole_watch.calls, many).astype(int)):
        place = folder / f"kept{last}"
        watch = Watch(int(last))
        try:
            part = vd.fit(data, recipe, seed=3, progress=watch, keep_partial=True, checkpoint=place)
        except Cancelled:
            assert not watch.heard, "a round was done, so there was something to keep"
        else:
            rounds = part.report["stopped_early"]["rounds"] if "stopped_early" in part.report else None
            if rounds is not None:
                usable += 1
                assert rounds == len(watch.heard) >= 1
                assert "Stopped early" in part.report["warnings"][0]
                assert written(part, folder) == stopped(rounds)
        again = Watch()
        resumed = vd.fit(data, recipe, seed=3, progress=again, checkpoint=place)
        assert written(resumed, folder) == written(whole, folder)
        assert again.heard == whole_watch.heard, "curves of a resumed fit begin at the beginning"
        if len(watch.heard) > 1:
            assert again.calls < whole_watch.calls, "it went on, not anew"
    assert usable


def test_held_out_realisations_are_not_learned_from(fields: Any) -> None:
    """Ten times the noise in the first of ten groups: train hears nothing of it, held-out does."""
    values = fields.values.copy()
    for start in np.unique(fields.starts):
        mine = np.flatnonzero(fields.starts == start)[::10]
        values[mine] = np.random.default_rng(int(start)).permuted(values[mine], axis=2)
    other = dataclasses.replace(fields, values=values)
    one, two = (vd.fit(data, vd.GradientFlow(knots=6)).report["course"] for data in (fields, other))
    assert two["train"] == pytest.approx(one["train"], abs=2e-3)       # the range of densities shifts a little
    assert two["held_out"][-1] < one["held_out"][-1] - 0.5


def test_bands_of_a_stopped_fit_of_fields_hold_the_final_one(fields: Any) -> None:
    rho = np.linspace(0.2, 0.8, 7)
    whole = vd.fit(fields, vd.GradientFlow(knots=6))
    for stop, level in ((1, 0.9999), (2, 0.95), (4, 0.95)):
        part = vd.fit(fields, vd.GradientFlow(knots=6), stop=stop)
        for name in ("mobility", "curvature"):
            low, high = part.band(name, rho, level)
            value = getattr(whole, name)(rho)
            assert ((low < value) & (value < high)).all(), (stop, name)


def test_stop_before_anything_is_learned_is_refused(fields: Any) -> None:
    with pytest.raises(ConfigError, match="stop = 0"):
        vd.fit(fields, vd.GradientFlow(), stop=0)


def test_checkpoint_of_other_data_or_settings_is_not_used(few: Any, tmp_path: Path) -> None:
    place = tmp_path / "kept"
    first = vd.fit(few, vd.GradientFlow(knots=6), checkpoint=place)
    other = vd.GradientFlow(knots=7)
    assert written(vd.fit(few, other, checkpoint=place), tmp_path) == written(vd.fit(few, other), tmp_path)
    assert written(vd.fit(few, vd.GradientFlow(knots=6), checkpoint=place), tmp_path) == written(first, tmp_path)
    place.write_text("not one")
    with pytest.raises(ModelError, match="not a readable checkpoint"):
        vd.fit(few, other, checkpoint=place)


@pytest.fixture(scope="module")
def tracks() -> Any:
    return vd.simulate(vd.simulators.Brownian(n_particles=40, frames=50, box_length=10.0, exposure=0.01,
                                              localisation_error=0.02, pair=vd.simulators.Yukawa()), seed=1)


@pytest.fixture(scope="module")
def forces(tracks: Any) -> Any:
    return vd.fit(tracks, vd.Brownian(cutoff=3.0))


def test_forces_stop_and_go_on_to_the_same_bytes(tracks: Any, tmp_path: Path) -> None:
    check_every_stop(tracks, vd.Brownian(cutoff=3.0), tmp_path, many=4)


@pytest.mark.case
def test_corrections_that_swing_go_on_too(tracks: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A first attempt that is refused, as one that swings is: what is kept then is of either attempt."""
    from vid2dyn.fitting.brownian import indirect

    plain = indirect._iterate

    def refused(problem: Any, p: Any, naive: Any, rounds: Any, progress: Any) -> Any:
        p, response = plain(problem, p, naive, rounds, progress)
        return p, response if rounds.attempt else None

    monkeypatch.setattr(indirect, "_iterate", refused)
    check_every_stop(tracks, vd.Brownian(cutoff=3.0), tmp_path, many=5)


def test_bands_of_stopped_forces_hold_the_final_ones(tracks: Any, forces: Any) -> None:
    r = np.linspace(1.2, 2.5, 6)
    for stop in (2, 3):
        part = vd.fit(tracks, vd.Brownian(cutoff=3.0), stop=stop)
        low, high = part.band("pair_potential", r)
        assert ((low < forces.pair_potential(r)) & (forces.pair_potential(r) < high)).all(), stop
        width, wide = (np.ptp(m.band("pair_potential", r), axis=0) for m in (forces, part))
        assert (wide < 2.5 * width).all(), stop
        assert part.diffusion() == pytest.approx(forces.diffusion(), rel=0.03)


def test_a_round_that_cannot_be_judged_does_not_end_the_fit(tracks: Any, forces: Any, tmp_path: Path,
                                                            monkeypatch: pytest.MonkeyPatch) -> None:
    from vid2dyn.fitting.brownian import evidence

    plain, calls = evidence.residuals, [0]

    def first_is_stiff(*arguments: Any) -> Any:
        calls[0] += 1
        if calls[0] == 1:
            raise np.linalg.LinAlgError("Matrix is not positive definite.")
        return plain(*arguments)

    monkeypatch.setattr(evidence, "residuals", first_is_stiff)
    watch = Watch()
    found = vd.fit(tracks, vd.Brownian(cutoff=3.0), progress=watch)
    assert np.isnan(watch.heard[0][1:]).all()
    assert np.isfinite([heard[1:] for heard in watch.heard[1:]]).all()
    assert found.pair_potential(2.0) == forces.pair_potential(2.0)
    assert found.report["course"]["train"][1:] == forces.report["course"]["train"][1:]
    vd.load(found.save(tmp_path / "m.vid2dyn"))


def test_free_particles_tell_one_round(tracks: Any) -> None:
    watch = Watch()
    model = vd.fit(tracks, vd.Brownian(cutoff=None), progress=watch)
    assert watch.heard == [(1, model.report["course"]["train"][0], model.report["held_out"]["log_likelihood_per_step"])]


@pytest.fixture(scope="module")
def fluid() -> Any:
    return vd.simulate(vd.simulators.SDPD(n_particles=64, dim=2, box_length=0.6, frames=31, flow="taylor_green",
                                          flow_speed=15.0, equilibration=4, substeps=4), seed=3)


@pytest.mark.parametrize("compare", [(), ("isothermal",)])
def test_fluids_stop_and_go_on_to_the_same_bytes(fluid: Any, compare: Any, tmp_path: Path) -> None:
    recipe = vd.Metriplectic(cutoff=0.2, mass=0.5, knots=2, compare=compare, window=8, iterations=3)
    whole_watch = Watch()
    whole = vd.fit(fluid, recipe, seed=3, progress=whole_watch)
    stopped = functools.cache(lambda rounds: written(vd.fit(fluid, recipe, seed=3, stop=rounds), tmp_path))
    assert [step for step, *_ in whole_watch.heard][:2] == [1, 3]
    assert all(np.isfinite(heard).all() for heard in whole_watch.heard)
    for last in (2, whole_watch.calls // 2, whole_watch.calls):
        place = tmp_path / f"kept{last}"
        part = vd.fit(fluid, recipe, seed=3, progress=Watch(last), keep_partial=True, checkpoint=place)
        rounds = part.report["stopped_early"]["rounds"]
        assert "Stopped early" in part.report["warnings"][0]
        assert written(part, tmp_path) == stopped(rounds)
        assert np.isfinite(part.band("temperature", tuple(np.mean(part.support[name]) for name in "SV"))).all()
        resumed = vd.fit(fluid, recipe, seed=3, checkpoint=place)
        assert written(resumed, tmp_path) == written(whole, tmp_path)
    with pytest.raises(Cancelled):
        vd.fit(fluid, recipe, seed=3, progress=Watch(1), keep_partial=True)
