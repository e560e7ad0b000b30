"""A model of particles reduced to tables: what a compiled loop, an exporter or a plot needs, without torch.

Entropy in kB (kB = 1), energy in the model's unit, T = dU/dS in energy per kB. Every part is optional; those that are
there act together. With n particles of positions r, velocities v and entropies S the energy is

    E = sum_i [m_i v_i²/2 + U_i + external(r_i) + traps] + sum_pairs [φ(r_ij) + sum_modes |ξ|²/2]

with U_i = U(S_i, V_i) from the equation of state, or U_i = T S_i + u(d_i) at one `temperature` for all: there S has no
limits and only keeps the account of heat. d_i = own_i + sum_j W(r_ij), own_i = W(0) unless given, and V_i = 1/d_i. The
layout is a contract:

radial tables (kernel, shear, bulk, heat, pair_energy, pair_friction, memory)
    rows r_k = k · cutoff / (len - 1), k = 0 ... len - 1, both ends included; columns (f, df/dr). Between two rows
    f is the cubic Hermite polynomial of both columns (C1, error h⁴ |f''''| / 384). Zero in the last row.
    Those that differ between pairs of species have one table for each kind of pair; `pair_kind` numbers the kinds.
equation of state
    nodes S_a = entropy[0] + a · hS, x_b = log_volume[0] + b · hx with hS, hx the even spacings that end at
    entropy[1], log_volume[1] (both ends included) and x = ln V; `eos[a, b]` = (U, ∂U/∂S, ∂U/∂x, ∂²U/∂S∂x).
    Between nodes U is the bicubic Hermite polynomial of the four corners: in each direction the lower node has the
    weights (1 + 2t)(1 - t)² of its value and h t (1 - t)² of its derivative, the upper node t² (3 - 2t) and
    h t² (t - 1), with t in [0, 1] the place between the nodes and h their spacing.
density energy
    u(d) of one particle, rows evenly from density_range[0] to density_range[1], columns (u, du/dd), Hermite between
    them; beyond either end u goes on linearly.

pair coefficients
    A²_ij = shear(r) (V_i V_j)^q T_ij^p,  B²_ij = bulk(r) (V_i V_j)^q T_ij^p,  C²_ij = heat(r) (V_i V_j)^q (T_i T_j)^p
    with T_ij = 2 T_i T_j / (T_i + T_j), p = temperature_power and q = volume_power, each 0 or 1.
    p = q = 0: the amplitude of the noise depends on distance only. p = q = 1: viscosity and conductivity do not
    depend on state (smoothed dissipative particle dynamics).
    K_ij = A²/2 (I + e eᵀ) + (B² - A²)/dim e eᵀ = along e eᵀ + across (I - e eᵀ) with
    across = A²/2, along = A² (1 - 1/dim) + B²/dim.
pair friction
    γ(r) [mass/time], at any temperature: the force on i is -[γ_along e eᵀ + γ_across (I - e eᵀ)] v_ij, so K gains
    γ T_ij; columns (across, d across/dr, along, d along/dr).
drag
    -γ v_i [mass/time] against a substrate at rest, with the noise of its own temperature; its heat leaves the model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vid2dyn.core.errors import ModelError
from vid2dyn.dynamics.fluid.frozen_parts import ExternalTable, FrozenMemory, HarmonicTraps
from vid2dyn.dynamics.terms.base import kind_number


def pair_kind(a: int, b: int, species: int) -> int:
    """Number of the kind of a pair of species a and b, in either order, of `species` in all.

    >>> [pair_kind(a, b, 3) for a in range(3) for b in range(a, 3)]
    [0, 1, 2, 3, 4, 5]
    """
    return int(kind_number(np.asarray(a), np.asarray(b), species))


@dataclass(frozen=True)
class FrozenFluid:
    """Numbers of a metriplectic model of particles; the layout of the tables is in the docstring of this file.

    Parameters
    ----------
    dim : int
        2 or 3.
    mass : float or one float per species
        Of one particle.
    cutoff : float
        Range of every pair function.
    kernel, shear, bulk, heat : (rows, 2) arrays, optional
        W(r) with ∫W = 1, and the radial parts of A², B², C². A kernel that differs between kinds of pairs is
        (kinds, rows, 2).
    temperature_power, volume_power : int
        p and q of the pair coefficients, 0 or 1.
    entropy, log_volume : (float, float), optional
        First and last node of the table of U; a state outside it is an error, not an extrapolation.
    eos : (nS, nx, 4) array, optional
        U and its derivatives at the nodes.
    kB : float
        1; 0 switches off all noise.
    temperature : float, optional
        T of all particles, in place of an equation of state [energy/kB].
    density_energy : (rows, 2) array, optional
        u(d) of a particle and its slope [energy], at one temperature; needs `kernel` and `density_range`.
    density_range : (float, float), optional
        Densities of its first and last row.
    species : int
        How many sorts of particles there are.
    pair_energy : (kinds, rows, 2) array, optional
        φ(r) and its slope [energy].
    pair_friction : (kinds, rows, 4) array, optional
        γ across and along the line of centres, each with its slope [mass/time].
    drag : (species,) array, optional
        Friction of every particle against a substrate at rest [mass/time].
    drag_temperature : float, optional
        Of that substrate [energy/kB]; default: `temperature`.
    external : ExternalTable, optional
        One-body potential on a grid.
    traps : HarmonicTraps, optional
        Harmonic wells.
    memory : tuple of FrozenMemory
        Modes of pair memory, at one temperature only.
    own_density : (species,) array, optional
        d of a particle without neighbours; default W(0), of its own kind of pairs.

    Raises
    ------
    ModelError
        When a table has the wrong shape, is not finite, or a temperature, mass or friction has the wrong sign; when
        a part lacks another one that it needs.
    """

    dim: int
    mass: float | tuple[float, ...]
    cutoff: float
    kernel: np.ndarray | None = None
    shear: np.ndarray | None = None
    bulk: np.ndarray | None = None
    heat: np.ndarray | None = None
    temperature_power: int = 0
    volume_power: int = 0
    entropy: tuple[float, float] | None = None
    log_volume: tuple[float, float] | None = None
    eos: np.ndarray | None = None
    kB: float = 1.0
    temperature: float | None = None
    density_energy: np.ndarray | None = None
    density_range: tuple[float, float] | None = None
    species: int = 1
    pair_energy: np.ndarray | None = None
    pair_friction: np.ndarray | None = None
    drag: np.ndarray | None = None
    drag_temperature: float | None = None
    external: ExternalTable | None = None
    traps: HarmonicTraps | None = None
    memory: tuple[FrozenMemory, ...] = ()
    own_density: np.ndarray | None = None

    def __post_init__(self) -> None:
        self._check_numbers()
        for name in ("kernel", "shear", "bulk", "heat"):
            table = getattr(self, name)
            own = name == "kernel" and np.ndim(table) == 3
            _check_table(name, table, (self.kinds, None, 2) if own else (None, 2))
        self._check_state()
        for name, table, columns in (("pair_energy", self.pair_energy, 2), ("pair_friction", self.pair_friction, 4),
                                     *((f"memory[{k}].table", mode.table, 4) for k, mode in enumerate(self.memory))):
            _check_table(name, table, (self.kinds, None, columns))
        self._check_pairs()
        self._check_single()

    @property
    def kinds(self) -> int:
        """Number of kinds of pairs of species."""
        return self.species * (self.species + 1) // 2

    @property
    def masses(self) -> np.ndarray:
        """Mass of a particle of each species, (species,)."""
        return np.broadcast_to(np.asarray(self.mass, dtype=float), (self.species,))

    @property
    def alone(self) -> np.ndarray:
        """Density of a particle of each species without neighbours, (species,); 0 without a kernel."""
        if self.own_density is not None:
            return np.asarray(self.own_density, dtype=float)
        if self.kernel is None or self.kernel.ndim == 2:
            return np.full(self.species, 0.0 if self.kernel is None else self.kernel[0, 0])
        return np.array([self.kernel[pair_kind(a, a, self.species), 0, 0] for a in range(self.species)])

    def _check_numbers(self) -> None:
        if self.dim not in (2, 3):
            raise ModelError(f"FrozenFluid: dim = {self.dim!r} must be 2 or 3.")
        if not (isinstance(self.species, (int, np.integer)) and self.species >= 1):
            raise ModelError(f"FrozenFluid: species = {self.species!r} must be a whole number, 1 or more.")
        mass = np.asarray(self.mass, dtype=float)
        if mass.shape not in ((), (self.species,)) or not (np.isfinite(mass) & (mass > 0)).all():
            raise ModelError(f"FrozenFluid: mass = {self.mass!r} must be one positive number, or one for each of the "
                             f"{self.species} species.")
        if not (np.isfinite(self.cutoff) and self.cutoff > 0):
            raise ModelError(f"FrozenFluid: cutoff = {self.cutoff!r} must be a positive number.")
        if self.temperature_power not in (0, 1) or self.volume_power not in (0, 1):
            raise ModelError("FrozenFluid: temperature_power and volume_power are 0 or 1.")

    def _check_state(self) -> None:
        """Equation of state or one temperature, and what needs the kernel."""
        if (self.eos is None) == (self.temperature is None):
            raise ModelError("FrozenFluid: give either an equation of state (eos with entropy and log_volume) or one "
                             "temperature for all particles, not both and not neither.")
        if self.eos is not None:
            self._check_eos(self.eos)
        elif not (np.isfinite(self.temperature) and self.temperature > 0):        # type: ignore[arg-type,operator]
            raise ModelError(f"FrozenFluid: temperature = {self.temperature!r} must be positive.")
        if self.density_energy is not None:
            _check_table("density_energy", self.density_energy, (None, 2))
            span = self.density_range
            if self.eos is not None:
                raise ModelError("FrozenFluid: with an equation of state the density energy is a part of eos: add it "
                                 "to that table.")
            if span is None or not (np.isfinite(span).all() and 0 <= span[0] < span[1]):
                raise ModelError(f"FrozenFluid: density_range = {span!r} must be the densities of the first and last "
                                 "row of density_energy, 0 <= first < last.")
        if self.own_density is not None and (np.shape(self.own_density) != (self.species,)
                                             or not (np.asarray(self.own_density) > 0).all()):
            raise ModelError(f"FrozenFluid: own_density = {self.own_density!r} must be one positive number for each of "
                             f"the {self.species} species.")
        for name, there in (("eos", self.eos is not None), ("density_energy", self.density_energy is not None),
                            ("volume_power = 1", self.volume_power == 1)):
            if there and self.kernel is None:
                raise ModelError(f"FrozenFluid: {name} needs the kernel table W(r), from which densities come.")

    def _check_eos(self, eos: np.ndarray) -> None:
        if eos.ndim != 3 or eos.shape[2] != 4 or min(eos.shape[:2]) < 2 or not np.isfinite(eos).all():
            raise ModelError(f"FrozenFluid: the table eos of shape {eos.shape} must be (nS >= 2, nx >= 2, 4) "
                             "finite numbers; choose a smaller range of entropy or volume.")
        if not (eos[..., 1] > 0).all():
            a, b = np.argwhere(~(eos[..., 1] > 0))[0]
            raise ModelError(f"FrozenFluid: temperature {eos[a, b, 1]:.3g} is not positive at node "
                             f"({a}, {b}) of the equation of state; choose a smaller range of entropy or volume.")
        if self.entropy is None or self.log_volume is None:
            raise ModelError("FrozenFluid: eos needs entropy and log_volume, the first and last nodes of its table.")

    def _check_pairs(self) -> None:
        """Signs of the tables of pairs, and that they end with zero."""
        if self.pair_energy is not None:
            left = np.abs(self.pair_energy[:, -1, 0])
            if (left > 1e-9 * np.abs(self.pair_energy[..., 0]).max(axis=1)).any():
                raise ModelError(f"FrozenFluid: pair_energy ends with {left.max():.3g} at the cutoff {self.cutoff:g}; "
                                 "it must end with zero, or energy jumps where a pair parts. Subtract the last value.")
        friction = self.pair_friction
        if friction is not None and (friction[..., ::2] < -1e-12 * np.abs(friction[..., ::2]).max()).any():
            kind, row, _ = np.argwhere(friction[..., ::2] < 0)[0]
            raise ModelError(f"FrozenFluid: pair_friction of kind {kind} is negative in row {row}; friction that "
                             "speeds particles up has no noise that belongs to it.")

        if self.memory and self.temperature is None:
            raise ModelError("FrozenFluid: memory modes need one temperature; with an equation of state they are not "
                             "supported. Leave one of the two out.")

    def _check_single(self) -> None:
        """Drag, traps and external potential."""
        if self.drag is not None:
            drag = np.asarray(self.drag, dtype=float)
            if drag.shape != (self.species,) or not (np.isfinite(drag) & (drag >= 0)).all():
                raise ModelError(f"FrozenFluid: drag = {self.drag!r} must be one number >= 0 for each of the "
                                 f"{self.species} species.")
            if self.drag_temperature is None and self.temperature is None:
                raise ModelError("FrozenFluid: drag needs drag_temperature, the temperature of its substrate.")
        bath = self.drag_temperature
        if bath is not None and not (np.isfinite(bath) and bath >= 0):
            raise ModelError(f"FrozenFluid: drag_temperature = {bath!r} must be a finite number >= 0.")
        if self.external is not None and max(self.external.axes) >= self.dim:
            raise ModelError(f"FrozenFluid: the external potential depends on axis {max(self.external.axes)}; the "
                             f"model has axes 0 to {self.dim - 1}.")
        if self.traps is not None and self.traps.centre.shape[-1] != self.dim:
            raise ModelError(f"FrozenFluid: centres of traps have {self.traps.centre.shape[-1]} coordinates and the "
                             f"model {self.dim} dimensions.")

    def radial(self, name: str, r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Value and slope of the table `name` ("kernel", "shear", "bulk", "heat") at distances r, zero beyond."""
        table = getattr(self, name)
        if table is None or table.ndim == 3:
            raise ModelError(f"FrozenFluid: this model has no {name}"
                             f"{'' if table is None else ' that is the same for all pairs'}.")
        return read_radial(table, self.cutoff, r)

    def pair_radial(self, name: str, r: np.ndarray, kind: int = 0) -> tuple[np.ndarray, ...]:
        """Value and slope of "pair_energy" (two arrays), or across and along of "pair_friction" with slopes (four)."""
        table = getattr(self, name)
        if table is None:
            raise ModelError(f"FrozenFluid: this model has no {name}.")
        return tuple(a for c in range(0, table.shape[2], 2)
                     for a in read_radial(table[kind, :, c:c + 2], self.cutoff, r))

    def energy(self, S: np.ndarray, V: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """U, T = ∂U/∂S and P = -∂U/∂V from the table.

        Raises
        ------
        ModelError
            When a state lies outside the table.
        """
        if self.eos is None:
            return self._isothermal_energy(S, V)
        assert self.entropy is not None
        assert self.log_volume is not None
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

    def _isothermal_energy(self, S: np.ndarray, V: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """U = T S + u(1/V), T and P = d² u'(d)."""
        S, V = np.broadcast_arrays(np.asarray(S, dtype=float), np.asarray(V, dtype=float))
        T = np.full(S.shape, float(self.temperature))                                       # type: ignore[arg-type]
        if self.density_energy is None:
            return T * S, T, np.zeros(S.shape)
        low, high = self.density_range                                                              # type: ignore[misc]
        d = 1.0 / V
        inside = np.clip(d, low, high)
        u, slope = _hermite(self.density_energy, (inside - low) / (high - low) * (len(self.density_energy) - 1),
                            (high - low) / (len(self.density_energy) - 1))
        return T * S + u + slope * (d - inside), T, d**2 * slope


def read_radial(table: np.ndarray, cutoff: float, r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Value and slope of a radial table, rows (f, df/dr) from 0 to the cutoff, at distances r; zero beyond."""
    r = np.asarray(r, dtype=float)
    h = cutoff / (len(table) - 1)
    value, slope = _hermite(table, r / h, h)
    return np.where(r < cutoff, value, 0.0), np.where(r < cutoff, slope, 0.0)


def _hermite(table: np.ndarray, place: np.ndarray, h: float) -> tuple[np.ndarray, np.ndarray]:
    """Value and slope of the Hermite polynomials through rows (f, f'), h apart, at `place` in rows."""
    k = np.clip(place.astype(int), 0, len(table) - 2)
    t = place - k
    value = (_h00(t) * table[k, 0] + _h10(t) * h * table[k, 1]
             + _h00(1 - t) * table[k + 1, 0] - _h10(1 - t) * h * table[k + 1, 1])
    slope = (6 * t * (t - 1) * (table[k, 0] - table[k + 1, 0]) / h
             + (1 - t) * (1 - 3 * t) * table[k, 1] + t * (3 * t - 2) * table[k + 1, 1])
    return value, slope


def _check_table(name: str, table: np.ndarray | None, shape: tuple[int | None, ...]) -> None:
    """Stops unless a table is absent, or finite with this shape; None stands for two rows or more."""
    if table is None:
        return
    given = np.shape(table)
    fits = len(given) == len(shape) and all(n == m if m is not None else n >= 2 for n, m in zip(given, shape))
    if not fits or not np.isfinite(table).all():
        wanted = ", ".join("rows >= 2" if m is None else str(m) for m in shape)
        columns = {2: "value and slope", 4: "across and along, each value and slope"}[shape[-1] or 2]
        raise ModelError(f"FrozenFluid: the table {name} of shape {given} must be ({wanted}) finite numbers: {columns}."
                         " Freeze the model again.")


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
