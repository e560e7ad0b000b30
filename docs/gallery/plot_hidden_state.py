"""
Does the picture of a particle say how fast it moves?
=====================================================

Particles of one sample may be of two kinds that nobody labelled: bound and free, soft and hard,
near a wall and far from it. If the state also changes the picture a little (focus, brightness,
shape), it can be found. Here half of the particles are slow and slightly out of focus. True
answer: D = 0.40 and 0.12 µm²/s, and which particle is which is known.
"""

# %%
# A movie, tracked
# ----------------
import matplotlib.pyplot as plt
import numpy as np

import vid2dyn as vd

particles = vd.simulators.HiddenState(n_particles=50, frames=100, exposure=0.01)
movie = vd.render(particles, vd.simulators.Renderer(height=220, width=220, state_width=1.3), seed=0)
tracks = vd.track(movie, diameter=13, search_range=7, memory=1, min_length=5)

# %%
# A network reads columns off the pictures, without labels
# --------------------------------------------------------
# It is trained to give two pictures of one particle, a few frames apart, the same numbers. What
# stays the same is its state. ``latent_0`` is the most persistent column.
tracks = vd.encode(movie, tracks, vd.PatchEncoder(steps=40, examples=2000), seed=0)
print(tracks.dataframe[["frame", "particle", "y", "x", "latent_0", "latent_1", "latent_2"]].head())

# %%
# Does it tell of the motion?
# ---------------------------
# ``structure="latent"`` takes the column that explains the motion best, and says how much better
# it predicts steps that were set aside. Without a gain of several standard errors there is
# nothing to be believed.
model = vd.fit(tracks, vd.Brownian(structure="latent"), seed=0)
print(model)
found = model.report["structure"]
print({key: found[key] for key in ("column", "gain_per_step", "gain_per_step_stderr")})
print(*model.report["warnings"], sep="\n\n")

# %%
# The answer
# ----------
# Which state a particle really had, of the simulation, found by its place. Right: D along the
# column, with its band, beside the two values that were put in.
seen = movie.truth.dataframe
table = tracks.dataframe
state = np.empty(len(table))
for frame, rows in table.groupby("frame").indices.items():
    there = seen[seen.frame == frame]
    gap = np.hypot(*(table[axis].to_numpy()[rows, None] - there[axis].to_numpy() for axis in ("y", "x")))
    state[rows] = there["state"].to_numpy()[gap.argmin(axis=1)]

column = table[found["column"]].to_numpy()
figure, (left, right) = plt.subplots(1, 2, figsize=(9.0, 4.0), layout="constrained")
bins = np.linspace(*np.nanpercentile(column, [0.5, 99.5]), 40)
for value, label, color in ((0, "fast, in focus", "C0"), (1, "slow, out of focus", "C1")):
    left.hist(column[state == value], bins, color=color, alpha=0.6, label=label)
left.set(
    xlabel=f"{found['column']} (read off the picture)",
    ylabel="detections",
    title="What the network found, unlabelled",
)
left.legend(title="true state")

low, high = model.band("diffusion", bins, level=0.95)
right.fill_between(bins, low, high, color="C0", alpha=0.25, lw=0, label="95 % band")
right.plot(bins, model.diffusion(bins), "C0", label="learned")
for number, true in enumerate((0.4, 0.12)):
    right.axhline(true, color="k", ls="--", label=None if number else "put in")
right.set(xlabel=f"{found['column']}", ylabel="D (µm²/s)", title="Mobility along the column", ylim=(0, 0.65))
right.legend()
plt.show()
