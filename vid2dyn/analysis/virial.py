"""Stress of given pair forces, frame by frame (Irving and Kirkwood)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from vid2dyn.analysis.local_strain import check_reach
from vid2dyn.analysis.result import Result, axes_or_new
from vid2dyn.analysis.space import box_at, close_pairs, frames_of
from vid2dyn.core.errors import ConfigError, DataError
from vid2dyn.core.showing import ProgressLike, showing
from vid2dyn.data.box import Box
from vid2dyn.data.trajectories import Trajectories

PairForces = Callable[[np.ndarray], np.ndarray] | Mapping[tuple[str, str], Callable[[np.ndarray], np.ndarray]]
"""Force [kT/µm] at distances [µm], positive repels; of a mixture one for every pair of species, in either order."""

NEAR = 0.75
"""Cutoffs from the region to the outermost particle, itself up to a spacing inside the view, below which pairs with
particles out of view count."""


@dataclass(frozen=True, eq=False)
class VirialStress(Result):
    """What `virial_stress` found.

    Parameters
    ----------
    dataframe : pandas.DataFrame
        `frame`, `time` [s], `stress_yy`, `stress_yx`, `stress_xx` [kT/µm²], compression negative, and `shear` =
        -stress_yx: positive where the sheet at low y is pushed along x against that at high y.
    region : tuple of float
        From y to y [µm].
    sides : tuple of float or None
        From x to x [µm]; None: all around a periodic box.
    """

    dataframe: pd.DataFrame
    region: tuple[float, float]
    sides: tuple[float, float] | None = None
    warnings: tuple[str, ...] = ()

    def plot(self, ax: Any = None) -> Any:
        """Shear stress against time."""
        ax = axes_or_new(ax)
        ax.plot(self.dataframe["time"], self.dataframe["shear"])
        ax.set(xlabel="time (s)", ylabel="shear stress (kT/µm²)")
        return ax


def virial_stress(tracks: Trajectories, pair_force: Any, cutoff: float, *, region: tuple[float, float] | None = None,
                  sides: tuple[float, float] | None = None, species: str = "species",
                  progress: ProgressLike = None) -> VirialStress:
    """Stress of pair forces in a layer of a sheet, sigma_ab = -(1/area) sum_pairs F_a r_b share.

    share is the part of the line between the two particles that lies in the region, so that the stress is the mean over
    all lines through it of what the pairs across them carry. This is exact where all particles are in view whose
    force reaches into the region: choose it a cutoff inside the view. The error of position noise σ is of second
    order, f'' σ²/2.

    Parameters
    ----------
    tracks : Trajectories
        Two-dimensional.
    pair_force : callable, mapping or model
        F(r) [kT/µm]; or {("A", "B"): F, ...} for every pair of species; or a fitted model (`model.pair_force` is used).
    cutoff : float
        Distance beyond which pairs have no force [µm].
    region : (float, float), optional
        Lowest and highest y [µm]; default: that of the particles not held (column `held`) at the start, else of all.
    sides : (float, float), optional
        From x to x [µm]; default: all around a periodic box, else what lies a cutoff inside the detections, so that
        no pair across it is missed.
    species : str
        Column that names the species, for a mixture.
    progress : bool or callable, optional
        True shows bars with the time left; a function is called with (done, total, what).

    Raises
    ------
    DataError, ConfigError
        In other than two dimensions; for a pair of species without a force; for a region without height.

    Examples
    --------
    >>> import vid2dyn as vd
    >>> film = vd.simulators.Needle(gap=30.0, width=30.0, frames=4)
    >>> tracks = film.run(seed=0)
    >>> forces = {(a, b): lambda r, a=a, b=b: film.pair_force(r, a, b) for a in ("small", "large")
    ...           for b in ("small", "large")}
    >>> found = virial_stress(tracks, forces, film.cutoff, region=(film.low, film.high)).dataframe["shear"]
    >>> bool(np.allclose(found, tracks.info["truth"]["stress"]))
    True
    """
    if tracks.dim != 2:
        raise DataError(f"virial_stress is of sheets: these positions have {tracks.dim} axes, not 2.")
    check_reach(tracks, cutoff, "virial_stress")
    kinds, kind_of, forces = _forces(tracks, pair_force, species)
    position = tracks.positions
    low, high = _region(tracks) if region is None else region
    if not high > low:
        raise ConfigError(f"virial_stress: region = ({low:g}, {high:g}) has no height.")
    if sides is None and tracks.box.lengths is None:
        sides = float(position[:, 1].min()) + cutoff, float(position[:, 1].max()) - cutoff
    if sides is not None and not sides[1] > sides[0]:
        raise ConfigError(f"virial_stress: the region from x = {sides[0]:.3g} to {sides[1]:.3g} µm has no width. The "
                          "view must be wider than two cutoffs; or give sides = (x, x).")
    width = tracks.box.lengths[1] if sides is None else sides[1] - sides[0]          # type: ignore[index]
    rows_of, out = list(frames_of(tracks)), []
    with showing(progress) as progress:
        for k, (frame, rows) in enumerate(rows_of):
            x, box = position[rows], box_at(tracks, frame)
            i, j = close_pairs(x, box, cutoff)
            d = box.displacement(x[i], x[j])
            r = np.linalg.norm(d, axis=1)
            f = np.zeros(len(r))
            if kind_of is None:
                f = np.asarray(forces[0](r), float)
            else:
                kind = kinds[kind_of[rows[i]], kind_of[rows[j]]]
                for m, force in enumerate(forces):
                    some = kind == m
                    if some.any():
                        f[some] = force(r[some])
            share = _share(x[j], d, (low, high), sides, box)
            weight = -f / r * share / (width * (high - low))
            out.append((frame, *(float((weight * d[:, a] * d[:, b]).sum()) for a, b in ((0, 0), (0, 1), (1, 1)))))
            progress(k + 1, len(rows_of), "stress")
    table = pd.DataFrame(out, columns=["frame", "stress_yy", "stress_yx", "stress_xx"])
    table.insert(1, "time", table["frame"] * tracks.units.dt)
    return VirialStress(table.assign(shear=-table["stress_yx"]), (float(low), float(high)), sides,
                        _missed(position, tracks.box, cutoff, (float(low), float(high)), sides))


def _missed(position: np.ndarray, box: Box, cutoff: float, region: tuple[float, float],
            sides: tuple[float, float] | None) -> tuple[str, ...]:
    """A warning where pairs may reach out of what is seen."""
    if box.lengths is not None or sides is None:
        return ()
    seen = [(float(column.min()), float(column.max())) for column in position.T]
    near = []
    for axis, (low, high), (first, last) in zip("yx", (region, sides), seen):
        if min(low - first, last - high) < NEAR * cutoff:
            near.append(f"{axis} = {low:.3g} to {high:.3g} µm")
    if not near:
        return ()
    return (f"The region, {' and '.join(near)}, is nearer to the edge of what is seen than forces reach "
            f"({cutoff:.3g} µm): if the sheet goes on there, pairs with particles out of view are missed. Give a "
            "region (and sides) a cutoff inside the view.",)


def _share(start: np.ndarray, step: np.ndarray, region: tuple[float, float], sides: tuple[float, float] | None,
           box: Box) -> np.ndarray:
    """Part of every line from `start` to `start` + `step`, (pairs, 2), that lies in the region."""
    enter, leave = _inside(start[:, 0], step[:, 0], region)
    if sides is None:
        return leave - enter
    length = None if box.lengths is None else float(box.lengths[1])
    x = start[:, 1] if length is None else np.mod(start[:, 1], length)
    share = np.zeros(len(x))
    for shift in (0.0,) if length is None else (-length, 0.0, length):
        enter_x, leave_x = _inside(x + shift, step[:, 1], sides)
        share += np.maximum(np.minimum(leave, leave_x) - np.maximum(enter, enter_x), 0.0)
    return share


def _inside(start: np.ndarray, step: np.ndarray, between: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Where lines from `start` to `start` + `step` enter and leave an interval, from 0 (start) to 1 (end)."""
    low, high = between
    with np.errstate(divide="ignore", invalid="ignore"):
        ends = np.sort(np.stack([(low - start) / step, (high - start) / step]), axis=0)
    flat = np.abs(step) < 1e-12
    in_it = (start > low) & (start < high)
    return (np.where(flat, np.where(in_it, 0.0, 1.0), np.clip(ends[0], 0.0, 1.0)),
            np.where(flat, np.where(in_it, 1.0, 0.0), np.clip(ends[1], 0.0, 1.0)))


def _region(tracks: Trajectories) -> tuple[float, float]:
    start = tracks.frame == tracks.frame.min()
    y = tracks.positions[start, 0]
    if "held" in tracks.dataframe:
        held = tracks.dataframe["held"].to_numpy(dtype=bool)[start]
        y = y[~held] if (~held).any() else y
    return float(y.min()), float(y.max())


def _forces(tracks: Trajectories, pair_force: Any, species: str) -> tuple[np.ndarray, np.ndarray | None, list[Any]]:
    """Number of the force of each pair of kinds, the kind of each row, the forces."""
    names = tuple(getattr(pair_force, "species", ()))
    if hasattr(pair_force, "pair_force"):
        model = pair_force
        if not names:
            return np.zeros((1, 1), int), None, [model.pair_force]
        pair_force = {(a, b): _bound(model, a, b) for a in names for b in names}
    if not isinstance(pair_force, Mapping):
        if not callable(pair_force):
            raise ConfigError("virial_stress: pair_force is a function of r, a table {(\"A\", \"B\"): function}, or a "
                              "model.")
        return np.zeros((1, 1), int), None, [pair_force]
    if species not in tracks.dataframe:
        raise DataError(f"virial_stress: forces of species are given, but the tracks have no column {species!r}.")
    column = tracks.dataframe[species].astype(str)
    different = sorted(column.unique())
    kinds = np.zeros((len(different), len(different)), int)
    forces: list[Any] = []
    for a, first in enumerate(different):
        for b, second in enumerate(different):
            known = pair_force.get((first, second), pair_force.get((second, first)))
            if known is None:
                raise DataError(f"virial_stress: no force of species {first!r} and {second!r}; there are "
                                f"{', '.join(map(str, pair_force))}.")
            if known not in forces:
                forces.append(known)
            kinds[a, b] = forces.index(known)
            if a > b:
                kinds[a, b] = kinds[b, a]
    return kinds, column.map({name: k for k, name in enumerate(different)}).to_numpy(np.int64), forces


def _bound(model: Any, a: str, b: str) -> Callable[[np.ndarray], np.ndarray]:
    return lambda r: model.pair_force(r, (a, b))
