"""Models as folders for LAMMPS: what is written runs, stock styles state their error, what cannot be is named."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest

import vid2dyn as vd
from vid2dyn.convert.lammps_dump import dump_frames
from vid2dyn.core.errors import ConfigError, ModelError
from vid2dyn.core.lammps_session import lammps_session
from vid2dyn.data.box import Periodic
from vid2dyn.dynamics.fluid.frozen import FrozenFluid
from vid2dyn.export.stock import write_stock
from vid2dyn.export.tabulated import pair_tables
from vid2dyn.model.term_list import TermListModel
from vid2dyn.rollout.fluid.example import SoftParticleTables, ideal_gas, lattice
from vid2dyn.rollout.fluid.paths import FluidFrame, FluidRollout, _engine
from vid2dyn.rollout.lammps.launch import launcher
from vid2dyn.rollout.starts import replicated, seeded

try:
    launcher(2)
    absent = ""
except ConfigError as error:
    absent = str(error)
needs_lammps = pytest.mark.skipif(bool(absent), reason=absent)
N = 300


def model(*frictions: object) -> TermListModel:
    """A list of terms with numbers as a fit would give them."""
    energy = vd.terms.PairPotential(cutoff=1.0, knots=6, inner=(0.2,), species=("",))
    friction = vd.terms.PairFriction(cutoff=1.0, knots=5, inner=(0.0,), species=("",))
    terms = vd.Metriplectic(energy=[energy], friction=[friction, *frictions], entropy=False)
    theta = np.concatenate([np.linspace(4.0, 0.5, energy.count), np.linspace(3.0, 0.2, friction.count),
                            np.full(sum(f.count for f in frictions), 0.5)])                          # type: ignore[attr-defined]
    from vid2dyn.core.config import recipe

    return TermListModel({"theta": theta, "kT": np.ones(1), "unexplained": np.zeros(1), "mass": np.ones(1),
                          "covariance": np.eye(len(theta) + 2), "support": np.array([[0.2, 1.0]])}, recipe(terms),
                         vd.Units(1.0, 100.0), Periodic((4.0, 4.0, 4.0)), {"particles": 192, "dim": 3, "species": [""]})


def start(frozen: FrozenFluid) -> FluidFrame:
    x, v, edge = lattice(N, volume=1 / 3)
    species = np.random.default_rng(0).integers(0, frozen.species, N)
    return FluidFrame(x, v, np.zeros(N), Periodic((edge,) * 3), species=species)


def forces(frozen: FrozenFluid, state: FluidFrame) -> np.ndarray:
    """Conservative forces of our own engine, in the order of the ids."""
    engine = _engine(frozen, state, FluidRollout(dt=1e-12), 0, 1)
    found = engine.acceleration(engine.x) * engine.mass[:, None]
    return found[np.argsort(engine.ids)]                       # type: ignore[no-any-return]


def cold_forces(folder: Path) -> np.ndarray:
    """Forces of the input file without friction and noise."""
    here = os.getcwd()
    os.chdir(folder)
    try:
        with lammps_session("The test") as session:
            for line in Path("in.lammps").read_text().splitlines():
                words = line.split()
                if words[0] in ("run", "dump", "dump_modify") or line.startswith("fix drag"):
                    continue
                if "dpd/ext/tstat" in words and words[0] == "pair_coeff":
                    words[4:6] = ["0.0", "0.0"]
                session.do(" ".join(words))
            session.do("run 0")
            lmp = session.lammps
            tag, f = (np.array(lmp.numpy.extract_atom(name)[:N]) for name in ("id", "f"))
            return f[np.argsort(tag)][:, [1, 0, 2]]            # type: ignore[no-any-return]
    finally:
        os.chdir(here)


@needs_lammps
@pytest.mark.parametrize("kind", ["pair", "density"])
def test_stock_styles_have_the_forces_of_the_model(kind: str, tmp_path: Path) -> None:
    tables = SoftParticleTables(mass=(1.0, 2.0), repulsion=(25.0, 10.0, 15.0), across=1.5)
    frozen = tables.freeze(drag=np.array([0.3, 0.5]))
    if kind == "density":
        frozen = dataclasses.replace(tables.everything(1.0, single=False), memory=(), shear=None, bulk=None, heat=None)
    state = start(frozen)
    mapping = write_stock(frozen, state, tmp_path, dt=0.005, steps=10, every=5)
    exact, found = forces(frozen, state), cold_forces(tmp_path)
    assert np.abs(found - exact).max() / np.abs(exact).max() <= max(mapping.force, 1e-8)
    assert mapping.along < 1e-6, "the friction of these tables has the shape of the style"
    assert mapping.across < 1e-6
    assert mapping.total == pytest.approx(1.0, abs=1e-6)


@needs_lammps
def test_the_plain_input_runs_and_says_its_error(tmp_path: Path) -> None:
    frozen = SoftParticleTables(across=1.5).freeze()
    write_stock(frozen, start(frozen), tmp_path, dt=0.01, steps=20, every=10)
    text = (tmp_path / "in.lammps").read_text()
    assert "# Error of this mapping: force" in text
    here = os.getcwd()
    os.chdir(tmp_path)
    try:
        with lammps_session("The test") as session:
            session.do(*text.splitlines())
            assert 0.7 < session.lammps.get_thermo("temp") < 2.5
    finally:
        os.chdir(here)
    assert [frame.step for frame in dump_frames(tmp_path / "frames.lammpstrj")] == [0, 10, 20]


def test_a_mapping_that_is_too_far_is_refused(tmp_path: Path) -> None:
    frozen = SoftParticleTables().freeze()
    assert frozen.pair_friction is not None
    r = np.linspace(0, 1, frozen.pair_friction.shape[1])
    hump = np.stack([0 * r, 0 * r, 5 * r**2 * (1 - r) ** 2, 10 * r * (1 - r) * (1 - 2 * r)], axis=1)[None]
    with pytest.raises(ModelError, match=r"too far from this model: force .* friction along"):
        write_stock(dataclasses.replace(frozen, pair_friction=hump), start(frozen), tmp_path / "s", dt=0.01, steps=10,
                    every=10)
    with pytest.raises(ModelError, match="heat of their own"):
        write_stock(ideal_gas(), start(frozen), tmp_path / "s", dt=0.01, steps=10, every=10)
    assert not (tmp_path / "s").exists()


def test_pair_tables_hold_energy_and_force(tmp_path: Path) -> None:
    frozen = SoftParticleTables().freeze()
    found = pair_tables(frozen, tmp_path, rows=500)
    r, energy, force = np.loadtxt(found[1], delimiter=",").T
    np.testing.assert_allclose(energy, 12.5 * (1 - r) ** 2, atol=1e-12)
    np.testing.assert_allclose(force, 25 * (1 - r), atol=1e-10)
    assert "N 500 R" in found[0].read_text()


@needs_lammps
def test_export_and_rollout_of_a_list_of_terms(tmp_path: Path) -> None:
    one = model()
    folder = vd.export.lammps(one, tmp_path / "out", steps=2, particles=400, largest_error=1.0)
    assert {p.name for p in folder.iterdir()} == {"README.txt", "step", "stock", "tables"}
    said = (folder / "README.txt").read_text()
    assert "PairFriction: compiled step yes; stock style pair_style dpd/ext/tstat" in said
    with pytest.raises(ConfigError, match="not empty"):
        vd.export.lammps(one, folder)
    box = Periodic((4.0, 4.0, 4.0))
    state = seeded(192, box.lengths, 1.0, [1.0])
    tracks = vd.Trajectories.from_dense(state.position[None], one.units, velocity=state.velocity[None], box=box)
    ours = one.rollout(tracks, steps=4, seed=5)
    theirs = one.rollout(tracks, steps=4, seed=5, engine="lammps", ranks=2)
    assert list(ours.dataframe) == list(theirs.dataframe)
    assert ours.box == theirs.box
    assert ours.units == theirs.units
    np.testing.assert_allclose(theirs.positions, ours.positions, rtol=0, atol=1e-12)


def test_terms_that_cannot_be_exported_are_named(tmp_path: Path) -> None:
    memory = vd.terms.PairMemory(cutoff=1.0, knots=4, inner=(0.0,), species=("",), times=(0.05,), weights=(0.8,))
    with pytest.raises(ModelError, match="PairMemory: LAMMPS cannot carry a vector of every pair"):
        vd.export.lammps(model(memory), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    for term in (vd.terms.PairPotential, vd.terms.PairFriction, vd.terms.DensityEnergy, vd.terms.SubstrateFriction):
        assert term.exports.step
        assert term.exports.stock
    for other in (vd.terms.ExternalPotential, vd.terms.HarmonicTrap, vd.terms.EquationOfState, vd.terms.Conduction):
        assert other.exports.step
        assert not other.exports.stock
        assert other.exports.why_not


def test_larger_starts() -> None:
    small = seeded(100, (3.0, 4.0), 2.0, [1.0, 3.0], species=np.arange(100) % 2)
    mass = np.array([1.0, 3.0])[np.arange(100) % 2][:, None]
    assert np.abs((mass * small.velocity).sum(axis=0)).max() < 1e-10
    assert (mass * small.velocity**2).sum() == pytest.approx(2 * 99 * 2.0)
    large = replicated(small, (2, 3), seed=1)
    assert large.box.lengths == (6.0, 12.0)
    assert len(large.position) == 600
    np.testing.assert_allclose(large.velocity.sum(axis=0), 6 * small.velocity.sum(axis=0), atol=1e-9)
    assert np.abs(large.velocity[:100] - large.velocity[100:200]).max() > 0.1, "copies would move alike"
    with pytest.raises(ConfigError, match="copies for each"):
        replicated(small, (2,))


@needs_lammps
def test_the_command_line_rolls_out_and_exports(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from vid2dyn.cli.commands import app

    one = model()
    state = seeded(192, (4.0, 4.0, 4.0), 1.0, [1.0])
    tracks = vd.Trajectories.from_dense(state.position[None], one.units, velocity=state.velocity[None],
                                        box=Periodic((4.0, 4.0, 4.0)))
    one.save(tmp_path / "m.vid2dyn")
    tracks.save(tmp_path / "t.parquet")
    where = [str(tmp_path / "m.vid2dyn"), str(tmp_path / "t.parquet")]
    for engine in (["--engine", "vid2dyn"], ["--engine", "lammps", "--ranks", "2"]):
        out = tmp_path / f"{engine[1]}.parquet"
        found = CliRunner().invoke(app, ["rollout", *where, "--steps", "3", "--out", str(out), *engine])
        assert found.exit_code == 0, found.output
    a, b = (vd.load(tmp_path / f"{name}.parquet") for name in ("vid2dyn", "lammps"))
    np.testing.assert_allclose(a.positions, b.positions, rtol=0, atol=1e-12)
    found = CliRunner().invoke(app, ["export", where[0], "--to", "lammps", "--out", str(tmp_path / "e"), "--steps", "2",
                                     "--tracks", where[1], "--replicate", "1,2,1", "--largest-error", "1"])
    assert found.exit_code == 0, found.output
    assert "384 particles" in (tmp_path / "e" / "README.txt").read_text()
    assert CliRunner().invoke(app, ["export", where[0], "--to", "gromacs", "--out", str(tmp_path / "g")]).exit_code == 2


@needs_lammps
def test_a_fluid_with_entropy_rolls_out_and_is_exported(tmp_path: Path) -> None:
    from vid2dyn.core.config import recipe
    from vid2dyn.dynamics.fluid.numbers import FluidNumbers, Layout
    from vid2dyn.model.metriplectic import MetriplecticModel

    gas = vd.simulators.SDPD(n_particles=80, dim=2, box_length=0.6, frames=6, equilibration=2)
    layout = Layout(2, 0.2, 0.5, gas.volume0, 3, 1)
    size = 12 * layout.kernel_norm / 0.2**2
    A2, B2 = (size * scale * np.linspace(1.0, 0.3, 6) for scale in (100.0, 60.0))
    numbers = FluidNumbers(np.concatenate([[0.1, 1 / 50, 35.0, 0.2, 1.0, 2.0, 100.0, 0.0], A2, B2]), layout)
    spread = np.array([0.8, 0.9, 1.0, 1.1, 1.2])
    support = np.stack([spread - 1.0, gas.volume0 * spread, 0.1 * spread])
    one = MetriplecticModel({"theta": numbers.vector, "support": support, **layout.to_arrays()},
                            recipe(vd.Metriplectic(cutoff=0.2)), vd.Units(1.0, 2000.0))
    tracks = vd.simulate(gas, seed=1)
    ours = one.rollout(tracks, steps=5, seed=2)
    theirs = one.rollout(tracks, steps=5, seed=2, engine="lammps", ranks=2)
    np.testing.assert_allclose(theirs.positions, ours.positions, rtol=0, atol=1e-12)
    np.testing.assert_allclose(theirs.entropy, ours.entropy, rtol=0, atol=1e-9)
    with pytest.raises(ModelError, match="starts from data"):
        vd.export.lammps(one, tmp_path / "none")
    said = (vd.export.lammps(one, tmp_path / "gas", tracks, steps=5, replicate=(2, 1)) / "README.txt").read_text()
    assert "160 particles" in said
    assert "stock/   not written. Stock styles of LAMMPS do not have: particles with heat of their own" in said
    with pytest.raises(ModelError, match="cannot be exported to LAMMPS"):
        vd.export.lammps(_colloids(), tmp_path / "colloids")
    with pytest.raises(ModelError, match="runs in vid2dyn alone"):
        _colloids().engine_options("lammps", 2)


def _colloids() -> vd.Model:
    from vid2dyn.model.brownian import BrownianModel

    return BrownianModel({"diffusion": np.array([1.0, 0.1])}, {"kind": "Brownian"})
