"""Models: what was learned, what it can say, and the file that holds it."""

from vid2dyn.model.base import Model

__all__ = ["Model"]
