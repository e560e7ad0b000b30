"""A recipe says which dynamics to learn and with what settings, before any number is known."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal


class Recipe(ABC):
    """Base of `Brownian` and its siblings: a frozen dataclass whose fields are the settings."""

    learns_from: ClassVar[Literal["trajectories", "fields"]] = "trajectories"
    """What kind of data it takes, so that a form offers it only where it fits."""

    @property
    @abstractmethod
    def summary(self) -> str:
        """One line for lists and reports."""
