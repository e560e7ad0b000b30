"""
My particles interact in a way that vid2dyn does not know: how do I add a term?
===============================================================================

A term is one class: it says which numbers it has, and how the force depends on each. Fit, error
bars, rollout, report page and settings file follow from that. Here: an energy of overlapping
pairs with a given shape and one unknown height, where theory gives the shape. The particles come
from a simulation whose potential is a (1 - r)²/2 with a = 25 kT/µm², so the known answer is that
curve, and the free spline of vid2dyn (``PairPotential``) says whether the shape is allowed.
"""

# %%
# The term
# --------
# ``energy`` is the definition, in torch; ``force_slopes`` the force for h = 1 (tests of a package
# hold one against the other, see ``vid2dyn.testing.TermContract``); ``freeze`` puts it into the
# tables of the compiled rollout.
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np

import vid2dyn as vd
from vid2dyn.dynamics.terms.base import PairEnergy, Parameters, Quantity


@dataclass(frozen=True)
class SoftCore(PairEnergy):
    """Pair energy h (1 - r²/c²)³ of particles that may overlap.

    Parameters
    ----------
    cutoff : float
        Distance c at which it ends [µm].
    """

    cutoff: float = 1.0
    count = 1  # the height h alone

    @property
    def reach(self):
        return self.cutoff

    def shape(self, r):
        return (1 - (r / self.cutoff) ** 2).clip(0) ** 3

    def slope(self, r):
        return -6 * r / self.cutoff**2 * (1 - (r / self.cutoff) ** 2).clip(0) ** 2

    def parameters(self, scene):  # names, unit, start, and a prior of 100 kT
        return Parameters(("height",), "energy", np.zeros(1), np.full((1, 1), (100 * scene.kT) ** -2))

    def pair_slopes(self, r, kind):  # number 0, and -dE/dr for h = 1
        return np.zeros((len(r), 1), int), -self.slope(r)[:, None]

    def energy(self, theta, snapshot):
        return float(theta[0]) * self.shape(snapshot.distance()).sum()

    def freeze(self, theta, tables):  # value and slope at the distances tables.r
        tables.pair_energy += theta[0] * np.stack([self.shape(tables.r), self.slope(tables.r)], axis=1)

    def quantities(self):
        return (Quantity("soft_core", "soft core", "energy", lambda theta, r: theta[0] * self.shape(r)),)


# %%
# Use it
# ------
# It stands in a list like the terms of vid2dyn. In a package of your own, an entry point in the
# group ``vid2dyn.terms`` also makes it known to settings files (``[[dynamics.energy]]`` with
# ``kind = "SoftCore"``), the command line and the panel.
soft = vd.simulators.DPD(dim=2, n_particles=120, box_length=6.0, frames=150, frames_per_second=100)
tracks = vd.simulate(soft, seed=0)
friction = [vd.terms.PairFriction(cutoff=1.0)]
mine = vd.fit(
    tracks, vd.Metriplectic(energy=[SoftCore(cutoff=1.0)], friction=friction, entropy=False), seed=0
)
spline = vd.fit(
    tracks,
    vd.Metriplectic(energy=[vd.terms.PairPotential(cutoff=1.0)], friction=friction, entropy=False),
    seed=0,
)
print(mine)
for name, model in (("own term", mine), ("spline", spline)):
    print(name, model.report["terms"], *model.report["warnings"], sep="\n")

# %%
# The answer
# ----------
# The one number is right where most pairs are, from 0.4 µm on. Nearer, the shape is wrong, and the band
# of the own term does not show it: it knows of errors of h alone, not of a wrong formula. Two things
# do: the warning above, that forces are off by more than their bands say, and the spline beside it.
r = np.linspace(0.2, 1.0, 200)
figure, axes = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
for model, name, color, label in (
    (spline, "pair_potential", "C1", "spline"),
    (mine, "soft_core", "C0", "own term"),
):
    low, high = model.band(name, r, level=0.95)
    axes.fill_between(r, low, high, color=color, alpha=0.25, lw=0)
    axes.plot(r, getattr(model, name)(r), color, label=f"{label}, with 95 % band")
axes.plot(r, soft.true_function("pair_potential", r), "k--", label="put in")
axes.set(xlabel="distance r (µm)", ylabel="pair energy (mass µm²/s²)", title="A term of one's own")
axes.legend()
plt.show()
