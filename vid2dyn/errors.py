"""The errors of vid2dyn under a short name: ``from vid2dyn.errors import Vid2DynError``.

They are defined in `vid2dyn.core.errors`, and also at hand as ``vd.DataError`` and so on.
"""

from vid2dyn.core.errors import ConfigError, DataError, ModelError, UnitsError, Vid2DynError, Vid2DynWarning

__all__ = ["ConfigError", "DataError", "ModelError", "UnitsError", "Vid2DynError", "Vid2DynWarning"]
