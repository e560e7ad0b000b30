"""Reports: one self-contained page about data and model; settings proposed for a movie, with the pictures."""

from vid2dyn.core.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
