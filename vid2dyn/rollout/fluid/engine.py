"""The compiled model as one object: its arrays, its neighbour list, one step. Drives the kernels of this room.

One step from t to t + dt:

    conservative   Verlet (kick, drift, kick) or the exact discrete gradient, entropies fixed
    dissipative    friction, noise and memory of pairs by Crank-Nicolson, conduction, entropies from the energies; then
                   the bath

The list holds pairs up to cutoff + skin and is renewed before a step that could carry a particle over half the skin.
Because sums follow the ids and pairs beyond the cutoff add exact zeros, the moment of renewal changes no bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numba import njit, prange

from vid2dyn.data.box import LeesEdwards
from vid2dyn.dynamics.fluid.frozen import FrozenFluid
from vid2dyn.rollout.fluid import exact, memory, one_body, pairs, stops
from vid2dyn.rollout.fluid import friction as dissipation
from vid2dyn.rollout.fluid.lists import JUMP, Pairs, as_space, neighbour_pairs, sort_by_cell
from vid2dyn.rollout.fluid.lookup import Tables
from vid2dyn.rollout.fluid.one_body import one_body_of
from vid2dyn.rollout.fluid.state import FluidFrame, FluidRollout, PairMemory
from vid2dyn.rollout.fluid.tables import tables_of


@njit(cache=True, error_model="numpy")
def _spread(x, listed, v, rate, time):  # type: ignore[no-untyped-def]
    """(largest distance from where the list was made, largest speed), both beside the mean flow of a sheared box.

    Infinite where a number is not finite: comparisons with NaN are false and would pass it over.
    """
    moved, speed, total = 0.0, 0.0, 0.0
    for i in range(len(x)):
        dx, dz = x[i, 0] - listed[i, 0], x[i, 2] - listed[i, 2]
        dy = x[i, 1] - listed[i, 1] - rate * time * listed[i, 0]
        moved = max(moved, dx * dx + dy * dy + dz * dz)
        wy = v[i, 1] - rate * x[i, 0]
        speed = max(speed, v[i, 0] * v[i, 0] + wy * wy + v[i, 2] * v[i, 2])
        total += dx + dy + dz + wy + v[i, 0] + v[i, 2]
    if not np.isfinite(total):
        return np.inf, np.inf
    return np.sqrt(moved), np.sqrt(speed)


@njit(cache=True, parallel=True, error_model="numpy")
def _body_force(x, amplitude, wave, phase, out):  # type: ignore[no-untyped-def]
    """out_i = sum over modes of amplitude sin(wave · x_i + phase)."""
    for i in prange(len(x)):
        out[i, :] = 0.0
        for m in range(len(phase)):
            s = np.sin(wave[m, 0] * x[i, 0] + wave[m, 1] * x[i, 1] + wave[m, 2] * x[i, 2] + phase[m])
            for c in range(3):
                out[i, c] += amplitude[m, c] * s


class Scratch(NamedTuple):
    """Arrays of the particles that a step overwrites: vectors (n, 3), then numbers (n,) and (4, n, 1)."""

    body: np.ndarray
    mean: np.ndarray
    residual: np.ndarray
    direction: np.ndarray
    image: np.ndarray
    relax: np.ndarray
    columns: np.ndarray

    @classmethod
    def of(cls, n: int) -> Scratch:
        """For n particles."""
        body, mean, residual, direction, image = (np.zeros((n, 3)) for _ in range(5))
        return cls(body, mean, residual, direction, image, np.empty(n), np.empty((4, n, 1)))


@dataclass(frozen=True)
class PairArrays:
    """Arrays of the pairs, as long as the neighbour list; `scratch` (pairs, 3), `work` (pairs,)."""

    geometry: pairs.Geometry
    exchange: pairs.Exchange
    secants: exact.Secants
    scratch: np.ndarray
    work: np.ndarray


class PairStorage:
    """Room for the arrays of the pairs, kept as long as it is large enough; parts that are not needed have none.

    Parameters
    ----------
    tables : Tables
        What the model has.
    exact_energy : bool
        Whether the arrays of the exact step are needed.
    """

    def __init__(self, tables: Tables, exact_energy: bool) -> None:
        self.fluid, self.bound, self.exact_energy = len(tables.radial) > 0, len(tables.pairs) > 0, exact_energy
        self.capacity = -1
        self.arrays(0)

    def _allocate(self, capacity: int) -> None:
        def rows(*shape: int, when: bool = True) -> np.ndarray:
            return np.empty((capacity if when else 0, *shape))

        fluid, bound, exact_energy = self.fluid, self.bound, self.exact_energy
        self.capacity, work = capacity, rows()
        self.all = PairArrays(
            pairs.Geometry(rows(3), rows(), rows(when=fluid), rows(3, when=fluid), rows(), rows(when=bound),
                           rows(2, when=bound)),
            pairs.Exchange(rows(2), rows(3), np.zeros(capacity), np.zeros(capacity)),
            exact.Secants(rows(3, when=exact_energy), rows(3, when=exact_energy), rows(when=exact_energy and fluid),
                          work, rows(when=exact_energy and bound)), rows(3), work)

    def arrays(self, count: int) -> PairArrays:
        """Arrays of `count` pairs; those given out before are no longer valid."""
        if count > self.capacity:
            self._allocate(count + count // 8)
        whole = self.all
        return PairArrays(pairs.Geometry(*(a[:count] for a in whole.geometry)),
                          pairs.Exchange(*(a[:count] for a in whole.exchange)),
                          exact.Secants(*(a[:count] for a in whole.secants)), whole.scratch[:count],
                          whole.work[:count])


@dataclass(frozen=True)
class NeighbourList:
    """Pairs up to cutoff + skin of the positions `listed` (n, 3) at `time`."""

    pairs: Pairs
    listed: np.ndarray
    skin: float
    time: float


class Engine:
    """Arrays and one step of a frozen fluid; see `vid2dyn.rollout.fluid.paths` for the arguments, all checked there.

    Particles are kept in the order of their cells; `ids` says who is who. Positions are (n, 3), never wrapped.

    Parameters
    ----------
    frozen : FrozenFluid
    start : FluidFrame
    settings : FluidRollout
    seed : int
        Of the noise.
    """

    def __init__(self, frozen: FrozenFluid, start: FluidFrame, settings: FluidRollout, seed: int) -> None:
        n, dim = start.position.shape
        self.frozen, self.box, self.settings, self.dim, self.seed = frozen, start.box, settings, dim, seed
        self.dt, self.exact_energy = settings.dt, settings.conservative == "exact"
        self.kB = frozen.kB if settings.noise else 0.0
        self.step_number = start.step
        self.waves, self.one_body = _waves_of(settings, dim), one_body_of(frozen)
        self.tables = tables_of(frozen)
        self.law = pairs.FrictionLaw(frozen.temperature_power, frozen.volume_power, dim)
        self.conducts = frozen.heat is not None and bool((frozen.heat != 0.0).any())
        self.x, self.v = np.zeros((n, 3)), np.zeros((n, 3))
        self.x[:, :dim], self.v[:, :dim] = start.position, start.velocity
        self.row, self.ids = np.arange(n), np.array(start.ids, dtype=np.int64)
        self.species = np.zeros(n, np.int64) if start.species is None else np.array(start.species, dtype=np.int64)
        self.mass = frozen.masses[self.species]
        self.bath = bath_of(frozen, settings, self.kB)
        self.held = settings.held
        self.free = np.ones(n) if self.held is None else 1.0 - np.asarray(self.held.rows, dtype=float)
        self.state = pairs.ParticleState(np.zeros(n), np.array(start.entropy, dtype=float),
                                          *(np.empty(n) for _ in range(4)))
        self.shear_rate = start.box.shear_rate if isinstance(start.box, LeesEdwards) else 0.0
        self.strain = start.box.strain if isinstance(start.box, LeesEdwards) else 0.0
        self.scratch, self.storage = Scratch.of(n), PairStorage(self.tables, self.exact_energy)
        self.iterations = self.solver_iterations = self.renewals = 0
        self.near = self._renewed()
        self.modes = memory.modes_of(frozen, self.tables.kind, self.dt)
        self.vectors = memory.vectors_of(start.memory, self.near.pairs, self.ids, len(frozen.memory))
        self._compute_anew()

    @property
    def space(self) -> np.ndarray:
        """The box at this moment, as the kernels take it."""
        if isinstance(self.box, LeesEdwards):
            return as_space(self.box.lengths, self.strain * self.box.lengths[0], self.box.velocity_jump)
        return as_space(self.box.lengths)

    @property
    def moment(self) -> stops.Moment:
        """For messages."""
        return stops.Moment(self.step_number, self.dt, self.ids)

    def energy(self) -> tuple[float, float]:
        """(kinetic, internal): internal is all that is not kinetic."""
        v = self.v[np.argsort(self.row)]
        if len(set(self.frozen.masses)) == 1:
            kinetic = 0.5 * float(self.frozen.masses[0]) * float((v[:, :self.dim]**2).sum())
        else:
            kinetic = 0.5 * float((self.mass[np.argsort(self.row)] * (v**2).sum(axis=1)).sum())
        internal = float(np.sort(self.state.U).sum())
        if len(self.tables.pairs):
            lists = self.near.pairs
            internal += float(np.sort(pairs.pair_energies(self.x, self.species, self.space, lists, self.tables)).sum())
        if self.modes is not None:
            internal += 0.5 * float(np.sort((self.vectors.xi[self.vectors.together]**2).sum(axis=(1, 2))).sum())
        if self.one_body is not None:
            internal += float(np.sort(one_body.energies(self.x, self.ids, self.one_body)).sum())
        return kinetic, internal

    # ---------------------------------------------------------------- neighbours

    def renew_list(self) -> None:
        """A new neighbour list at the present positions, particles sorted anew, everything at them computed."""
        old, before = self.near, self.row
        self.near = self._renewed()
        if self.modes is not None:
            known, lists = self.vectors, self.near.pairs
            self.vectors = memory.PairVectors.none(len(lists.first), len(self.frozen.memory))
            memory.carry_over(old.pairs, np.argsort(before), known.xi, known.together, lists, self.row, *self.vectors)
        self._compute_anew()

    def _compute_anew(self) -> None:
        """Arrays for the present list, filled at the present positions."""
        pairs_listed = len(self.near.pairs.first)
        self.on_pairs = self.storage.arrays(pairs_listed)
        if self.modes is not None:
            self.grip = memory.Grip(np.zeros((pairs_listed, len(self.frozen.memory), 2)), np.zeros(pairs_listed))
        self._update_geometry()
        self._evaluate_state()

    def _renewed(self) -> NeighbourList:
        """Particles in the order of their cells, and the list of their pairs."""
        space, cutoff = self.space, self.frozen.cutoff
        _, speed = _spread(self.x, self.x, self.v, self.shear_rate, 0.0)
        path = self.dt * (speed + 0.5 * abs(self.shear_rate) * cutoff)
        widest = cutoff
        if isinstance(self.box, LeesEdwards):
            # beyond half the box the nearest image of a sheared pair is not the one that `separation` finds
            widest = 0.5 * min(self.box.lengths) - cutoff
        if not 4.5 * path < widest:
            self._stop_too_fast()
        # about a dozen steps a list: longer lists cost more than they save
        skin = float(np.clip(24.0 * path, 0.05 * cutoff, 0.4 * cutoff))
        skin = min(max(skin, 4.5 * path), widest)
        order, cells, start, count = sort_by_cell(self.x, space, cutoff + skin)
        self.x, self.v, self.ids, self.row, self.free, self.species, self.mass = (
            np.ascontiguousarray(a[order])
            for a in (self.x, self.v, self.ids, self.row, self.free, self.species, self.mass))
        self.state = self.state._replace(S=np.ascontiguousarray(self.state.S[order]))
        self.renewals += 1
        return NeighbourList(neighbour_pairs(self.x, self.ids, space, cutoff + skin, cells[order], start, count),
                             self.x.copy(), skin, 0.0)

    def _update_geometry(self) -> None:
        """Geometry and densities at the present positions."""
        geometry = self.on_pairs.geometry
        pairs.update_geometry(self.x, self.species, self.space, self.near.pairs, self.tables, *geometry)
        if len(self.tables.radial):
            pairs.densities(self.near.pairs, geometry.value, self.species, self.tables, self.state.density)
        if self.frozen.temperature is not None:
            self._check_apart()

    def _evaluate_state(self) -> None:
        """Equation of state at the present densities and entropies; stops where a state has left the table."""
        pairs.equation_of_state(self.tables, *self.state)
        broken = pairs.first_broken(self.state.push)
        if broken >= 0:
            self._check_apart()
            stops.left_the_table(self.moment, broken, self.state, self.frozen)

    def _check_apart(self) -> None:
        """Stops where two particles are in one place, or positions are not finite."""
        p = pairs.first_broken(self.on_pairs.geometry.value)
        if p >= 0:
            stops.coincide(self.moment, self.near.pairs.first[p], self.near.pairs.second[p])

    def _stop_too_fast(self) -> None:
        flow = self.v.copy()
        flow[:, 1] -= self.shear_rate * self.x[:, 0]
        stops.too_fast(self.moment, np.linalg.norm(flow, axis=1), self.frozen.cutoff)

    def _check_list(self) -> None:
        """Stops if a particle moved so far in this step that the list may miss a neighbour."""
        if not self._list_holds(self.x, self.near.time):
            self._stop_too_fast()

    def _list_holds(self, x: np.ndarray, time: float) -> bool:
        """Whether the list has all neighbours of particles at x, `time` after it was made."""
        near = self.near
        moved, _ = _spread(x, near.listed, self.v, self.shear_rate, time)
        sheared = 0.5 * abs(self.shear_rate) * time * (self.frozen.cutoff + near.skin)
        return bool(moved + sheared <= 0.5 * near.skin)

    # ---------------------------------------------------------------- one step

    def step(self) -> None:
        """From t to t + dt."""
        self.step_number += 1
        if self.exact_energy:
            self._move_exactly()
        else:
            self._verlet()
        self._check_list()
        self._dissipate()

    def _verlet(self) -> None:
        self._update_body_force(self.x)
        self._kick(self.v)
        # where this step ends is known before it is made: the list need not be safe for more than that
        exact.drift(self.x, self.v, self.dt, self.scratch.image)
        if not self._list_holds(self.scratch.image, self.near.time + self.dt):
            self.renew_list()
        exact.drift(self.x, self.v, self.dt, self.x)
        target = self._target()
        if target is not None:
            self.x[self.free == 0] = target[0]
        self._arrive()
        self._update_body_force(self.x)
        self._kick(self.v)
        if target is not None:
            self.v[self.free == 0] = target[1]

    def _kick(self, v: np.ndarray) -> None:
        """Half a step of the forces, on velocities v."""
        pairs.kick(self.near.pairs, self.on_pairs.geometry, self.state.push, self.scratch.body, 0.5 * self.dt,
                   self.mass, v)

    def acceleration(self, x: np.ndarray) -> np.ndarray:
        """Conservative forces over masses at positions x (n, 3), to which all particles are moved."""
        self.x = x
        self._update_geometry()
        self._evaluate_state()
        self._update_body_force(x)
        out = np.zeros_like(x)
        pairs.kick(self.near.pairs, self.on_pairs.geometry, self.state.push, self.scratch.body, 1.0, self.mass, out)
        return out

    def _move_exactly(self) -> None:
        near = self.near
        moved, speed = _spread(self.x, near.listed, self.v, self.shear_rate, near.time)
        sheared = 0.5 * abs(self.shear_rate) * (near.time + self.dt) * (self.frozen.cutoff + near.skin)
        if not moved + sheared + 2.0 * self.dt * speed < 0.5 * near.skin:
            self.renew_list()
        secants, mean, image = self.on_pairs.secants, self.scratch.mean, self.scratch.image
        exact.stretch(self.x, self.space, self.near.pairs, secants.before)
        mean[:] = self.v
        self._update_body_force(self.x)
        self._kick(mean)
        exact.drift(self.x, self.v, 0.5 * self.dt, image)
        held, target = self.free == 0, self._target()
        if target is not None:
            mean[held] = (target[0] - self.x[held]) / self.dt
        self.strain += self.shear_rate * self.dt
        motion = exact.Motion(self.x, self.v, mean, self.scratch.body, self.free, self.mass, self.species)
        count, change = exact.exact_move(motion, self.state, secants, self.near.pairs, self.space, self.tables, self.dt,
                                         self._body_force_between(image))
        self.strain -= self.shear_rate * self.dt
        if count < 0:
            stops.did_not_settle(self.moment, "The exact conservative step", change)
        self.iterations += count
        exact.drift(self.x, mean, self.dt, self.x)
        self.v *= -1.0
        dissipation.add_to(self.v, mean, 2.0)
        if target is not None:
            self.v[held] = target[1]
        self._arrive()

    def _target(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Positions and velocities (held, 3) at the end of this step of the particles moved by hand."""
        if self.held is None:
            return None
        held = self.row[self.free == 0]
        found = np.zeros((2, len(held), 3))
        for out, given in zip(found, self.held.path(self.step_number * self.dt)):
            out[:, :self.dim] = np.asarray(given, dtype=float)[held]
        return found[0], found[1]

    def _arrive(self) -> None:
        """The box and everything that depends on positions, after these have moved."""
        self.strain += self.shear_rate * self.dt
        self.near = replace(self.near, time=self.near.time + self.dt)
        self._update_geometry()
        self._evaluate_state()

    def _update_body_force(self, at: np.ndarray) -> None:
        """Force on single particles at positions (n, 3)."""
        body = self.scratch.body
        if len(self.waves[2]):
            _body_force(at, *self.waves, body)
        if self.one_body is not None:
            if not len(self.waves[2]):
                body[:] = 0.0
            one_body.add_force(at, self.ids, self.one_body, body)

    def _body_force_between(self, middle: np.ndarray) -> Callable[[np.ndarray], None] | None:
        """Sets the body force to that of the waves half-way, and returns what adds the mean of the potentials to it.

        The function takes the positions after the step; None: there are no potentials of single particles.
        """
        body, parts = self.scratch.body, self.one_body
        if len(self.waves[2]):
            _body_force(middle, *self.waves, body)
        if parts is None:
            return None
        waves = body.copy() if len(self.waves[2]) else np.zeros_like(body)

        def update(after: np.ndarray) -> None:
            body[:] = waves
            one_body.add_mean_force(self.x, after, self.ids, parts, body)

        return update

    def _dissipate(self) -> None:
        lists = self.near.pairs
        geometry, exchange = self.on_pairs.geometry, self.on_pairs.exchange
        noise = pairs.StepNoise(self.dt, self.kB, self.seed, self.step_number)
        self.update_exchange(noise)
        before = self._take_hold(noise)
        scratch = self.scratch
        count = dissipation.exchange_momentum(
            lists, geometry, exchange, self.v, self.space[JUMP], (self.mass, self.free), self.settings.tolerance,
            (scratch.residual, scratch.mean, scratch.direction, scratch.image), self.on_pairs.scratch,
            self.on_pairs.work)
        if count < 0:
            stops.did_not_settle(self.moment, "The friction of the step", np.abs(scratch.residual).max(axis=1))
        self.solver_iterations += count
        self._move_memory_on(before, noise)
        self._take_heat()
        if self.bath is not None:
            dissipation.bath(self.v, self.ids, self.species, self.free, self.dim, *self.bath, noise)

    def update_exchange(self, noise: pairs.StepNoise) -> None:
        """Friction and noise of all pairs; nothing where the model has neither."""
        lists, geometry, exchange = self.near.pairs, self.on_pairs.geometry, self.on_pairs.exchange
        if len(geometry.radial):
            pairs.friction_and_noise(lists, geometry, self.state, self.ids, self.law, noise, *exchange)
        if self.storage.bound:
            pairs.own_friction_and_noise(lists, geometry, self.state, self.ids, self.dim, noise, exchange.friction,
                                         exchange.impulse)
        elif not len(geometry.radial):
            exchange.friction[:] = exchange.impulse[:] = 0.0

    def _take_hold(self, noise: pairs.StepNoise) -> np.ndarray:
        """Memory of the pairs put into friction and impulses of the step; returns the velocities before it."""
        if self.modes is None:
            return self.v
        exchange, vectors = self.on_pairs.exchange, self.vectors
        memory.take_hold(self.near.pairs, self.on_pairs.geometry.e, self.x, self.space, self.species, self.ids,
                         self.dim, self.modes, noise, vectors.together, vectors.xi, *self.grip, exchange.friction,
                         exchange.impulse)
        return self.v.copy()

    def _move_memory_on(self, before: np.ndarray, noise: pairs.StepNoise) -> None:
        """Memory of the pairs after the step, from the velocities before it and now."""
        if self.modes is not None:
            memory.move_on(self.near.pairs, self.on_pairs.geometry, self.ids, before, self.v, self.space[JUMP],
                           self.dim, self.modes, noise, *self.grip, self.vectors.together, self.vectors.xi,
                           self.on_pairs.work)

    def remembered(self) -> PairMemory | None:
        """What the pairs remember; None in a model without memory."""
        if self.modes is None:
            return None
        return memory.remembered(self.vectors, self.near.pairs, self.ids, self.dim)

    def _take_heat(self) -> None:
        """Heat of friction and conduction into the particles."""
        lists, state, exchange, columns = self.near.pairs, self.state, self.on_pairs.exchange, self.scratch.columns
        if self.conducts:
            dissipation.relaxation(lists, exchange.conduction, state.T, state.softness, self.scratch.relax)
            dissipation.heat_flows(lists, exchange.conduction, state.T, state.softness, self.scratch.relax,
                                   self.frozen.temperature_power, self.kB, exchange.heat)
            count = dissipation.conduct(lists, exchange.conduction, exchange.heat, state.softness * self.free,
                                        self.settings.tolerance, columns)
            if count < 0:
                stops.did_not_settle(self.moment, "The conduction of the step", columns[0][:, 0])
        dissipation.take_heat(lists, self.tables, self.on_pairs.work, exchange.heat, self.free, state.density, state.U,
                              state.S)
        broken = pairs.first_broken(state.S)
        if broken >= 0:
            stops.no_entropy(self.moment, broken, state, self.frozen)
        self._evaluate_state()


def bath_of(frozen: FrozenFluid, settings: FluidRollout, kB: float) -> tuple[np.ndarray, np.ndarray] | None:
    """(keep, kick), (species,) each: v = keep v + kick ξ is one step in the model's own bath and that of the settings.

    Two baths are one: their frictions add, and so does the strength γ T of their noises.
    """
    keep, kick = np.ones(frozen.species), np.zeros(frozen.species)
    own = np.zeros(frozen.species) if frozen.drag is None else np.asarray(frozen.drag, dtype=float)
    own_temperature = frozen.drag_temperature if frozen.drag_temperature is not None else (frozen.temperature or 0.0)
    for k, mass in enumerate(frozen.masses):
        drag, temperature = settings.bath_friction, settings.bath_temperature
        if own[k] > 0.0:
            temperature = (drag * temperature + own[k] * own_temperature) / (drag + own[k])
            drag += own[k]
        keep[k] = np.exp(-drag * settings.dt / mass)
        kick[k] = np.sqrt(kB * temperature / mass * (1.0 - keep[k] * keep[k]))
    return (keep, kick) if (keep < 1.0).any() else None


def _waves_of(settings: FluidRollout, dim: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Amplitudes and wave vectors (modes, 3), phases (modes,) of the body force."""
    amplitude, wave = np.zeros((len(settings.force), 3)), np.zeros((len(settings.force), 3))
    for k, mode in enumerate(settings.force):
        amplitude[k, :dim], wave[k, :dim] = mode.amplitude, mode.wave
    return amplitude, wave, np.array([mode.phase for mode in settings.force], dtype=float)
