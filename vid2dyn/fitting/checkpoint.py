"""Checkpoints of iterative fits: what a finished round leaves on disk, so that a fit that was stopped goes on.

One file for one fit. It says which data and settings it belongs to and is not used for others; floats are written as
hexadecimal, so nothing is rounded and a resumed fit ends with the same bytes as one that was never stopped.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vid2dyn.core.errors import ModelError
from vid2dyn.core.files import atomic

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class Checkpoint:
    """A place for the state of a fit.

    Parameters
    ----------
    path : path or None
        File; None: nothing is kept.
    key : str
        Digest of data and settings, see `key_of`.

    Examples
    --------
    >>> import tempfile
    >>> place = Checkpoint(Path(tempfile.mkdtemp()) / "fit", key_of("a recipe", np.arange(3.0)))
    >>> place.load() is None
    True
    >>> place.save({"round": 2, "numbers": np.array([[0.1, np.inf]]), "gain": 0.3})
    >>> found = place.load()
    >>> found["round"], found["numbers"].tolist(), found["gain"]
    (2, [[0.1, inf]], 0.3)
    """

    path: PathLike | None
    key: str

    def save(self, state: Mapping[str, Any]) -> None:
        """Write `state` (whole numbers, floats, words, arrays of floats), whole or not at all."""
        if self.path is None:
            return
        table = {name: _plain(value) for name, value in state.items()}
        with atomic(self.path) as scratch:
            scratch.write_text(json.dumps({"key": self.key, "state": table}), encoding="utf-8")

    def load(self) -> dict[str, Any] | None:
        """What `save` wrote with the same key; None where there is nothing, or something else's.

        Raises
        ------
        ModelError
            If the file is damaged.
        """
        if self.path is None:
            return None
        try:
            table = json.loads(Path(self.path).read_text(encoding="utf-8"))
            if table["key"] != self.key:
                return None
            return {name: _lively(value) for name, value in table["state"].items()}
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelError(f"{self.path}: not a readable checkpoint ({error}). Remove it to start anew.") from None


NOWHERE = Checkpoint(None, "")
"""Nothing is kept."""


def key_of(settings: str, *arrays: np.ndarray) -> str:
    """Digest of everything a fit depends on.

    >>> key_of("seed 0", np.zeros(2)) == key_of("seed 1", np.zeros(2))
    False
    """
    digest = hashlib.sha256(settings.encode())
    for array in arrays:
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return {"float": float(value).hex()}
    if isinstance(value, np.ndarray | list | tuple):
        array = np.asarray(value, dtype=float)
        return {"shape": list(array.shape), "floats": [float(v).hex() for v in array.ravel()]}
    return value


def _lively(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if "float" in value:
        return float.fromhex(value["float"])
    return np.array([float.fromhex(v) for v in value["floats"]]).reshape(value["shape"])
