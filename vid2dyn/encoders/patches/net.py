"""The net that reads a patch, what it learns from, and the loop in which it learns.

Two pictures of one particle a few frames apart are a pair. The net's outputs z are trained so that they agree within
pairs while being standardised and uncorrelated over the batch: the largest sum of squared canonical correlations

    score = tr(C⁻¹ K C⁻¹ Kᵀ),   C = cov(z) of both pictures,  K = symmetrised cov(z_first, z_second)

(the VAMP-2 score of Wu & Noé, J. Nonlinear Sci. 30, 23 (2020), for reversible motion). Whitening by C rules out a
collapse to a constant, which other objectives have to penalise. What differs between the two pictures cannot enter:
camera noise, the position within the pixel, orientation, and whatever the augmentations change on top. Width
(defocus) and shape are left alone by all of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from vid2dyn.core.checkpoint import Checkpoint
from vid2dyn.core.errors import ModelError
from vid2dyn.core.progress import Progress
from vid2dyn.encoders.patches.images import window
from vid2dyn.encoders.torchvision_import import load

CHUNK = 2048
"""Patches that go through the net at a time; with one frame, all of the movie that is in memory while encoding."""
FEWEST = 200
"""Pairs of pictures below which nothing is trained."""
GROUPS = 16
"""Parts of a batch; each gets its own rotation, shift and flip."""
SAVE_EVERY = 25
"""Steps between checkpoints."""


class PatchNet(nn.Module):
    """A small residual net of torchvision's blocks for one channel and small patches: (n, 1, s, s) to (n, outputs).

    Parameters
    ----------
    size : int
        Edge of a patch [px].
    channels : int
        Channels of the first layer; doubled at each of the two halvings of the resolution.
    outputs : int
        Numbers that are trained to last; `features` gives the layer before them.
    """

    window: torch.Tensor

    def __init__(self, size: int, channels: int, outputs: int) -> None:
        super().__init__()
        block = load().models.resnet.BasicBlock
        self.register_buffer("window", torch.as_tensor(window(size)))

        def halving(c: int) -> nn.Module:
            shortcut = nn.Sequential(nn.Conv2d(c, 2 * c, 1, 2, bias=False), nn.BatchNorm2d(2 * c))
            return block(c, 2 * c, 2, shortcut)

        self.backbone = nn.Sequential(
            nn.Conv2d(1, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(),
            halving(channels), halving(2 * channels),
            nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(4 * channels, outputs)

    def features(self, patches: torch.Tensor) -> torch.Tensor:
        """(n, 4 channels) of patches (n, 1, s, s)."""
        return self.backbone(patches * self.window)

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(patches))


class Augment:
    """Changes of a patch that are not changes of the particle's state.

    Any rotation, mirror images and shifts by up to half a pixel (half of the pictures: interpolation blurs a little);
    brightness by as much as the illumination varies; noise of half the camera's. No change of width or contrast shape:
    those may be the state.

    Parameters
    ----------
    size : int
        Edge of a patch [px].
    illumination : float
        Relative standard deviation of the brightness factor, log-normal.
    noise : float
        Standard deviation of the noise of a pixel, in the units of the patches.
    """

    def __init__(self, size: int, illumination: float, noise: float) -> None:
        v2 = load().transforms.v2
        affine = v2.RandomAffine(180, translate=(0.5 / size, 0.5 / size), interpolation=v2.InterpolationMode.BILINEAR)
        self.place = v2.Compose([v2.RandomApply([affine], p=0.5), v2.RandomHorizontalFlip(), v2.RandomVerticalFlip()])
        self.noise = v2.GaussianNoise(sigma=0.5 * noise, clip=False)
        self.illumination = illumination

    def __call__(self, patches: torch.Tensor) -> torch.Tensor:
        """Patches (n, 1, s, s), each changed in its own way; draws from torch's current generator."""
        moved = torch.cat([self.place(part) for part in patches.chunk(GROUPS)])
        lamp = torch.exp(self.illumination * torch.randn(len(moved), 1, 1, 1))
        return self.noise(moved * lamp)


def score(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Sum of squared canonical correlations of two batches (n, d): between 0 and d.

    >>> z = torch.randn(500, 3, generator=torch.Generator().manual_seed(0))
    >>> round(float(score(z, z)), 2), bool(score(z, z.flip(0)) < 0.3)
    (3.0, True)
    """
    mean = 0.5 * (first.mean(dim=0) + second.mean(dim=0))
    a, b = first - mean, second - mean
    n, d = a.shape
    C = 0.5 * (a.T @ a + b.T @ b) / n
    K = 0.5 * (a.T @ b + b.T @ a) / n
    C = C + 1e-4 * C.diagonal().mean() * torch.eye(d, dtype=C.dtype)
    half = torch.linalg.solve(C, K)
    return (half * half.T).sum()


@dataclass(frozen=True)
class Schedule:
    """Steps of training, pairs of pictures in each, and the largest step size of the optimiser (Adam)."""

    steps: int
    batch: int
    learning_rate: float

    def rate(self, step: int) -> float:
        """Step size in one of the steps: a rise over the first tenth of them, then a cosine to zero."""
        t = (step + 0.5) / self.steps
        return self.learning_rate * (t / 0.1 if t < 0.1 else 0.5 * (1 + math.cos(math.pi * (t - 0.1) / 0.9)))


def train(net: PatchNet, first: np.ndarray, second: np.ndarray, augment: Augment, schedule: Schedule, seed: int,
          place: Checkpoint, progress: Progress) -> list[float]:
    """Train in place on pairs of patches (n, s, s); the score of every step.

    Every step draws from (seed, step) alone, so that a run continued from its checkpoint ends with the same bits.

    Raises
    ------
    ModelError
        When the checkpoint belongs to another run, or the score stops being a number.
    """
    optimiser = torch.optim.Adam(net.parameters(), lr=schedule.learning_rate)
    scores = _resume(place, net, optimiser)
    net.train()
    for step in range(len(scores), schedule.steps):
        progress(step, schedule.steps, "training the encoder")
        rng = np.random.default_rng((seed, step))
        some = rng.choice(len(first), min(schedule.batch, len(first)), replace=False)
        with torch.random.fork_rng(devices=[]):             # the transforms know only torch's global generator
            torch.manual_seed(int(rng.integers(2**62)))
            views = [augment(torch.as_tensor(p[some])[:, None]) for p in (first, second)]
        z = net(torch.cat(views))
        value = score(*z.chunk(2))
        if not math.isfinite(float(value.detach())):
            raise ModelError(f"The encoder's training left the numbers at step {step}; give a smaller learning_rate.")
        optimiser.param_groups[0]["lr"] = schedule.rate(step)
        optimiser.zero_grad()
        (-value).backward()
        optimiser.step()
        scores.append(float(value.detach()))
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == schedule.steps:
            place.save(_state(net, optimiser, scores))
    net.eval()
    progress(schedule.steps, schedule.steps, "training the encoder")
    return scores


def _state(net: PatchNet, optimiser: torch.optim.Adam, scores: list[float]) -> dict[str, np.ndarray]:
    """What a checkpoint keeps: the net, the moments of the optimiser, and the score of every step."""
    state = {f"net.{name}": value.numpy() for name, value in net.state_dict().items()}
    for name, parameter in net.named_parameters():
        state |= {f"{key}.{name}": value.numpy() for key, value in optimiser.state[parameter].items()}
    return state | {"scores": np.array(scores)}


def _resume(place: Checkpoint, net: PatchNet, optimiser: torch.optim.Adam) -> list[float]:
    """Net and optimiser as the checkpoint has them; the scores of the steps that are done, none without one."""
    state = place.load()
    if state is None:
        return []
    tensors = {name: torch.as_tensor(value) for name, value in state.items()}
    try:
        net.load_state_dict({name.removeprefix("net."): value for name, value in tensors.items()
                             if name.startswith("net.")})
        for name, parameter in net.named_parameters():
            optimiser.state[parameter] = {key: tensors[f"{key}.{name}"] for key in ("step", "exp_avg", "exp_avg_sq")}
        return state["scores"].tolist()
    except (KeyError, RuntimeError) as error:
        raise ModelError(f"{place.path}: not a checkpoint of this encoder ({error}). Delete it to start "
                         "anew.") from None
