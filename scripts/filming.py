"""What frame rate, exposure, magnification, density and codec cost: the numbers of docs/filming.md.

    python scripts/filming.py [--out docs/measured/filming.md]        # about three minutes on one core

Bounds come from the functions that the package states errors by; the rest is simulated, fitted as a user would, and
compared with the truth. Tables are written in Markdown, with date and machine.
"""

from __future__ import annotations

import argparse
import datetime
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from measure import machine

import vid2dyn as vd
from vid2dyn.analysis.detection_score import joint_bound
from vid2dyn.analysis.link_score import match, score_links
from vid2dyn.tracking import Track, relink

PAIR = vd.simulators.Yukawa()
AT = 1.5
"""Distance at which the band of the pair potential is given [µm]."""


def localisation() -> Iterator[str]:
    """Cramér-Rao bound of one spot, and of two that overlap, along the line between them [px]."""
    yield "| SNR | width 1.5 px | width 2.5 px | two of 2.5 px, 4 widths apart | 3 widths | 2 widths |"
    yield "|---|---|---|---|---|---|"
    for snr in (5, 10, 20, 50, 100):
        alone = [joint_bound(np.zeros((1, 2)), width, snr)[0, 1] for width in (1.5, 2.5)]
        pairs = [joint_bound(np.array([[0.0, 0.0], [0.0, 2.5 * k]]), 2.5, snr)[0, 1] for k in (4, 3, 2)]
        yield f"| {snr} | " + " | ".join(f"{value:.3f}" for value in (*alone, *pairs)) + " |"


def learned(**settings: float) -> tuple[float, float, float, float]:
    """Half 95 % band of D [%], of U at 1.5 µm [kT] (nan: none), the error of U there [kT], noise over a step."""
    sample = vd.simulators.Brownian(n_particles=100, frames=300, pair=PAIR, box_length=20.0, **settings)
    tracks = vd.simulate(sample, seed=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = vd.fit(tracks, vd.Brownian(cutoff=3.0), seed=0)
    low, high = model.band("diffusion")
    below, above = model.band("pair_potential", AT)
    D = model.diffusion()
    noise = settings.get("localisation_error", 0.0) / np.sqrt(2 * sample.diffusion / sample.frames_per_second)
    off = float(model.pair_potential(AT)) - (float(PAIR.energy(np.array([AT]))[0]) - float(PAIR.energy(
        np.array([3.0]))[0]))
    return 100 * float(high - low) / 2 / D, float(above - below) / 2, off, noise


def frame_rate() -> Iterator[str]:
    """Bands against frame rate and localisation error; 300 frames each, flash exposure."""
    yield "| frames/s | film [s] | localisation error [nm] | error over rms step | D, half band [%] " \
          "| U(1.5 µm), half band [kT] | its error [kT] |"
    yield "|---|---|---|---|---|---|---|"
    for rate in (12.5, 50.0, 200.0):
        for noise in (0.01, 0.05):
            d, u, off, over = learned(frames_per_second=rate, localisation_error=noise)
            yield f"| {rate:g} | {300 / rate:g} | {1000 * noise:.0f} | {over:.2f} | {d:.1f} | {u:.2f} | {off:+.2f} |"


def exposure() -> Iterator[str]:
    """Bands against the part of a frame for which the shutter is open."""
    yield "| shutter open [% of a frame] | R | D, half band [%] | U(1.5 µm), half band [kT] | its error [kT] |"
    yield "|---|---|---|---|---|"
    for part in (0.0, 0.5, 1.0):
        units = vd.Units(frames_per_second=50.0, micrometre_per_pixel=0.1, exposure=part / 50)
        d, u, off, _ = learned(frames_per_second=50.0, localisation_error=0.02, exposure=part / 50)
        yield f"| {100 * part:.0f} | {units.blur:.3f} | {d:.1f} | {u:.2f} | {off:+.2f} |"


def density() -> Iterator[str]:
    """Wrong links and D against how far particles move between frames; the linker sees every particle."""
    yield "| rms step along an axis over the distance of nearest neighbours | wrong links [%] | D over its true value |"
    yield "|---|---|---|"
    for part in (0.05, 0.1, 0.2, 0.3, 0.4):
        spacing = 0.5 / np.sqrt(400 / 20.0**2)                             # mean of nearest neighbours of an ideal gas
        rate = 2 * 0.4 / (part * spacing) ** 2
        sample = vd.simulators.Brownian(n_particles=400, frames=100, box_length=20.0, frames_per_second=rate,
                                        localisation_error=0.0)
        truth = vd.simulate(sample, seed=2)
        pixel = truth.units.um
        found = relink(truth, Track(search_range=4 * part * spacing / pixel))
        score = score_links(found, truth)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            D = vd.diffusion(found).D
        yield f"| {part:g} | {100 * (1 - score.precision):.2f} | {D / 0.4:.3f} |"


def codec() -> Iterator[str]:
    """One film, written with several codecs and tracked alike."""
    yield "| file | MB | error of a position [px] | stated | D over its true value | ± | lags used [frames] |"
    yield "|---|---|---|---|---|---|---|"
    sample = vd.simulators.Brownian(n_particles=60, frames=200, box_length=30.0, frames_per_second=50.0,
                                    micrometre_per_pixel=0.12, diffusion=0.4, localisation_error=0.0)
    camera = vd.simulators.Renderer(height=240, width=240, amplitude=60.0, background=40.0, read_noise=3.0,
                                    spot_sigma=2.0)
    film = vd.render(sample, camera, seed=3)
    truth = film.truth
    with tempfile.TemporaryDirectory() as folder:
        for name, suffix, how, crf in (("TIFF, zlib", "tif", None, None), ("FFV1", "mkv", "ffv1", None),
                                       ("MJPEG", "avi", "mjpeg", None), ("H.264, crf 18", "mp4", "h264", 18),
                                       ("H.264, crf 28", "mp4", "h264", 28)):
            path = Path(folder) / f"{how}{crf}.{suffix}"
            film.save(path, codec=how, crf=crf)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tracks = vd.track(vd.open(path, **{key: getattr(truth.units, key) for key in (
                    "frames_per_second", "micrometre_per_pixel")}), diameter=13, search_range=8, memory=1)
                found = vd.diffusion(tracks)
            row = match(tracks, truth)
            off = (tracks.dataframe[["y", "x"]].to_numpy() - truth.dataframe[["y", "x"]].to_numpy()[row])[row >= 0]
            stated = tracks.dataframe[["y_std", "x_std"]].to_numpy()[row >= 0]
            yield (f"| {name} | {path.stat().st_size / 1e6:.2f} | {1.483 * np.median(np.abs(off)):.3f} "
                   f"| {np.median(stated):.3f} | {found.D / 0.4:.3f} | {found.D_stderr / 0.4:.3f} "
                   f"| {found.lags[0]}-{found.lags[-1]} |")


TABLES = {
    "Localisation error": (localisation, "Least standard error of a position along one axis in pixels "
                           "(`vid2dyn.analysis.detection_score.joint_bound`); of overlapping spots along the line "
                           "between them. SNR: brightness at the centre over the noise of a pixel."),
    "Frame rate": (frame_rate, "100 Yukawa particles, D = 0.4 µm²/s, 300 frames, flash exposure, `vd.Brownian(cutoff="
                   "3.0)`. No number: noise hides the steep part, and no band is stated."),
    "Exposure": (exposure, "The same sample at 50 frames/s with a localisation error of 20 nm. R is the motion blur "
                 "coefficient of Berglund (2010), exposure/(6 dt)."),
    "Density": (density, "400 free particles, 100 frames, every one detected, search range four rms steps."),
    "Codec": (codec, "60 free particles, 200 frames of 240 x 240 px at 50 frames/s. Errors are medians (1.48 times the "
              "absolute deviation from the truth, and the stated one). Every inter-coded file makes a warning, whether "
              "or not the test of the lags sees it."),
}


def page() -> Iterator[str]:
    start = time.monotonic()
    yield f"*`python scripts/filming.py`, {datetime.date.today():%-d %B %Y}, {machine()}, vid2dyn {vd.__version__}.*"
    for title, (table, about) in TABLES.items():
        yield f"\n### {title}\n\n{about}\n"
        yield from table()
    print(f"{time.monotonic() - start:.0f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="File to write (default: standard output).")
    out = parser.parse_args().out
    text = "\n".join(page()) + "\n"
    if out is None:
        print(text)
    else:
        out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
