"""The net as equation of state: derivatives, convexity and monotony by construction, the gas that it starts from."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vid2dyn.core.errors import ConfigError, ModelError
from vid2dyn.dynamics.terms.convex_net import WIDTHS, ConvexNetGas, net_state, start_units
from vid2dyn.dynamics.terms.equation_of_state import EquationOfState
from vid2dyn.testing.fluids import check_equation_of_state

UNITS = 8
GAS = np.array([0.3, 1 / 40, 20.0, 0.0, 1.0, 2.0])


def random_units(rng: np.random.Generator, spread: float = 1.0) -> np.ndarray:
    """Drawn from the prior, `spread` times as wide."""
    return start_units(UNITS) + spread * np.repeat(WIDTHS, UNITS) * rng.normal(size=4 * UNITS)


def states(rng: np.random.Generator, n: int = 60) -> tuple[np.ndarray, np.ndarray]:
    return rng.uniform(-80, 80, n), np.exp(rng.uniform(-0.4, 0.4, n))


def torch_net(units: np.ndarray, gas: np.ndarray = GAS) -> ConvexNetGas:
    return ConvexNetGas(float(np.exp(gas[0])), gas[1], gas[2], 1.0, units, cold=(gas[4], gas[5]))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_closed_forms_are_those_of_the_energy(seed):
    """Torch against autograd, numpy against torch: to rounding."""
    rng = np.random.default_rng(seed)
    units, (S, V) = random_units(rng), states(rng)
    net = torch_net(units)
    check_equation_of_state(net, torch.tensor(S), torch.tensor(V))
    found, exact = net_state(GAS, units, S, V, 1.0), net(torch.tensor(S), torch.tensor(V))
    for ours, theirs in ((found.T, exact.T), (found.P, exact.P), (found.T_S, exact.U_SS), (found.P_S, -exact.U_SV),
                         (found.softness, exact.softness)):
        assert np.allclose(ours, theirs.numpy(), rtol=1e-11)
    assert np.allclose(found.molecules, found.P_S * V / found.softness / found.T, rtol=1e-12)


def test_slopes_in_every_number_and_in_entropy():
    rng = np.random.default_rng(3)
    units, (S, V) = random_units(rng), states(rng)
    numbers = np.concatenate([GAS, units])
    found = net_state(GAS, units, S, V, 1.0)
    for name in ("T", "P", "softness", "molecules"):
        value, of = getattr(found, name), getattr(found, f"{name}_of")
        high, low = (getattr(net_state(GAS, units, S + side * 1e-4, V, 1.0), name) for side in (1, -1))
        assert np.allclose(getattr(found, f"{name}_S"), (high - low) / 2e-4, rtol=1e-6, atol=1e-9 * np.abs(value).max())
        for k, number in enumerate(numbers):
            step = np.zeros(len(numbers))
            step[k] = 1e-5 * max(abs(number), 0.1)
            high, low = (getattr(net_state((numbers + side * step)[:6], (numbers + side * step)[6:], S, V, 1.0), name)
                         for side in (1, -1))
            room = 1e-7 * np.abs(of[k]).max() + 1e-9 * np.abs(value).max() / max(abs(number), 0.1)
            assert np.allclose(of[k], (high - low) / (2 * step[k]), rtol=1e-6, atol=room), (name, k)


def test_convex_and_monotone_whatever_the_numbers():
    """2,000 random nets, three times wider than the prior, without cold part: T > 0, P > 0, Hessian not negative."""
    rng = np.random.default_rng(4)
    gas = GAS.copy()
    gas[4:] = 0.0
    for _ in range(2000):
        S, V = states(rng, 20)
        at = torch_net(random_units(rng, 3.0), gas)(torch.tensor(S), torch.tensor(V))
        assert bool((at.T > 0).all())
        assert bool((at.P > 0).all())
        assert bool((at.U_SS >= 0).all())
        determinant = at.U_SS * at.U_VV - at.U_SV**2
        assert bool((determinant >= -1e-12 * at.U_SS * at.U_VV).all())


def test_a_net_that_rises_with_volume_would_be_seen():
    """Planted: a unit with m of the wrong sign is not monotone, and the test above says so."""
    gas, (S, V) = GAS.copy(), states(np.random.default_rng(4), 20)
    gas[4:] = 0.0
    planted = torch_net(start_units(UNITS), gas)
    forward = ConvexNetGas(float(np.exp(gas[0])), gas[1], -gas[2], 1.0, start_units(UNITS)).forward
    assert bool((planted(torch.tensor(S), torch.tensor(V)).P > 0).all())
    assert bool((forward(torch.tensor(S), torch.tensor(V)).P < 0).any())


def test_it_starts_as_the_gas_that_it_is_given():
    """T0 and n exactly, heat capacity within 10 %, T within 5 % from 0.6 to 1.6 T0."""
    z = np.linspace(-0.5, 0.5, 11)
    gas = np.array([0.0, 1 / 60, 40.0, 0.0, 0.0, 0.0])
    found = net_state(gas, start_units(UNITS), 60 * z, np.full(11, 0.002), 0.002)
    middle = net_state(gas, start_units(UNITS), np.zeros(1), np.full(1, 0.002), 0.002)
    assert middle.T[0] == 1.0
    assert abs(middle.P[0] * 0.002 / 40 - 1) < 1e-12
    assert abs(60 * middle.softness[0] - 1) < 0.1
    assert np.abs(found.T / np.exp(z) - 1).max() < 0.05
    assert np.allclose(found.molecules, 40.0)


def test_wrong_numbers_are_said():
    with pytest.raises(ModelError, match="7 numbers of units"):
        torch_net(np.zeros(7))
    with pytest.raises(ModelError, match="softness = 0"):
        ConvexNetGas(1.0, 0.0, 10.0, 1.0, start_units(2))
    with pytest.raises(ConfigError, match="choose 'gas' or 'net'"):
        EquationOfState(cutoff=1.0, form="spline")                                                # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="units = 0"):
        EquationOfState(cutoff=1.0, form="net", units=0)
