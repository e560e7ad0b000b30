"""The numbers that every fitted model of Brownian colloids has: D and noise, of species and recordings apart too."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vid2dyn.fitting.brownian.records import FitData
from vid2dyn.model.brownian import Measured


@dataclass(frozen=True, eq=False)
class Noise:
    """Noise scales with their standard errors, (recordings, species) each."""

    scales: np.ndarray
    stderr: np.ndarray


def common_arrays(data: tuple[FitData, ...], diffusion: np.ndarray, stderr: np.ndarray,
                  noise: Noise) -> dict[str, np.ndarray]:
    """The arrays every model has: D, noise scale, and the noise as a typical standard error of a position.

    Of several species or recordings they are means over the detections; with species there are those of each, too.
    """
    if noise.scales.size == 1:
        scale, error = float(noise.scales[0, 0]), float(noise.stderr[0, 0])
        return {"diffusion": Measured(float(diffusion[0]), float(stderr[0])).array(),
                "localisation": _localisation(data[0].recording.variance, scale, error),
                "noise_scale": Measured(scale, error).array()}
    count, stated = _counts(data), _stated(data)
    share = count / count.sum()
    of_species = share.sum(axis=0)
    D = Measured(float(of_species @ diffusion), float(np.sqrt(((of_species * stderr) ** 2).sum())))
    variance = float((share * stated * np.maximum(noise.scales, 0.0)).sum())
    variance_error = float(np.sqrt(((share * stated * noise.stderr) ** 2).sum()))
    arrays = {"diffusion": D.array(), "localisation": _root(variance, variance_error),
              "noise_scale": Measured(float((share * noise.scales).sum()),
                                      float(np.sqrt(((share * noise.stderr) ** 2).sum()))).array()}
    if len(diffusion) > 1:
        arrays["species_diffusion"] = np.stack([diffusion, stderr], axis=1)
        mine = count / np.maximum(count.sum(axis=0), 1)
        arrays["species_localisation"] = np.stack([
            _root(float((mine * stated * np.maximum(noise.scales, 0.0))[:, s].sum()),
                  float(np.sqrt(((mine * stated * noise.stderr)[:, s] ** 2).sum()))) for s in range(len(diffusion))])
    return arrays


def recording_arrays(data: tuple[FitData, ...], noise: Noise) -> dict[str, np.ndarray]:
    """Noise of each recording and species, (recordings, species, 2), where there are several recordings."""
    if len(data) == 1:
        return {}
    stated = _stated(data)
    localisation = [[_root(stated[r, s] * max(float(noise.scales[r, s]), 0.0), stated[r, s] * float(noise.stderr[r, s]))
                     for s in range(noise.scales.shape[1])] for r in range(len(data))]
    return {"recording_noise_scale": np.stack([noise.scales, noise.stderr], axis=2),
            "recording_localisation": np.array(localisation)}


def _localisation(stated_variance: np.ndarray, scale: float, stderr: float) -> np.ndarray:
    """(value, standard error) of the typical standard error of a position [µm]."""
    stated = float(stated_variance.mean())
    return _root(stated * max(scale, 0.0), stated * stderr)


def _root(variance: float, stderr: float) -> np.ndarray:
    """(value, standard error) of a standard deviation: what one standard error of the variance adds to it."""
    return Measured(variance**0.5, (variance + max(stderr, 0.0)) ** 0.5 - variance**0.5).array()


def _counts(data: tuple[FitData, ...]) -> np.ndarray:
    """(recordings, species) detections."""
    return np.array([[len(rows) for rows in _rows(one)] for one in data], dtype=float)


def _stated(data: tuple[FitData, ...]) -> np.ndarray:
    """(recordings, species) mean stated variance [µm²]."""
    return np.array([[float(one.recording.variance[rows].mean()) if len(rows) else 0.0 for rows in _rows(one)]
                     for one in data])


def _rows(one: FitData) -> list[np.ndarray]:
    species = one.recording.species
    if species is None:
        return [np.arange(len(one.recording.position))]
    return [np.flatnonzero(species == s) for s in range(len(one.species))]
