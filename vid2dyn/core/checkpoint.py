"""Checkpoints of everything that learns: what is done so far, on disk, so that work that was stopped goes on.

One file for one piece of work. It says which data and settings it belongs to (`key_of`) and is not used for others; it
is written whole or not at all, nothing in it is rounded and nothing in it is code, so that a resumed fit ends with the
same bytes as one that was never stopped.
"""

from __future__ import annotations

import hashlib
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vid2dyn.core.errors import ModelError
from vid2dyn.core.files import atomic

PathLike = str | os.PathLike[str]


class Format(ABC):
    """How a checkpoint lies on disk: a key and a state (names and values)."""

    @abstractmethod
    def pack(self, key: str, state: Mapping[str, Any]) -> bytes:
        """The content of the file."""

    @abstractmethod
    def unpack(self, path: Path) -> tuple[str, dict[str, Any]]:
        """Key and state of a file; any of OSError, ValueError, KeyError, TypeError, AttributeError if it is damaged."""


class Numbers(Format):
    """JSON with floats in hexadecimal: whole numbers, floats, words, and arrays of floats (read back as float64)."""

    def pack(self, key: str, state: Mapping[str, Any]) -> bytes:
        table = {name: self._as_text(value) for name, value in state.items()}
        return json.dumps({"key": key, "state": table}).encode("utf-8")

    def unpack(self, path: Path) -> tuple[str, dict[str, Any]]:
        table = json.loads(path.read_text(encoding="utf-8"))
        return table["key"], {name: self._from_text(value) for name, value in table["state"].items()}

    @staticmethod
    def _as_text(value: Any) -> Any:
        if isinstance(value, float):
            return {"float": float(value).hex()}
        if isinstance(value, np.ndarray | list | tuple):
            array = np.asarray(value, dtype=float)
            return {"shape": list(array.shape), "floats": [float(v).hex() for v in array.ravel()]}
        return value

    @staticmethod
    def _from_text(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        if "float" in value:
            return float.fromhex(value["float"])
        return np.array([float.fromhex(v) for v in value["floats"]]).reshape(value["shape"])


class Arrays(Format):
    """safetensors, for many numbers of any type: arrays only, read back with type and shape."""

    def pack(self, key: str, state: Mapping[str, Any]) -> bytes:
        from safetensors.numpy import save

        return save({name: np.array(value, order="C") for name, value in state.items()}, metadata={"run": key})

    def unpack(self, path: Path) -> tuple[str, dict[str, Any]]:
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="numpy") as stream:
                state = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
                return (stream.metadata() or {}).get("run", ""), state
        except SafetensorError as error:
            raise ValueError(error) from None


NUMBERS, ARRAYS = Numbers(), Arrays()


@dataclass(frozen=True)
class Checkpoint:
    """A place for the state of a fit or a training.

    Parameters
    ----------
    path : path or None
        File; None: nothing is kept.
    key : str
        Digest of data and settings, see `key_of`.
    format : Format
        How the state is written: `NUMBERS` (a few, as text) or `ARRAYS` (many).
    refuse_others : bool
        What `load` does with a file of other data or settings: raise an error (True), or return None, so that the work
        starts anew and replaces it (False).

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
    format: Format = NUMBERS
    refuse_others: bool = False

    def save(self, state: Mapping[str, Any]) -> None:
        """Write `state`, whole or not at all."""
        if self.path is None:
            return
        with atomic(self.path) as scratch:
            scratch.write_bytes(self.format.pack(self.key, state))

    def load(self) -> dict[str, Any] | None:
        """What `save` wrote with the same key; None where there is nothing, or (see `refuse_others`) something else's.

        Raises
        ------
        ModelError
            If the file is damaged, or if it belongs to other data or settings and is to be refused.
        """
        if self.path is None or not Path(self.path).exists():
            return None
        try:
            key, state = self.format.unpack(Path(self.path))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelError(f"{self.path}: not a readable checkpoint ({error}). Remove it to start anew.") from None
        if key == self.key:
            return state
        if self.refuse_others:
            raise ModelError(f"{self.path}: a checkpoint of another run (other settings, seed or data). Delete it to "
                             "start anew, or name another file.")
        return None


NOWHERE = Checkpoint(None, "")
"""Nothing is kept."""


def digest_of(*parts: bytes) -> str:
    """SHA-256 of all parts one after the other, in hexadecimal.

    >>> digest_of(b"a", b"b") == digest_of(b"ab")
    True
    """
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def key_of(settings: str, *arrays: np.ndarray) -> str:
    """Digest of everything a fit depends on.

    >>> key_of("seed 0", np.zeros(2)) == key_of("seed 1", np.zeros(2))
    False
    """
    parts = [part for array in arrays
             for part in (f"{array.dtype} {array.shape}".encode(), np.ascontiguousarray(array).tobytes())]
    return digest_of(settings.encode(), *parts)
