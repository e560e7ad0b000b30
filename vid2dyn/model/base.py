"""A model as a file: what every fitted model has, whatever its dynamics.

A model is learned numbers, units, space, the recipe it was made with and a report on how well it did. The file is one
safetensors container with a JSON text and a checksum in its header: no code is ever loaded from it (no pickle), a
flipped byte is noticed, and the same fit writes the same bytes. The recipe's kind says which class reads it.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from vid2dyn.box import Box, Free
from vid2dyn.errors import ModelError
from vid2dyn.files import atomic, existing_file
from vid2dyn.units import Units

SCHEMA = 1

_KINDS = {"Brownian": "brownian", "GradientFlow": "gradient_flow", "Metriplectic": "metriplectic"}
"""Kind of a recipe -> module that holds the class of its models, named kind + "Model"."""


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

    @abstractmethod
    def band(self, name: str, x: Any = None, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """(low, high) of a learned quantity at a confidence level; same arguments as the quantity itself."""

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the model file, whole or not at all; `Model.load` and `vd.load` read it."""
        from safetensors.numpy import save

        tensors = {name: np.ascontiguousarray(self.arrays[name]) for name in sorted(self.arrays)}
        header = json.dumps({"schema": SCHEMA, "recipe": self.recipe, "units": self.units.to_dict(),
                             "box": self.box.to_dict(), "report": self.report}, sort_keys=True)
        # one metadata entry only: safetensors does not keep the order of several
        with atomic(path) as scratch:
            scratch.write_bytes(save(tensors, metadata={"vid2dyn": _checksum(header, tensors) + header}))
        return Path(path)

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
        from safetensors import SafetensorError, safe_open

        path = existing_file(path)
        try:
            with safe_open(path, framework="numpy") as stream:
                text = (stream.metadata() or {})["vid2dyn"]
                tensors = {name: stream.get_tensor(name) for name in sorted(stream.keys())}
            digest, header = text[:64], text[64:]
            if digest != _checksum(header, tensors):
                raise ModelError(f"{path}: the checksum does not match, the file was damaged or changed. "
                                 "Copy it again or fit again.")
            table = json.loads(header)
        except KeyError:
            raise ModelError(f"{path}: a safetensors file, but not a model of vid2dyn.") from None
        except (SafetensorError, OSError, ValueError, TypeError) as error:
            if isinstance(error, ModelError):
                raise
            raise ModelError(f"{path}: not a readable model file ({error}). Copy it again or fit again.") from None
        if table["schema"] != SCHEMA:
            raise ModelError(f"{path}: schema {table['schema']!r}, this vid2dyn reads {SCHEMA}; update vid2dyn.")
        kind = table["recipe"].get("kind")
        if kind not in _KINDS:
            raise ModelError(f"{path}: a model of kind {kind!r}; this vid2dyn reads {', '.join(_KINDS)}. "
                             "Update vid2dyn.")
        reader = getattr(importlib.import_module(f"vid2dyn.model.{_KINDS[kind]}"), f"{kind}Model")
        return reader(tensors, table["recipe"], Units(**table["units"]), Box.from_dict(table["box"]), table["report"])


def _checksum(header: str, tensors: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256(header.encode())
    for name, value in tensors.items():
        digest.update(f"{name} {value.dtype} {value.shape}".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()
