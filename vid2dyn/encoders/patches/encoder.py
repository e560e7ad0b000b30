"""Structural variables from video: columns of the table that say what the image of every detection says.

The numbers that `PatchEncoder` has learned to read off a picture become columns of the tracks, from where a model may
use them (``vd.Brownian(structure="latent")``).
"""

from __future__ import annotations

import os

import numpy as np

from vid2dyn.core.progress import Progress
from vid2dyn.core.showing import ProgressLike, showing
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.data.video import Video
from vid2dyn.encoders.patches.images import brightness_and_width, patches_of
from vid2dyn.encoders.patches.net import CHUNK
from vid2dyn.encoders.patches.recipe import PatchEncoder
from vid2dyn.encoders.patches.trained import TrainedPatchEncoder


def encode(video: Video, tracks: Trajectories, encoder: PatchEncoder | TrainedPatchEncoder | None = None,
           seed: int = 0, *, checkpoint: str | os.PathLike[str] | None = None,
           progress: ProgressLike = None) -> Trajectories:
    """The tracks with structural variables read off the image around every detection.

    Parameters
    ----------
    video : Video
        The recording that was tracked; decoded twice, once for examples and once to encode.
    tracks : Trajectories
        Linked: that two pictures show the same particle is all that the encoder is told.
    encoder : PatchEncoder or TrainedPatchEncoder, optional
        A recipe, which is trained here, or an encoder trained before (``PatchEncoder().train(...)``, `vd.load`), which
        is applied: columns of several recordings then mean the same.
    seed : int
        Seed of the examples, the start of the net and the augmentations; the same seed gives the same columns (on
        the same machine with the same number of threads: others round differently).
    checkpoint : path, optional
        File that keeps the training every few steps; with it there a stopped run goes on to the same result.
    progress : bool or callable, optional
        True shows bars with the time left; a function is called with (done, total, what).

    Returns
    -------
    Trajectories
        With columns latent_0, latent_1, ... (mean 0, standard deviation 1, uncorrelated over the training pictures;
        positive where a particle is brighter), their standard errors latent_0_std, ..., and the fixed yardstick
        patch_brightness [grey levels] and patch_width [px]. `.info["encoder"]` says how they were made and how much of
        each lasts (`persistence`, the correlation of two pictures of a particle).

    Raises
    ------
    DataError
        When the tracks are not of this recording, are not linked, or hold too few pairs of pictures.

    Examples
    --------
    >>> import vid2dyn as vd
    >>> sim = vd.simulators.HiddenState(n_particles=20, frames=30, box_length=12.0)
    >>> video = vd.render(sim, vd.simulators.Renderer(height=96, width=96, state_width=1.4), seed=0)
    >>> tracks = encode(video, video.truth, PatchEncoder(size=15, columns=2, steps=5), seed=0)
    >>> [name for name in tracks.dataframe if name.startswith("latent")]
    ['latent_0', 'latent_1', 'latent_0_std', 'latent_1_std']
    """
    encoder = encoder or PatchEncoder()
    with showing(progress) as progress:
        if isinstance(encoder, PatchEncoder):
            encoder = encoder.train(video, tracks, seed, checkpoint=checkpoint, progress=progress)
        found, fixed = _columns(video, tracks, encoder, progress)
    names = [f"latent_{k}" for k in range(found.shape[1])]
    new = dict(zip(names, found.T)) | {f"{name}_std": s for name, s in zip(names, _scatter(tracks, found).T)}
    new |= {"patch_brightness": fixed[:, 0], "patch_width": fixed[:, 1]}
    return tracks.replace(dataframe=tracks.dataframe.assign(**new), info=tracks.info | {"encoder": encoder.about()})


def _columns(video: Video, tracks: Trajectories, encoder: TrainedPatchEncoder,
             progress: Progress) -> tuple[np.ndarray, np.ndarray]:
    """Latent columns of every row, (rows, d), and brightness and width, (rows, 2)."""
    rows = np.arange(len(tracks))
    found = np.empty((len(tracks), encoder.n_columns))
    fixed = np.empty((len(tracks), 2))
    held: list[tuple[np.ndarray, np.ndarray]] = []

    def through_the_net() -> None:
        if held:
            at, patches = (np.concatenate(part) for part in zip(*held))
            found[at], fixed[at] = encoder.columns(patches), brightness_and_width(patches)
            held.clear()

    for here, patches in patches_of(video, tracks, rows, encoder.size, progress, "encoding"):
        held.append((here, patches))
        if sum(len(at) for at, _ in held) >= CHUNK:
            through_the_net()
    through_the_net()
    return found, fixed


def _scatter(tracks: Trajectories, values: np.ndarray) -> np.ndarray:
    """(rows, d) standard errors: half the mean squared change from frame to frame, of the track, drawn to all tracks'.

    A change of state counts as error too, so these are upper bounds. A track of m steps counts m, the common value 10.
    """
    i, j = tracks.lagged(1)
    if not len(i):
        return np.full_like(values, np.nan)
    half = 0.5 * (values[j] - values[i]) ** 2
    which, of = np.unique(tracks.particle, return_inverse=True)
    count = np.bincount(of[i], minlength=len(which))[:, None]
    total = np.stack([np.bincount(of[i], column, minlength=len(which)) for column in half.T], axis=1)
    return np.sqrt((total + 10 * half.mean(axis=0)) / (count + 10))[of]
