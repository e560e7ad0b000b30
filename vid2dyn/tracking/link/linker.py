"""Feature positions frame by frame in, particle numbers out.

`Linker` is the interface; `NearestLinks` the first inhabitant: the assignment of features to particles that has the
least sum of squared displacements (Crocker and Grier 1996, section 4), found exactly however many particles are within
reach of each other. `LinkStream` is the same one frame at a time, with a state that can be saved between frames.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np

from vid2dyn.core.errors import ConfigError, DataError
from vid2dyn.tracking.columns import POSITION, STD
from vid2dyn.tracking.link.assignment import assign
from vid2dyn.tracking.link.candidates import MAX_CANDIDATES, candidates
from vid2dyn.tracking.link.doubts import Doubts
from vid2dyn.tracking.link.predict import PREDICTORS, OpenTracks, Stationary, velocity_after
from vid2dyn.tracking.settings import Track

BUDGET = 200_000_000
"""Candidate pairs looked at in one frame (about two seconds) before the exact search gives up and says so."""
_SLACK = 1e-7                     # px: at exactly the search range a link is preferred to none, as in trackpy
_MEMORY_OF_MOTION = 0.9           # weight of earlier frames in the mean squared displacement
_POOR = 0.25                      # mean squared distance, in search ranges squared, at which other flows are tried
_LEAST_MOTION = 0.02              # of the search range: a standing sample still moves this much, for the weights


class Linker(ABC):
    """Says which features of successive frames are the same particle."""

    @abstractmethod
    def __call__(self, frames: Iterable[tuple[int, np.ndarray]]) -> Iterator[np.ndarray]:
        """(N,) int64 particle numbers for every (frame number, (N, 2) positions (y, x) [px]).

        Further columns of the table are y_std, x_std [px] if there are any. Successive frames are taken one at a
        time, in order, empty ones too.
        """

    def notes(self) -> list[str]:
        """What a user should know about the links made so far, in plain words."""
        return []


class NearestLinks(Linker):
    """Least sum of squared displacements within `search_range`, with memory: trackpy's links, without its limits.

    New particles are numbered in the order of the features. See `Track` for `memory`, `range_growth`, `predictor`
    and `link_cost`.

    Examples
    --------
    >>> frames = [(0, np.array([[5.0, 5.0], [20.0, 20.0]])), (1, np.array([[21.0, 20.0], [5.0, 6.0]]))]
    >>> [numbers.tolist() for numbers in NearestLinks(Track(search_range=3))(frames)]
    [[0, 1], [1, 0]]
    """

    def __init__(self, settings: Track, stream: Callable[[Track], LinkStream] | None = None) -> None:
        self.settings, self._stream = settings, stream or LinkStream
        self.stream = self._stream(settings)

    def __call__(self, frames: Iterable[tuple[int, np.ndarray]]) -> Iterator[np.ndarray]:
        self.stream = self._stream(self.settings)
        for number, features in frames:
            yield self.stream.step(number, features)

    def notes(self) -> list[str]:
        """Frames in which the search range left too many choices."""
        return self.stream.notes()


class LinkStream:
    """Particle numbers one frame at a time.

    A particle i last seen e frames ago at x_i is expected at x_i + shift (see `predict`) and may become any feature
    within R e^range_growth of there. What is minimised, over particles: d²/e^(2 range_growth) if linked, R² if not.
    With ``link_cost = "likelihood"`` the displacement along each axis has variance v + s_i² + s_j² (v: mean squared
    displacement along an axis, measured as linking goes on; s: stated standard errors), and twice the negative
    logarithm of its Gaussian density, times v, takes the place of d²; for s = 0 that is d² again.

    Parameters
    ----------
    settings : Track
        search_range R, memory, range_growth, predictor and link_cost count.
    budget : int
        Work after which the exact search of a frame is given up: see `BUDGET`.

    Examples
    --------
    >>> stream = LinkStream(Track(search_range=3, memory=1))
    >>> stream.step(0, np.array([[5.0, 5.0]])).tolist(), stream.step(1, np.empty((0, 2))).tolist()
    ([0], [])
    >>> later = LinkStream(Track(search_range=3, memory=1))
    >>> later.restore(stream.state())
    >>> later.step(2, np.array([[5.0, 6.0]])).tolist()
    [0]
    """

    def __init__(self, settings: Track, budget: int = BUDGET) -> None:
        self.settings, self.budget = settings, budget
        self.open = OpenTracks.none()
        self.predictor = PREDICTORS[settings.predictor]()
        self.n_particles = 0                                  # numbers given so far
        self.last = -1                                 # frame
        self.motion = (settings.search_range / 3) ** 2     # variance of a displacement along an axis [px²]
        self.cut_frames: list[int] = []
        self.unsettled_frames: list[int] = []
        self.doubts = Doubts()
        self._choices = (np.zeros(1, np.int64), np.empty(0, np.int64))       # of the last assignment

    def step(self, number: int, features: np.ndarray) -> np.ndarray:
        """(N,) int64 particle numbers of the (N, 2 or more) features y, x[, y_std, x_std] [px] of frame `number`.

        Raises
        ------
        DataError
            For positions that are not finite, or a frame that does not come after the one before.
        ConfigError
            When `link_cost` needs standard errors and the table has none.
        """
        position, variance = self._checked(number, features)
        # frames that were left out were empty: who is missing for longer than the memory is gone
        recent = self.open.frame >= number - 1 - self.settings.memory
        tracks = self.open = self.open if recent.all() else self.open.rows(np.flatnonzero(recent))
        linked, feature = self._links(number, position, variance)
        ids = np.full(len(position), -1, np.int64)
        ids[feature] = tracks.particle[linked]
        fresh = np.flatnonzero(ids < 0)
        ids[fresh] = self.n_particles + np.arange(len(fresh))
        self.n_particles += len(fresh)
        velocity = np.full_like(position, np.nan)
        if self.settings.predictor == "velocity":
            before = tracks.rows(linked)
            velocity[feature] = velocity_after(before, number, position[feature] - before.position)
        here = OpenTracks(ids, np.full(len(position), number, np.int64), position, variance, velocity)
        if self.settings.memory:
            lost = np.ones(len(tracks.particle), bool)
            lost[linked] = False
            lost &= tracks.frame >= number - self.settings.memory
            here = here.joined(tracks.rows(lost))
        self.open, self.last = here, number
        return ids

    def _links(self, number: int, position: np.ndarray, variance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows of the open tracks and of the features that belong together."""
        tracks, predictor = self.open, self.predictor
        expected, pair = self._assign(number, position, variance)
        if predictor.rounds > 1:
            expected, pair = self._best_start(number, position, variance, expected, pair)
        linked = np.flatnonzero(pair >= 0)
        for _ in range(predictor.rounds - 1):
            predictor.learn(tracks.rows(linked), number, position[pair[linked]] - tracks.position[linked])
            before = pair
            expected, pair = self._assign(number, position, variance)
            linked = np.flatnonzero(pair >= 0)
            if np.array_equal(before, pair):
                break
        feature = pair[linked]
        if len(linked):
            self.doubts.add_links(linked, feature, expected, position, self.settings.search_range, *self._choices)
        if len(linked) and self.settings.link_cost == "likelihood":
            self._update_motion(position[feature] - expected[linked], variance[feature] + tracks.variance[linked])
        return linked, feature

    def _best_start(self, number: int, position: np.ndarray, variance: np.ndarray, expected: np.ndarray,
                    pair: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(expected places, pairs) of the present prediction or, where they are poor, of the best guess."""
        least = self._misfit(expected, position, pair)
        if not len(pair) or not len(position) or least < _POOR * self.settings.search_range**2:
            return expected, pair
        best = self.predictor.state()
        for guess in self.predictor.guesses(self.open, self.settings.search_range):
            self.predictor.restore(guess)
            place, found = self._assign(number, position, variance)
            if self._misfit(place, position, found) < least:
                least, best, expected, pair = self._misfit(place, position, found), guess, place, found
        self.predictor.restore(best)
        return expected, pair

    def _misfit(self, expected: np.ndarray, position: np.ndarray, pair: np.ndarray) -> float:
        """Mean squared distance to the expected places, a lost particle counting as one at the search range [px²]."""
        lost = self.settings.search_range**2
        linked = pair >= 0
        square = ((expected[linked] - position[pair[linked]]) ** 2).sum()
        return float(square + lost * (~linked).sum()) / max(len(pair), 1)

    def _assign(self, number: int, position: np.ndarray, variance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where every particle that is looked for is expected, (n, 2), and its feature, -1 for none."""
        settings, tracks = self.settings, self.open
        expected = tracks.position
        if not isinstance(self.predictor, Stationary):
            expected = expected + self.predictor.shift(tracks, number)
        reach = np.full(len(expected), settings.search_range)
        growth = (number - tracks.frame) ** settings.range_growth if settings.range_growth else np.ones(len(expected))
        start, column, cost, cut = self._candidates(expected, reach * growth, position)
        if settings.link_cost == "likelihood":
            cost = self._likelihood(expected, position, variance, growth, start, column)
        elif settings.range_growth:
            cost = cost / np.repeat(growth**2, np.diff(start))
        alone = np.full(len(expected), (settings.search_range + _SLACK) ** 2)
        self._choices = (start, column)
        pair, _, unsettled = assign(start, column, cost, alone, len(position), self.budget)
        if cut and number not in self.cut_frames:
            self.cut_frames.append(number)
        if unsettled and number not in self.unsettled_frames:
            self.unsettled_frames.append(number)
        return expected, pair

    def _candidates(self, expected: np.ndarray, reach: np.ndarray,
                    position: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
        return candidates(expected, reach, position)  # type: ignore[no-any-return]

    def _likelihood(self, expected: np.ndarray, position: np.ndarray, variance: np.ndarray, growth: np.ndarray,
                    start: np.ndarray, column: np.ndarray) -> np.ndarray:
        """Cost of every candidate pair [px²]: see the class."""
        row = np.repeat(np.arange(len(expected)), np.diff(start))
        square = (position[column] - expected[row]) ** 2
        ratio = (growth[row] ** 2)[:, None] + (variance[column] + self.open.variance[row]) / self.motion
        return (square / ratio + self.motion * np.log(ratio)).sum(axis=1)

    def _update_motion(self, displacement: np.ndarray, noise: np.ndarray) -> None:
        """Follow the mean squared displacement, less what the noise of the positions adds."""
        now = max(float((displacement**2 - noise).mean()), (_LEAST_MOTION * self.settings.search_range) ** 2)
        self.motion = _MEMORY_OF_MOTION * self.motion + (1 - _MEMORY_OF_MOTION) * now

    def _checked(self, number: int, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        features = np.asarray(features, dtype=float)
        position = self._positions(number, features[:, POSITION])
        if self.settings.link_cost == "distance":
            return position, np.zeros_like(position)
        if features.shape[1] < STD.stop:
            raise ConfigError('link_cost = "likelihood" needs the columns y_std and x_std; use "distance".')
        return position, features[:, STD] ** 2

    def _positions(self, number: int, position: np.ndarray) -> np.ndarray:
        if number <= self.last:
            raise DataError(f"Linking: frame {number} comes after frame {self.last}; give the frames in order.")
        if not np.isfinite(position).all():
            raise DataError(f"Linking frame {number}: a position is NaN or infinite; drop such rows.")
        return np.ascontiguousarray(position)

    def state(self) -> dict[str, np.ndarray]:
        """All that is needed to go on after the last frame, as plain arrays."""
        numbers = {"born": self.n_particles, "last": self.last, "motion": self.motion, "cut": self.cut_frames,
                   "unsettled": self.unsettled_frames, "predictor": self.predictor.state()}
        return {**vars(self.open), **self.doubts.state(), **{name: np.asarray(value) for name, value in
        numbers.items()}}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from `state`, which a stream with the same settings returned."""
        self.open = OpenTracks(*(np.asarray(state[name]) for name in vars(self.open)))
        self.n_particles, self.last, self.motion = int(state["born"]), int(state["last"]), float(state["motion"])
        self.cut_frames = np.asarray(state["cut"], dtype=int).tolist()
        self.unsettled_frames = np.asarray(state["unsettled"], dtype=int).tolist()
        self.predictor.restore(np.asarray(state["predictor"]))
        self.doubts.restore(state)

    def notes(self) -> list[str]:
        """What a user should know about the links so far."""
        cure = "Use a smaller search_range (at most about half the distance of neighbours) or a higher frame rate."
        messages = []
        if self.cut_frames:
            messages.append(f"In {len(self.cut_frames)} frames (first: {self.cut_frames[0]}) a particle had more than "
                            f"{MAX_CANDIDATES} features within its search range; only the {MAX_CANDIDATES} nearest "
                            f"were considered. {cure}")
        if self.unsettled_frames:
            messages.append(f"In {len(self.unsettled_frames)} frames (first: {self.unsettled_frames[0]}) so many "
                            "particles were within reach of each other that the best links could not be found in "
                            f"reasonable time; some were made in turn to the nearest free feature. {cure}")
        return [*messages, *self.doubts.notes(self.settings.search_range)]
