"""What judges a model was never learned from: other motion in its place changes nothing of what was learned.

Every kind of fit that keeps part of its data aside is run twice, on data that differ in that part alone. What is
compared is what the likelihood of that part is worked out with. A leak that is planted must be seen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import vid2dyn as vd
from vid2dyn import simulators as sims
from vid2dyn.fitting.brownian import evidence as brownian_evidence
from vid2dyn.fitting.brownian import free_or_trapped, pair_forces, preparation, reach, records, structure
from vid2dyn.fitting.fields import rounds as field_rounds
from vid2dyn.fitting.particles import evidence as fluid_evidence
from vid2dyn.fitting.particles import term_lists

PAIR = sims.Yukawa(amplitude=10.0)


def other_motion(tracks: vd.Trajectories, share: float = 0.2, speed: float = 1.0) -> vd.Trajectories:
    """The same recording with the last frames in reverse order (and, where there are velocities, these turned, and
    `speed` times as large)."""
    table = tracks.dataframe.copy()
    frames = np.unique(tracks.frame)
    start = frames[0] + (1 - share) * len(frames)
    late = tracks.frame >= start
    columns = [name for name in ("z", "y", "x", "vz", "vy", "vx", "state", "latent_0") if name in table]
    for _, rows in table[late].groupby("particle").indices.items():
        at = np.flatnonzero(late)[rows]
        for name in columns:
            values = table[name].to_numpy()[at][::-1]
            table.loc[table.index[at], name] = -speed * values if name.startswith("v") else values
    return tracks.replace(dataframe=table)


def colloids(frames: int = 60, **settings: Any) -> vd.Trajectories:
    return sims.Brownian(**{"n_particles": 60, "frames": frames, "box_length": 15.0, "pair": PAIR,  # type: ignore[arg-type]
                            "localisation_error": 0.027, **settings}).run(seed=1)


def trapped(trap: str) -> vd.Trajectories:
    return sims.Brownian(n_particles=40, frames=100, frames_per_second=20.0, trap=trap, trap_stiffness=6.0,
                         box_length=None, localisation_error=0.03).run(seed=2)


def species(tracks: vd.Trajectories) -> vd.Trajectories:
    return tracks.replace(dataframe=tracks.dataframe.assign(species=np.where(tracks.particle % 2, "A", "B")))


def film() -> vd.Trajectories:
    return colloids(pair=None, box_length=None)


CASES: dict[str, tuple[Callable[[], vd.Trajectories], vd.Brownian]] = {
    "free": (film, vd.Brownian()),
    "species": (lambda: species(film()), vd.Brownian(species="species")),
    "own traps": (lambda: trapped("each"), vd.Brownian(trap="each")),
    "a shared trap": (lambda: trapped("shared"), vd.Brownian(trap="shared")),
    "pair forces": (colloids, vd.Brownian(cutoff=3.0)),
    "an open shutter": (lambda: colloids(exposure=0.01), vd.Brownian(cutoff=3.0)),
    "a current": (colloids, vd.Brownian(cutoff=3.0, stationary=False)),
    "pair forces and a trap": (lambda: sims.Brownian(
        n_particles=40, frames=80, trap="shared", trap_stiffness=1.0, box_length=None, pair=PAIR,
        localisation_error=0.02).run(seed=3), vd.Brownian(cutoff=3.0, trap="shared")),
    "a mixture": (lambda: species(colloids()), vd.Brownian(cutoff=3.0, species="species", knots=10)),
}


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> Callable[[vd.Trajectories, vd.Brownian], list[np.ndarray]]:
    """Fits; all numbers of the models that the held-out frames were judged by, at the detections before these."""
    found: list[np.ndarray] = []

    def seen(recordings: Any, models: Any) -> Any:
        found.clear()
        for recording, model in zip(recordings, models, strict=True):
            early = recording.frame < brownian_evidence.held_out_from(recording)
            per_row = [np.broadcast_to(value, early.shape)[early] for value in (model.diffusion, model.noise_scale)]
            found.extend([*(pair.coefficients for pair in model.pairs),
                          *(np.array([pair.spline.inner, pair.spline.cutoff]) for pair in model.pairs),
                          np.array([model.stiffness]), model.centre[early], *per_row])
        return original(recordings, models)

    original = brownian_evidence.held_out_evidence
    for room in (free_or_trapped, pair_forces):
        monkeypatch.setattr(room, "held_out_evidence", seen)

    def run(tracks: vd.Trajectories, recipe: vd.Brownian) -> list[np.ndarray]:
        model = vd.fit(tracks, recipe, seed=0)
        assert model.report["held_out"]["steps"] > 0
        assert not any("kept aside" in warning for warning in model.report["warnings"])
        return [np.array(value) for value in found]

    return run


def same(one: list[np.ndarray], other: list[np.ndarray]) -> bool:
    return len(one) == len(other) and all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("name", CASES)
def test_brownian_models_that_are_judged_know_nothing_of_the_last_fifth(trained, name):
    make, recipe = CASES[name]
    tracks = make()
    assert same(trained(tracks, recipe), trained(other_motion(tracks), recipe))


def test_a_leak_would_be_seen(trained, monkeypatch):
    monkeypatch.setattr(records, "without_held_out", lambda recording: recording)
    tracks = film()
    assert not same(trained(tracks, vd.Brownian()), trained(other_motion(tracks), vd.Brownian()))
    tracks = colloids()
    recipe = vd.Brownian(cutoff=3.0)
    assert not same(trained(tracks, recipe), trained(other_motion(tracks), recipe))


def test_several_recordings(trained):
    """The last fifth of the second of two; the first is as it was."""
    one, two = colloids(40), colloids(40, exposure=0.01)
    recipe = vd.Brownian(cutoff=3.0)
    assert same(trained([one, two], recipe), trained([one, other_motion(two)], recipe))


def test_the_range_is_judged_by_models_that_have_not_seen_the_last_fifth(monkeypatch):
    """Ranges are compared on the held-out steps, by models that do not change with these."""
    found: list[list[np.ndarray]] = []
    original = reach.refined_without_held_out

    def seen(*args: Any) -> Any:
        fitted, early = original(*args)
        found.append([fitted.parameters.coefficients])
        return fitted, early

    monkeypatch.setattr(reach, "refined_without_held_out", seen)
    monkeypatch.setattr(reach, "CANDIDATES", 2)
    monkeypatch.setattr(reach, "widest_cutoff", lambda *args: 3.0)
    monkeypatch.setattr(reach, "FEWEST_PAIRS", 500)
    tracks = colloids()
    for one in (tracks, other_motion(tracks)):
        vd.fit(one, vd.Brownian(cutoff="auto"))
    assert len(found) == 4
    assert same(found[1], found[3]), "the longest, which is the same for both"


def test_a_mobility_by_a_column(monkeypatch):
    tracks = vd.simulate(sims.HiddenState(n_particles=60, frames=60, localisation_error=0.03), seed=0)
    found: list[list[np.ndarray]] = []
    original = structure._held_out_evaluation

    def seen(late: Any, plain: Any, model: Any) -> Any:
        found.append([plain.numbers, model.numbers])
        return original(late, plain, model)

    monkeypatch.setattr(structure, "_held_out_evaluation", seen)
    # which links are of use is settled before, with all frames
    monkeypatch.setattr(preparation, "without_wrong_links", lambda tracks: (tracks, []))
    for one in (tracks, other_motion(tracks)):
        vd.fit(one, vd.Brownian(structure="state", structure_delay=0))
    assert same(*found)


def test_a_list_of_terms(monkeypatch):
    """The numbers of the first look, before a judge chooses, and with nothing to choose the final ones."""
    particles = vd.simulate(sims.DPD(n_particles=40, frames=40, dim=2, box_length=3.6, equilibration=40), seed=0)
    found: list[list[np.ndarray]] = []
    original = term_lists.learn

    def seen(*args: Any, **options: Any) -> Any:
        learned = original(*args, **options)
        found.append([learned.vector])
        return learned

    monkeypatch.setattr(term_lists, "learn", seen)
    recipe = vd.Metriplectic(energy=[vd.terms.PairPotential(cutoff=1.0, knots=6)],
                             friction=[vd.terms.PairFriction(cutoff=1.0, knots=4)], entropy=False, select=False,
                             iterations=3)
    for one in (particles, other_motion(particles, speed=1.5)):
        vd.fit(one, recipe, seed=0)
    assert len(found) == 4
    assert same(found[0], found[2])
    assert same(found[1], found[3])


def test_a_gas(monkeypatch):
    """Both variants, with heat and at one temperature, as the judge gets them."""
    gas = sims.SDPD(n_particles=64, dim=2, box_length=0.6, frames=31, flow="taylor_green", flow_speed=15.0,
                    equilibration=4, substeps=4).run(seed=3)
    found: list[list[np.ndarray]] = []
    original = fluid_evidence.held_out_likelihood

    def seen(data: Any, numbers: Any, start: Any, first: int) -> Any:
        found.append([numbers.vector, start])
        return original(data, numbers, start, first)

    monkeypatch.setattr(fluid_evidence, "held_out_likelihood", seen)
    for one in (gas, other_motion(gas)):
        vd.fit(one, vd.Metriplectic(cutoff=0.2, mass=0.5, knots=2, compare=("isothermal",), window=8, iterations=3))
    assert len(found) == 4
    assert same(found[0], found[2])
    assert same(found[1], found[3])


@pytest.mark.parametrize("planted", [False, True])
def test_fields(monkeypatch, planted):
    """The landscape that judges a group of realisations; with another group replaced it is another one."""
    fields = vd.simulate(vd.simulators.Arrhenius(sites=100, realisations=200, windows=(15.0, 30.0, 60.0)), seed=0)
    values = fields.values.copy()
    of = values[(1 if planted else 0)::10]
    of[:] = np.roll(of, 7, axis=2)
    other = vd.Fields(values, fields.times, fields.start)
    found: list[list[np.ndarray]] = []
    original = field_rounds.log_likelihood

    def seen(design: Any, landscape: Any, *args: Any) -> float:
        found.append([landscape.log_mobility, landscape.curvature, np.array([landscape.function.low])])
        return original(design, landscape, *args)

    monkeypatch.setattr(field_rounds, "log_likelihood", seen)
    for one in (fields, other):
        vd.fit(one, vd.GradientFlow(knots=6))
    half = len(found) // 2
    assert half
    assert same(found[half - 1], found[-1]) is not planted
