"""Core: what every room uses and no physics is in: errors, settings, registry, files, progress, processes, pairs."""

from vid2dyn.core.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
