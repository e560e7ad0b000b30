"""Simulators: parameters -> trajectories whose truth is known.

They are the witness against which the learner is judged and import nothing of it. A new simulator or pair
potential is one new file in a room of this one, or in an outside package; it is found by being there:
``vd.simulators.Brownian``, ``vd.simulators.Yukawa``.

>>> import vid2dyn as vd
>>> sim = vd.simulators.Brownian(n_particles=20, frames=10, pair=vd.simulators.Yukawa(), box_length=12.0)
>>> tracks = sim.run(seed=0)
>>> tracks.n_particles, tracks.n_frames
(20, 10)
"""

from typing import Any

from vid2dyn.core.lazy import attach


def _found(name: str) -> Any:
    """A part that the stub does not list: of an outside package."""
    from vid2dyn.core.registry import parts

    if name.islower():
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")      # parts have capitals
    known = parts("simulators") | parts("potentials")
    if name not in known:
        raise AttributeError(f"vid2dyn.simulators has no {name!r}; known: {', '.join(known)}")
    return known[name]


__getattr__, __dir__, __all__ = attach(__name__, __file__, others=_found)
