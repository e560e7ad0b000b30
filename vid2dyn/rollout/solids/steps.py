"""Two compiled steps of a solid whose held nodes move on straight lines from frame to frame.

`middle_steps`: v' = v + dt F̄/m, x' = x + dt (v + v')/2 with the discrete gradient (`forces`), so that at every step

    work of the held nodes = change of stored and kinetic energy + heat

to the tolerance of its iteration: what rollouts use. The iteration is v̄ ← v̄ - [v̄ - v - dt F̄(v̄)/2m]/(1 + g),
g_i = dt (sum of c + dt/2 sum of k)/2m over the bonds of a node, which converges for all springs and dashpots because no
eigenvalue of their matrix is above twice its largest diagonal (Gershgorin).

`runge_kutta_steps`: the same motion by the classical method of fourth order, explicit and cheap: what fits use.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from vid2dyn.rollout.solids.forces import forces_between


@njit(cache=True, nogil=True)
def middle_steps(x, v, heat, held, start, end, mass, solid, dt, steps, tolerance, most, account):  # type: ignore[no-untyped-def]
    """From one frame to the next, in place.

    `start`, `end` (n, dim): positions of the held nodes at both frames; `account` [work, largest residual, most
    iterations, work of each group of held nodes...] is added to; `held` (n,): 0 free, else the number of a group.
    Returns the force on every node over the last step, (n, dim).
    """
    n, dim = x.shape
    force, heating = np.zeros_like(x), np.zeros(n)
    mean, y = v.copy(), np.empty_like(x)
    heavy = np.ones(n)
    for b in range(len(solid.first)):
        g = 0.5 * dt / mass[solid.first[b]] * (solid.friction[b] + 0.5 * dt * abs(solid.stiffness[b]))
        heavy[solid.first[b]] += g
        heavy[solid.second[b]] += g * mass[solid.first[b]] / mass[solid.second[b]]
    for step in range(steps):
        for i in range(n):
            if held[i] > 0:
                for a in range(dim):
                    mean[i, a] = (end[i, a] - start[i, a]) / (steps * dt)
        scale = 1e-300
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
                        mean[i, a] -= wrong / heavy[i]
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
                    account[2 + held[i]] += work
                    x[i, a] = start[i, a] + (end[i, a] - start[i, a]) * ((step + 1) / steps)
                    v[i, a] = mean[i, a]
                else:
                    x[i, a] += dt * mean[i, a]
                    late = v[i, a]
                    v[i, a] = 2.0 * mean[i, a] - late
                    mean[i, a] = v[i, a]
        account[1] = max(account[1], left / scale)
        account[2] = max(account[2], float(rounds))
    return force


@njit(cache=True, nogil=True)
def runge_kutta_steps(x, v, held, start, end, mass, solid, dt, steps):  # type: ignore[no-untyped-def]
    """From one frame to the next, in place; arguments of `middle_steps`."""
    n, dim = x.shape
    force, heating = np.zeros_like(x), np.zeros(n)
    xs, vs, x0, v0 = np.empty_like(x), np.empty_like(x), np.empty_like(x), np.empty_like(x)
    dx, dv = np.zeros_like(x), np.zeros_like(x)
    span = steps * dt
    for step in range(steps):
        x0[:], v0[:] = x, v
        for stage in range(4):
            ahead = 0.0 if stage == 0 else (0.5 if stage < 3 else 1.0)
            share = dt / 6.0 if stage in (0, 3) else dt / 3.0
            along = (step + ahead) / steps
            for i in range(n):
                for a in range(dim):
                    if held[i] > 0:
                        xs[i, a] = start[i, a] + along * (end[i, a] - start[i, a])
                        vs[i, a] = (end[i, a] - start[i, a]) / span
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
                v[i, a] = (end[i, a] - start[i, a]) / span
