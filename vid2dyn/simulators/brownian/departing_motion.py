"""Compiled motion of colloids that break assumptions: all pairs, Euler-Maruyama steps (see `departures`)."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from vid2dyn.core.compiled_arrays import copy_rows
from vid2dyn.simulators.brownian.forces import lookup


@njit(cache=True)
def _forces(x, centres, length, table, strength, fault, force):  # type: ignore[no-untyped-def]
    """Force [kT/µm] on every particle; `fault` are numbers as `departures` packs them."""
    start, per_length, cutoff, cubic = table
    stiffness, circulation, transverse, gravity, wall, well_barrier, well_place = fault
    n = x.shape[0]
    for i in range(n):
        y, u = x[i, 0] - centres[i, 0], x[i, 1] - centres[i, 1]
        force[i, 0] = -stiffness * y + circulation * u
        force[i, 1] = -stiffness * u - circulation * y
        if well_barrier > 0.0:               # barrier ((u/a)² - 1)² along the second axis, in place of the spring
            force[i, 1] = -4 * well_barrier * u / well_place**2 * ((u / well_place) ** 2 - 1)
        force[i, 0] -= gravity
        if wall > 0.0 and x[i, 0] < 0.0:
            force[i, 0] -= wall * x[i, 0]
    if cutoff <= 0.0:
        return
    for i in range(n):
        for j in range(i):
            dy = x[i, 0] - x[j, 0]
            dx = x[i, 1] - x[j, 1]
            if length > 0.0:
                dy -= length * math.floor(dy / length + 0.5)
                dx -= length * math.floor(dx / length + 0.5)
            r2 = dy * dy + dx * dx
            if 0.0 < r2 < cutoff * cutoff:
                r = math.sqrt(r2)
                f = strength[i] * strength[j] * lookup(r, start, per_length, cubic) / r
                fy, fx = f * (dy - transverse * dx), f * (dx + transverse * dy)
                force[i, 0] += fy
                force[i, 1] += fx
                force[j, 0] -= fy
                force[j, 1] -= fx


@njit(cache=True)
def advance(x, angle, rng, D, h, steps, opened, centres, length, table, strength, fault, flow, noise, mean):  # type: ignore[no-untyped-def]
    """One frame of `steps` steps of h [s], the first `opened` of which are averaged into `mean`; x is changed in place.

    D (n,) of every particle. `flow` = (drift along the second axis, shear rate, swimming speed, rotational diffusion).
    `noise` = (gradient, edge, aligned): D is 1 + gradient · sin(2π y/edge) times as large at y, and its gradient is
    added to the drift (Itô); along the second axis it is `aligned` times as large.
    """
    n = x.shape[0]
    drift, shear, speed, turning = flow
    gradient, edge, aligned = noise
    force = np.zeros_like(x)
    mean[:] = 0.0
    for step in range(steps):
        _forces(x, centres, length, table, strength, fault, force)
        for i in range(n):
            here, slope = 1.0, 0.0
            if gradient != 0.0:
                here = 1 + gradient * math.sin(2 * math.pi * x[i, 0] / edge)
                slope = gradient * 2 * math.pi / edge * math.cos(2 * math.pi * x[i, 0] / edge)
            old_y, old_x = x[i, 0], x[i, 1]
            own = D[i] * here
            x[i, 0] += h * (own * force[i, 0] + D[i] * slope) + math.sqrt(2 * own * h) * rng.standard_normal()
            x[i, 1] += h * aligned * own * force[i, 1] + math.sqrt(2 * aligned * own * h) * rng.standard_normal()
            if D[i] > 0.0:
                x[i, 1] += h * (drift + shear * old_y)
            if speed > 0.0:
                x[i, 0] += h * speed * math.sin(angle[i])
                x[i, 1] += h * speed * math.cos(angle[i])
                angle[i] += math.sqrt(2 * turning * h) * rng.standard_normal()
            if step < opened:
                mean[i, 0] += 0.5 * (old_y + x[i, 0]) / opened
                mean[i, 1] += 0.5 * (old_x + x[i, 1]) / opened
    if opened == 0:
        copy_rows(x, mean)
