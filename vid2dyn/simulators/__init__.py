"""Simulators: parameters -> trajectories whose truth is known.

They are the witness against which the learner is judged and import nothing of it. A new simulator or pair
potential is one new file here; it is found by being there: ``vd.simulators.Brownian``, ``vd.simulators.Yukawa``.

>>> import vid2dyn as vd
>>> sim = vd.simulators.Brownian(n_particles=20, frames=10, pair=vd.simulators.Yukawa(), box_length=12.0)
>>> tracks = sim.run(seed=0)
>>> tracks.n_particles, tracks.n_frames
(20, 10)
"""

from __future__ import annotations

import importlib
from typing import Any

from vid2dyn.simulators.base import Path, Simulator

_HOME = {
    "PairPotential": "pair_potentials", "Renderer": "renderer", "RenderedVideo": "rendered_video",
    "render": "rendered_video",
    "observe": "observation", "exposure_average": "observation",
}

__all__ = ["Path", "Simulator", *_HOME]


def __getattr__(name: str) -> Any:
    if name.startswith("_") or (name.islower() and name not in _HOME):
        raise AttributeError(name)            # a module: parts have capitals, and Python imports modules by itself
    if name in _HOME:
        value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    else:
        known = _parts()
        if name not in known:
            raise AttributeError(f"vid2dyn.simulators has no {name!r}; known: {', '.join(known)}")
        value = known[name]
    globals()[name] = value
    return value


def _parts() -> dict[str, type]:
    """Every simulator and pair potential, by class name."""
    from vid2dyn.registry import parts
    from vid2dyn.simulators.pair_potentials import PairPotential

    return parts(__name__, Simulator) | parts(__name__, PairPotential)


def __dir__() -> list[str]:
    return sorted({*__all__, *_parts()})
