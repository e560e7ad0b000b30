"""
A film is sheared by a needle: how stiff is it, and where does it rearrange?
============================================================================

In an interfacial stress rheometer a magnetic needle lies in a monolayer of particles and is moved
to and fro. Tracks of the particles tell where the film yields; learned forces tell its modulus G'
in the bulk without knowing the needle. True answer: the simulation knows the stress in the film.
"""

# %%
# Tracks of a film
# ----------------
# Needle and wall are particles, too, marked in the column ``held``. The second sample of vid2dyn,
# ``needle.tif``, is the movie of such a film. Two cycles at 5 % strain.
import matplotlib.pyplot as plt
import numpy as np

import vid2dyn as vd

film = vd.simulators.Needle(
    gap=60.0, width=60.0, frames=120, strain=0.05, frequency=0.5, localisation_error=0.01
)
tracks = vd.simulate(film, seed=4)
truth = tracks.info["truth"]

# %%
# Where does it rearrange?
# ------------------------
# D²min is how far the neighbours of a particle are from any even deformation, here over half a
# cycle. The noise floor is what errors of the positions alone would make of it.
half = round(film.frames_per_second / film.frequency / 2)
local = vd.analysis.d2min(tracks, cutoff=10.0, lag=half)
print(f"noise floor {local.noise_floor:.2g} µm²")
turn = round(film.frames_per_second / film.frequency / 4)
there = local.dataframe[local.dataframe.frame == turn]

# %%
# Forces in a packing
# -------------------
# They cancel to a few per cent on every particle. ``packed=True`` learns them beside an unknown
# static force on each. The diffusion coefficient of a particle in its cage cannot be seen at 30
# frames in a second, and is given. Their virial is the stress.
model = vd.fit(
    tracks,
    vd.Brownian(cutoff=14.0, species="species", packed=True, held="held", diffusion=0.4, pair_friction=10.5),
    seed=0,
)
learned = vd.analysis.moduli(tracks, model, cutoff=14.0, region=(film.low, film.high))
exact = {
    (a, b): lambda r, a=a, b=b: film.pair_force(r, a, b)
    for a in ("small", "large")
    for b in ("small", "large")
}
virial = vd.analysis.moduli(tracks, exact, cutoff=14.0, region=(film.low, film.high))
print(
    f"G' of learned forces {learned.storage:.0f}, of the true forces {virial.storage:.0f}, of the whole film "
    f"{truth['storage_modulus']:.0f} kT/µm²"
)
print(*model.report["warnings"], sep="\n\n")

# %%
# The answer
# ----------
# Left: few particles do most of the rearranging, in the middle of the film. Middle: the force of a small
# and a large particle; the bump at 12 µm is the smooth end that the simulation gives it. Right: stress
# against strain; its mean slope is G', its area what is lost in a cycle (forces alone; friction
# between particles adds to the loss).
figure, (left, middle, right) = plt.subplots(1, 3, figsize=(12.0, 4.2), layout="constrained")
dots = left.scatter(
    there.x * 0.5, there.y * 0.5, c=there.d2min, s=45, cmap="viridis", vmax=np.nanpercentile(there.d2min, 97)
)
edge = tracks.dataframe[(tracks.frame == turn) & tracks.dataframe.held]
left.plot(edge.x * 0.5, edge.y * 0.5, "x", color="C3", ms=5)
left.set(xlabel="x (µm)", ylabel="y (µm)", aspect="equal", title="Rearrangements (×: needle, wall)")
figure.colorbar(dots, ax=left, label="D²min (µm²)", shrink=0.8)

pair = ("large", "small")
r = np.linspace(model.pair_support(pair)[0], 13.0, 200)
low, high = model.band("pair_force", (r, pair), level=0.95)
middle.fill_between(r, low, high, color="C0", alpha=0.25, lw=0, label="95 % band")
middle.plot(r, model.pair_force(r, pair), "C0", label="learned")
middle.plot(r, film.pair_force(r, *pair), "k--", label="put in")
middle.set(xlabel="distance r (µm)", ylabel="pair force (kT/µm)", title="Small and large particle")
middle.legend()

for found, color, label in ((virial, "k--", "true forces"), (learned, "C0", "learned forces")):
    right.plot(
        100 * found.dataframe.strain,
        found.dataframe.stress - found.dataframe.stress.mean(),
        color,
        label=label,
    )
right.set(xlabel="strain (%)", ylabel="shear stress (kT/µm²)", title="Stress of the film")
right.legend()
plt.show()
