"""Every error that vid2dyn raises on purpose.

A message says three things: what went wrong, where (file, column, key), and what to do next.
Catch `Vid2DynError` to catch them all; each is also the built-in kind a Python user would expect.
"""


class Vid2DynError(Exception):
    """Base of all errors that vid2dyn raises on purpose."""


class ConfigError(Vid2DynError, ValueError):
    """A setting is unknown, of the wrong type or out of range."""


class DataError(Vid2DynError, ValueError):
    """A movie, table or trajectory cannot be used as it is."""


class UnitsError(Vid2DynError, ValueError):
    """A physical quantity was asked for and a calibration that it needs is missing."""


class ModelError(Vid2DynError, ValueError):
    """A model cannot be built, fitted, saved or read."""


class Vid2DynWarning(UserWarning):
    """What a user should know about a recording or a result; it is also kept in ``.warnings`` or
    ``.info["warnings"]``."""
