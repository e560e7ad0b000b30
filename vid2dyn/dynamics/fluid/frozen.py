"""A fluid model reduced to tables: what a compiled loop, an exporter or a plot needs, without torch.

Entropy in kB (kB = 1), energy in the model's unit, T = dU/dS in energy per kB. The layout is a contract:

radial tables
    rows r_k = k · cutoff / (len - 1), k = 0 ... len - 1, both ends included; columns (f, df/dr). Between two rows
    f is the cubic Hermite polynomial of both columns (C1, error h⁴ |f''''| / 384). Zero in the last row.
equation of state
    nodes S_a = entropy[0] + a · hS, x_b = log_volume[0] + b · hx with hS, hx the even spacings that end at
    entropy[1], log_volume[1] (both ends included) and x = ln V; `eos[a, b]` = (U, ∂U/∂S, ∂U/∂x, ∂²U/∂S∂x).
    Between nodes U is the bicubic Hermite polynomial of the four corners: in each direction the lower node has the
    weights (1 + 2t)(1 - t)² of its value and h t (1 - t)² of its derivative, the upper node t² (3 - 2t) and
    h t² (t - 1), with t in [0, 1] the place between the nodes and h their spacing.

pair coefficients
    A²_ij = shear(r) (V_i V_j)^q T_ij^p,  B²_ij = bulk(r) (V_i V_j)^q T_ij^p,  C²_ij = heat(r) (V_i V_j)^q (T_i T_j)^p
    with T_ij = 2 T_i T_j / (T_i + T_j), p = temperature_power and q = volume_power, each 0 or 1.
    p = q = 0: the amplitude of the noise depends on distance only. p = q = 1: viscosity and conductivity do not
    depend on state (smoothed dissipative particle dynamics).
    K_ij = A²/2 (I + e eᵀ) + (B² - A²)/dim e eᵀ = along e eᵀ + across (I - e eᵀ) with
    across = A²/2, along = A² (1 - 1/dim) + B²/dim.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vid2dyn.core.errors import ModelError


@dataclass(frozen=True)
class FrozenFluid:
    """Numbers of a metriplectic fluid; the layout of the tables is in the docstring of this file.

    Parameters
    ----------
    dim : int
        2 or 3.
    mass : float
        Of one particle.
    cutoff : float
        Range of every pair function.
    kernel, shear, bulk, heat : (rows, 2) arrays
        W(r) with ∫W = 1, and the radial parts of A², B², C².
    temperature_power, volume_power : int
        p and q of the pair coefficients, 0 or 1.
    entropy, log_volume : (float, float)
        First and last node of the table of U; a state outside it is an error, not an extrapolation.
    eos : (nS, nx, 4) array
        U and its derivatives at the nodes.

    Raises
    ------
    ModelError
        When a table has the wrong shape, is not finite, or the temperature in it is not positive.
    """

    dim: int
    mass: float
    cutoff: float
    kernel: np.ndarray
    shear: np.ndarray
    bulk: np.ndarray
    heat: np.ndarray
    temperature_power: int
    volume_power: int
    entropy: tuple[float, float]
    log_volume: tuple[float, float]
    eos: np.ndarray
    kB: float = 1.0

    def __post_init__(self) -> None:
        for name in ("kernel", "shear", "bulk", "heat"):
            table = getattr(self, name)
            if table.ndim != 2 or table.shape[1] != 2 or len(table) < 2 or not np.isfinite(table).all():
                raise ModelError(f"FrozenFluid: the table {name} of shape {table.shape} must be (rows >= 2, 2) finite "
                                 "numbers: value and slope. Freeze the model again.")
        if self.eos.ndim != 3 or self.eos.shape[2] != 4 or min(self.eos.shape[:2]) < 2 \
                or not np.isfinite(self.eos).all():
            raise ModelError(f"FrozenFluid: the table eos of shape {self.eos.shape} must be (nS >= 2, nx >= 2, 4) "
                             "finite numbers; choose a smaller range of entropy or volume.")
        if not (self.eos[..., 1] > 0).all():
            a, b = np.argwhere(~(self.eos[..., 1] > 0))[0]
            raise ModelError(f"FrozenFluid: temperature {self.eos[a, b, 1]:.3g} is not positive at node "
                             f"({a}, {b}) of the equation of state; choose a smaller range of entropy or volume.")
        if self.temperature_power not in (0, 1) or self.volume_power not in (0, 1):
            raise ModelError("FrozenFluid: temperature_power and volume_power are 0 or 1.")

    def radial(self, name: str, r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Value and slope of the table `name` ("kernel", "shear", "bulk", "heat") at distances r, zero beyond."""
        table = getattr(self, name)
        r = np.asarray(r, dtype=float)
        h = self.cutoff / (len(table) - 1)
        k = np.clip((r / h).astype(int), 0, len(table) - 2)
        t = r / h - k
        value = (_h00(t) * table[k, 0] + _h10(t) * h * table[k, 1]
                 + _h00(1 - t) * table[k + 1, 0] - _h10(1 - t) * h * table[k + 1, 1])
        slope = (6 * t * (t - 1) * (table[k, 0] - table[k + 1, 0]) / h
                 + (1 - t) * (1 - 3 * t) * table[k, 1] + t * (3 * t - 2) * table[k + 1, 1])
        return np.where(r < self.cutoff, value, 0.0), np.where(r < self.cutoff, slope, 0.0)

    def energy(self, S: np.ndarray, V: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """U, T = ∂U/∂S and P = -∂U/∂V from the table.

        Raises
        ------
        ModelError
            When a state lies outside the table.
        """
        S, x = np.broadcast_arrays(np.asarray(S, dtype=float), np.log(np.asarray(V, dtype=float)))
        nS, nx = self.eos.shape[:2]
        hS = (self.entropy[1] - self.entropy[0]) / (nS - 1)
        hx = (self.log_volume[1] - self.log_volume[0]) / (nx - 1)
        u, w = (S - self.entropy[0]) / hS, (x - self.log_volume[0]) / hx
        outside = ~((u >= 0) & (u <= nS - 1) & (w >= 0) & (w <= nx - 1))
        if outside.any():
            k = np.flatnonzero(outside.ravel())[0]
            raise ModelError(f"S = {S.ravel()[k]:.4g}, ln V = {x.ravel()[k]:.4g} lies outside the frozen table "
                             f"(S {self.entropy}, ln V {self.log_volume}); freeze the model over a wider range.")
        a, b = np.minimum(u.astype(int), nS - 2), np.minimum(w.astype(int), nx - 2)
        s, t = u - a, w - b
        U = _blend(self.eos, a, b, _weights(s, hS), _weights(t, hx))
        T = _blend(self.eos, a, b, _slopes(s, hS), _weights(t, hx))
        Ux = _blend(self.eos, a, b, _weights(s, hS), _slopes(t, hx))
        return U, T, -Ux / np.exp(x)


def _h00(t: np.ndarray) -> np.ndarray:
    return (1 + 2 * t) * (1 - t) ** 2


def _h10(t: np.ndarray) -> np.ndarray:
    return t * (1 - t) ** 2


def _weights(t: np.ndarray, h: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Hermite weights of (value, derivative) at the lower node, then at the upper."""
    return _h00(t), h * _h10(t), _h00(1 - t), -h * _h10(1 - t)


def _slopes(t: np.ndarray, h: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Derivatives of `_weights` with respect to the coordinate (t times h)."""
    return 6 * t * (t - 1) / h, (1 - t) * (1 - 3 * t), -6 * t * (t - 1) / h, t * (3 * t - 2)


def _blend(eos: np.ndarray, a: np.ndarray, b: np.ndarray, in_S: tuple[np.ndarray, ...],
           in_x: tuple[np.ndarray, ...]) -> np.ndarray:
    """Sum over the four corners of U, U_S, U_x, U_Sx times their weights."""
    out = np.zeros(np.broadcast(a, in_S[0]).shape)
    for i in (0, 1):
        for j in (0, 1):
            U, U_S, U_x, U_Sx = np.moveaxis(eos[a + i, b + j], -1, 0)
            out += in_S[2 * i] * (in_x[2 * j] * U + in_x[2 * j + 1] * U_x)
            out += in_S[2 * i + 1] * (in_x[2 * j] * U_S + in_x[2 * j + 1] * U_Sx)
    return out
