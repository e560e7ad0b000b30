"""How often the bands of the demonstration hold the truth, in other simulations of the same sample.

    python scripts/sample_coverage.py [--seeds 10]        # about two minutes on one core
    python scripts/sample_coverage.py --filmed            # through the camera: rendered, tracked, fitted; four minutes

The sample of sample_data/ is simulated anew (without a camera, with the localisation error of its tracks), fitted as
the demonstration does, and D and the pair potential compared at its distances. Filmed, errors of linking, of the edges
of the view and of images that touch are in it as well.
"""

from __future__ import annotations

import argparse
import dataclasses

import numpy as np
from make_sample_data import CAMERA, SIMULATION

import vid2dyn as vd
from vid2dyn.reports.sections.pair_energy import true_potential

DISTANCES = np.array([1.79, 2.03, 2.28, 2.52, 2.76])
"""[µm]"""
LOCALISATION = 0.0064
"""Of the sample's detections [µm]."""
FIRST = 200
"""Seed of the first simulation."""


TRACK = vd.tracking.Track(diameter=9, search_range=5.0, memory=2, min_length=5)
"""As in sample_data/demo.toml."""


def recording(seed: int, filmed: bool) -> vd.Trajectories:
    """Tracks of one more simulation of the sample, with what is true of it."""
    if not filmed:
        return vd.simulate(dataclasses.replace(SIMULATION, localisation_error=LOCALISATION), seed=seed)
    video = vd.render(SIMULATION, CAMERA, seed=seed)
    tracks = vd.track(video, TRACK)
    return tracks.replace(info={**tracks.info, "truth": video.truth.info["truth"]})


def main() -> None:
    """One line a simulation: errors over standard errors; then the share inside."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--filmed", action="store_true")
    options, found = parser.parse_args(), []
    for seed in range(FIRST, FIRST + options.seeds):
        tracks = recording(seed, options.filmed)
        model = vd.fit(tracks, vd.Brownian(cutoff=3.0), seed=0)
        truth = true_potential(tracks.info["truth"], DISTANCES)
        low, high = model.band("pair_potential", DISTANCES)
        error, half = model.pair_potential(DISTANCES) - truth, 0.5 * (high - low)
        low, high = model.band("diffusion")
        of_D = (model.diffusion() - SIMULATION.diffusion) / (0.5 * (high - low))
        found.append(np.append(error / half, of_D))
        print(f"seed {seed}: errors {np.round(error, 3)}, half bands {np.round(half, 3)} kT; D {model.diffusion():.4f} "
              f"µm²/s, {of_D:+.2f} half bands off", flush=True)
    inside = np.abs(np.array(found)) < 1
    rms = 1.96 * np.sqrt((np.array(found) ** 2).mean(axis=0))
    print(f"inside: {inside[:, :-1].sum()} of {inside[:, :-1].size} values of the potential, {inside[:, -1].sum()} of "
          f"{len(inside)} of D; root mean square of error/standard error {rms[:-1].mean():.2f}, of D {rms[-1]:.2f}")


if __name__ == "__main__":
    main()
