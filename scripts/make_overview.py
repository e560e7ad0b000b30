"""The picture at the top of the README: detections, tracks, the learned model run, and its pair potential.

    python scripts/make_overview.py [--out docs/images/overview.png]        # half a minute

From the sample, with the settings of the example in the README, beside the truth of sample_data/truth.json.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

import vid2dyn as vd
from vid2dyn.reports.sections.pair_energy import true_potential

SAMPLE = Path(__file__).resolve().parents[1] / "sample_data"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=SAMPLE.parent / "docs" / "images" / "overview.png")
    out = parser.parse_args().out
    out.parent.mkdir(exist_ok=True)
    video = vd.open(SAMPLE / "clip.tif", frames_per_second=80, micrometre_per_pixel=0.13, exposure=0.0125)
    tracks = vd.track(video, diameter=9, search_range=5, memory=2)
    model = vd.fit(tracks, vd.Brownian(cutoff=3.0), seed=0)
    future = model.rollout(tracks, steps=100, seed=1)

    figure, axes = plt.subplots(1, 4, figsize=(13, 3.3), layout="constrained")
    frame, here = video[0], tracks.dataframe[tracks.dataframe["frame"] == 0]
    height, width = frame.shape
    axes[0].imshow(frame, cmap="gray")
    axes[0].scatter(here["x"], here["y"], s=42, facecolors="none", edgecolors="#e6550d", lw=0.9)
    axes[0].set_title("movie and detections")
    for data, axis, name in ((tracks, axes[1], "tracks"), (future, axes[2], "the learned model, run")):
        table = data.dataframe
        for _, one in table[table["frame"] < table["frame"].min() + 60].groupby("particle"):
            axis.plot(one["x"], one["y"], lw=0.8)
        axis.set(xlim=(0, width), ylim=(height, 0), aspect="equal", title=name)
    for axis in axes[:3]:
        axis.set(xticks=[], yticks=[])
    r = np.linspace(*model.support, 200)
    truth = true_potential(vd.load(SAMPLE / "clip.truth.parquet").info["truth"], r)
    low, high = model.band("pair_potential", r)
    axes[3].fill_between(r, low, high, color="#9ecae1", label="95 % band")
    axes[3].plot(r, model.pair_potential(r), color="#08519c", label="learned")
    axes[3].plot(r, truth, "k--", lw=1, label="truth")
    axes[3].set(xlabel="distance (µm)", ylabel="pair potential (kT)", title="what it learned")
    axes[3].legend(frameon=False)
    figure.savefig(out, dpi=110)
    print(out)


if __name__ == "__main__":
    main()
