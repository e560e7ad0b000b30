"""The whole step and the loop around it; the method is stated in the package's docstring."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from vid2dyn.core.errors import ModelError
from vid2dyn.core.pair_noise import pair_normals
from vid2dyn.core.progress import Progress, silent
from vid2dyn.data.box import Box
from vid2dyn.dynamics.fluid.sdpd import Fluid, Pairs
from vid2dyn.dynamics.snapshot import Snapshot
from vid2dyn.dynamics.terms.equations_of_state import Thermo
from vid2dyn.rollout.steps.conservative import HeldVelocity, SecantForce, exact_move
from vid2dyn.rollout.steps.dissipative import Dissipation
from vid2dyn.rollout.steps.forcing import Bath, BodyForce, Prescribed
from vid2dyn.rollout.steps.pair_list import PairList


@dataclass(frozen=True)
class FluidState:
    """A fluid at one moment, with what its next step would compute again.

    Parameters
    ----------
    position, velocity, entropy : (n, dim), (n, dim), (n,) tensors
        Positions are not wrapped.
    box : Box
    step : int
        Number of the step, which keys the noise.
    time : float
    heat : float
        Energy taken from the bath so far.
    names : (n,) int array
        What the noise of a particle is keyed on: `Snapshot.index`, or the rows.
    near, pairs, density, thermo
        Neighbours, their geometry, densities and thermodynamics at this state.
    """

    position: torch.Tensor
    velocity: torch.Tensor
    entropy: torch.Tensor
    box: Box
    step: int
    time: float
    heat: float
    names: np.ndarray
    near: PairList
    pairs: Pairs
    density: torch.Tensor
    thermo: Thermo

    def energy(self, mass: float) -> float:
        """Internal and kinetic energy."""
        return float(self.thermo.U.sum() + 0.5 * mass * (self.velocity * self.velocity).sum())

    def snapshot(self) -> Snapshot:
        """The same state as nodes and pairs."""
        pairs = torch.stack([self.pairs.first, self.pairs.second], 1)
        names = torch.as_tensor(self.names, device=self.position.device)
        return Snapshot(self.position, pairs, self.box, names, self.velocity, self.entropy)


@dataclass(frozen=True)
class FluidStepper:
    """Steps of a fluid.

    Parameters
    ----------
    fluid : Fluid
        Functions, float64.
    dt : float
        Time step.
    conservative : {"verlet", "exact"}
        The reversible half: cheap and good to dt², or energy to rounding.
    seed : int
        Of the noise; same seed, same trajectory, for any order of the particles up to rounding.
    kB : float
        1; 0 switches off noise and fluctuation terms together.
    body, bath, prescribed
        Forcing; see `vid2dyn.rollout.steps.forcing`.

    Raises
    ------
    ModelError
        In `start`: a state that cannot be stepped. In `step`: with the number of the step, the particle, the remedy.

    Examples
    --------
    >>> gas = Fluid.ideal_gas(cutoff=1.0, mass=1.0, heat_capacity=15.0, molecules=10.0, dim=2)
    >>> x = torch.tensor([[0.0, 0.0], [0.5, 0.0]], dtype=torch.float64)
    >>> state = Snapshot.of(x, 1.0, velocity=torch.zeros_like(x), entropy=torch.zeros(2, dtype=torch.float64))
    >>> stepper = FluidStepper(gas, dt=1e-3, conservative="exact")
    >>> before = stepper.start(state)
    >>> after = stepper.step(before)
    >>> abs(after.energy(1.0) / before.energy(1.0) - 1) < 1e-14
    True
    """

    fluid: Fluid
    dt: float
    conservative: Literal["verlet", "exact"] = "verlet"
    seed: int = 0
    kB: float = 1.0
    body: BodyForce | None = None
    bath: Bath | None = None
    prescribed: Prescribed | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.dt) and self.dt > 0):
            raise ModelError(f"dt = {self.dt!r} must be a positive time.")
        if self.conservative not in ("verlet", "exact"):
            raise ModelError(f"conservative = {self.conservative!r}; choose 'verlet' or 'exact'.")
        if self.kB not in (0, 1):
            raise ModelError(f"kB = {self.kB!r}: entropy is counted in kB, so 1, or 0 to switch fluctuations off.")

    # ---------------------------------------------------------------- the door

    @torch.no_grad()
    def start(self, snapshot: Snapshot, *, step: int = 0, time: float = 0.0) -> FluidState:
        """The state of a snapshot with velocities and entropies, checked."""
        x, v, S = (snapshot.column(name).detach().double() for name in ("position", "velocity", "entropy"))
        if x.shape[1] != self.fluid.dim:
            raise ModelError(f"The fluid lives in {self.fluid.dim} dimensions, the positions in {x.shape[1]}.")
        for name, value in (("position", x), ("velocity", v), ("entropy", S)):
            bad = ~torch.isfinite(value.reshape(len(x), -1)).all(1)
            if bool(bad.any()):
                raise ModelError(f"Start: the {name} of particle {int(torch.nonzero(bad)[0])} is not a finite number.")
        try:
            near = PairList.of(x, self.fluid.cutoff, snapshot.box, reach=self._reach(v))
            pairs = near.near(x, snapshot.box)
        except ModelError as error:
            raise ModelError(f"Start: {error}") from None
        density = self._density(pairs, x)
        thermo = self.fluid.eos(S, 1.0 / density)
        cold = ~(thermo.T > 0) | ~torch.isfinite(thermo.U) | ~torch.isfinite(thermo.P)
        if bool(cold.any()):
            k = int(torch.nonzero(cold)[0])
            raise ModelError(f"Start: particle {k} has temperature {float(thermo.T[k]):.3g} at entropy "
                             f"{float(S[k]):.4g} and volume {float(1 / density[k]):.4g}; it must be positive and "
                             "finite. Choose entropies in the range of the equation of state.")
        names = np.arange(len(x)) if snapshot.index is None else snapshot.index.cpu().numpy()
        return FluidState(x, v, S, snapshot.box, step, time, 0.0, names, near, pairs, density, thermo)

    # ---------------------------------------------------------------- one step

    @torch.no_grad()
    def step(self, state: FluidState) -> FluidState:
        """The state a time dt later."""
        try:
            moved = self._move(state)
            after = self._apply_bath(self._dissipate(moved))
        except ModelError as error:
            raise ModelError(f"Step {state.step + 1} (t = {state.time + self.dt:.6g}): {error}") from None
        for name, value in (("velocity", after.velocity), ("entropy", after.entropy), ("pressure", after.thermo.P)):
            bad = ~torch.isfinite(value.reshape(len(value), -1)).all(1)
            if bool(bad.any()):
                raise ModelError(f"Step {after.step}: the {name} of particle {int(torch.nonzero(bad)[0])} left the "
                                 f"numbers. Take a smaller dt (now {self.dt:g}).")
        return after

    def run(self, state: FluidState, steps: int, *, every: int = 1,
            progress: Progress = silent) -> Iterator[FluidState]:
        """The states after every `every` steps."""
        for k in range(1, steps + 1):
            state = self.step(state)
            if k % every == 0:
                progress(k, steps, "rollout")
                yield state

    # ---------------------------------------------------------------- its halves

    def _move(self, state: FluidState) -> FluidState:
        """(a): positions, velocities and the box a time dt later, entropies fixed."""
        x, v, S, m = state.position, state.velocity, state.entropy, float(self.fluid.mass)
        self._check_stride(v)
        reach = self._reach(v)
        later, held = state.box.after(self.dt), self.prescribed
        near = state.near
        if later is not state.box or not near.covers(x, reach=reach):
            near = PairList.of(x, self.fluid.cutoff, state.box, reach=2 * reach)
        force = self.fluid.pressure_forces(state.pairs, state.density, state.thermo.P, x)
        target = None if held is None else held.path(state.time + self.dt)
        if self.conservative == "verlet":
            v = v + (0.5 * self.dt / m) * (force + self._body_force(x, state.time))
            x = self._with_held(x + self.dt * v, target, 0)
        else:
            push = self._body_force(x + 0.5 * self.dt * v, state.time + 0.5 * self.dt)
            secant = SecantForce(self.fluid, near, x, S, state.density, state.thermo.U, state.box, later)
            given = None
            if held is not None and target is not None:
                given = HeldVelocity(held.held, (target[0].to(x) - x) / self.dt)
            x, v, _ = exact_move(lambda end: secant(end) + push, x, v, force + push, self.dt, m, held=given,
                                 floor=1e-13 * self.fluid.cutoff / self.dt)
        if later is not state.box or not near.covers(x):
            if self.conservative == "exact" and later is state.box:
                raise ModelError("particles went further in one step than their neighbour list reaches. "
                                 f"Take a smaller dt (now {self.dt:g}).")
            near = PairList.of(x, self.fluid.cutoff, later, reach=reach)
        pairs = near.near(x, later)
        density = self._density(pairs, x)
        thermo = self.fluid.eos(S, 1.0 / density)
        if self.conservative == "verlet":
            force = self.fluid.pressure_forces(pairs, density, thermo.P, x)
            v = v + (0.5 * self.dt / m) * (force + self._body_force(x, state.time + self.dt))
        v = self._with_held(v, target, 1)
        return dataclasses.replace(state, position=x, velocity=v, box=later, step=state.step + 1,
                                   time=state.time + self.dt, near=near, pairs=pairs, density=density, thermo=thermo)

    def _dissipate(self, state: FluidState) -> FluidState:
        """(b), (c), (d): friction, noise, conduction, and the entropies that go with the heat."""
        pairs, thermo = state.pairs, state.thermo
        if not bool((thermo.T > 0).all()):
            k = int(torch.nonzero(~(thermo.T > 0))[0])
            raise ModelError(f"particle {k} has temperature {float(thermo.T[k]):.3g}, which is not positive. Take a "
                             f"smaller dt (now {self.dt:g}).")
        part = Dissipation(self.fluid, pairs, thermo, self.fluid.coefficients(pairs, thermo, state.density), self.kB,
                           None if self.prescribed is None else self.prescribed.held)
        normals = part.noise(self.seed, state.step, state.names) if self.kB else None
        x, v = state.position, state.velocity
        i, j = pairs.first, pairs.second
        velocity, heat = part.apply_friction(v, state.box.relative_velocity(x[i], x[j], v[i], v[j]), self.dt, normals)
        energy = thermo.U + part.free(heat + part.conduct(self.dt, normals))
        volume = 1.0 / state.density
        entropy = self.fluid.eos.entropy(energy, volume, state.entropy)
        if self.prescribed is not None:
            entropy = torch.where(self.prescribed.held, state.entropy, entropy)
        return dataclasses.replace(state, velocity=velocity, entropy=entropy, thermo=self.fluid.eos(entropy, volume))

    def _apply_bath(self, state: FluidState) -> FluidState:
        """(e): the substrate."""
        if self.bath is None:
            return state
        v, m = state.velocity, float(self.fluid.mass)
        draw = pair_normals(self.seed, state.step, state.names, state.names, channels=v.shape[1])
        normals = torch.as_tensor(draw).to(v)
        new = self.bath.apply(v, m, self.dt, self.kB, normals)
        if self.prescribed is not None:
            new = torch.where(self.prescribed.held[:, None], v, new)
        heat = float(0.5 * m * (new * new - v * v).sum())
        return dataclasses.replace(state, velocity=new, heat=state.heat + heat)

    # ---------------------------------------------------------------- helpers

    def _density(self, pairs: Pairs, x: torch.Tensor) -> torch.Tensor:
        w = self.fluid.kernel.value(pairs.r)
        return self.fluid.kernel.at_zero() + pairs.sum(w, w, x[:, 0])

    def _body_force(self, x: torch.Tensor, time: float) -> torch.Tensor:
        return torch.zeros_like(x) if self.body is None else self.body(x, time)

    def _with_held(self, value: torch.Tensor, target: tuple[torch.Tensor, torch.Tensor] | None,
                which: int) -> torch.Tensor:
        if self.prescribed is None or target is None:
            return value
        return torch.where(self.prescribed.held[:, None], target[which].to(value), value)

    def _reach(self, v: torch.Tensor) -> float:
        """How far the fastest particle may go in one step, with half as much again to spare."""
        return 1.5 * self.dt * float(v.square().sum(1).max().sqrt()) if len(v) else 0.0

    def _check_stride(self, v: torch.Tensor) -> None:
        if len(v):
            speed = v.square().sum(1).sqrt()
            k = int(torch.argmax(speed))
            if not float(speed[k]) * self.dt < 0.5 * self.fluid.cutoff:
                raise ModelError(f"particle {k} would go {float(speed[k]) * self.dt:.3g} in one step, more than half "
                                 f"of the cutoff {self.fluid.cutoff:g}. Take a smaller dt (now {self.dt:g}).")
