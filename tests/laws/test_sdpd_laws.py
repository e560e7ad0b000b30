"""The SDPD gas, exactly: forces, cells, conservation, order of the integrator, budgets under shear.

Nothing here is statistical: every assertion holds to rounding, or to the stated order in the time step.
"""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest

import vid2dyn as vd
from vid2dyn.analysis import stress, thermodynamics
from vid2dyn.core.errors import ConfigError, DataError
from vid2dyn.core.progress import silent
from vid2dyn.data.box import LeesEdwards
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.simulators.fluid.sdpd import cells as cells_of_gas
from vid2dyn.simulators.fluid.sdpd import observe, steps
from vid2dyn.simulators.fluid.sdpd import updates as pairs
from vid2dyn.simulators.fluid.sdpd.gas import SDPD
from vid2dyn.simulators.fluid.sdpd.start import equilibrium

LAWS = ("constant", "radial")


def small(**arguments: object) -> SDPD:
    """60 particles, small heat capacity."""
    given: dict[str, object] = {"n_particles": 60, "box_length": 0.7, "heat_capacity": 10.0, "shear_viscosity": 10.0,
                                "bulk_viscosity": 5.0, "conductivity": 1000.0, "equilibration": 3, "frames": 5}
    return SDPD(**{**given, **arguments})  # type: ignore[arg-type]


def arrays(tracks: Trajectories) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions, velocities (T, N, dim) and entropies (T, N)."""
    x = tracks.dense()[0]
    v, s = np.empty_like(x), np.empty(x.shape[:2])
    v[tracks.frame, tracks.particle] = tracks.velocities
    s[tracks.frame, tracks.particle] = tracks.entropy
    return x, v, s


def brute_densities(x: np.ndarray, gas: SDPD, strain: float) -> np.ndarray:
    box = LeesEdwards((gas.box_length,) * gas.dim, 0.0, strain)
    r = np.linalg.norm(box.displacement(x[:, None], x[None]), axis=-1)
    return np.asarray(gas.kernel(r)).sum(axis=1)


# ------------------------------------------------------------------ functions


@pytest.mark.parametrize("dim", [2, 3])
def test_kernel_is_normalised_and_smooth_at_the_cutoff(dim: int) -> None:
    gas = SDPD(dim=dim, box_length=1.0)
    r = np.linspace(0, gas.cutoff, 200_001)
    sphere = {2: 2 * np.pi * r, 3: 4 * np.pi * r**2}[dim]
    assert np.trapezoid(gas.kernel(r) * sphere, r) == pytest.approx(1, rel=1e-8)
    np.testing.assert_allclose(np.gradient(gas.kernel(r), r)[1:-1], gas.kernel_slope(r)[1:-1], rtol=1e-3,
                               atol=1e-6 * gas.kernel(0.0))
    # the integrals that turn pair friction into viscosity: of r² F (dim) and of F (collision_rate)
    F = -gas.kernel_slope(r[1:]) / r[1:]
    assert np.trapezoid(F * r[1:] ** 2 * sphere[1:], r[1:]) == pytest.approx(dim, rel=1e-6)
    friction = (gas.fluid.alpha + gas.fluid.beta / dim) * np.trapezoid(F * sphere[1:], r[1:])
    assert gas.collision_rate == pytest.approx(friction * gas.volume0 / gas.mass, rel=1e-4)
    assert float(gas.kernel(gas.cutoff)) == float(gas.kernel(2.0)) == float(gas.kernel_slope(gas.cutoff)) == 0.0


def test_equation_of_state_is_that_of_an_ideal_gas() -> None:
    gas, h = SDPD(kT=2.0), 1e-5
    S, V = np.linspace(-20, 20, 7)[:, None], gas.volume0 * np.linspace(0.5, 2, 5)
    slope = (gas.internal_energy(S + h, V) - gas.internal_energy(S - h, V)) / (2 * h)
    np.testing.assert_allclose(slope, gas.temperature(S, V), rtol=1e-8)
    slope = (gas.internal_energy(S, V * (1 + h)) - gas.internal_energy(S, V * (1 - h))) / (2 * h * V)
    np.testing.assert_allclose(-slope, gas.pressure(S, V), rtol=1e-8)
    np.testing.assert_allclose(gas.pressure(S, V) * V, gas.atoms * gas.temperature(S, V), rtol=1e-13)
    np.testing.assert_allclose(gas.entropy(gas.internal_energy(S, V), V), S + 0 * V, atol=1e-11)
    assert gas.internal_energy(0.0, gas.volume0) == pytest.approx(gas.heat_capacity * 2.0)


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("law", LAWS)
def test_pair_coefficients_make_the_stated_viscosities(dim: int, law: str) -> None:
    """Continuum sums of the friction under uniform shear and under a longitudinal wave, by quadrature."""
    gas = SDPD(dim=dim, coefficients=law, kT=2.0)  # type: ignore[arg-type]
    T, d = 3.0, 1.3 / gas.volume0
    r = np.linspace(1e-6, gas.cutoff, 20_001)
    A2, B2, C2 = gas.pair_coefficients(r, T, T, d, d)
    across, along = A2 / 2 / T, (A2 * (1 - 1 / dim) + B2 / dim) / T      # friction forces per relative velocity
    measure = {2: 2 * np.pi * r, 3: 4 * np.pi * r**2}[dim] * d**2 * r**2 / 2
    def mean(f: np.ndarray) -> float:
        return float(np.trapezoid(f * measure, r))
    # <y²> = 1/dim, <x² y²> = 1/(dim (dim + 2)), <x⁴> = 3/(dim (dim + 2))
    eta = mean(across) / dim + mean(along - across) / (dim * (dim + 2))
    wave = mean(across) / dim + 3 * mean(along - across) / (dim * (dim + 2))
    shear, bulk, kappa = gas.transport(T, d)
    assert eta == pytest.approx(float(shear), rel=1e-6)
    assert wave == pytest.approx(float(bulk + (2 - 2 / dim) * shear), rel=1e-6)
    assert mean(C2 / T**2) / dim == pytest.approx(float(kappa), rel=1e-6)
    if law == "constant":
        assert (float(shear), float(bulk), float(kappa)) == (50.0, 25.0, 1e4)


# ------------------------------------------------------------------ space


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("strain", [0.0, 0.3, 0.5, 2.9, -1.7])
def test_cells_find_every_pair_in_a_straight_and_a_sheared_box(dim: int, strain: float) -> None:
    gas = small(dim=dim)
    x = np.random.default_rng(0).uniform(-2, 3, (60, dim))
    np.testing.assert_allclose(gas.densities(x, strain), brute_densities(x, gas, strain), rtol=1e-12)


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("strain", [0.0, 0.4])
def test_forces_are_the_slope_of_the_energy_at_fixed_entropy(dim: int, strain: float) -> None:
    gas, rng, h = small(dim=dim), np.random.default_rng(1), 1e-6
    x, S = rng.uniform(0, 0.7, (60, dim)), rng.normal(0, 3, 60)
    place, order, first, space = observe._cells(x, gas, strain)
    d = steps.densities(place, first, space, gas.fluid)
    force = np.empty((60, 3))
    force[order] = steps.forces(place, first, gas.internal_energy(S[order], 1 / d), d, space, gas.fluid)

    def energy(shifted: np.ndarray) -> float:
        return float(gas.internal_energy(S, 1 / brute_densities(shifted, gas, strain)).sum())
    for i, c in ((0, 0), (7, 1), (31, dim - 1)):
        up, down = x.copy(), x.copy()
        up[i, c] += h
        down[i, c] -= h
        assert force[i, c] == pytest.approx(-(energy(up) - energy(down)) / (2 * h), rel=1e-5, abs=1e-5)
    np.testing.assert_allclose(force.sum(axis=0), 0, atol=1e-11 * np.abs(force).max() * 60)


def test_no_two_threads_ever_touch_one_cell() -> None:
    for count in ((3, 3, 3), (4, 5, 6), (5, 3, 1)):
        dim = 2 if count[2] == 1 else 3
        cells = np.array(count)
        space = steps.Space(np.ones(3), cells, 0.0, 0.0)
        seen = set()
        for block in cells_of_gas.sweep_blocks(cells, dim):
            touched: list[int] = []
            for c in range(int(cells.prod())):
                if block[4] >= 0 and cells_of_gas.colour_of(c, block[3], space) != block[4]:
                    continue
                other = cells_of_gas.neighbour_cell(c, block[0], block[1], block[2], space)[0]
                touched += [c] if other == c else [c, other]
                seen.add((min(c, other), max(c, other)))
            assert len(touched) == len(set(touched))
        if min(count[:dim]) > 3:
            assert len(seen) == cells.prod() * (3**dim + 1) // 2


# ------------------------------------------------------------------ conservation and order


@pytest.mark.parametrize("law", LAWS)
def test_pair_updates_keep_energy_and_momentum_and_agree_with_the_pair_coefficients(law: str) -> None:
    gas = small(coefficients=law)
    quiet = gas.fluid._replace(noisy=False)
    rng = np.random.default_rng(2)
    e = rng.normal(size=3)
    e /= np.linalg.norm(e)
    r, d_i, d_j = 0.1, 200.0, 260.0
    A2, B2, C2 = gas.pair_coefficients(r, 0.8, 1.3, d_i, d_j)
    F = -float(gas.kernel_slope(r)) / r
    f = F / (d_i * d_j) if law == "constant" else F * gas.volume0**2
    for fluid in (gas.fluid, quiet):
        v, u = rng.normal(size=(2, 3)), np.array([8.0, 13.0])
        before = 0.5 * gas.mass * (v**2).sum() + u.sum()
        momentum = v.sum(axis=0)
        for key in range(50):
            pairs.apply_friction(0, 1, *e, f, 0.0, 2e-3, np.uint64(key), v, u, fluid)
            pairs.apply_conduction(0, 1, f, 2e-3, np.uint64(key), u, fluid)
        assert 0.5 * gas.mass * (v**2).sum() + u.sum() == pytest.approx(before, rel=1e-13)
        np.testing.assert_allclose(v.sum(axis=0), momentum, atol=1e-14)
    v, u, dt = rng.normal(size=(2, 3)), np.array([8.0, 13.0]), 1e-7
    w, old, heat = v[0] - v[1], v.copy(), u.copy()
    K = 0.5 * A2 * (np.eye(3) + np.outer(e, e)) + (B2 - A2) / 3 * np.outer(e, e)
    pairs.apply_friction(0, 1, *e, f, 0.0, dt, np.uint64(0), v, u, quiet)
    np.testing.assert_allclose((v - old)[0] / dt, -0.5 / gas.mass * (1 / 0.8 + 1 / 1.3) * K @ w, rtol=1e-4)
    warmed = u - heat
    np.testing.assert_allclose(warmed[0], warmed[1], rtol=1e-6)
    pairs.apply_conduction(0, 1, f, dt, np.uint64(0), u, quiet)
    assert (u - heat - warmed)[0] / dt == pytest.approx(C2 * (1 / 0.8 - 1 / 1.3), rel=1e-4)


@pytest.mark.parametrize("dim", [2, 3])
def test_energy_error_is_second_order_and_momentum_is_kept(dim: int) -> None:
    worst = []
    crowd = {"dim": dim, "frames": 20, "frames_per_second": 400.0, "n_particles": 60 if dim == 3 else 100}
    for substeps in (4, 8, 16):
        gas = small(**crowd, substeps=substeps, shear_viscosity=0.0, bulk_viscosity=0.0, conductivity=0.0)
        tracks = gas.run(seed=3)
        np.testing.assert_array_equal(arrays(tracks)[2][0], arrays(tracks)[2][-1])       # nothing makes entropy here
        worst.append(thermodynamics(tracks, gas).energy_drift)
    assert 3.5 < worst[0] / worst[1] < 4.5
    assert 3.5 < worst[1] / worst[2] < 4.5
    budget = thermodynamics((gas := small(**crowd, substeps=8)).run(seed=3), gas)
    assert budget.energy_drift < 1e-3
    assert np.abs(budget.momentum).max() < 1e-13 * gas.n_particles


def test_conservative_motion_runs_backwards() -> None:
    """100 steps, velocities turned round, 100 steps: back at the start to rounding; the pairs' share is statistical."""
    gas = small(shear_viscosity=0.0, bulk_viscosity=0.0, conductivity=0.0)
    state = equilibrium(gas, np.random.default_rng(0), silent)
    lengths = np.full(3, gas.box_length)
    count = cells_of_gas.cell_counts(lengths, gas.cutoff, 3, False)
    blocks, drive = cells_of_gas.sweep_blocks(count, 3), steps.Drive(0.0, 0.0, math.nan)
    x, v, s = state
    image, ids = np.zeros((60, 3), np.int64), np.arange(60)
    for _ in range(2):
        x, v, s, image, ids, _, _, failed = steps.advance(x, v, s, image, ids, lengths, count, blocks, drive,
                                                          gas.fluid, np.uint64(0), 0, 100, gas.time_step)
        assert failed < 0
        v = -v
    back = np.argsort(ids)
    np.testing.assert_allclose((x + image * lengths)[back], state[0], atol=1e-9)
    np.testing.assert_allclose(v[back], state[1], atol=1e-7)


def test_trajectories_without_noise_are_second_order_in_the_time_step() -> None:
    """Differences between steps of dt, dt/2, dt/4 fall by 4; first order would fall by 2."""
    ends = []
    for substeps in (2, 4, 8, 16):
        gas = small(noise=False, frames=6, frames_per_second=400.0, substeps=substeps)
        x, v, s = arrays(gas.run(seed=4))
        ends.append((x[-1], v[-1], s[-1]))
    for part in range(3):
        errors = [np.abs(a[part] - b[part]).max() for a, b in itertools.pairwise(ends)]
        assert errors[1] / errors[2] > 3.0, (part, errors)


@pytest.mark.parametrize("law", LAWS)
def test_without_noise_entropy_never_falls_and_motion_dies(law: str) -> None:
    gas = small(noise=False, coefficients=law, frames=60, frames_per_second=2000.0, substeps=2)
    budget = thermodynamics(gas.run(seed=5), gas)
    assert (budget.entropy_production > 0).all()
    assert budget.kinetic[-1] < 0.9 * budget.kinetic[0]


@pytest.mark.parametrize("noise", [True, False])
def test_shear_works_on_the_gas_exactly_as_its_stress_says(noise: bool) -> None:
    """dE = shear_rate volume sigma_xy dt, E internal and peculiar kinetic: links box, stress and budget.

    With noise the difference is a martingale of known size, 2 eta kT volume per time in (sigma volume)² (5 standard
    deviations are allowed); without it, the trapezoidal error. An offset or a velocity jump that is wrong breaks it.
    """
    rate = 40.0
    gas = small(flow="shear", shear_rate=rate, noise=noise, frames=120, frames_per_second=4000.0, substeps=2,
                mass=0.2)
    tracks = gas.run(seed=6)
    budget, sigma = thermodynamics(tracks, gas), stress(tracks, gas)
    volume, time = gas.box_length**3, budget.time
    work = rate * volume * np.trapezoid(sigma.total[:, 1, 0], time)
    gained = budget.energy[-1] - budget.energy[0]
    allowed = 2e-3 * work if not noise else 5 * rate * math.sqrt(2 * 10.0 * volume * time[-1]) + 0.02 * work
    assert gained == pytest.approx(work, abs=allowed)
    assert gained > 20 * (2e-3 * work)
    assert rate * time[-1] > 1.1                                # images slid by more than a box
    assert np.abs(budget.momentum - budget.momentum[0]).max() < 1e-11
    still = dataclasses.replace(tracks, box=LeesEdwards(gas.box.lengths, rate * 1.05))  # type: ignore[arg-type]
    assert abs(stress(still, gas).total[60:, 1, 0].mean() / sigma.total[60:, 1, 0].mean() - 1) > 0.01


def test_held_energy_is_held_and_the_heat_is_the_work() -> None:
    gas = small(flow="shear", shear_rate=20.0, hold_energy=True, frames=60, substeps=4, noise=False)
    tracks = gas.run(seed=7)
    budget, sigma = thermodynamics(tracks, gas), stress(tracks, gas)
    work = 20.0 * gas.box_length**3 * np.trapezoid(sigma.total[:, 1, 0], budget.time)
    assert budget.energy_drift < 5e-3                           # held in the middle of steps, recorded at their ends
    assert tracks.info["truth"]["heat_taken"][-1] == pytest.approx(work, rel=0.02)


def test_vortex_force_does_the_work_and_gives_no_momentum() -> None:
    """dE = m sum a·v dt for the Taylor-Green force, a less its mean; without force a vortex keeps its energy."""
    gas = small(flow="forced_taylor_green", flow_speed=3.0, noise=False, frames=80, substeps=4)
    tracks = gas.run(seed=8)
    budget = thermodynamics(tracks, gas)
    x, v, _ = arrays(tracks)
    k = 2 * np.pi / gas.box_length
    a = np.zeros_like(x)
    a[..., 0] = -np.cos(k * x[..., 1]) * np.sin(k * x[..., 0])
    a[..., 1] = np.sin(k * x[..., 1]) * np.cos(k * x[..., 0])
    a *= gas.shear_viscosity * 2 * k**2 * 3.0 * gas.volume0 / gas.mass
    a -= a.mean(axis=1, keepdims=True)
    work = np.trapezoid(gas.mass * (a * v).sum(axis=(1, 2)), budget.time)
    assert budget.energy[-1] - budget.energy[0] == pytest.approx(work, rel=5e-3)
    assert work > 1.0
    assert np.abs(budget.momentum).max() < 1e-11
    free = small(flow="taylor_green", flow_speed=3.0, frames=40, substeps=4)
    budget = thermodynamics(free.run(seed=8), free)
    assert budget.energy_drift < 1e-3
    assert np.abs(budget.momentum).max() < 1e-11
    assert budget.energy[0] > 60 * 10 + 1.5 * 59 + 10


# ------------------------------------------------------------------ seeds, threads, files, refusals


def test_result_depends_on_the_seed_and_not_on_threads() -> None:
    runs = [arrays(small(threads=threads, flow=flow, shear_rate=rate, frames=2, equilibration=0).run(seed=seed))
            for threads, seed, flow, rate in ((1, 0, "rest", 0.0), (2, 0, "rest", 0.0), (1, 1, "rest", 0.0),
                                              (1, 0, "shear", 9.0), (2, 0, "shear", 9.0))]
    for a, b in ((0, 1), (3, 4)):
        for one, other in zip(runs[a], runs[b]):
            np.testing.assert_array_equal(one, other)
    assert np.abs(runs[0][1] - runs[2][1]).max() > 0.1


def test_trajectories_rebuild_their_gas_and_survive_a_file(tmp_path) -> None:  # type: ignore[no-untyped-def]
    gas = small(dim=2, flow="shear", shear_rate=3.0)
    tracks = vd.simulate(gas, seed=0)
    back = vd.load(tracks.save(tmp_path / "gas.parquet"))
    assert SDPD.of(back) == gas
    assert back.box == tracks.box == LeesEdwards((0.7, 0.7), 3.0)
    np.testing.assert_array_equal(back.velocities, tracks.velocities)
    with pytest.raises(DataError, match="not simulated by SDPD"):
        SDPD.of(Trajectories.from_dense(np.zeros((2, 1, 2)), vd.Units(1.0, 1.0)))


@pytest.mark.parametrize(("arguments", "says"), [
    ({"mass": 0.0}, "mass"), ({"kT": -1.0}, "kT"), ({"n_particles": 0}, "n_particles"), ({"dim": 1}, "dim"),
    ({"box_length": 0.5}, "three cutoffs"), ({"flow": "shear"}, "shear_rate"), ({"shear_rate": 1.0}, "shear_rate"),
    ({"flow": "taylor_green"}, "flow_speed"), ({"flow": "wind"}, "flow"), ({"substeps": 1, "frames_per_second": 50.0},
                                                                           "substeps="),
    ({"bulk_viscosity": 1e4}, "below"), ({"heat_capacity": 1.0}, "heat_capacity"), ({"coefficients": "x"}, "radial"),
    ({"conductivity": float("nan")}, "conductivity"), ({"box_length": 0.65, "flow": "shear", "shear_rate": 1.0},
                                                       "3.36"),
])
def test_what_cannot_be_simulated_is_refused(arguments: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        small(**arguments)
