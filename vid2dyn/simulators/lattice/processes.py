"""Lattice processes on a ring: particles that hop, hindered or helped by their neighbours; and zero-range piles.

`Arrhenius`: a particle at i hops to an empty neighbour at rate N² d exp(-U_i), U_i = sum_r J(r) η_{i±r} (Huang et al.,
arXiv 2312.05810, §2). `ZeroRange`: a pile of n loses a particle to either side at rate N² d g(n). Both start at local
equilibrium with a density profile and are stepped exactly (uniformisation, `kernels`).

Their exact limits are in `limits`, for tests and reports; nothing that learns imports them.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np

import vid2dyn.simulators.lattice.limits as limits
from vid2dyn.core.config import recipe
from vid2dyn.core.errors import ConfigError
from vid2dyn.core.progress import Progress, silent
from vid2dyn.data.fields import Fields
from vid2dyn.simulators.base import Simulator
from vid2dyn.simulators.lattice.kernels import exclusion, thresholds, zero_range

WINDOWS, USUAL = (100.0, 200.0, 400.0), 1.5
"""Times that are kept, and the largest D, over that of free particles, for which they are short enough."""
PILOTS, PILOT_WAVE, PILOT_WAVES = 5, 40, 1500
"""Densities of a pilot; the wavelength that it follows [sites]; how many such waves, over all realisations."""
PIECE = 200_000_000
"""Trials between two reports of progress."""


@dataclass(frozen=True)
class Lattice(Simulator):
    """What lattice processes share: the ring, the starts, the times.

    Parameters
    ----------
    sites : int
        Number N of sites of the ring, whose length is 1.
    starts : sequence of (mean, amplitude, waves)
        Density profiles mean + amplitude cos(2π waves x) that the process starts from [particles per site].
    realisations : int
        Number of realisations of every start.
    windows : sequence of float
        Times at which states are kept, beside the start, in microscopic units t_mic = N² d t: the mean number of hops
        of a free particle to one side. Empty: 100, 200 and 400, or shorter ones where a pilot shows that densities
        spread faster than free particles do (`settled_windows`).
    d : float
        Rate of a hop of a free particle to one side, after diffusive scaling [1/time].
    """

    makes: ClassVar[Literal["trajectories", "fields"]] = "fields"

    sites: int = 500
    starts: tuple[tuple[float, float, int], ...] = ((0.5, 0.4, 1), (0.5, 0.2, 1))
    realisations: int = 1000
    windows: tuple[float, ...] = ()
    d: float = 1.0

    def __post_init__(self) -> None:
        kind = type(self).__name__
        if self.sites < 4:
            raise ConfigError(f"{kind}: sites = {self.sites}; a ring needs at least 4.")
        if self.realisations < 1:
            raise ConfigError(f"{kind}: realisations = {self.realisations}; give at least 1.")
        if not self.d > 0:
            raise ConfigError(f"{kind}: d = {self.d!r} must be positive.")
        windows = np.asarray(self.windows, dtype=float)
        if not (np.diff(windows, prepend=0.0) > 0).all() or not np.isfinite(windows).all():
            raise ConfigError(f"{kind}: windows = {self.windows!r}; give positive times, increasing.")
        if not len(self.starts):
            raise ConfigError(f"{kind}: no starts; give at least one (mean, amplitude, waves).")
        for start in self.starts:
            if len(start) != 3:
                raise ConfigError(f"{kind}: start {start!r}; give (mean, amplitude, waves).")
            low, high = start[0] - abs(start[1]), start[0] + abs(start[1])
            if not (low >= 0 and high <= self._fullest):
                raise ConfigError(f"{kind}: start {tuple(start)} has densities from {low:g} to {high:g}; they must "
                                  f"stay between 0 and {self._fullest:g} particles per site.")

    @property
    @abstractmethod
    def _fullest(self) -> float:
        """Highest density a site can have."""

    @property
    @abstractmethod
    def _rate(self) -> float:
        """Highest rate of a hop to one side in units of N² d."""

    def trials(self, profile: np.ndarray, time: float) -> float:
        """Mean number of trials of one realisation of a profile (sites,) over a microscopic time."""
        return float(self._choices(np.atleast_2d(profile))[0] * self._rate * time)

    @abstractmethod
    def limit(self, rho: Any) -> limits.Limit:
        """Exact free energy and mobility at densities `rho`."""

    def true_function(self, name: str, x: np.ndarray) -> np.ndarray | None:
        """What `limit` says of free_energy, curvature, mobility and diffusion, where it has an exact answer."""
        if name not in ("free_energy", "curvature", "mobility", "diffusion"):
            return None
        try:
            return getattr(self.limit(x), name)
        except ConfigError:                     # a kernel without exact mobility, or densities that it cannot have
            return None

    @abstractmethod
    def _draw(self, profile: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(realisations, sites) local-equilibrium states."""

    @abstractmethod
    def _advance(self, values: np.ndarray, trials: np.ndarray, seeds: np.ndarray) -> None:
        """Fill values[:, 1:] from values[:, 0]."""

    @abstractmethod
    def _choices(self, start: np.ndarray) -> np.ndarray:
        """(realisations,) how many hops a trial picks from, by bond or by particle and side."""

    @cached_property
    def settled_windows(self) -> tuple[float, ...]:
        """Times at which states are kept: `windows`, or those of a pilot (the same for every seed).

        A window ends before densities have spread over two elements of ten sites, in which a learner looks at their
        fluctuations. `WINDOWS` do for D up to `USUAL`; faster processes get shorter ones, each twice the one before.
        (At -1.5 kT between neighbours, where D goes up to 6, m comes out 4 to 7 % off with the usual ones and 1.5 %
        with these, f'' 2 to 5 % and 2 to 4 %; 500 sites, 1000 realisations.)
        """
        if self.windows:
            return tuple(self.windows)
        fastest = max((pilot_diffusion(self, float(rho)) for rho in self._pilot_densities()), default=0.0)
        if fastest <= USUAL:
            return WINDOWS
        first, last = WINDOWS[0] * USUAL / fastest, WINDOWS[-1]
        # mobility is read from the first ones, the drift from all: one more than usual where there is room
        return tuple(float(f"{first * 2**k:.2g}") for k in range(4) if first * 2**k <= last)

    def _pilot_densities(self) -> np.ndarray:
        """Densities of the starts; none where nothing hops faster than a free particle."""
        if self._rate <= 1:
            return np.zeros(0)
        profiles = self.profiles()
        return np.linspace(max(profiles.min(), 0.02), max(profiles.max(), 0.04), PILOTS)

    def profiles(self) -> np.ndarray:
        """(starts, sites) density profiles."""
        x = np.arange(self.sites) / self.sites
        return np.stack([mean + amplitude * np.cos(2 * np.pi * waves * x) for mean, amplitude, waves in self.starts])

    def run(self, seed: int = 0, progress: Progress = silent) -> Fields:
        """Simulate; `Fields.times` are macroscopic, t = t_mic / (N² d)."""
        return self.run_from(self.profiles(), seed, progress)

    def run_from(self, profiles: np.ndarray, seed: int = 0, progress: Progress = silent) -> Fields:
        """As `run`, from any density profiles (starts, sites) in place of those of `starts`.

        Raises
        ------
        ConfigError
            When they have another number of sites, or densities that a site cannot have.
        """
        profiles = np.atleast_2d(np.asarray(profiles, dtype=float))
        if profiles.shape[1] != self.sites or not ((profiles >= 0) & (profiles <= self._fullest)).all():
            raise ConfigError(f"{type(self).__name__}: profiles of shape {profiles.shape} with densities from "
                              f"{profiles.min():g} to {profiles.max():g}; give (starts, {self.sites}) between 0 and "
                              f"{self._fullest:g}.")
        rng = np.random.default_rng(seed)
        windows = np.asarray(self.settled_windows, dtype=float)
        waits = np.diff(windows, prepend=0.0)
        count = self.realisations * len(profiles)
        values = np.zeros((count, len(waits) + 1, self.sites), dtype=np.int16 if self._fullest > 1 else np.uint8)
        for s, profile in enumerate(profiles):
            values[s * self.realisations:(s + 1) * self.realisations, 0] = self._draw(profile, rng)
        trials = rng.poisson(self._choices(values[:, 0])[:, None] * self._rate * waits)
        seeds = rng.integers(2**64, size=count, dtype=np.uint64)
        some = max(1, int(PIECE / max(1.0, trials.sum() / count)))
        for first in range(0, count, some):
            progress(first, count, "simulate")
            part = slice(first, first + some)
            self._advance(values[part], trials[part], seeds[part])
        progress(count, count, "simulate")
        times = np.append(0.0, windows) / (self.sites**2 * self.d)
        start = np.repeat(np.arange(len(profiles)), self.realisations)
        return Fields(values, times, start, {"truth": recipe(self), "seed": seed})


def pilot_diffusion(process: Lattice, density: float) -> float:
    """D of a small wave at a uniform density, over that of free particles, to a tenth: at equilibrium the amplitude of
    a wave of wavenumber k remembers itself as exp(-D k² t).
    """
    number = max(1, process.sites // PILOT_WAVE)
    k = 2 * np.pi * number / process.sites
    some = range(max(1, number - 3), number + 1)
    time, left = 0.3 / k**2, 0.0
    count = max(20, PILOT_WAVES // len(some))
    for _ in range(4):
        pilot = replace(process, starts=((density, 0.0, 1),), realisations=count, windows=(time,), d=1.0)
        wave = np.fft.rfft(pilot.run(seed=0).values.astype(float), axis=2)[:, :, some]
        scale = (np.array(some) / number) ** 2
        kept = (wave[:, 1] * wave[:, 0].conj()).real.sum(axis=0) / (np.abs(wave[:, 0]) ** 2).sum(axis=0)
        left = float(np.mean(-np.log(np.clip(kept, 0.02, None)) / scale))
        if left < 1.2:
            break
        time /= 4
    return left / (k**2 * time)


@dataclass(frozen=True)
class Arrhenius(Lattice):
    """Exclusion with Arrhenius rates. Without kernel: the symmetric exclusion process.

    sites, starts, realisations, windows and d are those of `Lattice`.

    Parameters
    ----------
    kernel : sequence of float, or table of distance -> energy
        Interaction energies J(1), J(2), ... of two particles at that distance on the ring [kT]; positive ones attract.
        Up to range 8. A table such as {-1: 1.0, 1: 1.0} may name both sides, which must agree.
    kac_range : int, optional
        Range of a box kernel, which takes the place of `kernel`: J(r) = kac_strength / (2 kac_range) for r up to
        kac_range.
    kac_strength : float, optional
        Strength of that box kernel [kT].

    Examples
    --------
    >>> fields = Arrhenius(sites=100, kernel=(1.0,), realisations=10, windows=(5.0,)).run(seed=0)
    >>> fields.values.shape, bool((fields.values.sum(axis=2)[:, 0] == fields.values.sum(axis=2)[:, 1]).all())
    ((20, 2, 100), True)
    """

    kernel: tuple[float, ...] | dict[int, float] = ()
    kac_range: int | None = None
    kac_strength: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.kernel, dict):
            object.__setattr__(self, "kernel", _one_sided(self.kernel))
        if (self.kac_range is None) != (self.kac_strength is None):
            raise ConfigError("Arrhenius: kac_range and kac_strength belong together; give both or neither.")
        if self.kac_range is not None and self._listed:
            raise ConfigError("Arrhenius: give kernel or kac_range with kac_strength, not both.")
        if len(self._listed) > limits.LONGEST:
            raise ConfigError(f"Arrhenius: a kernel of range {len(self._listed)}; tables go to range {limits.LONGEST}. "
                              "For a box of long range use kac_range and kac_strength.")
        if not np.isfinite(self._listed or 0.0).all():
            raise ConfigError(f"Arrhenius: kernel = {self.kernel!r}; energies must be finite.")
        if self.reach > (self.sites - 1) // 2:
            raise ConfigError(f"Arrhenius: range {self.reach} on {self.sites} sites; a particle would "
                              "interact with a site from both sides. Use more sites.")

    @property
    def _listed(self) -> tuple[float, ...]:
        """`kernel`, which is a tuple once the constructor has seen it."""
        assert not isinstance(self.kernel, dict)
        return tuple(self.kernel)

    @property
    def reach(self) -> int:
        """Range of the kernel [sites]."""
        return self.kac_range if self.kac_range is not None else len(self._listed)

    @property
    def _box_energy(self) -> float | None:
        """J of a box kernel, None for other kernels."""
        if self.kac_range is not None:
            assert self.kac_strength is not None
            return self.kac_strength / (2 * self.kac_range)
        if len(set(self._listed)) <= 1:
            return self._listed[0] if self._listed else 0.0
        return None

    @property
    def energies(self) -> tuple[float, ...]:
        """J(1), ..., J(reach)."""
        box = self._box_energy
        return self._listed if box is None else (box,) * self.reach

    @property
    def _fullest(self) -> float:
        return 1.0

    @property
    def _rate(self) -> float:
        # the target, a nearest neighbour, is empty
        lowest = np.minimum(self.energies, 0.0)
        return float(np.exp(-2 * lowest.sum() + lowest[:1].sum()))

    @property
    def _counted(self) -> bool:
        """Whether neighbours are counted (box kernels of range 3 and more) or looked up by their pattern."""
        return self._box_energy is not None and self.reach > 2

    def acceptance(self) -> np.ndarray:
        """exp(-U)/r_max by the number of neighbours (`_counted`), or by their bits: highest the nearest behind, then
        left and right of every distance from 2 on. Counts that no particle about to hop has may exceed 1."""
        if self._counted:
            return np.exp(-self.energies[0] * np.arange(2 * self.reach + 1)) / self._rate
        if not self.reach:
            return np.ones(1)
        patterns = np.arange(2 * 4 ** (self.reach - 1))
        energy = self.energies[0] * (patterns >> (2 * self.reach - 2))
        for r, J in enumerate(self.energies[1:], start=2):
            shift = 2 * (self.reach - r)
            energy = energy + J * (((patterns >> shift) & 1) + ((patterns >> (shift + 1)) & 1))
        return np.exp(-energy) / self._rate

    def limit(self, rho: Any) -> limits.Limit:
        if self.kac_range is not None:
            assert self.kac_strength is not None
            found = limits.kac(rho, self.kac_strength, self.d)
            return limits.Limit(found.rho, found.free_energy, found.curvature,
                                limits.uncorrelated_mobility(rho, self.energies, self.d))
        if len(self._listed) == 0:
            return limits.exclusion(rho, self.d)
        if len(self._listed) == 1:
            return limits.nearest_neighbour(rho, self._listed[0], self.d)
        return limits.short_range(rho, self._listed)

    def _draw(self, profile: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        uniform = rng.random((self.realisations, self.sites))
        if self.kac_range is not None or not self._listed:
            return (uniform < profile).astype(np.uint8)
        return _local_chains(profile, self._listed, uniform)

    def _choices(self, start: np.ndarray) -> np.ndarray:
        return np.full(len(start), self.sites)

    def _advance(self, values: np.ndarray, trials: np.ndarray, seeds: np.ndarray) -> None:
        exclusion(values, trials, seeds, self._counted, self.reach, thresholds(self.acceptance()))


def _one_sided(kernel: dict[int, float]) -> tuple[float, ...]:
    """J(1), J(2), ... of a table that may name both sides; forces that act one way only have no energy."""
    for r in kernel:
        if r == 0 or r != int(r):
            raise ConfigError(f"Arrhenius: kernel at distance {r!r}; give whole distances, 0 left out.")
        if -r in kernel and kernel[-r] != kernel[r]:
            raise ConfigError(f"Arrhenius: the kernel is not even: J({r}) = {kernel[r]:g}, J({-r}) = {kernel[-r]:g}. "
                              "Forces with an energy act both ways alike: give equal values, or one side only.")
    return tuple(float(kernel.get(r, kernel.get(-r, 0.0))) for r in range(1, max(map(abs, kernel), default=0) + 1))


@dataclass(frozen=True)
class ZeroRange(Lattice):
    """Piles that lose particles to either side at a rate that depends on their own height.

    sites, starts, realisations, windows and d are those of `Lattice`; densities may exceed 1.

    Parameters
    ----------
    rate : {"constant", "independent"}
        Rate of a hop from a pile of n particles to one side: g(n) = 1, or g(n) = n for independent walkers.

    Examples
    --------
    >>> ZeroRange(sites=50, realisations=5, windows=(1.0,)).run(seed=0).values.dtype
    dtype('int16')
    """

    starts: tuple[tuple[float, float, int], ...] = ((1.0, 0.8, 1), (1.0, 0.4, 1))
    rate: Literal["constant", "independent"] = "constant"

    def __post_init__(self) -> None:
        if self.rate not in ("constant", "independent"):
            raise ConfigError(f"ZeroRange: rate = {self.rate!r}; choose 'constant' or 'independent'.")
        super().__post_init__()

    @property
    def _fullest(self) -> float:
        return 1000.0

    @property
    def _rate(self) -> float:
        return 1.0

    def limit(self, rho: Any) -> limits.Limit:
        return limits.zero_range(rho, self.rate, self.d)

    def _draw(self, profile: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        shape = (self.realisations, self.sites)
        if self.rate == "independent":
            return rng.poisson(np.broadcast_to(profile, shape)).astype(np.int16)
        return (rng.geometric(np.broadcast_to(1 / (1 + profile), shape)) - 1).astype(np.int16)

    def _choices(self, start: np.ndarray) -> np.ndarray:
        if self.rate == "constant":
            return np.full(len(start), 2 * self.sites)
        return 2 * start.sum(axis=1, dtype=np.int64)

    def _advance(self, values: np.ndarray, trials: np.ndarray, seeds: np.ndarray) -> None:
        zero_range(values, trials, seeds, self.rate == "constant")


def _local_chains(profile: np.ndarray, kernel: tuple[float, ...], uniform: np.ndarray) -> np.ndarray:
    """Sites drawn one after the other from the equilibrium chain at the local density.

    The chain is begun 64 sites before the first one, which forgets where it began; the seam of the ring is the one
    place (of `reach` sites) that is not at local equilibrium.
    """
    sites = len(profile)
    levels = np.unique(profile.round(12))
    chains = {level: limits.local_chain(float(np.clip(level, 1e-6, 1 - 1e-6)), kernel) for level in levels}
    size = 2 ** len(kernel)
    ahead = min(64, sites)
    out = np.zeros(uniform.shape, dtype=np.uint8)
    state = np.zeros(len(uniform), dtype=np.int64)
    warm = uniform[:, ::-1]                                   # numbers used a second time, for sites thrown away
    for k in range(-ahead, sites):
        one = chains[profile[k % sites].round(12)].one
        bit = (warm[:, -k - 1] if k < 0 else uniform[:, k]) < one[state]
        if k >= 0:
            out[:, k] = bit
        state = ((state << 1) | bit) & (size - 1)
    return out
