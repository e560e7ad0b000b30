"""How often the bands of the demonstration hold the truth, in other simulations of the same sample.

    python scripts/sample_coverage.py [--seeds 10]        # about two minutes on one core

The sample of sample_data/ is simulated anew (without a camera, with the localisation error of its tracks), fitted as
the demonstration does, and the pair potential compared at its distances.
"""

from __future__ import annotations

import argparse
import dataclasses

import numpy as np
from make_sample_data import SIMULATION

import vid2dyn as vd
from vid2dyn.reports.sections.pair_energy import true_potential

DISTANCES = np.array([1.79, 2.03, 2.28, 2.52, 2.76])
"""[µm]"""
LOCALISATION = 0.0064
"""Of the sample's detections [µm]."""
FIRST = 200
"""Seed of the first simulation."""


def main() -> None:
    """One line a simulation: errors and half bands [kT]; then the share inside."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    count = parser.parse_args().seeds
    scene, found = dataclasses.replace(SIMULATION, localisation_error=LOCALISATION), []
    for seed in range(FIRST, FIRST + count):
        tracks = vd.simulate(scene, seed=seed)
        model = vd.fit(tracks, vd.Brownian(cutoff=3.0), seed=0)
        truth = true_potential(tracks.info["truth"], DISTANCES)
        low, high = model.band("pair_potential", DISTANCES)
        error, half = model.pair_potential(DISTANCES) - truth, 0.5 * (high - low)
        found.append(error / half)
        print(f"seed {seed}: errors {np.round(error, 3)}, half bands {np.round(half, 3)} kT", flush=True)
    inside = np.abs(np.array(found)) < 1
    print(f"inside: {inside.sum()} of {inside.size}; root mean square of error/standard error "
          f"{1.96 * np.sqrt((np.array(found) ** 2).mean()):.2f}")


if __name__ == "__main__":
    main()
