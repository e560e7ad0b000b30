"""How much friction the motion shows over windows of k frames, and from which window on it shows all of it.

Noise of real particles remembers: over times t below its memory time τ the variance of the momentum it gives does not
yet grow as 2 kT Γ t. Seen over a window T = k dt, with forces taken off,

    2 M kT (1 - e^(-x)) = <(M Δv - ∫F dt)²>,      x = Γ(k) T/M,        (the friction itself damps it inside the window)

Γ(k) rises with k to a plateau. For a memory that decays as exp(-t/τ) (GLE, fluctuation-dissipation of the second kind)

    Γ(k) = Γ [1 - τ/T (1 - e^(-T/τ))],

of which the part c in brackets is what a window shows. A fit uses the shortest window that shows at least `ENOUGH` of
it and divides by c. Frames too far apart for x small, or a Γ(k) that still rises at the longest window, are said in
words.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vid2dyn.core.progress import Progress, silent
from vid2dyn.inference.steps import FluidSteps
from vid2dyn.inference.windows import Terms, window

LADDER = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
WINDOWS = 16
"""Windows of each length that are looked at."""
ENOUGH = 0.85
DAMPED = 0.3
"""Largest Γ T/M of a window: beyond, the velocity at its start is forgotten before its end."""
BENT = 0.8
"""Largest mean Y = T² K/m of a window, K the second derivative of the energy: beyond, what forces answer to the noise
of the window is no longer small (`vid2dyn.inference.window_score`)."""
ROOM = 8
"""Least number of windows of a length that a recording must hold."""


@dataclass(frozen=True, eq=False)
class Plateau:
    """Friction against window.

    Parameters
    ----------
    frames : (lengths,) int array
        k.
    friction, error : (lengths,) arrays
        Γ(k) of a particle [mass/s], mean over particles and directions.
    interval : float
        Time between frames [s].
    chosen : int
        k of the fit.
    level, level_error : float
        Γ of the plateau [mass/s].
    memory : float
        τ [s].
    found : bool
        Whether there is a plateau.
    """

    frames: np.ndarray
    friction: np.ndarray
    error: np.ndarray
    interval: float
    chosen: int
    level: float
    level_error: float
    memory: float
    found: bool

    def shown(self, frames: int) -> float:
        """c of a window of so many frames."""
        return share_shown(frames * self.interval, self.memory)

    def report(self) -> dict[str, Any]:
        """For the report of the model."""
        return {"frames": self.chosen, "seconds": self.chosen * self.interval,
                "friction_against_window": [[int(k), float(k * self.interval), float(g), float(e)] for k, g, e in
                                            zip(self.frames, self.friction, self.error, strict=True)],
                "plateau": self.found, "friction": self.level, "friction_stderr": self.level_error,
                "memory_time": self.memory, "shown": self.shown(self.chosen)}

    def warning(self) -> str | None:
        """What to say where there is no plateau."""
        if self.found:
            return None
        longest = self.frames[-1] * self.interval
        return (f"No plateau of friction: seen over windows of {self.frames[0] * self.interval:.3g} to {longest:.3g} s "
                f"it goes from {self.friction[0]:.3g} to {self.friction[-1]:.3g} mass/s without settling, so friction "
                "and the long-time motion are not identifiable from these frames alone. Film faster if velocities turn "
                "around between frames, record longer otherwise, or add the term PairMemory.")


def share_shown(T: float, memory: float) -> float:
    """c = 1 - τ/T (1 - e^(-T/τ)).

    >>> share_shown(1.0, 0.0), round(share_shown(1.0, 0.1), 3)
    (1.0, 0.9)
    """
    if memory <= 0:
        return 1.0
    return 1.0 - memory / T * (1.0 - math.exp(-T / memory))


def friction_against_window(data: Sequence[FluidSteps], terms: Terms, kT: float, progress: Progress = silent,
                            wanted: int | None = None) -> Plateau:
    """Γ(k) of recordings of one frame rate, up to windows that are too long or too few."""
    mass = float(np.mean([terms.mass[part.species].mean() for part in data]))
    found: list[tuple[int, float, float]] = []
    lengths = [k for k in LADDER if max(part.count for part in data) >= ROOM * k] or [1]
    for at, k in enumerate(lengths):
        progress(at, len(lengths), "friction against window")
        gamma, error, stiffness = _friction(data, terms, k, kT, mass)
        bent = stiffness * (k * data[0].dt) ** 2 > BENT
        if bent and found:
            break
        found.append((k, gamma, error))
        if bent or gamma * k * data[0].dt / mass > DAMPED:
            break
    frames = np.array([k for k, _, _ in found])
    friction, errors = np.array([g for _, g, _ in found]), np.array([e for _, _, e in found])
    dt = data[0].dt
    level, level_error, memory = saturation(frames * dt, friction, errors)
    shown = np.array([share_shown(k * dt, memory) for k in frames])
    enough = np.flatnonzero(shown >= ENOUGH)
    rising = len(frames) >= 3 and (friction[-1] - friction[-3]
                                   > 0.1 * friction[-1] + 2 * math.hypot(errors[-1], errors[-3]))
    settled = bool(len(enough)) and not rising and bool((friction > 0).all())
    chosen = int(frames[enough[0]]) if len(enough) else int(frames[-1])
    return Plateau(frames, friction, errors, dt, wanted or chosen, level, level_error, memory, settled)


def _friction(data: Sequence[FluidSteps], terms: Terms, k: int, kT: float,
              mass: float) -> tuple[float, float, float]:
    """Γ(k), its error, and K/m of a coordinate [1/s²]: forces fitted by least squares, what is left over is noise."""
    P = terms.of_energies
    alone = Terms(terms.energies, (), terms.mass)
    windows = [window(part, w, int(start), k, alone) for w, part in enumerate(data)
               for start in np.linspace(0, part.count - k, max(1, min(WINDOWS // len(data), part.count // k)))
               if part.count >= k]
    normal, right = np.zeros((P, P)), np.zeros(P)
    for one in windows:
        flat = one.columns.reshape(P, one.impulse.size)
        normal += flat @ flat.T
        right += flat @ one.impulse.ravel()
    theta = -np.linalg.lstsq(normal + 1e-9 * np.trace(normal) / max(P, 1) * np.eye(P), right, rcond=None)[0] \
        if P else np.zeros(0)
    T, sizes = k * data[0].dt, []
    for one in windows:
        left = one.impulse + np.tensordot(theta, one.columns, axes=1)
        # what the momentum of particles of each mass gets, as a rate in units of its own mass
        weight = mass / terms.mass[data[one.recording].species][:, None]
        sizes.append(float((left**2 * weight).mean()))
    size = float(np.mean(sizes))
    error = float(np.std(sizes, ddof=1) / math.sqrt(len(sizes))) if len(sizes) > 1 else size
    part = min(size / (2 * mass * kT), 0.95)
    gamma = -math.log1p(-part) * mass / T
    stiffness = float(np.mean([one.stiffness @ theta / one.impulse.size for one in windows])) if P else 0.0
    return gamma, error / (2 * kT * T * (1 - part)), max(0.0, stiffness)


def saturation(T: np.ndarray, friction: np.ndarray, error: np.ndarray) -> tuple[float, float, float]:
    """Γ, its error and τ of Γ [1 - τ/T (1 - e^(-T/τ))] by weighted least squares; for every τ the best Γ is known."""
    # short windows see the shape of the memory, which is not one exponential: they do not decide on the level
    weight = (friction >= 0.5 * friction.max()) / (error**2 + (0.02 * friction) ** 2 + 1e-300)
    best = (math.inf, 0.0, 0.0, 0.0)
    for memory in np.concatenate([[0.0], np.geomspace(0.02 * T[0], 2.0 * T[-1], 160)]):
        shape = np.array([share_shown(t, float(memory)) for t in T])
        information = float((weight * shape**2).sum())
        level = float((weight * shape * friction).sum() / information)
        misfit = float((weight * (friction - level * shape) ** 2).sum())
        if misfit < best[0]:
            best = (misfit, level, information**-0.5, float(memory))
    return best[1], best[2], best[3]
