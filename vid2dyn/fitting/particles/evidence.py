"""How much better a fluid predicts than variants without some part: one temperature for all, or no structure at all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from vid2dyn.core.progress import Progress, silent
from vid2dyn.dynamics.fluid.numbers import FluidNumbers
from vid2dyn.dynamics.fluid.unconstrained import Unconstrained
from vid2dyn.dynamics.snapshot import Snapshot
from vid2dyn.inference.score import sweep
from vid2dyn.inference.steps import FluidSteps

STEPS = 400
JUDGED = 80
"""Most held-out steps whose likelihood is worked out."""
FEW = 24
"""Steps whose likelihood is worked out while fitting."""


def held_out_likelihood(data: FluidSteps, numbers: FluidNumbers, start: np.ndarray, first: int
                        ) -> tuple[np.ndarray, np.ndarray]:
    """Log-likelihood per particle and step of the `judged_windows` from step `first` on, and chi2 of all residuals,
    (windows,) each.

    Entropy is carried up to there by what was seen; every window is predicted from those before it alone.
    """
    windows = judged_windows(data, first)
    found = sweep(data, numbers, start, slopes=False, likelihood_of=windows)
    assert found.log_likelihood is not None
    return found.log_likelihood[windows.start::windows.step] / data.n / data.frames, found.chi2[windows.start:]


def some_likelihoods(data: FluidSteps, numbers: FluidNumbers, start: np.ndarray) -> np.ndarray:
    """Log-likelihood per particle and step of `FEW` even windows, nan for the others: cheap enough to look at while
    fitting."""
    count = data.count // data.frames
    found = sweep(data, numbers, start, slopes=False, likelihood_of=range(0, count, max(1, count // FEW)))
    assert found.log_likelihood is not None
    return found.log_likelihood / data.n / data.frames


def judged_windows(data: FluidSteps, first: int) -> range:
    """Windows from step `first` on whose likelihood is worked out, at most `JUDGED`: determinants are dear."""
    begin, count = -(-first // data.frames), data.count // data.frames
    return range(begin, count, max(1, math.ceil((count - begin) / JUDGED)))


def train_unconstrained(data: Sequence[FluidSteps], stops: Sequence[int], seed: int, *, width: int = 50,
                        steps: int = STEPS, progress: Progress = silent) -> tuple[Unconstrained, float, float]:
    """The structure-free variant fitted to steps before `stops`: Adam on the velocities of one frame at a time.

    Returns the dynamics, in units of the cutoff and of the time a particle takes to cross it, and both units.
    """
    cutoff = data[0].cutoff
    speed = math.sqrt(float(np.mean([(part.velocity**2).mean() for part in data])))
    tick = cutoff / max(speed, 1e-300)
    net = Unconstrained(1.0, width=width, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        net.net.weights[-1].mul_(0.1)
        net.spread.floor.copy_(torch.log(torch.tensor([_noise(data, cutoff, tick), 1e-3])))
        for radial in (net.spread.motion, net.spread.heat):
            radial.net.biases[-1].sub_(4.0)
    optimiser = torch.optim.Adam(net.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    rng = np.random.default_rng(seed)
    for k in range(steps):
        progress(k, steps, "structure-free member")
        which = int(rng.integers(len(data)))
        t = int(rng.integers(stops[which]))
        optimiser.zero_grad()
        loss = -_log_density(net, data[which], t, tick).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 10.0)
        optimiser.step()
        schedule.step()
    return net, cutoff, tick


def _noise(data: Sequence[FluidSteps], cutoff: float, tick: float) -> float:
    """Half the amplitude of independent noise with the variance of the velocity changes, scaled."""
    change = np.concatenate([np.diff(part.velocity, axis=0).ravel() for part in data])
    return 0.5 * float(change.std()) * tick / cutoff / math.sqrt(2 * data[0].dt / tick)


def _log_density(net: Unconstrained, data: FluidSteps, t: int, tick: float) -> torch.Tensor:
    """log p(v') of every particle in scaled units, (n,)."""
    scale = data.cutoff
    box = data.box.after((data.first_frame + t) * data.dt)
    x, v, new = (torch.as_tensor(a) for a in (data.position[t], data.velocity[t], data.velocity[t + 1]))
    snapshot = Snapshot.of(x, data.cutoff, box, velocity=v * tick / scale, entropy=torch.zeros(len(x)).to(x))
    snapshot = _scaled(snapshot, scale)
    dt = data.dt / tick
    mean = v * tick / scale + dt * net.drift(snapshot)[:, data.dim:2 * data.dim]
    spread = math.sqrt(2 * dt) * net.spread(snapshot)[:, :data.dim]
    z = (new * tick / scale - mean) / spread
    return (-0.5 * z * z - torch.log(spread) - 0.5 * math.log(2 * math.pi)).sum(1)


def _scaled(snapshot: Snapshot, scale: float) -> Snapshot:
    """The snapshot with lengths in units of `scale`."""
    import dataclasses

    from vid2dyn.data.box import Box

    table: dict[str, Any] = snapshot.box.to_dict()
    if table.get("lengths") is not None:
        table["lengths"] = [length / scale for length in table["lengths"]]
    return dataclasses.replace(snapshot, position=snapshot.position / scale, box=Box.from_dict(table))


def unconstrained_likelihood(net: Unconstrained, data: FluidSteps, first: int, tick: float) -> np.ndarray:
    """Log-likelihood per particle of the same steps, in µm/s as that of the fluid, (steps,).

    Of the motion relative to the centre of mass, which is (n - 1)/n of that of all.
    """
    unit = data.dim * math.log(tick / data.cutoff)
    with torch.no_grad():
        found = [float(_log_density(net, data, t, tick).mean()) + unit for t in judged_windows(data, first)]
    return np.array(found) * (1 - 1 / data.n)
