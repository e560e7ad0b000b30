"""
A fluid whose heat nobody sees: which temperature, pressure and viscosity?
==========================================================================

Fluid particles carry heat. It is not on any picture, but it makes their random motion stronger
and pushes them apart. From positions and velocities alone vid2dyn learns the equation of state,
the viscosity and the entropy of every particle. The sample is a decaying vortex of an ideal gas,
for which all of it is known.
"""

# %%
# One run to learn from, one to be judged on
# ------------------------------------------
# Small, so that it takes seconds; ``scripts/reproduce_ideal_gas.py`` is the full case in three
# dimensions.
import matplotlib.pyplot as plt
import numpy as np

import vid2dyn as vd

vortex = vd.simulators.SDPD(
    dim=2, n_particles=64, box_length=0.6, frames=101, substeps=5, flow="taylor_green", flow_speed=30.0
)
train, judge = vd.simulate(vortex, seed=1), vd.simulate(vortex, seed=2)
print(train.dataframe[["frame", "particle", "y", "x", "vy", "vx"]].head())

# %%
# The entropies are in the table of the simulation, but the fit does not look at them.
gas = vd.fit([train, judge], vd.Metriplectic(cutoff=0.2, mass=0.5, compare=("isothermal",)), seed=0)
low, high = gas.band("shear_viscosity", level=0.95)
print(
    f"shear viscosity {gas.shear_viscosity():.1f}, 95 % band {low:.1f} to {high:.1f}; put in {vortex.shear_viscosity:g}"
)
print(gas.report["held_out"])
print(*gas.report["warnings"], sep="\n\n")

# %%
# The answer
# ----------
# Temperature and pressure along the entropy of a particle at the mean volume (S = 0 is the mean of the
# first frame). An ideal gas has T = T0 exp(S/C) at constant volume and P V = (γ - 1) C T. Right: the
# entropy of every particle in a run that was not learned from. 64 particles in two dimensions tell a
# little of it, from motion alone; 500 in three dimensions, in the full case, a correlation of 0.91.
volume = vortex.box_length**2 / vortex.n_particles
S = np.linspace(*gas.support["S"], 100)
C = vortex.heat_capacity
true_T = vortex.kT * np.exp(S / C)
figure, panels = plt.subplots(1, 3, figsize=(12.0, 4.0), layout="constrained")
for axes, name, true, label in (
    (panels[0], "temperature", true_T, "temperature T (mass µm²/s²)"),
    (panels[1], "pressure", (vortex.adiabatic_index - 1) * C * true_T / volume, "pressure P (mass/s²)"),
):
    low, high = gas.band(name, (S, volume), level=0.95)
    axes.fill_between(S, low, high, color="C0", alpha=0.25, lw=0, label="95 % band")
    axes.plot(S, getattr(gas, name)(S, volume), "C0", label="learned")
    axes.plot(S, true, "k--", label="ideal gas")
    axes.set(xlabel="entropy S of a particle (kB)", ylabel=label)
    axes.legend()

hidden, true = gas.entropy(judge), judge.entropy
kept = judge.frame > 20
hidden, true = hidden[kept] - hidden[kept].mean(), true[kept] - true[kept].mean()
panels[2].plot(true, hidden, ".", ms=2, alpha=0.3)
panels[2].plot(true, true, "k--", label="equal")
panels[2].set(
    xlabel="true entropy - mean (kB)",
    ylabel="found from motion - mean (kB)",
    title=f"correlation {np.corrcoef(true, hidden)[0, 1]:.2f}",
)
panels[2].legend()
plt.show()
