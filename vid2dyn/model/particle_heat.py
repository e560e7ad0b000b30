"""Heat that the particles of a fitted list of terms carry: its numbers, their bands, entropies of a recording."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri
from scipy.stats import gamma

from vid2dyn.core.progress import Progress
from vid2dyn.dynamics.fluid.carried_heat import CarriedHeat
from vid2dyn.inference.hidden_heat import HiddenHeat
from vid2dyn.inference.local_scores import Baseline, local_scores
from vid2dyn.inference.steps import FluidSteps
from vid2dyn.inference.window_score import Numbers
from vid2dyn.inference.windows import Terms
from vid2dyn.model.base import LearnedNumber

NUMBERS = {"heat_capacity": ("Heat capacity", "kB", "of a particle, found from motion alone"),
           "heat_relaxation": ("Relaxation of heat", "s", "time in which a particle comes to the temperature of its "
                               "neighbours"),
           "heat_exponent": ("Exponent of pair forces", "", "pair forces go as T^β: 0 if they do not know of heat, 1 "
                             "if they are those of entropy")}


@dataclass(frozen=True, eq=False)
class ParticleHeat:
    """What the arrays of a model say of heat; see `vid2dyn.inference.hidden_heat`.

    Parameters
    ----------
    arrays : mapping
        With "heat", "heat_covariance", "heat_noise", "heat_information", "heat_baseline".
    frames : int
        Of the windows that show it.
    """

    arrays: Mapping[str, np.ndarray]
    frames: int

    @property
    def couplings(self) -> int:
        """Noise alone, or noise and pair forces."""
        return len(self.arrays["heat"]) - 4

    def value(self, name: str) -> float:
        """A number of `NUMBERS`."""
        loadings, relaxation = self.arrays["heat"][:self.couplings], float(self.arrays["heat"][self.couplings])
        return {"heat_capacity": float(loadings[0]) ** -2, "heat_relaxation": relaxation,
                "heat_exponent": float(loadings[1] / loadings[0]) if self.couplings > 1 else 0.0}[name]

    def band(self, name: str, level: float) -> tuple[np.ndarray, np.ndarray]:
        """(low, high); of numbers that are positive on a scale of their logarithms."""
        value, C = self.value(name), self.arrays["heat_covariance"]
        z = float(ndtri(0.5 + 0.5 * level))
        size = float(self.arrays["heat"][0])
        if name == "heat_exponent":
            if self.couplings < 2:
                return np.asarray(value), np.asarray(value)
            slopes = np.array([-value, 1.0]) / size
            error = z * math.sqrt(max(float(slopes @ C[:2, :2] @ slopes), 0.0))
            return np.asarray(value - error), np.asarray(value + error)
        error = z * (2.0 * math.sqrt(float(C[0, 0])) / size if name == "heat_capacity" else math.sqrt(float(C[-1, -1])))
        return np.asarray(value * math.exp(-error)), np.asarray(value * math.exp(error))

    def numbers(self) -> list[LearnedNumber]:
        """For the report."""
        names = list(NUMBERS)[:2 + (self.couplings > 1)]
        found = []
        for name in names:
            (label, unit, detail), (low, high) = NUMBERS[name], self.band(name, 0.95)
            found.append(LearnedNumber(label, self.value(name), float(low), float(high), unit, detail))
        return found

    def carried(self) -> CarriedHeat:
        """For the tables of a rollout."""
        conductance, reach, mean = (float(v) for v in self.arrays["heat"][-3:])
        energies = tuple(float(v) for v in self.arrays.get("heat_pair_energy", np.full(1, mean)))
        return CarriedHeat(self.value("heat_capacity"), self.value("heat_exponent"), conductance, reach, energies)

    def estimates(self, data: FluidSteps, terms: Terms, numbers: Numbers, shown: float, seed: int,
                  progress: Progress) -> tuple[np.ndarray, np.ndarray]:
        """Of every window and particle a normal number that says how hot it is, (windows, n), and the share of its
        variance that is not known, (windows,); no windows in a recording shorter than one."""
        if data.count < self.frames:
            return np.empty((0, data.n)), np.empty(0)
        m = self.couplings
        information, slopes = self.arrays["heat_information"], self.arrays["heat_baseline"]
        if information.ndim == 1:                                 # as files of one species had them before 30 Nov 2026
            information, slopes = information[None], slopes[None]
        baseline = Baseline(information, slopes)
        found = local_scores(data, terms, numbers, self.frames, shown, seed, progress)
        heat = HiddenHeat(self.arrays["heat"][:m], self.value("heat_relaxation"), found.time, self.arrays["heat_noise"])
        return heat.smoothed(baseline.observations(found))

    def entropy(self, z: np.ndarray) -> np.ndarray:
        """S [kB] of which z is the normal number.

        At equilibrium p(S) ∝ exp(S - C e^(S/C)): temperatures have the gamma distribution of shape C, mean kT.
        """
        C = self.value("heat_capacity")
        return C * np.log(gamma.ppf(np.clip(ndtr(z), 1e-12, 1 - 1e-12), C) / C)
