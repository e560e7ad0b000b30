"""What a user writes to have Brownian colloids learned: `vd.Brownian(cutoff=...)`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from vid2dyn.core.errors import ConfigError
from vid2dyn.dynamics.recipes.base import Recipe


@dataclass(frozen=True)
class Brownian(Recipe):
    """Overdamped colloids in a solvent.

    Parameters
    ----------
    cutoff : float or None
        Range of the pair force [µm]. None: particles do not interact.
    knots : int
        Number of splines of which the pair potential is made. Its smoothness is chosen from the data, so more of them
        cost only time.
    trap : {"none", "shared", "each"}
        Harmonic trap: none, one for all particles, or one for every particle at its own centre.
    stationary : bool
        Whether the recording is at equilibrium, so that where particles are tells of the forces as much as how they
        move. Switch it off for samples that relax or are driven: forces then come from motion alone.
    localisation : {"learned", "table"}
        Errors of the positions. "learned": the standard errors in the table are right up to one common factor, which
        is learned with D. "table": they are right as they stand; choose it when frames are so far apart that noise and
        diffusion look alike.
    structure : str or None
        A column of the table that sets the mobility of free particles, D = D(column): its name, or "latent" for the
        one of latent_0, latent_1, ... (`vd.encode`) that explains the motion best. None: one D for all.
    structure_delay : int
        How many detections before a step its value of that column is read. With 2 the picture shares neither motion
        blur nor camera noise with the step that it predicts. Give 0 for a column that does not come from pictures.

    Examples
    --------
    >>> Brownian(cutoff=3.0).summary
    'Brownian particles, pair force up to 3 µm'
    """

    estimator: ClassVar[str] = "vid2dyn.fitting.brownian.fit:fit_brownian"
    model: ClassVar[str] = "vid2dyn.model.brownian:BrownianModel"
    shown_first: ClassVar[tuple[str, ...]] = ("cutoff", "trap", "stationary")

    cutoff: float | None = None
    knots: int = 24
    trap: Literal["none", "shared", "each"] = "none"
    stationary: bool = True
    localisation: Literal["learned", "table"] = "learned"
    structure: str | None = None
    structure_delay: int = 2

    def __post_init__(self) -> None:
        if self.cutoff is not None and not (np.isfinite(self.cutoff) and self.cutoff > 0):
            raise ConfigError(f"Brownian: cutoff = {self.cutoff!r} must be a positive length in µm, or left out.")
        if self.knots < 6:
            raise ConfigError(f"Brownian: knots = {self.knots}; use at least 6.")
        if self.trap not in ("none", "shared", "each"):
            raise ConfigError(f"Brownian: trap = {self.trap!r}; choose 'none', 'shared' or 'each'.")
        if self.localisation not in ("learned", "table"):
            raise ConfigError(f"Brownian: localisation = {self.localisation!r}; choose 'learned' or 'table'.")
        if self.structure_delay < 0:
            raise ConfigError(f"Brownian: structure_delay = {self.structure_delay}; give 0 or more detections.")
        if self.structure is not None and (self.cutoff is not None or self.trap != "none"):
            raise ConfigError("Brownian: structure sets the mobility of free particles; leave out cutoff and trap.")

    @property
    def summary(self) -> str:
        parts = ["Brownian particles"]
        if self.cutoff is not None:
            parts.append(f"pair force up to {self.cutoff:g} µm")
        if self.trap != "none":
            parts.append("one harmonic trap" if self.trap == "shared" else "a harmonic trap each")
        if self.structure is not None:
            parts.append(f"mobility set by {self.structure}")
        return ", ".join(parts)
