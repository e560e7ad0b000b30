"""Tabulated pair potentials of a model, for programs that read them: LAMMPS `table`, HOOMD-blue, OpenMM.

Of each kind of pairs a file NAME.csv with columns r, energy, force (-dφ/dr), rows evenly spaced from the first distance
to the cutoff: what HOOMD's ``md.pair.Table`` (r_min, U, F) and OpenMM's ``Continuous1DFunction`` (energy, min, max)
take. And one file pair.table for ``pair_style table`` of LAMMPS with a section for each kind.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vid2dyn.core.errors import ModelError
from vid2dyn.core.files import atomic
from vid2dyn.dynamics.fluid.frozen import FrozenFluid
from vid2dyn.dynamics.terms.base import kinds_of_pairs

FIRST = 1e-3
"""First distance of the tables, in cutoffs: LAMMPS wants one above zero."""


def pair_tables(frozen: FrozenFluid, folder: str | os.PathLike[str], *, rows: int = 4000,
                species: Sequence[str] = ("",)) -> list[Path]:
    """Write the pair potentials of a frozen model.

    Parameters
    ----------
    frozen : FrozenFluid
        Tables of a model: ``model.frozen()``.
    folder : path
    rows : int
        Of each table.
    species : sequence of str
        Names, in the order of their numbers.

    Returns
    -------
    list of Path
        The files, pair.table first.

    Raises
    ------
    ModelError
        If the model has no pair potential.
    """
    if frozen.pair_energy is None:
        raise ModelError("This model has no pair potential, so there is nothing to tabulate.")
    folder = Path(folder)
    r = np.linspace(FIRST * frozen.cutoff, frozen.cutoff, rows)
    said = [f"# Pair potentials learned by vid2dyn; lengths in µm, energies in mass µm²/s². {rows} rows each.", ""]
    written = []
    for kind, (a, b) in enumerate(kinds_of_pairs(tuple(species))):
        energy, slope = frozen.pair_radial("pair_energy", r, kind)
        name = f"pair_{a}_{b}" if a or b else "pair"
        path = folder / f"{name}.csv"
        with atomic(path) as scratch:
            np.savetxt(scratch, np.stack([r, energy, -slope], axis=1), fmt="%.17g", delimiter=",",
                       header="r [um],energy [mass um^2/s^2],force [mass um/s^2]")
        written.append(path)
        said += [f"KIND_{kind}", f"N {rows} R {r[0]:.17g} {r[-1]:.17g}", ""]
        said += [f"{k + 1} {x:.17g} {u:.17g} {f:.17g}" for k, (x, u, f) in enumerate(zip(r, energy, -slope))]
        said.append("")
    with atomic(folder / "pair.table") as scratch:
        scratch.write_text("\n".join(said), encoding="utf-8")
    return [folder / "pair.table", *written]
