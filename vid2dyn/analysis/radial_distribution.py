"""Radial distribution function with standard errors, in a periodic or sheared box or in a field of view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from vid2dyn.analysis.pair_counts import pair_counts
from vid2dyn.analysis.result import Result, axes_or_new
from vid2dyn.core.errors import ConfigError, DataError
from vid2dyn.core.showing import ProgressLike, showing
from vid2dyn.data.region import Region
from vid2dyn.data.trajectories import Trajectories

_MARGIN_SHARE = 0.1
"""Of a side, that both edges together may leave empty where it is not known how large the images are."""


@dataclass(frozen=True, eq=False)
class RDF(Result):
    """Radial distribution function.

    Parameters
    ----------
    edges : (bins + 1,) array
        Edges of the shells [µm].
    r : (bins,) array
        Centres of the shells [µm].
    value, stderr : (bins,) arrays
        g(r) and its standard error; 1 for an ideal gas.
    counts : (bins,) int array
        Pairs counted in all frames together.
    density : float
        Particles per µm² (µm³ in 3-D).
    region : tuple of float
        Edges of the box, or of the part of the field of view that detections fill [µm].
    periodic : bool
    """

    edges: np.ndarray
    r: np.ndarray
    value: np.ndarray
    stderr: np.ndarray
    counts: np.ndarray
    density: float
    region: tuple[float, ...]
    periodic: bool
    warnings: tuple[str, ...] = ()

    @property
    def dataframe(self) -> pd.DataFrame:  # type: ignore[override]
        """`r` [µm], `g`, `stderr`, `count`."""
        return pd.DataFrame({"r": self.r, "g": self.value, "stderr": self.stderr, "count": self.counts})

    def plot(self, ax: Any = None) -> Any:
        """g(r) with 95 % errors."""
        ax = axes_or_new(ax)
        ax.errorbar(self.r, self.value, yerr=1.96 * self.stderr, fmt="o", ms=3)
        ax.axhline(1.0, lw=0.8, color="0.6")
        ax.set(xlabel="r (µm)", ylabel="g(r)")
        return ax

    def to_dict(self) -> dict[str, object]:
        """Plain lists, for JSON."""
        return {"r_um": self.r.tolist(), "g": self.value.tolist(), "stderr": self.stderr.tolist(),
                "counts": self.counts.tolist(), "density": self.density, "periodic": self.periodic}


def rdf(tracks: Trajectories, r_max: float | None = None, bins: int = 50, *, region: Sequence[float] | None = None,
        progress: ProgressLike = None) -> RDF:
    """Radial distribution function of all detections, averaged over frames.

    g(r) is the number of pairs in a shell over the number among the same particles without correlation,
    N (N - 1)/2 times the probability that two independent points of the region are that far apart. In a periodic
    box, sheared or not, this is the shell's volume over the box's. In a rectangular field of view it is the integral
    over the shell of the isotropic set covariance (Stoyan, Kendall, Mecke, Stochastic Geometry, ch. 6; Ohser 1983),

        2-D, sides a, b: 2 pi r [ab - 2 r (a + b)/pi + r²/pi]/(ab)²,
        3-D, sides a, b, c: 4 pi r² [abc - r (ab + bc + ca)/2 + 2 r² (a + b + c)/(3 pi) - r³/(4 pi)]/(abc)²,

    exact for every r up to the shorter side: no particle near an edge is thrown away, and none is missed. Of a region
    of interest of any shape it is the same integral of the set covariance of its pixels (`Region.pair_probability`).

    Parameters
    ----------
    tracks : Trajectories
        Linked or not; length per pixel known.
    r_max : float, optional
        Largest distance [µm]; by default half the shortest edge of a periodic box, a quarter of that of a region.
    bins : int
        Number of shells.
    region : sequence of float, optional
        Edges [µm] of a rectangular region, in the order of the axes, that particles fill evenly, in place of the
        field of view. Detectors leave a margin empty along the edges of a frame, so of a field of view only the part
        up to the outermost detections is used (at most 10 % of a side is given up, or the diameter of an image at
        either edge where the tracks say it).
    progress : bool or callable, optional
        True shows bars with the time left; a function is called with (done, total, what).

    Raises
    ------
    DataError
        For particles in unbounded space with neither `region` nor a field of view (density is then undefined),
        for fewer than 2 particles, and for an r_max longer than the region allows.

    Notes
    -----
    Standard errors: configurations outlive a frame. How long is taken from how long pairs of tracked particles stay
    in a shell, and from blocks of frames; see `vid2dyn.analysis.pair_counts`. With fewer than 8 frames, or unlinked
    detections that hardly move, they are lower bounds.

    Examples
    --------
    >>> from vid2dyn import Periodic, Trajectories, Units
    >>> gas = np.random.default_rng(0).uniform(0, 10, (20, 100, 2))
    >>> g = rdf(Trajectories.from_dense(gas, Units(0.1, 10.0), box=Periodic((10.0, 10.0))), bins=5)
    >>> bool(np.all(abs(g.value - 1) < 4 * g.stderr))
    True
    """
    periodic = tracks.box.lengths is not None
    sides = _region(tracks, region, periodic)
    shortest = min(sides)
    r_max = shortest * (0.5 if periodic else 0.25) if r_max is None else float(r_max)
    allowed = shortest / 2 if periodic else shortest
    if bins < 1 or not 0 < r_max <= allowed * (1 + 1e-12):
        raise ConfigError(f"rdf(r_max={r_max:g} µm, bins={bins}): r_max lies between 0 and {allowed:g} µm ("
                          f"{'half the shortest edge of the box' if periodic else 'the shorter side of the region'}).")
    edges = np.linspace(0.0, r_max, bins + 1)
    with showing(progress) as progress:
        found = pair_counts(tracks, edges, progress)
    pairs = found.number * (found.number - 1.0) / 2
    if pairs.sum() == 0:
        raise DataError("No frame has two particles, so there is no pair to measure g(r) from.")
    area = float(np.prod(sides))
    if tracks.region is not None and region is None and not periodic:
        shape = detectable_region(tracks)
        ideal = pairs[:, None] * shape.pair_probability(edges / tracks.units.um)
        area = shape.area * tracks.units.um**2
    else:
        ideal = pairs[:, None] * _shell_probability(edges, sides, periodic)
    counts = found.counts.sum(axis=0)
    value = counts / ideal.sum(axis=0)
    stderr = found.stderr(ideal * value) / ideal.sum(axis=0)
    return RDF(edges, 0.5 * (edges[1:] + edges[:-1]), value, stderr, counts,
               float(found.number.mean() / area), sides, periodic)


def _region(tracks: Trajectories, region: Sequence[float] | None, periodic: bool) -> tuple[float, ...]:
    """Edges of the region [µm]."""
    if len(tracks) < 2:
        raise DataError(f"g(r) needs two particles; the table has {len(tracks)} detections.")
    if periodic:
        assert tracks.box.lengths is not None
        return tuple(tracks.box.lengths)
    if region is not None:
        if len(region) != tracks.dim:
            raise ConfigError(f"region={tuple(region)}: give one length [µm] for each of the axes {tracks.axes}.")
        return tuple(float(side) for side in region)
    if tracks.field_of_view is None or len(tracks.field_of_view) != tracks.dim:
        raise DataError("g(r) needs the density, and these particles are in unbounded space without a field of view: "
                        "give region=(height, width) in µm (with depth in 3-D), or field_of_view to the trajectories.")
    return tuple(detectable_area(tracks)[1].tolist())


def detectable_area(tracks: Trajectories) -> tuple[np.ndarray, np.ndarray]:
    """Lowest corner and sides (dim,) [µm] of the part of the field of view in which particles are found.

    Detectors leave a margin empty along the edges of a frame; a density taken over the whole frame is too low. It ends
    at the outermost detections, but no edge gives up more than 5 % of a side, or than the diameter of an image where
    ``info["parameters"]`` has it and that is more (half of it is what a detector leaves empty): particles may
    be confined. Of a region of interest: the largest rectangle inside it (see `within_area`).

    Examples
    --------
    >>> seen = np.random.default_rng(0).uniform(0.4, 9.6, (50, 40, 2))
    >>> from vid2dyn.data.units import Units
    >>> corner, sides = detectable_area(Trajectories.from_dense(seen, Units(0.1, 10.0), field_of_view=(100, 100)))
    >>> corner.round(1).tolist(), sides.round(1).tolist()
    ([0.4, 0.4], [9.2, 9.2])
    """
    assert tracks.field_of_view is not None
    if tracks.region is not None:
        top, left, height, width = detectable_region(tracks).inscribed()
        return (np.array([top, left]) - 0.5) * tracks.units.um, np.array([height, width], float) * tracks.units.um
    edge, field = tracks.view()              # pixels and planes count from their centres
    positions = tracks.positions[:, :len(field)]
    low, high = positions.min(axis=0), positions.max(axis=0)
    # Of n even points the outermost two miss on average 2/(n+1) of the side.
    filled = (high - low) * (len(positions) + 1) / max(len(positions) - 1, 1)
    sides = np.clip(filled, field - 2 * _largest_margin(tracks, field / tracks.units.um) * tracks.units.um, field)
    return np.clip(0.5 * (low + high - sides), edge, edge + field - sides), sides


def detectable_region(tracks: Trajectories) -> Region:
    """The region of interest less the margin that detectors leave empty along the edges of the frame.

    Found as in `detectable_area`, from the outermost detections, and no wider. Where the region ends inside the frame
    nothing is given up: particles are looked for beyond its edge.
    """
    assert tracks.region is not None
    yx = tracks.dataframe[["y", "x"]].to_numpy(dtype=float)
    edge = np.array(tracks.region.mask.shape, dtype=float)
    gap = np.ptp(yx, axis=0) / max(len(yx) - 1, 1)
    low, high = yx.min(axis=0) - gap, yx.max(axis=0) + gap
    top, bottom, left, right = tracks.region.bounds
    first, last = np.array([top, left]), np.array([bottom, right])
    margin = _largest_margin(tracks, edge)
    low = np.where(first <= margin, np.minimum(low, margin), 0.0)
    high = np.where(edge - last <= margin, np.maximum(high, edge - 1 - margin), edge - 1)
    return tracks.region.clipped(low.tolist(), high.tolist())


def _largest_margin(tracks: Trajectories, field: np.ndarray) -> np.ndarray:
    """(axes,) how much an edge of a field of view [px] may leave empty [px], at most a quarter of a side."""
    margin = 0.5 * _MARGIN_SHARE * field
    parameters = tracks.info.get("parameters")
    diameter = parameters.get("diameter") if isinstance(parameters, Mapping) else None
    if isinstance(diameter, int | float) and not isinstance(diameter, bool) and 0 < diameter < np.inf:
        margin[:2] = np.maximum(margin[:2], diameter)       # of a stack it is a diameter in its planes
    return np.minimum(margin, 0.25 * field)


def cut_by_view(tracks: Trajectories, reach: float) -> np.ndarray:
    """(rows,) whether a neighbour within `reach` [µm] may lie where no particles are found, beyond an edge of the view.

    Nowhere in a periodic box or without a field of view.

    Examples
    --------
    >>> from vid2dyn.data.units import Units
    >>> row = np.stack([np.full(9, 5.0), np.arange(1.0, 10.0)], axis=1)[None]
    >>> cut_by_view(Trajectories.from_dense(row, Units(0.1, 10.0), field_of_view=(100, 100)), 2.5).nonzero()[0].tolist()
    [0, 1, 7, 8]
    """
    if tracks.field_of_view is None or tracks.box.lengths is not None or not len(tracks):
        return np.zeros(len(tracks), bool)
    position = tracks.positions
    if tracks.region is not None:
        return detectable_region(tracks).distance(*(position[:, :2] / tracks.units.um).T)[0] * tracks.units.um < reach
    corner, sides = detectable_area(tracks)
    x = position[:, :len(corner)]
    return ((x < corner + reach) | (x > corner + sides - reach)).any(axis=1)


def within_area(tracks: Trajectories) -> Trajectories:
    """The detections inside `detectable_area`; all of them where no region of interest was set."""
    if tracks.region is None or not len(tracks):
        return tracks
    corner, sides = detectable_area(tracks)
    x = tracks.positions
    return tracks.rows(((x >= corner) & (x <= corner + sides)).all(axis=1))


def _shell_probability(edges: np.ndarray, sides: tuple[float, ...], periodic: bool) -> np.ndarray:
    """Probability that two independent uniform points are a distance in each shell apart."""
    r, volume = edges, float(np.prod(sides))
    if len(sides) == 1:
        inside = 2 * r if periodic else 2 * (volume * r - r**2 / 2)
    elif len(sides) == 2:
        inside = np.pi * r**2 * volume
        if not periodic:
            inside += -4 * sum(sides) * r**3 / 3 + r**4 / 2
        else:
            inside /= volume
    else:
        a, b, c = sides
        inside = 4 * np.pi * volume * r**3 / 3
        if not periodic:
            inside += 4 * np.pi * (-(a * b + b * c + c * a) * r**4 / 8 + 2 * (a + b + c) * r**5 / (15 * np.pi)
                                   - r**6 / (24 * np.pi))
        else:
            inside /= volume
    return np.diff(inside) / (volume if periodic else volume**2)
