"""
Two kinds of particles: who repels whom, and who is faster?
===========================================================

A column of the table names the species of every particle; ``vd.Brownian(species=...)`` then
learns a potential for each pair of species and a D for each species. True answer: like particles
repel with 8 kT at contact, unlike ones with 3 kT; A has D = 0.4, B 0.6 µm²/s.
"""

# %%
# Two films of one sample
# -----------------------
# Any number of recordings goes into one fit. Each has noise, drift and field of view of its own;
# they share the physics.
import matplotlib.pyplot as plt
import numpy as np

import vid2dyn as vd

like = vd.simulators.Yukawa(amplitude=8.0, screening_length=0.4, cutoff=2.5)
unlike = vd.simulators.Yukawa(amplitude=3.0, screening_length=0.4, cutoff=2.5)
mixture = vd.simulators.BrownianMixture(
    n_a=60,
    n_b=60,
    frames=150,
    box_length=15.0,
    diffusion_a=0.4,
    diffusion_b=0.6,
    pair_aa=like,
    pair_ab=unlike,
    pair_bb=like,
    exposure=0.01,
    localisation_error=0.01,
)
films = [vd.simulate(mixture, seed=k) for k in (0, 1)]
print(films[0].dataframe[["frame", "particle", "y", "x", "species"]].head())

model = vd.fit(films, vd.Brownian(cutoff=2.5, species="species"), seed=0)
print(model)

# %%
# Who is faster?
# --------------
for name, true in (("A", 0.4), ("B", 0.6)):
    low, high = model.band("diffusion", name, level=0.95)
    print(
        f"D of {name}: {model.diffusion(species=name):.3f} µm²/s, 95 % band {low:.3f} to {high:.3f}; put in {true}"
    )

# %%
# Who repels whom?
# ----------------
figure, panels = plt.subplots(1, 3, figsize=(10.0, 3.6), layout="constrained", sharey=True)
for axes, pair, true in zip(panels, (("A", "A"), ("A", "B"), ("B", "B")), (like, unlike, like), strict=True):
    r = np.linspace(model.pair_support(pair)[0], 2.5, 200)
    low, high = model.band("pair_potential", (r, pair), level=0.95)
    axes.fill_between(r, low, high, color="C0", alpha=0.25, lw=0, label="95 % band")
    axes.plot(r, model.pair_potential(r, pair), "C0", label="learned")
    axes.plot(r, true.energy(r), "k--", label="put in")
    axes.set(xlabel="distance r (µm)", title=f"{pair[0]} and {pair[1]}", ylim=(-0.5, 6), xlim=(0.9, 2.5))
panels[0].set_ylabel("pair potential (kT)")
panels[0].legend()

# %%
# Without ``species`` one potential is learned for all, and the fit says that particles are not
# alike. Heed that warning before the curve.
alike = vd.fit(films, vd.Brownian(cutoff=2.5), seed=0)
print(*alike.report["warnings"], sep="\n\n")
plt.show()
