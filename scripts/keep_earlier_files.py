"""Keep files of this version for good: one of every kind, small, with the numbers that they give today.

    python scripts/keep_earlier_files.py [--out tests/data/earlier/0.1.0]

``tests/data/test_earlier_files.py`` opens all of them in every later version and compares; docs/releases.md says when
to add a folder. ``says.json`` has, for each file, which questions were asked and what it answered.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import vid2dyn as vd

ROOT = Path(__file__).resolve().parents[1]


def listed(values: Any) -> list[float]:
    return np.asarray(values, float).ravel().tolist()


def about_tracks(tracks: Any) -> dict[str, Any]:
    """Numbers that say whether a table was read as it was written."""
    return {"rows": len(tracks), "y_sum": float(tracks.dataframe.y.sum()), "box": type(tracks.box).__name__,
            "frames_per_second": tracks.units.frames_per_second}


def keep(out: Path) -> dict[str, Any]:
    """Write the files; what each says of itself, by name."""
    says: dict[str, Any] = {}
    repulsion = vd.simulators.Yukawa(amplitude=10, screening_length=0.3, cutoff=2.5)
    colloids = vd.simulators.Brownian(n_particles=24, frames=40, box_length=9.0, exposure=0.005, pair=repulsion,
                                      localisation_error=0.01)
    tracks = vd.simulate(colloids, seed=0)
    gas = vd.simulate(vd.simulators.SDPD(dim=2, n_particles=36, box_length=0.6, frames=40, flow="taylor_green",
                                         flow_speed=30.0), seed=0)
    sheared = vd.simulate(vd.simulators.SDPD(dim=2, n_particles=64, box_length=0.8, frames=5, flow="shear",
                                             shear_rate=20.0), seed=0)
    for name, table in (("tracks", tracks), ("gas", gas), ("sheared", sheared)):
        table.save(out / f"{name}.parquet")
        says[f"{name}.parquet"] = about_tracks(table)
    fields = vd.simulate(vd.simulators.Arrhenius(sites=40, realisations=20, kernel=(1.0,)), seed=0)
    fields.save(out / "lattice.fields")
    says["lattice.fields"] = {"sum": float(fields.values.sum()), "times": listed(fields.times)}

    trapped = vd.simulate(vd.simulators.Brownian(n_particles=9, frames=60, box_length=None, trap="each",
                                                 trap_stiffness=20.0), seed=0)
    soft = vd.simulate(vd.simulators.DPD(n_particles=60, frames=40, box_length=2.8, equilibration=50), seed=0)
    r, rho = [1.2, 1.5, 2.0], [0.4, 0.5, 0.6]
    models: dict[str, tuple[Any, Any, dict[str, Callable[[Any], Any]]]] = {
        "free": (tracks, vd.Brownian(), {"diffusion": lambda m: m.diffusion(), "band": lambda m: m.band("diffusion")}),
        "pairs": (tracks, vd.Brownian(cutoff=2.5), {"pair_potential": lambda m: m.pair_potential(r),
                                                    "band": lambda m: m.band("pair_potential", r)}),
        "trap": (trapped, vd.Brownian(trap="each"), {"trap_stiffness": lambda m: m.trap_stiffness()}),
        "flow": (fields, vd.GradientFlow(), {"mobility": lambda m: m.mobility(rho),
                                             "curvature": lambda m: m.curvature(rho)}),
        "fluid": (gas, vd.Metriplectic(cutoff=0.2, mass=0.5, compare=()),
                  {"temperature": lambda m: m.temperature(0.0, 0.01),
                   "shear_viscosity": lambda m: m.shear_viscosity()}),
        "terms": (soft, vd.Metriplectic(energy=[vd.terms.PairPotential(cutoff=1.0)], entropy=False,
                                        friction=[vd.terms.PairFriction(cutoff=1.0)]),
                  {"kT": lambda m: m.kT(), "pair_potential": lambda m: m.pair_potential([0.5, 0.7])})}
    for name, (data, recipe, asked) in models.items():
        model = vd.fit(data, recipe, seed=0)
        model.save(out / f"{name}.vid2dyn")
        says[f"{name}.vid2dyn"] = {question: listed(answer(model)) for question, answer in asked.items()}
        if name == "terms":
            vd.export.lammps(model, out / "lammps")
            for other in ("stock", "tables"):                # files of LAMMPS and tables, which we do not read
                shutil.rmtree(out / "lammps" / other, ignore_errors=True)
            says["lammps"] = {}

    film = vd.simulators.Brownian(n_particles=10, frames=20, box_length=14.0, exposure=0.005)
    movie = vd.render(film, vd.simulators.Renderer(height=120, width=120), seed=0)
    seen = vd.track(movie, diameter=11, search_range=6)
    encoder = vd.PatchEncoder(steps=3, examples=200, channels=2).train(movie, seen, seed=0)
    encoder.save(out / "patches.encoder")
    says["patches.encoder"] = {"size": [encoder.size], "n_columns": [encoder.n_columns]}
    shutil.copy(ROOT / "sample_data" / "demo.toml", out / "experiment.toml")
    says["experiment.toml"] = {}
    return says


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "tests" / "data" / "earlier" / vd.__version__)
    out = parser.parse_args().out
    if out.exists():
        raise SystemExit(f"{out}: is there already, and what is kept is never changed. Name another folder with --out.")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".") as scratch:
        folder = Path(scratch) / out.name
        folder.mkdir()
        text = json.dumps({"version": vd.__version__, "files": keep(folder)}, indent=1, sort_keys=True)
        (folder / "says.json").write_text(text + "\n", encoding="utf-8")
        folder.rename(out)                                   # whole or not at all
    print(f"{out}: {sum(path.stat().st_size for path in out.rglob('*') if path.is_file()) / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
