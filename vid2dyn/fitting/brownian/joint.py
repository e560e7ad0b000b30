"""Several recordings under one physics: which numbers they share, and how their equations are added.

Shared are the coefficients of the pair potentials, the stiffness of traps and D (of each species). Each recording has
its own noise scale (of each species), its own centre of a shared trap, its own field of view and, through its own mean
step in every frame, its own drift. The linear equations A c = b of the forces (`design`) hold in each recording for the
same c, so they are added; where frame intervals differ, each with a weight, the inverse of the noise of its b over its
A. One recording is the case R = 1: its numbers are the same, to the last bit, as without this file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from vid2dyn.fitting.brownian.design import Field, ForceMoments
from vid2dyn.fitting.brownian.regression import regularised, sandwich
from vid2dyn.fitting.brownian.synthetic import Parameters


@dataclass(frozen=True, eq=False)
class RecordingShape:
    """What of the unknowns concerns one recording.

    Parameters
    ----------
    field : Field
        Its force functions.
    columns : (field.size,) int array
        Which of the shared unknowns they are multiplied with.
    centres : (tracks, dim) array or None
        Centres of own traps [µm].
    """

    field: Field
    columns: np.ndarray
    centres: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class JointParameters:
    """All numbers of a model of several recordings.

    Parameters
    ----------
    shapes : tuple of RecordingShape
        One for each recording.
    coefficients : (unknowns,) array
        Spline coefficients, stiffness of the traps, stiffness × centre of each recording's shared trap.
    diffusion : (species,) array
        [µm²/s].
    noise_scales : (recordings, species) array
        Localisation variance over the stated one.
    """

    shapes: tuple[RecordingShape, ...]
    coefficients: np.ndarray
    diffusion: np.ndarray
    noise_scales: np.ndarray

    @property
    def field(self) -> Field:
        """The force functions of the first recording; the pair potentials are the same in all."""
        return self.shapes[0].field

    def of(self, recording: int) -> Parameters:
        """The numbers that concern one recording."""
        shape = self.shapes[recording]
        return Parameters(shape.field, self.coefficients[shape.columns], self.diffusion, self.noise_scales[recording],
                          shape.centres)

    def penalty(self) -> np.ndarray:
        """(unknowns, unknowns) roughness of the pair potentials."""
        out = np.zeros((len(self.coefficients),) * 2)
        knots = self.field.knots
        out[:knots, :knots] = self.field.penalty()[:knots, :knots]
        return out

    def numbers(self) -> np.ndarray:
        """All of them in a row, for checkpoints."""
        return np.concatenate([self.diffusion, self.noise_scales.ravel(), self.coefficients])

    def with_numbers(self, numbers: np.ndarray) -> JointParameters:
        """The same functions with other numbers, as `numbers` gives them."""
        species, noises = len(self.diffusion), self.noise_scales.size
        return replace(self, diffusion=numbers[:species],
                       noise_scales=numbers[species: species + noises].reshape(self.noise_scales.shape),
                       coefficients=numbers[species + noises:])


def joint_shapes(fields: Sequence[Field], centres: Sequence[np.ndarray | None]) -> tuple[RecordingShape, ...]:
    """How the unknowns of several recordings are numbered: shared ones first, then the centres of shared traps."""
    shapes = []
    for r, (field, centre) in enumerate(zip(fields, centres, strict=True)):
        columns = np.arange(field.size)
        if field.trap == "shared":
            dim = len(field.origin)
            columns[field.knots + 1:] += r * dim
        shapes.append(RecordingShape(field, columns, centre))
    return tuple(shapes)


def unknowns(shapes: Sequence[RecordingShape]) -> int:
    """Number of unknowns of all recordings together."""
    return max(int(shape.columns.max(initial=-1)) for shape in shapes) + 1


def weights_of(moments: Sequence[ForceMoments], intervals: Sequence[float],
               penalties: Sequence[np.ndarray]) -> np.ndarray:
    """(recordings,) weight of each recording's equations, 1 in the mean; all 1 where frame intervals are alike.

    The noise of b, from its scatter over blocks of time, per unit of A: frames close in time tell the same twice.
    """
    if len(moments) == 1 or np.ptp(intervals) < 1e-9 * max(intervals):
        return np.ones(len(moments))
    noise = []
    for one, penalty in zip(moments, penalties, strict=True):
        smoothness = 1e-3 * np.trace(one.A) / np.trace(penalty) if penalty.any() else 0.0
        A = regularised(one.A, penalty, smoothness)
        noise.append(float(np.trace(np.linalg.solve(A, sandwich(one, np.linalg.solve(A, one.B))))))
    weight = 1 / np.array(noise)
    return weight / weight.mean()


def added(moments: Sequence[ForceMoments], shapes: Sequence[RecordingShape], weights: np.ndarray,
          share: float = 1.0) -> ForceMoments:
    """The equations of all recordings for the shared unknowns; the first blocks of all are the first block, and so on.

    `share`: part of the blocks of each recording that is taken, the first ones.
    """
    size, counts = unknowns(shapes), [max(1, round(share * len(one.a))) for one in moments]
    a, b = np.zeros((max(counts), size, size)), np.zeros((max(counts), size))
    for one, shape, weight, count in zip(moments, shapes, weights, counts, strict=True):
        a[:count, shape.columns[:, None], shape.columns] += weight * one.a[:count]
        b[:count, shape.columns] += weight * one.b[:count]
    return ForceMoments(a, b)


def embedded(matrix: np.ndarray, shape: RecordingShape, size: int) -> np.ndarray:
    """A vector or a matrix of one recording's unknowns as one of all unknowns."""
    out = np.zeros((size,) * matrix.ndim)
    out[np.ix_(*(shape.columns,) * matrix.ndim)] = matrix
    return out
