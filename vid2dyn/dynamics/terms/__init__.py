"""Terms: energies and frictions that a model of particles is made of (`base`), one a file, and the functions they use.

``vd.terms.PairPotential(cutoff=4.75)``: a term goes into the lists of a recipe. A new one is one new file in this room,
or a class of an outside package under the entry point group ``vid2dyn.terms``; it is found by being there.
"""

from typing import Any

from vid2dyn.core.lazy import attach


def _found(name: str) -> Any:
    """A term that the stub does not list: of an outside package."""
    from vid2dyn.core.registry import parts

    if name.islower():
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")      # terms have capitals
    known = parts("energies") | parts("frictions")
    if name not in known:
        raise AttributeError(f"vid2dyn.terms has no {name!r}; known: {', '.join(known)}")
    return known[name]


__getattr__, __dir__, __all__ = attach(__name__, __file__, others=_found)
