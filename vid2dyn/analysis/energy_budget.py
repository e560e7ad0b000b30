"""Thermodynamic budget of particles with velocity and entropy: energy, entropy, momentum, frame by frame.

The fluid that turns entropies into energies is any object with the members of `FluidFunctions`: a simulator that knows
the truth, or a fitted model. Only sums over recorded states are taken, so data and rollout are judged by the same code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from vid2dyn.analysis.space import box_at, close_pairs, frames_of, recorded_velocities
from vid2dyn.core.errors import DataError
from vid2dyn.core.showing import ProgressLike, showing
from vid2dyn.data.box import Box
from vid2dyn.data.trajectories import Trajectories


class FluidFunctions(Protocol):
    """What the budget has to know of a fluid: d_i = sum_j W(r_ij) + W(0), V = 1/d, U(S, V), T = dU/dS, P = -dU/dV.

    The pair coefficients give the friction dv_i = -(1/2m) sum_j (1/T_i + 1/T_j) K v_ij dt with
    K = A²/2 (I + e e) + (B² - A²)/dim e e; only `stress` asks for them.
    """

    @property
    def mass(self) -> float:
        """Of a particle."""

    @property
    def cutoff(self) -> float:
        """Range of kernel and pair coefficients [µm]."""

    def kernel(self, r: Any) -> Any:
        """W(r) [1/µm^dim]."""

    def kernel_slope(self, r: Any) -> Any:
        """dW/dr [1/µm^(dim + 1)]."""

    def internal_energy(self, S: Any, V: Any) -> Any:
        """U(S, V) [energy]."""

    def temperature(self, S: Any, V: Any) -> Any:
        """T(S, V) [energy/kB]."""

    def pressure(self, S: Any, V: Any) -> Any:
        """P(S, V) [energy/µm^dim]."""

    def pair_coefficients(self, r: Any, T_i: Any, T_j: Any, d_i: Any, d_j: Any) -> tuple[Any, Any, Any]:
        """A², B², C² of pairs."""


@dataclass(frozen=True, eq=False)
class Thermodynamics:
    """Sums and means over the particles in each frame.

    Parameters
    ----------
    time : (T,) array
        [s]
    kinetic, internal, entropy : (T,) arrays
        sum m v²/2 relative to the flow of a sheared box, sum U_i [energy], sum S_i [kB].
    momentum : (T, dim) array
        sum m v_i, relative to the flow of a sheared box.
    kinetic_temperature : (T,) array
        2 K/(dim (N - 1)): the momentum is fixed [energy].
    temperature, pressure, density : (T,) arrays
        Means over the particles of T_i, P_i, d_i.
    number : (T,) int array
        Particles.
    """

    time: np.ndarray
    kinetic: np.ndarray
    internal: np.ndarray
    entropy: np.ndarray
    momentum: np.ndarray
    kinetic_temperature: np.ndarray
    temperature: np.ndarray
    pressure: np.ndarray
    density: np.ndarray
    number: np.ndarray

    @property
    def energy(self) -> np.ndarray:
        """(T,) kinetic and internal energy together."""
        return self.kinetic + self.internal

    @property
    def energy_drift(self) -> float:
        """Largest change of the energy since the first frame, over N kT."""
        change = np.abs(self.energy - self.energy[0])
        return float((change / (self.number * self.temperature)).max())

    @property
    def entropy_production(self) -> np.ndarray:
        """(T - 1,) d(sum S)/dt between frames [kB/s]; negative now and then where there is noise."""
        return np.diff(self.entropy) / np.diff(self.time)

    def to_dict(self) -> dict[str, object]:
        """Plain lists, for JSON."""
        return {"time_s": self.time.tolist(), "kinetic": self.kinetic.tolist(), "internal": self.internal.tolist(),
                "entropy_kB": self.entropy.tolist(), "momentum": self.momentum.tolist(),
                "kinetic_temperature": self.kinetic_temperature.tolist(), "temperature": self.temperature.tolist(),
                "pressure": self.pressure.tolist(), "density": self.density.tolist()}


@dataclass(frozen=True, eq=False)
class State:
    """One frame: pairs i, j nearer than the cutoff with distance r and unit vector e from j to i, and what follows.

    x, v are (n, dim), v relative to a sheared box's flow; S, d, T (n,); box that of the frame.
    """

    frame: int
    box: Box
    x: np.ndarray
    v: np.ndarray
    S: np.ndarray
    d: np.ndarray
    T: np.ndarray
    i: np.ndarray
    j: np.ndarray
    r: np.ndarray
    e: np.ndarray


def states(tracks: Trajectories, fluid: FluidFunctions, every: int, what: str):  # type: ignore[no-untyped-def]
    """The `State` of every `every`-th frame; checks that the table has what it takes."""
    entropy = tracks.entropy
    if entropy is None:
        raise DataError(f"{what} needs the entropy of the particles (column entropy), which a simulation or a rollout "
                        "of a fluid carries; take energies of other tracks from their model.")
    velocity, position = recorded_velocities(tracks, what), tracks.positions
    for k, (frame, rows) in enumerate(frames_of(tracks)):
        if k % every:
            continue
        x, S, box = position[rows], entropy[rows], box_at(tracks, frame)
        i, j = close_pairs(x, box, fluid.cutoff)
        vector = box.displacement(x[i], x[j])
        r = np.linalg.norm(vector, axis=1)
        w = np.asarray(fluid.kernel(r))
        d = np.bincount(i, w, len(x)) + np.bincount(j, w, len(x)) + float(fluid.kernel(0.0))
        yield State(frame, box, x, velocity[rows], S, d, np.asarray(fluid.temperature(S, 1 / d)), i, j, r,
                    vector / np.maximum(r, 1e-300)[:, None])


def thermodynamics(tracks: Trajectories, fluid: FluidFunctions, every: int = 1,
                   progress: ProgressLike = None) -> Thermodynamics:
    """Energy, entropy, momentum, temperatures and pressure of every `every`-th frame.

    Parameters
    ----------
    tracks : Trajectories
        With velocities and entropies.
    fluid : FluidFunctions
        For example ``vd.simulators.SDPD.of(tracks)``.
    progress : bool or callable, optional
        True shows bars with the time left; a function is called with (done, total, what).

    Raises
    ------
    DataError
        Without velocities or entropies.

    Examples
    --------
    >>> import vid2dyn as vd
    >>> gas = vd.simulators.SDPD(n_particles=100, frames=3, box_length=0.6, equilibration=2)
    >>> budget = thermodynamics(gas.run(seed=0), gas)
    >>> budget.energy_drift < 1e-3, bool(abs(budget.energy[0] - 100 * 60 - 1.5 * 99) < 1e-8)
    (True, True)
    """
    rows: list[tuple[float, ...]] = []
    momenta = []
    total = tracks.n_frames
    with showing(progress) as progress:
        for state in states(tracks, fluid, every, "thermodynamics"):
            n, dim = state.v.shape
            kinetic = 0.5 * fluid.mass * float((state.v**2).sum())
            volume = 1 / state.d
            rows.append((state.frame * tracks.units.dt, kinetic, float(np.sum(fluid.internal_energy(state.S, volume))),
                         float(state.S.sum()), 2 * kinetic / (dim * max(n - 1, 1)), float(state.T.mean()),
                         float(np.mean(fluid.pressure(state.S, volume))), float(state.d.mean()), n))
            momenta.append(fluid.mass * state.v.sum(axis=0))
            progress(min(len(rows) * every, total), total, "thermodynamics")
    time, kinetic_, internal, entropy, kinetic_T, T, P, d, number = np.array(rows).T
    return Thermodynamics(time, kinetic_, internal, entropy, np.array(momenta), kinetic_T, T, P, d, number.astype(int))
