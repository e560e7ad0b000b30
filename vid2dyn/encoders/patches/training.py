"""What the training of an encoder takes from a tracked recording, and the columns it makes of the trained net."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

import vid2dyn
from vid2dyn.core.checkpoint import digest_of
from vid2dyn.core.errors import DataError, ModelError
from vid2dyn.core.progress import Progress
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.data.video import Video
from vid2dyn.encoders.patches.images import brightness_and_width, patches_of
from vid2dyn.encoders.patches.net import CHUNK, FEWEST, Augment, PatchNet
from vid2dyn.encoders.patches.slow_columns import SlowColumns, slow_columns


def default_size(tracks: Trajectories) -> int:
    """One and a half times the diameter the tracks were found with, odd; 17 px where that is unknown."""
    diameter = (tracks.info.get("parameters") or {}).get("diameter") or 11
    return max(2 * round(0.75 * float(np.max(diameter))) + 1, 7)


def pairs_of_rows(tracks: Trajectories, longest_lag: int, examples: int,
                  rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the same particle, up to `longest_lag` frames apart, all lags alike."""
    found = [tracks.lagged(lag) for lag in range(1, longest_lag + 1)]
    each = -(-examples // longest_lag)
    kept = [rng.choice(len(i), min(each, len(i)), replace=False) for i, _ in found]
    i = np.concatenate([a[k] for (a, _), k in zip(found, kept)])
    j = np.concatenate([b[k] for (_, b), k in zip(found, kept)])
    if len(i) < FEWEST:
        raise DataError(f"Only {len(i)} pairs of pictures of the same particle up to {longest_lag} frames apart; "
                        f"training needs at least {FEWEST}. Film more frames; unlinked rows make no pairs.")
    return i, j


def pictures(video: Video, tracks: Trajectories, i: np.ndarray, j: np.ndarray, size: int,
             progress: Progress) -> tuple[np.ndarray, np.ndarray]:
    """The pictures of both rows of every pair, (n, size, size) each."""
    rows = np.unique(np.concatenate([i, j]))
    patches = np.empty((len(rows), size, size), dtype=np.float32)
    for here, found in patches_of(video, tracks, rows, size, progress, "collecting images"):
        patches[np.searchsorted(rows, here)] = found
    return patches[np.searchsorted(rows, i)], patches[np.searchsorted(rows, j)]


def slowest_columns(net: PatchNet, first: np.ndarray, second: np.ndarray, augment: Augment, columns: int,
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


def checkpoint_key(recipe: dict[str, Any], tracks: Trajectories, seed: int) -> str:
    """Digest of everything a training depends on."""
    return digest_of(f"{recipe} {seed} {tracks.info.get('sha256')} {vid2dyn.__version__}".encode(),
                     *(tracks.dataframe[name].to_numpy().tobytes() for name in ("frame", "particle", "y", "x")))
