"""The shape of a result: a table, a plot, and what to know before believing it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import pandas as pd


class Result(ABC):
    """What an analysis found: `.dataframe`, `.plot(ax)`, `.warnings`.

    `warnings` is a tuple of sentences: quantity, value, what it means, what to do.
    """

    dataframe: pd.DataFrame
    warnings: tuple[str, ...]

    @abstractmethod
    def plot(self, ax: Any = None) -> Any:
        """Draw on matplotlib axes (new ones if none are given) and return them."""

    def _repr_html_(self) -> str:
        """How notebooks show it."""
        return self.dataframe.head(20).to_html()


def axes_or_new(ax: Any) -> Any:
    """The axes given, or new ones of a figure without a window."""
    if ax is not None:
        return ax
    from matplotlib.figure import Figure

    return Figure(layout="constrained").add_subplot()


def particle_map(ax: Any, table: pd.DataFrame, value: np.ndarray, label: str, scale: float, name: str) -> Any:
    """Particles seen from above, coloured by `value`; `scale` µm per px of the table's columns y and x."""
    ax = axes_or_new(ax)
    finite = np.isfinite(value)
    points = ax.scatter(table["x"].to_numpy()[finite] * scale, table["y"].to_numpy()[finite] * scale, c=value[finite],
                        s=9, cmap=name)
    ax.set(xlabel="x (µm)", ylabel="y (µm)", aspect="equal")
    ax.invert_yaxis()
    ax.figure.colorbar(points, ax=ax, label=label)
    return ax
