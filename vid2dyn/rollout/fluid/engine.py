"""The compiled fluid as one object: its arrays, its neighbour list, one step. Drives the kernels of `_fluid_*`.

One step from t to t + dt:

    conservative   Verlet (kick, drift, kick) or the exact discrete gradient, entropies fixed
    dissipative    friction and noise by Crank-Nicolson, conduction, entropies from the energies; then the bath

The list holds pairs up to cutoff + skin and is renewed before a step that could carry a particle over half the skin.
Because sums follow the ids and pairs beyond the cutoff add exact zeros, the moment of renewal changes no bit.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba import njit, prange

from vid2dyn.data.box import Box, LeesEdwards
from vid2dyn.dynamics.fluid.frozen import FrozenFluid
from vid2dyn.rollout.fluid import exact, pairs, stops
from vid2dyn.rollout.fluid import friction as dissipation
from vid2dyn.rollout.fluid.lists import Pairs, as_space, neighbour_pairs, sort_by_cell
from vid2dyn.rollout.fluid.tables import eos_table, radial_table

Path = Callable[[float], tuple[np.ndarray, np.ndarray]]


@njit(cache=True, error_model="numpy")
def _spread(x, listed, v, rate, time):  # type: ignore[no-untyped-def]
    """(largest distance from where the list was made, largest speed), both beside the mean flow of a sheared box."""
    moved, speed = 0.0, 0.0
    for i in range(len(x)):
        dx, dz = x[i, 0] - listed[i, 0], x[i, 2] - listed[i, 2]
        dy = x[i, 1] - listed[i, 1] - rate * time * listed[i, 0]
        moved = max(moved, dx * dx + dy * dy + dz * dz)
        wy = v[i, 1] - rate * x[i, 0]
        speed = max(speed, v[i, 0] * v[i, 0] + wy * wy + v[i, 2] * v[i, 2])
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


class Engine:
    """Arrays and one step of a frozen fluid; see `vid2dyn.rollout.fluid.paths` for the arguments, all checked there.

    Particles are kept in the order of their cells; `ids` says who is who. Positions are (n, 3), never wrapped.
    """

    def __init__(self, frozen: FrozenFluid, box: Box, position: np.ndarray, velocity: np.ndarray, entropy: np.ndarray,
                 ids: np.ndarray, *, dt: float, exact_energy: bool, tolerance: float, kB: float, seed: int, step: int,
                 bath: tuple[float, float], modes: tuple[np.ndarray, np.ndarray, np.ndarray],
                 held: np.ndarray | None = None, path: Path | None = None) -> None:
        n, dim = position.shape
        self.frozen, self.box, self.dt, self.dim, self.exact_energy = frozen, box, dt, dim, exact_energy
        self.tolerance, self.kB, self.seed, self.step_number = tolerance, kB, seed, step
        self.bath, self.modes = bath, modes
        self.table, (self.nodes, self.grid) = radial_table(frozen), eos_table(frozen)
        self.powers = np.array([frozen.temperature_power, frozen.volume_power])
        self.x, self.v = np.zeros((n, 3)), np.zeros((n, 3))
        self.x[:, :dim], self.v[:, :dim] = position, velocity
        self.row = np.arange(n)
        self.free, self.path = np.ones(n) if held is None else 1.0 - held, path
        self.S, self.ids = np.array(entropy, dtype=float), np.array(ids, dtype=np.int64)
        self.shear_rate = box.shear_rate if isinstance(box, LeesEdwards) else 0.0
        self.strain = box.strain if isinstance(box, LeesEdwards) else 0.0
        self.density, self.U, self.T, self.softness, self.push = (np.empty(n) for _ in range(5))
        self.relax, self.new_density, self.change = (np.empty(n) for _ in range(3))
        self.body, self.mean, self.residual, self.direction, self.image = (np.zeros((n, 3)) for _ in range(5))
        self.columns, self.conducts = np.empty((4, n, 1)), bool((frozen.heat != 0.0).any())
        self.iterations = self.solver_iterations = self.renewals = 0
        self.relist()

    @property
    def space(self) -> np.ndarray:
        """The box at this moment, as the kernels take it."""
        if isinstance(self.box, LeesEdwards):
            return as_space(self.box.lengths, self.strain * self.box.lengths[0], self.box.velocity_jump)
        return as_space(self.box.lengths)

    # ---------------------------------------------------------------- neighbours

    def relist(self) -> None:
        """A new neighbour list at the present positions, particles sorted anew, everything at them computed."""
        space, cutoff = self.space, self.frozen.cutoff
        self.listed, self.since = self.x, 0.0
        _, speed = _spread(self.x, self.x, self.v, self.shear_rate, 0.0)
        path = self.dt * (speed + 0.5 * abs(self.shear_rate) * cutoff)
        widest = cutoff
        if isinstance(self.box, LeesEdwards):
            # beyond half the box the nearest image of a sheared pair is not the one that `separation` finds
            widest = 0.5 * min(self.box.lengths) - cutoff
        if not 4.5 * path < widest:
            stops.too_fast(self, path)
        # about a dozen steps a list: longer lists cost more than they save
        self.skin = float(np.clip(24.0 * path, 0.05 * cutoff, 0.4 * cutoff))
        self.skin = min(max(self.skin, 4.5 * path), widest)
        order, cells, start, count = sort_by_cell(self.x, space, cutoff + self.skin)
        for name in ("x", "v", "S", "ids", "row", "free"):
            setattr(self, name, np.ascontiguousarray(getattr(self, name)[order]))
        self.listed = self.x.copy()
        self.lists: Pairs = neighbour_pairs(self.x, self.ids, space, cutoff + self.skin, cells[order], start, count)
        self._room(len(self.lists[1]))
        self.renewals += 1
        self._look()
        self._feel()

    def _room(self, wanted: int) -> None:
        """Arrays of the pairs, kept as long as they are large enough."""
        if wanted > getattr(self, "capacity", -1):
            self.capacity = capacity = wanted + wanted // 8
            vectors, numbers = (6 if self.exact_energy else 4), (7 if self.exact_energy else 6)
            self.vectors = [np.empty((capacity, 3)) for _ in range(vectors)]
            self.numbers = [np.empty(capacity) for _ in range(numbers)]
            self.frictions = np.empty((capacity, 2))
        self.e, self.radial, self.impulse, self.scratch, *exact_vectors = (a[:wanted] for a in self.vectors)
        self.value, self.slope, self.turns, self.conduction, self.heat, self.work, *chord = (
            a[:wanted] for a in self.numbers)
        self.friction = self.frictions[:wanted]
        if self.exact_energy:
            self.before, self.middle, self.chord = *exact_vectors, *chord

    def _look(self) -> None:
        """Geometry and densities at the present positions."""
        pairs.geometry(self.x, self.space, self.lists, self.table, self.frozen.cutoff, self.e, self.value, self.slope,
                       self.radial, self.turns)
        pairs.densities(self.lists, self.value, self.table[0, 0], self.density)

    def _feel(self) -> None:
        """Equation of state at the present densities and entropies; stops where a state has left the table."""
        pairs.equation_of_state(self.nodes, self.grid, self.density, self.S, self.U, self.T, self.softness, self.push)
        broken = pairs.first_broken(self.push)
        if broken >= 0:
            stops.left_the_table(self, broken)

    def _check_list(self) -> None:
        """Stops if a particle moved so far in this step that the list may miss a neighbour."""
        moved, _ = _spread(self.x, self.listed, self.v, self.shear_rate, self.since)
        sheared = 0.5 * abs(self.shear_rate) * self.since * (self.frozen.cutoff + self.skin)
        if not moved + sheared <= 0.5 * self.skin:
            stops.too_fast(self, moved)

    # ---------------------------------------------------------------- one step

    def step(self) -> None:
        """From t to t + dt."""
        self.step_number += 1
        moved, speed = _spread(self.x, self.listed, self.v, self.shear_rate, self.since)
        sheared = 0.5 * abs(self.shear_rate) * (self.since + self.dt) * (self.frozen.cutoff + self.skin)
        if not moved + sheared + 2.0 * self.dt * speed < 0.5 * self.skin:
            self.relist()
        if self.exact_energy:
            self._move_exactly()
        else:
            self._verlet()
        self._check_list()
        self._dissipate()

    def _verlet(self) -> None:
        half = 0.5 * self.dt / self.frozen.mass
        self._push()
        pairs.kick(self.lists, self.e, self.slope, self.push, self.body, half, self.v)
        exact.drift(self.x, self.v, self.dt, self.x)
        target = self._target()
        if target is not None:
            self.x[self.free == 0] = target[0]
        self._arrive()
        self._push()
        pairs.kick(self.lists, self.e, self.slope, self.push, self.body, half, self.v)
        if target is not None:
            self.v[self.free == 0] = target[1]

    def _move_exactly(self) -> None:
        exact.stretch(self.x, self.space, self.lists, self.before)
        self.mean[:] = self.v
        half = 0.5 * self.dt / self.frozen.mass
        self._push()
        pairs.kick(self.lists, self.e, self.slope, self.push, self.body, half, self.mean)
        exact.drift(self.x, self.v, 0.5 * self.dt, self.image)
        self._push(self.image)
        held, target = self.free == 0, self._target()
        if target is not None:
            self.mean[held] = (target[0] - self.x[held]) / self.dt
        self.strain += self.shear_rate * self.dt
        count = exact.exact_move(
            self.x, self.v, self.mean, self.before, self.space, self.lists, self.table, self.frozen.cutoff, self.nodes,
            self.grid, self.S, self.density, self.U, self.push, self.body, self.free, half, self.dt,
            (self.image, self.new_density, self.change, self.middle, self.chord, self.work))
        self.strain -= self.shear_rate * self.dt
        if count < 0:
            stops.did_not_settle(self, "The exact conservative step", self.change)
        self.iterations += count
        exact.drift(self.x, self.mean, self.dt, self.x)
        self.v *= -1.0
        dissipation.add_to(self.v, self.mean, 2.0)
        if target is not None:
            self.v[held] = target[1]
        self._arrive()

    def _target(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Positions and velocities (held, 3) at the end of this step of the particles moved by hand."""
        if self.path is None:
            return None
        held = self.row[self.free == 0]
        found = np.zeros((2, len(held), 3))
        for out, given in zip(found, self.path(self.step_number * self.dt)):
            out[:, :self.dim] = np.asarray(given, dtype=float)[held]
        return found[0], found[1]

    def _arrive(self) -> None:
        """The box and everything that depends on positions, after these have moved."""
        self.strain += self.shear_rate * self.dt
        self.since += self.dt
        self._look()
        self._feel()

    def _push(self, at: np.ndarray | None = None) -> None:
        """Body force at the present positions, or at others."""
        if len(self.modes[2]):
            _body_force(self.x if at is None else at, *self.modes, self.body)

    def _dissipate(self) -> None:
        mass, jump, lists = self.frozen.mass, self.space[7], self.lists
        pairs.friction_and_noise(lists, self.e, self.radial, self.ids, self.density, self.T, self.softness, self.powers,
                                 self.dim, self.dt, self.kB, self.seed, self.step_number, self.friction, self.impulse,
                                 self.conduction, self.heat)
        # the change of velocity, not the velocity, is solved for: a common motion costs no digits
        pairs.rub(lists, self.e, self.friction, self.v, self.turns, jump, self.scratch)
        dissipation.subtract(self.impulse, self.scratch, self.scratch)
        pairs.gather(lists, self.scratch, self.free, self.residual)
        count = dissipation.solve(lists, self.e, self.friction, self.free, mass, self.tolerance, self.residual,
                                  self.mean, self.direction, self.image)
        if count < 0:
            stops.did_not_settle(self, "The friction of the step", np.abs(self.residual).max(axis=1))
        self.solver_iterations += count
        dissipation.add_to(self.mean, self.v, 1.0)
        pairs.rub(lists, self.e, self.friction, self.mean, self.turns, jump, self.scratch)
        dissipation.subtract(self.impulse, self.scratch, self.impulse)
        pairs.gather(lists, self.impulse, self.free, self.residual)
        dissipation.add_to(self.v, self.residual, 0.5 / mass)            # now the mean of before and after
        dissipation.pair_work(lists, self.impulse, self.v, self.turns, jump, self.work)
        dissipation.add_to(self.v, self.residual, 0.5 / mass)
        self._warm()
        if self.bath[0] > 0.0:
            keep = np.exp(-self.bath[0] * self.dt / mass)
            kick = np.sqrt(self.kB * self.bath[1] / mass * (1.0 - keep * keep))
            dissipation.bath(self.v, self.ids, self.free, self.dim, keep, kick, self.seed, self.step_number)

    def _warm(self) -> None:
        """Heat of friction and conduction into the particles."""
        if self.conducts:
            dissipation.relaxation(self.lists, self.conduction, self.T, self.softness, self.relax)
            dissipation.heat_flows(self.lists, self.conduction, self.T, self.softness, self.relax,
                                   self.frozen.temperature_power, self.kB, self.heat)
            count = dissipation.conduct(self.lists, self.conduction, self.heat, self.softness * self.free,
                                        self.tolerance, self.columns)
            if count < 0:
                stops.did_not_settle(self, "The conduction of the step", self.columns[0][:, 0])
        dissipation.take_heat(self.lists, self.work, self.heat, self.free, self.nodes, self.grid, self.density, self.U,
                              self.S)
        broken = pairs.first_broken(self.S)
        if broken >= 0:
            stops.no_entropy(self, broken)
        self._feel()
