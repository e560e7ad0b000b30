"""vid2dyn: video of moving particles in, a thermodynamically consistent stochastic model out.

The map of the house, top to bottom; a file imports only from lines below its own::

    cli          command line
    pipeline     the verbs: open, track, diffusion, simulate, fit, compare, load, report, run
    report, fit  the page; estimators and their error bars
    rollout      model + start -> trajectories
    model        the file format and what a fitted model can say
    dynamics     potentials + friction matrix M = G Gᵀ: drift, noise and laws follow
    snapshot     nodes joined by pairs (torch begins here)
    readers, tracking, simulators, analysis, convert
    video, trajectories
    units, box, files, progress
    config, registry, errors

Public names load on first use, so `import vid2dyn` stays fast.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "open": "pipeline", "track": "pipeline", "diffusion": "pipeline", "simulate": "pipeline",
    "fit": "pipeline", "compare": "pipeline", "load": "pipeline", "report": "pipeline", "run": "pipeline",
    "render": "pipeline",
    "Trajectories": "trajectories", "Video": "video", "Units": "units",
    "Box": "box", "Free": "box", "Periodic": "box",
    "Brownian": "dynamics.brownian", "Model": "model",
    "Vid2DynError": "errors", "ConfigError": "errors", "DataError": "errors", "UnitsError": "errors",
    "ModelError": "errors",
}
_PACKAGES = ("simulators", "analysis", "tracking", "readers", "dynamics", "convert", "config")

__all__ = ["__version__", *sorted(_HOME), *_PACKAGES]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(importlib.import_module(f"vid2dyn.{_HOME[name]}"), name)
    elif name in _PACKAGES:
        value = importlib.import_module(f"vid2dyn.{name}")
    else:
        raise AttributeError(f"module 'vid2dyn' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
