"""Where the rollout of a list of terms comes to rest, and how it forgets: exact solutions of pairs, and a known fluid.

A pair apart from all others, with friction γ and memory g the same in every direction and at every distance, is linear:
with its relative velocity u and the reduced mass μ

    d(u, ξ) = A (u, ξ) dt + noise,   A = [[-γ/μ, -g/μ], [g, -1/τ]],   <u(t) u(0)> = (T/μ) [exp(A t)]_00 per component

False alarms: 4.9 standard errors (1e-6) everywhere.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from scipy.linalg import expm
from scipy.stats import t as student

from vid2dyn.data.box import Periodic
from vid2dyn.dynamics.fluid.frozen import FrozenFluid
from vid2dyn.dynamics.fluid.frozen_parts import FrozenMemory
from vid2dyn.rollout.fluid.example import SoftParticleTables
from vid2dyn.rollout.fluid.paths import FluidFrame, FluidRollout, fluid_frames
from vid2dyn.simulators.fluid.dpd import DPD

PAIRS, SIGMA = 12_000, 4.9
T, MASS, GAMMA, G, TAU = 1.3, (1.0, 2.5), 0.4, 4.0, 0.2


def constant(g: float = G, gamma: float = GAMMA, tau: float = TAU, mass: tuple[float, ...] = MASS) -> FrozenFluid:
    """Friction and one mode of memory that do not depend on distance or direction, up to 40."""
    def flat(value: float) -> np.ndarray:
        return np.broadcast_to(np.array([value, 0.0, value, 0.0]), (3, 5, 4))

    none = SoftParticleTables(3, cutoff=40.0, temperature=T, mass=mass, repulsion=(0.0,) * 3)
    return none.freeze(pair_energy=None, pair_friction=flat(gamma), memory=(FrozenMemory(tau, flat(g)),))


def pairs_apart(mass: tuple[float, ...] = MASS, seed: int = 0) -> FluidFrame:
    """Pairs 100 from each other; rows 2k and 2k + 1, one of each species, velocities from equilibrium."""
    rng = np.random.default_rng(seed)
    side = math.ceil(PAIRS ** (1 / 3))
    grid = 100.0 * np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)[:PAIRS]
    x = np.repeat(grid, 2, axis=0) + rng.uniform(-1, 1, (2 * PAIRS, 3))
    species = np.arange(2 * PAIRS) % 2
    v = rng.standard_normal((2 * PAIRS, 3)) * np.sqrt(T / np.array(mass)[species])[:, None]
    return FluidFrame(x, v, np.zeros(2 * PAIRS), species=species)


def off_in_errors(frozen: FrozenFluid, truth: tuple[float, float, float], *, dt: float, steps: int) -> list[float]:
    """How many standard errors <u(t)·u(0)> lies off the exact solution with truth = (g, γ, τ), at four times."""
    g, gamma, tau = truth
    mu = MASS[0] * MASS[1] / sum(MASS)
    A = np.array([[-gamma / mu, -g / mu], [g, -1.0 / tau]])
    first, found = None, []
    for frame in fluid_frames(frozen, pairs_apart(), FluidRollout(dt), steps=steps, every=steps // 4, seed=5,
                              threads=1):
        u = (frame.velocity[::2] - frame.velocity[1::2]).ravel()
        first = u if first is None else first
        product = first * u * (mu / T)
        wanted = expm(A * frame.step * dt)[0, 0]
        found.append(abs(product.mean() - wanted) / (product.std() / math.sqrt(len(u))))
    return found


def test_velocities_follow_the_exact_solution() -> None:
    """Within two periods of the damped oscillation: one value of C is known to 0.5 % of C(0)."""
    assert max(off_in_errors(constant(), (G, GAMMA, TAU), dt=TAU / 20, steps=64)) < SIGMA


@pytest.mark.parametrize("wrong", [(1.05 * G, GAMMA, TAU), (G, 2.0 * GAMMA, TAU), (G, GAMMA, 1.4 * TAU)])
def test_another_memory_is_seen(wrong: tuple[float, float, float]) -> None:
    """Coupling 5 % stronger, friction twice as large, memory 40 % longer."""
    assert max(off_in_errors(constant(*wrong), (G, GAMMA, TAU), dt=TAU / 20, steps=64)) > SIGMA


def variances(frozen: FrozenFluid, dt: float, steps: int) -> tuple[float, float, float]:
    """Variances of v of both species and of ξ, over what they should be, minus 1, in standard errors."""
    *_, last = fluid_frames(frozen, pairs_apart(), FluidRollout(dt), steps=steps, seed=6, threads=1)
    assert last.memory is not None
    samples = last.velocity[::2] * math.sqrt(MASS[0]), last.velocity[1::2] * math.sqrt(MASS[1]), last.memory.vectors
    a, b, c = (abs((s**2).mean() / T - 1) / math.sqrt(2 / s.size) for s in samples)
    return float(a), float(b), float(c)


@pytest.mark.parametrize("dt", [0.05, 0.7])
def test_stationary_variances_at_any_step(dt: float) -> None:
    """T/m and T to 3.7 %, also for steps of 3.5 τ in which friction and memory turn velocities over many times."""
    assert max(variances(constant(g=20.0, gamma=5.0), dt, 30)) < SIGMA


def test_noise_of_other_strength_is_seen() -> None:
    """5 % less kB: all three variances fall by as much."""
    assert max(variances(dataclasses.replace(constant(g=20.0, gamma=5.0), kB=0.95), 0.7, 30)) > SIGMA


def test_random_force_belongs_to_the_friction() -> None:
    """Fluctuation-dissipation of the extended state: on particles that hardly move <F(t) F(0)> = T g² exp(-t/τ).

    That g² exp(-t/τ) is the memory kernel of the friction is tested in tests/laws/test_particle_rollout.py.
    """
    heavy = (1e8, 1e8)
    frames = list(fluid_frames(constant(gamma=0.0, mass=heavy), pairs_apart(heavy), FluidRollout(TAU / 4), steps=9,
                               every=4, seed=8, threads=1))
    forces = [frame.memory.vectors[:, 0] for frame in frames[1:] if frame.memory is not None]
    for later, force in enumerate(forces):
        product = force * forces[0] / T
        error = product.std() / math.sqrt(product.size)
        assert abs(product.mean() - math.exp(-later)) < SIGMA * error
        assert error < 0.008


BINS = np.array([0.3, 0.5, 0.7, 0.9, 1.1, 1.3, 1.5])


def summaries(frames: np.ndarray, velocity: np.ndarray, edge: float) -> np.ndarray:
    """kT and the number of pairs in bins of distance, means of 24 blocks of frames: (24, 7)."""
    rows = []
    upper = np.triu_indices(frames.shape[1], 1)
    for x, v in zip(frames, velocity):
        d = x[upper[0]] - x[upper[1]]
        d -= edge * np.round(d / edge)
        rows.append([(v**2).mean(), *np.histogram(np.sqrt((d**2).sum(1)), BINS)[0]])
    return np.array(rows).reshape(24, -1, len(BINS)).mean(axis=1)


def test_a_dpd_fluid_is_that_of_its_simulator() -> None:
    """kT and the radial distribution within 6.2 standard errors of 2 x 24 blocks (Student, 1e-6 over 7 numbers).

    A repulsion 25 % weaker is seen.
    """
    edge, n, every = 4.0, 192, 4
    made = DPD(n_particles=n, frames=961, frames_per_second=50.0, substeps=1, box_length=edge, equilibration=100)
    tracks = made.run(seed=3)
    x, v = (np.asarray(a).reshape(n, 961, 3).swapaxes(0, 1) for a in (tracks.positions, tracks.velocities))
    simulated = summaries(x[1::every], v[1::every], edge)
    start = FluidFrame(x[0], v[0], np.zeros(n), Periodic((edge,) * 3))
    limit = student.isf(0.5e-6 / len(BINS), 46)
    for repulsion, agrees in ((25.0, True), (18.75, False)):
        frozen = SoftParticleTables(3, repulsion=(repulsion,)).freeze()
        walk = list(fluid_frames(frozen, start, FluidRollout(0.02), steps=1060, every=every, seed=1))[26:]
        rolled = summaries(np.stack([f.position for f in walk])[:240], np.stack([f.velocity for f in walk])[:240], edge)
        error = np.sqrt((rolled.var(axis=0, ddof=1) + simulated.var(axis=0, ddof=1)) / 24)
        off = np.abs(rolled.mean(axis=0) - simulated.mean(axis=0)) / error
        assert (off.max() < limit) == agrees, off
