"""Writes the API reference and the reference of the command line from the package, before pages are read."""

from __future__ import annotations

from typing import Any


def setup(app: Any) -> dict[str, bool]:
    return {"parallel_read_safe": True, "parallel_write_safe": True}
