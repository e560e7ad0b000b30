"""A dynamics: its settings, how it is learned, and what the model can say, in one file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from scipy.special import ndtri

from vid2dyn.core.config import recipe as recipe_of
from vid2dyn.core.errors import ConfigError, DataError, ModelError
from vid2dyn.core.progress import Progress, silent
from vid2dyn.core.showing import ProgressLike, showing
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.dynamics.recipes.base import Recipe
from vid2dyn.model.base import LearnedFunction, LearnedFunctions, LearnedNumber, Model


@dataclass(frozen=True)
class DriftDiffusion(Recipe):
    """Independent particles with one drift and one diffusion coefficient, seen without noise: dx = v dt + sqrt(2 D) dW.

    Parameters
    ----------
    held_out : float
        Part of the steps, the last ones, that judges the fit and is not learned from.
    """

    estimator: ClassVar[str] = f"{__name__}:fit_drift_diffusion"
    model: ClassVar[str] = f"{__name__}:DriftDiffusionModel"

    held_out: float = 0.25

    def __post_init__(self) -> None:
        if not 0 < self.held_out < 0.9:
            raise ConfigError(f"DriftDiffusion: held_out = {self.held_out!r}; give a part between 0 and 0.9.")

    @property
    def summary(self) -> str:
        return "particles that drift and diffuse"


def fit_drift_diffusion(tracks: Trajectories, recipe: DriftDiffusion, *, seed: int = 0, progress: Progress = silent,
                        **options: Any) -> DriftDiffusionModel:
    """v and D by maximum likelihood, with their standard errors, from the displacements between successive frames.

    v is the mean velocity, 2 D dt the mean squared displacement about v dt. The held-out log-likelihood is that of
    displacements, per particle and step.
    """
    tracks.units.require("frames_per_second", "micrometre_per_pixel", for_what="Fitting drift and diffusion")
    i, j = tracks.lagged(1)
    if len(i) < 20:
        raise DataError(f"{len(i)} steps between successive frames are too few; link particles over more frames.")
    order = np.argsort(tracks.frame[i], kind="stable")
    step = (tracks.positions[j] - tracks.positions[i])[order]                       # µm
    kept = round(len(step) * (1 - recipe.held_out))
    (drift, D), dt = _estimate(step[:kept], tracks.units.dt), tracks.units.dt
    judged = step[kept:]
    gain = _log_likelihood(judged, drift, D, dt) - _log_likelihood(judged, 0 * drift, D, dt)
    z = (judged - drift * dt) / np.sqrt(2 * D * dt)
    counts, edges = np.histogram(z, bins=np.linspace(-4, 4, 33))
    drift, D = _estimate(step, dt)
    n, dim = step.shape
    arrays = {"drift": np.stack([drift, np.full(dim, np.sqrt(2 * D / (n * dt)))]),
              "diffusion": np.array([D, D * np.sqrt(2 / (n * dim))]), "longest": np.array([tracks.n_frames * dt])}
    report = {"held_out": {"log_likelihood_per_step": float(_log_likelihood(judged, drift, D, dt).mean()),
                           "gain_per_step": float(gain.mean()),
                           "gain_per_step_stderr": float(gain.std() / np.sqrt(len(gain))), "steps": len(judged)},
              "calibration": {"chi2": float((z**2).mean()), "chi2_stderr": float(np.sqrt(2 / z.size)),
                              "z": {"edges": edges.tolist(), "counts": counts.tolist()}},
              "seed": seed, "warnings": []}
    progress(1, 1, "fit")
    return DriftDiffusionModel(arrays, recipe_of(recipe), tracks.units, tracks.box, report)


def _estimate(step: np.ndarray, dt: float) -> tuple[np.ndarray, float]:
    drift = step.mean(axis=0) / dt
    return drift, float(((step - drift * dt) ** 2).sum() / (2 * dt * step.shape[1] * (len(step) - 1)))


def _log_likelihood(step: np.ndarray, drift: np.ndarray, D: float, dt: float) -> np.ndarray:
    """Of every step, (n,)."""
    variance = 2 * D * dt
    return -0.5 * (((step - drift * dt) ** 2).sum(axis=1) / variance + step.shape[1] * np.log(2 * np.pi * variance))


@dataclass(frozen=True, eq=False)
class DriftDiffusionModel(Model):
    """`arrays` holds "drift" (values, standard errors) [µm/s], "diffusion" (value, standard error) [µm²/s] and
    "longest", the time that the data lasted [s]."""

    def drift(self) -> np.ndarray:
        """v [µm/s], (dim,)."""
        return self.arrays["drift"][0]

    def diffusion(self) -> float:
        """D [µm²/s]."""
        return float(self.arrays["diffusion"][0])

    def mean_squared_displacement(self, t: Any) -> np.ndarray:
        """2 dim D t + v² t² [µm²] after a time t [s]."""
        t = np.asarray(t, dtype=float)
        return 2 * len(self.drift()) * self.diffusion() * t + (self.drift() ** 2).sum() * t**2

    def band(self, name: str, x: Any = None, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """(low, high) of "drift", "diffusion" or "mean_squared_displacement" (at times `x`)."""
        if not 0 < level < 1:
            raise ModelError(f"level = {level!r}; give a probability between 0 and 1.")
        if name in ("drift", "diffusion"):
            value, error = self.arrays[name]
        elif name == "mean_squared_displacement":
            (v, v_error), (_, D_error), t = self.arrays["drift"], self.arrays["diffusion"], np.asarray(x, dtype=float)
            value = self.mean_squared_displacement(t)
            error = np.hypot(2 * len(v) * t * D_error, 2 * np.sqrt(((v * v_error) ** 2).sum()) * t**2)
        else:
            raise ModelError(f"no band {name!r}; there are drift, diffusion and mean_squared_displacement.")
        width = float(ndtri(0.5 + 0.5 * level))
        return np.asarray(value - width * error), np.asarray(value + width * error)

    def rollout(self, tracks: Trajectories, steps: int = 100, seed: int = 0, *,
                progress: ProgressLike = None) -> Trajectories:
        """`steps` frames from the first one of `tracks` on, without camera noise."""
        if steps < 1 or not len(tracks):
            raise DataError("A rollout needs a first frame and makes at least one.")
        start, dt = tracks.positions[tracks.frame == tracks.frame.min()], tracks.units.dt
        noise = np.random.default_rng(seed).normal(size=(steps - 1, *start.shape))
        moved = np.cumsum(self.drift() * dt + np.sqrt(2 * self.diffusion() * dt) * noise, axis=0)
        with showing(progress) as progress:
            progress(steps, steps, "rollout")
        return Trajectories.from_dense(np.concatenate([start[None], start + moved]), tracks.units, box=tracks.box,
                                       info={"rollout": {"seed": seed, "recipe": self.recipe}})

    def numbers(self) -> tuple[LearnedNumber, ...]:
        """D and the drift along each axis, for the top of the report."""
        low, high = self.band("diffusion")
        found = [LearnedNumber("Diffusion coefficient, model", self.diffusion(), float(low), float(high), "µm²/s",
                               truth="diffusion")]
        for axis, value, low, high in zip("yxz", self.drift(), *self.band("drift")):
            found.append(LearnedNumber(f"Drift along {axis}", float(value), float(low), float(high), "µm/s"))
        return tuple(found)

    def functions(self) -> LearnedFunctions:
        """The mean squared displacement, with its band."""
        longest = float(self.arrays["longest"][0])
        t = np.linspace(0.0, longest, 60)
        return LearnedFunctions("How far the particles get", "Drift wins over diffusion at long times.", (
            LearnedFunction("mean_squared_displacement", t, (t,), (0.0, longest), "time (s)",
                            "mean squared displacement (µm²)", "Mean squared displacement of the model."),))
