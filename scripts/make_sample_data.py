"""Make sample_data/: two short rendered clips whose truth is known, used by `vid2dyn demo` and the tests.

    python scripts/make_sample_data.py [--out FOLDER]

The first is charged colloids (Yukawa repulsion) seen by a camera whose shutter is always open, the second a film of
particles of two sizes, seen as rings that touch, sheared by a needle. Run again, it
writes the same bytes (same versions of numpy, numba and tifffile).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import vid2dyn
from vid2dyn.core.config import recipe
from vid2dyn.core.files import atomic, sha256
from vid2dyn.simulators import Brownian, Needle, Renderer, Yukawa, render
from vid2dyn.simulators.camera.movie_files import write_movie

SEED = 2026

# Neighbours at 1.6-2.5 µm feel 4-0.4 kT, and at 12 px and more their spots do not overlap: the tracker does not
# bend the potential. A pair relaxes in 1/(2 D U'') = 4 frames at 1.6 µm, 10 frames at 2 µm.
SIMULATION = Brownian(
    n_particles=220, frames=210, frames_per_second=80.0, diffusion=0.4, box_length=36.0,
    pair=Yukawa(amplitude=22.0, screening_length=0.5, diameter=1.0, cutoff=3.0),
    exposure=0.0125, micrometre_per_pixel=0.13)

# Little noise per pixel keeps a lossless clip small; a spot is twenty times brighter than the noise around it.
CAMERA = Renderer(
    height=192, width=192, spot_sigma=1.6, amplitude=16.0, amplitude_scatter=0.1, spot_sigma_scatter=0.03,
    background=6.0, illumination_gradient=0.1, gain=0.05, read_noise=0.35)

# Rings that touch: a packing that only a joint fit of two sizes tells apart. Two cycles of the needle.
SHEET = Needle(gap=60.0, width=80.0, frames=60, frames_per_second=15.0, strain=0.05, frequency=0.5)

README = """# Sample data

`clip.tif`: {frames} frames of {height} x {width} px, 8 bit, {fps:g} frames/s with the shutter always open
({exposure:g} s), {um:g} µm per pixel: charged colloids, rendered. About {in_view} of {n} simulated particles are in
view. OME-TIFF, losslessly compressed; the calibration is in the file.

`truth.json`: what was put in: diffusion coefficient {D:g} µm²/s, pair potential
U(r) = {amplitude:g} kT exp(-(r - {diameter:g} µm)/{screening:g} µm)/(r/{diameter:g} µm), ended smoothly between
{switch:g} and {cutoff:g} µm, all settings of simulation and camera, the seed, and U(r) as a table.

`clip.truth.parquet`: where the particles in view really were in every frame (`vd.load`): positions averaged
over the exposure [px], to 0.001 px.

`needle.tif`: {sheet_frames} frames of {sheet_height} x {sheet_width} px, 8 bit, {sheet_fps:g} frames/s,
{sheet_um:g} µm per pixel: a packed film between a needle (at the upper edge of the picture, moving along x
with {sheet_strain:.0%} strain and {sheet_frequency:g} cycles in a second) and a wall (at the lower edge), rendered.
Particles of two sizes are seen as bright rings that touch. `needle.truth.parquet`: their places in every frame [px],
`species` ("small" or "large"), and `held` of those that belong to needle or wall.

    tracks = vd.track("sample_data/needle.tif", diameter=13, sizes="classes", search_range=6, predictor="profile")

The data are computer-made by `scripts/make_sample_data.py` and carry the licence of vid2dyn (BSD-3-Clause).
Rebuild: `python scripts/make_sample_data.py`.
"""


def make(folder: Path) -> None:
    """Write the clip, its truth and its README into `folder`, whole or not at all each."""
    folder.mkdir(parents=True, exist_ok=True)
    video = render(SIMULATION, CAMERA, seed=SEED)
    write_movie(video, folder / "clip.tif")
    seen = video.truth
    table = seen.dataframe[["frame", "particle", "y", "x"]].round({"y": 3, "x": 3})
    seen.replace(dataframe=table).save(folder / "clip.truth.parquet")
    pair = SIMULATION.pair
    assert isinstance(pair, Yukawa)
    r = [round(1.0 + 0.05 * k, 2) for k in range(45)]
    truth = {
        "description": "Charged colloids in two dimensions, simulated and rendered by vid2dyn.",
        "clip": "clip.tif",
        "diffusion": SIMULATION.diffusion, "diffusion_unit": "µm²/s",
        "pair": recipe(pair),
        "pair_potential": {"r_um": r, "energy_kT": [round(float(u), 6) for u in pair.energy(r)],
                           "force_kT_per_um": [round(float(f), 6) for f in pair.force(r)]},
        "localisation_error": None,
        "localisation_note": "No noise was added to positions: it comes from the camera and the tracker. "
                             "Compare with clip.truth.parquet.",
        "units": video.units.to_dict(),
        "spot_sigma_px": CAMERA.spot_sigma, "suggested_diameter_px": 9,
        "simulator": recipe(SIMULATION), "renderer": recipe(CAMERA), "seed": SEED,
        "corner_um": video.corner.tolist(),
        "provenance": {"made_by": "scripts/make_sample_data.py", "vid2dyn": vid2dyn.__version__,
                       "licence": "BSD-3-Clause", "sha256": {"clip.tif": sha256(folder / "clip.tif")}},
    }
    with atomic(folder / "truth.json") as scratch:
        scratch.write_text(json.dumps(truth, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    text = README.format(
        frames=SIMULATION.frames, height=CAMERA.height, width=CAMERA.width, fps=SIMULATION.frames_per_second,
        exposure=SIMULATION.exposure, um=SIMULATION.micrometre_per_pixel, n=SIMULATION.n_particles,
        in_view=round(len(seen) / SIMULATION.frames), D=SIMULATION.diffusion, amplitude=pair.amplitude,
        diameter=pair.diameter, screening=pair.screening_length, switch=0.8 * pair.reach, cutoff=pair.reach,
        **make_sheet(folder))
    with atomic(folder / "README.md") as scratch:
        scratch.write_text(text, encoding="utf-8")


def make_sheet(folder: Path) -> dict[str, float]:
    """Write the film of the needle and its truth; what the README says about them."""
    video = render(SHEET, SHEET.camera("ring"), seed=SEED)
    write_movie(video, folder / "needle.tif")
    seen = video.truth
    columns = ["frame", "particle", "y", "x", "species", "held"]
    seen.replace(dataframe=seen.dataframe[columns].round({"y": 3, "x": 3})).save(folder / "needle.truth.parquet")
    height, width = video.shape
    return {"sheet_frames": SHEET.frames, "sheet_height": height, "sheet_width": width,
            "sheet_fps": SHEET.frames_per_second, "sheet_um": SHEET.micrometre_per_pixel,
            "sheet_strain": SHEET.strain, "sheet_frequency": SHEET.frequency}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    default = Path(__file__).resolve().parents[1] / "sample_data"
    parser.add_argument("--out", type=Path, default=default, help="folder to write to (default: sample_data/)")
    folder = parser.parse_args().out
    make(folder)
    for file in sorted(folder.iterdir()):
        print(f"{file.stat().st_size:>10,} bytes  {file.name}")


if __name__ == "__main__":
    main()
