"""The steps of a fluid against the bracket they integrate, and the laws each step keeps."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from vid2dyn.core.errors import ConfigError, ModelError
from vid2dyn.data.box import Free, LeesEdwards, Periodic
from vid2dyn.dynamics.fluid.friction import FluidFriction, bracket
from vid2dyn.dynamics.fluid.sdpd import Fluid
from vid2dyn.dynamics.snapshot import Snapshot
from vid2dyn.dynamics.terms.equations_of_state import Cold, IdealGas, Isothermal
from vid2dyn.rollout.steps.dissipative import Dissipation
from vid2dyn.rollout.steps.forcing import Bath, Prescribed, TaylorGreen
from vid2dyn.rollout.steps.solvers import conjugate_gradients
from vid2dyn.rollout.steps.stepper import FluidStepper
from vid2dyn.testing.fluids import fluid_snapshot

CUTOFF = 2.0


def gas(dim=3, law="transport", eos=None, **changes):
    """An ideal gas of few degrees of freedom, so that every kB term counts."""
    settings = {"cutoff": CUTOFF, "mass": 1.3, "heat_capacity": 6.0, "molecules": 4.0, "volume": 0.8,
                "shear_viscosity": 1.0, "bulk_viscosity": 0.3, "conductivity": 1.4, **changes}
    good = Fluid.ideal_gas(dim=dim, **settings)
    return Fluid(good.kernel, eos or good.eos, good.shear, good.bulk, good.heat, mass=1.3, law=law)


def isothermal():
    return Isothermal(1.4, Cold(0.8), molecules=2.0).requires_grad_(False)


def crowd(n=24, dim=3, seed=0, box=None, spacing=0.9):
    return fluid_snapshot(np.random.default_rng(seed), n, dim, cutoff=CUTOFF, box=box, spacing=spacing)


def flat(state):
    return torch.cat([state.position, state.velocity, state.entropy[:, None]], dim=1)


# ------------------------------------------------------------------ the step is that of the bracket

def moments(stepper, start, monkeypatch):
    """Exact mean and covariance of one step to order dt, by a cubature of degree 3 over the noise (Stroud, 1971).

    The mean over ± sqrt(channels) along every channel integrates cubic polynomials of the normals exactly.
    """
    channels = len(start.pairs.r) * (stepper.fluid.dim + 1)
    before = flat(start)
    mean, covariance = torch.zeros_like(before), torch.zeros(before.numel(), before.numel(), dtype=before.dtype)
    for k in range(channels):
        for sign in (1.0, -1.0):
            draw = torch.zeros(len(start.pairs.r), stepper.fluid.dim + 1, dtype=before.dtype)
            draw.view(-1)[k] = sign * math.sqrt(channels)
            monkeypatch.setattr(Dissipation, "noise", lambda self, seed, step, names, draw=draw: draw)
            change = flat(stepper.step(start)) - before
            mean += change / (2 * channels)
            covariance += torch.outer(change.reshape(-1), change.reshape(-1)) / (2 * channels)
    return mean, covariance


@pytest.mark.parametrize("conservative", ["verlet", "exact"])
@pytest.mark.parametrize(("law", "eos", "dim"), [("transport", None, 3), ("radial", None, 2),
                                                 ("transport", isothermal, 2)])
def test_mean_and_covariance_of_a_step_are_those_of_the_bracket(conservative, law, eos, dim, monkeypatch):
    """[x(dt) - x]/dt -> L∇E + M∇S + kB ∇·M and Cov/dt -> 2 kB M: all of the drift, to 1e-5 of its largest entry."""
    fluid = gas(dim, law, eos and eos())
    snapshot = crowd(4, dim, seed=2)
    dt = 1e-7
    stepper = FluidStepper(fluid, dt=dt, conservative=conservative)
    mean, covariance = moments(stepper, stepper.start(snapshot), monkeypatch)
    drift = bracket(fluid).drift(snapshot)
    assert float((mean / dt - drift).abs().max()) < 2e-5 * float(drift.abs().max())
    M = FluidFriction(fluid).dense(snapshot)
    width = 2 * dim + 1
    moved = [i * width + k for i in range(4) for k in range(dim, width)]
    found = covariance[moved][:, moved] / dt
    assert float((found - 2 * M).abs().max()) < 2e-5 * float(M.abs().max())


def test_a_missing_fluctuation_term_would_be_seen(monkeypatch):
    """5 % of the terms of kB ∇·M move the drift far more than the test above allows."""
    fluid, snapshot = gas(), crowd(4, 3, seed=2)
    drift = bracket(fluid).drift(snapshot)
    assert float(0.05 * FluidFriction(fluid).divergence(snapshot).abs().max()) > 1e-3 * float(drift.abs().max())


# ------------------------------------------------------------------ conservation

@pytest.mark.parametrize("conservative", ["verlet", "exact"])
def test_energy_and_momentum(conservative):
    """200 noisy steps: momentum to rounding; energy to rounding with the exact step, to dt² with Verlet."""
    fluid = gas()
    stepper = FluidStepper(fluid, dt=2e-3, conservative=conservative, seed=3)
    state = stepper.start(crowd(box=Periodic((4.5,) * 3), spacing=1.4))
    energy, momentum = state.energy(1.3), state.velocity.sum(0)
    (last,) = stepper.run(state, 200, every=200)
    change = abs(last.energy(1.3) - energy) / 24
    assert change < (1e-12 if conservative == "exact" else 1e-3)
    assert conservative == "exact" or change > 1e-9
    assert float((last.velocity.sum(0) - momentum).abs().max()) < 1e-13
    assert float((last.velocity - state.velocity).abs().max()) > 0.5


def test_angular_momentum_in_free_space():
    """The secant force is central about mean places: angular momentum of a cloud without friction, to rounding."""
    fluid = gas(shear_viscosity=0.0, bulk_viscosity=0.0, conductivity=0.0)
    stepper = FluidStepper(fluid, dt=5e-3, conservative="exact", kB=0)
    state = stepper.start(crowd(12))
    spin = torch.linalg.cross(state.position, state.velocity).sum(0)
    for last in stepper.run(state, 40, every=40):
        assert float((torch.linalg.cross(last.position, last.velocity).sum(0) - spin).abs().max()) < 1e-12
        assert abs(last.energy(1.3) - state.energy(1.3)) < 1e-12


ORDERS = [("verlet", False, 2), ("exact", False, 2), ("verlet", True, 1)]


@pytest.mark.parametrize(("conservative", "friction", "order"), ORDERS)
def test_claimed_orders(conservative, friction, order):
    """Without noise: error at one time against dt and dt/2. The halves are of order 2, their product of order 1."""
    amount = 1.0 if friction else 0.0
    fluid = gas(2, shear_viscosity=amount, bulk_viscosity=0.3 * amount, conductivity=1.4 * amount)

    def end(steps):
        stepper = FluidStepper(fluid, dt=0.16 / steps, conservative=conservative, kB=0)
        state = stepper.start(crowd(9, 2, seed=4))
        (last,) = stepper.run(state, steps, every=steps)
        return flat(last)

    fine = end(256 if order == 1 else 128)
    coarse, half = ((end(k) - fine).norm() for k in (8, 16))
    assert abs(math.log2(float(coarse / half)) - order) < 0.25


def test_energy_error_of_verlet_is_of_second_order():
    fluid = gas(2, shear_viscosity=0.0, bulk_viscosity=0.0, conductivity=0.0)

    def error(dt):
        stepper = FluidStepper(fluid, dt=dt, kB=0)
        state = stepper.start(crowd(9, 2, seed=4))
        return max(abs(s.energy(1.3) - state.energy(1.3)) for s in stepper.run(state, round(0.16 / dt)))

    assert 3.5 < error(4e-3) / error(2e-3) < 4.5


# ------------------------------------------------------------------ second law

@pytest.mark.parametrize(("dt", "conservative"), [(1e-3, "exact"), (0.05, "verlet")])
def test_entropy_never_falls_without_noise(dt, conservative):
    """Every step, also where conduction would overshoot fifty times over if it were explicit."""
    fluid = gas(conductivity=300.0)
    stepper = FluidStepper(fluid, dt=dt, conservative=conservative, kB=0)
    state = stepper.start(crowd(box=Periodic((4.5,) * 3), spacing=1.4))
    total = float(state.entropy.sum())
    for after in stepper.run(state, 20):
        assert float(after.entropy.sum()) >= total
        total = float(after.entropy.sum())


def test_conduction_stays_within_the_temperatures_there_are():
    """No particle becomes hotter than the hottest or colder than the coldest, however long the step."""
    fluid = gas(conductivity=1e6, shear_viscosity=0.0, bulk_viscosity=0.0)
    snapshot = crowd(box=Periodic((4.5,) * 3), spacing=1.4)
    stepper = FluidStepper(fluid, dt=1.0, kB=0)
    state = stepper.start(dataclasses.replace(snapshot, velocity=torch.zeros_like(snapshot.position)))
    T = state.thermo.T
    after = stepper._dissipate(state).thermo.T
    assert float(after.max()) <= float(T.max())
    assert float(after.min()) >= float(T.min())
    assert float(after.std()) < 0.8 * float(T.std())


def test_two_particles_relax_exponentially():
    fluid = gas(2, law="radial", eos=IdealGas(6.0, 1e-9, volume=0.8), shear_viscosity=0.0, bulk_viscosity=0.0)
    x = torch.tensor([[0.0, 0.0], [0.7, 0.0]], dtype=torch.float64)
    snapshot = Snapshot.of(x, CUTOFF, velocity=torch.zeros_like(x), entropy=torch.tensor([1e-4, -1e-4]).double())
    for dt in (0.3, 3.0):
        stepper = FluidStepper(fluid, dt=dt, kB=0)
        state = stepper.start(snapshot)
        T = state.thermo.T
        C2 = float(fluid.heat.value(state.pairs.r)[0])
        after = stepper._dissipate(state).thermo.T
        left = float((after[0] - after[1]) / (T[0] - T[1]))
        assert left == pytest.approx(math.exp(-2 * C2 * dt / (6.0 * float(T.mean()) ** 2)), rel=1e-6)


# ------------------------------------------------------------------ noise belongs to pairs

def test_order_of_the_particles_and_restart_change_nothing():
    fluid = gas()
    snapshot = crowd(box=Periodic((4.5,) * 3), spacing=1.4)
    stepper = FluidStepper(fluid, dt=2e-3, seed=5, bath=Bath(0.4, 1.0))
    (end,) = stepper.run(stepper.start(snapshot), 10, every=10)
    order = torch.randperm(24, generator=torch.Generator().manual_seed(1))
    mixed = dataclasses.replace(snapshot, position=snapshot.position[order], velocity=snapshot.velocity[order],
                                entropy=snapshot.entropy[order], index=order)
    (other,) = stepper.run(stepper.start(mixed), 10, every=10)
    torch.testing.assert_close(flat(other), flat(end)[order], rtol=1e-9, atol=1e-9)
    (half,) = stepper.run(stepper.start(snapshot), 5, every=5)
    again = stepper.start(half.snapshot(), step=half.step, time=half.time)
    (rest,) = stepper.run(again, 5, every=5)
    torch.testing.assert_close(flat(rest), flat(end), rtol=1e-10, atol=1e-10)
    (louder,) = dataclasses.replace(stepper, seed=6).run(stepper.start(snapshot), 10, every=10)
    assert float((flat(louder) - flat(end)).abs().max()) > 1e-2


# ------------------------------------------------------------------ forcing

def test_bath_takes_and_gives_what_it_says():
    """The account of the bath closes the energy balance; without noise velocities fall as exp(-drag t/m)."""
    fluid = gas()
    snapshot = crowd(box=Periodic((4.5,) * 3), spacing=1.4)
    stepper = FluidStepper(fluid, dt=2e-3, conservative="exact", bath=Bath(2.0, 1.5), seed=1)
    state = stepper.start(snapshot)
    for last in stepper.run(state, 50, every=10):
        assert last.heat != 0
        assert last.energy(1.3) - state.energy(1.3) == pytest.approx(last.heat, abs=1e-11)
    quiet = dataclasses.replace(stepper, kB=0)
    for last in quiet.run(state, 50, every=50):
        fallen = last.velocity.sum(0) / state.velocity.sum(0)
        assert float((fallen / math.exp(-2.0 * 0.1 / 1.3) - 1).abs().max()) < 1e-10


def test_taylor_green_force_is_divergence_free_and_pushes():
    x = torch.rand(50, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_(True)
    force = TaylorGreen(1.5, 1.0)(x, 0.0)
    rows = [torch.autograd.grad(force[:, k].sum(), x, retain_graph=True)[0][:, k] for k in range(2)]
    assert float((rows[0] + rows[1]).abs().max()) < 1e-12
    fluid = gas(2)
    snapshot = crowd(9, 2, seed=4, box=Periodic((4.5, 4.5)))
    for conservative in ("verlet", "exact"):
        pushed = FluidStepper(fluid, dt=1e-5, conservative=conservative, kB=0, body=TaylorGreen(30.0, 4.5))
        plain = dataclasses.replace(pushed, body=None)
        a, b = (s.step(s.start(snapshot)).velocity for s in (pushed, plain))
        torch.testing.assert_close((a - b) / 1e-5, TaylorGreen(30.0, 4.5)(snapshot.position, 0.0) / 1.3,
                                   rtol=1e-3, atol=1e-2)


def test_prescribed_particles_follow_their_path_and_drag_the_others():
    """A wall that moves: held particles are where the path says, keep their entropy, and pull their neighbours."""
    fluid = gas(shear_viscosity=20.0, bulk_viscosity=10.0)
    snapshot = crowd(box=Periodic((4.5,) * 3), spacing=1.4)
    held = torch.zeros(24, dtype=torch.bool)
    held[:6] = True
    drift = torch.tensor([0.0, 2.0, 0.0], dtype=torch.float64)
    still = dataclasses.replace(snapshot, velocity=torch.zeros_like(snapshot.position))

    def path(time):
        return snapshot.position + drift * time, drift.expand(24, 3)

    for conservative in ("verlet", "exact"):
        stepper = FluidStepper(fluid, dt=2e-3, conservative=conservative, kB=0, prescribed=Prescribed(held, path))
        (last,) = stepper.run(stepper.start(still), 100, every=100)
        torch.testing.assert_close(last.position[:6], path(0.2)[0][:6], rtol=0, atol=1e-12)
        torch.testing.assert_close(last.velocity[:6], path(0.2)[1][:6], rtol=0, atol=1e-12)
        assert bool((last.entropy[:6] == snapshot.entropy[:6]).all())
        assert float(last.velocity[6:, 1].mean()) > 0.5


@pytest.mark.parametrize("conservative", ["verlet", "exact"])
def test_sheared_box_knows_no_special_particle(conservative):
    """Which image a particle is followed in changes nothing, and momentum is kept."""
    box = LeesEdwards((5.0, 5.0), shear_rate=0.8, strain=0.15)
    rng = np.random.default_rng(1)
    snapshot = crowd(16, 2, seed=3, box=Periodic((5.0, 5.0)), spacing=1.2)
    x, v = snapshot.position, torch.as_tensor(rng.normal(size=(16, 2)))
    v[:, 1] += 0.8 * x[:, 0]
    one = Snapshot.of(x, CUTOFF, box, velocity=v, entropy=snapshot.entropy)
    y, w = x.clone(), v.clone()
    y[::3, 0] += 5.0
    y[::3, 1] += box.offset
    w[::3, 1] += box.velocity_jump
    two = Snapshot.of(y, CUTOFF, box, velocity=w, entropy=snapshot.entropy)
    stepper = FluidStepper(gas(2), dt=2e-3, conservative=conservative, seed=2)
    (a,), (b,) = (stepper.run(stepper.start(s), 60, every=60) for s in (one, two))
    jump = torch.zeros_like(w)
    jump[::3, 1] = box.velocity_jump
    torch.testing.assert_close(b.velocity - jump, a.velocity, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(b.entropy, a.entropy, rtol=1e-8, atol=1e-8)
    assert float((a.velocity.sum(0) - v.sum(0)).abs().max()) < 1e-12
    assert a.box.strain == pytest.approx(0.15 + 0.8 * 0.12)


# ------------------------------------------------------------------ bad input

def stepping(snapshot, **settings):
    stepper = FluidStepper(gas(), **{"dt": 1e-3, **settings})
    return stepper.step(stepper.start(snapshot))


def test_bad_starts_are_refused():
    good = crowd(8)
    together = good.position.clone()
    together[5] = together[2]
    with pytest.raises(ModelError, match="Start: particles 2 and 5 are in one place"):
        stepping(dataclasses.replace(good, position=together))
    broken = good.velocity.clone()
    broken[3, 1] = float("nan")
    with pytest.raises(ModelError, match="velocity of particle 3 is not a finite"):
        stepping(dataclasses.replace(good, velocity=broken))
    with pytest.raises(ModelError, match="particle 0 has temperature inf"):
        stepping(dataclasses.replace(good, entropy=good.entropy + 1e5))
    with pytest.raises(ModelError, match="particle 0 has temperature 0"):
        stepping(dataclasses.replace(good, entropy=good.entropy - 1e5))
    with pytest.raises(ConfigError, match="more than half of the box edge"):
        stepping(dataclasses.replace(good, box=Periodic((3.9,) * 3)))
    with pytest.raises(ModelError, match="needs the velocity"):
        stepping(dataclasses.replace(good, velocity=None))
    with pytest.raises(ModelError, match="lives in 3 dimensions"):
        stepping(crowd(8, 2))
    for bad in ({"dt": -1.0}, {"conservative": "euler"}, {"kB": 0.5}):
        with pytest.raises(ModelError, match=next(iter(bad))):
            stepping(good, **bad)
    with pytest.raises(ModelError, match="must be positive"):
        Bath(1.0, 0.0)


@pytest.mark.parametrize("conservative", ["verlet", "exact"])
@pytest.mark.parametrize("dt", [0.3, 30.0])
def test_a_step_far_too_large_is_stopped(conservative, dt):
    """With the step, the particle or the cause, and the remedy; nothing that is not a number comes out."""
    stepper = FluidStepper(gas(shear_viscosity=30.0, bulk_viscosity=10.0, conductivity=50.0), dt=dt,
                           conservative=conservative)
    state = stepper.start(crowd(box=Periodic((4.5,) * 3), spacing=1.4))
    seen = []
    with pytest.raises(ModelError, match=r"Step \d+ .*smaller dt"):
        seen.extend(stepper.run(state, 400))
    assert all(bool(torch.isfinite(flat(after)).all()) for after in seen)


def test_lonely_and_single_particles_fly_straight():
    x = torch.tensor([[0.0, 0, 0], [50.0, 0, 0]], dtype=torch.float64)
    for rows in (x[:1], x):
        v = torch.ones_like(rows)
        snapshot = Snapshot.of(rows, CUTOFF, Free(), velocity=v, entropy=rows[:, 0] * 0)
        for conservative in ("verlet", "exact"):
            stepper = FluidStepper(gas(), dt=0.1, conservative=conservative)
            (last,) = stepper.run(stepper.start(snapshot), 10, every=10)
            torch.testing.assert_close(last.position, rows + 1.0)
            torch.testing.assert_close(last.entropy, snapshot.entropy, rtol=0, atol=1e-13)


def test_progress_can_stop_a_run():
    class Enough(Exception):
        pass

    def stop(done, total, what):
        if done == 3:
            raise Enough

    stepper = FluidStepper(gas(), dt=1e-3)
    with pytest.raises(Enough):
        list(stepper.run(stepper.start(crowd(8)), 10, progress=stop))


def test_conjugate_gradients_solve_and_refuse():
    rng = torch.Generator().manual_seed(0)
    root = torch.randn(30, 30, generator=rng, dtype=torch.float64)
    A = root @ root.T + torch.eye(30)
    right = torch.randn(30, generator=rng, dtype=torch.float64)
    x, rounds = conjugate_gradients(lambda v: A @ v, right)
    assert float((A @ x - right).norm() / right.norm()) < 1e-10
    assert rounds > 5
    with pytest.raises(ModelError, match="no solution"):
        conjugate_gradients(lambda v: -v, right)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")
def test_the_same_on_a_gpu():
    """Equal to rounding after a few steps."""
    snapshot = crowd(box=Periodic((4.5,) * 3), spacing=1.4)
    moved = dataclasses.replace(snapshot, **{name: getattr(snapshot, name).cuda() for name in
                                             ("position", "velocity", "entropy", "pairs", "index")})
    for conservative in ("verlet", "exact"):
        here = FluidStepper(gas(), dt=2e-3, conservative=conservative)
        there = FluidStepper(gas().cuda(), dt=2e-3, conservative=conservative)
        (a,), (b,) = (list(s.run(s.start(x), 5, every=5)) for s, x in ((here, snapshot), (there, moved)))
        torch.testing.assert_close(flat(b).cpu(), flat(a), rtol=1e-9, atol=1e-9)
