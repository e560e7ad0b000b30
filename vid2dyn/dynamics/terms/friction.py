"""Friction matrices by their roots: solvent on nodes, contact friction on pairs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from vid2dyn.core.errors import ModelError
from vid2dyn.dynamics.base import FrictionMatrix, Root
from vid2dyn.dynamics.snapshot import Snapshot


class SolventMobility(FrictionMatrix):
    """Every particle diffuses alone: M = D I, constant, so its divergence is zero.

    Parameters
    ----------
    diffusion : float
        D = kT × mobility [µm²/s].

    Examples
    --------
    >>> snapshot = Snapshot.of(torch.zeros(2, 2, dtype=torch.float64), cutoff=None)
    >>> SolventMobility(0.25).times(snapshot, torch.ones(2, 2, dtype=torch.float64)).tolist()
    [[0.25, 0.25], [0.25, 0.25]]
    """

    def __init__(self, diffusion: float) -> None:
        if not diffusion > 0:
            raise ModelError(f"diffusion = {diffusion!r} µm²/s must be positive.")
        self.diffusion = float(diffusion)

    def root(self, snapshot: Snapshot) -> Root:
        x = snapshot.position
        eye = torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
        return Root(node=(self.diffusion**0.5 * eye).expand(x.shape[0], -1, -1))

    def divergence(self, snapshot: Snapshot) -> torch.Tensor:
        return torch.zeros_like(snapshot.position)


class StructuredMobility(FrictionMatrix):
    """Every particle diffuses alone, with a mobility that its structural variable c sets: M_i = D(c_i) I.

    log D is linear between knots and constant beyond; D does not depend on the position, so the divergence is zero.

    Parameters
    ----------
    knots : (k,) array
        Values of the structural variable, increasing.
    log_diffusion : (k,) array
        log D there, D in µm²/s.

    Examples
    --------
    >>> snapshot = Snapshot.of(torch.zeros(2, 1, dtype=torch.float64), None,
    ...                        structure=torch.tensor([-9.0, 0.5], dtype=torch.float64))
    >>> mobility = StructuredMobility(np.array([0.0, 1.0]), np.log([0.25, 1.0]))
    >>> mobility.times(snapshot, torch.ones(2, 1, dtype=torch.float64)).numpy().round(9).tolist()
    [[0.25], [0.5]]
    """

    def __init__(self, knots: np.ndarray, log_diffusion: np.ndarray) -> None:
        if len(knots) < 2 or not (np.diff(knots) > 0).all():
            raise ModelError(f"knots = {np.asarray(knots).tolist()}: give two or more increasing values.")
        self.knots, self.log_diffusion = torch.as_tensor(knots), torch.as_tensor(log_diffusion)

    def diffusion(self, structure: torch.Tensor) -> torch.Tensor:
        """D [µm²/s] at values (n,) of the structural variable."""
        c = structure.clamp(self.knots[0], self.knots[-1])
        right = torch.searchsorted(self.knots, c).clamp(1, len(self.knots) - 1)
        t = (c - self.knots[right - 1]) / (self.knots[right] - self.knots[right - 1])
        return torch.exp((1 - t) * self.log_diffusion[right - 1] + t * self.log_diffusion[right])

    def root(self, snapshot: Snapshot) -> Root:
        x = snapshot.position
        eye = torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
        return Root(node=self.diffusion(snapshot.column("structure")).sqrt()[:, None, None] * eye)

    def divergence(self, snapshot: Snapshot) -> torch.Tensor:
        return torch.zeros_like(snapshot.position)


class PairFriction(FrictionMatrix):
    """Friction along the line between neighbours; its two ends cancel, so momentum is conserved.

    M = sum over pairs of gamma(r) (e_i - e_j)(e_i - e_j)ᵀ along the unit vector of the pair: the friction of
    dissipative particle dynamics (Español & Warren, Europhys. Lett. 30, 191, 1995, eq. 10).

    Parameters
    ----------
    gamma : callable
        Tensor of distances (p,) [µm] to friction coefficients (p,), >= 0.
    """

    def __init__(self, gamma: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self.gamma = gamma

    def root(self, snapshot: Snapshot) -> Root:
        separation = snapshot.separation()
        r = torch.linalg.vector_norm(separation, dim=1)
        block = (self.gamma(r).sqrt() / r)[:, None, None] * separation[:, :, None]
        return Root(first=block, second=-block, pairs=snapshot.pairs)


@dataclass(frozen=True)
class PairFrictionLaw:
    """c(r) = amplitude · ((1 - r/cutoff)/(1 - near/cutoff))², the weight of dissipative particle dynamics.

    Parameters
    ----------
    amplitude : float
        c at `near`, along the line of centres [kT s/µm²].
    near, cutoff : float
        Distance of neighbours, and where friction ends [µm].

    Examples
    --------
    >>> law = PairFrictionLaw(2.0, 7.0, 10.5)
    >>> law(np.array([7.0, 10.5])).tolist()
    [2.0, 0.0]
    """

    amplitude: float
    near: float
    cutoff: float

    def __call__(self, r: Any) -> np.ndarray:
        """c(r) [kT s/µm²]; r in µm."""
        rest = np.maximum(self.cutoff - np.asarray(r, dtype=float), 0.0)
        return self.amplitude * (rest / (self.cutoff - self.near)) ** 2


class Sum(FrictionMatrix):
    """Several friction mechanisms at once: M = sum of M_s, so G is their roots side by side."""

    def __init__(self, *parts: FrictionMatrix) -> None:
        self.parts = parts

    def root(self, snapshot: Snapshot) -> Root:
        roots = [part.root(snapshot) for part in self.parts]
        nodes = [r.node for r in roots if r.node is not None]
        joined = [r for r in roots if r.first is not None]
        node = torch.cat(nodes, 2) if nodes else None
        if not joined:
            return Root(node)
        lists = [pairs for r in joined if (pairs := r.pairs) is not None]
        if all(pairs is lists[0] for pairs in lists):
            first, second = (torch.cat([getattr(r, end) for r in joined], 2) for end in ("first", "second"))
            return Root(node, first, second, lists[0])
        # pairs of now and bonds of a reference frame: one list after the other, each with channels of its own
        most = max(r.first.shape[2] for r in joined)         # type: ignore[union-attr]
        first, second = (torch.cat([torch.nn.functional.pad(block, (0, most - block.shape[2]))
                                    for block in (getattr(r, end) for r in joined)]) for end in ("first", "second"))
        return Root(node, first, second, torch.cat(lists))
