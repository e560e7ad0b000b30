"""Our splines against scipy.interpolate, which shares no code with them.

Ours are kept where they stand in inner loops (compiled, or differentiated by torch), and where scipy's would change the
last bits of tables and with them the bytes of every rollout.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.interpolate import BSpline, CubicHermiteSpline

from vid2dyn.data.box import Free
from vid2dyn.dynamics.fluid.radial_splines import spline as compiled_spline
from vid2dyn.dynamics.nets import UniformSpline
from vid2dyn.dynamics.terms.landscape import DensityFunction, Landscape
from vid2dyn.dynamics.terms.splines import RadialSpline
from vid2dyn.fitting.brownian.design import Field
from vid2dyn.fitting.brownian.recording import Recording
from vid2dyn.fitting.fields.elements import Elements
from vid2dyn.rollout.fields import Tables

EPS = np.finfo(float).eps


def uniform(count: int) -> np.ndarray:
    """Knots of cubic B-splines on `count` even intervals of [0, 1]."""
    return np.arange(-3, count + 4) / count


def close(ours: np.ndarray, scipys: np.ndarray, digits: float = 100 * EPS) -> bool:
    return bool(np.abs(ours - scipys).max() <= digits * np.abs(scipys).max())


@pytest.mark.parametrize("spline", [RadialSpline(0.8, 3.0, 24), RadialSpline(0.0, 2.0, 12), RadialSpline(0.5, 2.0, 4)])
def test_radial_basis_is_scipys(spline: RadialSpline) -> None:
    r = np.linspace(spline.inner, spline.cutoff, 1001)[:-1]
    u, du, ddu = spline.coordinate(r)
    basis = BSpline(uniform(spline.knots), np.eye(spline.knots + 3)[:, : spline.knots], 3)
    first, second = basis.derivative(1)(u), basis.derivative(2)(u)
    for ours, scipys in zip(spline(r), (basis(u), first * du[:, None],
                                        second * du[:, None] ** 2 + first * ddu[:, None]), strict=True):
        assert close(ours, scipys)
        assert not close(1.001 * ours, scipys), "a planted error of a thousandth is seen"


@pytest.mark.parametrize("spline", [RadialSpline(0.8, 3.0, 24), RadialSpline(0.0, 2.0, 12)])
def test_compiled_force_functions_are_those_of_the_basis(spline: RadialSpline) -> None:
    """Two particles on a line: g and ∇·g of every coefficient from slope and curvature of the basis."""
    for r in np.linspace(max(spline.inner, 0.1), spline.cutoff, 40)[:-1]:
        pair = Recording.simulated(np.array([[[0.0, 0.0], [0.0, r]]] * 2), np.ones(2), Free(), 1.0, 0.0)
        g, div = Field(spline, "none", np.zeros(2)).evaluate(pair, np.array([0, 2]), np.array([[0, 1]]))
        _, slope, curvature = spline(np.array([r]))
        assert close(g[1, 1], -slope[0])
        assert close(g[0, 1], slope[0])
        assert close(div[0], -(curvature + slope / r)[0])


def test_torch_spline_is_scipys() -> None:
    ours = UniformSpline(7)
    with torch.no_grad():
        ours.raw.copy_(torch.randn(10, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
        x = torch.linspace(0, 1, 301, dtype=torch.float64)[:-1]
        found = [part.numpy() for part in ours(x)]
    scipys = BSpline(uniform(7), ours.coefficients.detach().numpy(), 3)
    assert all(close(one, scipys.derivative(n)(x.numpy()) if n else scipys(x.numpy())) for n, one in enumerate(found))


def test_compiled_radial_functions_are_scipys() -> None:
    u, coefficients = np.linspace(0, 1, 301)[:-1], np.random.default_rng(0).normal(size=(2, 9))
    found = np.zeros((2, len(u)))
    compiled_spline(u, coefficients, 6, found)
    assert close(found, np.stack([BSpline(uniform(6), row, 3)(u) * (1 - u) ** 2 for row in coefficients]))


@pytest.mark.parametrize("degree", [1, 2])
def test_test_functions_of_fields_are_scipys_periodic_ones(degree: int) -> None:
    elements = Elements(sites=60, elements=6, degree=degree)
    place = np.arange(60) / 10
    one = BSpline.basis_element(np.arange(degree + 2) - (degree + 1) / 2, extrapolate=False)
    scipys = sum(np.nan_to_num(one(place[:, None] - np.arange(6) + turn)) for turn in (-6, 0, 6))
    assert close(elements.values(), np.asarray(scipys))


def test_table_of_the_free_energy_is_scipys_hermite_spline() -> None:
    function = DensityFunction(0.1, 0.9, 6, capacity=1.0)
    rng = np.random.default_rng(0)
    tables = Tables(Landscape(function, rng.normal(size=6), 1 + 0.3 * rng.normal(size=6)), 0.2, 0.8)
    rho = np.linspace(0.2, 0.8, 1001)
    assert close(tables.energy(rho), CubicHermiteSpline(tables.grid, tables.f, tables.mu)(rho), digits=1e4 * EPS)
