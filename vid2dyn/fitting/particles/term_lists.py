"""Fit of a list of terms: from velocities to forces, friction, kT, and the heat that particles carry.

Order: what the data are (species, velocities, temperature of the motion); friction against window, which chooses the
window (`plateau`); a first fit on few windows; ranges and terms earn their place on windows nobody learned from
(`selection`); the final fit on many windows; with ``entropy=True`` heat that particles carry (`particle_heat`); where
noise remembers, the parts of friction that late drift shows (`late_friction`); error bars, laws. The likelihood is in
`vid2dyn.inference.window_score` and `window_likelihood`, its maximum is found in `scoring`.

Temperature: with ``stationary=True`` it is that of the velocities (equipartition), and friction with its noise, which
tell it by the fluctuation-dissipation theorem, have to agree; the report says both, and a warning if they do not. With
``stationary=False`` friction and noise alone tell it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from vid2dyn.core.config import recipe as recipe_of
from vid2dyn.core.errors import ModelError
from vid2dyn.dynamics.assembly import freeze
from vid2dyn.dynamics.recipes.metriplectic import Metriplectic
from vid2dyn.dynamics.terms.base import Energy, Friction, Scene, Term
from vid2dyn.dynamics.terms.conduction import Conduction
from vid2dyn.fitting.particles import selection
from vid2dyn.fitting.particles.late_friction import NEARER, LateFriction, first_lag, late_friction, misfit
from vid2dyn.fitting.particles.laws import laws_of_terms
from vid2dyn.fitting.particles.learner import Fit, Learner, Run
from vid2dyn.fitting.particles.memory_kernel import (
    Kernel,
    Shares,
    chosen_kernel,
    noise_shares,
    not_reached,
    share_error,
    share_of,
    unexplained_rise,
)
from vid2dyn.fitting.particles.motion_checks import motion_temperature, scene_of, unlike_particles
from vid2dyn.fitting.particles.particle_heat import Finding, find_heat
from vid2dyn.fitting.particles.plateau import Plateau, friction_against_window, share_shown
from vid2dyn.fitting.particles.recordings import Recordings
from vid2dyn.fitting.particles.scoring import Learned, Limits, inverse, learn, widened
from vid2dyn.fitting.particles.window_likelihood import (
    Judge,
    Observed,
    WindowLikelihood,
    WindowSet,
    friction_slopes,
    window_starts,
)
from vid2dyn.inference.window_score import Numbers
from vid2dyn.inference.windows import Terms
from vid2dyn.model.term_list import TermListModel

FEW = 32
"""Windows of the fits by which ranges and terms are chosen."""
MANY = 128
"""Most windows of the final fit."""
JUDGED = 24
"""Most windows of the held-out likelihood."""
LEAST = 16
"""Frames below which there is nothing to choose windows from."""
HELD = 1e-4
"""Error of ln kT in the scoring where velocities give it: what friction and noise say is a check, not a correction."""
DISAGREE = 5.0
"""Standard errors by which two temperatures may differ: a false alarm of 6e-7."""


@dataclass(frozen=True, eq=False)
class TermRun:
    """What all parts of one fit share: scene of the terms, range of conduction that was asked for, friction against
    window with the frames of a window, and windows that nobody learns from."""

    shared: Run
    recipe: Metriplectic
    scene: Scene
    conducting: float
    plateau: Plateau
    frames: int
    judge: Judge

    @property
    def seconds(self) -> float:
        """Of a window."""
        return self.frames * self.scene.time

    def fitted(self, what: str, observed: Observed, terms: Terms, most: int, start: Numbers | None = None,
               iterations: int | None = None, **options: Any) -> Learned:
        """Terms learned from at most so many windows."""
        shared, recipe = self.shared, self.recipe
        likelihood = WindowLikelihood(WindowSet(observed.only(most), terms, shared.seed), self.scene, what)
        limits = Limits(min(iterations or recipe.iterations, recipe.iterations), recipe.tolerance, **options)
        return learn(likelihood, limits, shared.place(what, shared.recordings.parts, self.frames), shared.progress,
                     start if start is None else start.vector)


@dataclass(frozen=True, eq=False, kw_only=True)
class TermFit(Fit):
    """A list of terms as far as it has come.

    `share_doubt`: relative error of the share that windows show; `heat`, `late`: what was found of the heat of
    particles, and of the parts of friction.
    """

    run: TermRun
    terms: Terms
    observed: Observed
    share_doubt: float = 0.0
    heat: Finding = field(default_factory=lambda: Finding({}, {}, []))
    late: LateFriction | None = None

    @property
    def numbers(self) -> Numbers:
        """Of all terms, as they are now."""
        return Numbers.of(self.learned.vector)

    def windows(self) -> WindowSet:
        """What the final numbers are learned from."""
        return WindowSet(self.observed, self.terms, self.run.shared.seed)


class TermLearner(Learner[TermFit]):
    """Terms at one temperature, from windows of motion."""

    @staticmethod
    def layout_of(recipe: Metriplectic) -> tuple[float, int]:
        return max((t.reach for t in recipe.terms), default=0.0), LEAST

    def first_look(self, run: Run) -> TermFit:
        recordings, recipe = run.recordings, run.recipe
        train, mass = recordings.train, recordings.mass
        scene = scene_of(train, recordings.species, mass, self.layout_of(recipe)[0])
        conducting = max((t.reach for t in recipe.friction if isinstance(t, Conduction)), default=0.0)
        recipe = recipe.settled_as(recipe.energy, [t for t in recipe.friction if not isinstance(t, Conduction)])
        terms = Terms(tuple(t.settled(scene) for t in recipe.energy),
                      tuple(t.settled(scene) for t in recipe.friction), mass)
        plateau = friction_against_window(train, terms, scene.kT, run.progress, recipe.window_frames)
        warnings = [said for said in (plateau.warning(),) if said is not None]
        frames = min(plateau.chosen, max(1, min(part.count for part in (*train, recordings.unseen)) // 4))
        if recipe.window_frames is not None and frames < recipe.window_frames:
            warnings.append(f"window_frames = {recipe.window_frames} is too long for these recordings: windows of "
                            f"{frames} frames were used.")
        observed = _observed(recordings, recipe, frames, plateau)
        judge = Judge(WindowSet(observed.of((recordings.unseen,), JUDGED), terms, run.seed))
        of = TermRun(run, recipe, scene, conducting, plateau, frames, judge)
        first = of.fitted("terms, first look", observed, terms, FEW, stop=run.stop, keep_partial=run.keep_partial)
        return TermFit(learned=first, found={"ranges": [], "terms": []}, warnings=tuple(warnings), run=of,
                       terms=terms, observed=observed)

    def stages(self, fit: TermFit) -> Iterator[TermFit]:
        run, recipe, observed, terms, start = fit.run, fit.run.recipe, fit.observed, fit.terms, fit.numbers
        recordings, progress = run.shared.recordings, run.shared.progress
        found, warnings = dict(fit.found), list(fit.warnings)
        if recipe.select:
            of = selection.selected(TermCandidate(run, observed, terms, start))
            terms, start = of.left.listed, of.left.numbers
            found, warnings = found | {"ranges": of.ranges, "terms": of.terms}, warnings + of.warnings
        shares = noise_shares(recordings.train, terms, start, progress)
        judged = noise_shares((recordings.unseen,), terms, start, progress)
        kernel, tried = chosen_kernel(shares, judged, recipe.memory_modes)
        reached = not_reached(shares, kernel)
        warnings += [said for said in (unexplained_rise(shares, kernel), reached) if said is not None]
        terms = _remembering(terms, kernel)
        observed = dataclasses.replace(observed, shown=share_of(shares, kernel, run.frames))
        found["window"] = _of_window(run.plateau, shares, kernel) | {
            "modes_tried": tried, "plateau": run.plateau.found and reached is None}
        final = run.fitted("terms", observed, terms, MANY, start, keep_partial=run.shared.keep_partial)
        fit = TermFit(learned=final, found=found, run=run, terms=terms, warnings=tuple(warnings), observed=observed,
                      share_doubt=share_error(shares, kernel, run.frames))
        yield fit
        heat, late = fit.heat, None
        if recipe.entropy and not final.left_off:
            heat = _heat(fit)
        if kernel.times and not final.left_off:
            late, late_found = _late(fit, first_lag(kernel, run.frames, run.scene.time))
            found = found | {"late_friction": late_found}
        warnings += selection.degenerate_terms([(t.title(), of) for t, of in terms.slices()], final.at.information)
        warnings += unlike_particles(fit.windows(), fit.numbers, recipe.species is not None)
        yield dataclasses.replace(fit, found=found, warnings=tuple(warnings), heat=heat, late=late)

    def judged(self, fit: TermFit, number: int) -> tuple[np.ndarray, np.ndarray, float]:
        part = fit.run.shared.recordings.parts[number]
        judge = Judge(WindowSet(fit.observed.of((part,), JUDGED), fit.terms, fit.run.shared.seed))
        return judge.log_likelihoods(fit.terms, fit.numbers), judge.chi2(fit.terms, fit.numbers), 0.0

    def described(self, fit: TermFit) -> tuple[TermListModel, dict[str, Any], list[str]]:
        run, numbers, terms, recipe, heat, late = fit.run, fit.numbers, fit.terms, fit.run.recipe, fit.heat, fit.late
        recordings, mass = run.shared.recordings, run.shared.recordings.mass
        if "window" not in fit.found:
            memory = run.plateau.memory
            terms = _remembering(terms, Kernel((memory,), (1.0,)) if memory > 0 else Kernel())
        kinetic, kinetic_error = motion_temperature(recordings.parts, mass)
        covariance, excess = _covariance(fit.learned, kinetic_error if recipe.stationary else math.inf)
        of_noise, of_noise_error = _temperature_of_noise(fit.learned, excess, recipe.stationary)
        lls, chi2 = run.judge.log_likelihoods(terms, numbers), run.judge.chi2(terms, numbers)
        friction, friction_error = _friction(numbers, WindowSet(fit.observed, terms), covariance)
        share = numbers.unexplained / max(friction, 1e-300)
        warnings = _temperature_warnings(of_noise, of_noise_error, kinetic, kinetic_error, recipe)
        if share > 0.15:
            warnings.append(f"{100 * share / (1 + share):.0f} % of the noise is explained by no friction of the list: "
                            "it moves particles one by one. Add SubstrateFriction if there is a solvent or a "
                            "substrate, or give the frictions a longer range.")
        warnings += heat.warnings
        used = dataclasses.replace(recipe.settled_as(terms.energies, terms.frictions), entropy=heat.identified)
        arrays = {"theta": numbers.theta, "kT": np.atleast_1d(numbers.kT),
                  "unexplained": np.atleast_1d(numbers.unexplained), "covariance": covariance, "mass": mass,
                  "support": _support(terms, run.scene), **heat.arrays}
        if late is not None:
            of = slice(terms.of_energies, len(numbers.theta))
            arrays["theta"] = np.concatenate([numbers.theta[:terms.of_energies], late.phi])
            arrays["noise_theta"], arrays["covariance"] = numbers.theta, covariance.copy()
            for cross in (np.s_[of, :], np.s_[:, of]):
                arrays["covariance"][cross] = 0.0
            arrays["covariance"][of, of] = late.covariance
        part = recordings.parts[0]
        found = {
            "held_out": {"log_likelihood_per_second": float(lls.mean()) / run.seconds, "windows": len(lls),
                         "trajectory": recordings.judging},
            "calibration": {"chi2": float(chi2.mean()),
                            "numbers": int(len(chi2) * recordings.judge.n * recordings.judge.dim)},
            "window": fit.found.get("window", run.plateau.report()) | {
                "frames": run.frames, "seconds": run.seconds, "shown": fit.observed.shown, "friction": friction,
                "friction_stderr": math.hypot(friction_error, friction * fit.share_doubt)},
            "kT": {"fit": numbers.kT, "of_velocities": kinetic,
                   "of_velocities_stderr": kinetic * kinetic_error, "of_friction_and_noise": of_noise,
                   "of_friction_and_noise_stderr": of_noise * of_noise_error},
            "unexplained_noise": share, "species": list(recordings.species), "excess_scatter": excess,
            "entropy_identifiable": heat.identified, "dim": part.dim, "particles": part.n,
            **({"heat": heat.report} if heat.report else {})}
        model = TermListModel(arrays, recipe_of(dataclasses.replace(used, checkpoint=None)), recordings.units,
                              part.box, found)
        return model, found | {"parameters": model.parameters(), "laws": laws_of_terms(model, part)}, warnings


def _observed(recordings: Recordings, recipe: Metriplectic, frames: int, plateau: Plateau) -> Observed:
    train = recordings.train
    shown = share_shown(frames * train[0].dt, plateau.memory) if plateau.found else 1.0
    starts = window_starts(train, frames, MANY)
    if not recipe.stationary:
        return Observed(train, starts, frames, shown)
    kT, _ = motion_temperature(train, recordings.mass)
    return Observed(train, starts, frames, shown, math.log(kT), HELD)


def _support(terms: Terms, scene: Scene) -> np.ndarray:
    """Closest distance of each kind of pairs and the longest range: where functions of r were seen, (kinds, 2)."""
    closest = np.where(np.isfinite(scene.closest), scene.closest, 0.0)
    return np.stack([closest, np.full(len(closest), terms.reach)], axis=1)


# ---------------------------------------------------------------- ranges and terms

@dataclass(frozen=True, eq=False)
class TermCandidate(selection.Candidate):
    """A list of terms with numbers from few windows."""

    run: TermRun
    observed: Observed
    listed: Terms
    numbers: Numbers

    @property
    def seconds(self) -> float:                                                                # type: ignore[override]
        return self.run.seconds

    @property
    def terms(self) -> tuple[Energy | Friction, ...]:
        return tuple(term for term, _ in self.listed.slices())

    def held_out(self) -> np.ndarray:
        return self.run.judge.log_likelihoods(self.listed, self.numbers)

    def fitted(self, what: str, terms: Sequence[Energy | Friction | None],
               iterations: int | None = None) -> TermCandidate:
        other = self._with(terms)
        learned = self.run.fitted(f"terms, {what}", self.observed, other.listed, FEW, other.numbers, iterations)
        return dataclasses.replace(other, numbers=Numbers.of(learned.vector))

    def without(self, places: Sequence[int]) -> TermCandidate:
        return self._with([None if k in places else term for k, term in enumerate(self.terms)])

    def resized(self, place: int, what: Literal["shorter", "longer"]) -> Term | None:
        term, of = self.listed.slices()[place]
        return getattr(selection, what)(term, self.numbers.theta[of], self.run.scene)          # type: ignore[no-any-return]

    def may_go(self, place: int) -> bool:
        return len(self.terms) > 1 and not (self.terms[place] in self.listed.frictions
                                            and len(self.listed.frictions) == 1)

    def _with(self, terms: Sequence[Energy | Friction | None]) -> TermCandidate:
        """Other terms with numbers that make about the same functions."""
        old, theta = self.terms, [self.numbers.theta[of] for _, of in self.listed.slices()]
        kept = [selection.mapped(old, theta, term, k) for k, term in enumerate(terms) if term is not None]
        listed = dataclasses.replace(self.listed, energies=tuple(t for t in terms if isinstance(t, Energy)),
                                     frictions=tuple(t for t in terms if isinstance(t, Friction)))
        return dataclasses.replace(self, listed=listed, numbers=dataclasses.replace(
            self.numbers, theta=np.concatenate([np.zeros(0), *kept])))


def _heat(fit: TermFit) -> Finding:
    """Heat that particles carry, at the numbers that were learned; it flows as far as friction reaches, or as asked."""
    run, recordings, terms, numbers = fit.run, fit.run.shared.recordings, fit.terms, fit.numbers
    theta = [numbers.theta[place] for _, place in terms.slices()]
    frozen = freeze([term for term, _ in terms.slices()], theta, kT=numbers.kT, mass=recordings.mass,
                    dim=recordings.judge.dim)
    reach = min(run.conducting or terms.friction_reach, frozen.cutoff)
    return find_heat(recordings.train, recordings.unseen, terms, numbers, fit.observed.frames, fit.observed.shown,
                     frozen, reach, run.shared.seed, run.shared.progress)


def _late(fit: TermFit, lag: int) -> tuple[LateFriction | None, dict[str, Any]]:
    """The parts of friction from drift if they are to be taken, and what the report says of them."""
    terms, numbers, shared, windows = fit.terms, fit.numbers, fit.run.shared, fit.windows()
    train = shared.recordings.train
    of = slice(terms.of_energies, len(numbers.theta))
    slopes = friction_slopes(windows)
    precision, _ = WindowLikelihood(windows, fit.run.scene).prior(numbers.vector)
    late = late_friction(train, terms, numbers, _covariance(fit.learned, math.inf)[0][of, of], precision[of, of],
                         slopes, lag, shared.progress)
    if late is None:
        return None, {"taken": False}
    entry = late.report(train[0].dt)
    if not late.differs:
        return None, entry | {"taken": False}
    friction = float(slopes @ numbers.theta[of])
    other = dataclasses.replace(numbers, theta=np.concatenate(
        [numbers.theta[:terms.of_energies], late.phi]))
    try:
        before, after = (misfit(train[0], terms, one, friction, shared.seed, shared.progress)
                         for one in (numbers, other))
    except ModelError:
        return None, entry | {"taken": False}
    taken = after < NEARER * before
    return late if taken else None, entry | {"misfit": after, "misfit_of_noise": before, "taken": bool(taken)}


# ---------------------------------------------------------------- what is said of it

def _covariance(final: Learned, kinetic_error: float) -> tuple[np.ndarray, float]:
    """Of all parameters and ln kT, ν; widened by how much more the scores of the windows scatter than they should."""
    total = final.total.copy()
    if math.isfinite(kinetic_error):
        total[-2, -2] += kinetic_error**-2 - HELD**-2
    return widened(total, final.at.information / len(final.at.scores), final.at.scores)


def _remembering(terms: Terms, kernel: Kernel) -> Terms:
    """Terms that act with a delay get their memory times."""
    return dataclasses.replace(terms, frictions=tuple(
        t.remembering(kernel.times, kernel.weights) if t.temporal else t for t in terms.frictions))


def _of_window(plateau: Plateau, shares: Shares, kernel: Kernel) -> dict[str, Any]:
    """Friction against window, with what a fitted model takes off, and the memory that it shows."""
    friction, error = shares.share * shares.friction, shares.error * shares.friction
    rows = zip(shares.frames, shares.seconds, friction, error, strict=True)
    return plateau.report() | {
        "friction_against_window": [[int(k), float(t), float(g), float(e)] for k, t, g, e in rows],
        "memory_time": sum(w * t for w, t in zip(kernel.weights, kernel.times, strict=True)),
        "memory_times": list(kernel.times), "memory_weights": list(kernel.weights)}


def _friction(numbers: Numbers, windows: WindowSet, covariance: np.ndarray) -> tuple[float, float]:
    """Γ of a particle and its standard error [mass/s]."""
    of = slice(windows.terms.of_energies, len(numbers.theta))
    slopes = friction_slopes(windows)
    return float(slopes @ numbers.theta[of]), math.sqrt(max(float(slopes @ covariance[of, of] @ slopes), 0.0))


def _temperature_of_noise(final: Learned, excess: float, held: bool) -> tuple[float, float]:
    """kT by friction and noise alone, and its relative error: where held fast, one step of the score from there."""
    total = final.total.copy()
    if held:
        total[-2, -2] -= HELD**-2
    known = float(inverse(total)[-2, -2])
    # at the maximum every other slope is zero, and that of ln kT is what held it
    step = known * float(final.at.scores.sum(axis=0)[-2]) if held else 0.0
    error = math.sqrt(max(known * max(1.0, excess), 0.0))
    return math.exp(final.vector[-2] + max(-1.0, min(1.0, step))), error


def _temperature_warnings(fit: float, own: float, kinetic: float, error: float, recipe: Metriplectic) -> list[str]:
    apart = abs(math.log(fit / kinetic))
    if apart <= max(DISAGREE * math.hypot(own, error), 0.1):
        return []
    said = (f"Temperatures disagree: velocities have kT = {kinetic:.4g}, friction and its noise {fit:.4g} (energy in "
            "mass · µm²/s²).")
    if recipe.stationary:
        return [said + " The particles are not at equilibrium (driven, active, cooling), velocities carry noise of "
                "their own, or windows are too short for the memory of the noise. For a sample that is not at "
                "equilibrium give stationary=False."]
    return [said + " The particles are not at equilibrium, or velocities carry noise of their own."]
