"""Files: written whole or not at all, and known by their content."""

from __future__ import annotations

import errno
import hashlib
import os
import platform
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from vid2dyn.core.errors import DataError

DUMPS = (".lammpstrj", ".dump")
"""Suffixes of dumps of LAMMPS."""
ARRAYS = (".h5", ".hdf5", ".gsd", ".geff")
"""Suffixes of tracks in files of arrays."""
TABLES = (".csv", ".tsv", ".txt", ".xml", *DUMPS, *ARRAYS)
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
    with _said(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    scratch = _scratch(path)
    try:
        with _said(path, scratch):
            yield scratch
            os.replace(scratch, path)
    finally:
        with suppress(OSError):
            scratch.unlink(missing_ok=True)


def _scratch(path: Path) -> Path:
    """A name beside `path` that no other process takes, with its suffix, and hardly longer."""
    stem = path.stem if len(os.fsencode(path.name)) < 230 else ""
    return path.with_name(f".{stem}.{secrets.token_hex(4)}{path.suffix}")


_UNWRITABLE = {
    errno.ENOSPC: "the disk is full. Free some space, or write to another disk",
    errno.EDQUOT: "your quota of the disk is used up. Free some space, or write to another disk",
    errno.EROFS: "the disk is read-only. Write to another one",
    errno.EACCES: "you may not write there. Choose another folder, or change its permissions",
    errno.EPERM: "you may not write there. Choose another folder, or change its permissions",
    errno.ENAMETOOLONG: "the name is too long for the disk. Choose a shorter one",
    errno.ENOTDIR: "a part of the path is a file, not a folder. Choose another folder",
    errno.EEXIST: "a part of the path is a file, not a folder. Choose another folder",
    errno.EFBIG: "the disk does not hold such large files. Write to another disk",
    errno.EIO: "the disk reports an error. Write to another disk",
}


@contextmanager
def _said(path: Path, scratch: Path | None = None) -> Iterator[None]:
    """Failures to write become `DataError` with the file and the cure; those of reading other files pass."""
    try:
        yield
    except OSError as error:
        number = error.errno
        if number is None:                                 # libraries put the number into their text alone
            number = next((n for n in _UNWRITABLE if os.strerror(n).lower() in str(error).lower()), None)
        other = error.filename is not None and scratch is not None and os.fspath(error.filename) not in (
            os.fspath(scratch), os.fspath(path))
        if number not in _UNWRITABLE or (other and number not in (errno.ENOSPC, errno.EDQUOT)):
            raise
        raise DataError(f"{path}: cannot be written: {_UNWRITABLE[number]}. Nothing was left half-written.") from error


def check_writable(path: str | os.PathLike[str], *inputs: str | os.PathLike[str] | None) -> Path:
    """`path`, made sure before the work that it can be written after it.

    Parameters
    ----------
    path : path
        A file that will be written. Folders on the way are made.
    *inputs : path or None
        What the work reads: it is never overwritten.

    Raises
    ------
    DataError
        For a folder, a name that is too long, a disk that is full or read-only, an input of that name.
    """
    path = Path(path)
    with _said(path), suppress(FileNotFoundError):
        path.stat()                                       # a name may be too long to ask
    if path.is_dir():
        raise DataError(f"{path}: is a folder; give a file name.")
    for source in inputs:
        if source is not None and path.exists() and Path(source).exists() and path.samefile(source):
            raise DataError(f"{path}: is what is read; its own result would overwrite it. Choose another name.")
    if path.exists() and not path.is_file():
        raise DataError(f"{path}: is not a plain file; it cannot be replaced by one. Choose another name.")
    scratch = _scratch(path)
    try:
        with _said(path, scratch):
            path.parent.mkdir(parents=True, exist_ok=True)
            scratch.write_bytes(b"\0" * 4096)              # a full disk refuses
    finally:
        with suppress(OSError):
            scratch.unlink(missing_ok=True)
    return path


@contextmanager
def locked(folder: str | os.PathLike[str]) -> Iterator[None]:
    """The folder for this process alone while the block runs; made if absent.

    Raises
    ------
    DataError
        When another process works there, with its number and machine.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with locked(folder):
    ...     sorted(p.name for p in folder.iterdir())
    ['.lock']
    >>> list(folder.iterdir())
    []
    """
    folder = Path(folder)
    place = folder / ".lock"
    with _said(place):
        folder.mkdir(parents=True, exist_ok=True)
        stream = open(place, "a+", encoding="utf-8")  # noqa: SIM115
    try:
        if not _take(stream):
            stream.seek(0)
            raise DataError(f"{folder}: {stream.read().strip() or 'another process'} works in this folder. Wait until "
                            "it is "
                            "done, or choose another folder.")
        stream.seek(0)
        stream.truncate()
        stream.write(f"process {os.getpid()} on {platform.node()}")
        stream.flush()
        try:
            yield
        finally:
            with suppress(OSError):
                place.unlink()
    finally:
        stream.close()                                     # which gives the lock back, also when the process is killed


def _take(stream: IO[str]) -> bool:
    """Whether the lock of an open file could be taken."""
    try:
        import fcntl
    except ImportError:                                    # Windows
        import msvcrt

        try:
            stream.seek(0)
            msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        except OSError:
            return False
        return True
    try:
        fcntl.flock(stream.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:                                        # a file system without locks
        return True
    with suppress(FileNotFoundError):
        return os.fstat(stream.fileno()).st_ino == os.stat(stream.name).st_ino
    return False                                           # who held it has just removed it


def existing_file(path: str | os.PathLike[str]) -> Path:
    """`path`, checked: a file that is not empty, or a folder; `DataError` for anything else."""
    try:
        path = Path(path)
        there = path.exists()
    except TypeError:
        raise DataError(f"{path!r} is a {type(path).__name__}; give the path of a file.") from None
    except (ValueError, OSError) as error:                 # a zero byte, a name that is too long, a loop of links
        raise DataError(f"{str(path)[:200]!r}: not a path that can be read ({error}). Check it.") from None
    if not there:
        raise DataError(f"{path}: no such file. Check the path (working directory: {Path.cwd()}).")
    if not (path.is_file() or path.is_dir()):
        raise DataError(f"{path}: is neither a file nor a folder (a pipe, socket or device). Save the recording to a "
                        "file "
                        "first.")
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
