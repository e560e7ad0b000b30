"""A model as a file: what every fitted model has, whatever its dynamics.

A model is learned numbers, units, space, the recipe it was made with and a report on how well it did. The file is one
safetensors container with a JSON text and a checksum in its header: no code is ever loaded from it (no pickle), a
flipped byte is noticed, and the same fit writes the same bytes. The recipe's kind says which class reads it.

A new kind of model writes `band` and `rollout`, and a method for each quantity that it learned. What it lists in
`numbers` and `functions` is shown on the report page without another line of code; all else has a default.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np

from vid2dyn.core.errors import ModelError
from vid2dyn.core.registry import parts, resolve
from vid2dyn.core.sealed import in_memory_order, read_sealed, write_sealed
from vid2dyn.core.showing import ProgressLike
from vid2dyn.data.box import Box, Free
from vid2dyn.data.units import Units


@dataclass(frozen=True)
class LearnedNumber:
    """A number that a model learned, to be shown with its error bar.

    Parameters
    ----------
    label : str
        What it is, in words.
    value, low, high : float
        The number and its 95 % band.
    unit : str
    detail : str
        A sentence beside it.
    truth : str
        What it should agree with where the data were simulated: a key of their truth (``tracks.info["truth"]``), or
        with `at` the name of a function (see `Simulator.true_function`). Empty: nothing.
    at : float, optional
        Where that function is meant.
    digits : int
        Significant digits in which the band is written.
    """

    label: str
    value: float
    low: float
    high: float
    unit: str = ""
    detail: str = ""
    truth: str = ""
    at: float | None = None
    digits: int = 4


@dataclass(frozen=True, eq=False)
class LearnedFunction:
    """A function that a model learned, to be drawn with its band.

    Parameters
    ----------
    name : str
        Method of the model; also what `Model.band` and `Simulator.true_function` call it.
    x : (n,) array
        Where it is drawn.
    at : tuple of arrays
        Arguments of the method; one of them is `x`.
    support : (low, high)
        Range of `x` in which there were data.
    x_label, y_label : str
        Quantity and unit, for the axes.
    caption : str
        A sentence below the picture.
    """

    name: str
    x: np.ndarray
    at: tuple[Any, ...]
    support: tuple[float, float]
    x_label: str
    y_label: str
    caption: str

    @property
    def where(self) -> Any:
        """`at` as `Model.band` takes it: the argument, or the tuple of several."""
        return self.at[0] if len(self.at) == 1 else self.at


@dataclass(frozen=True, eq=False)
class LearnedFunctions:
    """The functions of a model under one heading, with a sentence that says what to make of them."""

    title: str
    lead: str
    functions: tuple[LearnedFunction, ...]


@dataclass(frozen=True, eq=False)
class Model(ABC):
    """A fitted model, made by `vd.fit` and `vd.load`.

    Parameters
    ----------
    arrays : mapping of str to array
        Numbers learned; which, the class says.
    recipe : dict
        The constructor call of the recipe.
    units : Units
        Calibration of the data.
    box : Box
        Space of the data.
    report : dict
        Held-out likelihood, calibration, laws, parameters, warnings, provenance: plain numbers and words.
    """

    learned_from: ClassVar[Literal["trajectories", "fields"]] = "trajectories"
    """What kind of data it describes and its rollouts are."""
    engines: ClassVar[tuple[str, ...]] = ("vid2dyn",)
    """Where it can run: "lammps" if its `rollout` takes engine, ranks and checkpoint."""
    explains_displacements: ClassVar[bool] = True
    """Whether estimates from displacements alone (D, localisation error) belong beside its numbers."""

    arrays: Mapping[str, np.ndarray]
    recipe: dict[str, Any]
    units: Units = field(default_factory=Units)
    box: Box = field(default_factory=Free)
    report: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "arrays", in_memory_order(self.arrays))

    @classmethod
    def class_of(cls, arrays: Mapping[str, np.ndarray]) -> type[Model]:
        """The class that reads a file with these arrays: this one, where a recipe has one kind of model."""
        return cls

    def drawn(self, rng: np.random.Generator) -> Self:
        """The model with numbers drawn from the errors of its own, all that are learned together: what it might as well
        have been.

        Parameters
        ----------
        rng : numpy.random.Generator

        Raises
        ------
        ModelError
            For models that do not keep their errors in numbers.
        """
        raise ModelError(f"{type(self).__name__} does not keep the errors of its numbers in a form to draw from.")

    def _repr_html_(self) -> str:
        """How notebooks show it: what it is, and what to know before believing it."""
        notes = "".join(f"<li>{escape(str(note))}</li>" for note in self.report.get("warnings", ()))
        return f"<p>{escape(repr(self).strip('<>'))}</p>" + (f"<ul>{notes}</ul>" if notes else "")

    @abstractmethod
    def band(self, name: str, x: Any = None, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """(low, high) of a learned quantity at a confidence level, at each point by itself.

        Parameters
        ----------
        name : str
            Of the quantity; which, the class says.
        x : array or tuple of arrays, optional
            Where: the argument of the quantity, a tuple for one of several arguments
            (``band("temperature", (S, V))``), nothing for a single number.
        level : float
            Probability that the band holds the truth.

        Raises
        ------
        ModelError
            For a quantity that the model does not have, the wrong number of arguments, or a level outside 0 to 1.
        """

    @abstractmethod
    def rollout(self, data: Any, *, steps: int = 1000, seed: int = 0, progress: ProgressLike = None) -> Any:
        """Let the model run on from the first frame of `data`: the same kind of data again.

        `progress` is what a user gives; open it with `vid2dyn.core.showing.showing`.
        """

    def default_steps(self, data: Any) -> int:
        """Frames that a rollout from `data` makes where nobody says how many: as many as the data have."""
        return int(getattr(data, "n_frames", 1000))

    def engine_options(self, engine: str = "vid2dyn", ranks: int = 1,
                       checkpoint: str | os.PathLike[str] | None = None) -> dict[str, Any]:
        """Arguments of `rollout` that choose where it runs; none for our own engine.

        Raises
        ------
        ModelError
            If this kind of model cannot run there.
        """
        if engine == "vid2dyn" and ranks == 1 and checkpoint is None:
            return {}
        if "lammps" not in self.engines:
            raise ModelError(f"A model of kind {self.kind!r} runs in vid2dyn alone; engine, ranks and checkpoint are "
                             "for models of particles with velocities (vd.Metriplectic).")
        return {"engine": engine, "ranks": ranks, **({} if checkpoint is None else {"checkpoint": checkpoint})}

    # ---------------------------------------------------------------- what it says of itself, for pages and prompts

    @property
    def kind(self) -> str:
        """Name of its recipe's class."""
        return str(self.recipe.get("kind", ""))

    @property
    def has_forces(self) -> bool:
        """Whether it knows of forces, which an estimate from displacements alone does not."""
        return False

    def numbers(self) -> tuple[LearnedNumber, ...]:
        """The numbers to be read first, the most important one first."""
        return ()

    def functions(self) -> LearnedFunctions | None:
        """The functions to be drawn, or None."""
        return None

    def remarks(self) -> tuple[str, ...]:
        """Sentences for who has just fitted it, beside the warnings of the report."""
        return ()

    # ---------------------------------------------------------------- its file

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the model file, whole or not at all; `Model.load` and `vd.load` read it."""
        header = {"recipe": self.recipe, "units": self.units.to_dict(), "box": self.box.to_dict(),
                  "report": self.report}
        return write_sealed(path, "vid2dyn", header, self.arrays)

    @staticmethod
    def load(path: str | os.PathLike[str]) -> Model:
        """Read a file written by `save`.

        Raises
        ------
        DataError
            If the file is absent or empty.
        ModelError
            If it is damaged, not a model of vid2dyn, or of a newer schema.
        """
        table, tensors = read_sealed(path, "vid2dyn", "a model", "fit")
        kind = table["recipe"].get("kind")
        known = parts("dynamics")
        if kind not in known:
            raise ModelError(f"{path}: a model of kind {kind!r}; this vid2dyn reads {', '.join(known)}. "
                             "Update vid2dyn, or install the package that brings this dynamics.")
        reader = resolve(known[kind].model).class_of(tensors)   # type: ignore[attr-defined]
        return reader(tensors, table["recipe"], Units(**table["units"]), Box.from_dict(table["box"]), table["report"])


def drawn_from(covariance: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(k,) normal numbers of zero mean with a covariance (k, k), whose negative eigenvalues (rounding) and unknown
    entries count as zero.

    >>> draws = [drawn_from(np.array([[4.0, 2.0], [2.0, 1.0]]), np.random.default_rng(k)) for k in range(1000)]
    >>> bool(np.allclose(np.cov(np.transpose(draws)), [[4, 2], [2, 1]], atol=0.6))
    True
    """
    values, vectors = np.linalg.eigh(np.nan_to_num(covariance))
    return np.asarray(vectors @ (np.sqrt(np.maximum(values, 0.0)) * rng.standard_normal(len(values))))


def checked_level(name: str, level: Any) -> float:
    """The confidence level of a band.

    >>> checked_level("mobility", 0.95)
    0.95
    """
    if np.ndim(level) or not isinstance(level, int | float | np.number):
        raise ModelError(f"band({name!r}, ...): the third argument is the confidence level, a number. A quantity of "
                         f"two arguments takes both as one tuple: band({name!r}, (S, V), level=0.95).")
    if not 0 < level < 1:
        raise ModelError(f"level = {level!r}; give a probability between 0 and 1, for example 0.95.")
    return float(level)
