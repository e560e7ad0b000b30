"""A recipe says which dynamics to learn and with what settings, before any number is known."""

from __future__ import annotations

from abc import ABC, abstractmethod


class Recipe(ABC):
    """Base of `Brownian` and its siblings: a frozen dataclass whose fields are the settings."""

    @property
    @abstractmethod
    def summary(self) -> str:
        """One line for lists and reports."""
