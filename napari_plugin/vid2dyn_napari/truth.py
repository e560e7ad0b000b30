"""What is known beforehand about simulated data: potentials, limits, numbers, exact flows; nothing is learned here."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

import vid2dyn as vd


def true_pair(truth: Mapping[str, Any]) -> Any:
    """The pair potential that was put in, or None where it is not known or there was none."""
    table = truth.get("pair")
    if not isinstance(table, Mapping):
        return None
    kind = vd.core.registry.part("potentials", str(table["kind"]))
    return vd.core.config.build(kind, table, "truth")


def true_simulator(truth: Mapping[str, Any]) -> Any:
    """The simulator behind the data, rebuilt from their truth, or None."""
    table = truth.get("simulator") if isinstance(truth.get("simulator"), Mapping) else truth
    kind = table.get("kind") if isinstance(table, Mapping) else None
    known = vd.core.registry.parts("simulators")
    return vd.core.config.build(known[kind], table, "truth") if kind in known else None     # type: ignore[arg-type]


def true_limit(truth: Mapping[str, Any], rho: np.ndarray) -> Any:
    """Exact free energy and mobility of the lattice process that made the data, or None."""
    simulator = true_simulator(truth)
    if simulator is None or not hasattr(simulator, "limit"):
        return None
    try:
        return simulator.limit(rho)
    except vd.Vid2DynError:
        return None


def true_radial(truth: Mapping[str, Any], name: str, law: str, r: np.ndarray) -> np.ndarray | None:
    """Radial part of the "shear" (A²) or "bulk" (B²) friction of pairs at distances r, in the convention of a model.

    `law` is that of the model: where the simulator has the other one, the function has no true value. With "transport"
    the factor V_i V_j and the pair's temperature are left out, so they are set to one.
    """
    simulator = true_simulator(truth)
    if not hasattr(simulator, "pair_coefficients"):
        return None
    if {"constant": "transport", "radial": "radial"}[simulator.coefficients] != law:
        return None
    return simulator.pair_coefficients(r, 1.0, 1.0, 1.0, 1.0)[0 if name == "shear" else 1]


def true_numbers(truth: Mapping[str, Any]) -> dict[str, float]:
    """Single numbers of the truth under the names that models have for them."""
    found = {name: float(value) for name, value in truth.items()
             if isinstance(value, float | int) and not isinstance(value, bool)}
    simulator = true_simulator(truth)
    if simulator is not None and hasattr(simulator, "transport"):
        values = simulator.transport(simulator.kT, 1.0 / simulator.volume0)
        found |= {name: float(value) for name, value in zip(("shear_viscosity", "bulk_viscosity", "conductivity"),
                                                           values)}
    return found


def first_entropy(data: Any) -> float | None:
    """Mean entropy at the first frame [kB], the origin from which a model counts; None where it is not recorded."""
    if data is None or getattr(data, "entropy", None) is None:
        return None
    return float(data.entropy[data.frame == data.frame.min()].mean())


def exact_flow(simulator: Any, rho: np.ndarray, times: np.ndarray) -> np.ndarray | None:
    """Densities (starts, times, cells) of ρ_t = Φ(ρ)_xx, Φ' = m f'', on a ring of length 1; None without exact m.

    Parameters
    ----------
    simulator : Lattice
        The process whose exact limit is followed.
    rho : (starts, cells) array
        Densities at times[0].

    Examples
    --------
    >>> x = np.arange(64) / 64
    >>> free = vd.simulators.Arrhenius(kernel=(0.0,))                       # exclusion alone: m f'' = 1
    >>> after = exact_flow(free, 0.5 + 0.2 * np.cos(2 * np.pi * x)[None], np.array([0.0, 0.02]))[0, 1]
    >>> bool(abs(after.max() - 0.5 - 0.2 * np.exp(-4 * np.pi**2 * 0.02)) < 2e-4)
    True
    """
    from scipy.integrate import cumulative_simpson, solve_ivp
    from scipy.interpolate import CubicSpline
    from scipy.sparse import diags

    margin = 1e-3
    grid = np.linspace(max(rho.min() - margin, 1e-6), rho.max() + margin, 201)
    try:
        D = simulator.limit(grid).diffusion
    except vd.Vid2DynError:
        return None
    phi = CubicSpline(grid, cumulative_simpson(D, x=grid, initial=0.0))
    n = rho.shape[1]
    ring = diags([1.0, 1.0, 1.0, 1.0, 1.0], [-(n - 1), -1, 0, 1, n - 1], shape=(n, n))

    def rate(_: float, state: np.ndarray) -> np.ndarray:
        value = phi(state)
        return n**2 * (np.roll(value, -1) - 2 * value + np.roll(value, 1))

    return np.stack([solve_ivp(rate, (times[0], times[-1]), start, method="BDF", t_eval=times, rtol=1e-6, atol=1e-9,
                               jac_sparsity=ring).y.T for start in np.asarray(rho, float)])


def monte_carlo(simulator: Any, times: np.ndarray, realisations: int, seed: int, progress: Any) -> Any:
    """`Fields` of the true process at macroscopic `times` (the first of which is the start), on the same ring."""
    windows = tuple(float(t) * simulator.sites**2 * simulator.d for t in times[1:])
    return vd.simulate(dataclasses.replace(simulator, windows=windows, realisations=realisations), seed, progress)
