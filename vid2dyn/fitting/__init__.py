"""Estimators: from data and a recipe to a model with error bars, one room for each kind of dynamics.

The room is called `fitting` because `vd.fit` is the verb. Which estimator a recipe wants, its class says
(`vid2dyn.dynamics.recipes.base`). Shared by all that learn in rounds: `course`, and the
checkpoints of `vid2dyn.core.checkpoint`.
"""

from __future__ import annotations

from typing import Any

from vid2dyn.core.errors import ConfigError
from vid2dyn.core.progress import Progress, silent
from vid2dyn.core.registry import resolve
from vid2dyn.dynamics.recipes.base import Recipe
from vid2dyn.model import Model

__all__ = ["fit"]


def fit(data: Any, recipe: Recipe, seed: int = 0, progress: Progress = silent, **options: Any) -> Model:
    """Learn the dynamics that `recipe` describes; see the estimator of its class for details and errors.

    `options`: checkpoint, stop and keep_partial, see `vid2dyn.pipeline.fit`.
    """
    if not isinstance(recipe, Recipe):
        raise ConfigError(f"No estimator for {type(recipe).__name__}; give a recipe such as vd.Brownian(cutoff=3.0).")
    return resolve(recipe.estimator)(data, recipe, seed=seed, progress=progress, **options)
