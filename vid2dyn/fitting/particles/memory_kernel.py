"""How the noise of pairs remembers, from how much of it windows of different lengths show.

For friction with the kernel Γ [w_0 2 δ(t) + sum_m w_m exp(-t/τ_m)/τ_m], sum w = 1, fluctuation-dissipation gives the
noise of a window of length T the variance 2 kT Γ T c(T) with

    c(T) = 1 - sum_m w_m (τ_m/T) (1 - e^(-T/τ_m)).

c is measured window by window as |R|² over 2 kT tr A, with R the momentum change of which forces and friction of a
fitted model have been taken off (`vid2dyn.inference.windows`), for windows of 1, 2, 3, ... frames: no damping
correction is needed. Weights are found by least squares that keep them positive, on a grid of times. Modes are added as
long as they are worth more on held-out windows than chance gives. The level of the plateau, by which the friction of
the fitted model is to be multiplied, is the measured one where there is a plateau: real kernels are not sums of few
exponentials, and their fit runs on to a level that is 4-6 % too high (star polymers).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import nnls

from vid2dyn.core.progress import Progress, silent
from vid2dyn.inference.steps import FluidSteps
from vid2dyn.inference.window_score import Numbers
from vid2dyn.inference.windows import Terms, configuration, mixed, window

LENGTHS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96)
ROOM = 6
"""Least number of windows of a length that the recordings must hold."""
WINDOWS = 20
"""Windows of each length that are looked at."""
MOMENTS = 9
"""Most moments of a window at which its friction is evaluated."""
DAMPED = 0.6
"""Largest mean Γ T/m of a window."""
TIMES = 24
"""Times on the grid of memory times."""
MODES = 3
RISE = 0.15
"""Least part of the plateau that the shortest windows must miss for their noise to have a memory: smaller ones are
errors of forces, which look alike."""


@dataclass(frozen=True, eq=False)
class Shares:
    """c of windows of several lengths.

    Parameters
    ----------
    frames : (lengths,) int array
    seconds : (lengths,) array
    share, error : (lengths,) arrays
        |R|² over 2 kT tr A, and its standard error from window to window.
    friction : float
        Γ of a particle in the fitted model [mass/s].
    """

    frames: np.ndarray
    seconds: np.ndarray
    share: np.ndarray
    error: np.ndarray
    friction: float


@dataclass(frozen=True)
class Kernel:
    """Weights and times of memory modes, and the level of friction that goes with them.

    Parameters
    ----------
    times, weights : tuples of float
        τ_m [s] and w_m; what is missing to one in the weights acts at once.
    level : float
        Friction of the plateau over that of the fitted model.
    """

    times: tuple[float, ...] = ()
    weights: tuple[float, ...] = ()
    level: float = 1.0

    def shown(self, T: float) -> float:
        """c of a window of length T.

        >>> Kernel().shown(1.0), round(Kernel((0.1,), (1.0,)).shown(1.0), 3)
        (1.0, 0.9)
        """
        return 1.0 - sum(w * t / T * (1.0 - math.exp(-T / t)) for t, w in zip(self.times, self.weights, strict=True))


def noise_shares(recordings: Sequence[FluidSteps], terms: Terms, numbers: Numbers,
                 progress: Progress = silent) -> Shares:
    """c of windows of all lengths that the recordings have room for."""
    phi = numbers.theta[terms.of_energies:]
    dt = recordings[0].dt
    frames, share, error, frictions = [], [], [], []
    lengths = [k for k in LENGTHS if sum(part.count // k for part in recordings) >= ROOM] or [1]
    for at, k in enumerate(lengths):
        progress(at, len(lengths), "friction against window")
        ratios = []
        places = [(part, int(start)) for part in recordings
                  for start in np.linspace(0, part.count - k, max(1, min(WINDOWS // len(recordings), part.count // k)))
                  if part.count >= k]
        for part, start in places:
            one = window(part, 0, start, k, terms)
            left = one.impulse + np.tensordot(numbers.theta, one.columns, axes=1)
            moments = np.unique(np.linspace(0, k, min(MOMENTS, k + 1)).round().astype(int))
            weights = (np.gradient(moments.astype(float)) if len(moments) > 2
                       else np.full(len(moments), k / len(moments)))
            weights[[0, -1]] = np.diff(moments)[[0, -1]] / 2 if len(moments) > 1 else weights[0]
            mix = mixed([configuration(part, start + int(m), terms.friction_reach, len(terms.mass)) for m in moments],
                        list(weights * dt), terms)
            size = 2.0 * numbers.kT * float(mix.matrix(phi, numbers.unexplained * mix.length).diagonal().mean())
            ratios.append(float((left**2).mean()) / size)
            frictions.append(size / (2.0 * numbers.kT * mix.length))
        frames.append(k)
        share.append(float(np.mean(ratios)))
        error.append(float(np.std(ratios, ddof=1) / math.sqrt(len(ratios))) if len(ratios) > 1 else share[-1])
        mass = float(np.mean(terms.mass))
        if np.mean(frictions) * k * dt / mass > DAMPED:
            break
    found = np.array(frames)
    return Shares(found, found * dt, np.array(share), np.maximum(np.array(error), 0.005 * np.array(share)),
                  float(np.mean(frictions)))


def kernel_of(shares: Shares, modes: int) -> Kernel:
    """The best kernel with at most so many modes: level and weights by least squares for every choice of times."""
    T = shares.seconds
    grid = np.geomspace(0.3 * T[0], max(0.5 * T[-1], 1.01 * 0.3 * T[0]), TIMES)
    instant = np.ones((len(T), 1))
    best, found = math.inf, Kernel(level=1.0)
    for times in itertools.combinations(range(TIMES), modes):
        chosen = grid[list(times)]
        shape = 1.0 - chosen / T[:, None] * (1.0 - np.exp(-T[:, None] / chosen))
        columns = np.concatenate([instant, shape], axis=1) / shares.error[:, None]
        amplitude, misfit = nnls(columns, shares.share / shares.error)
        level = float(amplitude.sum())
        if misfit < best and level > 0:
            best = misfit
            kept = amplitude[1:] > 1e-3 * level
            weights = amplitude[1:][kept] / level
            found = Kernel(tuple(float(t) for t in chosen[kept]), tuple(float(w) for w in weights), level)
    return found


def chosen_kernel(shares: Shares, judged: Shares, most: int = MODES) -> tuple[Kernel, list[dict[str, Any]]]:
    """The kernel with the number of modes that held-out windows want, and what each number of modes gains on them.

    Gains are in squared misfits of c on windows that the kernel was not fitted to; a mode must gain more than 4, which
    chance alone gives once in twenty.
    """
    common = np.isin(judged.frames, shares.frames)
    tried, best = [], Kernel()
    before = math.inf
    for modes in range(0, most + 1):
        kernel = kernel_of(shares, modes)
        model = kernel.level * np.array([kernel.shown(t) for t in judged.seconds[common]])
        misfit = float((((judged.share[common] - model) / judged.error[common]) ** 2).sum())
        # misfits beyond their errors are of the model, and count for all numbers of modes alike
        scale = max(1.0, misfit / max(1, int(common.sum()) - 2 * modes))
        better = modes == 0 or misfit < before - 4.0 * scale
        if modes == 1 and _rise(shares) < RISE:
            better = False
        tried.append({"modes": modes, "misfit_held_out": misfit, "times": list(kernel.times),
                      "weights": list(kernel.weights), "kept": bool(better)})
        if not better:
            break
        best, before = kernel, misfit
    return best, tried


def unexplained_rise(shares: Shares, kernel: Kernel) -> str | None:
    """What to say of noise that grows with the window and is not taken for memory."""
    rise = _rise(shares)
    if kernel.times or rise < 0.05:
        return None
    return (f"Noise over long windows is {100 * rise:.0f} % more than over short ones. That is too little for a memory "
            "of the friction; forces that the list does not describe do it: a range that is too short for a force that "
            "ends abruptly, a missing term, or too few knots. Forces are off by more than their bands say.")


def _rise(shares: Shares) -> float:
    """Part of what the longer half of the windows shows that the shortest does not."""
    later = slice(len(shares.share) // 2, None)
    top = float(np.average(shares.share[later], weights=shares.error[later] ** -2))
    return 1.0 - (float(shares.share[0]) + 2.0 * float(shares.error[0])) / max(top, 1e-300)


def plateau_share(shares: Shares, kernel: Kernel) -> float:
    """c of the plateau: the mean over windows that show 95 % of a kernel, or where there are none its level."""
    long = np.array([kernel.shown(t) >= 0.95 for t in shares.seconds])
    if not long.any():
        return kernel.level
    return float(np.average(shares.share[long], weights=shares.error[long] ** -2))


def share_of(shares: Shares, kernel: Kernel, frames: int) -> float:
    """Part of the plateau that windows of so many frames show: measured, or of the kernel where not measured."""
    at = np.flatnonzero(shares.frames == frames)
    if not len(at) or not kernel.times:
        return kernel.shown(frames * float(shares.seconds[0] / shares.frames[0]))
    return min(1.0, float(shares.share[at[0]]) / plateau_share(shares, kernel))


def share_error(shares: Shares, kernel: Kernel, frames: int) -> float:
    """Relative error of `share_of`: of the windows, and by how much the level of the kernel is not that of the plateau.

    >>> short = Shares(np.array([1, 2]), np.array([0.1, 0.2]), np.array([1.0, 1.0]), np.array([0.03, 0.04]), 2.0)
    >>> share_error(short, Kernel(), 1)
    0.0
    """
    if not kernel.times:
        return 0.0
    at = int(np.argmin(np.abs(shares.frames - frames)))
    level = plateau_share(shares, kernel)
    return math.hypot(float(shares.error[at] / shares.share[at]), (kernel.level - level) / level,
                      float(shares.error[-1] / shares.share[-1]))


def not_reached(shares: Shares, kernel: Kernel) -> str | None:
    """What to say where no window shows 95 % of the friction, so that its level is that of a fitted memory.

    >>> times = np.array([0.1, 0.2])
    >>> both = Shares(np.array([1, 2]), times, np.array([0.5, 0.7]), np.array([0.01, 0.01]), 2.0)
    >>> not_reached(both, Kernel()) is None, not_reached(both, Kernel((0.1,), (1.0,))) is None
    (True, False)
    """
    shown = kernel.shown(float(shares.seconds[-1]))
    if shown >= 0.95:
        return None
    times = ", ".join(f"{t:.2g}" for t in kernel.times)
    return (f"The plateau of friction was not reached: the longest window that could be used, {shares.seconds[-1]:.3g} "
            f"s, shows {100 * shown:.0f} % of what its memory (times {times} s) is thought to go on to. Friction and "
            "long-time motion are not identifiable from these windows to better than "
            "the rest; compare a rollout's displacements with the data.")
