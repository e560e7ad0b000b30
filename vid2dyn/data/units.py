"""Units: what turns pixels and frames into micrometres and seconds.

vid2dyn computes in µm, s and kT; pixels and frames live only in the table of detections.
A calibration that was not given stays `None`, and the first physical quantity that needs it
asks for it by name (`Units.require`).
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from vid2dyn.core.errors import UnitsError

BOLTZMANN = 1.380649e-5
"""Boltzmann constant in pN·µm/K (SI 2019 value 1.380649e-23 J/K, 1 J = 1e18 pN·µm)."""

_HINT = {
    "micrometre_per_pixel": "micrometre_per_pixel=0.16 (the length of one pixel in the sample, in µm)",
    "frames_per_second": "frames_per_second=100 (the camera's frame rate)",
    "exposure": "exposure=0.01 (the time the shutter is open in each frame, in s)",
    "temperature": "temperature=295 (of the sample, in K)",
    "viscosity": "viscosity=0.95e-3 (of the solvent, in Pa·s)",
    "particle_radius": "particle_radius=0.5 (in µm)",
    "micrometre_per_plane": "micrometre_per_plane=0.3 (the distance of the planes of a stack in the sample, in µm)",
}


@dataclass(frozen=True)
class Units:
    """Calibration of a recording.

    Parameters
    ----------
    micrometre_per_pixel : float, optional
        Length of one pixel in the sample [µm].
    frames_per_second : float, optional
        Frame rate of the recording [1/s].
    exposure : float, optional
        Time for which the shutter is open in each frame [s]; between 0 and one frame interval.
    temperature : float, optional
        Temperature of the sample [K].
    viscosity : float, optional
        Shear viscosity of the solvent [Pa·s].
    particle_radius : float, optional
        Hydrodynamic radius of the particles [µm].
    micrometre_per_plane : float, optional
        Distance of neighbouring planes of a stack in the sample [µm].

    Raises
    ------
    UnitsError
        When a value is not a positive finite number, or the exposure is longer than a frame.

    Examples
    --------
    >>> units = Units(micrometre_per_pixel=0.16, frames_per_second=100.0, exposure=0.01)
    >>> units.dt, round(units.blur, 4)
    (0.01, 0.1667)
    """

    micrometre_per_pixel: float | None = None
    frames_per_second: float | None = None
    exposure: float | None = None
    temperature: float | None = None
    viscosity: float | None = None
    particle_radius: float | None = None
    micrometre_per_plane: float | None = None

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is None:
                continue
            try:
                value = float(value)
            except (TypeError, ValueError):
                raise UnitsError(f"{field.name} = {value!r} is not a number; give for example "
                                 f"{_HINT[field.name]}.") from None
            lowest = 0.0 if field.name == "exposure" else math.ulp(0.0)
            if not math.isfinite(value) or value < lowest:
                raise UnitsError(f"{field.name} = {value!r} is not a positive number; give for example "
                                 f"{_HINT[field.name]}.")
            object.__setattr__(self, field.name, value)
        if self.exposure and self.frames_per_second and self.exposure * self.frames_per_second > 1 + 1e-6:
            raise UnitsError(
                f"exposure = {self.exposure:g} s is longer than one frame "
                f"({1 / self.frames_per_second:g} s at {self.frames_per_second:g} frames/s); "
                "check both: exposure is in seconds.")

    def require(self, *names: str, for_what: str) -> None:
        """Raise `UnitsError` naming every calibration in `names` that is missing and how to give it."""
        missing = [name for name in names if getattr(self, name) is None]
        if missing:
            raise UnitsError(f"{for_what} needs {' and '.join(missing)}, which neither the file nor you gave; "
                             f"add {', '.join(_HINT[name] for name in missing)}.")

    @property
    def dt(self) -> float:
        """Time between frames [s]."""
        self.require("frames_per_second", for_what="A time in seconds")
        assert self.frames_per_second is not None
        return 1.0 / self.frames_per_second

    @property
    def um(self) -> float:
        """Length of one pixel [µm]."""
        self.require("micrometre_per_pixel", for_what="A length in µm")
        assert self.micrometre_per_pixel is not None
        return self.micrometre_per_pixel

    @property
    def plane(self) -> float:
        """Distance of the planes of a stack [µm]; `UnitsError` where it is unknown."""
        self.require("micrometre_per_plane", for_what="A depth in µm")
        assert self.micrometre_per_plane is not None
        return self.micrometre_per_plane

    @property
    def blur(self) -> float:
        """Motion-blur coefficient R = t_E/(6 dt), 0 (flash) to 1/6 (shutter always open).

        Berglund, Phys. Rev. E 82, 011917 (2010), eq. 6 for a uniform shutter. An exposure that
        was not given counts as 0; analysis warns about that.
        """
        return (self.exposure or 0.0) / (6.0 * self.dt)

    def replace(self, **changes: Any) -> Units:
        """A copy with the given values; a change of `None` keeps what is there."""
        return dataclasses.replace(self, **{k: v for k, v in changes.items() if v is not None})

    def to_dict(self) -> dict[str, float | None]:
        """Plain dictionary, as stored in files."""
        return dataclasses.asdict(self)
