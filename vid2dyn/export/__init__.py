"""Models for other programs: LAMMPS, by the compiled step of vid2dyn or by styles of its own; tables for HOOMD, OpenMM.

>>> from vid2dyn import export
>>> callable(export.lammps) and callable(export.pair_tables)
True
"""

from vid2dyn.export.folders import lammps, ready_for
from vid2dyn.export.tabulated import pair_tables

__all__ = ["lammps", "pair_tables", "ready_for"]
