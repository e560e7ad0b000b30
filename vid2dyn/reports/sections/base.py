"""What a section of the report is, and what it may look at."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from vid2dyn.core.config import build
from vid2dyn.core.errors import Vid2DynError
from vid2dyn.core.registry import parts
from vid2dyn.data.fields import Fields


@dataclass(frozen=True)
class Section:
    """One box of the page: a heading, a sentence, figures (src, alt, caption), a table (head, rows), doubts."""

    id: str
    title: str
    lead: str
    figures: list[dict[str, str]] = field(default_factory=list)
    table: dict[str, Any] | None = None
    doubts: list[str] = field(default_factory=list)


@dataclass
class Content:
    """Everything that a page is about.

    Parameters
    ----------
    data : Trajectories or Fields
        The data.
    model : Model, optional
        What was learned from them.
    rollout : Trajectories or Fields, optional
        The data that the model makes.
    video : Video, optional
        The recording.
    comparison : Comparison, optional
        Statistics of trajectories beside those of the rollout.
    truth : mapping
        What is known about the sample beforehand; empty where nothing is.
    measured : Diffusion, optional
        The estimate from displacements alone; None for fields and where there is none.
    warnings : list of str
        Sentences for the top of the page. A section may add to them.
    doubts : list of str
        What is to be said of `measured` beside it and not at the top, because the model takes it into account.
    """

    data: Any
    model: Any = None
    rollout: Any = None
    video: Any = None
    comparison: Any = None
    truth: Mapping[str, Any] = field(default_factory=dict)
    measured: Any = None
    warnings: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)

    @property
    def of_fields(self) -> bool:
        """Whether the data are fields, not particles."""
        return isinstance(self.data, Fields)

    @cached_property
    def simulator(self) -> Any:
        """The simulator that made the data, or None where they are measured or its settings are not known."""
        table = self.truth.get("simulator")
        table = table if isinstance(table, Mapping) else self.truth
        known = parts("simulators")
        if table.get("kind") not in known:
            return None
        try:
            return build(known[table["kind"]], table, "truth")
        except Vid2DynError:
            return None

    def true_function(self, name: str, x: np.ndarray) -> np.ndarray | None:
        """Exact values of a learned function at `x` (see `Simulator.true_function`), or None."""
        return None if self.simulator is None else self.simulator.true_function(name, x)

    def attempt(self, work: Callable[[], Any], what: str) -> Any:
        """The result of `work`, or None and a warning on the page that says why there is none."""
        try:
            return work()
        except Vid2DynError as error:
            self.warnings.append(f"{what}: not available. {error}")
            return None


class ReportSection(ABC):
    """Builds one box of the page, where it has something to say.

    A section is a class without arguments in a file of this room, or in an outside package through the entry point
    group ``vid2dyn.sections``. The sections of a page stand in the order of their numbers; those of vid2dyn have
    10 (what was seen), 20 (motion), 30 (what was learned), 40 (data and rollout) and 50 (can it be trusted).
    """

    order: ClassVar[float] = 100.0
    """Place on the page."""

    @abstractmethod
    def applies(self, content: Content) -> bool:
        """Whether the page should have this section."""

    @abstractmethod
    def build(self, content: Content) -> Section | None:
        """The section; None if there is nothing to show after all. A `Vid2DynError` becomes a warning on the page."""


def figure(src: str, caption: str) -> dict[str, str]:
    """A picture (`vid2dyn.reports.figures.picture`) with the text below it, whose first sentence stands for it."""
    return {"src": src, "alt": caption.partition(".")[0], "caption": caption}
