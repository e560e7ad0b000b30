"""A model as a plain input file of LAMMPS with its own styles: runs without Python, and without our noise.

    pair potential        pair_style table (forces tabulated)
    energy of density     pair_style eam/alloy, with the pair potential inside
    friction of pairs     pair_style dpd/ext/tstat: γ (1 - r/c)^2s along and across the line of centres, fitted
    drag                  fix langevin

What is lost is stated, in the file and in `Mapping`: the largest error of the force, relative to its largest value, and
the error of friction along and across, in the norm that counts pairs, ∫(γ - γ')² w dr over ∫γ² w dr with the weight
w = r^(dim-1) exp(-φ/kT). A mapping whose error is above a limit is refused. `dpd/ext/tstat` takes friction explicitly,
at the velocities of half a step: its error in dt is another one than ours, so try half the time step too.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.optimize import least_squares

from vid2dyn.core.errors import ModelError
from vid2dyn.core.files import atomic
from vid2dyn.data.box import Periodic
from vid2dyn.dynamics.fluid.frozen import FrozenFluid
from vid2dyn.export.tabulated import FIRST, pair_tables
from vid2dyn.rollout.fluid.state import FluidFrame

ROWS = 4000
NEAREST = 0.05
"""Distance in cutoffs inside which the error of the force is not looked at: hardly a pair comes so close."""


@dataclass(frozen=True)
class Mapping:
    """How far the stock styles are from the model.

    Parameters
    ----------
    force : float
        Largest error of the tabulated force, relative to the largest force.
    along, across : float
        Relative error of the friction, the worst of all kinds of pairs.
    total : float
        Integral of the fitted friction over that of the model's.
    """

    force: float
    along: float
    across: float
    total: float

    @property
    def worst(self) -> float:
        """The largest of the three errors."""
        return max(self.force, self.along, self.across)

    def __str__(self) -> str:
        return (f"force {self.force:.1e}, friction along {100 * self.along:.1f} %, across {100 * self.across:.1f} %, "
                f"friction in all {self.total:.3f} of that of the model")


def why_not_stock(frozen: FrozenFluid) -> list[str]:
    """Parts of a model that stock styles do not have; empty: it can be written."""
    missing = []
    if frozen.eos is not None:
        missing.append("particles with heat of their own (LAMMPS's dpd/fdt/energy has fixed shapes of friction)")
    elif frozen.shear is not None or frozen.bulk is not None or frozen.heat is not None:
        missing.append("friction of a fluid that depends on its state")
    if frozen.memory:
        missing.append("memory of pairs")
    if frozen.external is not None:
        missing.append("an external potential on a grid")
    if frozen.traps is not None:
        missing.append("harmonic traps")
    return missing


def write_stock(frozen: FrozenFluid, start: FluidFrame, folder: str | os.PathLike[str], *, dt: float, steps: int,
                every: int, seed: int = 1, species: Sequence[str] = ("",), largest_error: float = 0.1) -> Mapping:
    """Write in.lammps with its tables and start.data; `lmp -in in.lammps` in that folder runs it.

    Parameters
    ----------
    frozen, start
        Tables and first state, in a periodic box.
    dt : float
        Time step [s].
    steps, every : int
        Time steps in all and between frames.
    largest_error : float
        Above this the mapping is refused.

    Raises
    ------
    ModelError
        For parts that no style has, each named, or a mapping that is too far from the model.
    """
    missing = why_not_stock(frozen)
    if missing:
        raise ModelError(f"Stock styles of LAMMPS do not have: {'; '.join(missing)}. Use the compiled step.")
    if not isinstance(start.box, Periodic):
        raise ModelError(f"The plain input file is written for a periodic box, not for {start.box!r}.")
    folder = Path(folder)
    kinds = [(a, b) for a in range(frozen.species) for b in range(a, frozen.species)]
    fits = [_friction_of(frozen, kind) for kind in range(len(kinds))]
    force = _table_error(frozen) if frozen.density_energy is None else _eam_error(frozen)
    mapping = Mapping(force, max(f.along_error for f in fits), max(f.across_error for f in fits),
                      min((f.total for f in fits), key=lambda x: -abs(np.log(max(x, 1e-9)))))
    if mapping.worst > largest_error:
        raise ModelError(f"The stock styles of LAMMPS are too far from this model: {mapping}; at most "
                         f"{100 * largest_error:g} % is allowed. Use the compiled step, or allow more.")
    folder.mkdir(parents=True, exist_ok=True)
    _write_data(start, frozen, folder / "start.data")
    lines = _input(frozen, mapping, kinds, fits, folder, dt=dt, steps=steps, every=every, seed=seed, species=species)
    with atomic(folder / "in.lammps") as scratch:
        scratch.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return mapping


@dataclass(frozen=True)
class _Fit:
    """γ (1 - r/c)^(2 s) along and across, as `dpd/ext/tstat` has it (its weight is squared in the friction)."""

    along: tuple[float, float]
    across: tuple[float, float]
    along_error: float
    across_error: float
    total: float


def _friction_of(frozen: FrozenFluid, kind: int) -> _Fit:
    """The shapes that come closest, each pair of a distance weighing alike."""
    if frozen.pair_friction is None:
        return _Fit((0.0, 1.0), (0.0, 1.0), 0.0, 0.0, 1.0)
    r = np.linspace(0.0, frozen.cutoff, 1001)[1:]
    across, _, along, _ = frozen.pair_radial("pair_friction", r, kind)
    measure = _pairs_at(frozen, r, kind)
    weight = np.sqrt(measure)
    one = 1.0 - r / frozen.cutoff

    def fitted(table: np.ndarray) -> tuple[tuple[float, float], float, np.ndarray]:
        size = float(np.linalg.norm(weight * table))
        if size == 0.0:
            return (0.0, 1.0), 0.0, np.zeros_like(r)

        def left(p: np.ndarray) -> np.ndarray:
            return np.asarray(weight * (np.exp(p[0]) * one ** (2.0 * np.exp(p[1])) - table) / size)

        best = min((least_squares(left, [np.log(table.max()), np.log(s)]) for s in (0.25, 1.0, 3.0)),
                   key=lambda found: float(found.cost))
        gamma, s = (float(p) for p in np.exp(best.x))
        return (gamma, s), float(np.linalg.norm(best.fun)), gamma * one ** (2 * s)

    (in_line, along_error, a), (sideways, across_error, b) = fitted(along), fitted(across)
    whole = float((measure * (along + (frozen.dim - 1) * across)).sum())
    total = float((measure * (a + (frozen.dim - 1) * b)).sum()) / whole if whole else 1.0
    return _Fit(in_line, sideways, along_error, across_error, total)


def _pairs_at(frozen: FrozenFluid, r: np.ndarray, kind: int) -> np.ndarray:
    """Pairs at a distance, but for a factor: r^(dim-1) exp(-φ/kT), which is right in a dilute system."""
    measure = r ** (frozen.dim - 1)
    if frozen.pair_energy is not None and frozen.temperature:
        energy, _ = frozen.pair_radial("pair_energy", r, kind)
        measure = measure * np.exp(-np.clip(energy / frozen.temperature, -5.0, 50.0))
    return measure                                             # type: ignore[no-any-return]


def _table_error(frozen: FrozenFluid) -> float:
    """Largest error of the force of `table spline`: cubic in r² of f/r, rows even in r²; beyond NEAREST cutoffs."""
    if frozen.pair_energy is None:
        return 0.0
    worst = 0.0
    squares = np.linspace((FIRST * frozen.cutoff) ** 2, frozen.cutoff**2, ROWS)
    r = np.linspace(NEAREST * frozen.cutoff, frozen.cutoff, 3 * ROWS + 1)[:-1]
    for kind in range(frozen.kinds):
        _, slope = frozen.pair_radial("pair_energy", np.sqrt(squares), kind)
        _, exact = frozen.pair_radial("pair_energy", r, kind)
        size = float(np.abs(exact).max())
        if size:
            made = r * CubicSpline(squares, slope / np.sqrt(squares))(r**2)
            worst = max(worst, float(np.abs(made - exact).max()) / size)
    return worst


def _eam_error(frozen: FrozenFluid) -> float:
    """Largest error of the slopes that `eam/alloy` makes of the energies in its file, relative to the largest slope.

    It reads energies alone, and takes differences of fourth order over the rows, of lower order at both ends.
    """
    worst = _table_error(frozen)
    r = np.linspace(0.0, frozen.cutoff, ROWS)
    W, slope = frozen.radial("kernel", r)
    functions = [(W, slope)]
    if frozen.pair_energy is not None:
        for kind in range(frozen.kinds):
            energy, rise = frozen.pair_radial("pair_energy", r, kind)
            functions.append((r * energy, energy + r * rise))
    for value, exact in functions:
        size = float(np.abs(exact).max())
        if size:
            worst = max(worst, float(np.abs(_differences(value) / r[1] - exact).max()) / size)
    return worst


def _differences(f: np.ndarray) -> np.ndarray:
    """Slopes over rows as PairEAM::interpolate of LAMMPS makes them."""
    out = np.empty_like(f)
    out[0], out[-1] = f[1] - f[0], f[-1] - f[-2]
    out[1], out[-2] = 0.5 * (f[2] - f[0]), 0.5 * (f[-1] - f[-3])
    out[2:-2] = (f[:-4] - f[4:] + 8.0 * (f[3:-1] - f[1:-3])) / 12.0
    return out


def _write_data(start: FluidFrame, frozen: FrozenFluid, path: Path) -> None:
    """The first state as LAMMPS reads it; axes (x, y[, z])."""
    assert start.ids is not None
    n, dim = start.position.shape
    lengths = start.box.lengths or ()
    axes = [1, 0, 2][:dim]
    edge = np.array(lengths)[axes]
    turns = np.floor(start.position[:, axes] / edge)
    x = np.column_stack([start.position[:, axes] - turns * edge, np.zeros((n, 3 - dim))])
    v = np.column_stack([start.velocity[:, axes], np.zeros((n, 3 - dim))])
    image = np.column_stack([turns, np.zeros((n, 3 - dim))]).astype(int)
    kind = np.ones(n, int) if start.species is None else start.species + 1
    said = ["Start written by vid2dyn", "", f"{n} atoms", f"{frozen.species} atom types", ""]
    said += [f"0 {size:.17g} {axis}lo {axis}hi" for axis, size in zip("xyz", edge)]
    said += ["-0.5 0.5 zlo zhi"] if dim == 2 else []
    said += ["", "Masses", ""] + [f"{k + 1} {m:.17g}" for k, m in enumerate(frozen.masses)]
    said += ["", "Atoms # atomic", ""]
    said += [f"{i + 1} {k} {p[0]:.17g} {p[1]:.17g} {p[2]:.17g} {t[0]} {t[1]} {t[2]}"
             for i, k, p, t in zip(start.ids, kind, x, image)]
    said += ["", "Velocities", ""]
    said += [f"{i + 1} {p[0]:.17g} {p[1]:.17g} {p[2]:.17g}" for i, p in zip(start.ids, v)]
    with atomic(path) as scratch:
        scratch.write_text("\n".join(said) + "\n")


def _input(frozen: FrozenFluid, mapping: Mapping, kinds: Sequence[tuple[int, int]], fits: Sequence[_Fit],
           folder: Path, *, dt: float, steps: int, every: int, seed: int, species: Sequence[str]) -> list[str]:
    """Lines of the input file; tables are written on the way."""
    kT, cutoff = float(frozen.temperature or 0.0), frozen.cutoff
    axes = "xyz"[:frozen.dim]
    styles, coefficients = [], []
    if frozen.density_energy is not None:
        _write_eam(frozen, folder / "energy.eam.alloy")
        styles.append("eam/alloy")
        names = " ".join(f"S{k}" for k in range(frozen.species))
        coefficients.append(f"pair_coeff * * eam/alloy energy.eam.alloy {names}")
    elif frozen.pair_energy is not None:
        pair_tables(frozen, folder, rows=ROWS, species=species if len(species) == frozen.species else
                    [str(k) for k in range(frozen.species)])
        styles.append(f"table spline {ROWS}")
        coefficients += [f"pair_coeff {a + 1} {b + 1} table pair.table KIND_{k} {cutoff:.17g}"
                         for k, (a, b) in enumerate(kinds)]
    if frozen.pair_friction is not None:
        styles.append(f"dpd/ext/tstat {kT:.17g} {kT:.17g} {cutoff:.17g} {seed % 900000000 + 1}")
        coefficients += [
            f"pair_coeff {a + 1} {b + 1} dpd/ext/tstat {f.along[0]:.17g} {f.across[0]:.17g} {f.along[1]:.17g} "
            f"{f.across[1]:.17g} {cutoff:.17g}" for (a, b), f in zip(kinds, fits)]
    if not styles:
        styles, coefficients = [f"zero {cutoff:.17g}"], ["pair_coeff * *"]
    overlay = f"hybrid/overlay {' '.join(styles)}" if len(styles) > 1 else styles[0]
    if len(styles) == 1:
        name = styles[0].split()[0]
        coefficients = [line.replace(f" {name} ", " ", 1) for line in coefficients]
    lines = ["# A model of vid2dyn with styles of LAMMPS: lmp -in in.lammps",
             f"# Error of this mapping: {mapping}.",
             "# Units: µm, s, mass of the model; noise is LAMMPS's own.",
             f'print "vid2dyn: error of this mapping of the model: {mapping}"',
             "units lj", f"dimension {frozen.dim}", "boundary p p p", "atom_style atomic", "newton on",
             "comm_modify vel yes", "read_data start.data", f"pair_style {overlay}", *coefficients,
             f"neighbor {0.2 * cutoff:.17g} bin", "neigh_modify every 1 delay 0 check yes", f"timestep {dt:.17g}",
             "fix move all nve"]
    if frozen.drag is not None:
        bath = frozen.drag_temperature if frozen.drag_temperature is not None else kT
        for k, (drag, mass) in enumerate(zip(frozen.drag, frozen.masses)):
            if drag > 0:
                time = f"{mass / drag:.17g} {seed % 900000000 + 7 + k}"
                lines += [f"group sort{k} type {k + 1}",
                          f"fix drag{k} sort{k} langevin {bath:.17g} {bath:.17g} {time}"]
    if frozen.dim == 2:
        lines.append("fix plane all enforce2d")
    return [*lines, f"dump frames all custom {every} frames.lammpstrj id type {' '.join(f'{a}u' for a in axes)} "
            f"{' '.join(f'v{a}' for a in axes)}",
            "dump_modify frames sort id format float %.17g units yes time yes", f"thermo {every}",
            "thermo_style custom step temp pe etotal press", f"run {steps}"]


def _write_eam(frozen: FrozenFluid, path: Path) -> None:
    """Energy of density and pair potential as `eam/alloy`: F(d - W(0)), density W(r), r φ(r)."""
    assert frozen.density_range is not None
    r = np.linspace(0.0, frozen.cutoff, ROWS)
    W, _ = frozen.radial("kernel", r)
    highest = frozen.density_range[1] + (frozen.density_range[1] - frozen.density_range[0])
    d = np.linspace(0.0, highest, ROWS)
    U, _, _ = frozen.energy(np.zeros(ROWS), 1.0 / (d + W[0]))
    said = ["Energy of density and of pairs, learned by vid2dyn", "lengths in um, energies in mass um^2/s^2", ""]
    said.append(f"{frozen.species} " + " ".join(f"S{k}" for k in range(frozen.species)))
    said.append(f"{ROWS} {d[1]:.17g} {ROWS} {r[1]:.17g} {frozen.cutoff:.17g}")
    for mass in frozen.masses:
        said.append(f"1 {mass:.17g} 1.0 none")
        said += [f"{value:.17g}" for value in (*U, *W)]
    for a in range(frozen.species):
        for b in range(a + 1):
            kind = b * frozen.species - b * (b - 1) // 2 + (a - b)
            energy = (frozen.pair_radial("pair_energy", r, kind)[0] if frozen.pair_energy is not None
                      else np.zeros(ROWS))
            said += [f"{value:.17g}" for value in r * energy]
    with atomic(path) as scratch:
        scratch.write_text("\n".join(said) + "\n")
