"""What is known of a lattice process from its states alone: rates of all hops, generator, carré du champ.

For Y_i = (1/N) sum_k η_k γ_i(k/N) of one state, with the rates r_b (to the right) and l_b (to the left) over bond b,

    generator          L Y_i      = (1/N) sum_b (r_b - l_b) [γ_i(b+1) - γ_i(b)]
    carré du champ     Γ(Y_i,Y_j) = (1/N²) sum_b (r_b + l_b) [γ_i(b+1) - γ_i(b)] [γ_j(b+1) - γ_j(b)]

are the mean and the covariance of an increment over the time that it takes, in the limit of short times. Averaged over
static snapshots they tell drift and instant noise without any dynamics: oracles for tests. For processes whose current
is a gradient the mean of (r_b + l_b)/2 at uniform density is N² m exactly; else it lies above (memory takes back part).

Rates are summed here afresh from the definition (`Arrhenius`, `ZeroRange`), not read from the simulators' tables.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vid2dyn.core.errors import ConfigError
from vid2dyn.simulators.lattice.processes import Arrhenius, ZeroRange


def hop_rates(simulator: Any, states: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rates [1/macroscopic time] of the hops over every bond, from its left site to its right one, and back.

    Parameters
    ----------
    simulator : Arrhenius or ZeroRange
    states : (..., sites) array
        Particles on each site.

    Returns
    -------
    right, left : (..., sites) arrays
        Bond b lies between sites b and b + 1.

    Examples
    --------
    >>> right, left = hop_rates(Arrhenius(sites=8), np.array([1, 1, 0, 0, 0, 0, 0, 0]))
    >>> (right / 64).tolist(), (left / 64).tolist()
    ([0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0])
    """
    here = np.asarray(states, dtype=float)
    after = np.roll(here, -1, axis=-1)
    scale = simulator.sites**2 * simulator.d
    if isinstance(simulator, ZeroRange):
        leave = np.minimum(here, 1.0) if simulator.rate == "constant" else here
        return scale * leave, scale * np.roll(leave, -1, axis=-1)
    if not isinstance(simulator, Arrhenius):
        raise ConfigError(f"hop_rates: the rates of {type(simulator).__name__} are not known here; give an Arrhenius "
                          "or ZeroRange simulator.")
    U = sum((J * (np.roll(here, r, axis=-1) + np.roll(here, -r, axis=-1))
             for r, J in enumerate(simulator.energies, start=1)), np.zeros_like(here))
    leave = here * np.exp(-U)
    return scale * leave * (1 - after), scale * np.roll(leave, -1, axis=-1) * (1 - here)


def generator(simulator: Any, states: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(..., n) drift L Y of test functions `values` (sites, n) in `states` (..., sites) [1/macroscopic time]."""
    right, left = hop_rates(simulator, states)
    return (right - left) @ (np.roll(values, -1, axis=0) - values) / simulator.sites


def carre_du_champ(simulator: Any, states: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(n, n) mean over `states` (R, sites) of Γ(Y_i, Y_j) [1/macroscopic time]: covariance of increments per time."""
    right, left = hop_rates(simulator, states)
    step = np.roll(values, -1, axis=0) - values
    return (step * (right + left).mean(axis=0)[:, None]).T @ step / simulator.sites**2


def instant_mobility(simulator: Any, states: np.ndarray) -> tuple[float, float]:
    """m from the rates in `states` (R, sites) at uniform density, and its standard error over the states."""
    right, left = hop_rates(simulator, states)
    each = 0.5 * (right + left).mean(axis=-1) / simulator.sites**2
    return float(each.mean()), float(each.std(ddof=1) / len(each) ** 0.5)
