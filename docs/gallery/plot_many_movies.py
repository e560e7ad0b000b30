"""
Forty movies: how do I treat them all alike, and see which one does not belong?
===============================================================================

An experiment file holds every setting once; ``vd.run``, or ``vid2dyn run experiment.toml
--workers 2``, takes each movie from pixels to a report page, goes on where it was stopped, and
writes one line for each into ``summary.csv``. Here are six short films; in the fifth the solvent
was warmer. True answer: D = 0.3 µm²/s in five of them, 0.45 in the fifth.
"""

# %%
# Six movies in a folder
# ----------------------
import tempfile
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import vid2dyn as vd

warnings.simplefilter("ignore", vd.Vid2DynWarning)  # they are in the summary
folder = Path(tempfile.mkdtemp())
true = [0.3, 0.3, 0.3, 0.3, 0.45, 0.3]
for number, D in enumerate(true, start=1):
    sample = vd.simulators.Brownian(
        n_particles=40,
        frames=60,
        frames_per_second=50,
        diffusion=D,
        box_length=22.0,
        exposure=0.005,
        micrometre_per_pixel=0.13,
    )
    vd.render(
        sample,
        vd.simulators.Renderer(height=160, width=160, spot_sigma=1.8),
        seed=number,
        to=folder / f"film{number}.tif",
    )

# %%
# One file of settings
# --------------------
(folder / "experiment.toml").write_text(
    """
[video]
path = "film*.tif"
frames_per_second = 50
micrometre_per_pixel = 0.13
exposure = 0.005

[track]
diameter = 11
search_range = 7
memory = 1

[dynamics]
kind = "Brownian"

[rollout]
steps = 60
""",
    encoding="utf-8",
)

outcomes = vd.run(folder / "experiment.toml", out=folder / "results")
summary = pd.read_csv(folder / "results" / "summary.csv")
print(summary[["movie", "D [µm²/s]", "D_stderr [µm²/s]", "model D [µm²/s]"]].to_string(index=False))

# %%
# Run again, and nothing is done twice: every stage knows what it was made from.
vd.run(folder / "experiment.toml", out=folder / "results")

# %%
# Which one does not belong?
# --------------------------
# All recordings in one fit share D, and each is compared with the others; one that differs by
# more than chance is named.
tracks = [vd.load(folder / "results" / f"film{number}" / "tracks.parquet") for number in range(1, 7)]
together = vd.fit(tracks, vd.Brownian(), seed=0)
print(*together.report["warnings"], sep="\n\n")

figure, axes = plt.subplots(figsize=(6.4, 4.0), layout="constrained")
place = np.arange(1, 7)
axes.errorbar(
    place,
    summary["model D [µm²/s]"],
    1.96 * summary["model D_stderr [µm²/s]"],
    fmt="o",
    capsize=4,
    label="each alone, 95 % band",
)
axes.plot(place, true, "k_", ms=22, mew=2, label="put in")
axes.set(xlabel="movie", ylabel="D (µm²/s)", title="One line for each movie", ylim=(0.2, None))
axes.legend()
plt.show()
