"""The recipe of an encoder of pictures: what the image of a particle says about the particle, and how it is learned.

Every detection has a picture around it. `PatchEncoder` learns, without labels and without looking at how particles
move, which few numbers of that picture stay the same while the particle diffuses on: a defocused, a dim, a budding or a
coated particle stays so for many frames, noise and orientation do not.
"""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass

import numpy as np
import torch

from vid2dyn.core.checkpoint import ARRAYS, Checkpoint
from vid2dyn.core.config import recipe as recipe_of
from vid2dyn.core.errors import ConfigError, DataError
from vid2dyn.core.progress import Progress
from vid2dyn.core.showing import ProgressLike, showing
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.data.video import Video
from vid2dyn.encoders.patches.images import illumination_varies, outside
from vid2dyn.encoders.patches.net import FEWEST, Augment, PatchNet, Schedule, train
from vid2dyn.encoders.patches.trained import TrainedPatchEncoder
from vid2dyn.encoders.patches.training import checkpoint_key, default_size, pairs_of_rows, pictures, slowest_columns


@dataclass(frozen=True)
class PatchEncoder:
    """A self-supervised encoder of the images of particles.

    Parameters
    ----------
    size : int, optional
        Edge of the image around a particle [px], an odd number. None: one and a half times the diameter that the
        particles were tracked with.
    columns : int
        Number of columns that are made: latent_0 (the most persistent), latent_1, ...
    lag : int
        Two pictures of a particle up to this many frames apart count as the same state. Choose it short against the
        lifetime of a state, and long enough for the particle to move on from what else is in the picture.
    illumination : float, optional
        How much of the variation of brightness is the lamp's and not the particle's (relative standard deviation).
        None: it is measured from the background.
    steps : int
        Number of steps of training.
    batch : int
        Number of pairs of pictures in each step of training.
    examples : int
        Number of pairs of pictures that are kept in memory for training.
    channels : int
        Width of the network: channels of its first layer.
    learning_rate : float
        Largest step size of the optimiser (Adam). Lower it if the training diverges.

    Raises
    ------
    ConfigError
        For a value out of range.

    Examples
    --------
    >>> PatchEncoder(size=17).columns
    3
    >>> PatchEncoder(size=16)
    Traceback (most recent call last):
    ...
    vid2dyn.core.errors.ConfigError: PatchEncoder: size = 16: the image needs ...
    """

    size: int | None = None
    columns: int = 3
    lag: int = 5
    illumination: float | None = None
    steps: int = 150
    batch: int = 256
    examples: int = 8000
    channels: int = 8
    learning_rate: float = 0.01

    def __post_init__(self) -> None:
        if self.size is not None and (self.size < 7 or self.size % 2 == 0):
            raise ConfigError(f"PatchEncoder: size = {self.size}: the image needs a middle pixel; give an odd number "
                              "from 7 on.")
        for key, lowest in (("columns", 1), ("lag", 1), ("steps", 1), ("batch", 32), ("examples", FEWEST),
                            ("channels", 2)):
            if getattr(self, key) < lowest:
                raise ConfigError(f"PatchEncoder: {key} = {getattr(self, key)}; give at least {lowest}.")
        if self.columns > 2 * self.channels:
            raise ConfigError(f"PatchEncoder: columns = {self.columns} needs channels = {-(-self.columns // 2)} or "
                              "more.")
        if self.illumination is not None and not 0 <= self.illumination <= 1:
            raise ConfigError(f"PatchEncoder: illumination = {self.illumination!r}: give a relative spread, 0 to 1.")
        if not 0 < self.learning_rate < 1:
            raise ConfigError(f"PatchEncoder: learning_rate = {self.learning_rate!r}; give a number between 0 and 1.")

    def train(self, video: Video, tracks: Trajectories, seed: int = 0, *,
              checkpoint: str | os.PathLike[str] | None = None, progress: ProgressLike = None) -> TrainedPatchEncoder:
        """Learn the columns from a tracked recording; see `encode` for the arguments.

        Raises
        ------
        ConfigError
            When an image of `size` does not fit into a frame.
        DataError
            When the tracks are not of this recording, are not linked, or hold too few pairs of pictures.
        ModelError
            When the training diverges, or when the pictures differ in fewer ways than there are columns.
        """
        with showing(progress) as shown:
            return self._trained(video, tracks, seed, checkpoint, shown)

    def _trained(self, video: Video, tracks: Trajectories, seed: int, checkpoint: str | os.PathLike[str] | None,
                 progress: Progress) -> TrainedPatchEncoder:
        if video.is_stack:
            raise DataError(f"{video.path}: PatchEncoder looks at pictures of particles in flat frames, and this is a "
                            "recording of stacks. Open one plane (vd.open(..., z=0)) and track that.")
        size = self.size or default_size(tracks)
        if size > min(video.shape):
            raise ConfigError(f"PatchEncoder: an image of {size} px does not fit into a frame of {video.shape[0]} x "
                              f"{video.shape[1]} px; give a smaller size.")
        rng = np.random.default_rng((seed, 1))
        i, j = pairs_of_rows(tracks, self.lag, self.examples, rng)
        first, second = pictures(video, tracks, i, j, size, progress)
        rim = np.concatenate([first[:, outside(size)], second[:, outside(size)]])
        scale = float(np.sqrt((first**2).mean()))
        noise = float(1.4826 * np.median(np.abs(rim)))
        if not scale > 0:
            raise DataError(f"{video.path}: the images around the particles are empty; were these tracks found in it?")
        lamp = illumination_varies(video) if self.illumination is None else self.illumination
        first, second = first / scale, second / scale
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            net = PatchNet(size, self.channels, 2 * self.columns)
        augment = Augment(size, lamp, noise / scale)
        place = Checkpoint(checkpoint, checkpoint_key(recipe_of(self), tracks, seed), ARRAYS, refuse_others=True)
        scores = train(net, first, second, augment, Schedule(self.steps, self.batch, self.learning_rate), seed, place,
                       progress)
        found = slowest_columns(net, first, second, augment, self.columns, seed)
        arrays = {f"net.{name}": value.numpy() for name, value in net.state_dict().items()}
        arrays |= {"mean": found.mean, "weights": found.weights, "scale": np.array([scale])}
        report = {"persistence": found.persistence.tolist(), "score": float(np.mean(scores[-20:])),
                  "pairs": len(first), "illumination": lamp, "noise": noise, "seed": seed}
        return TrainedPatchEncoder(recipe_of(dataclasses.replace(self, size=size)), arrays, report)
