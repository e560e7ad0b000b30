"""Estimators: from data and a recipe to a model with error bars.

The package is called `fitting` because `vd.fit` is the verb. `fit` finds the estimator by the class of the recipe; a
new dynamics adds one line to ESTIMATORS and one module beside `brownian`.
"""

from __future__ import annotations

from typing import Any

from vid2dyn.dynamics.brownian import Brownian
from vid2dyn.dynamics.gradient_flow import GradientFlow
from vid2dyn.dynamics.metriplectic_recipe import Metriplectic
from vid2dyn.dynamics.recipes import Recipe
from vid2dyn.errors import ConfigError
from vid2dyn.fitting.brownian import fit_brownian
from vid2dyn.fitting.gradient_flow import fit_gradient_flow
from vid2dyn.fitting.metriplectic import fit_metriplectic
from vid2dyn.model import Model
from vid2dyn.progress import Progress, silent

__all__ = ["ESTIMATORS", "fit"]

ESTIMATORS: dict[type[Recipe], Any] = {Brownian: fit_brownian, GradientFlow: fit_gradient_flow,
                                     Metriplectic: fit_metriplectic}


def fit(data: Any, recipe: Recipe, seed: int = 0, progress: Progress = silent, **options: Any) -> Model:
    """Learn the dynamics that `recipe` describes; see the estimator of its class for details and errors.

    `options`: checkpoint, stop and keep_partial, see `vid2dyn.pipeline.fit`.
    """
    for kind, estimator in ESTIMATORS.items():
        if isinstance(recipe, kind):
            return estimator(data, recipe, seed=seed, progress=progress, **options)
    raise ConfigError(f"No estimator for {type(recipe).__name__}; give a recipe such as vd.Brownian(cutoff=3.0).")
