"""What a fitted gradient flow can say and do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from scipy.special import stdtrit

from vid2dyn.core.errors import DataError, ModelError
from vid2dyn.core.showing import ProgressLike, showing
from vid2dyn.data.fields import Fields
from vid2dyn.dynamics.terms.even_kernels import EvenKernels
from vid2dyn.dynamics.terms.landscape import DensityFunction, DensityNetwork, DensityShape, Landscape
from vid2dyn.model.base import LearnedFunction, LearnedFunctions, LearnedNumber, Model, checked_level
from vid2dyn.rollout.fields import flow, fluctuate

_LABELS = {"mobility": "mobility m", "curvature": "f'' (kT)", "free_energy": "free energy f (kT per site)",
           "diffusion": "diffusion coefficient m f''"}
_NAMES = ("free_energy", "chemical_potential", "curvature", "mobility", "diffusion", "kernel")


class DensityRange(NamedTuple):
    """Densities seen, resolution and capacity of a cell (nan: unknown), as `GradientFlowModel.arrays` keeps them."""

    low: float
    high: float
    knots: float
    capacity: float = float("nan")

    def array(self) -> np.ndarray:
        """(4,) float64."""
        return np.array(self, dtype=float)


@dataclass(frozen=True, eq=False)
class GradientFlowModel(Model):
    """A fitted gradient flow, made by `vd.fit` and `vd.load`; energies in kT per site, lengths in rings.

    `arrays` holds "range" (lowest and highest density seen, knots, capacity of a cell or nan), "log_mobility" and
    "curvature" (see `Landscape`), the "covariance" of both, "sites" of the ring it was learned on, "kernels" (reach,
    count) of long-ranged forces, "first" and "second" the hidden layers of a network.
    """

    learned_from: ClassVar[Literal["trajectories", "fields"]] = "fields"

    @property
    def _function(self) -> DensityShape:
        seen = self._range
        capacity = None if np.isnan(seen.capacity) else seen.capacity
        if "first" in self.arrays:
            return DensityNetwork(seen.low, seen.high, self.arrays["first"], self.arrays["second"], capacity)
        return DensityFunction(seen.low, seen.high, int(seen.knots), capacity)

    @property
    def _range(self) -> DensityRange:
        return DensityRange(*map(float, self.arrays["range"]))

    @property
    def sites(self) -> int:
        """Sites of the ring it was learned on."""
        return int(self.arrays["sites"].item())

    @property
    def landscape(self) -> Landscape:
        """Mobility and free energy as functions."""
        return Landscape(self._function, self.arrays["log_mobility"], self.arrays["curvature"], self._kernels)

    @property
    def _kernels(self) -> EvenKernels | None:
        if "kernels" not in self.arrays:
            return None
        reach, count = self.arrays["kernels"]
        return EvenKernels(int(reach), int(count), self.sites)

    @property
    def _freedom(self) -> float:
        """Degrees of freedom of the covariance: groups of realisations less one."""
        return float(self.arrays["freedom"].item())

    @property
    def support(self) -> tuple[float, float]:
        """Lowest and highest mean density in the data [particles per site]."""
        return self._range.low, self._range.high

    def free_energy(self, rho: Any) -> np.ndarray:
        """f(rho) [kT per site]; f and f' are zero in the middle of `support`, as any affine part is unobservable."""
        return self.landscape.energy(np.asarray(rho, dtype=float))

    def chemical_potential(self, rho: Any) -> np.ndarray:
        """f'(rho) [kT]."""
        return self.landscape.potential(np.asarray(rho, dtype=float))

    def curvature(self, rho: Any) -> np.ndarray:
        """f''(rho) [kT]."""
        return self.landscape.second(np.asarray(rho, dtype=float))

    def mobility(self, rho: Any) -> np.ndarray:
        """m(rho); current = -m ∂f'."""
        return self.landscape.mobility(np.asarray(rho, dtype=float))

    def diffusion(self, rho: Any) -> np.ndarray:
        """D = m f''."""
        return self.landscape.diffusion(np.asarray(rho, dtype=float))

    def kernel(self, r: Any) -> np.ndarray:
        """J(r) [kT] of a pair at `r` sites, long-ranged forces only; attraction is positive."""
        return self._hats(r) @ self.landscape.pull

    def _hats(self, r: Any) -> np.ndarray:
        """(..., count) w_j at distances r."""
        if self._kernels is None:
            raise ModelError("This model was fitted without long-ranged forces; fit with "
                             "vd.GradientFlow(force_range=...).")
        weights, r = self._kernels.weights(), np.abs(np.asarray(r))
        if not ((r == np.round(r)) & (r >= 1)).all():
            raise ModelError("The kernel is known at whole numbers of sites, 1 and more.")
        inside = (r <= self._kernels.reach)[..., None]
        return np.where(inside, weights[np.minimum(r.astype(int), self._kernels.reach) - 1], 0.0)

    def band(self, name: str, x: Any = None, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """(low, high) of a learned function at densities `x` and a confidence level, at each density by itself.

        Parameters
        ----------
        name : {"free_energy", "chemical_potential", "curvature", "mobility", "diffusion", "kernel"}
        """
        level = checked_level(name, level)
        if name not in _NAMES:
            raise ModelError(f"This model has no band {name!r}; it has {', '.join(_NAMES)}.")
        value, slope = getattr(self, name)(x), self._slope(name, x)
        width = float(stdtrit(self._freedom, 0.5 + 0.5 * level))
        error = width * np.sqrt(np.maximum(((slope @ self.arrays["covariance"]) * slope).sum(-1), 0.0))
        if name == "mobility":
            return value * np.exp(-error), value * np.exp(error)
        return value - error, value + error

    def _slope(self, name: str, x: Any) -> np.ndarray:
        """(..., parameters) derivative of a function (of ln m for the mobility) by the parameters."""
        landscape, count = self.landscape, len(self.arrays["curvature"])
        slope = np.zeros((*np.shape(x), 2 * count))
        if name == "kernel":
            slope[..., count + landscape.function.knots:] = self._hats(x)
            return slope
        rho, function = np.asarray(x, dtype=float), landscape.function
        of_m, of_f = slope[..., :function.knots], slope[..., count:count + function.knots]
        basis = function.basis(rho)
        if name == "mobility":
            of_m[...] = basis
        elif name == "diffusion":
            of_m[...] = basis * landscape.diffusion(rho)[..., None]
            of_f[...] = function.curved(rho) * landscape.mobility(rho)[..., None]
        else:
            times = {"curvature": 0, "chemical_potential": 1, "free_energy": 2}[name]
            of_f[...] = function.integral(rho, times, landscape.origin) if times else function.curved(rho)
        return slope

    def numbers(self) -> tuple[LearnedNumber, ...]:
        """m, f'' and D in the middle of the densities seen; the true ones are those of the functions there."""
        middle = 0.5 * sum(self.support)
        found = []
        for name in ("mobility", "curvature", "diffusion"):
            low, high = map(float, self.band(name, middle))
            found.append(LearnedNumber(f"{_LABELS[name]}, density {middle:.2f}", float(getattr(self, name)(middle)),
                                       low, high, truth=name, at=middle))
        return tuple(found)

    def functions(self) -> LearnedFunctions:
        """m, f'', f and D over the densities seen, and the kernel of long-ranged forces where there is one."""
        rho = np.linspace(*self.support, 121)
        found = [LearnedFunction(name, rho, (rho,), self.support, "density (particles per site)", label, f"{label}.")
                 for name, label in _LABELS.items()]
        if reach := int(self.recipe.get("force_range", 0)):
            r = np.arange(1, reach + 1)
            found.append(LearnedFunction("kernel", r, (r,), (1, reach), "distance (sites)", "J (kT)",
                                         "Kernel of the long-ranged forces. Positive attracts."))
        lead = ("Mobility is learned from fluctuations, free energy from the drift given the mobility. The free energy "
                "is known up to a straight line. All densities shown were seen.")
        if self.recipe.get("shape") == "network":
            lead += " Bands are those of the network's last layer, with the features of the density that it learned."
        return LearnedFunctions("Mobility and free energy", lead, tuple(found))

    def __repr__(self) -> str:
        low, high = self.support
        middle = 0.5 * (low + high)
        return (f"<GradientFlowModel: densities {low:.2f} to {high:.2f}, at {middle:.2f} m = "
                f"{float(self.mobility(middle)):.4g}, f'' = {float(self.curvature(middle)):.4g} kT>")

    def rollout(self, fields: Fields, steps: int = 100, seed: int = 0, *, dt: float | None = None,
                cells: int | None = None, noise: bool = False, progress: ProgressLike = None) -> Fields:
        """Run the model from the mean first field of every start.

        Parameters
        ----------
        fields : Fields
        steps : int
            States to make after the first.
        dt : float, optional
            Time between them; default: the last window of `fields`.
        cells : int, optional
            Of the ring; default: as the fields have. They must divide the fields' cells.
        noise : bool
            One fluctuating realisation (seed) instead of the mean flow.
        progress : bool or callable, optional
            True shows bars with the time left; a function is called with (done, total, what).

        Raises
        ------
        DataError
            If `steps`, `dt` or `cells` make no sense.
        ModelError
            If the fields start outside the densities the model has seen by more than a tenth of their range.
        """
        if steps < 1:
            raise DataError(f"steps = {steps}: a rollout makes at least one.")
        dt = float(np.diff(fields.times)[-1]) if dt is None and len(fields.times) > 1 else dt
        if dt is None or not dt > 0:
            raise DataError(f"dt = {dt!r}: give a positive time between the states of the rollout.")
        cells = cells or fields.n_cells
        if fields.n_cells % cells:
            raise DataError(f"cells = {cells} do not divide the {fields.n_cells} cells of the fields.")
        times = dt * np.arange(steps + 1)
        first = fields.mean()[:, 0].reshape(-1, cells, fields.n_cells // cells).mean(axis=2)
        low, high = self.support
        if first.min() < low - 0.1 * (high - low) or first.max() > high + 0.1 * (high - low):
            raise ModelError(f"The fields start with densities from {first.min():.3g} to {first.max():.3g}; the model "
                             f"has seen {low:.3g} to {high:.3g}. Learn from starts that cover them.")
        sites = self.sites / cells
        out = []
        with showing(progress) as progress:
            for s, rho in enumerate(first):
                progress(s, len(first), "rollout")
                rng = np.random.default_rng([seed, s])
                out.append(fluctuate(self.landscape, rho, times, sites, rng) if noise
                           else flow(self.landscape, rho, times))
            progress(len(first), len(first), "rollout")
        return Fields(np.array(out), times, np.unique(fields.starts), {"rollout": {"seed": seed, "recipe": self.recipe,
                                                                                   "noise": noise}})
