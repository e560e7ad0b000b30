"""A recording of a solid laid out for shooting: reference positions, held nodes, and what was seen of the free ones."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import solveh_banded

from vid2dyn.core.errors import DataError
from vid2dyn.data.box import Box
from vid2dyn.data.trajectories import Trajectories

ADVICE = ("Name the driven nodes in a column \"held\" of the table: 0 for a free node, 1, 2, ... for those of an edge "
          "that follows its recorded path, for example tracks.replace(dataframe=tracks.dataframe.assign(held=...)).")

WHITE = 0.9
"""Ratio of von Neumann above which what an edge does beside its common motion is noise."""
PROBES = 8
"""Random vectors for the trace of the smoother."""
REWEIGHTED = 8
"""Rounds in which the bends of a path are weighed anew."""
SUDDEN = 8.0
"""Bends above so many times their median count as sudden turns."""
DRAWS = 24
"""Paths that an edge may as well have gone, by what is left of its noise: the variance of what follows from them is
known within 30 %."""


@dataclass(frozen=True, eq=False)
class PathDoubt:
    """What is not known of the path of an edge whose nodes move together (`steady_path`).

    Parameters
    ----------
    nodes : (k,) int array
        Of the edge.
    basis : (k, m) array
        Common motions of its nodes.
    draws : (DRAWS, T, m, dim) array
        Errors of their sizes, drawn [µm].
    """

    nodes: np.ndarray
    basis: np.ndarray
    draws: np.ndarray


@dataclass(frozen=True, eq=False)
class SolidMotion:
    """One recording of a solid.

    Parameters
    ----------
    position : (T, n, dim) array
        [µm]; NaN where a free node was not seen.
    velocity : (T, n, dim) array or None
        [µm/s]
    entropy : (T, n) array or None
        [kB]
    held : (n,) int array
        0 of a free node, else the number of its edge.
    path : (T, n, dim) array
        Where held nodes are taken to be [µm]: as recorded, or freed of noise (`steady_path`); 0 for free ones.
    reference : (n, dim) array
        Where nodes are at rest [µm].
    at_rest : bool
        Whether the first frame belongs to those that the reference is the mean of: the motion then starts from there.
    dt : float
        Time between frames [s].
    box : Box
    first_frame : int
    names : (n,) int array
        Nodes in the table.
    doubts : tuple of PathDoubt
        Of edges whose path was freed of noise, what is left of it.
    """

    position: np.ndarray
    velocity: np.ndarray | None
    entropy: np.ndarray | None
    held: np.ndarray
    path: np.ndarray
    reference: np.ndarray
    at_rest: bool
    dt: float
    box: Box
    first_frame: int
    names: np.ndarray
    doubts: tuple[PathDoubt, ...] = ()

    @property
    def frames(self) -> int:
        """Frames."""
        return len(self.position)

    @property
    def n(self) -> int:
        """Nodes."""
        return self.position.shape[1]

    @property
    def dim(self) -> int:
        """Space dimensions."""
        return self.position.shape[2]

    @classmethod
    def of(cls, tracks: Trajectories, reference_frame: int | tuple[int, int] = 0, *, asks_held: bool = True
           ) -> SolidMotion:
        """From a table with a column "held".

        Parameters
        ----------
        tracks : Trajectories
        reference_frame : int or (first, last)
            Frame at which the solid is at rest, or frames over which it is and positions are averaged; counted from
            the first frame of the recording.
        asks_held : bool
            Whether a table without a column "held" is refused. Else all nodes are free.

        Raises
        ------
        UnitsError
            Without a frame rate and a length of a pixel.
        DataError
            Without held nodes; for held nodes that are not there in every frame or change their edge; for nodes that
            are not there in the reference frame or at the start.
        """
        tracks.units.require("micrometre_per_pixel", "frames_per_second", for_what="Fitting a solid")
        linked = tracks.linked()
        position, seen, frames, names = linked.dense()
        if len(names) < 3:
            raise DataError(f"{len(names)} nodes: a solid needs at least three.")
        held = _held(linked, names, asks_held)
        first, last = (reference_frame, reference_frame) if isinstance(reference_frame, int) else reference_frame
        if not 0 <= first <= last < len(frames):
            raise DataError(f"reference_frame = {reference_frame!r}: the recording has the frames 0 to "
                            f"{len(frames) - 1}, counted from its first.")
        _check_seen(seen, held, names, frames, first, last)
        with np.errstate(invalid="ignore"):
            reference = np.nanmean(position[first:last + 1], axis=0)
        velocity = entropy = None
        column = np.searchsorted(names, linked.particle)
        if linked.velocities is not None:
            velocity = np.full(position.shape, np.nan)
            velocity[linked.frame - frames[0], column] = linked.velocities
        if linked.entropy is not None:
            entropy = np.full(seen.shape, np.nan)
            entropy[linked.frame - frames[0], column] = linked.entropy
        path, doubts = np.zeros_like(position), []
        for edge in np.unique(held[held > 0]):
            nodes = np.flatnonzero(held == edge)
            path[:, nodes], doubt = _steadied(position[:, nodes], reference[nodes])
            if doubt is not None:
                doubts.append(PathDoubt(nodes, *doubt))
        return cls(position, velocity, entropy, held, path, reference, first == 0 and last > 0, tracks.units.dt,
                   tracks.box, int(frames[0]), np.asarray(names, np.int64), tuple(doubts))

    def other_path(self, draw: int) -> np.ndarray:
        """(T, n, dim) a path that the edges may as well have gone, by the noise that is left in theirs [µm].

        Sums over draws 0 to DRAWS - 1 tell what follows from errors that all held nodes share.
        """
        path = self.path.copy()
        for doubt in self.doubts:
            path[:, doubt.nodes] += np.einsum("km,tma->tka", doubt.basis, doubt.draws[draw])
        return path

    def between(self, start: int, stop: int) -> SolidMotion:
        """Frames start <= frame < stop, with the same reference."""
        def cut(values: np.ndarray | None) -> np.ndarray | None:
            return None if values is None else values[start:stop]

        return replace(self, position=self.position[start:stop], velocity=cut(self.velocity),
                       entropy=cut(self.entropy), path=self.path[start:stop], at_rest=self.at_rest and start == 0,
                       first_frame=self.first_frame + start,
                       doubts=tuple(replace(one, draws=one.draws[:, start:stop]) for one in self.doubts))

    def filled(self) -> np.ndarray:
        """Positions with gaps of free nodes closed on straight lines, (T, n, dim) [µm]."""
        out = self.position.copy()
        t = np.arange(self.frames)
        for i in np.flatnonzero(np.isnan(out).any(axis=(0, 2))):
            there = np.isfinite(out[:, i, 0])
            for a in range(self.dim):
                out[:, i, a] = np.interp(t, t[there], out[there, i, a])
        return out

    def start(self, velocity_noise: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        """Position and velocity of all nodes at the first frame, (n, dim) each.

        Of a recording that starts at rest its reference, with no velocity. Else what was recorded; without velocities
        the slope of the first frames. Velocities that are known with an error `velocity_noise` along each axis [µm/s]
        are shrunk towards zero as far as all of them together may be that noise (James & Stein, Proc. 4th Berkeley
        Symp. 1, 361, 1961): of a sheet that rests they are.
        """
        if self.at_rest:
            return self.reference.copy(), np.zeros_like(self.reference)
        x = np.ascontiguousarray(self.position[0])
        if self.velocity is not None:
            v = np.nan_to_num(self.velocity[0])
            free = self.held == 0
            total, noise = float((v[free] ** 2).sum()), velocity_noise**2 * v[free].size
            v[free] *= max(0.0, 1.0 - noise / total) if total > 0 else 0.0
            return x.copy(), v
        few = self.filled()[:min(5, self.frames)]
        t = self.dt * (np.arange(len(few)) - 0.5 * (len(few) - 1))
        slope = np.einsum("t,tna->na", t, few) / max(float((t**2).sum()), 1e-300)
        return x.copy(), slope


def steady_path(position: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Path of the nodes of one edge without the noise of its nodes, (T, k, dim) [µm].

    The noise of held nodes drives the solid and heats it. If they move as one (the same displacement for all, or one
    that is linear along the edge) up to what differs from frame to frame without memory, that common displacement is
    the path, smoothed in time as far as the noise goes (`smoothed`), with an offset for each node that does not change.
    Memory is told by the ratio of von Neumann, half the mean square of successive differences over the variance: 1 for
    noise, near 0 for motion. Otherwise the path is as it was recorded.

    Parameters
    ----------
    position : (T, k, dim) array
        [µm]
    reference : (k, dim) array
        [µm]

    Examples
    --------
    >>> x = np.zeros((200, 9, 2))
    >>> x[..., 0] = 0.1 * np.sin(0.1 * np.arange(200))[:, None]
    >>> noisy = x + 0.01 * np.random.default_rng(0).normal(size=x.shape)
    >>> bool(np.std(steady_path(noisy, x[0]) - x) < 0.003)
    True
    """
    return _steadied(position, reference)[0]


def _steadied(position: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray] | None]:
    """`steady_path`, and basis and draws of what is left of its noise (`PathDoubt`); None where it is as recorded."""
    frames, nodes, dim = position.shape
    if frames < 8 or nodes < 3:
        return position, None
    moved = position - reference
    away = reference - reference.mean(axis=0)
    along = away @ np.linalg.svd(away, full_matrices=False)[2].T
    fields = [np.ones(nodes), *(a for a in along.T if np.ptp(a) > 1e-6 * np.ptp(away))]
    for count in (1, len(fields)):
        basis = np.linalg.qr(np.stack(fields[:count], axis=1))[0]
        numbers = np.einsum("lm,tla->tma", basis, moved)
        left = moved - np.einsum("km,tma->tka", basis, numbers)
        offset = left.mean(axis=0)
        left = left - offset
        variance, steps = float((left**2).mean()), float((np.diff(left, axis=0) ** 2).mean())
        if variance <= 1e-24 * float((position**2).mean()):
            return position, None
        if 0.5 * steps > WHITE * variance:
            noise2 = variance * nodes / (nodes - count)              # of every number, the basis being orthonormal
            steady, draws = _smoothed(numbers.reshape(frames, -1), noise2)
            steady = steady.reshape(numbers.shape)
            return (reference + np.einsum("km,tma->tka", basis, steady) + offset,
                    (basis, draws.reshape(DRAWS, frames, count, dim)))
    return position, None


def smoothed(series: np.ndarray, noise2: float) -> np.ndarray:
    """Series (T, m) with white noise of a known variance, smoothed by penalised squares that let it turn suddenly.

        min |y - z|² + λ sum_t w_t |Δ²z_t|²

    (Whittaker, Proc. Edinb. Math. Soc. 41, 63, 1923; straight lines cost nothing), with λ that minimises the expected
    error |y - z|² + 2 σ² tr H (Mallows, Technometrics 15, 661, 1973; the trace by random signs) of all series together.
    The weights w_t = 1/(1 + |Δ²z_t|²/s²), s eight times the median of |Δ²z|, are those of a penalty that few large
    bends cost little (iteratively reweighted squares with the function of Cauchy): a drive of straight pieces keeps its
    corners.

    >>> t = np.arange(300.0)
    >>> ramp = np.minimum(t, 300 - t)[:, None]
    >>> noisy = ramp + np.random.default_rng(0).normal(size=ramp.shape)
    >>> bool(np.std(smoothed(noisy, 1.0) - ramp) < 0.3)
    True
    """
    return _smoothed(series, noise2)[0]


def _smoothed(series: np.ndarray, noise2: float) -> tuple[np.ndarray, np.ndarray]:
    """`smoothed`, and DRAWS draws of its error (DRAWS, T, m): normal with covariance σ² H, H the smoother.

    (The posterior of the curve of which it is the mean, whose bands hold on average over the curve: Wahba, J. R. Stat.
    Soc. B 45, 133, 1983.)
    """
    frames, m = series.shape
    probes = np.random.default_rng(frames).choice([-1.0, 1.0], (frames, PROBES))
    both = np.concatenate([series, probes], axis=1)
    stiffnesses = 10.0 ** np.arange(-2.0, 8.01, 0.5)

    def smooth(stiffness: float, weight: np.ndarray) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
        """Expected error, curve, bands of 1 + λ Δ²ᵀ w Δ² (the diagonal last), and weights that its bends ask for."""
        bands = np.zeros((3, frames))
        for shift, factor in ((0, 1.0), (1, 4.0), (2, 1.0)):
            bands[2, shift:frames - 2 + shift] += factor * weight
        for shift in (1, 2):
            bands[1, shift:frames - 2 + shift] -= 2.0 * weight
        bands[0, 2:] += weight
        bands *= stiffness
        bands[2] += 1.0
        z = solveh_banded(bands, both)
        freedom = float((probes * z[:, m:]).sum()) / PROBES
        size = np.sqrt((np.diff(z[:, :m], n=2, axis=0) ** 2).sum(axis=1))
        after = 1.0 / (1.0 + (size / max(SUDDEN * float(np.median(size)), 1e-300)) ** 2)
        return float(((series - z[:, :m]) ** 2).sum()) + 2 * noise2 * m * freedom, z[:, :m], bands, after

    best, kept, used, stiffest, system = math.inf, series, np.ones(frames - 2), 0.0, np.ones((3, frames))
    # Corners are found where λ is large: begun with the λ that is best without corners, one edge in four kept its noise
    for stiffness in stiffnesses:
        weight = np.ones(frames - 2)
        for _ in range(REWEIGHTED):
            risk, z, bands, after = smooth(stiffness, weight)
            now, weight = weight, after
        if risk < best:
            best, kept, stiffest, system, used = risk, z, stiffness, bands, now
    weight = smooth(stiffest, used)[3]
    for _ in range(REWEIGHTED):
        tried = [(smooth(stiffness, weight), stiffness) for stiffness in stiffnesses]
        (risk, z, bands, after), stiffness = min(tried, key=lambda one: one[0][0])
        if risk < best:
            best, kept, stiffest, system, used = risk, z, stiffness, bands, weight
        weight = after
    rng = np.random.default_rng(frames + 1)
    white, bends = rng.standard_normal((frames, DRAWS * m)), rng.standard_normal((frames - 2, DRAWS * m))
    bends *= np.sqrt(stiffest * used)[:, None]
    for shift, factor in ((0, 1.0), (1, -2.0), (2, 1.0)):         # of covariance I + λ Δ²ᵀ w Δ², which is H⁻¹
        white[shift:frames - 2 + shift] += factor * bends
    drawn = math.sqrt(noise2) * solveh_banded(system, white)
    return kept, np.moveaxis(drawn.reshape(frames, DRAWS, m), 1, 0)


def _held(tracks: Trajectories, names: np.ndarray, asked: bool) -> np.ndarray:
    """Number of the edge of every node."""
    if "held" not in tracks.dataframe.columns:
        if asked:
            raise DataError(f"The table says of no node that it is held: without a driven edge there is no force to "
                            f"compare with. {ADVICE}")
        return np.zeros(len(names), np.int64)
    values = tracks.dataframe["held"].to_numpy()
    try:
        numbers = values.astype(np.int64)
        right = bool((numbers == values).all() and (numbers >= 0).all())
    except (TypeError, ValueError):
        right = False
    if not right:
        raise DataError(f"The column \"held\" holds {values[0]!r}: give whole numbers, or true and false. {ADVICE}")
    column = np.searchsorted(names, tracks.particle)
    first = np.zeros(len(names), np.int64)
    first[column] = numbers
    changed = first[column] != numbers
    if changed.any():
        raise DataError(f"Node {tracks.particle[changed][0]} is held in some frames and free in others (frame "
                        f"{tracks.frame[changed][0]}): a node that is let go starts another recording. Cut it there "
                        "(tracks.between).")
    if asked and not first.any():
        raise DataError("All nodes are free: the column \"held\" is 0 everywhere, and without a driven edge there is "
                        f"no force to compare with. {ADVICE}")
    return first


def _check_seen(seen: np.ndarray, held: np.ndarray, names: np.ndarray, frames: np.ndarray, first: int,
                last: int) -> None:
    gaps = ~seen & (held > 0)
    if gaps.any():
        t, k = np.argwhere(gaps)[0]
        raise DataError(f"Held node {names[k]} is missing from frame {frames[t]} ({int(gaps.sum())} such gaps, "
                        f"{int(gaps.any(axis=0).sum())} of {int((held > 0).sum())} held nodes): where the edge was is "
                        "needed in every frame. Keep the frames in which it is there (tracks.between), fill short gaps "
                        "(track with more memory and interpolate), or hold a row further inside.")
    for what, there in ((f"the reference frames {first} to {last}", seen[first:last + 1].any(axis=0)),
                        ("the first frame", seen[0])):
        if not there.all():
            k = int(np.argmin(there))
            raise DataError(f"Node {names[k]} is missing from {what} ({int((~there).sum())} nodes are): its bonds have "
                            "no reference lengths. Remove these nodes, start at a frame in which all are seen "
                            "(tracks.between), or choose another reference_frame.")
