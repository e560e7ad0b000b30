"""Fields: an ensemble of lattice or density fields in time, the state of what flows by gradient.

`Fields` holds values per (realisation, time, cell) on a ring of length 1, with the start every realisation belongs to:
realisations of one start differ by chance alone, so means and covariances over them are those of the process.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from vid2dyn.core.errors import DataError
from vid2dyn.core.files import atomic, existing_file
from vid2dyn.core.schemas import Step, upgraded

STEPS: tuple[Step, ...] = ()
"""What makes a header of an earlier schema one of the newest; see `vid2dyn.core.schemas`."""
SCHEMA = len(STEPS) + 1


@dataclass(frozen=True, eq=False)
class Fields:
    """Values of an ensemble of fields on a ring.

    Parameters
    ----------
    values : (realisations, times, cells) array
        Particles (or mass) in each cell; whole numbers stay whole numbers.
    times : (times,) array
        Macroscopic times, increasing; a ring has length 1 and cell k sits at k / cells.
    start : (realisations,) int array, optional
        Which start a realisation belongs to; default: all the same.
    info : dict
        Anything JSON can hold: ``info["truth"]`` of a simulation, seed, versions.

    Raises
    ------
    DataError
        When shapes do not fit together, times do not increase, or values are not finite.

    Examples
    --------
    >>> fields = Fields(np.array([[[1, 0, 0], [0, 1, 0]]], dtype=np.int8), np.array([0.0, 0.1]))
    >>> fields.n_realisations, fields.n_cells, fields.mean().shape
    (1, 3, (1, 2, 3))
    """

    values: np.ndarray
    times: np.ndarray
    start: np.ndarray | None = None
    info: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # C order, as a file gives them: sums and products round differently for another order in memory
        values, times = np.asarray(self.values, order="C"), np.asarray(self.times, dtype=float, order="C")
        if values.ndim != 3 or 0 in values.shape:
            raise DataError(f"Fields: values of shape {values.shape}; give (realisations, times, cells), none empty.")
        if times.shape != values.shape[1:2] or not (np.diff(times) > 0).all() or not np.isfinite(times).all():
            raise DataError(f"Fields: {times.shape} times for values of shape {values.shape}; give one time for every "
                            "state, increasing.")
        if not np.issubdtype(values.dtype, np.integer) and not np.isfinite(values).all():
            where = np.argwhere(~np.isfinite(values))[0].tolist()
            raise DataError(f"Fields: the value of (realisation, time, cell) = {tuple(where)} is not finite.")
        start = np.zeros(len(values), dtype=np.int32) if self.start is None else np.asarray(self.start, np.int32)
        if start.shape != (len(values),):
            raise DataError(f"Fields: {start.shape} starts for {len(values)} realisations; give one each.")
        for name, value in (("values", values), ("times", times), ("start", start)):
            object.__setattr__(self, name, value)

    @property
    def starts(self) -> np.ndarray:
        """(realisations,) the start of each."""
        assert self.start is not None
        return self.start

    @property
    def n_realisations(self) -> int:
        return len(self.values)

    @property
    def n_cells(self) -> int:
        return self.values.shape[2]

    def mean(self) -> np.ndarray:
        """(starts, times, cells) mean over the realisations of each start."""
        return np.stack([self.values[self.starts == s].mean(axis=0) for s in np.unique(self.starts)])

    def of_start(self, start: int) -> Fields:
        """The realisations of one start."""
        keep = self.starts == start
        if not keep.any():
            raise DataError(f"Fields: no realisation of start {start}; there are {np.unique(self.starts).tolist()}.")
        return replace(self, values=self.values[keep], start=self.starts[keep])

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write a .fields file (safetensors), whole or not at all; `vd.load` reads it."""
        from safetensors.numpy import save

        header = json.dumps({"schema": SCHEMA, "info": self.info}, sort_keys=True)
        arrays = {"values": np.ascontiguousarray(self.values), "times": self.times, "start": self.starts}
        with atomic(path) as scratch:
            scratch.write_bytes(save(arrays, metadata={"vid2dyn-fields": header}))
        return Path(path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Fields:
        """Read a file written by `save`; `DataError` if it is absent, damaged or something else."""
        from safetensors import SafetensorError, safe_open

        path = existing_file(path)
        try:
            with safe_open(path, framework="numpy") as stream:
                header = json.loads((stream.metadata() or {})["vid2dyn-fields"])
                arrays = {name: stream.get_tensor(name) for name in ("values", "times", "start")}
        except KeyError:
            raise DataError(f"{path}: a safetensors file, but not fields of vid2dyn.") from None
        except (SafetensorError, OSError, ValueError, TypeError) as error:
            raise DataError(f"{path}: not a readable file of fields ({error}). Copy or simulate it again.") from None
        return cls(**arrays, info=upgraded(path, header, STEPS)["info"])

    def __repr__(self) -> str:
        return (f"<Fields: {self.n_realisations} realisations of {len(np.unique(self.starts))} starts, "
                f"{len(self.times)} times to {self.times[-1]:.3g}, {self.n_cells} cells>")
