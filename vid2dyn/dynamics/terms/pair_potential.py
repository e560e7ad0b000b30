"""Energy of pairs: a potential φ(r) for every pair of species, as a spline that ends smoothly."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from vid2dyn.core.errors import ConfigError
from vid2dyn.dynamics.snapshot import Snapshot
from vid2dyn.dynamics.terms.base import (
    Configuration,
    Exports,
    PairEnergy,
    Parameters,
    Quantity,
    Scene,
    Tables,
    checked_positive,
    checked_reach,
    kinds_of_pairs,
)
from vid2dyn.dynamics.terms.splines import RadialSpline

SWING = 1.0
"""Standard deviation of the third differences of the coefficients in the prior [kT]."""
SIZE = 30.0
"""Standard deviation of the coefficients in the prior [kT]."""


@dataclass(frozen=True)
class PairPotential(PairEnergy):
    """Energy φ(r) of every pair, a spline with two continuous derivatives that vanish at the cutoff.

    Parameters
    ----------
    cutoff : float
        Range [µm], at most half the box.
    knots : int
        Number of splines. More of them resolve finer structure and need more data.
    learn_range : bool
        Whether a shorter range is taken where it predicts held-out motion as well.
    inner : tuple of float, optional
        Distance of each pair of species inside which no pairs were seen [µm]; the data decide it. Inside, φ goes on as
        a parabola at least as steep as `core`.
    core : float, optional
        Least curvature inside `inner` [energy/µm²]; the data decide it.
    species : tuple of str, optional
        Names of the species; the data decide it.

    Examples
    --------
    >>> term = PairPotential(cutoff=2.0, knots=8, inner=(0.0,), core=0.0, species=("",))
    >>> term.count, term.reach
    (8, 2.0)
    """

    exports: ClassVar[Exports] = Exports(stock="pair_style table")

    cutoff: float
    knots: int = 20
    learn_range: bool = True
    inner: tuple[float, ...] | None = None
    core: float | None = None
    species: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        checked_positive("PairPotential", cutoff=self.cutoff)
        if self.knots < 6:
            raise ConfigError(f"PairPotential: knots = {self.knots}; use at least 6.")
        for name in ("inner", "species"):
            value = getattr(self, name)
            object.__setattr__(self, name, None if value is None else tuple(value))

    @property
    def reach(self) -> float:
        return self.cutoff

    @property
    def kinds(self) -> tuple[tuple[str, str], ...]:
        """Pairs of species."""
        return kinds_of_pairs(self.species or ("",))

    @property
    def count(self) -> int:
        return self.knots * len(self.kinds)

    def settled(self, scene: Scene) -> PairPotential:
        checked_reach("PairPotential", self.cutoff, scene.box)
        # a kind of pairs that was never seen has no core to be known: it gets the one of the others
        closest = np.where(np.isfinite(scene.closest), scene.closest, np.nanmin(scene.closest))
        inner = tuple(float(c) if np.isfinite(c) and c > 0.05 * self.cutoff else 0.0
                      for c in np.minimum(closest, 0.95 * self.cutoff))
        core = 20.0 * scene.kT / max(0.1 * self.cutoff, 1e-300) ** 2
        return dataclasses.replace(self, inner=self.inner or inner, core=core if self.core is None else self.core,
                                   species=self.species or scene.species)

    def with_reach(self, reach: float) -> PairPotential | None:
        if not self.learn_range:
            return None
        knots = max(8, round(self.knots * reach / self.cutoff))
        inner = None if self.inner is None else tuple(min(c, 0.95 * reach) for c in self.inner)
        return dataclasses.replace(self, cutoff=reach, knots=knots, inner=inner)

    def splines(self) -> tuple[RadialSpline, ...]:
        """The basis of every kind of pairs."""
        inner = self.inner or (0.0,) * len(self.kinds)
        return tuple(RadialSpline(c, self.cutoff, self.knots) for c in inner)

    def parameters(self, scene: Scene) -> Parameters:
        names = tuple(f"phi[{a}-{b}]_{k}" if len(self.kinds) > 1 else f"phi_{k}"
                      for a, b in self.kinds for k in range(self.knots))
        rough = self.splines()[0].roughness() / (SWING * scene.kT) ** 2 + np.eye(self.knots) / (SIZE * scene.kT) ** 2
        return Parameters(names, "energy", np.zeros(self.count), np.kron(np.eye(len(self.kinds)), rough))

    def pair_slopes(self, r: np.ndarray, kind: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        which, slope = np.zeros((len(r), 4), np.int64), np.zeros((len(r), 4))
        for k, spline in enumerate(self.splines()):
            rows = kind == k if len(self.kinds) > 1 else slice(None)
            numbers, _, slopes = spline.local(r[rows])
            which[rows], slope[rows] = numbers + k * self.knots, -slopes
        return which, slope

    def energy(self, theta: np.ndarray, snapshot: Snapshot) -> torch.Tensor:
        kind = torch.as_tensor(Configuration.of_snapshot(snapshot, len(self.species or ("",))).kind)
        r = snapshot.distance()
        total = r.new_zeros(())
        for k in range(len(self.kinds)):
            total = total + _Spline.apply(r[kind == k], self, np.asarray(theta), k).sum()
        return total

    # ---------------------------------------------------------------- the function itself

    def of_kind(self, theta: np.ndarray, r: np.ndarray, kind: int, order: int = 0) -> np.ndarray:
        """φ (order 0), dφ/dr (1) or d²φ/dr² (2) of one kind of pairs, with the core."""
        spline = self.splines()[kind]
        c = np.asarray(theta, float)[kind * self.knots:(kind + 1) * self.knots]
        r = np.asarray(r, dtype=float)
        flat = r.ravel()
        out = spline(flat)[order] @ c
        extra = max(0.0, (self.core or 0.0) - float((spline(np.array([spline.inner + 1e-12]))[2] @ c)[0]))
        d = np.minimum(flat - spline.inner, 0.0)
        if spline.inner > 0:
            out = out + extra * (0.5 * d**2, d, (d < 0).astype(float))[order]
        return out.reshape(r.shape)

    def freeze(self, theta: np.ndarray, tables: Tables) -> None:
        for k in range(len(self.kinds)):
            for order in (0, 1):
                tables.pair_energy[k, :, order] += self.of_kind(theta, tables.r, k, order)

    def quantities(self) -> tuple[Quantity, ...]:
        found = []
        for k, kind in enumerate(self.kinds):
            def potential(theta: np.ndarray, r: np.ndarray, k: int = k) -> np.ndarray:
                return self.of_kind(theta, r, k)

            def force(theta: np.ndarray, r: np.ndarray, k: int = k) -> np.ndarray:
                return -self.of_kind(theta, r, k, 1)

            of = kind if len(self.kinds) > 1 else ()
            found += [Quantity("pair_potential", "pair potential", "energy", potential, species=of,
                               caption="Zero beyond the range; the force is its slope."),
                      Quantity("pair_force", "pair force", "energy/µm", force, species=of,
                               caption="Positive where particles repel.")]
        return tuple(found)


class _Spline(torch.autograd.Function):
    """φ at tensors of distances, differentiable twice through the spline's own derivatives."""

    @staticmethod
    def forward(ctx, r, term, theta, kind, order=0):  # type: ignore[no-untyped-def, override]
        ctx.save_for_backward(r)
        ctx.about = term, theta, kind, order
        value = term.of_kind(theta, r.detach().cpu().numpy(), kind, order)
        return torch.as_tensor(value, dtype=r.dtype, device=r.device)

    @staticmethod
    def backward(ctx, grad):  # type: ignore[no-untyped-def, override]
        (r,) = ctx.saved_tensors
        term, theta, kind, order = ctx.about
        return grad * _Spline.apply(r, term, theta, kind, order + 1), None, None, None, None
