"""Viscoelastic sheet: springs and dashpots learned from one cycle of a driven sheet, tried on drives not seen.

    python scripts/reproduce_viscoelastic.py --out viscoelastic            # table, page of figures, figures.json
    python scripts/reproduce_viscoelastic.py --out small --small           # a sheet of 196 nodes, a minute

Truth: `vd.simulators.ViscoelasticSheet`, its defaults: 841 nodes, stiffness and friction of bonds that fall smoothly
with their reference length, top and bottom sheared against each other once as published (80 frames of rest, 405 out,
400 back). Training: the first four fifths of it. Records of the same sheet:

clean        positions and velocities without error
velocities   errors of 0.003 µm/s on velocities, as in the reference figures
noisy        that and errors of 0.7 % of the distance of nodes on positions, reference averaged over the rest
positions    positions alone with such errors, as from a video
filmed       a movie of the small sheet, tracked; nodes of the outer rows are held

moduli       shear and bulk modulus and viscosity over the truth (affine lattice sums)
heat         of the whole cycle over the truth; kT from the column of entropies where there is one
unseen       sines of four and eight times the frequency of the cycle, of other amplitude: relative errors of the
             displacements of free nodes and of the stress on the top edge; heat over the truth; energy that is missing
members      error of displacements in the last fifth, by springs and by the deformation gradient
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

import vid2dyn as vd
from vid2dyn.core.files import atomic
from vid2dyn.simulators.viscoelastic import TOP, ViscoelasticSheet

FULL = ViscoelasticSheet()
SMALL = ViscoelasticSheet(nodes=14, cutoff=0.32, frames=240, rest_frames=20, out_frames=100, back_frames=100)
MODULI = ("shear_modulus", "bulk_modulus", "shear_viscosity", "bulk_viscosity")


@dataclasses.dataclass(frozen=True)
class Record:
    """A sheet and how it is looked at.

    Parameters
    ----------
    sheet : ViscoelasticSheet
    velocities : bool
        Whether velocities and entropies are in the table.
    filmed : bool
        Whether positions come from a movie.
    """

    sheet: ViscoelasticSheet
    velocities: bool = True
    filmed: bool = False

    def tracks(self, seed: int = 1) -> vd.Trajectories:
        """The table."""
        made = self.sheet.run(seed=seed)
        if self.filmed:
            return filmed(self.sheet, seed)
        return made if self.velocities else made.replace(
            dataframe=made.dataframe.drop(columns=["vy", "vx", "entropy"]))

    @property
    def noisy(self) -> bool:
        """Whether positions have errors, so that the reference is averaged over the rest."""
        return self.filmed or self.sheet.position_noise > 0


def records(sheet: ViscoelasticSheet) -> dict[str, Record]:
    """By name."""
    noise = 0.007 * sheet.size / (sheet.nodes - 1)
    velocities = dataclasses.replace(sheet, velocity_noise=0.003)
    return {"clean": Record(sheet), "velocities": Record(velocities),
            "noisy": Record(dataclasses.replace(velocities, position_noise=noise)),
            "positions": Record(dataclasses.replace(sheet, position_noise=noise), velocities=False),
            "filmed": Record(dataclasses.replace(SMALL, micrometre_per_pixel=0.0155), velocities=False, filmed=True)}


def filmed(sheet: ViscoelasticSheet, seed: int) -> vd.Trajectories:
    """Tracks of a movie; the held nodes are those of the outermost rows of the first frame."""
    edge = round(1.5 * sheet.size / sheet.micrometre_per_pixel)
    video = vd.render(sheet, vd.simulators.Renderer(height=edge, width=edge), seed=seed)
    tracks = vd.track(video, diameter=7, search_range=5)
    first = tracks.frame == 0
    row = dict(zip(tracks.particle[first], tracks.positions[first, 0]))
    y = np.array([row.get(one, np.nan) for one in tracks.particle])
    near = 0.5 * sheet.size / (sheet.nodes - 1)
    held = np.where(y < np.nanmin(y) + near, 1, np.where(y > np.nanmax(y) - near, TOP, 0))
    return tracks.replace(dataframe=tracks.dataframe.assign(held=held))


def recipe(record: Record, *, compared: bool) -> vd.Metriplectic:
    """Springs and dashpots."""
    sheet, noisy = record.sheet, record.noisy
    return vd.Metriplectic(energy=[vd.terms.BondEnergy(sheet.cutoff)], friction=[vd.terms.BondDashpot(sheet.cutoff)],
                           mass=sheet.mass, reference_frame=(0, sheet.rest_frames - 1) if noisy else 0,
                           compare=("deformation",) if compared else ())


def unseen(sheet: ViscoelasticSheet) -> dict[str, ViscoelasticSheet]:
    """Drives by name: faster sines of another amplitude."""
    cycle = sheet.out_frames + sheet.back_frames
    return {f"sine, {f} x": dataclasses.replace(
        sheet, drive="sine", strain=strain, out_frames=cycle // (2 * f), back_frames=cycle // (2 * f),
        position_noise=0.0, velocity_noise=0.0, frames=sheet.rest_frames + cycle // 2)
            for f, strain in ((4, 0.15), (8, 0.2))}


def relative(wrong: np.ndarray, right: np.ndarray, zero: Any = 0.0) -> float:
    """Relative rms error."""
    return float(np.sqrt(((wrong - right) ** 2).mean() / ((right - zero) ** 2).mean()))


def tried(model: Any, drive: ViscoelasticSheet) -> tuple[dict[str, float], dict[str, Any]]:
    """A rollout beside a simulation of a drive that was not seen."""
    truth = drive.run(seed=7)
    made = model.rollout(truth)
    free = truth.dataframe["held"].to_numpy() == 0
    rest = np.repeat(truth.positions[truth.frame == 0], truth.n_frames, axis=0)
    stress, learned = np.array(truth.info["truth"]["boundary_stress"]), model.boundary_stress(made, TOP)
    heat = np.array(truth.info["truth"]["energy"]["heat"]), np.array(made.info["rollout"]["energy"]["heat"])
    row = {"displacement": relative(made.positions[free], truth.positions[free], rest[free]),
           "stress": relative(learned, stress), "heat": float(heat[1][-1] / heat[0][-1]),
           "imbalance": made.info["rollout"]["imbalance"]}
    off = np.linalg.norm(made.positions - truth.positions, axis=1).reshape(-1, truth.n_frames)[free[::truth.n_frames]]
    moved = truth.positions[truth.dataframe["held"].to_numpy() == TOP].reshape(-1, truth.n_frames, 2).mean(axis=0)
    return row, {"strain": 2 * (moved[:, 1] - moved[0, 1]) / drive.size, "stress": stress[:, 1],
                 "learned": learned[:, 1], "off": np.sqrt((off**2).mean(axis=0)), "dt": truth.units.dt}


def learned_from(name: str, record: Record, *, compared: bool) -> tuple[dict[str, Any], Any, Any]:
    """Everything that one record gives: a row of figures, the model, curves."""
    begin, sheet = time.perf_counter(), record.sheet
    truth, tracks = sheet.run(seed=1).info["truth"], record.tracks()
    model = vd.fit(tracks, recipe(record, compared=compared), progress=sys.stderr.isatty())
    row: dict[str, Any] = {"seconds": time.perf_counter() - begin, "warnings": model.report["warnings"]}
    for key in MODULI:
        low, high = model.band(key)
        row[key] = getattr(model, key)() / truth[key]
        row[f"{key} band"] = float(high - low) / 2 / truth[key]
    row["kT"] = model.kT() / sheet.temperature if record.velocities else float("nan")
    made = model.rollout(tracks)
    row["heat"] = made.info["rollout"]["energy"]["heat"][-1] / truth["energy"]["heat"][-1]
    row["members"] = {", ".join(one["energy"]): one["displacement_error"] for one in model.report["members"]}
    curves = {}
    for drive, other in unseen(sheet).items():
        row[drive], curves[drive] = tried(model, other)
    numbers = "  ".join(f"{key.replace('_', ' ')} {row[key]:.4f}" for key in MODULI)
    print(f"{name:10s} {row['seconds']:5.0f} s  {numbers}  kT {row['kT']:.3f}  heat {row['heat']:.3f}", flush=True)
    for drive in curves:
        one = row[drive]
        print(f"           {drive}: displacement {100 * one['displacement']:.2g} %, stress "
              f"{100 * one['stress']:.2g} %, heat {one['heat']:.4f}, energy missing {one['imbalance']:.1g}", flush=True)
    for said in row["warnings"]:
        print(f"           said: {said}")
    return row, model, curves


def page(sheet: ViscoelasticSheet, models: dict[str, Any], curves: dict[str, Any], out: Path) -> None:
    """Stiffness and friction with their bands, stress-strain loops, errors of displacements."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 3, figsize=(15, 8.5), layout="constrained")
    for column, (name, label) in enumerate((("bond_stiffness", "stiffness k (energy/µm²)"),
                                            ("bond_friction", "friction c (energy s/µm²)"))):
        ax = axes[0, column]
        for shade, (record, model) in zip(("C0", "C1", "C2", "C3", "C4"), models.items()):
            R = np.linspace(*model.arrays["support"], 200)
            low, high = model.band(name, R)
            ax.fill_between(R, low, high, color=shade, alpha=0.2, lw=0)
            ax.plot(R, getattr(model, name)(R), color=shade, label=record)
        ax.plot(R, sheet.true_function(name, R), "k--", lw=1, label="truth")
        top = float(np.max(sheet.true_function(name, R)))
        ax.set(xlabel="reference length (µm)", ylabel=label, ylim=(-0.1 * top, 1.3 * top))
        ax.legend()
    first = next(iter(curves.values()))
    for (drive, _), ax in zip(first.items(), (axes[1, 0], axes[1, 1])):
        for shade, (record, of) in zip(("C0", "C1", "C2", "C3", "C4"), curves.items()):
            ax.plot(of[drive]["strain"], of[drive]["learned"], color=shade, label=record)
        ax.plot(first[drive]["strain"], first[drive]["stress"], "k--", lw=1, label="truth")
        ax.set(xlabel="strain", ylabel="stress on the top edge (energy/µm²)", title=drive)
        ax.legend()
    ax = axes[1, 2]
    for shade, (record, of) in zip(("C0", "C1", "C2", "C3", "C4"), curves.items()):
        for style, (drive, curve) in zip(("-", ":"), of.items()):
            ax.semilogy(np.arange(len(curve["off"])) * curve["dt"], np.maximum(curve["off"], 1e-12), style, color=shade,
                        label=f"{record}, {drive}")
    ax.set(xlabel="time (s)", ylabel="rms error of displacements (µm)")
    ax.legend(fontsize=7)
    members = next(iter(models.values())).report["members"]
    axes[0, 2].bar([", ".join(one["energy"]) for one in members], [100 * one["displacement_error"] for one in members])
    axes[0, 2].set(ylabel="error of unseen displacements (%)", yscale="log", title="which energy predicts better")
    with atomic(out / "viscoelastic.png") as scratch:
        figure.savefig(scratch, format="png", dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("viscoelastic"))
    parser.add_argument("--small", action="store_true", help="a sheet of 196 nodes")
    parser.add_argument("--records", nargs="*", help="names of records; default all")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    sheet = SMALL if asked.small else FULL
    rows, models, curves = {}, {}, {}
    for name, record in records(sheet).items():
        if asked.records and name not in asked.records:
            continue
        rows[name], models[name], curves[name] = learned_from(name, record, compared=not models)
        if record.filmed and sheet is not SMALL:
            models.pop(name), curves.pop(name)                    # another sheet: its curves are not those of the page
        with atomic(asked.out / "figures.json") as scratch:
            scratch.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    page(sheet, models, curves, asked.out)
    for one, error in next(iter(rows.values()))["members"].items():
        print(f"{one}: unseen displacements to {100 * error:.2g} %")


if __name__ == "__main__":
    main()
