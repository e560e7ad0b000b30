"""Colloids of two species: a pair potential for every pair of species, a diffusion coefficient for each."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit

from vid2dyn.core.compiled_arrays import copy_rows
from vid2dyn.core.config import recipe
from vid2dyn.core.errors import ConfigError
from vid2dyn.core.progress import Progress, silent
from vid2dyn.data.box import Box, Periodic
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.data.units import Units
from vid2dyn.simulators.base import Simulator, TruePositions
from vid2dyn.simulators.brownian.equilibrate import _rows, lattice
from vid2dyn.simulators.brownian.forces import _nearest, lookup, moved, neighbours
from vid2dyn.simulators.brownian.pair_base import no_pair_table
from vid2dyn.simulators.brownian.pair_potentials import AnalyticPairPotential
from vid2dyn.simulators.camera.observation import observe

_STEP = 0.05       # relaxation per step of the stiffest pair, as in `Brownian`
_SWEEPS = 2000     # Monte Carlo sweeps before the dynamics
_BEFORE = 10       # frames that run before the first one that is recorded
_MOST_ENERGY = 20.0  # kT between neighbours on the starting lattice
SPECIES = ("A", "B")


@dataclass(frozen=True)
class BrownianMixture(Simulator):
    """Two species of colloids in a periodic box: dx = D F dt + sqrt(2 D dt) N(0, 1), by the stochastic Heun scheme.

    F is the sum of the forces of pair_aa, pair_ab or pair_bb, as the two particles are; D is that of the species.
    Particles start on a lattice, the species mixed at random, and are brought to the Boltzmann distribution by Monte
    Carlo. The table of detections has a column `species` with "A" and "B".

    Parameters
    ----------
    n_a, n_b : int
        Number of particles of each species.
    frames : int
        Number of frames recorded.
    frames_per_second : float
        Frame rate of the recording [1/s].
    diffusion_a, diffusion_b : float
        Diffusion coefficient of a single particle of each species [µm²/s].
    pair_aa, pair_ab, pair_bb : AnalyticPairPotential, optional
        Pair potential of two particles of species A, of one of each, and of two of species B; by default they do not
        interact.
    box_length : float
        Edge of the periodic box [µm].
    exposure : float
        Time for which the shutter is open in each frame [s]; from 0 to 1/frames_per_second.
    localisation_error : float
        Standard deviation of the noise on each coordinate [µm].
    micrometre_per_pixel : float
        Length of one pixel [µm]; the table of detections is in pixels.

    Raises
    ------
    ConfigError
        At construction, for arguments out of range, a box shorter than twice a cutoff, particles too dense to place.

    Examples
    --------
    >>> from vid2dyn.simulators import Yukawa
    >>> sim = BrownianMixture(n_a=20, n_b=10, frames=5, pair_aa=Yukawa(), pair_ab=Yukawa(), box_length=12.0)
    >>> tracks = sim.run(seed=1)
    >>> tracks.dataframe.groupby("species")["particle"].nunique().to_dict()
    {'A': 20, 'B': 10}
    """

    n_a: int = 60
    n_b: int = 60
    frames: int = 200
    frames_per_second: float = 100.0
    diffusion_a: float = 0.405
    diffusion_b: float = 0.405
    pair_aa: AnalyticPairPotential | None = None
    pair_ab: AnalyticPairPotential | None = None
    pair_bb: AnalyticPairPotential | None = None
    box_length: float = 18.0
    exposure: float = 0.0
    localisation_error: float = 0.0
    micrometre_per_pixel: float = 0.1

    def __post_init__(self) -> None:
        for key in ("n_a", "n_b", "frames"):
            if getattr(self, key) < 1 or getattr(self, key) != int(getattr(self, key)):
                raise ConfigError(f"BrownianMixture({key}={getattr(self, key)!r}): give a whole number, 1 or more.")
        for key in ("frames_per_second", "diffusion_a", "diffusion_b", "box_length", "micrometre_per_pixel", "exposure",
                    "localisation_error"):
            value, zero = getattr(self, key), key in ("exposure", "localisation_error")
            if not (math.isfinite(value) and (value > 0 or (zero and value == 0))):
                raise ConfigError(f"BrownianMixture({key}={value!r}): it must be {'zero or ' if zero else ''}positive.")
        if self.exposure * self.frames_per_second > 1 + 1e-9:
            raise ConfigError(f"BrownianMixture(exposure={self.exposure:g}): the shutter cannot be open longer than "
                              f"one frame, 1/frames_per_second = {1 / self.frames_per_second:g} s.")
        spacing = lattice(self.n_a + self.n_b, 2, self.box_length)[1]
        for key in ("pair_aa", "pair_ab", "pair_bb"):
            pair = getattr(self, key)
            if pair is None:
                continue
            if self.box_length < 2 * pair.reach:
                raise ConfigError(f"BrownianMixture(box_length={self.box_length:g}): the box is shorter than twice the "
                                  f"cutoff of {key} ({pair.reach:g} µm). Give box_length >= {2 * pair.reach:.4g} or a "
                                  "shorter cutoff.")
            contact = float(pair.energy(max(spacing, pair.core)))
            if contact > _MOST_ENERGY:
                raise ConfigError(f"BrownianMixture(box_length={self.box_length:g}): too dense to place: neighbours at "
                                  f"the mean spacing of {spacing:.3g} µm repel with {contact:.3g} kT ({key}; limit "
                                  f"{_MOST_ENERGY:g}). Take a longer box or fewer particles.")

    @property
    def units(self) -> Units:
        """Calibration of the recording."""
        return Units(self.micrometre_per_pixel, self.frames_per_second, self.exposure)

    @property
    def box(self) -> Box:
        """Space the particles live in."""
        return Periodic((self.box_length, self.box_length))

    def pair_of(self, first: str, second: str) -> AnalyticPairPotential | None:
        """The potential of two species, in either order."""
        return getattr(self, "pair_" + "".join(sorted((first + second).lower())))

    def run(self, seed: int = 0, progress: Progress = silent) -> Trajectories:
        """Simulate and observe: `Trajectories` with columns `species`, `y_std`, `x_std` and `.info["truth"]`."""
        path = self.path(seed, progress=progress)
        species = np.broadcast_to(np.array(SPECIES)[self._species()], path.middle.shape[:2])
        return observe(path.positions, path.units, np.random.default_rng(np.random.SeedSequence(seed).spawn(3)[2]),
                       localisation_error=self.localisation_error, box=path.box,
                       info={"source": "simulated", "truth": path.truth}, columns={"species": species})

    def path(self, seed: int = 0, parts: int = 1, progress: Progress = silent) -> TruePositions:
        """The true path, with the exposure cut into `parts` (1, 2, 4, 8 or 16 keep the same path)."""
        if parts < 1:
            raise ConfigError(f"parts = {parts}: the exposure has at least one part.")
        thermal, dynamics, _ = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(3))
        species, n = self._species(), self.n_a + self.n_b
        lengths = np.full(2, self.box_length)
        tables = [no_pair_table() if pair is None else pair.table() for pair in
                  (self.pair_aa, self.pair_ab, self.pair_bb)]
        shape = (max(len(t.energy) for t in tables), 4)
        energy, force = (np.zeros((3, *shape)) for _ in range(2))
        for k, table in enumerate(tables):
            energy[k, :len(table.energy)], force[k, :len(table.force)] = table.energy, table.force
        ranges = np.array([[t.start, t.per_length, t.cutoff] for t in tables])
        x, spacing = lattice(n, 2, self.box_length)
        x = x[thermal.permutation(n)]
        if ranges[:, 2].max() > 0:
            _metropolis(x, species, thermal, _SWEEPS, spacing / 4, lengths, ranges, energy)
        else:
            x = thermal.uniform(0, self.box_length, x.shape)
        schedule, D = self._schedule(math.lcm(16, parts)), np.array([self.diffusion_a, self.diffusion_b])[species]
        positions, middle = np.empty((self.frames, parts, n, 2)), np.empty((self.frames, n, 2))
        forces = np.empty_like(middle)
        for frame in range(-_BEFORE, self.frames):
            k = max(frame, 0)                                    # what runs before is overwritten by the first frame
            _advance(x, species, dynamics, D, schedule, lengths, ranges, force, positions[k], middle[k], forces[k])
            progress(frame + _BEFORE + 1, _BEFORE + self.frames, "simulating")
        truth = {"simulator": recipe(self), "seed": seed, "localisation_error": self.localisation_error,
                 "diffusion_A": self.diffusion_a, "diffusion_B": self.diffusion_b}
        return TruePositions(positions, middle, forces, self.units, self.box, truth)

    def _species(self) -> np.ndarray:
        """(n,) 0 for A, 1 for B."""
        return np.repeat(np.arange(2), (self.n_a, self.n_b))

    def _schedule(self, multiple: int) -> tuple[int, float, int, float]:
        """Steps while the shutter is open, their length [s], steps while it is closed, their length [s]."""
        longest = frame = 1 / self.frames_per_second
        stiffest = max((2 * pair.stiffness for pair in (self.pair_aa, self.pair_ab, self.pair_bb) if pair), default=0.0)
        if stiffest > 0:
            longest = min(longest, _STEP / (max(self.diffusion_a, self.diffusion_b) * stiffest))
        closed = max(frame - self.exposure, 0.0)
        n_open = multiple * math.ceil(self.exposure / longest / multiple - 1e-9)
        n_closed = math.ceil(closed / longest - 1e-9) if closed > 1e-9 * frame else 0
        return n_open, self.exposure / max(n_open, 1), n_closed, closed / max(n_closed, 1)


@njit(cache=True)
def _pair_energy(point, i, x, species, members, lengths, ranges, energy):
    """Energy [kT] of particle i if it were at `point`; pairs A-A, A-B, B-B have tables 0, 1, 2."""
    total = 0.0
    for j in members:
        r2 = 0.0
        for k in range(2):
            r2 += _nearest(point[k] - x[j, k], lengths[k]) ** 2
        kind = species[i] + species[j]
        if r2 < ranges[kind, 2] ** 2:
            r = math.sqrt(r2)
            total += lookup(r, ranges[kind, 0], ranges[kind, 1], energy[kind])
            if r < ranges[kind, 0]:             # the table is flat there; a slope keeps particles out
                total += 1e3 * (ranges[kind, 0] - r) * ranges[kind, 1]
    return total


@njit(cache=True)
def _metropolis(x, species, rng, sweeps, reach, lengths, ranges, energy):
    """`sweeps` tries to move every particle, in place; the step length is tuned in the first half.

    Metropolis et al., J. Chem. Phys. 21, 1087 (1953); energies in kT.
    """
    n = x.shape[0]
    cutoff = 0.0
    for kind in range(ranges.shape[0]):
        cutoff = max(cutoff, ranges[kind, 2])
    skin = max(0.5 * cutoff, 6 * reach)
    step, tried, taken = reach, 0, 0
    first, member = _rows(neighbours(x, lengths, cutoff + skin), n)
    reference, trial = x.copy(), np.empty(2)
    for sweep in range(sweeps):
        for i in range(n):
            r2 = 0.0
            for k in range(2):
                trial[k] = x[i, k] + step * (2 * rng.random() - 1)
                r2 += (trial[k] - reference[i, k]) ** 2
            if r2 > 0.25 * skin * skin:
                first, member = _rows(neighbours(x, lengths, cutoff + skin), n)
                reference = x.copy()
            members = member[first[i]:first[i + 1]]
            change = (_pair_energy(trial, i, x, species, members, lengths, ranges, energy)
                      - _pair_energy(x[i], i, x, species, members, lengths, ranges, energy))
            tried += 1
            if change <= 0.0 or rng.random() < math.exp(-change):
                x[i] = trial
                taken += 1
        if tried >= 20 * n and 2 * sweep < sweeps:
            step = min(step * (1.2 if taken > 0.4 * tried else 0.8), reach)
            tried, taken = 0, 0


@njit(cache=True)
def _add_forces(x, species, pairs, lengths, ranges, table, force):
    """Pair forces [kT/µm] into `force`."""
    force[:] = 0.0
    d = np.empty(2)
    for p in range(pairs.shape[0]):
        i, j = pairs[p, 0], pairs[p, 1]
        r2 = 0.0
        for k in range(2):
            d[k] = _nearest(x[i, k] - x[j, k], lengths[k])
            r2 += d[k] * d[k]
        kind = species[i] + species[j]
        if 0.0 < r2 < ranges[kind, 2] ** 2:
            r = math.sqrt(r2)
            f = lookup(r, ranges[kind, 0], ranges[kind, 1], table[kind]) / r
            for k in range(2):
                force[i, k] += f * d[k]
                force[j, k] -= f * d[k]


@njit(cache=True)
def _advance(x, species, rng, D, schedule, lengths, ranges, table, parts, middle, force_middle):
    """One frame by stochastic Heun steps, with the mean position over each part of the exposure; x in place.

    The mean over a step takes the Brownian bridge into account, N(0, 2 D h/12), as `forces.advance_frame` does.
    """
    n_open, h_open, n_closed, h_closed = schedule
    cutoff = 0.0
    for kind in range(ranges.shape[0]):
        cutoff = max(cutoff, ranges[kind, 2])
    skin = 0.25 * cutoff
    pairs, reference = neighbours(x, lengths, cutoff + skin), x.copy()
    f0, f1, trial = np.empty_like(x), np.empty_like(x), np.empty_like(x)
    parts[:] = 0.0
    per_part = max(n_open // parts.shape[0], 1)
    for step in range(n_open + n_closed):
        is_open = step < n_open
        h = h_open if is_open else h_closed
        if cutoff > 0.0 and moved(x, reference) > 0.1225 * skin * skin:
            pairs, reference = neighbours(x, lengths, cutoff + skin), x.copy()
        _add_forces(x, species, pairs, lengths, ranges, table, f0)
        if step == n_open // 2:
            copy_rows(x, middle)
            copy_rows(f0, force_middle)
        for i in range(x.shape[0]):
            for k in range(2):
                kick = math.sqrt(2 * D[i] * h) * rng.standard_normal()
                trial[i, k] = x[i, k] + D[i] * h * f0[i, k] + kick
                f0[i, k] = kick + 0.5 * D[i] * h * f0[i, k]      # noise and half the drift stay in the step
        _add_forces(trial, species, pairs, lengths, ranges, table, f1)
        for i in range(x.shape[0]):
            for k in range(2):
                old = x[i, k]
                x[i, k] = old + f0[i, k] + 0.5 * D[i] * h * f1[i, k]
                if is_open:
                    average = 0.5 * (old + x[i, k]) + math.sqrt(D[i] * h / 6) * rng.standard_normal()
                    parts[step // per_part, i, k] += average / per_part
    if n_open == 0:
        for part in range(parts.shape[0]):
            copy_rows(middle, parts[part])
