"""Cycles of a driven sheet: how the edge that is moved by hand moves, and frames at equal phases or at the extrema."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from vid2dyn.analysis.result import Result, axes_or_new
from vid2dyn.core.errors import ConfigError, DataError
from vid2dyn.data.trajectories import Trajectories

_STILL = 3.0
"""Amplitude over its standard error below which an edge is taken to stand still."""
WHOLE = 0.02
"""Share of a cycle that may be missing at the end of one that counts as whole."""


@dataclass(frozen=True, eq=False)
class Cycles(Result):
    """What `cycles` found: position = offset + amplitude · sin(2π frequency t + phase).

    Parameters
    ----------
    dataframe : pandas.DataFrame
        `frame`, `time` [s], `position` of the edge (mean over its particles, along the axis of the drive, less its
        mean) and of the sine, `fitted` [µm], `cycle` (number of the cycle, from 0; -1 in one that is cut short).
    frequency : float
        [1/s]
    amplitude, amplitude_stderr : float
        [µm]
    phase : float
        At frame 0 [rad].
    axis : str
        Along which the edge moves, "y" or "x".
    """

    dataframe: pd.DataFrame
    frequency: float
    amplitude: float
    amplitude_stderr: float
    phase: float
    axis: str
    tracks: Trajectories
    warnings: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """Number of whole cycles."""
        return int(self.dataframe["cycle"].max()) + 1

    def at_phase(self, phase: float = 0.0) -> Trajectories:
        """Stroboscopic sampling: the frame nearest to `phase` [rad] of every cycle, whole or not, numbered 0, 1, ...

        Between frames of equal phase an elastic or reversible sheet has not moved: what is left is irreversible.
        """
        number = (self._angle - phase) / (2 * np.pi)
        return self._frames_at(np.arange(np.ceil(number[0] - 0.5), number[-1] + 0.5), number)

    def extrema(self) -> Trajectories:
        """Frames at which the drive turns, two in a cycle, numbered 0, 1, ...: one more than half cycles are seen."""
        number = (self._angle - 0.5 * np.pi) / np.pi
        return self._frames_at(np.arange(np.ceil(number[0] - 1e-6), number[-1] + 1e-6), number)

    def whole(self) -> Trajectories:
        """Only the frames of whole cycles."""
        frames = self.dataframe["frame"].to_numpy()[self.dataframe["cycle"].to_numpy() >= 0]
        return self.tracks.rows(np.isin(self.tracks.frame, frames))

    @property
    def _angle(self) -> np.ndarray:
        return 2 * np.pi * self.frequency * self.dataframe["time"].to_numpy() + self.phase

    def _frames_at(self, wanted: np.ndarray, number: np.ndarray) -> Trajectories:
        frames = self.dataframe["frame"].to_numpy()
        nearest = np.argmin(np.abs(number[None, :] - wanted[:, None]), axis=1)
        chosen = frames[nearest[np.abs(number[nearest] - wanted) < 0.51 * np.diff(number).max()]]
        if not len(chosen):
            raise DataError("The recording does not reach such a phase of the drive; give a longer one.")
        place = {int(frame): k for k, frame in enumerate(chosen)}
        kept = self.tracks.rows(np.isin(self.tracks.frame, chosen))
        table = kept.dataframe.assign(frame=np.array([place[int(f)] for f in kept.frame], np.int32))
        rate = 1.0 / ((chosen[-1] - chosen[0]) / max(len(chosen) - 1, 1) * kept.units.dt) if len(chosen) > 1 else None
        return kept.replace(dataframe=table, units=kept.units.replace(frames_per_second=rate, exposure=0.0))

    def plot(self, ax: Any = None) -> Any:
        """Position of the edge and the fitted sine against time."""
        ax = axes_or_new(ax)
        ax.plot(self.dataframe["time"], self.dataframe["position"], ".", markersize=3)
        ax.plot(self.dataframe["time"], self.dataframe["fitted"])
        ax.set(xlabel="time (s)", ylabel=f"{self.axis} of the edge (µm)")
        return ax


def cycles(tracks: Trajectories, frequency: float | None = None, *, held: str = "held", body: str | None = None,
           axis: str | None = None) -> Cycles:
    """How the prescribed edge of a recording moves, and its cycles.

    Parameters
    ----------
    tracks : Trajectories
        Linked, with a column that marks the particles of the edge.
    frequency : float, optional
        Of the drive [1/s]; default: found from the motion of the edge.
    held : str
        Column of the table that is True (or 1) for particles moved by hand.
    body : str, optional
        Value of the column `body` that names the moving edge; default: "needle" where the table has such, else all
        held particles that move by more than half of what the fastest of them does.
    axis : {"y", "x"}, optional
        Along which it moves; default: the one of the larger motion.

    Raises
    ------
    DataError
        Without a column that marks the edge, if the edge does not move, leaves the view, or if less than one cycle is
        there.

    Examples
    --------
    >>> import vid2dyn as vd
    >>> film = vd.simulators.Needle(gap=30.0, width=30.0, frames=50, frequency=2.0, frames_per_second=40.0)
    >>> found = cycles(film.run(seed=0))
    >>> round(found.frequency, 4), round(found.amplitude, 4), found.count
    (2.0, 1.5, 2)
    """
    rows = _edge_rows(tracks, held, body)
    edge = tracks.rows(rows)
    frames, mean, edge_warnings = _motion(edge, tracks)
    names = tracks.axes[:2]
    if axis is None:
        axis = names[int(np.argmax(np.ptp(mean, axis=0)))]
    if axis not in names:
        raise ConfigError(f"cycles: axis = {axis!r}; choose one of {', '.join(names)}.")
    position = mean[:, names.index(axis)]
    time = frames * tracks.units.dt
    if frequency is None:
        frequency = found_frequency(time, position)
    elif not (np.isfinite(frequency) and frequency > 0):
        raise ConfigError(f"cycles: frequency = {frequency!r}; give cycles per second, above zero.")
    basis = np.column_stack([np.ones_like(time), np.sin(2 * np.pi * frequency * time),
                             np.cos(2 * np.pi * frequency * time)])
    found, residual, _, _ = np.linalg.lstsq(basis, position, rcond=None)
    amplitude = float(np.hypot(found[1], found[2]))
    spread = float(np.sqrt(residual[0] / max(len(time) - 3, 1))) if residual.size else 0.0
    error = spread * np.sqrt(2 / len(time))
    if not amplitude > max(_STILL * error, 1e-12):
        raise DataError(f"cycles: the edge does not move with {frequency:.3g} cycles/s (amplitude {amplitude:.3g} ± "
                        f"{error:.2g} µm). Give the frequency of the drive, or the body that moves.")
    step = tracks.units.dt
    length = (frames[-1] - frames[0] + 1) * step * frequency
    count = int(np.floor(length + WHOLE))
    if count < 1:
        raise DataError(f"cycles: the recording holds {length:.2g} of a cycle of {1 / frequency:.3g} s; moduli and "
                        "stroboscopic frames need one or more. Record for longer, or drive faster.")
    warnings = list(edge_warnings)
    if length - count > 0.05:
        warnings.append(f"The last cycle is cut short: {length:.2f} cycles were recorded, the first {count} are used.")
    if spread > 0.1 * amplitude:
        warnings.append(f"The edge is off a sine by {100 * spread / amplitude:.0f} % of its amplitude (rms): moduli at "
                        "one frequency describe part of the motion only.")
    number = np.floor((frames - frames[0]) * step * frequency + 1e-6).astype(int)
    table = pd.DataFrame({"frame": frames.astype(np.int32), "time": time, "position": position - position.mean(),
                          "fitted": basis @ found - position.mean(), "cycle": np.where(number < count, number, -1)})
    return Cycles(table, float(frequency), amplitude, float(error), float(np.arctan2(found[2], found[1])), axis, tracks,
                  tuple(warnings))


def _edge_rows(tracks: Trajectories, held: str, body: str | None) -> np.ndarray:
    """(rows,) bool: those of the moving edge."""
    table = tracks.dataframe
    if held not in table and "body" not in table:
        raise DataError(f"No prescribed edge: the tracks have no column {held!r}. Mark the particles that are moved by "
                        "hand: tracks.replace(dataframe=table.assign(held=...)), True for them.")
    if body is None and "body" in table and (table["body"] == "needle").any():
        body = "needle"
    if body is not None:
        if "body" not in table or not (table["body"] == body).any():
            raise DataError(f"body = {body!r}: no particle of the tracks is of this body.")
        return (table["body"] == body).to_numpy()
    marked = table[held].to_numpy(dtype=bool)
    if not marked.any():
        raise DataError(f"No prescribed edge: no particle is marked in column {held!r}. Mark those that are moved by "
                        "hand.")
    names, which = np.unique(tracks.particle[marked], return_inverse=True)
    x = tracks.positions[marked]
    span = np.zeros(len(names))
    for c in range(x.shape[1]):
        high, low = np.full(len(names), -np.inf), np.full(len(names), np.inf)
        np.maximum.at(high, which, x[:, c])
        np.minimum.at(low, which, x[:, c])
        span = np.maximum(span, high - low)
    rows = np.zeros(len(table), bool)
    rows[np.flatnonzero(marked)] = (span > 0.5 * span.max())[which]
    return rows


def _motion(edge: Trajectories, tracks: Trajectories) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Frames, mean positions (frames, 2) [µm] of the edge, from particles that are seen throughout, and warnings."""
    first, last = int(tracks.frame.min()), int(tracks.frame.max())
    names, count = np.unique(edge.particle[edge.particle >= 0], return_counts=True)
    longest = last - first + 1
    whole = names[count == longest]
    warnings = []
    if len(whole):
        if len(whole) < 0.5 * len(names):
            warnings.append(f"{len(names) - len(whole)} of {len(names)} particles of the edge leave the view or are "
                            "lost; its motion is taken from the others.")
        kept = edge.rows(np.isin(edge.particle, whole))
        frame, x = kept.frame - first, kept.positions[:, :2]
        mean = np.stack([np.bincount(frame, column, longest) for column in x.T], axis=1) / len(whole)
        return np.arange(first, last + 1), mean, warnings
    i, j = edge.lagged(1)
    frame = edge.frame[j] - first
    number = np.bincount(frame, minlength=longest)
    if (number[1:] == 0).any():
        gone = first + 1 + int(np.argmin(number[1:]))
        raise DataError(f"The prescribed edge leaves the view: no particle of it is seen in frames {gone - 1} and "
                        f"{gone}. Cut the recording there, or film more of the edge.")
    step = edge.positions[j][:, :2] - edge.positions[i][:, :2]
    mean = np.stack([np.bincount(frame, column, longest) for column in step.T], axis=1) / np.maximum(number, 1)[:, None]
    warnings.append("No particle of the edge is seen in all frames; its motion is the sum of mean displacements from "
                    "frame to frame, whose errors add up.")
    return np.arange(first, last + 1), np.cumsum(mean, axis=0), warnings


@dataclass(frozen=True, eq=False)
class EnergyOfCycles(Result):
    """What `energy_of_cycles` found.

    Parameters
    ----------
    dataframe : pandas.DataFrame
        `cycle`, `work` put in by the held particles, `heat` given to the bath, `stored` (change of the potential
        energy) [kT], and `per_particle`, the potential energy at its end over the number of particles.
    imbalance : float
        Largest ``|stored - work + heat|`` over the potential energy: rounding.
    """

    dataframe: pd.DataFrame
    imbalance: float
    warnings: tuple[str, ...] = ()

    def plot(self, ax: Any = None) -> Any:
        """Work, heat and stored energy of each cycle."""
        ax = axes_or_new(ax)
        for name in ("work", "heat", "stored"):
            ax.plot(self.dataframe["cycle"], self.dataframe[name], "o-", label=name)
        ax.set(xlabel="cycle", ylabel="energy (kT)")
        ax.legend()
        return ax


def energy_of_cycles(rollout: Trajectories, frequency: float) -> EnergyOfCycles:
    """Work, heat and stored energy of a driven rollout, cycle by cycle.

    A sheet in a steady state gives off as heat what is put in; one that stores energy in every cycle heats or ages.

    Parameters
    ----------
    rollout : Trajectories
        Of a model with held particles (`info["rollout"]["energy"]`).
    frequency : float
        Cycles in a second [1/s]; the last one may be cut short and is then left out, unless it is the only one.

    Raises
    ------
    DataError
        If the trajectories carry no energies.

    Examples
    --------
    >>> import vid2dyn as vd
    >>> still = vd.Trajectories.from_dense(np.zeros((9, 1, 2)), vd.Units(1.0, 4.0), info={"rollout": {"energy": {
    ...     "potential": [0.0] * 9, "work": list(range(9)), "heat": list(range(9))}}})
    >>> energy_of_cycles(still, 1.0).dataframe["work"].tolist()
    [4.0, 4.0]
    """
    kept = rollout.info.get("rollout", {}).get("energy")
    if kept is None:
        raise DataError("These trajectories carry no energies: they are not a rollout of a model with held particles.")
    U, W, Q = (np.asarray(kept[name], float) for name in ("potential", "work", "heat"))
    length = 1 / (frequency * rollout.units.dt)
    count = max(1, int(np.floor((len(U) - 1) / length + WHOLE)))
    edges = np.minimum(np.round(np.arange(count + 1) * length).astype(int), len(U) - 1)
    table = pd.DataFrame({"cycle": np.arange(count), "work": np.diff(W[edges]), "heat": np.diff(Q[edges]),
                          "stored": np.diff(U[edges]), "per_particle": U[edges[1:]] / max(rollout.n_particles, 1)})
    imbalance = float(np.abs(U - U[0] - W + Q).max() / max(np.abs(U).max(), 1e-300))
    said: tuple[str, ...] = ()
    if count >= 3 and (table["stored"].to_numpy()[1:] > 0.5 * table["work"].to_numpy()[1:].clip(1e-12)).all():
        said = ("More than half of the work of every cycle stays in the sheet: it heats without limit. Take shorter "
                "steps, or check the forces.",)
    return EnergyOfCycles(table, imbalance, said)


def found_frequency(time: np.ndarray, position: np.ndarray) -> float:
    """Of the sine that fits best [1/s], from half a cycle in the recording up to a third of the frame rate."""
    span = time[-1] - time[0]
    if len(time) < 6 or not np.ptp(position) > 0:
        raise DataError("cycles: the edge does not move, or fewer than six frames are there; give more.")
    centred = position - position.mean()

    def left(f: float) -> float:
        basis = np.column_stack([np.ones_like(time), np.sin(2 * np.pi * f * time), np.cos(2 * np.pi * f * time)])
        return float(((centred - basis @ np.linalg.lstsq(basis, centred, rcond=None)[0]) ** 2).sum())

    grid = np.arange(0.5, max(1.0, len(time) / 3), 0.2) / span
    best = grid[int(np.argmin([left(f) for f in grid]))]
    from scipy.optimize import minimize_scalar

    return float(minimize_scalar(left, bounds=(best - 0.2 / span, best + 0.2 / span), method="bounded",
                                 options={"xatol": 1e-7 / span}).x)
