"""Libraries that only some formats need: a clear word where one is not installed."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from vid2dyn.core.errors import DataError

_EXTRA = {"h5py": "hdf5", "gsd.hoomd": "gsd", "geff": "geff", "geff_spec": "geff", "geff.core_io": "geff"}


def library(name: str, what: str) -> Any:
    """The module `name`, or a `DataError` that says how to install it.

    >>> library("json", "JSON").__name__
    'json'
    """
    try:
        return import_module(name)
    except ImportError as error:
        package, extra = name.partition(".")[0], _EXTRA.get(name, name)
        raise DataError(f"{what} needs the library {package} ({error}). Install it: pip install 'vid2dyn[{extra}]', or "
                        f"pip install {package}.") from None
