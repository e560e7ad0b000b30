"""A fluid of particles with position, velocity and entropy: smoothed dissipative particle dynamics, learned or known.

State x_i = (r_i, v_i, S_i), kB = 1; pairs nearer than the cutoff, e the unit vector from j to i, v_ij = v_i - v_j:

    d_i = W(0) + sum_j W(r_ij),  V_i = 1/d_i,   E = sum_i U(S_i, V_i) + m v_i²/2,   S = sum_i S_i
    m dv_i |reversible = -sum_j (P_i/d_i² + P_j/d_j²) W'(r_ij) e dt
    m dv_i |friction   = -sum_j (1/T_i + 1/T_j)/2 K_ij v_ij dt + sqrt(2 kB) sum_j f_ij,    Cov f_ij = K_ij dt
    T_i dS_i           = sum_j [(1/T_i + 1/T_j)/4 v_ij·K_ij v_ij + (1/T_i - 1/T_j) C_ij²] dt + noise  (+ kB ∇·M)

with K and the laws of its coefficients in `vid2dyn.dynamics.fluid.frozen` (Español & Revenga, PRE 67, 026705, 2003,
sec. III; the signs of the noise in entropy follow from M ∇E = 0). The root, the divergence and so the dynamics:
`FluidFriction`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from vid2dyn.core.errors import ModelError
from vid2dyn.dynamics.fluid.frozen import FrozenFluid
from vid2dyn.dynamics.snapshot import Snapshot
from vid2dyn.dynamics.terms.equations_of_state import EquationOfState, IdealGas, Thermo
from vid2dyn.dynamics.terms.radial import Kernel, Lucy, LucyWeight, Radial


@dataclass(frozen=True)
class Pairs:
    """Geometry of the pairs of a snapshot: rows (p,) of both ends, distance (p,), unit vector from second to first."""

    first: torch.Tensor
    second: torch.Tensor
    r: torch.Tensor
    e: torch.Tensor

    @classmethod
    def of(cls, snapshot: Snapshot) -> Pairs:
        """Raises `ModelError` when two particles are in one place: their line of centres has no direction."""
        separation = snapshot.separation()
        r = torch.linalg.vector_norm(separation, dim=1)
        first, second = snapshot.pairs.unbind(1)
        if len(r) and not bool((r > 1e-14 * (1 + separation.detach().abs().max())).all()):
            p = int(torch.argmin(torch.where(torch.isnan(r), torch.zeros_like(r), r)))
            raise ModelError(f"Particles {int(first[p])} and {int(second[p])} are in one place (or not finite): their "
                             "line of centres has no direction. Move one of them, or start from a relaxed state.")
        return cls(first, second, r, separation / r[:, None])

    def sum(self, on_first: torch.Tensor, on_second: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        """What every particle receives from its pairs, the shape of `like`."""
        return torch.zeros_like(like).index_add(0, self.first, on_first).index_add(0, self.second, on_second)


@dataclass(frozen=True)
class Coefficients:
    """K = along e eᵀ + across (I - e eᵀ) and C² = heat of every pair, (p,); harmonic = T_ij, the pair's temperature."""

    across: torch.Tensor
    along: torch.Tensor
    heat: torch.Tensor
    harmonic: torch.Tensor

    def times(self, e: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """K v for vectors (p, dim)."""
        centre = (e * v).sum(1, keepdim=True) * e
        return self.across[:, None] * (v - centre) + self.along[:, None] * centre


class Fluid(nn.Module):
    """Functions of a metriplectic fluid.

    Parameters
    ----------
    kernel : Kernel
        W, with ∫W = 1 in `kernel.dim` dimensions.
    eos : EquationOfState
        U(S, V).
    shear, bulk, heat : Radial
        Radial parts of A², B², C².
    mass : float
        Of a particle.
    law : {"radial", "transport"}
        "radial": A², B², C² are functions of distance. "transport": times V_i V_j and the pair's temperature (squared
        for heat), so that viscosity and conductivity do not depend on the state.

    Raises
    ------
    ModelError
        When functions end at different distances or the mass is not positive.

    Examples
    --------
    >>> fluid = Fluid.ideal_gas(cutoff=1.0, mass=1.0, heat_capacity=15.0, molecules=10.0, volume=0.25)
    >>> float(fluid.mass), fluid.cutoff, fluid.dim
    (1.0, 1.0, 3)
    """

    mass: torch.Tensor

    def __init__(self, kernel: Kernel, eos: EquationOfState, shear: Radial, bulk: Radial, heat: Radial, *,
                 mass: float = 1.0, law: Literal["radial", "transport"] = "radial") -> None:
        super().__init__()
        for name, part in (("shear", shear), ("bulk", bulk), ("heat", heat)):
            if abs(part.cutoff / kernel.cutoff - 1) > 1e-12:
                raise ModelError(f"Fluid: {name} ends at {part.cutoff:g}, the kernel at {kernel.cutoff:g}; give all "
                                 "functions one cutoff.")
        if not (math.isfinite(mass) and mass > 0):
            raise ModelError(f"Fluid: mass = {mass!r} must be positive.")
        if law not in ("radial", "transport"):
            raise ModelError(f"Fluid: law = {law!r}; choose 'radial' or 'transport'.")
        self.kernel, self.eos, self.shear, self.bulk, self.heat = kernel, eos, shear, bulk, heat
        self.cutoff, self.dim, self.law = kernel.cutoff, kernel.dim, law
        self.power = 1 if law == "transport" else 0
        self.register_buffer("mass", torch.tensor(float(mass), dtype=torch.float64))

    @classmethod
    def ideal_gas(cls, *, cutoff: float, mass: float, heat_capacity: float, molecules: float, dim: int = 3,
                  temperature: float = 1.0, volume: float = 1.0, shear_viscosity: float = 1.0,
                  bulk_viscosity: float = 0.0, conductivity: float = 0.0) -> Fluid:
        """Smoothed dissipative particle dynamics of an ideal gas: every function known (Lucy's kernel).

        With F = -W'/r: K = F V_i V_j T_ij [α (I - e eᵀ) + (α + β) e eᵀ], α = η (dim + 2)/dim - ζ and
        β = (dim + 2)(ζ + η (dim - 2)/dim), C² = 2 κ F V_i V_j T_i T_j (Español & Revenga 2003, eqs. 27 and 52 for
        dim = 3). α must not be negative: ζ <= η (dim + 2)/dim.
        """
        across = shear_viscosity * (dim + 2) / dim - bulk_viscosity
        along = across + (dim + 2) * (bulk_viscosity + shear_viscosity * (dim - 2) / dim)
        if across < 0 or shear_viscosity < 0 or bulk_viscosity < 0 or conductivity < 0:
            raise ModelError(f"ideal_gas: shear_viscosity = {shear_viscosity:g}, bulk_viscosity = {bulk_viscosity:g}, "
                             f"conductivity = {conductivity:g}: none may be negative, and bulk_viscosity at most "
                             f"{(dim + 2) / dim:.3g} times shear_viscosity (or the friction matrix has no root).")
        kernel = Kernel(Lucy(cutoff), dim)
        F = 12.0 / (cutoff**2 * float(Lucy(cutoff).integral(dim)))
        shear, bulk = 2 * across * F, (dim * along - 2 * (dim - 1) * across) * F
        if bulk < 0:
            raise ModelError("ideal_gas: friction along the line of centres would be negative; raise bulk_viscosity.")
        eos = IdealGas(heat_capacity, molecules, temperature=temperature, volume=volume)
        return cls(kernel, eos, LucyWeight(cutoff, shear), LucyWeight(cutoff, bulk),
                   LucyWeight(cutoff, 2 * conductivity * F), mass=mass, law="transport")

    def density(self, snapshot: Snapshot, pairs: Pairs | None = None) -> torch.Tensor:
        """d_i = W(0) + sum_j W(r_ij), (n,): number density at every particle."""
        pairs = pairs or Pairs.of(snapshot)
        w = self.kernel.value(pairs.r)
        own = self.kernel.at_zero().to(w)
        return own + pairs.sum(w, w, snapshot.position[:, 0])

    def thermo(self, snapshot: Snapshot, density: torch.Tensor | None = None) -> Thermo:
        """Energy, temperature, pressure and second derivatives of every particle."""
        d = self.density(snapshot) if density is None else density
        return self.eos(snapshot.column("entropy"), 1.0 / d)

    def energy(self, snapshot: Snapshot) -> torch.Tensor:
        """Total energy, internal and kinetic, a scalar."""
        v = snapshot.column("velocity")
        return self.thermo(snapshot).U.sum() + 0.5 * self.mass * (v * v).sum()

    def forces(self, snapshot: Snapshot) -> torch.Tensor:
        """-∂E/∂r in closed form, (n, dim)."""
        pairs = Pairs.of(snapshot)
        density = self.density(snapshot, pairs)
        return self.pressure_forces(pairs, density, self.thermo(snapshot, density).P, snapshot.position)

    def pressure_forces(self, pairs: Pairs, density: torch.Tensor, P: torch.Tensor,
                        like: torch.Tensor) -> torch.Tensor:
        """-sum_j (P_i/d_i² + P_j/d_j²) W' e, (n, dim)."""
        push = P / density**2
        _, slope = self.kernel(pairs.r)
        f = (-(push[pairs.first] + push[pairs.second]) * slope)[:, None] * pairs.e
        return pairs.sum(f, -f, like)

    def coefficients(self, pairs: Pairs, thermo: Thermo, density: torch.Tensor) -> Coefficients:
        """K and C² of every pair at the state of both ends."""
        i, j = pairs.first, pairs.second
        shear, bulk, heat = (f.value(pairs.r) for f in (self.shear, self.bulk, self.heat))
        Ti, Tj = thermo.T[i], thermo.T[j]
        harmonic = 2 * Ti * Tj / (Ti + Tj)
        if self.power:
            volumes = 1.0 / (density[i] * density[j])
            shear, bulk, heat = shear * volumes * harmonic, bulk * volumes * harmonic, heat * volumes * Ti * Tj
        return Coefficients(0.5 * shear, shear * (1 - 1 / self.dim) + bulk / self.dim, heat, harmonic)

    def freeze(self, entropy: tuple[float, float], log_volume: tuple[float, float], *, rows: int = 4097,
               nodes: tuple[int, int] = (257, 257), reach: float | None = None) -> FrozenFluid:
        """Tables for compiled code; layout in `vid2dyn.dynamics.fluid.frozen`.

        Parameters
        ----------
        entropy, log_volume : (float, float)
            Range of the equation of state that a rollout may visit: S [kB] and ln V.
        rows : int
            Length of the radial tables.
        nodes : (int, int)
            Nodes in S and in ln V.
        reach : float, optional
            Range of the radial tables, at least the cutoff; beyond the cutoff they are zero. Default: the cutoff.
        """
        like = self.mass
        reach = self.cutoff if reach is None else max(reach, self.cutoff)
        with torch.no_grad():
            r = torch.linspace(0.0, reach, rows, dtype=torch.float64, device=like.device)
            inside = (r <= self.cutoff)[:, None]
            radial = {name: (inside * torch.stack(part(r.clamp(max=self.cutoff)), 1)).cpu().numpy() for name, part in
                      (("kernel", self.kernel), ("shear", self.shear), ("bulk", self.bulk), ("heat", self.heat))}
            S = torch.linspace(*entropy, nodes[0], dtype=torch.float64, device=like.device)
            V = torch.exp(torch.linspace(*log_volume, nodes[1], dtype=torch.float64, device=like.device))
            SS, VV = (t.reshape(-1) for t in torch.meshgrid(S, V, indexing="ij"))
            state = self.eos(SS, VV)
            table = torch.stack([state.U, state.T, -state.P * VV, state.U_SV * VV], 1).reshape(*nodes, 4).cpu().numpy()
        return FrozenFluid(dim=self.dim, mass=float(like), cutoff=reach, temperature_power=self.power,
                           volume_power=self.power, entropy=(float(entropy[0]), float(entropy[1])),
                           log_volume=(float(log_volume[0]), float(log_volume[1])), eos=table,
                           **radial)  # type: ignore[arg-type]
