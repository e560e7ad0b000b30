"""Tables from elsewhere, and back (trackpy, napari, TrackMate, LAMMPS, GSD, GEFF, HDF5, SFI); tracks as densities.

`read_table` takes a file and finds out what it is. Dense arrays: `Trajectories.dense` and `Trajectories.from_dense`.
"""

from vid2dyn.convert.array_files import from_geff, from_gsd, from_hdf5
from vid2dyn.convert.density import to_fields
from vid2dyn.convert.files import read_table, to_sfi
from vid2dyn.convert.frames import from_napari, from_trackpy, to_napari, to_trackpy
from vid2dyn.convert.lammps_dump import from_lammps
from vid2dyn.convert.trackmate import from_trackmate
from vid2dyn.convert.write import write_table

__all__ = ["from_geff", "from_gsd", "from_hdf5", "from_lammps", "from_napari", "from_trackmate", "from_trackpy",
           "read_table", "to_fields", "to_napari", "to_sfi", "to_trackpy", "write_table"]
