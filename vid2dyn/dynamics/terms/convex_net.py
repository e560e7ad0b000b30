"""Equation of state as a net: convex in entropy and volume, and monotone, whatever its numbers are.

    U(S, V) = T0/(a H0) G + T0 (k1 x + k2 x²/2),      x = ln(V/V0)
    G = e^z + sum_k w_k s(v_k),      z = a (S - n x),      v_k = p_k a (S - m_k n x) + b_k,      s(v) = ln(1 + e^v)
    T = T0 H/H0,       H = e^z + sum_k w_k p_k s'(v_k),      H0 = H at S = 0, V = V0
    P V = T0 n Q/H0 - T0 (k1 + k2 x),      Q = e^z + sum_k w_k p_k m_k s'(v_k)

One hidden layer of softplus units beside the exponential of an ideal gas (Amos, Xu & Kolter, Input Convex Neural
Networks, ICML 2017, §3), with w, p, m > 0 kept as logarithms. s and exp are convex and rise, their arguments are linear
in (S, x), rise with S and fall with x: so G is convex in (S, x), T > 0, and the pressure is positive but for the cold
part. ln V is concave and G falls with it, so G is convex in (S, V) as well (Boyd & Vandenberghe, Convex Optimization,
§3.2.4). Units that differ in m respond to V otherwise than the gas does; units that differ in p and b bend the heat
capacity either way. Without units (w = 0) this is the ideal gas of T0, heat capacity 1/a and n molecules.

T0 is the temperature of S = 0, V = V0, as of the other form (`vid2dyn.dynamics.terms.gas`), which the first six numbers
are shared with; q has no meaning here. One formula serves numpy (the estimator) and torch (`ConvexNetGas`).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.special import expit

from vid2dyn.core.errors import ModelError
from vid2dyn.dynamics.terms.equations_of_state import EquationOfState, Thermo
from vid2dyn.dynamics.terms.gas import NAMES, GasState

UNIT = ("ln w", "ln p", "ln m", "b")
"""Numbers of a unit; all units' first numbers stand first."""
WIDTHS = (1.5, 0.5, 0.5, 1.0)
"""Prior standard deviations of these about `start_units`: a factor of 4.5 in a weight, 1.6 in a slope."""
SPAN = 1.0
"""Units are placed over temperatures from T0/e to e T0 at first."""


def start_units(count: int) -> np.ndarray:
    """Numbers of `count` units, (4 · count,), with which the net is close to the ideal gas of its T0, a and n.

    Half of T comes from the exponential. The units have their bends at even t_k; s'((z - t)/δ) of weights e^t adds up
    to e^z times πδ/sin πδ, and the first one stands for all below it.

    >>> start_units(8).shape
    (32,)
    """
    at = np.linspace(-SPAN, SPAN, count) if count > 1 else np.zeros(1)
    width = 2 * SPAN / max(count - 1, 2)
    weight = np.exp(at) * width * math.sin(math.pi * width) / (math.pi * width) if width < 1 else np.exp(at)
    weight[0] += math.exp(at[0])
    return np.concatenate([np.log(weight * width), np.full(count, -math.log(width)), np.zeros(count), -at / width])


def net_state(theta: np.ndarray, units: np.ndarray, S: np.ndarray, V: np.ndarray, volume: float) -> GasState:
    """T(S, V), P(S, V) and their slopes in S and in all numbers: the six of the gas, then those of the units.

    Parameters
    ----------
    theta : (6,) array
        Numbers of `vid2dyn.dynamics.terms.gas.NAMES`; the fourth is not used.
    units : (4 · count,) array
        In the order of `UNIT`.
    S, V : (n,) arrays
    volume : float
        V0.

    Examples
    --------
    >>> gas = np.array([0.0, 1 / 60, 40.0, 0.0, 0.0, 0.0])
    >>> state = net_state(gas, start_units(8), np.zeros(1), np.full(1, 0.002), 0.002)
    >>> state.T.tolist(), round(float(state.P[0]) * 0.002, 6), bool(abs(60 * state.softness[0] - 1) < 0.1)
    ([1.0], 40.0, True)
    """
    log_T0, a, n, _, k1, k2 = theta
    ln_w, ln_p, ln_m, b = (row[:, None] for row in units.reshape(4, -1))
    w, p, m = np.exp(ln_w), np.exp(ln_p), np.exp(ln_m)
    x = np.log(V / volume)
    sigma = S - n * x
    E = np.exp(a * sigma)
    seen = S - m * n * x                                                    # (units, n)
    v = p * a * seen + b
    s1, s2, s3 = _slopes(v)
    at0, at0_slope, _ = _slopes(b[:, 0])
    w0 = (w * p)[:, 0]
    H0 = 1.0 + float(w0 @ at0)
    one, two, three = w * p * s1, w * p**2 * s2, w * p**3 * s3              # H, H_S/a, H_SS/a² of every unit
    H, H_S, H_SS = E + one.sum(0), a * (E + two.sum(0)), a**2 * (E + three.sum(0))
    Q, Q_S, Q_SS = E + (m * one).sum(0), a * (E + (m * two).sum(0)), a**2 * (E + (m * three).sum(0))

    # slopes of v in a, n, ln p, ln m; those in ln w and b are 0 and 1
    v_a, v_n, v_p, v_m = p * seen, -p * a * m * x, p * a * seen, -p * a * m * n * x

    def slopes(value: np.ndarray, further: np.ndarray, power: int, weight: np.ndarray, shifted: bool) -> np.ndarray:
        """Slopes of E + sum weight · value in (a, n, units); value = w p^power s^(power), further its slope in v."""
        parts = weight * value, weight * further
        by_a, by_n = E * sigma + (parts[1] * v_a).sum(0), -E * a * x + (parts[1] * v_n).sum(0)
        return np.concatenate([by_a[None], by_n[None], parts[0], power * parts[0] + parts[1] * v_p,
                               parts[1] * v_m + (parts[0] if shifted else 0.0), parts[1]])

    H_of = slopes(one, w * p * s2, 1, np.ones_like(m), False)
    Q_of = slopes(one, w * p * s2, 1, m, True)
    HS_of = a * slopes(two, w * p**2 * s3, 2, np.ones_like(m), False)
    QS_of = a * slopes(two, w * p**2 * s3, 2, m, True)
    HS_of[0] += H_S / a
    QS_of[0] += Q_S / a
    count = len(ln_w)
    H0_of = np.concatenate([np.zeros(2), w0 * at0, w0 * at0, np.zeros(count), w0 * at0_slope]) / H0

    T0 = math.exp(log_T0)
    T = T0 * H / H0
    soft = H_S / H
    thermal = T0 * n * Q / (H0 * V)
    push = T0 / V
    P = thermal - push * (k1 + k2 * x)
    molecules = n * Q_S / H_S
    size = len(NAMES) + 4 * count
    T_of, P_of, soft_of, molecules_of = (np.zeros((size, len(T))) for _ in range(4))
    rows = np.r_[1, 2, len(NAMES):size]
    T_of[0], T_of[rows] = T, T * (H_of / H - H0_of[:, None])
    P_of[0], P_of[rows] = P, thermal * (Q_of / Q - H0_of[:, None])
    P_of[2] += thermal / n
    P_of[4], P_of[5] = -push, -push * x
    soft_of[rows] = soft * (HS_of / H_S - H_of / H)
    molecules_of[rows] = molecules * (QS_of / Q_S - HS_of / H_S)
    molecules_of[2] += Q_S / H_S
    return GasState(T, P, soft, T * soft, T0 * n * Q_S / (H0 * V), H_SS / H - soft**2, T_of, P_of, soft_of, molecules,
                    molecules * (Q_SS / Q_S - H_SS / H_S), molecules_of)


def _slopes(v: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """s', s'' and s''' of s(v) = ln(1 + e^v)."""
    s = expit(v)
    s2 = s * expit(-v)
    return s, s2, s2 * (1.0 - 2.0 * s)


class ConvexNetGas(EquationOfState):
    """The same in torch, with energy and second derivatives.

    Parameters
    ----------
    temperature : float
        T0 > 0, at S = 0 and V = volume.
    softness, molecules : float
        a > 0 and n >= 0 of the ideal gas that the units are added to.
    volume : float
        V0.
    units : (4 · count,) array
        Numbers of the units, in the order of `UNIT`.
    cold : (float, float)
        k1, k2.

    Raises
    ------
    ModelError
        When T0, a or V0 is not positive, or the units are not four numbers each.

    Examples
    --------
    >>> gas = ConvexNetGas(2.0, 1 / 15, 10.0, 1.0, start_units(8))
    >>> state = gas(torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64))
    >>> state.T.tolist(), round(state.P.item(), 9)
    ([2.0], 20.0)
    """

    numbers: torch.Tensor
    units: torch.Tensor

    def __init__(self, temperature: float, softness: float, molecules: float, volume: float, units: np.ndarray, *,
                 cold: tuple[float, float] = (0.0, 0.0)) -> None:
        super().__init__()
        for name, value in (("temperature", temperature), ("softness", softness), ("volume", volume)):
            if not (math.isfinite(value) and value > 0):
                raise ModelError(f"ConvexNetGas: {name} = {value!r} must be a positive number.")
        if len(units) % len(UNIT) or not np.isfinite(units).all():
            raise ModelError(f"ConvexNetGas: {len(units)} numbers of units; give {len(UNIT)} finite ones for each.")
        self.register_buffer("numbers", torch.tensor([temperature, softness, molecules, *cold, volume],
                                                     dtype=torch.float64))
        self.register_buffer("units", torch.as_tensor(np.asarray(units, float).reshape(len(UNIT), -1)))

    def forward(self, S: torch.Tensor, V: torch.Tensor) -> Thermo:
        T0, a, n, k1, k2, V0 = self.numbers.to(S)
        ln_w, ln_p, ln_m, b = self.units.to(S)
        w, p, m = ln_w.exp(), ln_p.exp(), ln_m.exp()
        x = torch.log(V / V0)
        z = a * (S - n * x)
        E = torch.exp(z)
        v = p * a * (S[:, None] - m * n * x[:, None]) + b                   # (n, units)
        s1 = torch.sigmoid(v)
        s2 = s1 * torch.sigmoid(-v)
        zero = v.new_zeros(())
        # counted from the state T0, V0: at a large heat capacity U itself would drown its changes
        G = torch.expm1(z) + (torch.logaddexp(v, zero) - torch.logaddexp(b, zero)) @ w
        H0 = 1.0 + (w * p * torch.sigmoid(b)).sum()
        H, H_S = E + s1 @ (w * p), a * (E + s2 @ (w * p * p))
        Q, Q_S, Q_x = E + s1 @ (w * p * m), a * (E + s2 @ (w * p * p * m)), -a * n * (E + s2 @ (w * (p * m) ** 2))
        scale = T0 / H0
        U_x = -scale * n * Q + T0 * (k1 + k2 * x)
        U_xx = -scale * n * Q_x + T0 * k2
        return Thermo(scale / a * G + T0 * (k1 * x + 0.5 * k2 * x * x), scale * H, -U_x / V, scale * H_S,
                      -scale * n * Q_S / V, (U_xx - U_x) / V**2)
