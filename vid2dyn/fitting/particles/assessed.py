"""Is a fitted fluid or list of terms allowed? Its residuals, its laws and its rollouts beside the data.

Residuals R of a step (of a window, for listed terms) have the covariance C that the model says, given everything before
(`vid2dyn.inference.score`, `vid2dyn.inference.window_score`). So R·C⁻¹R over its expectation is one in the mean and at
all times, and residuals summed up over k steps grow as k: no control recording is needed. What the errors of the
carried heat and of windows of finite length leave is in the margins.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from vid2dyn.assessment.base import SAID, Finding
from vid2dyn.assessment.quantities import hotelling, means, p_value
from vid2dyn.assessment.rollouts import RUNS, rollout_findings
from vid2dyn.assessment.table import Assessment, combined
from vid2dyn.core.errors import DataError, ModelError, Vid2DynError
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.fitting.particles.laws import laws, laws_of_terms
from vid2dyn.fitting.particles.window_likelihood import Observed, WindowSet
from vid2dyn.inference.score import sweep
from vid2dyn.inference.species import with_species
from vid2dyn.inference.start import fit_start
from vid2dyn.inference.steps import FluidSteps
from vid2dyn.inference.window_score import Numbers
from vid2dyn.inference.windows import Terms
from vid2dyn.model.base import Model
from vid2dyn.model.metriplectic import MetriplecticModel
from vid2dyn.model.term_list import TermListModel

TOLERANCE = 1e-5
"""Largest error of a law, in its own unit: the tables of a rollout have so much. Without structure it is of order one.
"""
LONG = (2, 8)
"""Steps over which residuals are summed up."""
SIZE, MEMORY, TIME = 3.0, 10.0, 3.0
"""Margins of the tests of residuals [%]: of their mean square, of what sums of them have more, of its change."""
FINITE = 5.0
"""Margin of rollouts [%]: what windows and steps of finite length leave, and of fluids with heat the errors of the
learned numbers: their tables and their start take too long to be made for drawn ones."""
LEAST = 12
"""Steps or windows, below which nothing is said of residuals."""


def assess_particles(tracks: Trajectories | Sequence[Trajectories], model: Model, seed: int = 0) -> Assessment:
    """The table of tests; see `vid2dyn.pipeline.assess`."""
    several = [tracks] if isinstance(tracks, Trajectories) else list(tracks)
    if not isinstance(model, MetriplecticModel | TermListModel):
        raise ModelError("vd.assess knows tests of fluids and of listed terms; a solid with a driven edge has none. "
                         "See model.report[\"calibration\"] and the warnings of the model.")
    tables = []
    for k, one in enumerate(several):
        of_residuals = _of_fluid(one, model, seed) if isinstance(model, MetriplecticModel) else _of_terms(
            one, model, seed)
        found = [*of_residuals, *_of_rollouts(one, model, seed)]
        named = f"recording {k + 1}" if len(several) > 1 else ""
        tables.append([dataclasses.replace(finding, recording=named) for finding in found])
    return combined(tables)


def _of_fluid(tracks: Trajectories, model: MetriplecticModel, seed: int) -> list[Finding]:
    data = model.steps_of(tracks)
    start = fit_start(data, model.learned, str(model.recipe.get("start", "even")),
                      int(model.recipe.get("window", 32)), seed)
    found = sweep(data, model.learned, start, slopes=False, windows=(1, *LONG))
    sums = []
    # noise that remembers was read in windows: that it does over frames is known
    for k in LONG if int(model.report.get("window", {}).get("frames", 1)) == 1 else ():
        long = found.noise[k]
        short = found.noise[1][: k * len(long)].reshape(len(long), k).mean(axis=1)
        sums.append((k, long - short))
    return [*of_residuals(found.chi2, sums, "frames"), *of_laws(laws(model, data, start))]


def _of_terms(tracks: Trajectories, model: TermListModel, seed: int) -> list[Finding]:
    recipe = model.terms_recipe
    reach = max((term.reach for term in model.terms), default=0.0)
    (data,), _ = with_species([tracks], (FluidSteps.of(tracks, reach),), recipe.species)
    frames = int(model.report["window"]["frames"])
    starts = tuple((0, t) for t in range(0, data.count - frames + 1, frames))
    if len(starts) < LEAST:
        raise DataError(f"The recording holds {len(starts)} windows of {frames} frames, from which this model was "
                        f"learned; its tests need at least {LEAST}. Give a longer recording.")
    arrays = model.arrays
    terms = Terms(recipe.energy, recipe.friction, arrays["mass"])
    numbers = Numbers(arrays.get("noise_theta", arrays["theta"]), model.kT(), float(np.ravel(arrays["unexplained"])[0]))
    seen = Observed((data,), starts, frames, float(model.report["window"].get("shown", 1.0)))
    chi2, together, before, own = [], [], None, 0.0
    for _, window, _ in WindowSet(seen, terms, seed).models(numbers):
        R, C = window.residual(), window.covariance()
        x = window.centred(C.solve(R, 1e-5))
        own = float((x * R).sum()) / window.freedom
        chi2.append(own)
        if before is not None:                             # |R + R'|² over |R|² + |R'|², to first order in what is left
            together.append(float((x * before).sum()) / window.freedom)
        before = R
    return [*of_residuals(np.array(chi2), [(2, np.array(together))], f"windows of {frames} frames"),
            *of_laws(laws_of_terms(model, data))]


def of_residuals(chi2: np.ndarray, sums: Sequence[tuple[int, np.ndarray]], unit: str) -> list[Finding]:
    """Findings about residuals.

    Parameters
    ----------
    chi2 : (m,) array
        R·C⁻¹R over its expectation, of every step.
    sums : sequence of (k, (m/k,) array)
        What the square of the sum over k steps has beyond that of independent ones, over their expectation.
    unit : str
        What k counts.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> good = 1 + 0.05 * rng.standard_normal(200)
    >>> sums = [(2, 0.1 * rng.standard_normal(100))]
    >>> [one.p > 0.001 for one in of_residuals(good, sums, "frames")]
    [True, True, True]
    >>> [one.p < 1e-6 for one in of_residuals(1.1 * good, [(2, sums[0][1] + 0.3)], "frames")]
    [True, False, True]
    """
    half = len(chi2) // 2
    sizes = _mean("size of the residuals", "velocities change by chance as much as the model says", chi2 - 1.0, SIZE,
                  "Velocity changes scatter {ratio:.3g} times as much as the model says: temperature and friction are "
                  "those of other data, or a force is missing. Fit these recordings.")
    rises = np.sign(np.arange(len(chi2)) - half + 0.5) * (chi2 - chi2.mean())
    times = _mean("residuals against time", "chance is the same at all times", rises, TIME,
                  "The scatter of velocity changes beside that of the model goes from {before:.3g} to {after:.3g} of "
                  "its mean: the sample ages, is driven, or heats up in ways the model does not follow.")
    found = [sizes, times]
    for k, more in sums:
        found.append(_mean(f"memory over {k} {unit}", f"noise forgets ({k} {unit})", more, MEMORY,
                           "Over " + f"{k} {unit} noise is " + "{ratio:.3g} times that of independent steps: particles "
                           "have a memory, velocities carry noise of their own, or a force is missing. Temperature, "
                           "friction and heat are wrong by about that. Take longer windows, or every few frames."))
    return [one for one in found if one is not None]


def _mean(test: str, question: str, away: np.ndarray, margin: float, advice: str) -> Finding | None:
    """The finding that the mean of independent numbers (m,) is zero."""
    found = means(away, np.arange(len(away)))
    if found is None or not found.covariance[0, 0] > 0:
        return None
    value, statistic = float(found.value[0]), hotelling(found)
    effect = 100.0 * abs(value)
    p = p_value(statistic, 1, found.pieces, margin / max(effect, 1e-300))
    said = advice.format(ratio=1.0 + value, before=1.0 - value, after=1.0 + value) if p < SAID else ""
    return Finding(test, question, statistic, p, effect, "%", said, margin)


def of_laws(found: dict[str, float]) -> list[Finding]:
    """Laws that hold by construction, measured on short rollouts: a failure is a mistake of the program."""
    table = {"momentum_drift": ("law: momentum", "momentum is kept", "thermal momenta"),
             "energy_drift": ("law: energy", "energy is kept", "kT per particle"),
             "least_entropy_production": ("law: entropy", "entropy does not fall without noise", "kB")}
    out = []
    for name, (test, question, unit) in table.items():
        if name not in found:
            continue
        value = found[name]
        away = max(0.0, -value) if name == "least_entropy_production" else abs(value)
        broken = not away <= TOLERANCE
        out.append(Finding(test, question, away / TOLERANCE, 0.0 if broken else 1.0, away, unit,
                           "The rollout of this model breaks a law that it has by construction: please report it with "
                           "the model file." if broken else "", TOLERANCE))
    return out


def _drawn_rollout(model: TermListModel, tracks: Trajectories, seed: int, rng: np.random.Generator) -> Trajectories:
    """A rollout of the model with its numbers drawn; of the numbers that were learned where those do not run."""
    try:
        return model.drawn(rng).rollout(tracks, seed=seed)
    except (Vid2DynError, np.linalg.LinAlgError):
        return model.rollout(tracks, seed=seed)


def _of_rollouts(tracks: Trajectories, model: MetriplecticModel | TermListModel, seed: int) -> list[Finding]:
    """Rollouts beside the data; nothing where the model cannot run from their first frame."""
    linked = tracks.linked()
    try:
        seeds, rng = range(seed + 1000, seed + 1000 + RUNS), np.random.default_rng([seed, 17])
        runs = list(model.rollouts(linked, seeds)) if isinstance(model, MetriplecticModel) else [
            _drawn_rollout(model, linked, one, rng) for one in seeds]
    except (Vid2DynError, np.linalg.LinAlgError) as error:
        return [Finding("rollout: runs", "the model runs on from the first frame", 1.0, 0.0, 1.0, "failed run",
                        f"Let run from the first frame the model fails: {error}")]
    return rollout_findings(linked, runs, FINITE)
