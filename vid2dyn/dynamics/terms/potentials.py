"""Potentials that are learned from Brownian motion: between pairs, and traps.

Energies in kT, lengths in µm. Each is a `Potential` (energy on a `Snapshot`, gradient by automatic
differentiation) and also answers in plain numpy, for plots and for the compiled rollout.
"""

from __future__ import annotations

import numpy as np
import torch

from vid2dyn.dynamics.base import Potential
from vid2dyn.dynamics.snapshot import Snapshot
from vid2dyn.dynamics.terms.splines import RadialSpline


class PairPotential(Potential):
    """Central pair potential phi(r) as a spline, zero with two derivatives at the cutoff.

    Parameters
    ----------
    spline : RadialSpline
        Basis.
    coefficients : (knots,) array
        [kT].
    core_stiffness : float
        Slope of the repulsion inside `spline.inner`, where no pair was ever seen [kT/µm²]: the parabola that
        continues the spline is made at least this steep, so that a rollout never falls into unseen ground.

    Examples
    --------
    >>> phi = PairPotential(RadialSpline(0.5, 2.0, 8), np.linspace(3, 0, 8))
    >>> float(phi.value(np.array([2.5]))[0])
    0.0
    """

    def __init__(self, spline: RadialSpline, coefficients: np.ndarray, core_stiffness: float = 0.0) -> None:
        self.spline = spline
        self.coefficients = np.asarray(coefficients, dtype=float)
        self.core_stiffness = float(core_stiffness)
        inner = np.array([max(spline.inner, 1e-9)])
        value, slope, curvature = spline(inner)
        self._edge = float((value @ self.coefficients)[0])
        self._edge_slope = float((slope @ self.coefficients)[0])
        self._edge_curvature = max(float((curvature @ self.coefficients)[0]), self.core_stiffness)

    def _inside(self, r: np.ndarray) -> np.ndarray:
        return (r < self.spline.inner) & (self.spline.inner > 0)

    def value(self, r: np.ndarray) -> np.ndarray:
        """phi(r) [kT]; r in µm, any shape."""
        r = np.asarray(r, dtype=float)
        flat = r.ravel()
        out = self.spline(flat)[0] @ self.coefficients
        inside = self._inside(flat)
        d = flat[inside] - self.spline.inner
        out[inside] = self._edge + self._edge_slope * d + 0.5 * self._edge_curvature * d**2
        return out.reshape(r.shape)

    def force(self, r: np.ndarray) -> np.ndarray:
        """-dphi/dr [kT/µm], positive where particles repel."""
        r = np.asarray(r, dtype=float)
        flat = r.ravel()
        out = -(self.spline(flat)[1] @ self.coefficients)
        inside = self._inside(flat)
        out[inside] = -self._edge_slope - self._edge_curvature * (flat[inside] - self.spline.inner)
        return out.reshape(r.shape)

    def curvature(self, r: np.ndarray) -> np.ndarray:
        """d²phi/dr² [kT/µm²]."""
        r = np.asarray(r, dtype=float)
        flat = r.ravel()
        out = self.spline(flat)[2] @ self.coefficients
        out[self._inside(flat)] = self._edge_curvature
        return out.reshape(r.shape)

    def energy(self, snapshot: Snapshot) -> torch.Tensor:
        return _Radial.apply(snapshot.distance(), self).sum()


class _Radial(torch.autograd.Function):
    """phi at tensors of distances, twice differentiable through the spline's own derivatives."""

    @staticmethod
    def forward(ctx, r: torch.Tensor, phi: PairPotential) -> torch.Tensor:  # type: ignore[override]
        ctx.phi = phi
        ctx.save_for_backward(r)
        return torch.as_tensor(phi.value(r.detach().cpu().numpy()), dtype=r.dtype, device=r.device)

    @staticmethod
    def backward(ctx, grad: torch.Tensor):  # type: ignore[override]
        (r,) = ctx.saved_tensors
        return grad * _RadialSlope.apply(r, ctx.phi), None


class _RadialSlope(torch.autograd.Function):
    """phi' at tensors of distances, once differentiable."""

    @staticmethod
    def forward(ctx, r: torch.Tensor, phi: PairPotential) -> torch.Tensor:  # type: ignore[override]
        ctx.phi = phi
        ctx.save_for_backward(r)
        return torch.as_tensor(-phi.force(r.detach().cpu().numpy()), dtype=r.dtype, device=r.device)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: torch.Tensor):  # type: ignore[override]
        (r,) = ctx.saved_tensors
        curvature = ctx.phi.curvature(r.detach().cpu().numpy())
        return grad * torch.as_tensor(curvature, dtype=grad.dtype, device=grad.device), None


class HarmonicTrap(Potential):
    """U = k |x - c|² / 2 for every particle; centres shared or one each.

    Parameters
    ----------
    stiffness : float
        k [kT/µm²].
    centre : (1, dim) or (particles, dim) array
        [µm]; with more than one row, row `snapshot.index` belongs to a node.

    Examples
    --------
    >>> trap = HarmonicTrap(4.0, np.zeros((1, 2)))
    >>> float(trap.energy(Snapshot.of(torch.tensor([[1.0, 1.0]]), cutoff=None)))
    4.0
    """

    def __init__(self, stiffness: float, centre: np.ndarray) -> None:
        self.stiffness = float(stiffness)
        self.centre = np.atleast_2d(np.asarray(centre, dtype=float))

    def energy(self, snapshot: Snapshot) -> torch.Tensor:
        x = snapshot.position
        centre = torch.as_tensor(self.centre, dtype=x.dtype, device=x.device)
        if len(centre) > 1:
            centre = centre[snapshot.index] if snapshot.index is not None else centre
        return 0.5 * self.stiffness * ((x - centre) ** 2).sum()
