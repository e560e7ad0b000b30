"""Which particles rearrange next: a column learned from structure alone, judged on cycles that were not seen.

Softness (Cubuk et al., Phys. Rev. Lett. 114, 108001, 2015; Schoenholz et al., Nat. Phys. 12, 469, 2016): a linear
function of the invariants of a neighbourhood whose value is high where a rearrangement is near. The recording teaches
itself: whether D²min of the next half cycle is among the largest is the label of each neighbourhood.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit
from scipy.stats import rankdata

from vid2dyn.analysis.hexatic_order import psi6
from vid2dyn.analysis.local_strain import check_reach, d2min
from vid2dyn.analysis.radial_distribution import cut_by_view
from vid2dyn.analysis.result import Result, particle_map
from vid2dyn.analysis.space import box_at, close_pairs, frames_of
from vid2dyn.analysis.virial import _forces
from vid2dyn.core.errors import ConfigError, DataError
from vid2dyn.core.showing import ProgressLike, showing
from vid2dyn.data.trajectories import Trajectories

SHELLS = 8
"""Radial functions of each pair of species."""
ORDERS = (2, 3, 4, 5, 6, 8)
"""Bond-orientational orders."""
RIDGES = (1e-3, 1e-2, 1e-1, 1.0)
"""Penalties that are tried, per row."""
DRAWS = 400
_LARGEST = 3000
_FOLDS = 2


@dataclass(frozen=True, eq=False)
class Softness(Result):
    """What `softness` found.

    Parameters
    ----------
    dataframe : pandas.DataFrame
        Of every free particle at the start of every half cycle: `frame`, `particle`, `y`, `x` [px], `softness` (log-
        odds of a rearrangement), `d2min` of the next half cycle [µm²], `event` (whether it is among the largest),
        `seen` (whether the cycle was learned from), and what softness is compared with: `psi6`, `density` (neighbours
        within the cutoff), `vibration` (kT/K of the particle in its cage, of the given forces [µm²]), `last` (d2min one
        cycle before [µm²]).
    auc : pandas.DataFrame
        Of every predictor `auc`: the probability that a particle that rearranges in a cycle that was not seen ranks
        above one that does not (1/2: chance), with `stderr`; `softness_over_it`, the AUC of softness less this one,
        and its standard error.
    """

    dataframe: pd.DataFrame
    auc: pd.DataFrame
    warnings: tuple[str, ...] = ()
    micrometre_per_pixel: float = 1.0

    def plot(self, ax: Any = None, frame: int | None = None) -> Any:
        """Map of the softness in one frame (default: the last)."""
        frame = int(self.dataframe["frame"].max()) if frame is None else frame
        table = self.dataframe[self.dataframe["frame"] == frame]
        return particle_map(ax, table, table["softness"].to_numpy(), "softness", self.micrometre_per_pixel, "inferno")


def softness(turns: Trajectories, cutoff: float, *, pair_force: Any = None, events: float = 0.1, train: float = 0.6,
             species: str = "species", held: str = "held", seed: int = 0, progress: ProgressLike = None) -> Softness:
    """Learn from the structure of a sheet where it will rearrange, and judge it on cycles that were not seen.

    Features of a particle are sums over its neighbours that no turn changes: radial functions for each species, the
    moduli of bond-orientational orders, and their means over the neighbourhood. A logistic regression with a ridge maps
    them to the log-odds that D²min of the next half cycle is among the largest. It learns from the first cycles and is
    judged on the later ones, and on particles that it did not learn from: those of one half of the sheet are judged
    by what was learned on the other half, so that it cannot know particles by heart. Particles nearer than `cutoff` to
    the edge of where the camera finds particles are neighbours only: nothing is learned or said of them.

    Parameters
    ----------
    turns : Trajectories
        Two-dimensional, frames half a cycle apart: ``cycles(tracks).extrema()``.
    cutoff : float
        Of neighbourhoods [µm], two shells; D²min and psi6 take 0.7 of it.
    pair_force : callable, mapping or model, optional
        As for `virial_stress`; for the vibrational softness, which is left out without it.
    events : float
        Share of the particles that count as rearranging in each half cycle.
    train : float
        Share of the half cycles that are learned from.
    species, held : str
        Columns that name species and mark particles moved by hand, where there are such.
    seed : int
        Of the error bars (bootstrap over patches of the sheet).
    progress : bool or callable, optional
        True shows bars with the time left; a function is called with (done, total, what).

    Raises
    ------
    ConfigError, DataError
        For shares out of range; with fewer than eight half cycles, or fewer than 40 free particles.

    Examples
    --------
    >>> import vid2dyn as vd
    >>> from vid2dyn.analysis import cycles
    >>> film = vd.simulators.Needle(gap=40.0, width=63.0, frames=101, frames_per_second=20.0, frequency=1.0, strain=0.1)
    >>> found = softness(cycles(film.run(seed=0)).extrema(), cutoff=14.0)
    >>> sorted(found.auc.index)
    ['density', 'last', 'psi6', 'softness', 'softness and last']
    """
    if turns.dim != 2:
        raise DataError(f"softness is of sheets: these positions have {turns.dim} axes, not 2.")
    if not (0 < events < 0.5 and 0.2 <= train <= 0.9):
        raise ConfigError(f"softness: events = {events:g} and train = {train:g}; give shares from 0 to 0.5 and 0.2 to "
                          "0.9.")
    check_reach(turns, cutoff, "softness")
    table = _described(turns, cutoff, pair_force, species, held, progress)
    frames = np.unique(table["frame"])
    if len(frames) < 8:
        raise DataError(f"softness: {len(frames)} half cycles are seen; give 8 or more, to learn from some and judge "
                        "on others.")
    if len(table) < 40 * len(frames):
        raise DataError(f"softness: {len(table) / len(frames):.0f} free particles in a frame with a D²min; give 40 or "
                        "more.")
    high = table.groupby("frame")["d2min"].transform(lambda one: one.quantile(1 - events))
    table["event"] = table["d2min"] > high
    table["seen"] = table["frame"] <= frames[round(train * len(frames)) - 1]
    features = table.filter(regex="^f[0-9]").to_numpy()
    table = table[[str(name) for name in table if name == "frame" or not str(name).startswith("f")]].copy()
    where = table.groupby("particle")[["y", "x"]].transform("first").to_numpy() * turns.units.um
    table["softness"] = _learned(features, table, where, cutoff)
    table["softness and last"] = (table.groupby("frame")["softness"].rank(pct=True)
                                  + table.groupby("frame")["last"].rank(pct=True))
    names = [one for one in ("softness", "psi6", "density", "vibration", "last", "softness and last") if one in table]
    auc = _judged(table[~table["seen"] & table["last"].notna()], names, where, 2 * cutoff, seed)
    return Softness(table.drop(columns="softness and last"), auc, _said(auc), turns.units.um)


def area_under_curve(score: np.ndarray, event: np.ndarray) -> float:
    """Probability that an event scores higher than what is none, ties half (Hanley & McNeil, Radiology 143, 29, 1982).

    >>> area_under_curve(np.array([1.0, 2.0, 3.0, 3.0]), np.array([False, False, True, False]))
    0.8333333333333334
    """
    n = int(event.sum())
    if n in (0, len(event)):
        return float("nan")
    return float((rankdata(score)[event].sum() - n * (n + 1) / 2) / (n * (len(event) - n)))


# ---------------------------------------------------------------------- the table

def _described(turns: Trajectories, cutoff: float, pair_force: Any, species: str, held: str,
               progress: ProgressLike) -> pd.DataFrame:
    """D²min of every half cycle beside features and other predictors of its start; held particles only as
    neighbours."""
    change = d2min(turns, 0.7 * cutoff, 1).dataframe[["frame", "particle", "y", "x", "d2min"]]
    order = psi6(turns, 0.7 * cutoff).dataframe[["frame", "particle", "psi6"]]
    fixed = turns.dataframe[held].to_numpy(dtype=bool) if held in turns.dataframe else np.zeros(len(turns), bool)
    names = turns.dataframe[species].astype(str) if species in turns.dataframe else pd.Series([""] * len(turns))
    kind = np.searchsorted(np.unique(names), names)
    cut = cut_by_view(turns, cutoff)
    forces = None if pair_force is None else _forces(turns, pair_force, species)
    parts = []
    with showing(progress) as progress:
        all_frames = list(frames_of(turns))
        for k, (frame, rows) in enumerate(all_frames):
            x, box = turns.positions[rows], box_at(turns, frame)
            i, j = close_pairs(x, box, cutoff)
            columns = _features(box.displacement(x[j], x[i]), i, j, kind[rows], cutoff)
            part = pd.DataFrame(columns, columns=[f"f{m}" for m in range(columns.shape[1])])
            part["frame"], part["particle"] = frame, turns.particle[rows]
            part["density"] = np.bincount(np.r_[i, j], minlength=len(rows)).astype(float)
            if forces is not None and len(rows) <= _LARGEST:
                part["vibration"] = _vibration(box.displacement(x[i], x[j]), i, j, rows, ~fixed[rows], forces)
            parts.append(part[~(fixed | cut)[rows]])
            progress(k + 1, len(all_frames), "neighbourhoods")
    table = pd.concat(parts, ignore_index=True).merge(change, on=["frame", "particle"]).merge(
        order, on=["frame", "particle"]).dropna(subset=["d2min"])
    last = change.assign(frame=change["frame"] + 2)[["frame", "particle", "d2min"]].rename(columns={"d2min": "last"})
    return table.merge(last, on=["frame", "particle"], how="left").reset_index(drop=True)


def _features(d: np.ndarray, i: np.ndarray, j: np.ndarray, kind: np.ndarray, cutoff: float) -> np.ndarray:
    """(n, features) invariants of each neighbourhood and their means over the neighbours; `d` from i to j."""
    n, count = len(kind), int(kind.max()) + 1
    r, angle = np.linalg.norm(d, axis=1), np.arctan2(d[:, 0], d[:, 1])
    first, second = np.r_[i, j], np.r_[j, i]
    r, angle = np.r_[r, r], np.r_[angle, angle + np.pi]
    smooth = (1 - (r / cutoff) ** 2) ** 2
    centres = np.linspace(0.4, 1.0, SHELLS) * cutoff
    shells = np.exp(-0.5 * ((r[:, None] - centres) / (centres[1] - centres[0])) ** 2)
    found: list[np.ndarray] = [np.bincount(first, shells[:, m] * (kind[second] == other), n) for other in range(count)
             for m in range(SHELLS)]
    total = np.maximum(np.bincount(first, smooth, n), 1e-12)
    for order in ORDERS:
        turned = [np.bincount(first, smooth * one(order * angle), n) for one in (np.cos, np.sin)]
        found.append(np.hypot(*turned) / total)
    own = np.stack(found, axis=1)
    around = np.stack([np.bincount(first, smooth * column[second], n) for column in own.T], axis=1) / total[:, None]
    both = np.concatenate([own, around, np.ones((n, 1))], axis=1)
    return np.concatenate([both * (kind == one)[:, None] for one in range(count)], axis=1)


def _vibration(d: np.ndarray, i: np.ndarray, j: np.ndarray, rows: np.ndarray, free: np.ndarray,
               forces: tuple[np.ndarray, np.ndarray | None, list[Callable[[np.ndarray], Any]]]) -> np.ndarray:
    """(n,) mean square vibration of each particle, kT (K⁻¹)_ii, K the second derivatives of the energy with held
    particles fixed [µm²]; NaN for these. Directions that thermal motion has bent to no stiffness count as if they had a
    hundredth of the mean."""
    kinds, of_row, functions = forces
    r = np.linalg.norm(d, axis=1)
    e, step = d / r[:, None], 1e-4
    kind = np.zeros(len(r), int) if of_row is None else kinds[of_row[rows[i]], of_row[rows[j]]]
    size, slope = np.zeros(len(r)), np.zeros(len(r))
    for k, force in enumerate(functions):
        some = kind == k
        if some.any():
            size[some] = force(r[some])
            slope[some] = (np.asarray(force(r[some] + step)) - np.asarray(force(r[some] - step))) / (2 * step)
    line = np.einsum("pa,pb->pab", e, e)
    block = -slope[:, None, None] * line - (size / r)[:, None, None] * (np.eye(2) - line)
    n = len(rows)
    K = np.zeros((n, n, 2, 2))
    K[i, j] = K[j, i] = -block                                               # every pair is listed once
    own = np.zeros((n, 2, 2))
    np.add.at(own, i, block)
    np.add.at(own, j, block)
    K[np.arange(n), np.arange(n)] = own
    inside = np.flatnonzero(free)
    values, vectors = np.linalg.eigh(K[np.ix_(inside, inside)].transpose(0, 2, 1, 3).reshape(2 * len(inside), -1))
    values = np.maximum(values, 0.01 * values.mean())
    out = np.full(n, np.nan)
    out[inside] = (vectors**2 / values).sum(axis=1).reshape(-1, 2).sum(axis=1)
    return out


# ---------------------------------------------------------------------- learning and judging

def _learned(features: np.ndarray, table: pd.DataFrame, where: np.ndarray, cutoff: float) -> np.ndarray:
    """Log-odds of every row by what was learned on the seen cycles of the other half of the sheet."""
    middle = np.median(where[:, 1])
    out, event, seen = np.zeros(len(table)), table["event"].to_numpy(), table["seen"].to_numpy()
    frame = table["frame"].to_numpy()
    for side in range(_FOLDS):
        mine = (where[:, 1] > middle) == bool(side)
        apart = np.abs(where[:, 1] - middle) > 0.5 * cutoff
        known = seen & ~mine & apart
        late = frame > np.quantile(frame[seen], 0.67)
        scale = features[known].std(axis=0)
        used = scale > 1e-9
        z = (features[:, used] - features[known][:, used].mean(axis=0)) / scale[used]
        # the penalty by the last third of the seen cycles, and the other particles of the known half
        inner = np.median(where[known, 0])
        trial, check = known & ~late & (where[:, 0] < inner), known & late & (where[:, 0] >= inner)
        quality = [area_under_curve(z[check] @ _logistic(z[trial], event[trial], ridge)[1:], event[check])
                   for ridge in RIDGES]
        weights = _logistic(z[known], event[known], RIDGES[int(np.nanargmax(quality))])
        out[mine] = weights[0] + z[mine] @ weights[1:]
    return out


def _logistic(z: np.ndarray, event: np.ndarray, ridge: float) -> np.ndarray:
    """(1 + features,) constant and weights of a logistic regression with penalty ridge · rows/2 |weights|², by Newton's
    method."""
    A = np.column_stack([np.ones(len(z)), z])
    penalty = np.full(A.shape[1], ridge * len(z))
    penalty[0] = 1e-9
    weights = np.zeros(A.shape[1])
    weights[0] = np.log(max(event.mean(), 1e-6) / max(1 - event.mean(), 1e-6))
    for _ in range(25):
        p = expit(A @ weights)
        gradient = A.T @ (event - p) - penalty * weights
        move = np.linalg.solve((A * (p * (1 - p))[:, None]).T @ A + np.diag(penalty), gradient)
        weights += move
        if np.abs(move).max() < 1e-8:
            break
    return weights


def _judged(table: pd.DataFrame, names: list[str], where: np.ndarray, patch: float, seed: int) -> pd.DataFrame:
    """AUC of each predictor in each half cycle, averaged; errors by a bootstrap over patches, as particles that
    rearrange come in groups and in every cycle again."""
    where = where[table.index.to_numpy()]
    low = where.min(axis=0)
    cell = ((where - low) / patch).astype(int)
    cell = cell[:, 0] * 10_000 + cell[:, 1]
    different, cell = np.unique(cell, return_inverse=True)
    of_cell = [np.flatnonzero(cell == k) for k in range(len(different))]
    frame, event = table["frame"].to_numpy(), table["event"].to_numpy()
    # low order and low density are taken as soft where that is how it goes in the cycles that are judged
    scores = {name: table[name].to_numpy(dtype=float) for name in names}
    rng = np.random.default_rng(seed)

    def mean_auc(rows: np.ndarray, score: np.ndarray) -> float:
        found = np.array([area_under_curve(score[rows[frame[rows] == one]], event[rows[frame[rows] == one]])
                          for one in np.unique(frame)])
        return float(found[np.isfinite(found)].mean()) if np.isfinite(found).any() else 0.5

    everything = np.arange(len(table))
    value = {name: mean_auc(everything, score) for name, score in scores.items()}
    for name in names:
        if value[name] < 0.5 and name in ("psi6", "density"):
            scores[name], value[name] = -scores[name], 1 - value[name]
    drawn: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(DRAWS):
        rows = np.concatenate([of_cell[k] for k in rng.integers(len(of_cell), size=len(of_cell))])
        for name in names:
            drawn[name].append(mean_auc(rows, scores[name]))
    over = {name: np.array(drawn["softness"]) - np.array(drawn[name]) for name in names}
    return pd.DataFrame({"auc": value, "stderr": {name: float(np.nanstd(drawn[name])) for name in names},
                         "softness_over_it": {name: value["softness"] - value[name] for name in names},
                         "softness_over_it_stderr": {name: float(np.nanstd(over[name])) for name in names}})


def _said(auc: pd.DataFrame) -> tuple[str, ...]:
    """Whether there is anything to be learned from structure."""
    number = {(str(name), str(column)): float(value) for column in auc for name, value in auc[column].items()}
    mine, error = number["softness", "auc"], number["softness", "stderr"]
    if mine - 0.5 < 3 * error:
        return (f"Structure does not tell where the sheet rearranges next: the learned column has an AUC of {mine:.2f} "
                f"± {error:.2f} on cycles that were not seen, and 0.50 is chance. There is nothing to be learned from "
                "these neighbourhoods, or the recording is too short for it.",)
    said = []
    for name in [one for one in ("psi6", "density", "vibration") if one in auc.index]:
        more, its = number[name, "softness_over_it"], number[name, "softness_over_it_stderr"]
        if more < 2 * its:
            said.append(f"{name} alone tells as much (AUC {number[name, 'auc']:.2f}, the learned column {mine:.2f}, "
                        f"difference {more:.2f} ± {its:.2f}).")
    more, its = number["last", "softness_over_it"], number["last", "softness_over_it_stderr"]
    if more < -2 * its:
        said.append(f"The last cycle tells more than structure (AUC {number['last', 'auc']:.2f} against {mine:.2f}): "
                    "the sheet rearranges where it did before.")
    return tuple(said)
