"""Mobility of a density that tracked particles make: m = ρ D, from fluctuations, with localisation noise taken out.

For independent particles the density obeys ∂ρ = D ∂²ρ + ∂(sqrt(2 ρ D) ξ), mobility ρ D. Seen with errors of variance σ²
the increments of a wave k over a time h have the variance per particle

    <|Δ exp(i k x)|²> = 2 [1 - exp(-k² (D h + σ²))]

for h so short that k² D h << 1 a line in h: slope 2 k² D, intercept 2 k² σ². Noise moves the intercept only, so the
slope is the mobility. Motion blur of a shutter open for t_E takes D t_E/3 off the intercept and leaves the slope
(Berglund, Phys. Rev. E 82, 011917, 2010).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

from vid2dyn.core.errors import DataError
from vid2dyn.data.fields import Fields
from vid2dyn.fitting.fields.elements import Elements, IncrementMoments, Statistics


@dataclass(frozen=True)
class DensityDiffusion:
    """D = m/ρ [µm²/s] with its standard error; `intercept`, σ² less blur [µm²] (rounding to cells, cell²/12, taken
    out), negative where blur wins; `through_origin`, what the shortest window alone says [µm²/s], noise included."""

    D: float
    D_stderr: float
    intercept: float
    through_origin: float

    def mobility(self, density: float) -> float:
        """m = ρ D of independent particles [µm/s], density in particles/µm."""
        return density * self.D


def diffusion_of_density(fields: Fields, elements: int | None = None, groups: int = 20) -> DensityDiffusion:
    """Fit D and σ² to the covariance of increments of `vid2dyn.convert.to_fields`; errors by jackknife over segments.

    Parameters
    ----------
    fields : Fields
        With ``info["length"]`` and windows of at least two widths.
    elements : int, optional
        Test functions on the ring; default: a tenth of the cells. Wide against the steps.

    Raises
    ------
    DataError
        When the fields are not of tracks, have windows of one width only, or too few segments.
    """
    if "length" not in fields.info:
        raise DataError("These fields do not know the length of their ring; make them with "
                        "vd.convert.to_fields(tracks).")
    widths = np.diff(fields.times)
    if np.ptp(widths) < 1e-9 * widths.max():
        raise DataError("All windows have the same width, so localisation noise and diffusion look alike. Use lags "
                        "such as (1, 2, 4, 8).")
    statistics = Statistics.of(fields, Elements(fields.n_cells, elements or max(4, fields.n_cells // 10)), groups)
    length = float(fields.info["length"])
    D, intercept, first = _fit(statistics.without(None), length)
    others = np.array([_fit(statistics.without(g), length)[0] for g in range(groups)])
    error = float(np.sqrt((groups - 1) * others.var()))
    return DensityDiffusion(D, error, intercept - (length / fields.n_cells) ** 2 / 12, first)


def _fit(data: IncrementMoments, length: float) -> tuple[float, float, float]:
    """D, σ² and D of the shortest window alone."""
    weights, k = np.abs(data.elements.slope_waves()) ** 2, 2 * np.pi * np.arange(data.elements.sites // 2 + 1) / length
    power = weights.sum(axis=1)
    power[1:] *= 2
    bent = 2 * data.elements.sites * np.sin(np.pi * np.arange(len(k)) / data.elements.sites)        # slope over value
    power = np.divide(power, bent**2, out=np.zeros_like(power), where=bent > 0)                     # of γ itself
    particles = data.density[0].sum(axis=1).mean()
    seen = np.einsum("wii->w", data.covariance[0]) * data.elements.sites**2 / particles

    def expected(parameters: np.ndarray) -> np.ndarray:
        spread = np.maximum(parameters[0] * data.widths + parameters[1], 0.0)
        return 2 * ((1 - np.exp(-np.outer(spread, k**2))) * power).sum(axis=1)

    scale = float(2 * (k**2 * power).sum())
    start = np.array([seen[-1] / scale / data.widths[-1], 0.0])
    unit = np.array([start[0], start[0] * data.widths.min()])
    found = least_squares(lambda p: expected(p * unit) / seen - 1, [1.0, 0.0], x_scale=1.0).x * unit
    w = int(np.argmin(data.widths))
    alone = least_squares(lambda p: expected(np.array([p[0] * start[0], 0.0]))[w] / seen[w] - 1, [1.0]).x[0] * start[0]
    return float(found[0]), float(found[1]), float(alone)
