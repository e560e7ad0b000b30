"""Storage and loss modulus of a driven sheet: from the stress in its bulk, and from the needle's equation of motion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from vid2dyn.analysis.drive_cycles import WHOLE, Cycles, cycles, found_frequency
from vid2dyn.analysis.result import Result, axes_or_new
from vid2dyn.analysis.virial import virial_stress
from vid2dyn.core.errors import ConfigError, DataError
from vid2dyn.core.showing import ProgressLike
from vid2dyn.data.trajectories import Trajectories

_HARMONICS = 3
_FRAMES = 8
"""Fewest frames in a cycle."""


@dataclass(frozen=True, eq=False)
class Moduli(Result):
    """Storage modulus G' and loss modulus G'' at the frequency of the drive.

    Parameters
    ----------
    dataframe : pandas.DataFrame
        `time` [s], `strain`, `stress` [kT/µm²], `cycle` of every frame of whole cycles.
    storage, storage_stderr, loss, loss_stderr : float
        G', G'' and standard errors [kT/µm²]. With three or more cycles the errors are the scatter between them, else
        that of the stress about its sine and harmonics, whose neighbouring frames are correlated: then they are made
        larger by their correlation time.
    strain_amplitude, frequency : float
        γ0, and cycles in a second [1/s].
    third_harmonic : float
        Amplitude of the third harmonic of the stress over the first: 0 in the linear regime.
    cycles : pandas.DataFrame
        `cycle`, `storage`, `loss` of each cycle.
    """

    dataframe: pd.DataFrame
    storage: float
    storage_stderr: float
    loss: float
    loss_stderr: float
    strain_amplitude: float
    frequency: float
    third_harmonic: float
    cycles: pd.DataFrame
    warnings: tuple[str, ...] = ()

    @property
    def modulus(self) -> complex:
        """G* = G' + i G'' [kT/µm²]."""
        return complex(self.storage, self.loss)

    @property
    def dissipated(self) -> float:
        """Work per area and cycle, π G'' γ0² [kT/µm²]."""
        return float(np.pi * self.loss * self.strain_amplitude**2)

    def plot(self, ax: Any = None) -> Any:
        """Stress-strain loops, and the ellipse of G' and G''."""
        ax = axes_or_new(ax)
        for _, one in self.dataframe.groupby("cycle"):
            ax.plot(one["strain"], one["stress"], color="#1f5fa8", linewidth=0.8, alpha=0.7)
        t = np.linspace(0, 2 * np.pi, 200)
        middle = self.dataframe["stress"].mean()
        ax.plot(self.strain_amplitude * np.sin(t), middle + self.strain_amplitude * (
            self.storage * np.sin(t) + self.loss * np.cos(t)), color="#d1495b")
        ax.set(xlabel="strain", ylabel="shear stress (kT/µm²)")
        return ax

    def __str__(self) -> str:
        return (f"G' = {self.storage:.4g} ± {self.storage_stderr:.2g}, G'' = {self.loss:.4g} ± {self.loss_stderr:.2g} "
                f"kT/µm² at strain {self.strain_amplitude:.3g} and {self.frequency:.3g}/s, {len(self.cycles)} cycles")


def moduli(tracks: Trajectories, pair_force: Any, cutoff: float, *, frequency: float | None = None,
           region: tuple[float, float] | None = None, strain: str = "edge", held: str = "held",
           body: str | None = None, species: str = "species", sides: tuple[float, float] | None = None,
           gap: float | None = None, progress: ProgressLike = None) -> Moduli:
    """G' and G'' from the stress of pair forces in the bulk of a driven sheet.

    Strain sin(ωt) and stress G' sin(ωt) + G'' cos(ωt) give G' + i G''. The stress is that of `virial_stress`; friction
    between particles adds to G'' what pair forces do not show.

    Parameters
    ----------
    tracks : Trajectories
        Linked, two-dimensional, of one whole cycle or more. The drive is along x, its gradient along y.
    pair_force : callable, mapping or model
        As `virial_stress` takes it.
    cutoff : float
        Distance beyond which pairs have no force [µm].
    frequency : float, optional
        Of the drive [1/s]; default: found.
    region : (float, float), optional
        From y to y [µm]; default: that of the free particles at the start.
    strain : {"edge", "bulk"}
        Strain from the motion of the prescribed edge over the gap, or from the mean gradient of
        displacement of the free particles in the region (slip at the edge does not count; the edge only gives the
        phase).
    held : str
        Column that marks the particles moved by hand.
    body : str, optional
        Which body moves, see `cycles`.
    species : str
        Column that names the species, for a mixture.
    sides : (float, float), optional
        From x to x [µm], see `virial_stress`.
    gap : float, optional
        Distance of the edges, over which their motion is a strain [µm]; default: the height of the region.
    progress : bool or callable, optional
        True shows bars with the time left; a function is called with (done, total, what).

    Raises
    ------
    DataError
        Without a prescribed edge, with less than one cycle, or fewer than 8 frames in a cycle.

    Examples
    --------
    >>> import vid2dyn as vd
    >>> film = vd.simulators.Needle(gap=30.0, width=40.0, frames=40, frequency=2.0, frames_per_second=40.0, strain=0.01)
    >>> tracks = film.run(seed=0)
    >>> forces = {(a, b): lambda r, a=a, b=b: film.pair_force(r, a, b) for a in ("small", "large")
    ...           for b in ("small", "large")}
    >>> found = moduli(tracks, forces, film.cutoff, region=(film.low, film.high))
    >>> round(found.strain_amplitude, 4), found.storage > found.loss
    (0.01, True)
    """
    drive = cycles(tracks, frequency, held=held, body=body)
    if drive.axis != "x":
        raise DataError("moduli: the edge moves along y; give tracks in which the drive is along x (swap the columns).")
    whole = drive.whole()
    stress = virial_stress(whole, pair_force, cutoff, region=region, sides=sides, species=species, progress=progress)
    low, high = stress.region
    if strain == "edge":
        value = drive.dataframe["position"].to_numpy() / (gap or high - low)
    elif strain == "bulk":
        value = _bulk_strain(tracks, drive, (low, high), held)
    else:
        raise ConfigError(f"moduli: strain = {strain!r}; choose 'edge' or 'bulk'.")
    kept = drive.dataframe["cycle"].to_numpy() >= 0
    table = pd.DataFrame({"time": drive.dataframe["time"][kept].to_numpy(), "strain": value[kept],
                          "stress": stress.dataframe["shear"].to_numpy(),
                          "cycle": drive.dataframe["cycle"][kept].to_numpy()})
    return moduli_of(table, drive.frequency, (*drive.warnings, *stress.warnings))


def needle_moduli(time: np.ndarray, position: np.ndarray, force: np.ndarray, *, gap: float, length: float, mass: float,
                  stiffness: float, drag: float, frequency: float | None = None) -> Moduli:
    """G' and G'' from the motion of a needle, m z'' = F - k z - d z' - F_interface, and F_interface = G* L z/gap.

    At one frequency G* = (gap/L) (F*/z* - k + m ω² - i ω d), with F*, z* the complex amplitudes (Reynaert, Brooks,
    Moldenaers, Vermant and Fuller, J. Rheol. 52, 261, 2008). k and d come from a run with a clean interface.

    Parameters
    ----------
    time : (n,) array
        [s], evenly spaced.
    position, force : (n,) arrays
        Of the needle [µm], and the magnetic force on it [kT/µm].
    gap : float
        Distance from needle to wall [µm].
    length : float
        Length of the needle along which it drags the interface [µm]; twice that if both sides do.
    mass, stiffness, drag : float
        m [kT s²/µm²], k [kT/µm²], d [kT s/µm²].
    frequency : float, optional
        Of the drive [1/s]; default: found from the force.

    Raises
    ------
    DataError
        With less than one cycle or fewer than 8 frames in one.

    Examples
    --------
    >>> t = np.arange(80) / 40
    >>> w = 2 * np.pi
    >>> z = np.sin(w * t)                                    # m = 0.1, k = 5, d = 2, G* = 50 + 10 i, L/gap = 3
    >>> F = (5 - 0.1 * w**2 + 150) * np.sin(w * t) + (2 * w + 30) * np.cos(w * t)
    >>> found = needle_moduli(t, z, F, gap=10.0, length=30.0, mass=0.1, stiffness=5.0, drag=2.0, frequency=1.0)
    >>> round(found.storage, 6), round(found.loss, 6)
    (50.0, 10.0)
    """
    time, position, force = (np.asarray(one, float) for one in (time, position, force))
    if frequency is None:
        frequency = found_frequency(time, force)
    w, step = 2 * np.pi * frequency, time[1] - time[0]
    count = int(np.floor(len(time) * step * frequency + WHOLE))
    if count < 1:
        raise DataError(f"needle_moduli: {len(time) * step * frequency:.2g} of a cycle of {1 / frequency:.3g} s; one "
                        "or more are needed. Record for longer.")
    number = np.floor((time - time[0]) * frequency + 1e-6).astype(int)
    kept = number < count
    # the velocity and acceleration of a sinusoidal motion follow from its amplitudes: no differences of noisy z
    basis = _basis(w * time[kept], 1)
    z = np.linalg.lstsq(basis, position[kept], rcond=None)[0]
    inertia = basis[:, 1:] @ np.array([-mass * w**2 * z[1] + stiffness * z[1] - drag * w * z[2],
                                       -mass * w**2 * z[2] + stiffness * z[2] + drag * w * z[1]])
    table = pd.DataFrame({"time": time[kept], "strain": (position[kept] - z[0]) / gap,
                          "stress": (force[kept] - inertia) / length, "cycle": number[kept]})
    return moduli_of(table, frequency, ())


def moduli_of(table: pd.DataFrame, frequency: float, warnings: tuple[str, ...]) -> Moduli:
    """Moduli from series of whole cycles: columns time [s], strain, stress [kT/µm²], cycle."""
    per_cycle = len(table) / (table["cycle"].max() + 1)
    if per_cycle < _FRAMES:
        raise DataError(f"Moduli need {_FRAMES} frames in a cycle or more; there are {per_cycle:.2g}. Film faster or "
                        "drive slower.")
    phase = 2 * np.pi * frequency * table["time"].to_numpy()
    strain, stress = table["strain"].to_numpy(), table["stress"].to_numpy()
    basis = _basis(phase, _HARMONICS)
    a, b = (np.linalg.lstsq(basis, one, rcond=None)[0] for one in (strain, stress))
    first, response = complex(a[1], a[2]), complex(b[1], b[2])
    if abs(first) == 0:
        raise DataError("The strain does not oscillate at the frequency of the drive.")
    whole = response / first
    third = abs(complex(b[5], b[6])) / abs(response) if abs(response) > 0 else float("nan")
    parts = []
    for number in np.unique(table["cycle"]):
        one = table[table["cycle"] == number]
        some = _basis(2 * np.pi * frequency * one["time"].to_numpy(), 1)
        c, d = (np.linalg.lstsq(some, one[name].to_numpy(), rcond=None)[0] for name in ("strain", "stress"))
        g = complex(d[1], d[2]) / complex(c[1], c[2])
        parts.append((int(number), g.real, g.imag))
    each = pd.DataFrame(parts, columns=["cycle", "storage", "loss"])
    said = list(warnings)
    if len(each) >= 3:
        errors = [float(each[name].std(ddof=1) / np.sqrt(len(each))) for name in ("storage", "loss")]
    else:
        left = stress - basis @ b
        error = float(np.sqrt(2 * left.var() * _correlation(left) / len(left))) / abs(first)
        errors = [error, error]
        said.append(f"{len(each)} cycle{'s' if len(each) > 1 else ''}: error bars come from the scatter of the stress "
                    "within it and do not see changes from cycle to cycle; record three cycles or more.")
    if third > 0.1:
        said.append(f"The third harmonic of the stress is {100 * third:.0f} % of the first: the response is not "
                    "linear, and G', G'' describe part of it.")
    return Moduli(table, whole.real, errors[0], whole.imag, errors[1], abs(first), float(frequency), third, each,
                  tuple(said))


def _basis(phase: np.ndarray, harmonics: int) -> np.ndarray:
    """(n, 1 + 2 harmonics): 1, sin, cos, sin 2, cos 2, ..."""
    return np.column_stack([np.ones_like(phase), *(f(k * phase) for k in range(1, harmonics + 1)
                                                   for f in (np.sin, np.cos))])


def _correlation(left: np.ndarray) -> float:
    """Number of successive values that say the same, from the initial positive part of their autocorrelation."""
    centred = left - left.mean()
    total = float((centred**2).sum())
    time = 1.0
    for lag in range(1, len(left) // 4):
        value = float((centred[lag:] * centred[:-lag]).sum()) / total if total > 0 else 0.0
        if value <= 0:
            break
        time += 2 * value
    return time


def _bulk_strain(tracks: Trajectories, drive: Cycles, region: tuple[float, float], held: str) -> np.ndarray:
    """(frames,) shear strain -du_x/dy of the free particles in the region, u from the first frame.

    Tracks that begin later are counted from the profile of the frame in which they begin, so the strain is a sum of
    slopes of displacements from frame to frame only where none is seen throughout.
    """
    free = tracks.rows(~tracks.dataframe[held].to_numpy(dtype=bool)) if held in tracks.dataframe else tracks
    frames = drive.dataframe["frame"].to_numpy()
    x, seen, at, _ = free.dense()
    through = seen.all(axis=0)
    place = frames - at[0]
    inside = (x[place[0], :, 0] > region[0]) & (x[place[0], :, 0] < region[1])
    use = np.flatnonzero(through & inside)
    if len(use) < 10:
        raise DataError(f"moduli(strain='bulk'): only {len(use)} free particles of the region are seen in all frames; "
                        "10 are needed. Take strain='edge', or a shorter recording.")
    y = x[place[0], use, 0]
    u = x[place][:, use, 1] - x[place[0], use, 1]
    slope = -((u - u.mean(axis=1, keepdims=True)) * (y - y.mean())).sum(axis=1) / ((y - y.mean()) ** 2).sum()
    return slope - slope.mean()
