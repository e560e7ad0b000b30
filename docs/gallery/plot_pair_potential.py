"""
What force do two particles exert on each other?
================================================

The potential of a pair can be read off the radial distribution as U = -kT ln g only where
particles are so few that no third one is near. The motion tells it at any density: ``vd.fit``
learns force and mobility together, from the steps that particles make. True answer: a Morse
potential 3 kT deep, as depletion makes it.
"""

# %%
# Tracks of attracting particles
# ------------------------------
# Simulated here with 10 ms of exposure and 10 nm of noise; in their place may stand
# ``vd.track(...)`` or a table of your own, ``vd.Trajectories.from_dataframe(df,
# frames_per_second=..., micrometre_per_pixel=...)``.
import matplotlib.pyplot as plt
import numpy as np

import vid2dyn as vd

well = vd.simulators.Morse(depth=3.0, width=0.25, r0=1.3, cutoff=2.6)
sample = vd.simulators.Brownian(
    n_particles=100,
    frames=250,
    frames_per_second=100,
    diffusion=0.2,
    box_length=17.0,
    pair=well,
    exposure=0.01,
    localisation_error=0.01,
)
tracks = vd.simulate(sample, seed=1)

# %%
# Learn force and mobility
# ------------------------
# ``cutoff`` is a distance beyond which the particles no longer interact. If it is too short, the
# test "energy near the cutoff" fails, which the model says of itself; ``cutoff="auto"`` tries
# several.
model = vd.fit(tracks, vd.Brownian(cutoff=2.6), seed=0)
print(model)
print(*model.report["warnings"], sep="\n")
low, high = model.band("diffusion", level=0.95)
print(f"D = {model.diffusion():.3f} µm²/s, 95 % band {low:.3f} to {high:.3f}; put in 0.2")

# %%
# The answer
# ----------
# Left: the potential with its band, the truth, and -ln g, which is 1 kT off where neighbours of
# neighbours crowd in. Right: the force, which is what moves a particle. Both end where no pair
# was seen nearer.
g = vd.analysis.rdf(tracks, r_max=2.6, bins=80)
r = np.linspace(model.support[0], 2.6, 300)
figure, (left, right) = plt.subplots(1, 2, figsize=(9.0, 4.0), layout="constrained")
for axes, name, curve, true in (
    (left, "pair_potential", model.pair_potential, well.energy),
    (right, "pair_force", model.pair_force, well.force),
):
    low, high = model.band(name, r, level=0.95)
    axes.fill_between(r, low, high, color="C0", alpha=0.25, lw=0, label="95 % band")
    axes.plot(r, curve(r), "C0", label="learned")
    axes.plot(r, true(r), "k--", label="put in")
    axes.set_xlabel("distance r (µm)")
seen = (g.value > 0) & (g.r > model.support[0]) & (g.r < 2.6)
left.plot(g.r[seen], -np.log(g.value[seen]), "C1:", label="-ln g(r)")
left.set(ylabel="pair potential (kT)", title="Energy", ylim=(-4.2, 2.5))
right.set(ylabel="pair force (kT/µm)", title="Force")
left.legend()
plt.show()
