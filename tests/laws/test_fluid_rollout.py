"""Laws of the compiled fluid: the same step as torch's, exact conservation, the same bits however it is run."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from vid2dyn.data.box import Box, Free, LeesEdwards, Periodic
from vid2dyn.dynamics.fluid.frozen import FrozenFluid
from vid2dyn.dynamics.fluid.sdpd import Fluid
from vid2dyn.dynamics.snapshot import Snapshot
from vid2dyn.rollout.fluid.example import ideal_gas, lattice
from vid2dyn.rollout.fluid.paths import FluidFrame, FluidRollout, Held, Wave, fluid_energy, fluid_frames, fluid_paths
from vid2dyn.rollout.steps.forcing import Bath, Prescribed, TaylorGreen
from vid2dyn.rollout.steps.stepper import FluidStepper

VOLUME = 1 / 500


def gas_of(dim: int, law: str) -> Fluid:
    """A fluid with functions that torch knows; cutoff 0.9, volume 0.1 a particle."""
    fluid = Fluid.ideal_gas(cutoff=0.9, mass=0.7, heat_capacity=15.0, molecules=10.0, dim=dim, temperature=1.2,
                            volume=0.1, shear_viscosity=3.0, bulk_viscosity=1.0, conductivity=60.0)
    fluid.law, fluid.power = law, 1 if law == "transport" else 0
    return fluid


def box_of(kind: str, edge: float, dim: int) -> Box:
    return {"free": Free(), "periodic": Periodic((edge,) * dim),
            "sheared": LeesEdwards((edge,) * dim, shear_rate=1.5, strain=0.3)}[kind]


def apart(dim: int, kind: str, conservative: str, law: str, *, kB: int = 1, forced: bool = False, hand: bool = False,
          nodes: int = 257, steps: int = 6, seed: int = 5) -> float:
    """Largest difference of position, velocity or entropy between torch's step and the compiled one."""
    fluid, dt = gas_of(dim, law), 1e-3
    x, v, edge = lattice(80, dim, volume=0.1, kT_per_mass=1.7)
    rng = np.random.default_rng(3)
    S, ids, box = rng.standard_normal(80), rng.permutation(1000)[:80], box_of(kind, edge, dim)
    k, pad = 2 * math.pi / edge, (0.0,) * (dim - 2)
    waves = (Wave((-2.5, 2.5, *pad), (k, k, *pad)), Wave((-2.5, -2.5, *pad), (k, -k, *pad)))
    settings = FluidRollout(dt=dt, conservative=conservative, noise=bool(kB), tolerance=1e-12,  # type: ignore[arg-type]
                            bath_friction=2.0 * forced, bath_temperature=1.5, force=waves if forced else ())
    stepper = FluidStepper(fluid, dt, conservative=conservative, seed=5, kB=kB,  # type: ignore[arg-type]
                           body=TaylorGreen(5.0, edge) if forced else None, bath=Bath(2.0, 1.5) if forced else None)
    rows = np.arange(80) % 7 == 0

    def path(time: float) -> tuple[np.ndarray, np.ndarray]:
        return x + 0.02 * math.sin(50 * time), np.full_like(v, math.cos(50 * time))

    if hand:
        settings = dataclasses.replace(settings, held=Held(rows, path))
        stepper = dataclasses.replace(stepper, prescribed=Prescribed(
            torch.tensor(rows), lambda t: tuple(map(torch.tensor, path(t)))))  # type: ignore[arg-type,return-value]
    there = stepper.start(Snapshot.of(torch.tensor(x), fluid.cutoff, box, velocity=torch.tensor(v),
                                      entropy=torch.tensor(S), index=torch.tensor(ids)))
    frozen = fluid.freeze((-30.0, 40.0), (math.log(0.1) - 1.5, math.log(0.1) + 1.5), nodes=(nodes, nodes))
    for here in fluid_frames(frozen, FluidFrame(x, v, S, box, ids), settings, steps=steps, seed=seed):
        if here.step:
            there = stepper.step(there)
    return max(float(np.abs(a - b.numpy()).max()) for a, b in (
        (here.position, there.position), (here.velocity, there.velocity), (here.entropy, there.entropy)))


@pytest.mark.parametrize(("dim", "kind", "conservative", "law", "forced"), [
    (2, "periodic", "verlet", "transport", False), (2, "sheared", "exact", "radial", False),
    (3, "periodic", "exact", "transport", True), (3, "sheared", "verlet", "transport", False),
    (3, "free", "verlet", "transport", True), (2, "free", "exact", "radial", False)])
def test_same_step_as_torch(dim: int, kind: str, conservative: str, law: str, forced: bool) -> None:
    """Same noise bits, so the paths agree to the error of the table; velocities change by order 1 meanwhile.

    The law "radial" multiplies that error: its heat has a term of 1/c, a second derivative, and is 100 times more.
    """
    assert apart(dim, kind, conservative, law, forced=forced) < (3e-4 if law == "radial" else 1e-6)


@pytest.mark.parametrize("conservative", ["verlet", "exact"])
def test_particles_moved_by_hand(conservative: str) -> None:
    """As in torch; with a bath, which leaves them alone."""
    assert apart(2, "free", conservative, "transport", hand=True, forced=True) < 1e-6


def test_agreement_is_the_error_of_the_table() -> None:
    """Twice the nodes: 2³ times closer, as T is a derivative (asked: 5). Other noise is far away: the test can fail."""
    coarse, fine = (apart(2, "periodic", "verlet", "transport", nodes=n) for n in (65, 129))
    assert fine < 0.2 * coarse
    assert apart(2, "periodic", "verlet", "transport", kB=0) < 1e-6
    assert apart(2, "periodic", "verlet", "transport", seed=6) > 1e-2


def start_of(n: int = 216, dim: int = 3, seed: int = 0, box: Box | None = None) -> FluidFrame:
    x, v, edge = lattice(n, dim, volume=VOLUME, seed=seed)
    entropy = 3.0 * np.random.default_rng(seed).standard_normal(n)
    return FluidFrame(x, v, entropy, box or Periodic((edge,) * dim))


def same(a: FluidFrame, b: FluidFrame) -> bool:
    return all((p == q).all() for p, q in ((a.position, b.position), (a.velocity, b.velocity), (a.entropy, b.entropy)))


@pytest.mark.parametrize("conservative", ["verlet", "exact"])
def test_same_bits_for_threads_order_and_continuation(conservative: str) -> None:
    frozen, start = ideal_gas(power=1), start_of(300)
    settings = FluidRollout(dt=1e-3, conservative=conservative)  # type: ignore[arg-type]
    once = fluid_paths(frozen, start, settings, steps=3, seed=4, threads=1).last
    assert same(once, fluid_paths(frozen, start, settings, steps=3, seed=4, threads=2).last)
    once = fluid_paths(frozen, start, settings, steps=30, seed=4, threads=1).last
    order = np.random.default_rng(0).permutation(300)
    mixed = FluidFrame(start.position[order], start.velocity[order], start.entropy[order], start.box, order)
    turned = fluid_paths(frozen, mixed, settings, steps=30, seed=4).last
    back = np.argsort(order)
    assert (turned.position[back] == once.position).all()
    assert (turned.entropy[back] == once.entropy).all()
    half = fluid_paths(frozen, start, settings, steps=13, seed=4).last
    assert same(once, fluid_paths(frozen, half, settings, steps=17, seed=4).last)
    assert not same(once, fluid_paths(frozen, start, settings, steps=30, seed=5).last)


def energy_error(conservative: str, dt: float, *, time: float = 0.05, noise: bool = True,
                 frozen: FrozenFluid | None = None) -> float:
    """Change of energy per particle and kT."""
    frozen, start = frozen or ideal_gas(power=1), start_of()
    settings = FluidRollout(dt=dt, conservative=conservative, noise=noise)  # type: ignore[arg-type]
    last = fluid_paths(frozen, start, settings, steps=round(time / dt), seed=1).last
    return (sum(fluid_energy(frozen, last)) - sum(fluid_energy(frozen, start))) / len(start.position)


@pytest.mark.parametrize("conservative", ["verlet", "exact"])
def test_a_gas_that_comes_to_rest(conservative: str) -> None:
    """Noise off, so that friction stops everything: the exact step used to wait for digits that rounding hides."""
    frozen, start = ideal_gas(power=1, shear=400.0, bulk=400.0), start_of()
    settings = FluidRollout(dt=2e-3, conservative=conservative, noise=False)  # type: ignore[arg-type]
    last = fluid_paths(frozen, start, settings, steps=400, seed=1).last
    before, after = fluid_energy(frozen, start), fluid_energy(frozen, last)
    assert after[0] < 1e-3 * before[0]
    if conservative == "exact":
        assert abs(sum(after) - sum(before)) < 1e-12 * len(start.position) * 30.0


def test_energy_of_the_exact_step() -> None:
    """Rounding only, at any dt and for a loose solver of the friction."""
    for dt in (5e-4, 2e-3):
        assert abs(energy_error("exact", dt)) < 1e-12
    assert abs(energy_error("verlet", 2e-3)) > 1e-5


def test_energy_of_verlet_is_of_second_order() -> None:
    """Without friction the energy error at one time falls 4-fold when dt is halved."""
    free = ideal_gas(shear=0.0, bulk=0.0, heat=0.0)
    errors = [abs(energy_error("verlet", dt, time=0.016, noise=False, frozen=free)) for dt in (2e-3, 1e-3, 5e-4)]
    assert 3.2 < errors[0] / errors[1] < 4.8
    assert 3.5 < errors[1] / errors[2] < 4.5


@pytest.mark.parametrize("conservative", ["verlet", "exact"])
@pytest.mark.parametrize("kind", ["periodic", "free", "sheared"])
def test_momentum(conservative: str, kind: str) -> None:
    x, v, edge = lattice(125, volume=VOLUME)
    start = FluidFrame(x, v, np.zeros(125), box_of(kind, edge, 3))
    settings = FluidRollout(dt=5e-4, conservative=conservative)  # type: ignore[arg-type]
    paths = fluid_paths(ideal_gas(volume_span=4.0), start, settings, steps=60, every=60, seed=2)
    assert np.abs(paths.velocity[-1].mean(axis=0) - v.mean(axis=0)).max() < 1e-15 * 60
    assert np.abs(paths.velocity[-1] - v).max() > 0.5


def test_angular_momentum_of_the_exact_step() -> None:
    """Central forces on a cluster in open space; with Verlet too."""
    x, v, _ = lattice(64, volume=VOLUME)
    start = FluidFrame(x, v, np.zeros(64))
    free = ideal_gas(shear=0.0, bulk=0.0, heat=0.0, volume_span=4.0)
    paths = fluid_paths(free, start, FluidRollout(dt=1e-3, conservative="exact"), steps=50, every=50)
    spin = np.cross(paths.position, paths.velocity).sum(axis=1)
    assert np.abs(spin[1] - spin[0]).max() < 1e-12
    assert np.abs(paths.velocity[1] - v).max() > 0.5


@pytest.mark.parametrize("dt", [5e-4, 5e-3])
def test_no_entropy_is_lost_without_noise(dt: float) -> None:
    """Every step; also with conduction so strong that an explicit step would overshoot."""
    frozen, start = ideal_gas(power=1, heat=4e6, volume_span=3.0), start_of()
    S = fluid_paths(frozen, start, FluidRollout(dt=dt, noise=False), steps=15).entropy.sum(axis=1)
    assert (np.diff(S) > 0).all()


def test_conduction_never_overshoots() -> None:
    """One hot particle among cold ones at rest on a lattice, a thousand relaxations in one step."""
    x, _, edge = lattice(64, volume=VOLUME)
    S = np.zeros(64)
    S[20] = 20.0
    frozen = ideal_gas(shear=0.0, bulk=0.0, heat=4e8, atoms=1e-9, volume_span=3.0)
    start = FluidFrame(x, np.zeros_like(x), S, Periodic((edge,) * 3))
    after = fluid_paths(frozen, start, FluidRollout(dt=1e-6, noise=False), steps=1).last
    assert after.entropy.min() > -1e-12                                  # nobody colder than the coldest
    assert after.entropy.max() < 20.0
    assert (after.entropy > 1e-3).sum() > 5                              # and heat did flow


def test_two_particles_relax_exponentially() -> None:
    """T of a pair at rest: the difference falls by exp(-2 C² dt/(c T²)), to second order in the difference."""
    frozen = ideal_gas(shear=0.0, bulk=0.0, heat=1e5, atoms=1e-9, volume_span=9.0)
    x = np.array([[0.0, 0.0, 0.0], [0.05, 0.0, 0.0]])
    start = FluidFrame(x, np.zeros_like(x), np.array([0.003, -0.003]))
    C2 = float(frozen.radial("heat", np.array([0.05]))[0][0])
    for dt in (1e-5, 1e-3):
        after = fluid_paths(frozen, start, FluidRollout(dt=dt, noise=False), steps=1).last
        left = (after.entropy[0] - after.entropy[1]) / 0.006
        assert left == pytest.approx(math.exp(-2 * C2 * dt / 30.0), rel=1e-3, abs=1e-6)


def test_shear_rate_zero_is_a_periodic_box() -> None:
    start = start_of()
    edge = start.box.lengths
    assert edge is not None
    sheared = dataclasses.replace(start, box=LeesEdwards(edge, 0.0))
    settings = FluidRollout(dt=1e-3)
    assert same(fluid_paths(ideal_gas(), start, settings, steps=10).last,
                fluid_paths(ideal_gas(), sheared, settings, steps=10).last)


def test_constant_force_and_bath() -> None:
    """A constant force adds N F t of momentum; a bath takes mean velocity away as exp(-γ t/m)."""
    start = start_of()
    push = Wave((0.0, 3.0, 0.0), (0.0, 0.0, 0.0), math.pi / 2)
    for conservative in ("verlet", "exact"):
        settings = FluidRollout(dt=1e-3, conservative=conservative, force=(push,))  # type: ignore[arg-type]
        last = fluid_paths(ideal_gas(), start, settings, steps=10).last
        assert last.velocity.mean(axis=0) == pytest.approx([0.0, 0.03, 0.0], abs=1e-13)
    moving = dataclasses.replace(start, velocity=start.velocity + np.array([1.0, 0.0, 0.0]))
    last = fluid_paths(ideal_gas(), moving, FluidRollout(dt=1e-3, noise=False, bath_friction=7.0), steps=10).last
    assert last.velocity.mean(axis=0) == pytest.approx([math.exp(-0.07), 0.0, 0.0], abs=1e-13)
