"""Error bars of a fluid's numbers, and where its data were."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vid2dyn.dynamics.fluid.numbers import FluidNumbers
from vid2dyn.encoders.entropy import invariants
from vid2dyn.fitting.particles.scoring import Prior, score_and_information
from vid2dyn.inference.score import sweep
from vid2dyn.inference.steps import FluidSteps

BLOCKS = 12
EVERY = 4
"""Steps between those that the information of the error bars is taken from."""


def certainty(data: Sequence[FluidSteps], starts: Sequence[np.ndarray], numbers: FluidNumbers, prior: Prior,
              seed: int) -> tuple[np.ndarray, float, np.ndarray]:
    """Covariance of the numbers, scatter of the score over what the information says, support of the data."""
    layout = numbers.layout
    _, information, scores = score_and_information(data, starts, numbers, seed, EVERY)
    rows = np.flatnonzero(layout.active)
    info = information[np.ix_(rows, rows)]
    total = info + prior.precision[np.ix_(rows, rows)]
    size = np.sqrt(np.diag(total))
    inverse = np.linalg.inv(total / size[:, None] / size) / size[:, None] / size
    blocks = [b.sum(axis=0)[rows] / np.sqrt(len(b)) for s in scores for b in np.array_split(s, BLOCKS)]
    count = sum(len(s) for s in scores)
    # whitened score of blocks: 1 in every direction if the model is right; the mean score is that of the prior
    values, vectors = np.linalg.eigh(info / size[:, None] / size / count)
    good = values > 1e-6 * values.max()
    white = (np.array(blocks) / size) @ vectors[:, good] / np.sqrt(values[good])
    excess = float((white**2).mean())
    covariance = np.zeros((layout.size, layout.size))
    covariance[np.ix_(rows, rows)] = inverse * max(1.0, excess)
    return covariance, excess, support(data, starts, numbers)


def support(data: Sequence[FluidSteps], starts: Sequence[np.ndarray], numbers: FluidNumbers) -> np.ndarray:
    """Quantiles of S, V and r in the data, (3, 5)."""
    S, x, r = [], [], []
    for part, start in zip(data, starts, strict=True):
        found = sweep(part, numbers, start, slopes=False)
        for t in range(0, part.count, max(1, part.count // 20)):
            S.append(found.entropy[t])
            box = part.box.after((part.first_frame + t) * part.dt)
            x.append(invariants(part.position[t], part.velocity[t], box, part.cutoff).log_volume)
            r.append(part.pairs(t).r)
    at = [0, 0.025, 0.5, 0.975, 1]
    return np.array([np.quantile(np.concatenate(S), at), np.quantile(np.exp(np.concatenate(x)), at),
                     np.quantile(np.concatenate(r), at)])
