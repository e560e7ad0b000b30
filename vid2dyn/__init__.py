"""vid2dyn: video of moving particles in, a thermodynamically consistent stochastic model out.

The map of the house, top to bottom; a file imports only from lines below its own::

    cli          command line
    batch, demo  the verbs chained: one or many movies, resumable; the recording with known truth
    one_run      everything of one recording or simulation, in one folder
    chunks       one movie tracked in parts, by any number of processes
    experiment, tables   the TOML file: every table a constructor call
    pipeline     the verbs: open, track, diffusion, simulate, fit, compare, load, report
    field_page   the page of density fields
    report, suggestion, fitting  the page; proposed settings; estimators and their error bars
    model        the file format and what a fitted model can say
    rollout, integrators, fluid_rollout   dynamics + start -> trajectories; steps of a fluid; the same, compiled
    inference    velocities -> the entropy that nobody sees, and the likelihood of a fluid
    encoders     surroundings or picture of a particle -> latent columns of its state
    dynamics     potentials + friction matrix M = G Gᵀ: drift, noise and laws follow
    snapshot     nodes joined by pairs (torch begins here)
    readers, tracking, simulators, analysis, convert
    video, trajectories, fields
    units, box, files, progress, stages, workers
    config, registry, errors

Public names load on first use, so `import vid2dyn` stays fast.
"""

from __future__ import annotations

import importlib
import sys
import types
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "open": "pipeline", "track": "pipeline", "diffusion": "pipeline", "simulate": "pipeline",
    "fit": "pipeline", "compare": "pipeline", "load": "pipeline", "report": "pipeline", "render": "pipeline",
    "suggest": "pipeline",
    "run": "batch", "demo": "demo",
    "Trajectories": "trajectories", "Video": "video", "Units": "units",
    "Fields": "fields", "Box": "box", "Free": "box", "Periodic": "box", "LeesEdwards": "box",
    "PatchEncoder": "encoders.patches", "encode": "encoders.patches",
    "Brownian": "dynamics.brownian", "GradientFlow": "dynamics.gradient_flow", "Model": "model",
    "Metriplectic": "dynamics.metriplectic_recipe",
    "Vid2DynError": "errors", "ConfigError": "errors", "DataError": "errors", "UnitsError": "errors",
    "ModelError": "errors", "Cancelled": "progress",
}
_PACKAGES = ("simulators", "analysis", "tracking", "readers", "dynamics", "convert", "config", "describe", "registry",
             "headline", "files", "experiment")

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


class _House(types.ModuleType):
    """Keeps a verb what it is when the package behind it is imported.

    Importing `vid2dyn.report` makes Python set the attribute `report` of this module to that module, which would
    shadow the verb `vd.report`. ``from vid2dyn.report import ...`` is not affected.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOME and isinstance(value, types.ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _House
