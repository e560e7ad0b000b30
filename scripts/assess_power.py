"""What an assessed model notices: planted faults, power of the tests, and false alarms on clean data.

    python scripts/assess_power.py                               # every fault and every clean family, 3 seeds each
    python scripts/assess_power.py --only "clean: Yukawa" "clean: WCA" --seeds 40
    python scripts/assess_power.py --recipe default              # as who gives no setting but the kind of trap
    python scripts/assess_power.py --out power.jsonl             # keeps every seed; a run that was ended goes on there

Faults are made by `vid2dyn.simulators.Departures`, which shares no code with what learns. Columns:

noticed   part of the seeds in which one of the expected tests fails, or the fit says so
cured     part of the seeds in which the truth is inside the bands of what is listed (D, k, U at one distance), at 3.6
          standard errors (these come from 8 simulations and are known to a quarter themselves)
first     the test that is worst, in the first seed
answers   mean over seeds, with the truth in brackets

A row is silent where a seed is neither noticed nor cured. Clean families: part of the seeds with any warning, or with a
failed test in `vd.assess`, which also lets the model run beside the data.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from measure import kept_rows, seed_options

import vid2dyn as vd

S = vd.simulators
PAIR = S.Yukawa(amplitude=8.0, screening_length=0.3, diameter=1.0)
"""Energies 3.4, 1.5 and .44 kT at 1.2, 1.4 and 1.7 µm."""
D, K = 0.4, 12.5
PAIRS = vd.Brownian(cutoff=3.0)
TRAPS = vd.Brownian(trap="each")
STIFF = vd.Brownian(cutoff=1.6)


@dataclass(frozen=True)
class Row:
    """One fault.

    Parameters
    ----------
    simulator : Departures
    recipe : Brownian
    expected : tuple of str
        Tests, or words of a warning, that name the cause; empty: a clean family.
    at : float, optional
        Distance at which the pair potential is asked [µm].
    true_D : float, optional
        Where one D is true.
    """

    simulator: Any
    recipe: Any
    expected: tuple[str, ...] = ()
    at: float | None = None
    true_D: float | None = D


def pairs(**fault: Any) -> Any:
    """Interacting particles with a fault."""
    return S.Departures(pair=PAIR, diffusion=D, **fault)


def traps(**fault: Any) -> Any:
    """Forty particles, each in its own trap, with a fault."""
    return S.Departures(**{"n_particles": 40, "frames": 400, "trap": "each", "trap_stiffness": K, "box_length": None,
                           "spacing": 4.0, "diffusion": D, **fault})


def free(**fault: Any) -> Any:
    """Particles without forces, with a fault."""
    return S.Departures(**{"diffusion": D, "spacing": 2.0, **fault})


CLEAN: dict[str, Row] = {
    "clean: free": Row(free(), vd.Brownian()),
    "clean: free, full exposure": Row(free(exposure=0.01), vd.Brownian()),
    "clean: Yukawa": Row(pairs(), PAIRS, at=1.4),
    "clean: WCA": Row(S.Departures(pair=S.WCA(diameter=1.2), diffusion=D, substeps=60), STIFF, at=1.25),
    "clean: traps": Row(traps(), TRAPS),
    "clean: one trap": Row(S.Departures(n_particles=1, frames=4000, trap="shared", trap_stiffness=K, box_length=None),
                           vd.Brownian(trap="shared")),
}

FAULTS: dict[str, Row] = {
    "missing 5 %": Row(pairs(missing=0.05), PAIRS, ("missing",), 1.4),
    "missing 15 %": Row(pairs(missing=0.15), PAIRS, ("missing",), 1.4),
    "missing 30 %": Row(pairs(missing=0.30), PAIRS, ("missing",), 1.4),
    "missing 15 %, tracks broken": Row(pairs(missing=0.15, broken_tracks=True), PAIRS, ("missing",), 1.4),
    "drift .02 µm/s, traps": Row(traps(drift=0.02), TRAPS, ("common drift",)),
    "drift .1 µm/s, traps": Row(traps(drift=0.1), TRAPS, ("common drift",)),
    "drift .335 µm/s, traps": Row(traps(drift=0.335), TRAPS, ("common drift",)),
    "vibration, traps": Row(traps(drift=0.5, drift_period=1.0), TRAPS, ("common drift",)),
    "drift .5 µm/s, free": Row(free(drift=0.5), vd.Brownian(), ("common drift",)),
    "expanding crystal": Row(pairs(box_length=None, spacing=1.3, equilibration=0.0), PAIRS, (
        "equilibrium of positions", "relaxes"), 1.7),
    "polydisperse 20 %": Row(pairs(size_spread=0.2), PAIRS, ("one D for all particles", "not alike"), None, None),
    "two species": Row(pairs(second_share=0.5, second_diffusion=0.375, second_strength=0.22), PAIRS, (
        "one D for all particles", "not alike"), None, None),
    "cutoff too short": Row(pairs(), vd.Brownian(cutoff=1.8), ("force at the cutoff", "energy near the cutoff"), 1.2),
    "gravity and wall": Row(pairs(gravity=1.0, box_length=None, spacing=1.5, equilibration=3.0), PAIRS, (
        "force against place", "equilibrium of positions"), 1.4),
    "weakly active": Row(pairs(swim_speed=3.0, rotational_diffusion=20.0), PAIRS, ("persistence", "memory"), 1.2),
    "free active": Row(free(swim_speed=5.0, rotational_diffusion=3.0), vd.Brownian(), ("persistence", "memory")),
    "circulation in traps": Row(traps(circulation=6.0), TRAPS, ("circulation",)),
    "shear": Row(free(shear_rate=0.5, box_length=None), vd.Brownian(), ("force against place", "persistence")),
    "double well as trap": Row(S.Departures(n_particles=40, frames=600, trap="each", trap_stiffness=K, well_barrier=1.5,
                                            well_place=0.35, box_length=None, spacing=4.0, diffusion=D), TRAPS, (
        "shape of the trap",), None),
    "transverse pair force": Row(pairs(transverse=0.5), PAIRS, ("transverse pair force",), 1.4),
    "hydrodynamic coupling": Row(S.Brownian(n_particles=60, hydrodynamic_radius=0.4, box_length=None, pair=PAIR,
                                            trap="shared", trap_stiffness=0.5, diffusion=D, localisation_error=0.02),
                                 vd.Brownian(cutoff=3.0, trap="shared"), ("hydrodynamic coupling",), 1.4),
    "D depends on place": Row(free(diffusion_gradient=0.4), vd.Brownian(), ("D against place",), None, None),
    "aligned rods": Row(free(aligned=1.5), vd.Brownian(), ("isotropy",), None, None),
    "two D": Row(free(second_share=0.5, second_diffusion=0.25), vd.Brownian(), ("one D for all",), None, None),
    "30 % stuck": Row(free(stuck_share=0.3), vd.Brownian(), ("one D for all particles",), None, None),
    "swaps .7 %": Row(free(swap_probability=0.007), vd.Brownian(), ("jumps",)),
    "subdiffusion H = .35": Row(free(hurst=0.35), vd.Brownian(), ("memory", "persistence", "correlated"), None, None),
    "WCA, noise 80 %": Row(S.Departures(pair=S.WCA(diameter=1.2), diffusion=D, substeps=60, localisation_error=0.072),
                           vd.Brownian(cutoff=1.6), ("localisation error of",), 1.25),
    "exposure misstated": Row(S.Departures(n_particles=1, frames=6000, trap="shared", trap_stiffness=K, box_length=None,
                                           exposure=0.01, stated_exposure=0.0, localisation_error=0.005),
                              vd.Brownian(trap="shared"), ("memory", "exposure")),
    "correlated errors": Row(free(correlated_errors=0.7, localisation_error=0.06), vd.Brownian(), (
        "memory", "correlated")),
}


def asked(name: str, seed: int, default: bool = False) -> dict[str, Any]:
    """What the fit of one seed of a row says; `default`: a recipe without any setting but the kind of trap."""
    row, start = (CLEAN | FAULTS)[name], time.perf_counter()
    recipe = vd.Brownian(trap=row.recipe.trap) if default else row.recipe
    tracks = row.simulator.run(seed)
    model = vd.fit(tracks, recipe, seed=0)
    failed = [one["test"] for one in model.report["assessment"] if one["failed"]]
    if not row.expected:
        failed = sorted({*failed, *(one.test for one in vd.assess(tracks, model, seed=seed).failed)})
    warnings = list(model.report["warnings"])
    said = " ".join([*failed, *warnings])
    covered, answers, truth = answers_of(model, replace(row, recipe=recipe))
    return {"noticed": any(word in said for word in row.expected) if row.expected else bool(warnings or failed),
            "cured": all(covered), "failed": failed, "warnings": warnings, "answers": answers, "truth": truth,
            "seconds": time.perf_counter() - start}


def answers_of(model: Any, row: Row) -> tuple[list[bool], dict[str, float], dict[str, float]]:
    """Whether each band holds the truth, the answers, and the truth."""
    covered, answers, truth = [], {"D": model.diffusion()}, {}
    if row.true_D is not None:
        truth["D"] = row.true_D
        covered.append(_inside(model, "diffusion", None, row.true_D))
    if "trap" in model.arrays and row.simulator.trap_stiffness and not isinstance(row.recipe.cutoff, float):
        truth["k"], answers["k"] = row.simulator.trap_stiffness, model.trap_stiffness()
        covered.append(_inside(model, "trap_stiffness", None, row.simulator.trap_stiffness))
    if row.at is not None:
        r = np.array([row.at])
        true, name = float(row.simulator.pair.energy(r)[0]), f"U({row.at:g})"
        truth[name], answers[name] = true, float(model.pair_potential(r)[0])
        covered.append(_inside(model, "pair_potential", r, true))
    return covered, answers, truth


def _inside(model: Any, name: str, x: Any, true: float) -> bool:
    low, high = (float(np.ravel(edge)[0]) for edge in model.band(name, x, level=0.9997))
    return low <= true <= high


def line(found: Sequence[dict[str, Any]], clean: bool) -> str:
    """One line of the table, with all that was said below it."""
    answers = ", ".join(f"{key} {np.mean([one['answers'][key] for one in found]):.3g}"
                        + (f" ({found[0]['truth'][key]:.3g})" if key in found[0]["truth"] else "")
                        for key in found[0]["answers"])
    noticed, cured = ([one[what] for one in found] for what in ("noticed", "cured"))
    tests = ", ".join(sorted({test for one in found for test in one["failed"]})) if clean else next(
        (one["failed"][0] for one in found if one["failed"]), "")
    silent = "" if clean or all(a or b for a, b in zip(noticed, cured)) else "  SILENT"
    said = dict.fromkeys(text[:150] for one in found for text in one["warnings"])
    return "\n      ".join([f"{found[0]['name']:30s} {len(found):5d} {np.mean(noticed):8.2f} {np.mean(cured):6.2f}  "
                            f"{answers}; {tests or '-'}{silent}  [{np.mean([one['seconds'] for one in found]):.0f} s]",
                            *said])


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = seed_options(__doc__, (*CLEAN, *FAULTS), seeds=3, first=0)
    parser.add_argument("--recipe", choices=("row", "default"), default="row")
    options = parser.parse_args(arguments)
    print(f"{'':30s} seeds  noticed  cured  answers (truth); failed tests of clean rows, the worst of others")
    for found in kept_rows(options.only or (*CLEAN, *FAULTS), range(options.first, options.first + options.seeds),
                           lambda name, seed: asked(name, seed, options.recipe == "default"), options.out):
        print(line(found, found[0]["name"] in CLEAN), flush=True)


if __name__ == "__main__":
    main()
