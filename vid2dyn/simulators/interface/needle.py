"""The interfacial stress rheometer: a jammed monolayer of dipolar particles between a moving needle and a wall."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from vid2dyn.core.config import recipe
from vid2dyn.core.errors import ConfigError
from vid2dyn.core.progress import Progress, silent
from vid2dyn.data.box import Box, Periodic
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.data.units import Units
from vid2dyn.simulators.base import Simulator, TruePositions
from vid2dyn.simulators.camera.observation import observe
from vid2dyn.simulators.camera.renderer import Renderer
from vid2dyn.simulators.interface.packing import jammed
from vid2dyn.simulators.interface.pair_laws import PairLaw, pair_energy_and_force
from vid2dyn.simulators.interface.response import complex_modulus
from vid2dyn.simulators.interface.steps import FREE, NEEDLE, WALL, Drive, Sheet, advance, measure

SPECIES = ("large", "small")
"""Names of the species, in the order in which a model sorts them."""
BODIES = ("free", "needle", "wall")
PAIRS = {("small", "small"): 0, ("large", "small"): 1, ("small", "large"): 1, ("large", "large"): 2}

_POSITIVE = ("gap", "width", "spacing", "strength_small", "strength_mixed", "strength_large", "cutoff",
             "frames_per_second", "frequency", "time_step", "micrometre_per_pixel", "needle_mass")
_NOT_NEGATIVE = ("node_friction", "pair_friction", "strain", "force", "needle_stiffness", "needle_drag",
                 "equilibration", "cycles_before", "exposure", "localisation_error")
_MARGIN = 4.0
"""Room around the rows of needle and wall [µm] beyond a cutoff: images across y never meet."""
_BALANCE = 1e-3
"""Largest net force of the packing before the motion begins [kT/µm]; pairs push with hundreds."""

_TOLERANCE = 1e-6
"""Relative residual of the equation for the velocities."""


@dataclass(frozen=True)
class Needle(Simulator):
    """A jammed monolayer at an oil-water interface, sheared by a needle (interfacial stress rheometer).

    Two sizes of particles repel each other as parallel dipoles, U = A/(3 r³) with a smooth end at `cutoff`. Momentum
    relaxes within microseconds, so motion is overdamped: R v = F + noise, where the friction R acts on each particle
    (`node_friction`, against the fluid below) and along the line of centres of near pairs (`pair_friction`); noise is
    that of R at kT = 1 (see `steps`). The needle, at low y, moves along x; the wall, at high y, stands still. Both
    consist of rows of particles, as thick as the cutoff, which are moved by hand: column `held` of the table is True
    for them, and `body` says "free", "needle" or "wall". Column `species` has "small" and "large". x is periodic.

    ``info["truth"]`` holds the series of every frame: `needle_position` [µm], `needle_force` (of the film on the
    needle), `wall_force` [kT/µm], `stress` and `stress_friction` (shear stress of pair forces and of pair friction,
    averaged over the film [kT/µm²]), `drag_on_needle` [kT/µm], and, over the whole cycles recorded, the moduli
    `storage_modulus` and `loss_modulus` [kT/µm²] of the film.

    Parameters
    ----------
    gap : float
        Distance between needle and wall [µm].
    width : float
        Period along the needle [µm].
    spacing : float
        Mean distance of neighbours [µm]: that of a triangular lattice with as many particles per area.
    share_large : float
        Share of the large particles, 0 to 1.
    strength_small : float
        A of two small particles: their force is A/r⁴ [kT µm³].
    strength_mixed : float
        A of a small and a large particle [kT µm³].
    strength_large : float
        A of two large particles [kT µm³].
    cutoff : float
        Distance at which the force has ended [µm]; the smooth end takes the last fifth and is part of the truth.
    node_friction : float
        Friction of a particle against the fluid [kT s/µm²]. Many particles drag the fluid along: the default is 1/40
        of the Stokes friction of one alone, and the profile of displacements is linear, as it is in experiments.
    pair_friction : float
        Friction of a pair along its line at the mean spacing [kT s/µm²]; it ends at 1.5 spacings.
    flow : {"none", "affine"}
        Fluid below the particles: at rest, or moving with the needle at the needle and standing at the wall.
    drive : {"strain", "force"}
        Needle moved by hand, z = strain · gap · sin(2π frequency t), or pulled with F = force · sin(2π frequency t):
        needle_mass z'' = F - needle_stiffness z - needle_drag z' + force of the film.
    strain : float
        Amplitude of the strain, for drive="strain".
    force : float
        Amplitude of the force [kT/µm], for drive="force".
    frequency : float
        Cycles in a second [1/s].
    needle_mass : float
        Mass of the needle [kT s²/µm²]; the part of it that belongs to one period of x. 1 kT s²/µm² is 4 µg.
    needle_stiffness : float
        Stiffness of the magnetic trap of the needle [kT/µm²].
    needle_drag : float
        Drag of the clean interface on the needle [kT s/µm²].
    thermal : bool
        Whether there is noise, at kT = 1.
    frames : int
        Number of frames recorded.
    frames_per_second : float
        Frame rate of the recording [1/s].
    exposure : float
        Time for which the shutter is open in each frame [s]; from 0 to 1/frames_per_second.
    equilibration : float
        Time at rest before the needle moves [s], only with noise.
    cycles_before : float
        Cycles of the drive before the first frame; a whole number keeps the phase.
    time_step : float
        Longest time step [s]; 0.5 ms gives a temperature within 1 % for the default forces and friction.
    localisation_error : float
        Standard deviation of the noise on each coordinate [µm]; a rendered video has its own noise.
    micrometre_per_pixel : float
        Length of one pixel [µm]; the table of detections is in pixels.
    replica : int
        Number of the realisation of thermal noise. Films of the same seed and other replicas are the same until the
        needle moves: how much they differ then bounds what any model can predict.

    Raises
    ------
    ConfigError
        At construction, for arguments out of range or a region too small for the cutoff; from `run`, if the steps are
        too long.

    Notes
    -----
    Numbers after bidisperse polystyrene particles of 4.1 and 5.6 µm at a decane-water interface (Keim & Arratia, Phys.
    Rev. Lett. 112, 028302, 2014): neighbours push with 200 to 800 kT/µm. At rest the
    film is not crystalline; G' is about 90 and G'' about 15 kT/µm² at 1 % strain (100 kT/µm² = 0.4 µN/m), and differ by
    a fifth from seed to seed, as samples of this size do.

    Examples
    --------
    >>> film = Needle(gap=40.0, width=40.0, frames=4, strain=0.02, frequency=1.0)
    >>> tracks = film.run(seed=1)
    >>> sorted(set(tracks.dataframe["species"])), sorted(set(tracks.dataframe["body"]))
    (['large', 'small'], ['free', 'needle', 'wall'])
    >>> len(tracks.info["truth"]["needle_force"])
    4
    """

    gap: float = 140.0
    width: float = 180.0
    spacing: float = 7.0
    share_large: float = 0.5
    strength_small: float = 0.65e6
    strength_mixed: float = 1.15e6
    strength_large: float = 2.0e6
    cutoff: float = 14.0
    node_friction: float = 0.14
    pair_friction: float = 1.8
    flow: Literal["none", "affine"] = "none"
    drive: Literal["strain", "force"] = "strain"
    strain: float = 0.05
    force: float = 500.0
    frequency: float = 0.1
    needle_mass: float = 1.0
    needle_stiffness: float = 20.0
    needle_drag: float = 10.0
    thermal: bool = True
    frames: int = 300
    frames_per_second: float = 30.0
    exposure: float = 0.0
    equilibration: float = 0.2
    cycles_before: float = 0.0
    time_step: float = 5e-4
    localisation_error: float = 0.0
    micrometre_per_pixel: float = 0.5
    replica: int = 0

    def __post_init__(self) -> None:
        for key in (*_POSITIVE, *_NOT_NEGATIVE):
            value = getattr(self, key)
            if not math.isfinite(value) or value < 0 or (key in _POSITIVE and value == 0):
                raise ConfigError(f"Needle({key}={value!r}): it must be {'' if key in _POSITIVE else 'zero or '}"
                                  "positive.")
        if self.replica < 0 or self.replica != int(self.replica):
            raise ConfigError(f"Needle(replica={self.replica!r}): give a whole number, 0 or more.")
        if self.frames < 1 or self.frames != int(self.frames):
            raise ConfigError(f"Needle(frames={self.frames!r}): give a whole number, 1 or more.")
        if not 0 <= self.share_large <= 1:
            raise ConfigError(f"Needle(share_large={self.share_large!r}): a share lies between 0 and 1.")
        for key, known in (("flow", ("none", "affine")), ("drive", ("strain", "force"))):
            if getattr(self, key) not in known:
                raise ConfigError(f"Needle({key}={getattr(self, key)!r}): choose {' or '.join(map(repr, known))}.")
        if self.node_friction == 0 and self.pair_friction == 0:
            raise ConfigError("Needle(node_friction=0, pair_friction=0): overdamped particles need a friction.")
        if self.cutoff < 1.2 * self.spacing:
            raise ConfigError(f"Needle(cutoff={self.cutoff:g}): neighbours at {self.spacing:g} µm would not feel each "
                              f"other; give {1.5 * self.spacing:g} µm or more.")
        if min(self.width, self.gap) < 2 * self.cutoff:
            raise ConfigError(f"Needle(width={self.width:g}, gap={self.gap:g}): both must be at least twice the "
                              f"cutoff, {2 * self.cutoff:g} µm.")
        if self.exposure * self.frames_per_second > 1 + 1e-9:
            raise ConfigError(f"Needle(exposure={self.exposure:g}): the shutter cannot be open longer than one frame, "
                              f"1/frames_per_second = {1 / self.frames_per_second:g} s.")

    # ---------------------------------------------------------------- what it is

    @property
    def units(self) -> Units:
        """Calibration of the recording."""
        return Units(self.micrometre_per_pixel, self.frames_per_second, self.exposure)

    @property
    def box(self) -> Box:
        """Space of the particles: periodic along x; along y so long that images never meet."""
        return Periodic((self.gap + 4 * self.cutoff + 2 * _MARGIN, self.width))

    @property
    def n_particles(self) -> int:
        """Number of particles, held ones included."""
        return round((self.gap + 2 * self.cutoff) * self.width / (math.sqrt(3) / 2 * self.spacing**2))

    @property
    def low(self) -> float:
        """y [µm] at which the needle ends and the film begins."""
        return 2 * self.cutoff + _MARGIN

    @property
    def high(self) -> float:
        """y [µm] at which the film ends and the wall begins."""
        return self.low + self.gap

    def pair_energy(self, r: Any, first: str, second: str) -> np.ndarray:
        """Energy [kT] of two particles of the species named, at distances r [µm]."""
        return self._law(r, first, second, 0)

    def pair_force(self, r: Any, first: str, second: str) -> np.ndarray:
        """Force [kT/µm] of two particles of the species named, positive repels, at distances r [µm]."""
        return self._law(r, first, second, 1)

    def camera(self, spot: Literal["gaussian", "disc", "ring"] = "disc") -> Renderer:
        """Microscope that sees two sizes: separate spots ("gaussian"), or discs or rings that touch.

        A film in which it is to look shows about 4/5 of the needle's length and the whole gap.
        """
        um = self.micrometre_per_pixel
        small = self.spacing / (2 * math.sqrt(4.1 * 5.6) / 4.1)            # radius at which a mixed pair touches
        sigma = {"gaussian": 0.17 * self.spacing, "disc": 0.45 * small, "ring": 0.38 * small}[spot] / um
        return Renderer(height=int((self.gap + self.cutoff) / um), width=int(0.8 * self.width / um), spot=spot,
                        spot_sigma=sigma, amplitude=140.0, background=25.0, gain=0.1, read_noise=1.0,
                        state_width=5.6 / 4.1, state_brightness=(5.6 / 4.1) ** 2)

    # ---------------------------------------------------------------- running it

    def run(self, seed: int = 0, progress: Progress = silent) -> Trajectories:
        """Simulate and observe: `Trajectories` with columns `species`, `held`, `body`, `force_y`, `force_x`."""
        path = self.path(seed, progress=progress)
        rng = np.random.default_rng(np.random.SeedSequence(seed).spawn(3)[2])
        columns = {**path.columns, "force_y": path.forces[..., 0], "force_x": path.forces[..., 1]}
        return observe(path.positions, path.units, rng, localisation_error=self.localisation_error, box=path.box,
                       info={"source": "simulated", "truth": path.truth}, columns=columns)

    def start(self, seed: int = 0, progress: Progress = silent) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Positions (n, 2) [µm] in mechanical equilibrium, species (0 small, 1 large) and bodies (n,), at rest."""
        rng = np.random.default_rng(np.random.SeedSequence(seed).spawn(3)[0])
        n, height = self.n_particles, self.gap + 2 * self.cutoff
        species = rng.permutation((np.arange(n) < round(self.share_large * n)).astype(np.int64))
        lengths = np.array([height, self.width])
        x = jammed(rng, species, lengths, self._pair_law, _BALANCE, progress)
        x -= lengths * np.floor(x / lengths)
        body = np.where(x[:, 0] < self.cutoff, NEEDLE, np.where(x[:, 0] > height - self.cutoff, WALL, FREE))
        x[:, 0] += self.low - self.cutoff
        box = np.array(self.box.lengths)
        return jammed(rng, species, box, self._pair_law, _BALANCE, progress, body == FREE, x), species, body

    def path(self, seed: int = 0, parts: int = 1, progress: Progress = silent) -> TruePositions:
        """The true path, with the exposure cut into `parts` (1, 2, 4, 8 or 16 keep the same path)."""
        if parts < 1:
            raise ConfigError(f"parts = {parts}: the exposure has at least one part.")
        x, species, body = self.start(seed, progress)
        run = _Run(self, x, species, body, _noise_of(seed, 0))
        frame = 1 / self.frames_per_second
        n_open, n_closed = self._schedule(math.lcm(16, 2 * parts))
        if self.thermal and self.equilibration:
            still = replace(self, drive="strain", strain=0.0)
            run.rest(still, self.equilibration)
        run.seed = _noise_of(seed, self.replica)
        if self.cycles_before:
            duration = self.cycles_before / self.frequency
            run.advance(math.ceil(duration / self.time_step - 1e-9), duration)
        n = len(x)
        positions, middle = np.empty((self.frames, parts, n, 2)), np.empty((self.frames, n, 2))
        forces, series = np.empty_like(middle), np.empty((self.frames, 7))
        for k in range(self.frames):
            if n_open:
                halves = []
                for half in range(2 * parts):
                    if half == parts:
                        middle[k], series[k], forces[k] = run.measured()
                    halves.append(run.advance(n_open // (2 * parts), 0.5 * self.exposure / parts))
                positions[k] = 0.5 * (np.array(halves[::2]) + np.array(halves[1::2]))
            else:
                middle[k], series[k], forces[k] = run.measured()
                positions[k] = middle[k]
            if n_closed and k + 1 < self.frames:
                run.advance(n_closed, max(frame - self.exposure, 0.0))
            progress(k + 1, self.frames, "shearing")
        return TruePositions(positions, middle, forces, self.units, self.box, self._truth(seed, series),
                             state=np.broadcast_to(species.astype(float), middle.shape[:2]),
                             columns=_columns(species, body, self.frames))

    # ---------------------------------------------------------------- pieces

    @property
    def _pair_law(self) -> PairLaw:
        return PairLaw(np.array([self.strength_small, self.strength_mixed, self.strength_large]), self.cutoff,
                       self.pair_friction, self.spacing, min(1.5 * self.spacing, self.cutoff))

    def _law(self, r: Any, first: str, second: str, which: int) -> np.ndarray:
        if (first, second) not in PAIRS:
            raise ConfigError(f"Needle: species {first!r} and {second!r}; there are 'small' and 'large'.")
        strength = float(self._pair_law.strength[PAIRS[first, second]])
        r = np.asarray(r, dtype=float)
        return np.array([pair_energy_and_force(float(one), strength, self.cutoff)[which]
                         for one in r.ravel()]).reshape(r.shape)

    def _schedule(self, multiple: int) -> tuple[int, int]:
        """Steps while the shutter is open and while it is closed."""
        closed = 1 / self.frames_per_second - self.exposure
        n_open = multiple * math.ceil(self.exposure / self.time_step / multiple - 1e-9)
        return n_open, math.ceil(closed / self.time_step - 1e-9) if closed > 1e-9 / self.frames_per_second else 0

    def _truth(self, seed: int, series: np.ndarray) -> dict[str, Any]:
        names = ("needle_position", "stress", "stress_friction", "needle_force", "wall_force", "drag_on_needle", "time")
        truth: dict[str, Any] = {"simulator": recipe(self), "seed": seed, "localisation_error": self.localisation_error,
                                 **{name: series[:, k].tolist() for k, name in enumerate(names)}}
        strain = series[:, 0] / self.gap
        if self.drive == "strain" and self.strain == 0:
            return truth
        modulus = complex_modulus(series[:, 6], strain, series[:, 1] + series[:, 2], self.frequency)
        if modulus is not None:
            truth["storage_modulus"], truth["loss_modulus"] = modulus.real, modulus.imag
        return truth


class _Run:
    """Positions, needle and clock of one simulation."""

    def __init__(self, film: Needle, x: np.ndarray, species: np.ndarray, body: np.ndarray, seed: int) -> None:
        self.film, self.x, self.seed = film, x, seed
        self.home, self.needle = x[:, 1].copy(), np.zeros(2)
        lengths = np.array(film.box.lengths)
        self.sheet = Sheet(species, body, lengths, film._pair_law, film.node_friction, float(film.flow == "affine"),
                           film.low, film.high, float(film.thermal), _TOLERANCE)
        self.drive = _drive(film)
        self.time, self.drawn = 0.0, 0

    def rest(self, film: Needle, duration: float) -> None:
        """Let the particles move under noise alone; the clock of the drive stays at zero."""
        drive, self.drive = self.drive, _drive(film)
        self.advance(math.ceil(duration / film.time_step - 1e-9), duration)
        self.drive, self.time, self.needle[:] = drive, 0.0, 0.0

    def advance(self, steps: int, duration: float) -> np.ndarray:
        """Go on in equal steps; returns the mean positions on the way."""
        average = np.empty_like(self.x)
        if not advance(self.x, self.home, self.needle, self.sheet, self.drive, self.time, self.seed, self.drawn, steps,
                       duration / steps, average):
            raise ConfigError(f"Needle(time_step={self.film.time_step:g}): particles jumped within a step; the steps "
                              "are too long for these forces and frictions. Halve time_step.")
        self.time += duration
        self.drawn += steps
        return average

    def measured(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Positions, the series of `Needle._truth` and pair forces now."""
        drive = self.drive
        if drive.forced == 0:
            self.needle[0] = drive.amplitude * math.sin(drive.omega * self.time)
            self.needle[1] = drive.amplitude * drive.omega * math.cos(drive.omega * self.time)
        force, v = np.empty_like(self.x), np.empty_like(self.x)
        found = measure(self.x, self.needle, self.sheet._replace(tolerance=1e-12), force, v)
        row = np.array([self.needle[0], found[0], found[1], found[2] + found[3], found[4], found[5], self.time])
        return self.x.copy(), row, force


def _noise_of(seed: int, replica: int) -> int:
    """Seed of the thermal noise."""
    return int(np.random.SeedSequence((seed, replica)).generate_state(1)[0])


def _drive(film: Needle) -> Drive:
    forced = film.drive == "force"
    return Drive(int(forced), film.force if forced else film.strain * film.gap, 2 * math.pi * film.frequency,
                 film.needle_mass, film.needle_stiffness, film.needle_drag)


def _columns(species: np.ndarray, body: np.ndarray, frames: int) -> dict[str, np.ndarray]:
    """(frames, n) columns of the table."""
    shape = (frames, len(species))
    return {"species": np.broadcast_to(np.array(["small", "large"])[species], shape),
            "held": np.broadcast_to(body != FREE, shape), "body": np.broadcast_to(np.array(BODIES)[body], shape)}
