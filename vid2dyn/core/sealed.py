"""Arrays with a header in one file: safetensors under a checksum, written whole or not at all, no pickle.

Models and trained encoders are such files; what the header and the arrays mean, they say themselves.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vid2dyn.core.errors import ModelError
from vid2dyn.core.files import atomic, existing_file
from vid2dyn.core.schemas import Step, upgraded

STEPS: tuple[Step, ...] = ()
"""What makes a header of an earlier schema one of the newest; see `vid2dyn.core.schemas`."""
SCHEMA = len(STEPS) + 1


def in_memory_order(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same arrays, each in C order, as `read_sealed` gives them.

    A matrix product rounds differently for another memory order, because BLAS takes another kernel: what is made and
    what is read back from its file would differ in the last digit. So whatever holds arrays orders them on entry.

    >>> in_memory_order({"a": np.ones((3, 2)).T})["a"].flags.c_contiguous
    True
    """
    return {name: np.asarray(value, order="C") for name, value in arrays.items()}


def write_sealed(path: str | os.PathLike[str], kind: str, header: Mapping[str, Any],
                 arrays: Mapping[str, np.ndarray]) -> Path:
    """Write a file whose metadata entry `kind` holds checksum, schema and `header` (plain numbers and words)."""
    from safetensors.numpy import save

    tensors = {name: np.ascontiguousarray(arrays[name]) for name in sorted(arrays)}
    text = json.dumps({"schema": SCHEMA, **header}, sort_keys=True)
    # one metadata entry only: safetensors does not keep the order of several
    with atomic(path) as scratch:
        scratch.write_bytes(save(tensors, metadata={kind: _checksum(text, tensors) + text}))
    return Path(path)


def read_sealed(path: str | os.PathLike[str], kind: str, what: str,
                again: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Header and arrays of a file that `write_sealed` wrote with the same `kind`.

    Parameters
    ----------
    what, again : str
        For errors: what the file should be ("a model"), and how to get another one ("fit").

    Raises
    ------
    DataError
        If the file is absent or empty.
    ModelError
        If it is damaged, of another kind, or of a newer schema.

    Examples
    --------
    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "a.numbers"
    >>> _ = write_sealed(target, "numbers", {"name": "a"}, {"x": np.arange(3)})
    >>> header, arrays = read_sealed(target, "numbers", "a set of numbers", "count")
    >>> header["name"], arrays["x"].tolist()
    ('a', [0, 1, 2])
    """
    from safetensors import SafetensorError, safe_open

    path = existing_file(path)
    try:
        with safe_open(path, framework="numpy") as stream:
            text = (stream.metadata() or {}).get(kind)
            tensors = {name: stream.get_tensor(name) for name in sorted(stream.keys())}
        if text is None:
            raise ModelError(f"{path}: a safetensors file, but not {what} of vid2dyn.")
        if text[:64] != _checksum(text[64:], tensors):
            raise ModelError(f"{path}: the checksum does not match, the file was damaged or changed. Copy it again or "
                             f"{again} again.")
        header = json.loads(text[64:])
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"{path}: not a readable {what.split()[-1]} file ({error}). Copy it again or {again} "
                         "again.") from None
    return upgraded(path, header, STEPS, ModelError), tensors


def _checksum(text: str, tensors: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256(text.encode())
    for name, value in tensors.items():
        digest.update(f"{name} {value.dtype} {value.shape}".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()
