"""Files: written whole or not at all, and known by their content."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vid2dyn.core.errors import DataError

TABLES = (".csv", ".tsv", ".txt", ".xml")
"""Suffixes of tables of positions as other programs write them."""


@contextmanager
def atomic(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A scratch path beside `path` that replaces it in one step if the block succeeds.

    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "note.txt"
    >>> with atomic(target) as scratch:
    ...     _ = scratch.write_text("whole")
    >>> target.read_text()
    'whole'
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")
    try:
        yield scratch
        os.replace(scratch, path)
    finally:
        scratch.unlink(missing_ok=True)


def existing_file(path: str | os.PathLike[str]) -> Path:
    """`path`, checked: raises `DataError` if nothing is there or the file is empty."""
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path}: no such file. Check the path (working directory: {Path.cwd()}).")
    if path.is_file() and path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty (0 bytes). Copy or export it again.")
    return path


def sha256(path: str | os.PathLike[str]) -> str:
    """Hexadecimal SHA-256 of a file; of a folder, of its file names and contents in sorted order."""
    path = Path(path)
    digest = hashlib.sha256()
    members = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    for member in members:
        if path.is_dir():
            digest.update(str(member.relative_to(path)).encode())
        with open(member, "rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
