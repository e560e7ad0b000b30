"""The rounds of a fit to fields: recorded one by one, kept in a checkpoint, stopped after any of them, resumed.

Beside the landscape of all realisations a second one is learned in the same rounds, from all but those of the first
group, over the densities that these show: the likelihood of that group under it is the held-out likelihood. (Features
of a network are learned from all.)
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vid2dyn.core.checkpoint import Checkpoint
from vid2dyn.core.progress import Progress
from vid2dyn.core.showing import as_progress
from vid2dyn.dynamics.recipes.gradient_flow import GradientFlow
from vid2dyn.dynamics.terms.even_kernels import EvenKernels
from vid2dyn.dynamics.terms.landscape import DensityNetwork, DensityShape, Landscape
from vid2dyn.fitting.course import Course
from vid2dyn.fitting.fields.elements import Statistics
from vid2dyn.fitting.fields.evidence import information_covariance, log_likelihood, sums
from vid2dyn.fitting.fields.features import trained
from vid2dyn.fitting.fields.fluctuations import Design, improved, initial_landscape

ROUNDS = 3
"""How often drift and covariance are fitted in turn."""

HELD_OUT = 0
"""Group of realisations that judges."""

NETWORK = 4
"""Further rounds for a network: one for its features, then three with these."""


class FieldRounds:
    """A fit of fields in rounds, then groups of realisations left out in turn.

    Parameters
    ----------
    statistics : Statistics
    function, of_training : DensityShape
        Splines to begin with: of the landscape, and of the one that is learned without the first group.
    kernels : EvenKernels or None
    recipe : GradientFlow
    seed : int
        Seed of the first weights of a network.
    place : Checkpoint
        What was done is taken up from there, and kept there.
    """

    def __init__(self, statistics: Statistics, function: DensityShape, of_training: DensityShape,
                 kernels: EvenKernels | None, recipe: GradientFlow, seed: int, place: Checkpoint,
                 progress: Progress) -> None:
        self.statistics, self.function, self.of_training, self.kernels = statistics, function, of_training, kernels
        self.recipe, self.seed, self.place = recipe, seed, place
        self.course = Course("log-likelihood per number")
        self.others: list[np.ndarray] = []
        state = place.load()
        if state is not None and "first" in state:
            self.function = self.of_training = DensityNetwork(function.low, function.high, state["first"],
                                                              state["second"], function.capacity)
        self._design()
        self.found = initial_landscape(self.design)
        self.training = initial_landscape(self.training_design)
        self.before = coefficients(self.found)
        if state is not None:
            self.course.replay(progress, state["train"].tolist(), state["held_out"].tolist())
            self.found = self.design.landscape(state["log_mobility"], state["curvature"])
            self.training = self.training_design.landscape(state["judge_log_mobility"], state["judge_curvature"])
            self.before, self.others = state["before"], list(state["others"])

    def _design(self) -> None:
        self.design, self.training_design = (
            Design.of(self.statistics.without(g), function, self.kernels, self.recipe.smoothness,
                      self.recipe.fluctuation_wave)
            for g, function in ((None, self.function), (HELD_OUT, self.of_training)))

    @property
    def total(self) -> int:
        """Rounds of the whole fit, without the groups left out."""
        return ROUNDS + (NETWORK if self.recipe.shape == "network" else 0)

    def covariance(self) -> np.ndarray:
        """Covariance of all coefficients before groups are left out: information in the data, last round's change."""
        change = coefficients(self.found) - self.before
        return information_covariance(self.design, self.found) + np.outer(change, change)

    def held_out(self) -> dict[str, Any]:
        """Likelihood of the realisations of the first group and of the others under the landscape of the others."""
        return {"log_likelihood_per_number": self.course.held_out[-1],
                "train_log_likelihood_per_number": self.course.train[-1],
                "realisations": int(self.statistics.count[:, HELD_OUT].sum())}

    def advance(self, progress: Progress) -> None:
        """Do one round."""
        done, steps = self.course.rounds, self.total + self.statistics.groups
        progress(done, steps, "fit")
        before = coefficients(self.found)
        if done == ROUNDS:
            self.found = trained(self.design, self.found, self.recipe.smoothness, self.seed,
                                 progress=as_progress(lambda *_: progress(done, steps, "fit")))
            self.function = self.of_training = self.found.function
            self._design()
            self.training = improved(self.training_design, self.found, 1)
            before = coefficients(self.found)
        else:
            count = 2 if done < ROUNDS else 1
            self.found, self.training = (improved(design, one, count) for design, one in (
                (self.design, self.found), (self.training_design, self.training)))
        self.before = before
        group = np.arange(self.statistics.groups) == HELD_OUT
        self.course.record(progress, *(log_likelihood(self.training_design, self.training, *sums(self.statistics, some))
                                     for some in (~group, group)))
        self._save()

    def leave_out(self, progress: Progress) -> None:
        """Fit once more without the next group of realisations, for the error bars."""
        g = len(self.others)
        progress(self.total + g, self.total + self.statistics.groups, "fit")
        design = Design.of(self.statistics.without(g), self.function, self.kernels, self.recipe.smoothness,
                           self.recipe.fluctuation_wave, near=self.design)
        self.others.append(coefficients(improved(design, self.found, 1)))
        self._save()

    def _save(self) -> None:
        state: dict[str, Any] = {
            "train": self.course.train, "held_out": self.course.held_out, "log_mobility": self.found.log_mobility,
            "curvature": self.found.curvature, "judge_log_mobility": self.training.log_mobility,
            "judge_curvature": self.training.curvature, "before": self.before, "others": np.array(self.others)}
        if isinstance(self.function, DensityNetwork):
            state |= {"first": self.function.first, "second": self.function.second}
        self.place.save(state)


def coefficients(found: Landscape) -> np.ndarray:
    """All of them in a row."""
    return np.concatenate([found.log_mobility, found.curvature])


def jackknife(others: list[np.ndarray]) -> np.ndarray:
    """Covariance from what was found with one group left out at a time."""
    away = np.array(others) - np.mean(others, axis=0)
    return (len(others) - 1) / len(others) * away.T @ away


def landscape_arrays(found: Landscape) -> dict[str, np.ndarray]:
    """Coefficients as a model keeps them."""
    arrays = {"log_mobility": found.log_mobility, "curvature": found.curvature}
    if isinstance(found.function, DensityNetwork):
        arrays |= {"first": found.function.first, "second": found.function.second}
    return arrays
