"""Runs: experiment files, one recording or many through the whole pipeline, resumable; the demonstration."""

from vid2dyn.core.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
