"""What a user writes to have a field's free energy and mobility learned: `vd.GradientFlow()`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from vid2dyn.core.errors import ConfigError
from vid2dyn.dynamics.recipes.base import Recipe


@dataclass(frozen=True)
class GradientFlow(Recipe):
    """Fields that flow downhill in free energy, learned from the drift and the fluctuations of short windows.

    Parameters
    ----------
    elements : int or None
        Number of test functions on the ring. It must divide the number of cells. None: about one for every 10 cells,
        60 at most. All of them see the drift; the time of a fit grows as their cube.
    fluctuation_wave : int
        Shortest wavelength whose fluctuations tell of the mobility [elements]. Shorter waves show a lower mobility
        where sites depend on each other: 3 % lower at 25 sites for an attraction of 2 kT.
    degree : {1, 2}
        Degree of the test functions: 1 gives hats, 2 smooth functions.
    knots : int
        Number of splines in density of which mobility and f'' are made. They describe what differs from free
        particles (m = ρ, f'' = kT/ρ; for cells that never hold two, ρ(1-ρ) and kT/ρ(1-ρ)) where the values count
        particles.
    force_range : int
        Longest range of the forces between particles [cells]. 0: all forces are short against the elements. Else an
        even kernel up to this range is learned beside the local functions (`EvenKernels`). Use it for Kac kernels;
        starts should vary on the scale of the range, or the kernel stays unknown.
    kernel_knots : int
        Number of hats in distance of which that kernel is made.
    shape : {"spline", "network"}
        What ln m and f'' are made of: cubic B-splines, or features of the density that a small network learns first.
        Bands of a network are those of its last layer, the features as they were learned.
    smoothness : float
        Weight of the prior against rough functions. Raise it where data are few.

    Examples
    --------
    >>> GradientFlow().summary
    'gradient flow of a density, 9 knots'
    """

    estimator: ClassVar[str] = "vid2dyn.fitting.fields.fit:fit_gradient_flow"
    model: ClassVar[str] = "vid2dyn.model.gradient_flow:GradientFlowModel"
    assessor: ClassVar[str] = "vid2dyn.fitting.fields.assessed:assess_fields"
    shown_first: ClassVar[tuple[str, ...]] = ("knots", "force_range")
    learns_from: ClassVar[Literal["trajectories", "fields"]] = "fields"

    elements: int | None = None
    degree: int = 2
    knots: int = 9
    force_range: int = 0
    kernel_knots: int = 4
    fluctuation_wave: int = 4
    smoothness: float = 1.0
    shape: Literal["spline", "network"] = "spline"

    def __post_init__(self) -> None:
        if self.elements is not None and self.elements < 4:
            raise ConfigError(f"GradientFlow: elements = {self.elements}; use at least 4.")
        if self.degree not in (1, 2):
            raise ConfigError(f"GradientFlow: degree = {self.degree}; choose 1 or 2.")
        if self.knots < 4:
            raise ConfigError(f"GradientFlow: knots = {self.knots}; use at least 4.")
        if self.fluctuation_wave < 2:
            raise ConfigError(f"GradientFlow: fluctuation_wave = {self.fluctuation_wave}; use at least 2 elements.")
        if self.shape not in ("spline", "network"):
            raise ConfigError(f"GradientFlow: shape = {self.shape!r}; choose 'spline' or 'network'.")
        if self.force_range < 0:
            raise ConfigError(f"GradientFlow: force_range = {self.force_range}; give a number of cells, 0 for short "
                              "forces.")
        if self.force_range and not 1 <= self.kernel_knots <= self.force_range:
            raise ConfigError(f"GradientFlow: kernel_knots = {self.kernel_knots}; give 1 to force_range = "
                              f"{self.force_range}.")
        if not (np.isfinite(self.smoothness) and self.smoothness >= 0):
            raise ConfigError(f"GradientFlow: smoothness = {self.smoothness!r}; give a number of at least 0.")

    @property
    def summary(self) -> str:
        far = f", forces up to {self.force_range} cells" if self.force_range else ""
        return f"gradient flow of a density, {self.knots} knots{far}"
