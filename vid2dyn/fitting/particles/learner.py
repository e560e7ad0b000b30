"""What a list of terms is learned by: the steps of a fit that depend on its likelihood.

`vid2dyn.fitting.particles.fit` is the path that all fits of inertial particles take. There are two likelihoods, and for
each a `Learner`: terms at one temperature, window by window (`term_lists`), and a fluid whose entropy is carried from
frame to frame (`fluid`).
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

import numpy as np

from vid2dyn.core.checkpoint import NOWHERE, Checkpoint
from vid2dyn.core.config import recipe as recipe_of
from vid2dyn.core.progress import Progress, silent
from vid2dyn.dynamics.recipes.metriplectic import Metriplectic
from vid2dyn.fitting.particles.recordings import Recordings, checkpoint_key
from vid2dyn.fitting.particles.scoring import Learned
from vid2dyn.inference.steps import FluidSteps
from vid2dyn.model.base import Model


@dataclass(frozen=True, eq=False)
class Run:
    """What all parts of one fit share."""

    recordings: Recordings
    recipe: Metriplectic
    seed: int = 0
    progress: Progress = silent
    stop: int | None = None
    keep_partial: bool = False

    def place(self, what: str, parts: tuple[FluidSteps, ...], settings: Any, *arrays: np.ndarray) -> Checkpoint:
        """Where scoring named `what` is kept, for these data and settings."""
        if self.recipe.checkpoint is None:
            return NOWHERE
        bare = recipe_of(dataclasses.replace(self.recipe, checkpoint=None))
        return Checkpoint(Path(f"{self.recipe.checkpoint}.{what.replace(' ', '-').replace(',', '')}"),
                          checkpoint_key(parts, repr((bare, self.seed, what, settings)), *arrays))


@dataclass(frozen=True, eq=False, kw_only=True)
class Fit:
    """A fit as far as it has come.

    Parameters
    ----------
    learned : Learned
        How the scoring of its numbers has ended.
    found : mapping
        Entries of the report.
    warnings : tuple of str
    """

    learned: Learned
    found: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def stopped(self) -> Self:
        """The same, called unfinished."""
        return dataclasses.replace(self, learned=dataclasses.replace(self.learned, left_off=True))


F = TypeVar("F", bound=Fit)


class Learner(ABC, Generic[F]):
    """The steps of a fit that depend on its likelihood."""

    @staticmethod
    @abstractmethod
    def layout_of(recipe: Metriplectic) -> tuple[float, int]:
        """Range of the pairs [µm], and least number of frames of a recording."""

    @abstractmethod
    def first_look(self, run: Run) -> F:
        """The numbers of all terms as they are given; `run.stop` counts its iterations."""

    @abstractmethod
    def stages(self, fit: F) -> Iterator[F]:
        """What follows, step by step: windows, ranges and terms, comparisons, the final numbers."""

    @abstractmethod
    def judged(self, fit: F, number: int) -> tuple[np.ndarray, np.ndarray, float]:
        """Of windows of a recording, by its number: log-likelihood of a particle, and R·C⁻¹R over its expectation,
        (windows,) each; and the error of that which all of them share."""

    @abstractmethod
    def described(self, fit: F) -> tuple[Model, dict[str, Any], list[str]]:
        """The model, entries of its report, and what is to be said of it."""
