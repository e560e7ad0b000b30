"""Work that is done once: each stage of a pipeline leaves a file, and a manifest remembers from what.

A stage is skipped when its file is there, unharmed, and was made from the same settings and inputs. The
manifest (`manifest.json` in the same folder) holds hashes only, never a time or a machine's name,
so that the same work gives the same bytes wherever and in however many pieces it is done.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from vid2dyn import __version__
from vid2dyn.core.files import atomic, sha256

SCHEMA = 1
_LOG = logging.getLogger("vid2dyn.runs")


def fingerprint(value: Any) -> str:
    """SHA-256 of plain data (numbers, strings, lists, dictionaries), independent of key order.

    >>> fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    True
    """
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


class Stages:
    """The stages of one movie in one folder.

    Parameters
    ----------
    folder : path
        Where outputs and the manifest go; made if absent.

    Examples
    --------
    >>> import tempfile
    >>> stages = Stages(tempfile.mkdtemp())
    >>> path = stages.make("hello", "hello.txt", {"text": "hi"}, lambda scratch: scratch.write_text("hi"))
    >>> stages.make("hello", "hello.txt", {"text": "hi"}, lambda scratch: 1 / 0) == path   # not made twice
    True
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.done: dict[str, dict[str, Any]] = self._read()
        self.skipped: list[str] = []

    @property
    def manifest(self) -> Path:
        """The file that remembers what was made from what."""
        return self.folder / "manifest.json"

    def make(self, stage: str, output: str, source: Mapping[str, Any], make: Callable[[Path], Any]) -> Path:
        """Path of the stage's output, made by ``make(scratch_path)`` only if it has to be.

        Parameters
        ----------
        stage, output : str
            Name of the stage and of its file in the folder.
        source : mapping
            Everything the output depends on, as plain data: settings, and hashes of inputs.
        make : callable
            Writes the output to the path it is given. If it raises, nothing is left behind.
        """
        path = self.folder / output
        key = fingerprint({"stage": stage, "version": __version__, "source": source})
        known = self.done.get(stage)
        if known and known["key"] == key and known["output"] == output and path.is_file() \
                and sha256(path) == known["sha256"]:
            self.skipped.append(stage)
            _LOG.info("%s: %s is there already", self.folder.name, output)
            return path
        for left_over in self.folder.glob(f".{path.stem}.*{path.suffix}"):
            left_over.unlink(missing_ok=True)          # of a run that was killed
        _LOG.info("%s: %s begins", self.folder.name, stage)
        begin = time.monotonic()
        with atomic(path) as scratch:
            make(scratch)
        _LOG.info("%s: %s written after %.1f s", self.folder.name, output, time.monotonic() - begin)
        self.done[stage] = {"key": key, "output": output, "sha256": sha256(path), "source": dict(source)}
        self._write()
        return path

    def hash_of(self, stage: str) -> str:
        """SHA-256 of the output of a finished stage, to name it as the input of the next."""
        return self.done[stage]["sha256"]

    def _read(self) -> dict[str, dict[str, Any]]:
        """What an earlier run left; an unreadable manifest counts as none: work is then done again."""
        try:
            content = json.loads(self.manifest.read_text())
            return dict(content["stages"]) if content["schema"] == SCHEMA else {}
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def _write(self) -> None:
        content = {"schema": SCHEMA, "version": __version__, "stages": self.done}
        with atomic(self.manifest) as scratch:
            scratch.write_text(json.dumps(content, indent=1, sort_keys=True, default=str) + "\n")
