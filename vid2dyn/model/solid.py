"""What a fitted solid can say and do: stiffness and friction of bonds, moduli, and its motion under any drive."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from scipy.special import ndtri

from vid2dyn.core.config import build
from vid2dyn.core.errors import ConfigError, DataError, ModelError
from vid2dyn.core.registry import did_you_mean
from vid2dyn.core.showing import ProgressLike, showing
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.dynamics.recipes.metriplectic import Metriplectic
from vid2dyn.dynamics.terms.base import BondTerm, Quantity
from vid2dyn.dynamics.terms.bonds import Bonds, BondTables, FrozenSolid
from vid2dyn.inference.solid_motion import SolidMotion
from vid2dyn.model.base import LearnedFunction, LearnedFunctions, LearnedNumber, Model, checked_level
from vid2dyn.rollout.engines import checked_engine
from vid2dyn.rollout.solids.moduli import NAMES, inner_nodes, moduli_of
from vid2dyn.rollout.solids.paths import (
    SolidState,
    SolidTrajectories,
    middle_substeps,
    rates_of,
    solid_paths,
)

UNITS = {"shear_modulus": "energy/µm²", "bulk_modulus": "energy/µm²", "shear_viscosity": "energy s/µm²",
         "bulk_viscosity": "energy s/µm²"}
Held = Callable[[float, np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class SolidModel(Model):
    """A fitted solid, made by `vd.fit` and `vd.load`; energies in mass · µm²/s².

    `arrays`: "theta" (numbers of all terms, energies first), "covariance", "mass", "reference" (positions of the nodes
    of the first recording at rest [µm]), "support" (shortest and longest bond), "noise" (what is left of positions and
    velocities), and "kT" where the table told entropies.

    Functions of the terms are methods: ``model.bond_stiffness(R0)`` and ``model.bond_friction(R0)``; numbers too:
    ``model.shear_modulus()``, ``bulk_modulus()``, ``shear_viscosity()``, ``bulk_viscosity()`` of the solid.
    """

    explains_displacements: ClassVar[bool] = False

    # ---------------------------------------------------------------- what it is made of

    @cached_property
    def terms_recipe(self) -> Metriplectic:
        """The recipe with settled terms."""
        return build(Metriplectic, self.recipe, "model")

    @property
    def terms(self) -> tuple[BondTerm, ...]:
        """Settled terms, energies first."""
        return tuple(t for t in (*self.terms_recipe.energy, *self.terms_recipe.friction) if isinstance(t, BondTerm))

    @property
    def reach(self) -> float:
        """Longest bond of any term [µm]."""
        return max(term.reach for term in self.terms)

    @property
    def mass(self) -> float:
        """Of a node."""
        return float(np.ravel(self.arrays["mass"])[0])

    def frozen(self, bonds: Bonds, theta: np.ndarray | None = None) -> FrozenSolid:
        """What the compiled loops read, on bonds of a reference frame."""
        theta = self.arrays["theta"] if theta is None else theta
        tables, at = BondTables(bonds), 0
        for term in self.terms:
            term.freeze_bonds(theta[at:at + term.count], tables)
            at += term.count
        return tables.frozen()

    @cached_property
    def _quantities(self) -> dict[str, tuple[int, BondTerm, Quantity]]:
        """By name: where the numbers of the term begin, the term, and what is asked of it."""
        found, at = {}, 0
        for term in self.terms:
            for quantity in term.quantities():
                found[quantity.name] = (at, term, quantity)
            at += term.count
        return found

    @cached_property
    def _moduli(self) -> np.ndarray:
        """(4, P) slopes of the moduli and viscosities in the numbers."""
        bonds = Bonds.of(self.arrays["reference"], self.reach, self.box)
        inside, area = inner_nodes(bonds, self.reach)
        units = np.eye(len(self.arrays["theta"]))
        return np.stack([moduli_of(self.frozen(bonds, one), bonds, inside, area) for one in units], axis=1)

    # ---------------------------------------------------------------- what it says

    def shear_modulus(self) -> float:
        """Of an affine shear along the axes [energy/µm²]."""
        return self._modulus("shear_modulus")

    def bulk_modulus(self) -> float:
        """Of an affine dilation [energy/µm²]."""
        return self._modulus("bulk_modulus")

    def shear_viscosity(self) -> float:
        """Of an affine shear along the axes [energy s/µm²]."""
        return self._modulus("shear_viscosity")

    def bulk_viscosity(self) -> float:
        """Of an affine dilation [energy s/µm²]."""
        return self._modulus("bulk_viscosity")

    def _modulus(self, name: str) -> float:
        return float(self._moduli[NAMES.index(name)] @ self.arrays["theta"])

    def kT(self) -> float:
        """Temperature [energy], which heat is divided by to give entropy.

        Raises
        ------
        ModelError
            Where the table had no entropies: motion without thermal noise does not tell it.
        """
        if "kT" not in self.arrays:
            raise ModelError("This solid was learned from motion without entropies, and such motion does not tell a "
                             "temperature; its rollouts have the heat of every node in the column \"heat\".")
        return float(np.ravel(self.arrays["kT"])[0])

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_") or name not in self._quantities:
            known = () if name.startswith("_") else (*NAMES, *self._quantities)
            raise AttributeError(f"This model has no {name!r}.{did_you_mean(name, known)}"
                                 + (f" It has {', '.join(known)}." if known else ""))

        def quantity(x: Any = None) -> Any:
            value = self._value(name, x, self.arrays["theta"])
            return float(value) if x is None else value

        quantity.__name__ = name
        quantity.__doc__ = f"{self._quantities[name][2].label} [{self._quantities[name][2].unit}]"
        return quantity

    def _value(self, name: str, x: Any, theta: np.ndarray) -> np.ndarray:
        at, term, asked = self._quantities[name]
        if asked.is_number != (x is None):
            raise ModelError(f"{name} is a number: call {name}()." if asked.is_number else
                             f"{name} is a function of {asked.argument}: give it.")
        return np.asarray(asked.value(theta[at:at + term.count], None if x is None else np.asarray(x, float)))

    def band(self, name: str, x: Any = None, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """(low, high) of a learned quantity at a confidence level, each point by itself.

        ``model.band("bond_stiffness", R0)``, ``model.band("shear_modulus")``. From the information of the data,
        widened by the scatter of the score from patch to patch of nodes; it leaves out what the terms cannot say.
        """
        level = checked_level(name, level)
        theta, covariance = self.arrays["theta"], self.arrays["covariance"]
        if name in NAMES:
            slopes = self._moduli[NAMES.index(name)]
            value = np.asarray(slopes @ theta)
        elif name in self._quantities:
            value = self._value(name, x, theta)
            # every quantity of a term on bonds is linear in its numbers
            slopes = np.stack([self._value(name, x, one) for one in np.eye(len(theta))], axis=-1)
        else:
            known = (*NAMES, *self._quantities)
            raise ModelError(f"This model has no band {name!r}.{did_you_mean(name, known)} It has {', '.join(known)}.")
        spread = np.sqrt(np.maximum(np.einsum("...p,pq,...q->...", slopes, covariance, slopes), 0.0))
        error = float(ndtri(0.5 + 0.5 * level)) * spread
        return np.asarray(value - error), np.asarray(value + error)

    def parameters(self) -> dict[str, Any]:
        """Numbers for the report, with their bands."""
        return {name: [self._modulus(name), *(float(edge) for edge in self.band(name))] for name in NAMES}

    def numbers(self) -> tuple[LearnedNumber, ...]:
        """Moduli and viscosities, and the numbers of the terms."""
        found = []
        for name in NAMES:
            low, high = (float(edge) for edge in self.band(name))
            found.append(LearnedNumber(name.replace("_", " ").capitalize(), self._modulus(name), low, high, UNITS[name],
                                       "of an affine motion of the inner part", truth=name))
        for name, (_, _, asked) in self._quantities.items():
            if asked.is_number:
                low, high = (float(edge) for edge in self.band(name))
                value = float(self._value(name, None, self.arrays["theta"]))
                found.append(LearnedNumber(asked.label[:1].upper() + asked.label[1:], value, low, high, asked.unit,
                                           asked.caption))
        if "kT" in self.arrays:
            kT, error = self.kT(), 1.96 * float(np.ravel(self.arrays["kT"])[1])
            found.append(LearnedNumber("Temperature kT", kT, kT - error, kT + error, "energy",
                                       "heat of the dashpots over the entropy of the table", truth="temperature"))
        return tuple(found)

    def functions(self) -> LearnedFunctions:
        """Stiffness and friction against the reference length."""
        low, high = (float(edge) for edge in self.arrays["support"])
        x = np.linspace(low, high, 160)
        drawn = tuple(LearnedFunction(name, x, (x,), (low, high), asked.argument, f"{asked.label} ({asked.unit})",
                                      f"{asked.label[:1].upper() + asked.label[1:]}. {asked.caption} "
                                      f"{self._lengths()}")
                      for name, (_, _, asked) in self._quantities.items() if not asked.is_number)
        return LearnedFunctions("What the bonds have learned", "Springs and dashpots between nodes that were "
                                "neighbours in the reference frame, learned from the motion that they make from the "
                                "first frame of the recording on.", drawn)

    def _lengths(self) -> str:
        count = int(self.report.get("bond_lengths", 0))
        return (f"There were bonds of {count} lengths alone: between these the curve is a guess."
                if 0 < count < 12 else "")

    @property
    def _velocity_noise(self) -> float:
        """Of the recordings that it was learned from [µm/s]."""
        return float(np.nan_to_num(self.arrays["noise"][1]))

    @property
    def has_forces(self) -> bool:
        """A solid has."""
        return True

    def __repr__(self) -> str:
        error = self.report.get("held_out", {}).get("displacement_error", math.nan)
        return (f"<SolidModel: {', '.join(term.title() for term in self.terms)}; shear modulus "
                f"{self.shear_modulus():.4g}, unseen motion to {100 * error:.2g} %>")

    # ---------------------------------------------------------------- what it does

    def default_steps(self, data: Trajectories) -> int:
        """As long as it is known where the edges are."""
        return max(1, data.n_frames - 1)

    def motion(self, tracks: Trajectories) -> SolidMotion:
        """Tracks as this model reads them: reference frame, held nodes, start."""
        return SolidMotion.of(tracks, self.terms_recipe.reference_frame, asks_held=False)

    def run(self, motion: SolidMotion, path: np.ndarray, *, substeps: int | None = None,
            progress: ProgressLike = None) -> SolidTrajectories:
        """Run along a path (F + 1, n, dim) of the held nodes [µm], with the account of its energy; see `rollout`."""
        bonds = Bonds.of(motion.reference, self.reach, motion.box)
        solid, mass = self.frozen(bonds), np.full(motion.n, self.mass)
        if substeps is None:
            substeps = middle_substeps(rates_of(solid, motion.reference, mass), motion.dt)
        if substeps < 1:
            raise ConfigError(f"substeps = {substeps}: give at least 1.")
        start = SolidState(*motion.start(self._velocity_noise), motion.held, mass)
        with showing(progress) as shown:
            return solid_paths(solid, start, path, motion.reference, motion.dt, substeps=substeps, progress=shown)

    def rollout(self, tracks: Trajectories, steps: int | None = None, seed: int = 0, *,
                held: Held | Trajectories | None = None, substeps: int | None = None, engine: str = "vid2dyn",
                ranks: int = 1, checkpoint: str | os.PathLike[str] | None = None,
                progress: ProgressLike = None) -> Trajectories:
        """Run the solid from the first frame of `tracks` on, its held nodes along a path.

        There is no thermal noise. Every time step conserves energy: the work of the held nodes is stored or becomes
        heat, to rounding.

        Parameters
        ----------
        tracks : Trajectories
            Reference frame, start, and the nodes that are held (column "held"; without it all are free).
        steps : int, optional
            Frames to make after the first; default: as many as `tracks` (or `held`) has.
        seed : int
            Of no effect, as there is no noise.
        held : callable or Trajectories, optional
            Where the held nodes are. A function of time [s] since the first frame and of their reference positions
            (held, dim) [µm] that returns positions (held, dim), nodes in the order of their numbers. Or tracks of the
            held nodes, frame by frame. Default: where they are in `tracks`.
        substeps : int, optional
            Time steps from frame to frame; default: as many as keep the iteration of a step short.
        engine, ranks, checkpoint
            Solids run in our own engine alone.
        progress : bool or callable, optional
            True shows bars with the time left; a function is called with (done, total, what).

        Returns
        -------
        Trajectories
            With velocities, "held", "heat" of every node [energy], and "entropy" where the temperature is known.
            ``info["rollout"]`` holds "energy" (work, stored, kinetic, heat of every frame), "imbalance" (largest
            difference between work and what became of it, over the work) and "edge_force" (edge, frame, axis).

        Raises
        ------
        DataError
            For a path that is too short or has gaps.
        ModelError
            For another engine, or a solid that breaks loose.
        """
        if checked_engine(engine, ranks, checkpoint) != "vid2dyn":
            raise ModelError('A solid does not run in LAMMPS: its bonds belong to a reference frame and its edges '
                             'follow a path, for which there is no style. Use engine="vid2dyn".')
        motion = self.motion(tracks)
        path = self._path(motion, steps, held)
        made = self.run(motion, path, substeps=substeps, progress=progress)
        # rounding is of the numbers that are added up, also where edges stay and do no work
        size = max(float(np.abs(made.work).max()), float((made.stored + made.kinetic).max()), 1e-300)
        info = {"rollout": {
            "recipe": self.recipe, "engine": engine, "seed": seed,
            "energy": {"work": made.work.tolist(), "stored": made.stored.tolist(), "kinetic": made.kinetic.tolist(),
                       "heat": made.heat.sum(axis=1).tolist()},
            "imbalance": float(np.abs(made.imbalance).max()) / size,
            "edge_force": made.force.transpose(1, 0, 2).tolist()}}
        entropy = made.heat / self.kT() if "kT" in self.arrays else None
        found = Trajectories.from_dense(made.position, tracks.units, velocity=made.velocity, entropy=entropy,
                                        box=tracks.box, info=info)
        node, frame = found.particle, found.frame
        return found.replace(dataframe=found.dataframe.assign(
            held=motion.held[node], heat=made.heat[frame, node], particle=motion.names[node]))

    def boundary_stress(self, made: Trajectories, edge: int) -> np.ndarray:
        """Traction on a held edge of a rollout, (F + 1, dim) [energy/µm²]: its force over its length at the start.

        Parameters
        ----------
        made : Trajectories
            Of `rollout`.
        edge : int
            Number of the edge in the column "held".
        """
        forces = made.info.get("rollout", {}).get("edge_force", ())
        if not 1 <= edge <= len(forces):
            raise DataError(f"edge = {edge}: this rollout has edges 1 to {len(forces)} (column \"held\").")
        first = made.rows((made.frame == 0) & (made.dataframe["held"].to_numpy() == edge)).positions
        away = first - first.mean(axis=0)
        along = np.linalg.svd(away, full_matrices=False)[2][:max(1, first.shape[1] - 1)]
        return np.asarray(forces[edge - 1]) / float(np.prod(np.ptp(away @ along.T, axis=0)))

    def _path(self, motion: SolidMotion, steps: int | None, held: Held | Trajectories | None) -> np.ndarray:
        """Positions of the held nodes at every frame, (F + 1, n, dim)."""
        if steps is not None and steps < 1:
            raise DataError(f"steps = {steps}: a rollout makes at least one.")
        rows = motion.held > 0
        if held is None or not rows.any():
            wanted = (motion.frames - 1 if steps is None else steps) + 1
            if rows.any() and wanted > motion.frames:
                raise DataError(f"steps = {wanted - 1}: the held nodes are known for {motion.frames - 1} steps alone. "
                                "Say where they go then: held=function of time and reference positions, or tracks of "
                                "them.")
            out = np.zeros((wanted, motion.n, motion.dim))
            if rows.any():
                out[:, rows] = motion.path[:wanted, rows]
            return out
        if isinstance(held, Trajectories):
            return _path_of_tracks(motion, steps, held)
        wanted = (motion.frames - 1 if steps is None else steps) + 1
        out = np.zeros((wanted, motion.n, motion.dim))
        at_rest = motion.reference[rows]
        for frame in range(wanted):
            places = np.asarray(held(frame * motion.dt, at_rest.copy()), float)
            if places.shape != at_rest.shape or not np.isfinite(places).all():
                raise DataError(f"held(t, reference) returned an array of shape {places.shape} at t = "
                                f"{frame * motion.dt:g} s; expected finite positions {at_rest.shape}, one row for each "
                                "held node in the order of their numbers.")
            out[frame, rows] = places
        return out


def _path_of_tracks(motion: SolidMotion, steps: int | None, held: Trajectories) -> np.ndarray:
    rows = np.flatnonzero(motion.held > 0)
    position, seen, frames, names = held.linked().dense()
    missing = np.setdiff1d(motion.names[rows], names)
    if missing.size:
        raise DataError(f"held: the tracks lack held node {missing[0]} ({missing.size} nodes in all).")
    wanted = (len(frames) - 1 if steps is None else steps) + 1
    column = np.searchsorted(names, motion.names[rows])
    if wanted > len(frames) or not seen[:wanted, column].all():
        raise DataError(f"held: the tracks do not have every held node in each of the {wanted} frames from their first "
                        "on.")
    out = np.zeros((wanted, motion.n, motion.dim))
    out[:, rows] = position[:wanted, column]
    return out
