"""
How stiff is my optical trap?
=============================

The variance of the positions in a trap is kT/k, but noise of the positions adds to it, and motion
during the exposure takes from it. Both are as large as the answer where a trap is stiff.
``vd.Brownian(trap="each")`` is the exact likelihood of a trapped particle with noise and blur.
Here traps from 5 to 160 kT/µm² are measured both ways (1 kT/µm² is 4 nN/m at room temperature).
"""

# %%
# Traps of six stiffnesses
# ------------------------
# 25 particles, 400 frames of 10 ms, shutter always open, 20 nm of noise.
import matplotlib.pyplot as plt
import numpy as np

import vid2dyn as vd

true = np.array([5.0, 10.0, 20.0, 40.0, 80.0, 160.0])
variance, fitted, low, high = [], [], [], []
for number, stiffness in enumerate(true):
    sample = vd.simulators.Brownian(
        n_particles=25,
        frames=400,
        frames_per_second=100,
        diffusion=0.4,
        trap="each",
        trap_stiffness=stiffness,
        exposure=0.01,
        localisation_error=0.02,
    )
    tracks = vd.simulate(sample, seed=number)
    centred = [track.positions - track.positions.mean(axis=0) for track in tracks]
    variance.append(1 / np.mean([(path**2).sum(axis=0) / (len(path) - 1) for path in centred]))
    model = vd.fit(tracks, vd.Brownian(trap="each"), seed=0)
    fitted.append(model.trap_stiffness())
    ends = model.band("trap_stiffness", level=0.95)
    low.append(float(ends[0]))
    high.append(float(ends[1]))
    print(
        f"put in {stiffness:5.0f}   from the variance {variance[-1]:6.1f}   fitted {fitted[-1]:6.1f} "
        f"({low[-1]:.1f} to {high[-1]:.1f}) kT/µm²   D = {model.diffusion():.3f} µm²/s"
    )

# %%
# The answer
# ----------
# kT over the variance is 4 to 41 % too stiff: for soft traps because four seconds are few of their
# relaxation times and the centre is found from the same positions, for stiff ones because blur takes
# away more than noise adds. The likelihood has the truth in its 95 % band for all six.
fitted, low, high = map(np.array, (fitted, low, high))
figure, axes = plt.subplots(figsize=(6.4, 4.0), layout="constrained")
axes.axhline(1, color="k", ls="--", label="put in")
axes.errorbar(
    true,
    fitted / true,
    [(fitted - low) / true, (high - fitted) / true],
    fmt="o",
    capsize=4,
    label="fitted, 95 % band",
)
axes.plot(true, np.array(variance) / true, "s", color="C1", label="kT / variance")
axes.set(
    xscale="log",
    xlabel="stiffness put in (kT/µm²)",
    ylabel="stiffness found / put in",
    title="Stiffness of a harmonic trap",
)
axes.set_xticks(true, [f"{k:g}" for k in true])
axes.minorticks_off()
axes.legend()
plt.show()
