"""The model file and what a model says: round trip, damage, bands, rollout."""

import json
import pickle

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from vid2dyn import Periodic, Trajectories, Units
from vid2dyn import simulators as sims
from vid2dyn.core.config import recipe
from vid2dyn.core.errors import DataError, ModelError, UnitsError, Vid2DynError
from vid2dyn.data.fields import Fields
from vid2dyn.dynamics.recipes.brownian import Brownian
from vid2dyn.dynamics.terms.splines import RadialSpline
from vid2dyn.model import Model
from vid2dyn.model.brownian import BrownianModel
from vid2dyn.testing import check_model

UNITS = Units(0.1, 100.0, exposure=0.005)


def pair_model(**changes):
    knots = 10
    arrays = {"diffusion": np.array([0.4, 0.004]), "localisation": np.array([0.02, 0.001]),
              "noise_scale": np.array([1.0, 0.1]), "spline": np.array([0.5, 2.0, knots]),
              "coefficients": 4 * np.linspace(1, 0, knots) ** 2, "covariance": 0.01 * np.eye(knots),
              "core_stiffness": np.array([50.0]), "support": np.array([0.7, 2.0])}
    return BrownianModel(**{"arrays": arrays, "recipe": recipe(Brownian(cutoff=2.0)), "units": UNITS,
                    "box": Periodic((8.0, 8.0)), "report": {"seed": 0, "warnings": ["none"]}, **changes})


def trap_model(each=False):
    n = 6
    arrays = {"diffusion": np.array([0.4, 0.004]), "localisation": np.array([0.02, 0.001]),
              "noise_scale": np.array([1.0, 0.1]), "trap": np.array([5.0, 0.2]),
              "centres": 3.0 * np.stack([np.arange(n), np.ones(n)], 1) if each else np.array([[4.0, 5.0]])}
    if each:
        arrays["centre_tracks"] = np.arange(n) * 10
    return BrownianModel(arrays, recipe(Brownian(trap="each" if each else "shared")), UNITS)


def start(n=20, box=None, edge=8.0):
    rng = np.random.default_rng(0)
    side = int(np.ceil(n**0.5))
    sites = np.stack(np.meshgrid(np.arange(side), np.arange(side)), -1).reshape(-1, 2)[:n] * edge / side
    sites = sites + rng.uniform(0, 0.3, (n, 2))
    return Trajectories.from_dense(sites[None], UNITS, box=box or Periodic((edge, edge)))


# ------------------------------------------------------------------ the file

@pytest.mark.parametrize("model", [pair_model(), trap_model(), trap_model(each=True)])
def test_round_trip_and_the_same_bytes(tmp_path, model):
    one = model.save(tmp_path / "one.vid2dyn")
    back = Model.load(one)
    two = back.save(tmp_path / "two.vid2dyn")
    assert one.read_bytes() == two.read_bytes()
    assert back.recipe == model.recipe
    assert back.units == model.units
    assert back.box == model.box
    assert back.report == model.report
    assert sorted(back.arrays) == sorted(model.arrays)
    for name, value in model.arrays.items():
        np.testing.assert_array_equal(back.arrays[name], value)
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_arrays_lie_in_one_order_in_memory(tmp_path):
    """Products round differently for another order: a model, fields and tracks hold theirs as their files give them."""
    covariance = np.arange(9.0).reshape(3, 3).T
    model = pair_model(arrays={**pair_model().arrays, "covariance": covariance[:, ::-1]})
    fields = Fields(np.arange(24).reshape(4, 3, 2).T, np.arange(6.0)[::2])
    for held in (model, Model.load(model.save(tmp_path / "m.vid2dyn"))):
        assert all(value.flags.c_contiguous for value in held.arrays.values())
        np.testing.assert_array_equal(held.arrays["covariance"], covariance[:, ::-1])
    for held in (fields, Fields.load(fields.save(tmp_path / "f.fields"))):
        assert held.values.flags.c_contiguous
        assert held.times.flags.c_contiguous
    tracks = start()
    rows = tracks.dataframe[["y", "x"]].to_numpy().copy(order="C")
    one_block = tracks.replace(dataframe=pd.DataFrame(rows, columns=["y", "x"]).assign(
        frame=tracks.frame, particle=tracks.particle))
    for held in (tracks, one_block, Trajectories.load(tracks.save(tmp_path / "t.parquet"))):
        assert held.positions.strides == tracks.positions.strides
        np.testing.assert_array_equal(held.positions, tracks.positions)


def test_any_flipped_byte_is_noticed_and_names_the_file(tmp_path):
    path = pair_model().save(tmp_path / "good.vid2dyn")
    data = path.read_bytes()
    bad = tmp_path / "bad.vid2dyn"
    for position in [*range(0, 16), *range(16, len(data), max(1, len(data) // 150)), len(data) - 1]:
        for flip in (0x01, 0x80):
            changed = bytearray(data)
            changed[position] ^= flip
            bad.write_bytes(changed)
            with pytest.raises(Vid2DynError, match=r"bad\.vid2dyn"):
                Model.load(bad)


@pytest.mark.parametrize("length", [1, 7, 8, 100, 1000, -1])
def test_a_truncated_file_is_refused(tmp_path, length):
    data = pair_model().save(tmp_path / "good.vid2dyn").read_bytes()
    bad = tmp_path / "short.vid2dyn"
    bad.write_bytes(data[:length])
    with pytest.raises(Vid2DynError, match=r"short\.vid2dyn"):
        Model.load(bad)


class Hostile:
    def __reduce__(self):
        return (eval, ("open('ran', 'w').close()",))


def test_code_in_a_file_never_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bad = tmp_path / "hostile.vid2dyn"
    bad.write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(ModelError, match=r"hostile\.vid2dyn.*not a readable model"):
        Model.load(bad)
    assert not (tmp_path / "ran").exists()


def test_other_files_are_refused(tmp_path):
    from safetensors.numpy import save

    other = tmp_path / "weights.vid2dyn"
    other.write_bytes(save({"w": np.zeros(3)}, metadata={"format": "pt"}))
    with pytest.raises(ModelError, match="not a model of vid2dyn"):
        Model.load(other)
    (tmp_path / "empty.vid2dyn").write_bytes(b"")
    with pytest.raises(DataError, match="empty"):
        Model.load(tmp_path / "empty.vid2dyn")
    with pytest.raises(DataError, match="no such file"):
        Model.load(tmp_path / "absent.vid2dyn")


def test_a_newer_schema_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr("vid2dyn.core.sealed.SCHEMA", 99)
    path = pair_model().save(tmp_path / "future.vid2dyn")
    monkeypatch.undo()
    with pytest.raises(ModelError, match=r"future\.vid2dyn: schema 99.*update vid2dyn"):
        Model.load(path)


def test_the_header_is_plain_json(tmp_path):
    data = pair_model().save(tmp_path / "m.vid2dyn").read_bytes()
    size = int.from_bytes(data[:8], "little")
    text = json.loads(data[8: 8 + size])["__metadata__"]["vid2dyn"]
    assert json.loads(text[64:])["recipe"]["kind"] == "Brownian"


@pytest.mark.parametrize("model", [pair_model(), trap_model()])
def test_contract_of_models(model):
    check_model(model, start(6))


# ------------------------------------------------------------------ what it says

def test_bands_are_the_covariance():
    model = pair_model()
    r = np.array([[0.8, 1.0], [1.5, 1.9]])
    for name, which in (("pair_potential", 0), ("pair_force", 1)):
        low, high = model.band(name, r, level=0.9)
        basis = RadialSpline(0.5, 2.0, 10)(r.ravel())[which]
        width = norm.ppf(0.95) * 0.1 * np.sqrt((basis**2).sum(axis=1)).reshape(r.shape)
        np.testing.assert_allclose(high - low, 2 * width, rtol=1e-12)
        np.testing.assert_allclose(0.5 * (high + low), getattr(model, name)(r), rtol=1e-12)
    end, error = RadialSpline(0.5, 2.0, 10).end, 0.7       # where the form of the end, not the data, makes the errors
    open_end = pair_model(arrays={**model.arrays, "end": np.array([[end, error]])})
    force, potential = (np.diff(open_end.band(name, [end - 0.3, end + 0.05, 1.95, 2.1], level=0.682689), axis=0)[0] / 2
                        for name in ("pair_force", "pair_potential"))
    inside, outside = np.diff(model.band("pair_force", [end - 0.3, 2.1], level=0.682689), axis=0)[0] / 2
    np.testing.assert_allclose(force, [inside, max(force[1], error), error, outside], rtol=1e-5, atol=1e-12)
    plain = np.diff(model.band("pair_potential", [end - 0.3, 1.95], level=0.682689), axis=0)[0] / 2
    grown = np.hypot(plain, error * np.array([2 - end, 0.05]))
    np.testing.assert_allclose(potential[[0, 2, 3]], [*grown, 0], rtol=1e-5)
    low, high = model.band("diffusion")
    assert (float(low), float(high)) == pytest.approx((0.4 - 1.959964 * 0.004, 0.4 + 1.959964 * 0.004), rel=1e-6)
    assert float(trap_model().band("trap_stiffness", level=0.5)[1]) == pytest.approx(5 + 0.67449 * 0.2, rel=1e-5)
    assert (trap_model().standard_error("trap_stiffness"), model.standard_error("localisation_error")) == (0.2, 0.001)


def test_force_is_minus_the_slope_of_the_potential():
    model, h = pair_model(), 1e-6
    r = np.linspace(0.3, 2.1, 50)
    slope = (model.pair_potential(r + h) - model.pair_potential(r - h)) / (2 * h)
    np.testing.assert_allclose(model.pair_force(r), -slope, rtol=1e-6, atol=1e-6)
    assert (model.pair_potential(np.array([2.0, 5.0])) == 0).all()


def test_questions_a_model_cannot_answer():
    free = BrownianModel({k: v for k, v in trap_model().arrays.items() if k not in ("trap", "centres")},
                         {"kind": "Brownian"})
    for ask in (lambda: free.pair_potential(1.0), lambda: free.pair_force(1.0), free.trap_stiffness,
                lambda: free.band("trap_stiffness"), lambda: free.standard_error("trap_stiffness"),
                lambda: free.band("viscosity"),
                lambda: free.band("pair_force", [1.0])):
        with pytest.raises(ModelError):
            ask()
    for level in (0.0, 1.0, 95, -0.1, float("nan")):
        with pytest.raises(ModelError, match="between 0 and 1"):
            free.band("diffusion", level=level)
    assert free.support is None
    assert "D = 0.4" in repr(free)


# ------------------------------------------------------------------ rollout

def test_rollouts_are_reproducible_and_seeded():
    model, tracks = pair_model(), start()
    one, same, other = (model.rollout(tracks, steps=230, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(one.positions, same.positions)
    assert not np.array_equal(one.positions, other.positions)
    assert one.n_frames == 230
    assert one.units == tracks.units
    assert one.box == tracks.box
    assert one.n_particles == 20
    longer = model.rollout(tracks, steps=231, seed=1, observed=False)
    shorter = model.rollout(tracks, steps=150, seed=1, observed=False)
    assert longer.n_frames == 231
    np.testing.assert_array_equal(longer.between(0, 150).positions, shorter.positions)
    first = tracks.positions
    np.testing.assert_allclose(shorter.between(0, 1).positions, first, atol=1e-12)


@pytest.mark.parametrize("steps", [1, 2, 200, 201])
def test_as_many_frames_as_asked(steps):
    assert pair_model().rollout(start(4), steps=steps).n_frames == steps


def test_a_rollout_moves_as_the_model_says():
    """Free steps of 400 particles x 50: observed ones have variance 2 D dt (1 - 2R) + 2 sigma², exact ones 2 D dt;
    false alarm 1e-6, 5 % refused."""
    free = BrownianModel({k: v for k, v in trap_model().arrays.items() if k not in ("trap", "centres")},
                         {"kind": "Brownian"})
    tracks = start(400)
    exact = 2 * 0.4 * 0.01
    for observed, expected in ((True, exact * (1 - 2 * 0.005 / 0.06) + 2 * 0.02**2), (False, exact)):
        path = free.rollout(tracks, steps=51, seed=0, observed=observed).dense()[0]
        each = (np.diff(path, axis=0) ** 2).mean(axis=(0, 2))
        z = (each.mean() / expected - 1) / (each.std() / expected / 20)
        assert abs(z) < 4.9
        assert abs(z + 0.06 / (each.std() / expected / 20)) > 4.9


@pytest.mark.parametrize("each", [False, True])
def test_trapped_rollouts_stay_in_their_traps(each):
    model = trap_model(each)
    centres = model.arrays["centres"] if each else np.repeat(model.arrays["centres"], 6, axis=0)
    table = Trajectories.from_dense(centres[None], UNITS).dataframe
    table["particle"] = table["particle"] * 10
    path = model.rollout(Trajectories.from_dataframe(table, units=UNITS), steps=400, seed=0, observed=False).dense()[0]
    assert np.abs(path.mean(axis=0) - centres).max() < 1.0
    assert path.shape == (400, 6, 2)


def test_unknown_particles_have_no_trap_to_start_in():
    stranger = Trajectories.from_dense(np.zeros((1, 1, 2)), UNITS)
    table = stranger.dataframe.assign(particle=7)
    with pytest.raises(DataError, match="None of the particles"):
        trap_model(each=True).rollout(Trajectories.from_dataframe(table, units=UNITS), steps=3)


def test_what_a_rollout_cannot_start_from():
    model = pair_model()
    tracks = start()
    for steps in (0, -3):
        with pytest.raises(DataError, match="at least one frame"):
            model.rollout(tracks, steps=steps)
    with pytest.raises(DataError, match="empty"):
        model.rollout(tracks.rows(np.zeros(len(tracks), dtype=bool)), steps=5)
    with pytest.raises(UnitsError, match="frames_per_second"):
        model.rollout(tracks.replace(units=Units(0.1)), steps=5)


def test_a_view_becomes_a_box():
    from vid2dyn import Free

    seen = start(20, box=Free()).replace(field_of_view=(80.0, 80.0))
    sides = pair_model(box=Free()).rollout(seen, steps=2).box.lengths
    assert all(7.2 <= side <= 8.0 for side in sides)
    assert trap_model().rollout(seen, steps=2).box == Free()


@pytest.mark.parametrize("margin", [0.0, 3.0, 5.0])
def test_a_rollout_has_the_density_of_where_particles_are_found(margin):
    """The box of the whole frame, with 5 px of margin in 120, would be 17 % too thin."""
    from vid2dyn import Free

    rng, edge = np.random.default_rng(0), 120.0
    px = rng.uniform(margin, edge - 1 - margin, (40, 60, 2))
    seen = Trajectories.from_dense(px * 0.1, Units(0.1, 10.0), box=Free(), field_of_view=(edge, edge))
    sides = np.array(pair_model(box=Free()).rollout(seen, steps=2).box.lengths)
    assert np.abs(sides / (0.1 * (edge - 1 - 2 * margin)) - 1).max() < 0.02


def test_the_rollout_of_a_simulated_start():
    tracks = sims.Brownian(n_particles=9, frames=3, box_length=8.0).run(seed=0)
    assert pair_model().rollout(tracks, steps=5).n_particles == 9
