"""The compiled fluid at its door and on its way: bad input, stops, small systems, lists against brute force."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest

from vid2dyn.core.errors import ConfigError, DataError, ModelError
from vid2dyn.core.progress import Cancelled
from vid2dyn.data.box import Free, LeesEdwards, Periodic
from vid2dyn.rollout.fluid.example import ideal_gas, lattice
from vid2dyn.rollout.fluid.lists import as_space, neighbour_pairs, sort_by_cell
from vid2dyn.rollout.fluid.lookup import entropy_of, inside, thermodynamics
from vid2dyn.rollout.fluid.paths import FluidFrame, FluidRollout, Held, Wave, fluid_energy, fluid_frames, fluid_paths
from vid2dyn.rollout.fluid.tables import eos_table


def start_of(n: int = 125) -> FluidFrame:
    x, v, edge = lattice(n, volume=1 / 500)
    return FluidFrame(x, v, np.zeros(n), Periodic((edge,) * 3))


def one_step(start: FluidFrame, dt: float = 1e-3, steps: int = 1, **settings: object) -> FluidFrame:
    return fluid_paths(ideal_gas(), start, FluidRollout(dt=dt, **settings), steps=steps).last  # type: ignore[arg-type]


@pytest.mark.parametrize(("dim", "kind"), [(1, "free"), (2, "free"), (2, "periodic"), (2, "sheared"), (3, "free"),
                                           (3, "periodic"), (3, "sheared"), (3, "slab")])
def test_lists_hold_every_pair_once(dim: int, kind: str) -> None:
    """Against all pairs, for narrow and wide boxes, particles far outside them, any strain, any names."""
    rng = np.random.default_rng(dim)
    for _ in range(25):
        n, edge = int(rng.integers(1, 120)), np.zeros(3)
        L = rng.uniform(1, 3, dim)
        if kind != "free":
            edge[:dim] = L
        if kind == "slab":
            edge[0] = 0.0
        space = as_space(tuple(edge[:dim]), rng.uniform(-3, 3) * L[-1] if kind == "sheared" else 0.0)
        x = np.zeros((n, 3))
        x[:, :dim] = rng.uniform(-2, 4, (n, dim)) if rng.random() < 0.5 else rng.uniform(0, 1, (n, dim)) * L
        reach, ids = rng.uniform(0.05, 0.5) * L.min(), rng.permutation(1000)[:n]
        order, cells, start, count = sort_by_cell(x, space, reach)
        row, first, second, arrive, incoming = neighbour_pairs(x[order], ids[order], space, reach, cells[order], start,
                                                               count)
        d = x[:, None] - x
        if kind == "sheared":
            d[..., 1] -= space[6] * np.floor(d[..., 0] / edge[0] + 0.5)
        d -= edge * np.floor(d * space[3:6] + 0.5)
        i, j = np.nonzero(np.triu((d**2).sum(-1) < reach**2, 1))
        found = np.sort(order[np.stack([first, second], 1)], axis=1)
        assert len(found) == len(i)
        assert set(map(tuple, found.tolist())) == set(zip(i.tolist(), j.tolist()))
        assert (ids[order][first] < ids[order][second]).all()
        assert (np.sort(incoming) == np.arange(len(first))).all()
        assert (second[incoming] == np.repeat(np.arange(n), np.diff(arrive))).all()
        assert (first == np.repeat(np.arange(n), np.diff(row))).all()


def test_tables_are_those_of_the_frozen_fluid() -> None:
    frozen = ideal_gas()
    nodes, grid = eos_table(frozen)
    rng = np.random.default_rng(0)
    for S, x in zip(rng.uniform(*frozen.entropy, 200), rng.uniform(*frozen.log_volume, 200)):
        U, T, curvature, PV = thermodynamics(nodes, grid, S, x)
        wanted = [float(a) for a in frozen.energy(np.array(S), np.exp(np.array(x)))]
        assert [U, T, PV / np.exp(x)] == pytest.approx(wanted, rel=1e-12)
        assert curvature == pytest.approx(T / 30.0, rel=1e-3)                      # U_SS = T/c
        guess = rng.uniform(*frozen.entropy)
        assert entropy_of(nodes, grid, guess, x, U) == pytest.approx(S, abs=1e-12 * 45)
    assert np.isnan(entropy_of(nodes, grid, 0.0, x, -1.0))
    assert np.isnan(entropy_of(nodes, grid, 0.0, x, 1e9))
    assert np.isnan(entropy_of(nodes, grid, 0.0, x, np.nan))
    assert not inside(nodes, grid, np.nan, x)


def test_one_particle_and_isolated_particles_fly_straight() -> None:
    frozen = ideal_gas(volume=0.2, volume_span=9.0)
    for n in (1, 2):
        x = np.arange(3.0 * n).reshape(n, 3)
        v = np.ones((n, 3))
        paths = fluid_paths(frozen, FluidFrame(x, v, np.zeros(n)), FluidRollout(dt=1e-2, conservative="exact"), steps=5)
        assert paths.position[-1] == pytest.approx(x + 0.05, abs=1e-14)
        assert (paths.velocity[-1] == 1.0).all()


def test_pair_exactly_at_the_cutoff_and_tables_of_two_lengths() -> None:
    frozen = ideal_gas(volume=0.2, volume_span=9.0)
    frozen = dataclasses.replace(frozen, heat=np.stack(frozen.radial("heat", np.linspace(0, 0.2, 257)), axis=1))
    x = np.array([[0.0, 0.0, 0.0], [0.2, 0.0, 0.0]])
    last = fluid_paths(frozen, FluidFrame(x, 0 * x, np.zeros(2)), FluidRollout(dt=1e-3), steps=3).last
    assert np.isfinite(last.velocity).all()
    assert np.abs(last.position - x).max() < 1e-12


def test_coincident_particles_are_named() -> None:
    start = start_of()
    x = start.position.copy()
    x[7] = x[90]
    with pytest.raises(ModelError, match=r"particle 7: it coincides with particle 90.*Move one"):
        one_step(dataclasses.replace(start, position=x))


@pytest.mark.parametrize("conservative", ["verlet", "exact"])
def test_step_too_large_is_stopped_with_step_particle_and_remedy(conservative: str) -> None:
    for dt in (0.02, 0.2, 10.0):
        with pytest.raises(ModelError, match=r"Step \d+, particle \d+: (.|\n)*dt"):
            one_step(start_of(), dt=dt, steps=200, conservative=conservative)
    v = start_of().velocity.copy()
    v[11] = [0.0, 400.0, 0.0]
    with pytest.raises(ModelError, match=r"Step 0, particle 11: speed 400(.|\n)*Take dt below"):
        one_step(dataclasses.replace(start_of(), velocity=v))


def test_overlap_and_cold_states_are_stopped() -> None:
    start = start_of()
    x = 0.05 * start.position
    with pytest.raises(ModelError, match=r"left the frozen table(.|\n)*Overlapping"):
        one_step(dataclasses.replace(start, position=x, box=Free()))
    with pytest.raises(ModelError, match=r"particle 3: .*entropy -400 left the frozen table"):
        one_step(dataclasses.replace(start, entropy=np.where(np.arange(125) == 3, -400.0, 0.0)))
    with pytest.raises(ModelError, match=r"Step \d+, particle \d+: its energy .* has no entropy"):
        one_step(dataclasses.replace(start, entropy=np.full(125, -44.9)), steps=50)


def test_bad_input_is_refused_at_the_door() -> None:
    start = start_of()
    small = Periodic((0.3, 1.0, 1.0))
    with pytest.raises(ConfigError, match=r"cutoff = 0.2 is more than half of the box edge 0.3"):
        one_step(dataclasses.replace(start, box=small))
    with pytest.raises(ConfigError, match=r"cutoff = 0.2 is more than 0.45 of the edge 0.42"):
        one_step(dataclasses.replace(start, box=LeesEdwards((0.42, 1.0, 1.0), 1.0)))
    with pytest.raises(ConfigError, match="box has 2 axes"):
        one_step(dataclasses.replace(start, box=Periodic((3.0, 3.0))))
    with pytest.raises(ConfigError, match="2 dimensions and the frozen fluid 3"):
        one_step(FluidFrame(start.position[:, :2], start.velocity[:, :2], start.entropy))
    for bad in (np.nan, np.inf):
        x = start.position.copy()
        x[4, 1] = bad
        with pytest.raises(DataError, match="position must be finite numbers; that of particle 4 is not"):
            dataclasses.replace(start, position=x)
    with pytest.raises(DataError, match="none twice"):
        dataclasses.replace(start, ids=np.zeros(125, dtype=int))
    with pytest.raises(DataError, match="entropy has 3 rows for 125"):
        dataclasses.replace(start, entropy=np.zeros(3))
    with pytest.raises(DataError, match="at least one particle"):
        FluidFrame(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0))
    with pytest.raises(DataError, match="entropy"):
        FluidFrame(start.position, start.velocity, start.entropy[:, None])
    for wrong in ({"dt": 0.0}, {"dt": np.nan}, {"dt": 1e-3, "conservative": "euler"}, {"dt": 1e-3, "tolerance": 1.0},
                  {"dt": 1e-3, "bath_friction": -1.0}):
        with pytest.raises(ConfigError, match=re.escape(next(reversed(wrong)))):
            FluidRollout(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="mode 0"):
        one_step(start, force=(Wave((1.0, 0.0), (0.0, 0.0)),))
    with pytest.raises(ConfigError, match="Held: rows has shape"):
        one_step(start, held=Held(np.zeros(3, bool), lambda t: (start.position, start.velocity)))
    with pytest.raises(ConfigError, match="seed"):
        next(fluid_frames(ideal_gas(), start, FluidRollout(dt=1e-3), steps=1, seed=-1))


def test_progress_and_clean_stop() -> None:
    told: list[tuple[int, int]] = []
    fluid_paths(ideal_gas(), start_of(), FluidRollout(dt=1e-4), steps=3, progress=lambda d, t, w: told.append((d, t)))
    assert told[-1] == (3, 3)

    def stop(done: int, total: int, what: str) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        fluid_paths(ideal_gas(), start_of(), FluidRollout(dt=1e-4), steps=10**7, every=10**7,
                    progress=stop)


def test_frames_keep_rows_names_and_the_sheared_box() -> None:
    start = start_of()
    edge = start.box.lengths
    assert edge is not None
    start = dataclasses.replace(start, box=LeesEdwards(edge, 2.0, 0.5), ids=np.arange(125) * 3 + 1)
    frames = list(fluid_frames(ideal_gas(), start, FluidRollout(dt=1e-4), steps=6, every=3))
    assert [f.step for f in frames] == [0, 3, 6]
    assert (frames[-1].ids == start.ids).all()
    assert frames[-1].box.strain == pytest.approx(0.5 + 2.0 * 6e-4, abs=1e-14)  # type: ignore[attr-defined]
    assert np.abs(frames[-1].position - start.position).max() < 0.01
    kinetic, internal = fluid_energy(ideal_gas(), start)
    assert kinetic == pytest.approx(0.5 * (start.velocity**2).sum())
    assert internal > 0
