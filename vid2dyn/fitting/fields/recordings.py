"""Several recordings of fields in one fit: put together, and asked one by one whether they belong.

The realisations of all recordings are those of one flow; a start of one is another start than that of the same number
in another. What a recording says alone is the strength of the mobility and of the drift in it, over what the shared
landscape says: one step of scoring from there, in the direction that multiplies m, or f'' given m, by a factor. Its
variance is the information of the likelihoods (`fluctuations`), so that a strength is normal about 1 where a recording
belongs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import ndtri

from vid2dyn.core.describe import with_error
from vid2dyn.core.errors import DataError
from vid2dyn.data.fields import Fields
from vid2dyn.dynamics.terms.landscape import Landscape
from vid2dyn.fitting.fields.elements import Statistics
from vid2dyn.fitting.fields.evidence import log_likelihood
from vid2dyn.fitting.fields.fluctuations import Design, normal_equations, scores, short_windows
from vid2dyn.fitting.recording_names import recording_names

ALPHA = 1e-6
"""Probability that any recording is named although all have one flow."""


def together(fields: Sequence[Fields]) -> tuple[Fields, np.ndarray]:
    """All realisations as one ensemble, and (starts,) the recording that each of its starts is of.

    Raises
    ------
    DataError
        When the recordings have other lattices or windows than the first, or there is none.
    """
    if not fields or not all(isinstance(one, Fields) for one in fields):
        wrong = next((type(one).__name__ for one in fields if not isinstance(one, Fields)), "an empty list")
        raise DataError(f"vd.GradientFlow learns from fields, one or a list of them, not from {wrong}. Simulate a "
                        "lattice process (vd.simulators.Arrhenius) or build vd.Fields.")
    first, names = fields[0], recording_names([one.info for one in fields])
    for one, name in zip(fields[1:], names[1:]):
        if one.n_cells != first.n_cells:
            raise DataError(f"{name} has {one.n_cells} cells and {names[0]} has {first.n_cells}: recordings of one fit "
                            "live on the same lattice. Fit them apart, or bring them to one lattice.")
        widths = np.diff(first.times), np.diff(one.times)
        if widths[0].shape != widths[1].shape or not np.allclose(*widths, rtol=1e-9):
            raise DataError(f"{name} has windows of {_listed(widths[1])} and {names[0]} of {_listed(widths[0])}: "
                            "recordings of one fit have the same windows. Give the times that all of them have, as "
                            "vd.Fields(values[:, which], times[which], start).")
    if len(fields) == 1:
        return first, np.zeros(len(np.unique(first.starts)), dtype=int)
    starts, of, count = [], [], 0
    for r, one in enumerate(fields):
        labels, which = np.unique(one.starts, return_inverse=True)
        starts.append(which + count)
        of += [r] * len(labels)
        count += len(labels)
    whole = all(np.issubdtype(one.values.dtype, np.integer) for one in fields)
    kind: Any = np.result_type(*(one.values.dtype for one in fields)) if whole else float
    values = np.concatenate([one.values.astype(kind, copy=False) for one in fields])
    return Fields(values, first.times, np.concatenate(starts), dict(first.info)), np.array(of)


def recordings_report(names: Sequence[str], of_start: np.ndarray, statistics: Statistics, design: Design,
                      found: Landscape) -> tuple[list[dict[str, Any]], list[str]]:
    """An entry of the report for each recording, and warnings that name those that do not belong.

    An entry has "name", "realisations", "log_likelihood_per_number" under the shared landscape, and the strength of
    mobility and drift in it with errors ("mobility_strength", "drift_strength").
    """
    entries, strengths = [], np.zeros((len(names), 2, 2))
    for r, name in enumerate(names):
        part = statistics.of_starts(of_start == r)
        own = Design.of(part.without(None), design.function, design.kernels, 0.0, design.wave)
        strengths[r] = _strengths(own, found)
        count = part.count.sum(axis=1)
        likelihood = log_likelihood(own, found, count, part.D.sum(axis=2) / count[:, None, None],
                                    part.DD.sum(axis=2) / count[:, None, None, None])
        entries.append({"name": name, "realisations": int(count.sum()), "log_likelihood_per_number": likelihood,
                        "mobility_strength": float(strengths[r, 0, 0]),
                        "mobility_strength_stderr": float(strengths[r, 0, 1]),
                        "drift_strength": float(strengths[r, 1, 0]), "drift_strength_stderr": float(strengths[r, 1, 1]),
                        "belongs": True})
    return entries, _strangers(names, strengths, entries)


def _strengths(design: Design, found: Landscape) -> np.ndarray:
    """((strength, stderr) of m, of f'' given m) in the data of a design."""
    followed, short = design.windows(found), set(short_windows(design, found).tolist())
    gradient, fisher = scores(design, [one for one in followed if one.index in short], found.log_mobility)
    knots = design.function.knots
    all_alike = np.concatenate([np.ones(knots), np.zeros(len(gradient) - knots)])
    of_m = float(all_alike @ fisher @ all_alike)
    normal, right, _ = normal_equations(design, followed, found.log_mobility)
    c = found.curvature
    of_f = float(c @ normal @ c)
    return np.array([[1 + float(all_alike @ gradient) / of_m, of_m**-0.5],
                     [float(c @ right) / of_f, of_f**-0.5]])


def _strangers(names: Sequence[str], strengths: np.ndarray, entries: list[dict[str, Any]]) -> list[str]:
    """Warnings, the worst first, each compared with those that are left."""
    limit = float(ndtri(1 - 0.5 * ALPHA / (2 * len(names))))
    left, said = np.ones(len(names), bool), []
    while left.sum() >= 2:
        worst = max(((*_apart(strengths[:, k], left, int(r)), int(r), k) for r in np.flatnonzero(left)
                     for k in range(2)), key=lambda one: abs(one[0]))
        score, mean, error, r, k = worst
        if abs(score) <= limit:
            break
        what = ("mobility", "drift")[k]
        verdict = ("does not belong to the others" if left.sum() > 2 else
                   "and the other recording do not agree (which of the two is off, they cannot say)")
        said.append(f"{names[r]} {verdict}: its {what} is {with_error(*strengths[r, k])} times that of the shared "
                    f"model, that of the rest {with_error(mean, error)} times, {abs(score):.1f} standard errors apart. "
                    "Another temperature, process or unit of time: check it, and fit without it or alone.")
        entries[r]["belongs"] = False
        left[r] = False
    return said


def _apart(values: np.ndarray, left: np.ndarray, r: int) -> tuple[float, float, float]:
    """Standard errors between one recording and the mean of the others; that mean and its error."""
    others = left & (np.arange(len(left)) != r)
    weight = 1 / values[others, 1] ** 2
    mean, error = float(weight @ values[others, 0] / weight.sum()), float(weight.sum() ** -0.5)
    return float((values[r, 0] - mean) / np.hypot(values[r, 1], error)), mean, error


def _listed(widths: np.ndarray) -> str:
    return ", ".join(f"{width:.4g}" for width in widths)
