"""Where a particle is expected in the next frame: linking then searches around that place.

`Stationary` expects it where it was (Brownian particles), `OwnVelocity` where its own motion carries it (directed
particles), `Affine` where one common flow v(x) = v0 + A x carries it (shear, extension, rotation, drift of the stage),
`FlowProfile` where the flow is any smooth one (a sheared film whose profile is bent, a channel, a vortex).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

_NEW = 0.5                        # weight of the newest displacement in a particle's velocity
_FEW = 12                         # links below which a flow is only a common translation
_ROUNDS = 4                       # of the robust fit
_STRENGTHS = 4                    # search ranges by which a guessed flow moves the edge of the field, at most
_MANY = 60                        # links below which a flow is affine
_NODES = 7                        # of a smooth flow, along each axis
_STIFF = 0.005                    # weight of its bends, in mean numbers of links around a node
_GRADIENTS = ([[0, 1], [0, 0]], [[0, 0], [1, 0]], [[0, 1], [-1, 0]], [[1, 0], [0, -1]])   # shears, rotation, extension


def _bends() -> np.ndarray:
    """(49, 49) sum of squares of second differences of a grid, as a matrix, and a little that keeps it definite."""
    second = np.diff(np.eye(_NODES), 2, axis=0)
    one = np.eye(_NODES)
    along_y, along_x = np.kron(second, one), np.kron(one, second)
    return along_y.T @ along_y + along_x.T @ along_x + 1e-3 * np.eye(_NODES**2)


_BENDS = _bends()


@dataclass
class OpenTracks:
    """The particles a linker still looks for, one row each.

    Parameters
    ----------
    particle : (n,) int64 array
        Their numbers.
    frame : (n,) int64 array
        Frame each was last seen in.
    position, variance, velocity : (n, 2) float arrays, of stacks (n, 3)
        There: position [px], squared standard error [px²]; and px per frame, NaN where unknown.
    """

    particle: np.ndarray
    frame: np.ndarray
    position: np.ndarray
    variance: np.ndarray
    velocity: np.ndarray

    @classmethod
    def none(cls, dim: int = 2) -> OpenTracks:
        """Before the first frame."""
        return cls(np.empty(0, np.int64), np.empty(0, np.int64), *(np.empty((0, dim)) for _ in range(3)))

    def rows(self, mask: np.ndarray) -> OpenTracks:
        """The rows where `mask` is True."""
        return OpenTracks(*(values[mask] for values in vars(self).values()))

    def joined(self, others: OpenTracks) -> OpenTracks:
        """These rows and those of `others` after them."""
        return OpenTracks(*(np.concatenate(pair) for pair in zip(vars(self).values(), vars(others).values())))


class Predictor(ABC):
    """Says how far particles have moved since they were last seen.

    `rounds` is how often a frame may be linked anew with what `learn` found in it.
    """

    rounds: int = 1

    @abstractmethod
    def shift(self, tracks: OpenTracks, frame: int) -> np.ndarray:
        """(n, 2) expected displacements [px] of `tracks` until `frame`."""

    @abstractmethod
    def learn(self, tracks: OpenTracks, frame: int, displacement: np.ndarray) -> None:
        """Take in the links of `frame`: (n, 2) displacements of linked particles [px]."""

    def guesses(self, tracks: OpenTracks, search_range: float) -> list[np.ndarray]:
        """States worth trying where the present one links badly."""
        return []

    def state(self) -> np.ndarray:
        """What must be known to go on later."""
        return np.empty(0)

    def restore(self, state: np.ndarray) -> None:
        """Go on from `state`; nothing to do where there is none."""
        del state


class Stationary(Predictor):
    """Expects every particle where it was last seen."""

    def shift(self, tracks: OpenTracks, frame: int) -> np.ndarray:
        """No displacement."""
        return np.zeros_like(tracks.position)

    def learn(self, tracks: OpenTracks, frame: int, displacement: np.ndarray) -> None:
        """Nothing to learn."""


class OwnVelocity(Predictor):
    """Expects every particle to go on as it did; one seen once, to move as the median of the others."""

    def shift(self, tracks: OpenTracks, frame: int) -> np.ndarray:
        """Velocity times the frames since it was seen."""
        known = np.isfinite(tracks.velocity[:, 0])
        common = np.median(tracks.velocity[known], axis=0) if known.any() else np.zeros(tracks.position.shape[1])
        return np.where(known[:, None], tracks.velocity, common) * (frame - tracks.frame)[:, None]

    def learn(self, tracks: OpenTracks, frame: int, displacement: np.ndarray) -> None:
        """Nothing in common: velocities are kept with the particles, see `velocity_after`."""


class Affine(Predictor):
    """Expects every particle to go with one affine flow, fitted to the links of the frame itself.

    Displacement per frame: v0 + A x, least squares with weights 1/(1 + (r/s)²) on residuals r, s their median, so
    that wrong links count little; with fewer than 12 links a translation. A frame is linked, the flow fitted, and the
    frame linked again until nothing changes: a flow that reverses (oscillatory shear) is followed without delay.
    Where links are poor, as between the first two frames, the reversed flow, translations, simple shears, extensions
    and rotations about the middle of the particles are tried, up to four search ranges at the edge of the field.

    Examples
    --------
    >>> y, x = (a.ravel() for a in np.mgrid[:5, :5] * 10.0)
    >>> tracks = OpenTracks(np.arange(25), np.zeros(25, int), np.stack([y, x], 1), np.zeros((25, 2)), np.zeros((25, 2)))
    >>> flow = Affine()
    >>> flow.learn(tracks, 1, np.stack([0 * y, 0.3 * y], 1))
    >>> flow.shift(tracks, 2)[-1].round(6).tolist()
    [0.0, 24.0]
    """

    rounds = 8

    def __init__(self) -> None:
        self.flow = np.zeros((3, 2))

    def shift(self, tracks: OpenTracks, frame: int) -> np.ndarray:
        """The flow at the particle times the frames since it was seen."""
        return (self.flow[0] + tracks.position @ self.flow[1:]) * (frame - tracks.frame)[:, None]

    def learn(self, tracks: OpenTracks, frame: int, displacement: np.ndarray) -> None:
        """Fit the flow to these displacements; without links it stays as it was."""
        if not len(displacement):
            return
        velocity = displacement / (frame - tracks.frame)[:, None]
        centre = tracks.position.mean(axis=0)
        design = np.column_stack([np.ones(len(velocity)), tracks.position - centre])
        if len(velocity) < _FEW:
            design = design[:, :1]
        weight = np.ones(len(velocity))
        for _ in range(_ROUNDS):
            root = np.sqrt(weight)[:, None]
            found = np.linalg.lstsq(root * design, root * velocity, rcond=1e-9)[0]
            residual = np.linalg.norm(velocity - design @ found, axis=1)
            weight = 1 / (1 + (residual / max(float(np.median(residual)), 1e-9)) ** 2)
        self.flow = np.zeros((3, 2))
        self.flow[: len(found)] = found
        self.flow[0] -= centre @ self.flow[1:]

    def guesses(self, tracks: OpenTracks, search_range: float) -> list[np.ndarray]:
        """The reversed flow and simple flows of every sign and strength."""
        centre = tracks.position.mean(axis=0)
        half = max(float(np.abs(tracks.position - centre).max()), 1e-9)
        found = [-self.flow, np.zeros((3, 2))]
        for strength in search_range * np.concatenate([np.arange(1, _STRENGTHS + 1), -np.arange(1, _STRENGTHS + 1)]):
            for velocity in np.eye(2):
                found.append(np.vstack([strength * velocity, np.zeros((2, 2))]))
            for gradient in _GRADIENTS:
                slope = strength / half * np.array(gradient, dtype=float)
                found.append(np.vstack([-centre @ slope, slope]))
        return found

    def state(self) -> np.ndarray:
        """(3, 2): v0 and A."""
        return self.flow.copy()

    def restore(self, state: np.ndarray) -> None:
        """Go on from `state`."""
        self.flow = state.copy()


class FlowProfile(Affine):
    """Expects every particle to go with one smooth flow, fitted to the links of the frame itself.

    The flow is a sum of tent functions on a grid of 7 x 7 nodes over the particles, with a penalty on bends: where few
    links say otherwise it is affine, and with fewer than 60 links it is no more than that. Robust weights, rounds and
    starts (the flow of the frame before, the same reversed, simple flows) are those of `Affine`.

    Examples
    --------
    >>> y, x = (a.ravel() for a in np.mgrid[:20, :20] * 10.0)
    >>> nothing = np.zeros((400, 2))
    >>> tracks = OpenTracks(np.arange(400), np.zeros(400, int), np.stack([y, x], 1), nothing, nothing)
    >>> flow, bent = FlowProfile(), 12 * (y / 190) ** 2
    >>> flow.learn(tracks, 1, np.stack([0 * y, bent], 1))
    >>> bool(np.abs(flow.shift(tracks, 2)[:, 1] - 2 * bent).max() < 0.3)
    True
    """

    def __init__(self) -> None:
        super().__init__()
        self.corner, self.edge = np.zeros(2), np.ones(2)
        self.nodes = np.zeros((_NODES * _NODES, 2))

    def shift(self, tracks: OpenTracks, frame: int) -> np.ndarray:
        """The flow at the particle times the frames since it was seen."""
        bent = self._tents(tracks.position) @ self.nodes
        return super().shift(tracks, frame) + bent * (frame - tracks.frame)[:, None]

    def learn(self, tracks: OpenTracks, frame: int, displacement: np.ndarray) -> None:
        """Fit the flow to these displacements; without links it stays as it was."""
        super().learn(tracks, frame, displacement)
        if len(displacement) < _MANY:
            self.nodes = np.zeros_like(self.nodes)
            return
        velocity = displacement / (frame - tracks.frame)[:, None]
        self.corner = tracks.position.min(axis=0)
        self.edge = np.maximum(np.ptp(tracks.position, axis=0), 1.0)
        affine = self.flow[0] + tracks.position @ self.flow[1:]
        tents, rest = self._tents(tracks.position), velocity - affine
        stiff = _STIFF * len(rest) / _NODES**2 * _BENDS
        weight = np.ones(len(rest))
        for _ in range(_ROUNDS):
            found = np.linalg.solve((tents * weight[:, None]).T @ tents + stiff, (tents * weight[:, None]).T @ rest)
            left = np.linalg.norm(rest - tents @ found, axis=1)
            weight = 1 / (1 + (left / max(float(np.median(left)), 1e-9)) ** 2)
        self.nodes = found

    def _tents(self, position: np.ndarray) -> np.ndarray:
        """(n, 49) values of the tent functions; constant beyond the grid."""
        place = np.clip((position - self.corner) / self.edge, 0.0, 1.0) * (_NODES - 1)
        along = np.maximum(1 - np.abs(place[:, :, None] - np.arange(_NODES)), 0.0)
        return (along[:, 0, :, None] * along[:, 1, None, :]).reshape(len(position), _NODES**2)

    def guesses(self, tracks: OpenTracks, search_range: float) -> list[np.ndarray]:
        """The reversed flow and simple flows of every sign and strength."""
        plain = Affine()
        plain.flow = self.flow
        simple = [np.vstack([flow, self.corner, self.edge, 0 * self.nodes])
                  for flow in plain.guesses(tracks, search_range)[1:]]
        return [np.vstack([-self.flow, self.corner, self.edge, -self.nodes]), *simple]

    def state(self) -> np.ndarray:
        """(54, 2): v0 and A, corner and edges of the grid, what the nodes add."""
        return np.vstack([self.flow, self.corner, self.edge, self.nodes])

    def restore(self, state: np.ndarray) -> None:
        """Go on from `state`."""
        self.flow, self.corner, self.edge, self.nodes = (state[:3].copy(), state[3].copy(), state[4].copy(),
                                                         state[5:].copy())


def velocity_after(tracks: OpenTracks, frame: int, displacement: np.ndarray) -> np.ndarray:
    """(n, 2) velocities [px per frame] of particles that moved by `displacement`: the mean of old and new."""
    new = displacement / (frame - tracks.frame)[:, None]
    return np.where(np.isfinite(tracks.velocity), (1 - _NEW) * tracks.velocity + _NEW * new, new)


PREDICTORS: dict[str, type[Predictor]] = {"none": Stationary, "velocity": OwnVelocity, "affine": Affine,
                                          "profile": FlowProfile}
"""What the setting `predictor` names."""
