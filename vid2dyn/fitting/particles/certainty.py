"""Error bars of a fluid's numbers, where its data were, and whether its noise forgets from step to step.

The likelihood of a fluid is that of single steps, or of windows where noise remembers (`fluid_windows`): noise of one
is independent of that of the next, what lasts is heat. Over longer windows the residual then grows as their length.
Real particles remember: a star polymer shows a quarter of its friction from frame to frame, and a fit of single steps
takes that quarter for the friction.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vid2dyn.core.errors import ModelError
from vid2dyn.dynamics.fluid.numbers import FluidNumbers
from vid2dyn.encoders.entropy import invariants
from vid2dyn.fitting.particles.fluid_likelihood import FluidLikelihood
from vid2dyn.fitting.particles.fluid_windows import NoiseByWindow
from vid2dyn.fitting.particles.scoring import widened
from vid2dyn.inference.steps import FluidSteps

BLOCKS = 12
EVERY = 4
"""Steps between those that the information of the error bars is taken from."""
NEVER = 10**9
"""The same where information is not wanted."""
STEP = 0.3
"""Standard errors by which a number is moved to see how fast the score falls."""
FROM_PRIOR = 0.5
"""Share of what is known of a direction that the prior tells, above which the score is not asked."""
LEAST_FALL = 0.2
"""Least fall of the score over its information: bands are at most five times as wide as information says."""


@dataclass(frozen=True, eq=False)
class Certainty:
    """How well a fluid is known.

    Parameters
    ----------
    covariance : (numbers, numbers) array
    excess : float
        Scatter of the score over what the information says.
    support : (3, 5) array
        Quantiles of S, V and r in the data.
    noise : NoiseByWindow
    shown : float
        Share of the noise that the windows learned from show.
    """

    covariance: np.ndarray
    excess: float
    support: np.ndarray
    noise: NoiseByWindow
    shown: float = 1.0

    def window(self, dt: float) -> dict[str, Any]:
        """For the report: friction that windows of k steps show, [k, seconds, friction, error]."""
        noise, friction = self.noise, self.noise.friction
        return {"frames": noise.frames, "seconds": noise.frames * dt, "shown": self.shown,
                "plateau": noise.away() is None, "friction": friction,
                "friction_stderr": noise.rows[0][2] * friction if noise.rows else math.inf,
                "friction_against_window": [[k, k * dt, ratio * friction, error * friction]
                                            for k, ratio, error, _ in noise.rows]}

    def warning(self) -> str | None:
        """What to say of noise that goes on remembering."""
        if (away := self.noise.away()) is None:
            return None
        k, ratio = away
        frames = self.noise.frames
        of = "single frames" if frames == 1 else f"{frames} frames"
        between = "frame to frame" if frames == 1 else "window to window"
        said = (f"Noise does not forget from {between}: over {k} frames it "
                f"is {ratio:.3g} times that of {of}, from which this fit reads temperature, friction and heat. ")
        if ratio > 1.0:
            return said + ("They are wrong by about that factor: particles have a memory, or forces that an equation "
                           "of state does not describe. Give listed terms (PairPotential and PairFriction), which "
                           "choose windows long enough, or take every " f"{k}th frame.")
        return said + ("Velocities carry noise of their own, or momentum turns back between frames. Film faster, or "
                       "give listed terms (PairPotential and PairFriction).")


def certainty(likelihood: FluidLikelihood, vector: np.ndarray) -> Certainty:
    """Of a fitted fluid, at the numbers that were learned."""
    layout, here = likelihood.begin.layout, likelihood.evaluated(vector, EVERY)
    rows = np.flatnonzero(likelihood.learned(vector))
    info, scores = here.information[np.ix_(rows, rows)], here.scores[:, rows]
    # what is carried makes scores of neighbouring steps alike: blocks are long
    recordings = np.split(scores, np.cumsum([part.count // part.frames for part in likelihood.data])[:-1])
    blocks = [b.sum(axis=0) / np.sqrt(len(b)) for s in recordings for b in np.array_split(s, min(BLOCKS, len(s)))]
    believed = likelihood.prior(vector)[0][np.ix_(rows, rows)]
    plain, excess = widened(info + believed, info / len(scores), np.array(blocks))
    thermal = np.flatnonzero(rows < layout.thermal)
    # one standard error in each direction of the thermal numbers, the others as they go with them: moved by itself a
    # number would be far out where numbers are known together better than each of them. Directions that are known from
    # the prior alone, as most of a net, need no look at the data
    try:
        root = np.linalg.cholesky(plain[np.ix_(thermal, thermal)])
        from_prior, turned = np.linalg.eigh(root.T @ believed[np.ix_(thermal, thermal)] @ root)
        moves = np.linalg.solve(root, plain[thermal]).T @ turned
        more, low = np.zeros(moves.shape), likelihood.lowest(vector)
        for k in np.flatnonzero(from_prior < FROM_PRIOR):
            for step in (STEP, -STEP):
                moved = vector.copy()
                moved[rows] += step * moves[:, k]
                if (moved[rows] < low[rows]).any():
                    continue
                try:
                    later = likelihood.evaluated(moved, NEVER).scores[:, rows]
                except ModelError:                     # no likelihood on that side: what information says is left
                    continue
                more[:, k] = (scores - later).sum(axis=0) / step - info @ moves[:, k]
                break
        fall = info.copy()
        fall[:, thermal] += np.linalg.solve(root.T, turned @ more.T).T
        known = spread(info * max(1.0, excess), fall, believed)
    except np.linalg.LinAlgError:                      # a direction of which neither data nor prior say anything
        known = plain
    if not np.isfinite(known).all():
        known = plain
    covariance = np.zeros((len(vector), len(vector)))
    covariance[np.ix_(rows, rows)] = known
    return Certainty(covariance[:layout.size, :layout.size], excess,
                     *_seen(likelihood.data, likelihood.starts(vector), likelihood.numbers(vector)),
                     likelihood.data[0].shown)


def spread(scatter: np.ndarray, fall: np.ndarray, believed: np.ndarray) -> np.ndarray:
    """Covariance of numbers at which a score with a prior is zero, A⁻¹ (J + P) A⁻ᵀ.

    The score of the recursion leaves out slopes of the filter (`vid2dyn.inference.score`). It is still zero at the
    truth in the mean and scatters as the information J says, but it need not fall by J a number: the conduction's falls
    by .6 of it, so its error is 1.6 times what the information says. One that falls faster than J does so by chance or
    because of bends within an error: nothing is known better than its information says (Cramér & Rao).

    Parameters
    ----------
    scatter : (numbers, numbers) array
        J, covariance of the score.
    fall : (numbers, numbers) array
        -∂(score)/∂(numbers), by which A = fall + P.
    believed : (numbers, numbers) array
        P, precision of the prior.
    """
    middle = scatter + believed
    size = np.sqrt(np.maximum(np.diag(middle), 1e-300))
    root = np.linalg.cholesky(middle / size[:, None] / size)
    whole = np.linalg.solve(root, np.linalg.solve(root, (fall + believed) / size[:, None] / size).T).T
    left, values, right = np.linalg.svd(whole)
    values = np.clip(values, LEAST_FALL, 1.0)
    # whole = root⁻¹ A root⁻ᵀ, so A⁻¹ (J + P) A⁻ᵀ = root⁻ᵀ (whole⁻¹ whole⁻ᵀ) root⁻¹
    half = np.linalg.solve(root.T, (right.T / values) @ left.T)
    return half @ half.T / size[:, None] / size


def _seen(data: Sequence[FluidSteps], starts: Sequence[np.ndarray],
          numbers: FluidNumbers) -> tuple[np.ndarray, NoiseByWindow]:
    """Support, and noise against window."""
    S, x, r = [], [], []
    noise, sweeps = NoiseByWindow.of(data, starts, numbers)
    for part, found in zip(data, sweeps, strict=True):
        for t in range(0, part.count, max(1, part.count // 20)):
            S.append(found.entropy[t])
            box = part.box.after((part.first_frame + t) * part.dt)
            x.append(invariants(part.position[t], part.velocity[t], box, part.cutoff).log_volume)
            r.append(part.pairs(t).r)
    at = [0, 0.025, 0.5, 0.975, 1]
    support = np.array([np.quantile(np.concatenate(S), at), np.quantile(np.exp(np.concatenate(x)), at),
                        np.quantile(np.concatenate(r), at)])
    return support, noise
