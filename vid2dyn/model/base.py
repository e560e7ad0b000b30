"""A model as a file: what every fitted model has, whatever its dynamics.

A model is learned numbers, units, space, the recipe it was made with and a report on how well it did. The file is one
safetensors container with a JSON text and a checksum in its header: no code is ever loaded from it (no pickle), a
flipped byte is noticed, and the same fit writes the same bytes. The recipe's kind says which class reads it.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from vid2dyn.core.errors import ModelError
from vid2dyn.core.registry import parts, resolve
from vid2dyn.core.sealed import in_memory_order, read_sealed, write_sealed
from vid2dyn.data.box import Box, Free
from vid2dyn.data.units import Units


@dataclass(frozen=True, eq=False)
class Model(ABC):
    """A fitted model, made by `vd.fit` and `vd.load`.

    Parameters
    ----------
    arrays : mapping of str to array
        Numbers learned; which, the class says.
    recipe : dict
        The constructor call of the recipe.
    units : Units
        Calibration of the data.
    box : Box
        Space of the data.
    report : dict
        Held-out likelihood, calibration, laws, parameters, warnings, provenance: plain numbers and words.
    """

    kind: ClassVar[str]
    """Name of the recipe whose models this class reads."""

    arrays: Mapping[str, np.ndarray]
    recipe: dict[str, Any]
    units: Units = field(default_factory=Units)
    box: Box = field(default_factory=Free)
    report: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "arrays", in_memory_order(self.arrays))

    @abstractmethod
    def band(self, name: str, x: Any = None, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """(low, high) of a learned quantity at a confidence level; same arguments as the quantity itself."""

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the model file, whole or not at all; `Model.load` and `vd.load` read it."""
        header = {"recipe": self.recipe, "units": self.units.to_dict(), "box": self.box.to_dict(),
                  "report": self.report}
        return write_sealed(path, "vid2dyn", header, self.arrays)

    @staticmethod
    def load(path: str | os.PathLike[str]) -> Model:
        """Read a file written by `save`.

        Raises
        ------
        DataError
            If the file is absent or empty.
        ModelError
            If it is damaged, not a model of vid2dyn, or of a newer schema.
        """
        table, tensors = read_sealed(path, "vid2dyn", "a model", "fit")
        kind = table["recipe"].get("kind")
        known = parts("dynamics")
        if kind not in known:
            raise ModelError(f"{path}: a model of kind {kind!r}; this vid2dyn reads {', '.join(known)}. "
                             "Update vid2dyn, or install the package that brings this dynamics.")
        reader = resolve(known[kind].model)                     # type: ignore[attr-defined]
        return reader(tensors, table["recipe"], Units(**table["units"]), Box.from_dict(table["box"]), table["report"])
