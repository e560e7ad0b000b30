"""
From hops on a lattice to an equation for the density: which mobility, which free energy?
=========================================================================================

Particles hop on a ring of sites, and hold on to a neighbour with an energy of 1 kT. On large
scales the density obeys ∂ρ/∂t = ∂/∂x [m(ρ) ∂f'(ρ)/∂x]. Short simulations tell both functions: the
mobility m by the fluctuations, the free energy f by the mean change. For this process both are
known exactly.
"""

# %%
# Short simulations
# -----------------
# 500 realisations of each of two starts, wavy profiles of the density; states at three times.
import matplotlib.pyplot as plt
import numpy as np

import vid2dyn as vd

process = vd.simulators.Arrhenius(kernel=(1.0,), sites=200, realisations=500)
fields = vd.simulate(process, seed=0)
print(fields)

# %%
# A gradient flow is learned
# --------------------------
# It can never gain free energy, whatever is learned: the form sees to that.
flow = vd.fit(fields, vd.GradientFlow(), seed=0)
print(flow)
print(*flow.report["warnings"], sep="\n\n")

# %%
# The answer
# ----------
# Mobility, curvature of the free energy, and their product, the diffusion coefficient of the
# density.
rho = np.linspace(*flow.support, 200)
exact = process.limit(rho)
figure, panels = plt.subplots(1, 3, figsize=(11.0, 3.8), layout="constrained")
for axes, name, label in zip(
    panels,
    ("mobility", "curvature", "diffusion"),
    ("mobility m (1/time)", "f'' (kT per site)", "m f'' (1/time)"),
    strict=True,
):
    low, high = flow.band(name, rho, level=0.95)
    axes.fill_between(rho, low, high, color="C0", alpha=0.25, lw=0, label="95 % band")
    axes.plot(rho, getattr(flow, name)(rho), "C0", label="learned")
    axes.plot(rho, getattr(exact, name), "k--", label="exact")
    axes.set(xlabel="density ρ (particles per site)", ylabel=label)
panels[0].legend()
figure.suptitle("Attracting particles on a ring")
error = np.sqrt(np.mean((flow.mobility(rho) / exact.mobility - 1) ** 2))
print(f"mobility: root mean square error {100 * error:.1f} % over the densities that were seen")

# %%
# Long after the data end
# -----------------------
# The profile up to ten times as late as the last state that was learned from: the model, and the
# equation with the exact functions, solved here by finite differences from the profile that was put in.
later = flow.rollout(fields, steps=10, dt=0.01)
cells = fields.n_cells
x = (np.arange(cells) + 0.5) / cells
grid = np.linspace(0.05, 0.95, 400)
diffusion = process.limit(grid).diffusion


def solved(profile, time, steps):
    """The profile after `time`; an explicit step has to be shorter than half the width of a cell squared over D."""
    for _ in range(steps):
        between = 0.5 * (profile + np.roll(profile, -1))
        current = np.interp(between, grid, diffusion) * (np.roll(profile, -1) - profile) * cells
        profile = profile + time / steps * (current - np.roll(current, 1)) * cells
    return profile


exact_profile = 0.5 + 0.4 * np.cos(2 * np.pi * x)
figure, axes = plt.subplots(figsize=(6.4, 4.0), layout="constrained")
axes.plot(x, fields.mean()[0, 0], ".", ms=3, color="0.6", label="data at the start")
axes.plot(x, exact_profile, "k--", label="put in, and exact later")
for color, step in (("C0", 3), ("C1", 10)):
    axes.plot(x, later.mean()[0, step], color, label=f"model, t = {later.times[step]:.2g}")
    axes.plot(x, solved(exact_profile, later.times[step], 1000 * step), "k--")
axes.set(
    xlabel="place on the ring x (length of the ring)", ylabel="density (particles per site)", title="Rollout"
)
axes.legend()
plt.show()
