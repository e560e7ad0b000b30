"""Stress of particles with velocity and entropy, in its parts, and the viscosity of a sheared box."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vid2dyn.analysis.energy_budget import FluidFunctions, State, states
from vid2dyn.core.errors import DataError
from vid2dyn.core.showing import ProgressLike, showing
from vid2dyn.data.box import LeesEdwards
from vid2dyn.data.trajectories import Trajectories

_BLOCKS = 16


@dataclass(frozen=True, eq=False)
class Stress:
    """Stress tensor of each frame, sigma_ab = -(1/volume)[sum_i m c_a c_b + sum_pairs F_a r_b] (Irving, Kirkwood 1950).

    c is the velocity relative to the flow, F the force on i from j, r from j to i. Row a is the force's direction,
    column b the normal's, both in the order (y, x[, z]). Compression is negative. The random force has mean zero in
    every frame and is left out.

    Parameters
    ----------
    time : (T,) array
        [s]
    kinetic, pressure, friction : (T, dim, dim) arrays
        Carried by the particles, by the pressure forces, and by pair friction [energy/µm^dim]. Friction is the part
        M grad S; kB div M changes it by a relative 1/C, C the heat capacity of a particle.
    shear_rate : float
        Of the box [1/s]; 0 where it is not sheared.
    """

    time: np.ndarray
    kinetic: np.ndarray
    pressure: np.ndarray
    friction: np.ndarray
    shear_rate: float

    @property
    def total(self) -> np.ndarray:
        """(T, dim, dim) sum of the three parts."""
        return self.kinetic + self.pressure + self.friction

    def viscosity(self, part: str = "total", skip: int = 0) -> tuple[float, float]:
        """Mean of sigma_xy/shear_rate over the frames from number `skip` on, and its standard error from 16 blocks.

        `part` is "total", "kinetic", "pressure" or "friction".

        Raises
        ------
        DataError
            If the box is not sheared.
        """
        if self.shear_rate == 0:
            raise DataError("A viscosity from the mean stress needs a sheared box (LeesEdwards); at rest the mean "
                            "shear stress is zero.")
        values = getattr(self, part)[skip:, 1, 0] / self.shear_rate
        blocks = np.array([block.mean() for block in np.array_split(values, min(_BLOCKS, len(values)))])
        return float(values.mean()), float(blocks.std(ddof=1) / np.sqrt(len(blocks)))


def stress(tracks: Trajectories, fluid: FluidFunctions, every: int = 1, progress: ProgressLike = None) -> Stress:
    """Stress tensor of every `every`-th frame, in a periodic or sheared box.

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
        Without velocities or entropies, or in unbounded space, which has no volume.

    Examples
    --------
    >>> import vid2dyn as vd
    >>> gas = vd.simulators.SDPD(n_particles=100, frames=3, box_length=0.6, equilibration=2)
    >>> sigma = stress(gas.run(seed=0), gas)
    >>> sigma.total.shape, bool((np.trace(sigma.pressure, axis1=1, axis2=2) < 0).all())
    ((3, 3, 3), True)
    """
    if tracks.box.lengths is None:
        raise DataError("A stress is a force per area of a box; these particles are in unbounded space. Give the "
                        "trajectories a Periodic or LeesEdwards box.")
    volume = float(np.prod(tracks.box.lengths))
    time, parts = [], []
    with showing(progress) as progress:
        for state in states(tracks, fluid, every, "stress"):
            time.append(state.frame * tracks.units.dt)
            parts.append(-np.array([_kinetic(state, fluid), _pressure(state, fluid), _friction(state, fluid)]) / volume)
            progress(min(len(time) * every, tracks.n_frames), tracks.n_frames, "stress")
    kinetic, pressure, friction = np.moveaxis(np.array(parts), 1, 0)
    rate = tracks.box.shear_rate if isinstance(tracks.box, LeesEdwards) else 0.0
    return Stress(np.array(time), kinetic, pressure, friction, rate)


def _kinetic(state: State, fluid: FluidFunctions) -> np.ndarray:
    return fluid.mass * np.einsum("na,nb->ab", state.v, state.v)


def _pressure(state: State, fluid: FluidFunctions) -> np.ndarray:
    """Virial of F_i = -(P_i/d_i² + P_j/d_j²) W' e."""
    weight = np.asarray(fluid.pressure(state.S, 1 / state.d)) / state.d**2
    size = -(weight[state.i] + weight[state.j]) * np.asarray(fluid.kernel_slope(state.r)) * state.r
    return np.einsum("p,pa,pb->ab", size, state.e, state.e)


def _friction(state: State, fluid: FluidFunctions) -> np.ndarray:
    """Virial of F_i = -(1/2)(1/T_i + 1/T_j) K v_ij; v_ij is that of the image that r_ij points from."""
    i, j, e = state.i, state.j, state.e
    dim = e.shape[1]
    A2, B2, _ = fluid.pair_coefficients(state.r, state.T[i], state.T[j], state.d[i], state.d[j])
    w = state.v[i] - state.v[j]
    if isinstance(state.box, LeesEdwards):
        # velocities here are relative to the flow: the flow itself is uniform shear, at the image's own height
        w[:, 1] += state.box.shear_rate * e[:, 0] * state.r
    along = np.einsum("pa,pa->p", e, w)[:, None] * e
    across = 0.5 * np.asarray(A2)[:, None]
    pull = across * (w + along) + ((np.asarray(B2) - np.asarray(A2)) / dim)[:, None] * along
    force = -0.5 * (1 / state.T[i] + 1 / state.T[j])[:, None] * pull
    return np.einsum("pa,pb->ab", force, e * state.r[:, None])
