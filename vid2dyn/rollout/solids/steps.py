"""Two compiled steps of a solid whose held nodes are known at frames, and move on parabolas between them.

A parabola of an interval goes through its two ends and the frame before or after, whichever bends less (the essentially
non-oscillatory choice of Harten et al., J. Comput. Phys. 71, 231, 1987): smooth drives are met to third order, and a
drive that turns suddenly at a frame is straight on both sides of it.

`middle_steps`: v' = v + dt F̄/m, x' = x + dt (v + v')/2 with the discrete gradient (`forces`), so that at every step

    work of the held nodes = change of stored and kinetic energy + heat

to the tolerance of its iteration: what rollouts use. The iteration is v̄ ← v̄ - [v̄ - v - dt F̄(v̄)/2m]/(1 + g/2), g the
largest eigenvalue of dt (C + dt K/2)/2m, friction C and stiffness K: errors shrink by g/(2 + g) or less in each round.

`runge_kutta_steps`: the same motion by the classical method of fourth order, explicit and cheap: what fits use.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from vid2dyn.core.compiled_arrays import copy_rows
from vid2dyn.rollout.solids.forces import forces_between


def bends(path: np.ndarray) -> np.ndarray:
    """Second differences of the parabolas of every interval of a path (F + 1, ...), (F, ...) [µm].

    >>> bends(np.array([0.0, 0.0, 0.0, 1.0, 2.0, 1.0, 0.0])).tolist()
    [0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    >>> bends(np.arange(4.0) ** 2).tolist()
    [2.0, 2.0, 2.0]
    """
    second = path[2:] - 2 * path[1:-1] + path[:-2]
    if not len(second):
        return np.zeros_like(path[1:])
    before, after = np.concatenate([second[:1], second]), np.concatenate([second, second[-1:]])
    return np.where(np.abs(before) <= np.abs(after), before, after)


@njit(cache=True, nogil=True, error_model="numpy")
def middle_steps(x, v, heat, held, start, end, bend, mass, solid, dt, steps, g, tolerance, most, account):  # type: ignore[no-untyped-def]
    """From one frame to the next, in place.

    `start`, `end`, `bend` (n, dim): positions of the held nodes at both frames, and `bends` of this interval; `held`
    (n,): 0 free, else the number of an edge; `account` [work, largest residual, most iterations, largest velocity so
    far, which residuals are measured by, work of each edge...] is added to; `g`: see above.
    """
    n, dim = x.shape
    force, heating = np.zeros_like(x), np.zeros(n)
    mean, y = v.copy(), np.empty_like(x)
    for step in range(steps):
        for i in range(n):
            if held[i] > 0:
                for a in range(dim):
                    middle = (step + 0.5) / steps - 0.5
                    mean[i, a] = (end[i, a] - start[i, a] + middle * bend[i, a]) / (steps * dt)
        scale = max(account[3], 1e-300)
        for i in range(n):
            for a in range(dim):
                scale = max(scale, abs(v[i, a]), abs(mean[i, a]))
        left, rounds = np.inf, 0
        while left > tolerance * scale and rounds < most:
            for i in range(n):
                for a in range(dim):
                    y[i, a] = x[i, a] + dt * mean[i, a]
            forces_between(x, y, mean, solid, force, heating)
            left = 0.0
            for i in range(n):
                if held[i] == 0:
                    for a in range(dim):
                        wrong = mean[i, a] - v[i, a] - 0.5 * dt * force[i, a] / mass[i]
                        mean[i, a] -= wrong / (1.0 + 0.5 * g)
                        left = max(left, abs(wrong))
                        scale = max(scale, abs(mean[i, a]))
            rounds += 1
        # the work of held nodes and the heat are those of the force that was used last, at the velocity before it
        for i in range(n):
            heat[i] += dt * heating[i]
            for a in range(dim):
                if held[i] > 0:
                    work = -dt * force[i, a] * mean[i, a]
                    account[0] += work
                    account[3 + held[i]] += work
                    at = (step + 1) / steps
                    x[i, a] = start[i, a] + at * (end[i, a] - start[i, a]) - 0.5 * at * (1.0 - at) * bend[i, a]
                    v[i, a] = (end[i, a] - start[i, a] + (at - 0.5) * bend[i, a]) / (steps * dt)
                else:
                    x[i, a] += dt * mean[i, a]
                    late = v[i, a]
                    v[i, a] = 2.0 * mean[i, a] - late
                    mean[i, a] = v[i, a]
        account[1] = max(account[1], left / scale)
        account[2] = max(account[2], float(rounds))
        account[3] = scale


@njit(cache=True, nogil=True, error_model="numpy")
def runge_kutta_steps(x, v, held, start, end, bend, mass, solid, dt, steps):  # type: ignore[no-untyped-def]
    """From one frame to the next, in place; arguments of `middle_steps`."""
    n, dim = x.shape
    force, heating = np.zeros_like(x), np.zeros(n)
    xs, vs, x0, v0 = np.empty_like(x), np.empty_like(x), np.empty_like(x), np.empty_like(x)
    dx, dv = np.zeros_like(x), np.zeros_like(x)
    span = steps * dt
    for step in range(steps):
        copy_rows(x, x0)
        copy_rows(v, v0)
        for stage in range(4):
            ahead = 0.0 if stage == 0 else (0.5 if stage < 3 else 1.0)
            share = dt / 6.0 if stage in (0, 3) else dt / 3.0
            along = (step + ahead) / steps
            for i in range(n):
                for a in range(dim):
                    if held[i] > 0:
                        xs[i, a] = start[i, a] + along * (end[i, a] - start[i, a] - 0.5 * (1.0 - along) * bend[i, a])
                        vs[i, a] = (end[i, a] - start[i, a] + (along - 0.5) * bend[i, a]) / span
                    else:
                        xs[i, a] = x0[i, a] + ahead * dt * dx[i, a]
                        vs[i, a] = v0[i, a] + ahead * dt * dv[i, a]
            forces_between(xs, xs, vs, solid, force, heating)
            for i in range(n):
                if held[i] == 0:
                    for a in range(dim):
                        dx[i, a] = vs[i, a]
                        dv[i, a] = force[i, a] / mass[i]
                        x[i, a] += share * dx[i, a]
                        v[i, a] += share * dv[i, a]
    for i in range(n):
        if held[i] > 0:
            for a in range(dim):
                x[i, a] = end[i, a]
                v[i, a] = (end[i, a] - start[i, a] + 0.5 * bend[i, a]) / span


@njit(cache=True, nogil=True, error_model="numpy")
def runge_kutta_frames(x, v, held, path, bend, mass, solid, dt, steps, places, velocities):  # type: ignore[no-untyped-def]
    """Frames along a path (F + 1, n, dim) of the held nodes with its `bends`; the state in place, every frame after the
    first into `places` and `velocities` (F, n, dim)."""
    for frame in range(len(places)):
        runge_kutta_steps(x, v, held, path[frame], path[frame + 1], bend[frame], mass, solid, dt, steps)
        places[frame], velocities[frame] = x, v
