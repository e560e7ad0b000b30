"""
My first movie: how fast do particles move, and do they feel each other?
========================================================================

The recording that comes with vid2dyn is two seconds and a half of charged colloids, 1 µm in
diameter, seen by a camera whose shutter is always open. It was rendered, so the answer is known:
D = 0.4 µm²/s, and a screened repulsion of 0.4 kT at 2.5 µm.
"""

# %%
# Open it
# -------
# The file states frame rate, pixel size and exposure. Where a file does not, give them to
# ``vd.open``; they are never guessed.
import json

import matplotlib.pyplot as plt
import numpy as np

import vid2dyn as vd

folder = vd.runs.sample_data()
video = vd.open(folder / "clip.tif")
print(video)

# %%
# Find the particles and follow them
# ----------------------------------
# ``diameter`` is the size of an image in pixels, odd and rather too large than too small;
# ``search_range`` how far a particle may move from frame to frame. Every position has a standard
# error, in the columns ``y_std`` and ``x_std``.
tracks = vd.track(video, diameter=9, search_range=5, memory=2)
print(tracks.dataframe[["frame", "particle", "y", "x", "y_std", "x_std"]].head())

first = tracks.dataframe[tracks.frame == 0]
figure, axes = plt.subplots(figsize=(5.6, 5.0), layout="constrained")
edge = video.units.micrometre_per_pixel * np.array([-0.5, video.shape[1] - 0.5, video.shape[0] - 0.5, -0.5])
axes.imshow(video[0], cmap="gray", extent=edge, vmax=np.percentile(video[0], 99.8))
axes.plot(
    first.x * video.units.micrometre_per_pixel,
    first.y * video.units.micrometre_per_pixel,
    "o",
    mfc="none",
    mec="C1",
    ms=9,
)
axes.set(xlabel="x (µm)", ylabel="y (µm)", title=f"{len(first)} particles in the first frame")

# %%
# How fast do they move?
# ----------------------
# ``vd.diffusion`` corrects for the noise of the positions and for the motion during the exposure.
# Here it also says that the motion is not free: the particles push each other.
print(vd.diffusion(tracks))

# %%
# Do they feel each other?
# ------------------------
# The model of colloids has one D and one pair potential. 3 µm is a distance beyond which they no
# longer interact; ``cutoff="auto"`` would find it.
model = vd.fit(tracks, vd.Brownian(cutoff=3.0), seed=0)
print(model)

truth = json.loads((folder / "truth.json").read_text())
low, high = model.band("diffusion", level=0.95)
print(f"D = {model.diffusion():.3f} µm²/s, 95 % band {low:.3f} to {high:.3f}; true: {truth['diffusion']}")

# %%
# The potential with its band, beside the one that was put in. Below the shortest distance that
# was seen nothing is known, and the curve ends there.
true = vd.simulators.Yukawa(**{key: value for key, value in truth["pair"].items() if key != "kind"})
r = np.linspace(*model.support, 200)
low, high = model.band("pair_potential", r, level=0.95)

figure, axes = plt.subplots(figsize=(6.4, 4.0), layout="constrained")
axes.fill_between(r, low, high, color="C0", alpha=0.25, lw=0, label="95 % band")
axes.plot(r, model.pair_potential(r), "C0", label="learned from the movie")
axes.plot(r, true.energy(r), "k--", label="put in")
axes.set(xlabel="distance r (µm)", ylabel="pair potential (kT)", title="Charged colloids repel each other")
axes.legend()

# %%
# A simulation of the model, from the first frame of the recording on, should look like the
# recording.
future = model.rollout(tracks, steps=tracks.n_frames, seed=1)
print(vd.compare(tracks, future))
plt.show()
