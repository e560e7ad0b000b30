"""Stationary statistics of the fluid's steps against exact distributions. False alarm 1e-6 a comparison (|z| < 4.9).

Thousands of pairs, each alone in space, at fixed positions: friction, noise and conduction then keep the density
exp(S_1 + S_2) δ(E) δ(P) dv dS of every pair. For an ideal gas of heat capacity c the shares of the energy in
(U_1, U_2, motion) are Dirichlet(c, c, dim/2), whatever the pair coefficients: the pair is started there and has to
stay.
Detects 3 % of the amplitude of momentum noise, 8 % of that of heat, and the terms of kB ∇·M left out (1/c = 8 % of
the friction).
"""

import dataclasses

import numpy as np
import pytest
import torch

from vid2dyn.core.pair_noise import pair_normals
from vid2dyn.dynamics.fluid.friction import FluidFriction
from vid2dyn.dynamics.fluid.sdpd import Fluid
from vid2dyn.dynamics.snapshot import Snapshot
from vid2dyn.dynamics.terms.equations_of_state import IdealGas
from vid2dyn.rollout.steps.dissipative import Dissipation
from vid2dyn.rollout.steps.stepper import FluidStepper
from vid2dyn.testing.brackets import whitened_noise_pvalue
from vid2dyn.testing.fluids import fluid_snapshot

PAIRS, C, MASS, CUTOFF = 8000, 12.0, 1.3, 1.0
FIVE_SIGMA = 4.9


def pairs_fluid(law):
    good = Fluid.ideal_gas(cutoff=CUTOFF, mass=MASS, heat_capacity=C, molecules=1e-9, volume=0.5, shear_viscosity=0.5,
                           bulk_viscosity=0.2, conductivity=1.5)
    return Fluid(good.kernel, IdealGas(C, 1e-9, volume=0.5), good.shear, good.bulk, good.heat, mass=MASS, law=law)


def equilibrium(fluid, seed=0):
    """Pairs at distance 0.4 on a wide lattice, with shares of energy from Dirichlet(c, c, 3/2), isotropic motion."""
    rng = np.random.default_rng(seed)
    side = int(np.ceil(PAIRS ** (1 / 3)))
    site = 3.0 * np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), -1).reshape(-1, 3)[:PAIRS]
    x = np.repeat(site, 2, axis=0)
    x[1::2, 0] += 0.4
    shares = rng.dirichlet([C, C, 1.5], PAIRS) * (2 * C + 1.5)
    line = rng.normal(size=(PAIRS, 3))
    line /= np.linalg.norm(line, axis=1, keepdims=True)
    half = np.sqrt(shares[:, 2:] / MASS) * line                      # m v²: both halves of the relative velocity
    v = np.stack([half, -half], 1).reshape(-1, 3)
    snapshot = Snapshot.of(torch.as_tensor(x), CUTOFF, velocity=torch.as_tensor(v),
                           entropy=torch.zeros(2 * PAIRS, dtype=torch.float64))
    stepper = FluidStepper(fluid, dt=1e-3)
    state = stepper.start(snapshot)
    U = torch.as_tensor(shares[:, :2].reshape(-1))
    S = fluid.eos.entropy(U, 1 / state.density, torch.zeros_like(U))
    return stepper.start(dataclasses.replace(snapshot, entropy=S))


def shares(state):
    """(pairs, 3): U_1, U_2 and energy of motion, in units of T."""
    kinetic = 0.5 * MASS * state.velocity.square().sum(1).reshape(-1, 2).sum(1)
    return torch.cat([state.thermo.U.reshape(-1, 2), kinetic[:, None]], 1).numpy()


def rates(fluid, state):
    """Relaxation rates of relative motion and of the temperature difference."""
    c = fluid.coefficients(state.pairs, state.thermo, state.density)
    mean = fluid.eos(state.entropy, 1 / state.density).T.mean()
    return float((c.along + 2 * c.across).mean() / 3 * 2 / MASS / mean), float(c.heat.mean() * 2 / C / mean**2)


def run(law, fraction, steps=24):
    """Shares of the energy after each of the last steps, with dt `fraction` of the shorter relaxation time."""
    fluid = pairs_fluid(law)
    state = equilibrium(fluid)
    dt = fraction / max(rates(fluid, state))
    stepper = FluidStepper(fluid, dt=dt, seed=2)
    kept = []
    for _ in range(steps):
        state = stepper._dissipate(dataclasses.replace(state, step=state.step + 1))
        kept.append(shares(state))
    return np.stack(kept)


def deviations(kept):
    """z of the means of K, K², U_1 U_2, (U_1 - U_2)² over pairs (each pair averaged over the run)."""
    total = 2 * C + 1.5
    a = np.array([C, C, 1.5])
    norm = total * (total + 1)
    u1, u2, k = np.moveaxis(kept / total, -1, 0)
    exact = {"motion": (k, 1.5 / total), "motion²": (k * k, 1.5 * 2.5 / norm), "U1 U2": (u1 * u2, C * C / norm),
             "(U1-U2)²": ((u1 - u2) ** 2, 2 * (a[0] * (C + 1) - C * C) / norm)}
    out = {}
    for name, (value, mean) in exact.items():
        each = value.mean(axis=0)
        error = each.std(ddof=1) / np.sqrt(len(each))
        out[name] = (float((each.mean() - mean) / error), float(each.mean() / mean - 1))
    return out


@pytest.mark.parametrize("law", ["transport", "radial"])
def test_pairs_stay_at_equilibrium(law):
    found = deviations(run(law, 0.04))
    assert max(abs(z) for z, _ in found.values()) < FIVE_SIGMA, found


@pytest.mark.parametrize("law", ["transport", "radial"])
def test_detailed_balance(law):
    """Forward and backward correlations agree: <A(0) B(t)> = <B(0) A(t)> for energies, which time reversal keeps."""
    kept = run(law, 0.04, steps=16) / (2 * C + 1.5)
    motion, square = kept[..., 2], kept[..., 0] ** 2
    for a, b in ((motion, square), (kept[..., 0], kept[..., 1] ** 2)):
        each = (a[:-8] * b[8:] - b[:-8] * a[8:]).mean(axis=0)
        assert abs(each.mean()) < FIVE_SIGMA * each.std(ddof=1) / np.sqrt(len(each))


@pytest.mark.parametrize("planted", ["fluctuation terms", "noise 3 %", "heat noise 8 %"])
def test_planted_errors_move_the_equilibrium(planted, monkeypatch):
    if planted == "fluctuation terms":
        def plain(self):
            T = self.thermo.T
            return 0.5 * (1 / T[self.pairs.first] + 1 / T[self.pairs.second])
        monkeypatch.setattr(Dissipation, "inverse_temperature", plain)
    else:
        good, factor = Dissipation.noise, torch.ones(4, dtype=torch.float64)
        if planted == "noise 3 %":
            factor[:3] = 1.03
        else:
            factor[3] = 1.08
        monkeypatch.setattr(Dissipation, "noise", lambda self, *arguments: good(self, *arguments) * factor)
    found = deviations(run("transport", 0.04, steps=80))
    assert max(abs(z) for z, _ in found.values()) > FIVE_SIGMA, found


def test_step_noise_is_whitened_by_M():
    """The normals that the step draws, keyed on pairs and steps, give G ξ the covariance M; detects 1 %."""
    state = fluid_snapshot(np.random.default_rng(4), 20, cutoff=2.0)
    friction = FluidFriction(Fluid.ideal_gas(cutoff=2.0, mass=MASS, heat_capacity=C, molecules=4.0, conductivity=1.0))
    root = friction.root(state)
    first, second = state.pairs.numpy().T

    class Keyed(FluidFriction):
        step, loudness = 0, 1.0

        def root(self, snapshot):
            return root

        def noise(self, snapshot, generator):
            self.step += 1
            normals = torch.as_tensor(pair_normals(7, self.step, first, second, channels=4))
            like = snapshot.state(self.columns)
            return self.loudness * root.times(None, normals, like=like)

    assert whitened_noise_pvalue(Keyed(friction.fluid), state, draws=4000) > 1e-6
    loud = Keyed(friction.fluid)
    loud.loudness = 1.01
    assert whitened_noise_pvalue(loud, state, draws=4000) < 1e-6
