"""Differential dynamic microscopy: D of a movie without finding a single particle.

Differences of frames that lie τ apart, in wave numbers (Cerbino & Trappe, Phys. Rev. Lett. 100, 188102 (2008)):

    S(q, τ) = <|FFT[I(t + τ) - I(t)]|²> = a(q) - b(q) exp(-Γ(q) τ),      Γ = q² D

a and b hold what the optics and the camera do to the amplitude: noise is in a, and exposure for a time t_E multiplies
the decaying part by [(e^x + e^-x - 2)/x²], x = Γ t_E, at every τ >= t_E, and a by another factor; neither moves Γ. What
never changes (dirt, uneven light) drops out. A common drift turns the phases of all amplitudes by q·v τ; it is found
from them, block of time by block, and turned back. In a movie that is compressed from frame to frame the next frames
are partly copies: there lags begin at `CODED` frames. Frames are multiplied by a Hann window, so that what leaves
the edge does not look like motion (Giavazzi et al., J. Phys. Condens. Matter 29, 195401 (2017)).

D of all rings of q together comes from one weighted least-squares fit, its error from a jackknife over blocks of time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from vid2dyn.analysis.result import Result, axes_or_new
from vid2dyn.core.errors import ConfigError, DataError
from vid2dyn.core.showing import ProgressLike, showing
from vid2dyn.data.video import Video

RINGS, OF_A_RING = 24, 160
"""Shells of wave numbers, and wave vectors of each that are followed: memory is that of their amplitudes."""
LAGS = 24
BLOCKS = 12
"""Blocks of time that errors come from."""
SLOWEST, FASTEST = 1.2, 1.5
"""A ring counts where Γ times the longest lag is above the first, and Γ times one frame below the second."""
SIGNAL = 0.05
"""Least part of S that decays."""
CODED = 4
"""Shortest lag of a movie that is compressed from frame to frame."""
APART = 1.5
"""A ring counts where its D is within this factor of the median of all."""
FRAMES = 4000
"""Frames that are looked at, at most, from the first on."""


@dataclass(frozen=True, eq=False)
class DifferentialDynamics(Result):
    """What `differential_dynamics` found.

    Parameters
    ----------
    D, D_stderr : float
        Diffusion coefficient and its standard error [µm²/s].
    dataframe : pandas.DataFrame
        For each ring of wave numbers: `q` [1/µm], `D` = Γ/q² and `stderr` [µm²/s], `decaying` (part of S that decays),
        `used`.
    structure : pandas.DataFrame
        `q` [1/µm], `lag` [s], `S` [grey levels²], `fit`.
    """

    D: float
    D_stderr: float
    dataframe: pd.DataFrame
    structure: pd.DataFrame
    warnings: tuple[str, ...] = ()

    def plot(self, ax: Any = None) -> Any:
        """D of every ring against q, with 95 % errors, and D of all together."""
        ax, table = axes_or_new(ax), self.dataframe
        used = table["used"].to_numpy(bool)
        ax.errorbar(table["q"][used], table["D"][used], yerr=1.96 * table["stderr"][used], fmt="o", ms=3)
        ax.axhspan(self.D - 1.96 * self.D_stderr, self.D + 1.96 * self.D_stderr, alpha=0.2)
        ax.axhline(self.D, lw=1.0)
        ax.set(xlabel="q (1/µm)", ylabel="Γ/q² (µm²/s)")
        return ax


def differential_dynamics(video: Video, *, start: int = 0, stop: int | None = None,
                          progress: ProgressLike = None) -> DifferentialDynamics:
    """Diffusion coefficient of what moves in a movie, without tracking it.

    Of interacting particles it is the collective one, D H(q)/S(q), at each q; of free ones that of a particle.

    Parameters
    ----------
    video : Video
        Frame rate and length per pixel known.
    start, stop : int
        First frame and the one after the last; at most 4000 frames are looked at.
    progress : bool or callable, optional
        True shows bars with the time left.

    Raises
    ------
    DataError
        For fewer than 40 frames, and where nothing decays at any wave number.
    UnitsError
        Without frame rate or length per pixel.

    Examples
    --------
    >>> from vid2dyn.simulators import Brownian, Renderer, render
    >>> gas = Brownian(n_particles=150, frames=200, box_length=12.8, diffusion=0.4)
    >>> found = differential_dynamics(render(gas, Renderer(height=128, width=128), seed=0))
    >>> abs(found.D - 0.4) < 4 * found.D_stderr < 0.1
    True
    """
    if video.is_stack:
        raise DataError(f"{video.path}: differential dynamic microscopy looks at flat images, and these are stacks; "
                        "give one plane, vd.open(..., z=0).")
    units = video.units
    units.require("frames_per_second", "micrometre_per_pixel", for_what="Differential dynamic microscopy")
    last = len(video) if stop is None else min(stop, len(video))
    last = min(last, start + FRAMES)
    if start < 0 or last - start < 40:
        raise DataError(f"{video.path}: differential dynamic microscopy needs 40 frames or more, not {last - start}.")
    shape = (video.info.height, video.info.width)
    rows, columns, ring, q = _wave_vectors(shape, units.um)
    amplitudes = np.empty((last - start, len(rows)), np.complex64)
    window = np.outer(*(np.hanning(edge + 2)[1:-1] for edge in shape)).astype(np.float32)
    from scipy.fft import rfft2

    with showing(progress) as progress:
        for k, frame in enumerate(video.frames(start, last)):
            image = np.asarray(frame, np.float32)
            image = (image - image.mean()) * window
            amplitudes[k] = np.asarray(rfft2(image))[rows, columns]
            progress(k + 1, last - start, "differential dynamics")
    coded = bool(video.info.inter_coded)
    lags = np.unique(np.geomspace(CODED if coded else 1, max(2 * CODED, (last - start) // 6), LAGS).round().astype(int))
    _steadied(amplitudes, _components(shape, rows, columns), int(lags[0]))
    sums, counts = _structure(amplitudes, ring, lags)
    notes = (f"The movie is compressed from frame to frame ({video.info.codec}); lags begin at {CODED} frames.",)
    return _fitted(sums, counts, q, lags * units.dt, notes if coded else ())


def _wave_vectors(shape: tuple[int, int], um: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Rows and columns of the real transform, the ring of each, and the mean q of the rings [1/µm].

    Rings lie evenly on a logarithmic scale from four periods a side to periods of four pixels.
    """
    height, width = shape
    if min(shape) < 32:
        raise ConfigError(f"Differential dynamic microscopy needs frames of 32 px or more, not {height} x {width}.")
    y = 2 * np.pi * np.fft.fftfreq(height, um)[:, None]
    x = 2 * np.pi * np.fft.rfftfreq(width, um)[None, :]
    size = np.hypot(y, x)
    edges = np.geomspace(4 * 2 * np.pi / (min(shape) * um), np.pi / (2 * um), RINGS + 1)
    where = np.digitize(size, edges) - 1
    # along the axes lies what rows of a camera and compression do
    inside = (where >= 0) & (where < RINGS) & (np.abs(y) > 0) & (np.abs(x) > 0)
    rng = np.random.default_rng(0)
    rows: list[np.ndarray] = []
    columns: list[np.ndarray] = []
    ring: list[np.ndarray] = []
    q: list[float] = []
    for k in range(RINGS):
        r, c = np.nonzero(inside & (where == k))
        if not len(r):
            continue
        some = rng.permutation(len(r))[:OF_A_RING]
        rows.append(r[some])
        columns.append(c[some])
        ring.append(np.full(len(some), len(q)))
        q.append(np.sqrt((size[r[some], c[some]] ** 2).mean()))
    return np.concatenate(rows), np.concatenate(columns), np.concatenate(ring), np.array(q)


def _components(shape: tuple[int, int], rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """(vectors, 2) wave vectors (y, x) [1/px]."""
    return 2 * np.pi * np.stack([np.fft.fftfreq(shape[0])[rows], np.fft.rfftfreq(shape[1])[columns]], axis=1)


def _steadied(amplitudes: np.ndarray, vectors: np.ndarray, lag: int) -> None:
    """Turn the phases back by a common drift, in place: its velocity in each block of time is the weighted
    least-squares slope of the phases at `lag` against the wave vectors."""
    frames = len(amplitudes)
    amplitudes -= amplitudes.mean(axis=0)
    place = np.zeros((frames, 2))
    for times in np.array_split(np.arange(frames - lag), BLOCKS):
        together = (amplitudes[times].conj() * amplitudes[times + lag]).sum(axis=0)
        power = (np.abs(amplitudes[times]) ** 2).sum(axis=0)
        weight = np.abs(together) ** 2 / np.maximum(power, 1e-30) ** 2
        # a shift by d multiplies an amplitude by exp(-i q·d)
        left = vectors.T @ (weight[:, None] * vectors)
        velocity = np.linalg.solve(left, vectors.T @ (weight * -np.angle(together))) / lag
        place[times + 1] = velocity
    place[frames - lag + 1:] = place[frames - lag]
    amplitudes *= np.exp(1j * (np.cumsum(place, axis=0) @ vectors.T)).astype(np.complex64)


def _structure(amplitudes: np.ndarray, ring: np.ndarray, lags: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums of |a(t + τ) - a(t)|² over the vectors of a ring and the times of a block, (blocks, rings, lags), and how
    many they are."""
    frames, rings = len(amplitudes), int(ring.max()) + 1
    first = np.searchsorted(ring, np.arange(rings))
    size = np.diff(np.append(first, len(ring)))
    sums, counts = np.zeros((BLOCKS, rings, len(lags))), np.zeros((BLOCKS, rings, len(lags)))
    for k, lag in enumerate(lags):
        for block, times in enumerate(np.array_split(np.arange(frames - lag), BLOCKS)):
            if len(times):
                moved = amplitudes[times + lag] - amplitudes[times]
                power = (moved.real.astype(float) ** 2 + moved.imag.astype(float) ** 2).sum(axis=0)
                sums[block, :, k] = np.add.reduceat(power, first)
                counts[block, :, k] = len(times) * size
    return sums, counts


def _fitted(sums: np.ndarray, counts: np.ndarray, q: np.ndarray, lag: np.ndarray,
            notes: tuple[str, ...]) -> DifferentialDynamics:
    structure = sums.sum(axis=0) / counts.sum(axis=0)
    alone = np.array([_ring(s, lag) for s in structure])
    rate, part = alone[:, 0], alone[:, 1]
    each = rate / q**2

    def fit(D: np.ndarray | float) -> np.ndarray:
        return (part > SIGNAL) & (D * q**2 * lag[-1] > SLOWEST) & (D * q**2 * lag[0] < FASTEST)

    able = fit(each)
    if not able.any():
        raise DataError("Differential dynamic microscopy: at no wave number does the correlation of frames decay "
                        "within the movie and slower than a frame. Record faster or longer, or brighter particles.")
    middle = float(np.median(each[able]))
    able = fit(middle)
    if able.any():
        middle = float(np.median(each[able]))
    used = able & (np.abs(np.log(each / middle)) < np.log(APART))
    if not used.any():
        raise DataError("Differential dynamic microscopy: wave numbers do not agree on any D. What moves does not "
                        "diffuse, or the picture changes otherwise (focus, light).")
    D = _common(structure[used], q[used], lag, middle)
    left_out, of_rings = [], []
    for block in range(BLOCKS):
        rest = np.delete(sums, block, axis=0).sum(axis=0) / np.delete(counts, block, axis=0).sum(axis=0)
        left_out.append(_common(rest[used], q[used], lag, D))
        of_rings.append([_ring(s, lag, near=D * k**2)[0] / k**2 for s, k in zip(rest, q)])
    stderr = float(_jackknife(np.array(left_out)))
    ring_stderr = _jackknife(np.array(of_rings))
    warnings = list(notes)
    if able.sum() > 2 and used.sum() < 0.7 * able.sum():
        warnings.append(f"At {able.sum() - used.sum()} of {able.sum()} wave numbers D differs by more than {APART} "
                        "times from the median; they are left out. Focus, light or a flow may change the picture.")
    with np.errstate(divide="ignore", invalid="ignore"):
        weight = np.where(used, 1 / ring_stderr**2, 0.0)
    weight = np.where(np.isfinite(weight), weight, 0.0)
    if used.sum() > 3:
        # trend of Γ/q² with ln q, whose error the spread of rings about the line knows as well
        x = np.log(q) - np.average(np.log(q), weights=weight)
        slope = float((weight * x * (each - D)).sum() / (weight * x * x).sum())
        error = float(1 / np.sqrt((weight * x * x).sum()))
        if abs(slope) > 5 * error and abs(slope) > 0.1 * D:
            warnings.append(f"Γ/q² changes with q, by {slope / D:+.2f} D for q larger by e: particles interact, drift, "
                            "are driven, or are of several sizes; D is a mean over wave numbers.")
    table = pd.DataFrame({"q": q, "D": each, "stderr": ring_stderr, "decaying": part, "used": used})
    model = np.array([_amplitudes(s, lag, D * k**2)[2] for s, k in zip(structure, q)])
    long = pd.DataFrame({"q": np.repeat(q, len(lag)), "lag": np.tile(lag, len(q)), "S": structure.ravel(),
                         "fit": model.ravel()})
    return DifferentialDynamics(float(D), stderr, table, long, tuple(warnings))


def _jackknife(left_out: np.ndarray) -> np.ndarray:
    """Standard error from delete-one estimates, along the first axis."""
    count = len(left_out)
    return np.sqrt((count - 1) / count * ((left_out - left_out.mean(axis=0)) ** 2).sum(axis=0))


def _amplitudes(s: np.ndarray, lag: np.ndarray, rate: float) -> tuple[float, float, np.ndarray]:
    """(a, b, fit) of S = a - b exp(-rate lag), weighted with 1/(S² lag): fewer independent times at long lags."""
    weight = 1.0 / (s**2 * lag)
    decay = np.exp(-rate * lag)
    w, m = weight.sum(), (weight * decay).sum()
    centred = decay - m / w
    norm = (weight * centred**2).sum()
    b = -float((weight * centred * s).sum() / norm) if norm > 0 else 0.0
    a = float((weight * s).sum() / w + b * m / w)
    return a, b, a - b * decay


def _misfit(s: np.ndarray, lag: np.ndarray, rate: float) -> float:
    fit = _amplitudes(s, lag, rate)[2]
    return float(((s - fit) ** 2 / (s**2 * lag)).sum())


def _ring(s: np.ndarray, lag: np.ndarray, near: float | None = None) -> tuple[float, float]:
    """(Γ, part of S at long lags that decays) of one ring."""
    from scipy.optimize import minimize_scalar

    if near is None:
        grid = np.geomspace(0.1 / lag[-1], 5 / lag[0], 40)
        near = float(grid[np.argmin([_misfit(s, lag, rate) for rate in grid])])
    found = minimize_scalar(lambda u: _misfit(s, lag, np.exp(u)), bounds=(np.log(near) - 1.0, np.log(near) + 1.0),
                            method="bounded", options={"xatol": 1e-5})
    rate = float(np.exp(found.x))
    a, b, _ = _amplitudes(s, lag, rate)
    return rate, b / a if a > 0 else 0.0


def _common(structure: np.ndarray, q: np.ndarray, lag: np.ndarray, near: float) -> float:
    """The D that fits all rings together."""
    from scipy.optimize import minimize_scalar

    found = minimize_scalar(lambda u: sum(_misfit(s, lag, np.exp(u) * k**2) for s, k in zip(structure, q)),
                            bounds=(np.log(near) - 0.7, np.log(near) + 0.7), method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x))
