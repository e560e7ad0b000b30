"""Schemas of files: a file that an earlier version wrote is opened for good, one of a later version refused in words.

Every kind of file states its schema in its header, a whole number that grows when something that was written before
would be read wrongly. Keys and columns that are added do not change it: readers take what they know and have defaults
for the rest. When it grows, the kind of file gets a step that makes a header of the last schema one of the new, and a
file of the last schema stays in ``tests/data/earlier`` and is opened by a test.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from vid2dyn.core.errors import DataError, Vid2DynError

Step = Callable[[dict[str, Any]], dict[str, Any]]
"""A header of one schema in, that of the next one out."""


def upgraded(path: str | os.PathLike[str], header: Any, steps: Sequence[Step] = (),
             error: type[Vid2DynError] = DataError) -> dict[str, Any]:
    """The header of a file as the newest schema has it.

    Parameters
    ----------
    path : path
        For errors.
    header : mapping
        As it stands in the file, with its number under "schema".
    steps : sequence of callable
        ``steps[k]`` makes a header of schema k + 1 one of schema k + 2; the newest schema is ``len(steps) + 1``.
    error : class
        Of the error.

    Raises
    ------
    Vid2DynError
        Of the class `error`: for a file of a later schema, or one that states none.

    Examples
    --------
    >>> upgraded("a.fields", {"schema": 1, "length": 2.0}, [lambda header: {**header, "unit": "µm"}])
    {'schema': 2, 'length': 2.0, 'unit': 'µm'}
    """
    newest = len(steps) + 1
    stated = header.get("schema") if isinstance(header, Mapping) else None
    if isinstance(stated, bool) or not isinstance(stated, int) or not 1 <= stated <= newest:
        later = isinstance(stated, int) and stated > newest
        cure = "It was written by a later version: update vid2dyn." if later else "Save or copy it again."
        known = "1" if newest == 1 else f"1 to {newest}"
        raise error(f"{path}: schema {stated!r}, this vid2dyn reads {known}. {cure}")
    table = dict(header)
    for number in range(stated, newest):
        table = {**steps[number - 1](table), "schema": number + 1}
    return table
