"""A recipe says which dynamics to learn and with what settings, before any number is known.

A kind of dynamics is declared by its recipe alone: the class names its estimator and the class of its models, so that
`vd.fit`, `vd.load`, TOML files, the command line and the panel find all three by the registry. In vid2dyn they live in
three rooms (dynamics, fitting, model); an outside package may have them in one file.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

from vid2dyn.core.configurable import Configurable

DEFAULT_DYNAMICS = {"trajectories": "Brownian", "fields": "GradientFlow"}
"""The recipe that is taken for each kind of data where none is named."""


class Recipe(Configurable, ABC):
    """Base of `Brownian` and its siblings: a frozen dataclass whose fields are the settings."""

    estimator: ClassVar[str]
    """"module:name" of ``estimator(data, recipe, *, seed, progress, checkpoint, stop, keep_partial) -> Model``; one
    that does not learn in rounds takes the last three as ``**options`` and leaves them alone."""
    model: ClassVar[str]
    """"module:name" of the class of fitted models, a subclass of `vid2dyn.model.Model`."""
    assessor: ClassVar[str] = ""
    """"module:name" of ``assessor(tracks, model, *, seed) -> Assessment``, the tests of its assumptions; empty: "
                   "none."""
    learns_from: ClassVar[Literal["trajectories", "fields"]] = "trajectories"
    """What kind of data it takes, so that a form offers it only where it fits."""
    needs_velocities: ClassVar[bool] = False
    """Whether it learns from recorded velocities; a form offers such a recipe first where the data have them."""
    shown_first: ClassVar[tuple[str, ...]] = ()
    """Settings that a form shows before the others; empty: the first five."""

    @property
    @abstractmethod
    def summary(self) -> str:
        """One line for lists and reports."""
