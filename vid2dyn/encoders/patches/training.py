"""From a tracked recording and a recipe to a trained encoder: examples, training, columns."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from typing import TYPE_CHECKING

import numpy as np
import torch

from vid2dyn.core.config import recipe as recipe_of
from vid2dyn.core.errors import ConfigError, DataError, ModelError
from vid2dyn.core.progress import Progress
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.data.video import Video
from vid2dyn.encoders.patches.images import brightness_and_width, illumination_varies, outside, patches_of
from vid2dyn.encoders.patches.net import CHUNK, FEWEST, Augment, PatchNet
from vid2dyn.encoders.patches.net import train as train_net
from vid2dyn.encoders.patches.slow_columns import SlowColumns, slow_columns
from vid2dyn.encoders.patches.trained import TrainedPatchEncoder

if TYPE_CHECKING:
    from vid2dyn.encoders.patches.encoder import PatchEncoder


def train(recipe: PatchEncoder, video: Video, tracks: Trajectories, seed: int,
          checkpoint: str | os.PathLike[str] | None, progress: Progress) -> TrainedPatchEncoder:
    """See `PatchEncoder.train`."""
    size = recipe.size or _size(tracks)
    if size > min(video.shape):
        raise ConfigError(f"PatchEncoder: an image of {size} px does not fit into a frame of {video.shape[0]} x "
                          f"{video.shape[1]} px; give a smaller size.")
    rng = np.random.default_rng((seed, 1))
    i, j = _pairs(tracks, recipe, rng)
    first, second = _examples(video, tracks, i, j, size, progress)
    rim = np.concatenate([first[:, outside(size)], second[:, outside(size)]])
    scale = float(np.sqrt((first**2).mean()))
    noise = float(1.4826 * np.median(np.abs(rim)))
    if not scale > 0:
        raise DataError(f"{video.path}: the images around the particles are empty; were these tracks found in it?")
    lamp = illumination_varies(video) if recipe.illumination is None else recipe.illumination
    first, second = first / scale, second / scale
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = PatchNet(size, recipe.channels, 2 * recipe.columns)
    augment = Augment(size, lamp, noise / scale)
    scores = train_net(net, first, second, augment, steps=recipe.steps, batch=recipe.batch,
                       learning_rate=recipe.learning_rate, seed=seed, checkpoint=checkpoint,
                       run=_fingerprint(recipe, tracks, seed), progress=progress)
    columns = _columns(net, first, second, augment, recipe.columns, seed)
    arrays = {f"net.{name}": value.numpy() for name, value in net.state_dict().items()}
    arrays |= {"mean": columns.mean, "weights": columns.weights, "scale": np.array([scale])}
    report = {"persistence": columns.persistence.tolist(), "score": float(np.mean(scores[-20:])),
              "pairs": len(first), "illumination": lamp, "noise": noise, "seed": seed}
    return TrainedPatchEncoder(recipe_of(dataclasses.replace(recipe, size=size)), arrays, report)


def _size(tracks: Trajectories) -> int:
    """One and a half times the diameter the tracks were found with, odd; 17 px where that is unknown."""
    diameter = (tracks.info.get("parameters") or {}).get("diameter") or 11
    return max(2 * round(0.75 * float(np.max(diameter))) + 1, 7)


def _pairs(tracks: Trajectories, recipe: PatchEncoder, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the same particle, up to `lag` frames apart, all lags alike."""
    found = [tracks.lagged(lag) for lag in range(1, recipe.lag + 1)]
    each = -(-recipe.examples // recipe.lag)
    kept = [rng.choice(len(i), min(each, len(i)), replace=False) for i, _ in found]
    i = np.concatenate([a[k] for (a, _), k in zip(found, kept)])
    j = np.concatenate([b[k] for (_, b), k in zip(found, kept)])
    if len(i) < FEWEST:
        raise DataError(f"Only {len(i)} pairs of pictures of the same particle up to {recipe.lag} frames apart; "
                        f"training needs at least {FEWEST}. Film more frames; unlinked rows make no pairs.")
    return i, j


def _examples(video: Video, tracks: Trajectories, i: np.ndarray, j: np.ndarray, size: int,
              progress: Progress) -> tuple[np.ndarray, np.ndarray]:
    """The pictures of both rows of every pair, (n, size, size) each."""
    rows = np.unique(np.concatenate([i, j]))
    patches = np.empty((len(rows), size, size), dtype=np.float32)
    for here, found in patches_of(video, tracks, rows, size, progress, "collecting images"):
        patches[np.searchsorted(rows, here)] = found
    return patches[np.searchsorted(rows, i)], patches[np.searchsorted(rows, j)]


def _columns(net: PatchNet, first: np.ndarray, second: np.ndarray, augment: Augment, columns: int,
             seed: int) -> SlowColumns:
    """The slowest independent combinations of the trained features, with the augmentations still on.

    They are left on so that what the illumination does to brightness does not count as lasting; then the columns are
    standardised on the pictures as they are.
    """
    seen: list[list[np.ndarray]] = [[], [], []]
    with torch.inference_mode(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for start in range(0, len(first), CHUNK):
            one, two = (torch.as_tensor(p[start:start + CHUNK])[:, None] for p in (first, second))
            for kept, patches in zip(seen, (augment(one), augment(two), one)):
                kept.append(net.features(patches).numpy().astype(float))
    lamp_one, lamp_two, plain = (np.concatenate(part) for part in seen)
    found = slow_columns(lamp_one, lamp_two, columns)
    if found.weights.shape[1] < columns:
        raise ModelError(f"The pictures differ in {found.weights.shape[1]} ways only, and {columns} columns were asked "
                         "for; give fewer columns, or a smaller learning_rate if the net died in training.")
    values = found(plain)
    light = brightness_and_width(first)[:, 0]
    sign = np.where((values - values.mean(axis=0)).T @ (light - light.mean()) < 0, -1.0, 1.0)
    spread = values.std(axis=0)
    middle = plain.mean(axis=0)
    return SlowColumns(middle, found.weights * sign / spread, found.persistence)


def _fingerprint(recipe: PatchEncoder, tracks: Trajectories, seed: int) -> str:
    """Everything a training run depends on."""
    digest = hashlib.sha256(f"{recipe_of(recipe)} {seed} {tracks.info.get('sha256')}".encode())
    for name in ("frame", "particle", "y", "x"):
        digest.update(tracks.dataframe[name].to_numpy().tobytes())
    return digest.hexdigest()
