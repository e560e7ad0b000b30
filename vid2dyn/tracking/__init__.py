"""Tracking: Video in, Trajectories out.

`track` runs a `Detector` (features of one frame) and a `Linker` (particle numbers) over a movie, one frame at
a time; `Track` holds all settings. Every position carries a calibrated standard error: see
`vid2dyn.tracking.fit.information`.
"""

from vid2dyn.core.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
