"""What a fitted model of Brownian colloids can say and do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.special import ndtri

from vid2dyn.core.describe import with_error
from vid2dyn.core.errors import DataError, ModelError
from vid2dyn.core.showing import ProgressLike, showing
from vid2dyn.data.box import Box, Free, Periodic
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.dynamics.base import Overdamped
from vid2dyn.dynamics.brownian import brownian_dynamics
from vid2dyn.dynamics.terms.friction import StructuredMobility
from vid2dyn.dynamics.terms.potentials import HarmonicTrap, PairPotential
from vid2dyn.dynamics.terms.splines import RadialSpline
from vid2dyn.model.base import LearnedNumber, Model, checked_level
from vid2dyn.rollout.brownian import FrameTiming, FrozenBrownian, brownian_paths

_KEYS = {"diffusion": "diffusion", "localisation_error": "localisation", "trap_stiffness": "trap",
         "noise_scale": "noise_scale"}
"""Numbers of a model -> names of their arrays."""


class Measured(NamedTuple):
    """A number with its standard error, as `BrownianModel.arrays` keeps it."""

    value: float
    stderr: float

    def array(self) -> np.ndarray:
        """(2,) float64."""
        return np.array(self, dtype=float)


class SplineRange(NamedTuple):
    """Range [µm] and resolution of a pair potential, as `BrownianModel.arrays` keeps them."""

    inner: float
    cutoff: float
    knots: float

    def spline(self) -> RadialSpline:
        """The basis."""
        return RadialSpline(float(self.inner), float(self.cutoff), int(self.knots))


@dataclass(frozen=True, eq=False)
class BrownianModel(Model):
    """A fitted model of Brownian colloids, made by `vd.fit` and `vd.load`.

    `arrays` holds "diffusion" (value, stderr) [µm²/s], "localisation" (typical σ, stderr) [µm], "noise_scale", and
    where present "spline" (inner, cutoff, knots), "coefficients", "covariance", "core_stiffness", "support", "trap"
    (stiffness, stderr) [kT/µm²], "centres" [µm], "centre_tracks", "structure_knots", "structure_log_diffusion",
    "structure_covariance" (log D at knots of the column that `recipe` names).
    """

    # ---------------------------------------------------------------- what it says

    @property
    def _pair(self) -> PairPotential | None:
        if "coefficients" not in self.arrays:
            return None
        return PairPotential(SplineRange(*self.arrays["spline"]).spline(), self.arrays["coefficients"],
                             float(self.arrays["core_stiffness"].item()))

    @property
    def _trap(self) -> HarmonicTrap | None:
        if "trap" not in self.arrays:
            return None
        return HarmonicTrap(self._measured("trap_stiffness").value, self.arrays["centres"])

    def _measured(self, name: str) -> Measured:
        """A number of the model with its standard error; `ModelError` if it was not fitted."""
        key = _KEYS.get(name)
        if key is None or key not in self.arrays:
            raise ModelError(f"This model has no {name!r}; it has {', '.join(_KEYS)}, as far as they were fitted.")
        return Measured(*(float(v) for v in self.arrays[key]))

    def standard_error(self, name: str) -> float:
        """Standard error of a number of the model, in its unit.

        Parameters
        ----------
        name : {"diffusion", "localisation_error", "trap_stiffness", "noise_scale"}

        Raises
        ------
        ModelError
            If the model has no such number.
        """
        return self._measured(name).stderr

    def _need_pair(self) -> PairPotential:
        pair = self._pair
        if pair is None:
            raise ModelError("This model has no pair force. Fit one: vd.fit(tracks, vd.Brownian(cutoff=3.0)).")
        return pair

    def pair_potential(self, r: Any) -> np.ndarray:
        """phi(r) [kT], zero at the cutoff; r in µm."""
        return self._need_pair().value(np.asarray(r, dtype=float))

    def pair_force(self, r: Any) -> np.ndarray:
        """-dphi/dr [kT/µm], positive where particles repel; r in µm."""
        return self._need_pair().force(np.asarray(r, dtype=float))

    def diffusion(self, structure: Any = None) -> Any:
        """D [µm²/s] of one particle alone; at values of the structural variable, where the model has one.

        Without an argument: the mean over the detections.
        """
        if structure is None:
            return self._measured("diffusion").value
        return np.exp(self._hats(structure) @ self.arrays["structure_log_diffusion"]).reshape(np.shape(structure))

    def _hats(self, structure: Any) -> np.ndarray:
        """(n, knots) weights of the knots at values of the structural variable."""
        if "structure_knots" not in self.arrays:
            raise ModelError("This model has one mobility for all. Fit one that depends on a column of the tracks: "
                             'vd.fit(tracks, vd.Brownian(structure="latent")).')
        knots = self.arrays["structure_knots"]
        c = np.asarray(structure, dtype=float).ravel()
        return np.stack([np.interp(c, knots, row) for row in np.eye(len(knots))], axis=1)

    def localisation_error(self) -> float:
        """Typical standard error of a position [µm], per axis, as learned from the motion."""
        return self._measured("localisation_error").value

    def trap_stiffness(self) -> float:
        """k [kT/µm²]."""
        if "trap" not in self.arrays:
            raise ModelError("This model has no trap. Fit one: vd.fit(tracks, vd.Brownian(trap='each')).")
        return self._measured("trap_stiffness").value

    @property
    def support(self) -> tuple[float, float] | None:
        """Distances (nearest, farthest) [µm] between which at least 100 pairs were seen per step of the RDF."""
        if "support" not in self.arrays:
            return None
        nearest, farthest = (float(r) for r in self.arrays["support"])
        return nearest, farthest

    def dynamics(self) -> Overdamped:
        """The potentials and the friction matrix."""
        if "structure_knots" in self.arrays:
            return brownian_dynamics(StructuredMobility(self.arrays["structure_knots"],
                                                        self.arrays["structure_log_diffusion"]))
        return brownian_dynamics(self.diffusion(), self._pair, self._trap)

    def band(self, name: str, x: Any = None, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """(low, high) of a learned quantity at a confidence level.

        Parameters
        ----------
        name : {"pair_potential", "pair_force", "diffusion", "localisation_error", "trap_stiffness"}
        x : array, optional
            Distances [µm], for functions of distance; values of the structural variable, for "diffusion".
        level : float
            Probability that the band holds the truth, at each x by itself.
        """
        width = float(ndtri(0.5 + 0.5 * checked_level(name, level)))
        if name in ("pair_potential", "pair_force"):
            pair = self._need_pair()
            distance = np.asarray(x, dtype=float).ravel()
            basis = pair.spline(distance)[0 if name == "pair_potential" else 1]
            error = np.sqrt(np.maximum(np.einsum("ra,ab,rb->r", basis, self.arrays["covariance"], basis), 0.0))
            value = (pair.value if name == "pair_potential" else pair.force)(distance)
            shape = np.shape(x)
            return (value - width * error).reshape(shape), (value + width * error).reshape(shape)
        if name == "diffusion" and x is not None:
            hats = self._hats(x)
            error = np.sqrt(np.einsum("ra,ab,rb->r", hats, self.arrays["structure_covariance"], hats))
            value = hats @ self.arrays["structure_log_diffusion"]
            low, high = (np.exp(value + side * width * error).reshape(np.shape(x)) for side in (-1, 1))
            return low, high
        if name not in ("diffusion", "localisation_error", "trap_stiffness") or _KEYS[name] not in self.arrays:
            raise ModelError(f"This model has no band {name!r}; it has pair_potential, pair_force, diffusion, "
                             "localisation_error, trap_stiffness, as far as they were fitted.")
        middle, error = self._measured(name)
        return np.asarray(middle - width * error), np.asarray(middle + width * error)

    @property
    def has_forces(self) -> bool:
        """Whether pair forces or a trap were fitted."""
        return self.recipe.get("cutoff") is not None or self.recipe.get("trap", "none") != "none"

    def numbers(self) -> tuple[LearnedNumber, ...]:
        """D, and the stiffness of the trap where there is one."""
        low, high = map(float, self.band("diffusion"))
        what = "forces taken into account" if self.has_forces else "free particles, blur and noise taken into account"
        found = [LearnedNumber("Diffusion coefficient, model", self.diffusion(), low, high, "µm²/s", what, "diffusion",
                               digits=3)]
        if self.recipe.get("trap", "none") != "none":
            low, high = map(float, self.band("trap_stiffness"))
            found.append(LearnedNumber("Trap stiffness", self.trap_stiffness(), low, high, "kT/µm²",
                                       truth="trap_stiffness", digits=3))
        return tuple(found)

    def remarks(self) -> tuple[str, ...]:
        """What a structural variable adds to the prediction, or that free particles have no forces."""
        if "structure" in self.report:
            held, by = self.report["held_out"], self.report["structure"]
            gain = with_error(by["gain_per_step"], by["gain_per_step_stderr"])
            return (f"held-out log-likelihood per particle and step: {held['log_likelihood_per_step']:.4f} with "
                    f"{by['column']}, {held['free_diffusion_log_likelihood_per_step']:.4f} with one mobility for all; "
                    f"gain {gain}",)
        if not self.has_forces:
            return ("note: free particles, no forces were fitted; --set cutoff=3.0 fits pair forces up to 3 µm, "
                    "--set trap=each traps.",)
        return ()

    def __repr__(self) -> str:
        parts = [f"D = {self.diffusion():.4g} ± {self.standard_error('diffusion'):.2g} µm²/s"]
        if "structure_knots" in self.arrays:
            lowest, highest = np.exp(self.arrays["structure_log_diffusion"][[0, -1]])
            parts.append(f"{lowest:.3g} to {highest:.3g} µm²/s along {self.recipe['structure']}")
        if self._pair is not None:
            parts.append(f"pair potential to {self._pair.spline.cutoff:g} µm")
        if "trap" in self.arrays:
            parts.append(f"k = {self.trap_stiffness():.4g} kT/µm²")
        return f"<Model {self.recipe.get('kind', '')}: {', '.join(parts)}>"

    # ---------------------------------------------------------------- running it

    def rollout(self, tracks: Trajectories, steps: int = 1000, seed: int = 0, *, observed: bool = True,
                progress: ProgressLike = None) -> Trajectories:
        """Run the model from the first frame of `tracks`.

        Parameters
        ----------
        tracks : Trajectories
            Where particles start; its frame rate and exposure are used.
        steps : int
            Frames to make.
        observed : bool
            Show positions as the camera would: averaged over the exposure, with localisation noise; compare these
            with data. False: exact positions at the start of each frame.
        progress : bool or callable, optional
            True shows bars with the time left; a function is called with (done, total, what).

        A recording with a field of view becomes a periodic box of that size, so that as many particles leave as enter.
        Where mobility depends on a structural variable, every particle keeps the value it starts with.

        Raises
        ------
        DataError
            If there is nothing to start from or `steps` is not positive.
        """
        if steps < 1:
            raise DataError(f"steps = {steps}: a rollout makes at least one frame.")
        units = tracks.units
        units.require("micrometre_per_pixel", "frames_per_second", for_what="A rollout")
        start, centre, box = self._start(tracks)
        structure = self._structure(tracks)
        # free particles of different D: the same motion at D = 1, stretched for each of them
        stretch = np.ones(len(start)) if structure is None else np.sqrt(self.diffusion(structure))
        origin, start = (start, np.zeros_like(start)) if structure is not None else (np.zeros_like(start), start)
        D, space = (self.diffusion(), box) if structure is None else (1.0, Free())
        frozen = FrozenBrownian.freeze(D, self._pair, None, len(start), start.shape[1])
        if self._trap is not None:
            frozen = FrozenBrownian(frozen.diffusion, frozen.force, frozen.cutoff, self._trap.stiffness, centre)
        motion, camera = np.random.default_rng(seed).spawn(2)
        out = []
        done = 0
        with showing(progress) as progress:
            while done < steps:
                progress(done, steps, "rollout")
                count = min(steps - done, 200)
                timing = FrameTiming(units.dt, count + 1, units.exposure or 0.0)
                paths = brownian_paths(frozen, start, space, timing, [motion])
                out.append((paths.average if observed else paths.instant)[0, :count])
                start = paths.instant[0, count]
                done += count
            progress(steps, steps, "rollout")
        path = origin + stretch[:, None] * np.concatenate(out)
        sigma = self.localisation_error() if observed else 0.0
        path = path + sigma * camera.standard_normal(path.shape)
        future = Trajectories.from_dense(path, units, sigma=sigma, box=box, info={
            "rollout": {"seed": seed, "observed": observed, "recipe": self.recipe}})
        if structure is None:
            return future
        table = future.dataframe
        return future.replace(dataframe=table.assign(**{self.recipe["structure"]: structure[table["particle"]]}))

    def _structure(self, tracks: Trajectories) -> np.ndarray | None:
        """The structural variable of the particles in the first frame; None where the model has none."""
        if "structure_knots" not in self.arrays:
            return None
        name = self.recipe["structure"]
        if name not in tracks.dataframe:
            raise DataError(f"The model's mobility depends on {name}, which these tracks lack. Encode their recording "
                            "with the encoder of the data it was fitted to: vd.encode(video, tracks, encoder).")
        first = tracks.frame == tracks.frame.min()
        return tracks.dataframe[name].to_numpy(dtype=float)[first]

    def _start(self, tracks: Trajectories) -> tuple[np.ndarray, np.ndarray, Box]:
        """Positions in the first frame, their trap centres, and the box to run in."""
        if not len(tracks):
            raise DataError("The trajectories are empty: a rollout needs a first frame to start from.")
        first = tracks.frame == tracks.frame.min()
        start = tracks.positions[first]
        if not np.isfinite(start).all():
            raise DataError("The first frame holds positions that are not numbers; drop those rows.")
        box: Box = tracks.box
        if tracks.field_of_view is not None and box.lengths is None and self._trap is None:
            box = Periodic(tuple(np.asarray(tracks.field_of_view) * tracks.units.um))
        centre = np.zeros_like(start)
        if self._trap is not None:
            centre = np.broadcast_to(self._trap.centre[:1], start.shape).copy()
            if "centre_tracks" in self.arrays:
                place = {int(t): k for k, t in enumerate(self.arrays["centre_tracks"])}
                known = [int(p) in place for p in tracks.particle[first]]
                start, rows = start[known], [place[int(p)] for p in tracks.particle[first][known]]
                centre = self._trap.centre[rows].copy()
                if not rows:
                    raise DataError("None of the particles in the first frame has a trap in this model; "
                                    "start from the trajectories it was fitted to.")
        return start, centre, box
