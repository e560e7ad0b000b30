"""Curves that the report page and the napari panel both show, drawn on given axes; each side brings its `Style`.

A function here draws data and names the axes; titles, legends and room around the curves are the side's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes


@dataclass(frozen=True)
class Style:
    """Colours and sizes of one side.

    Parameters
    ----------
    data, model, truth : str
        Colours of what was measured, of what was learned, and of what was put in.
    estimate : str
        Colour of the line of an estimate through data.
    muted : str
        Colour of lines to compare with: zero, one, the noise floor.
    shade : str
        Background where the data support a learned function.
    shade_label : str, optional
        What the legend says of it.
    band, error : float
        Opacity of confidence bands and of standard errors.
    marker : float
        Size of points.
    width, thin : float
        Of the lines of a comparison and of the line of an estimate [points].
    truth_width : float
        Of the line of the truth [points].
    """

    data: str
    model: str
    truth: str
    estimate: str
    muted: str
    shade: str
    shade_label: str | None
    band: float
    error: float
    marker: float
    width: float
    thin: float
    truth_width: float


@dataclass(frozen=True)
class EstimatedMSD:
    """Mean squared displacement beside the line of the diffusion estimate.

    Parameters
    ----------
    lag : (n,) array
        Lag times [s].
    value, stderr : (n,) arrays
        Mean squared displacement and its standard error [µm²], where it is positive.
    line : (n,) array
        What diffusion, blur and noise make of it [µm²]; NaN where that is not positive.
    floor : float, optional
        2 dim σ² [µm²], where localisation noise leaves a particle that stands still; None if σ is not known.
    drift_removed : bool
        Whether the common drift was taken out first.
    """

    lag: np.ndarray
    value: np.ndarray
    stderr: np.ndarray
    line: np.ndarray
    floor: float | None
    drift_removed: bool

    @classmethod
    def of(cls, tracks: Any, diffusion: Any) -> EstimatedMSD:
        """Of tracks and what `vd.diffusion` says of them.

        Raises
        ------
        DataError
            Where no mean squared displacement can be computed.
        """
        from vid2dyn.analysis import drift, msd

        removed = diffusion.drift_removed and tracks.drift is None
        found = msd(tracks.without_drift(drift(tracks)) if removed else tracks)
        good = np.isfinite(found.value) & (found.value > 0)
        sigma = diffusion.localisation_error
        known = sigma is not None and np.isfinite(sigma)
        noise = sigma if known else 0.0
        blur = 2 * tracks.units.blur * tracks.units.dt
        line = 2 * tracks.dim * (diffusion.D * (found.lag[good] - blur) + noise**2)
        return cls(found.lag[good], found.value[good], found.stderr[good], np.where(line > 0, line, np.nan),
                   2 * tracks.dim * noise**2 if known else None, removed)


def msd(axes: Axes, found: EstimatedMSD, style: Style, line_label: str, *, floor: bool = False) -> None:
    """Points with error bars, the line of the estimate and, if wanted, the noise floor, on logarithmic axes."""
    axes.errorbar(found.lag, found.value, yerr=found.stderr, fmt="o", ms=style.marker, color=style.data, label="data",
                  capsize=0)
    axes.plot(found.lag, found.line, "-", color=style.estimate, lw=style.thin, label=line_label)
    if floor and found.floor:
        axes.axhline(found.floor, color=style.muted, ls="--", lw=1, label="noise floor")
    axes.set(xscale="log", yscale="log", xlabel="lag time (s)", ylabel="mean squared displacement (µm²)")


def comparison(axes: Axes, curve: Any, style: Style, model_label: str) -> None:
    """Data and rollout of one `Curve` of a comparison, each with its standard error as a band."""
    sides = ((curve.a, curve.a_stderr, style.data, "data"), (curve.b, curve.b_stderr, style.model, model_label))
    for y, error, colour, label in sides:
        axes.fill_between(curve.x, y - error, y + error, color=colour, alpha=style.error, lw=0)
        axes.plot(curve.x, y, color=colour, label=label, lw=style.width)


@dataclass(frozen=True)
class LearnedCurve:
    """A learned function: values at x with their 95 % band, where the data support it, and the truth if it is known."""

    x: np.ndarray
    value: np.ndarray
    band: tuple[np.ndarray, np.ndarray]
    support: tuple[float, float] | None = None
    truth: np.ndarray | None = None

    def visible(self) -> np.ndarray:
        """All finite numbers that should be seen: where the data support them, or the values if that is nowhere."""
        inside = np.ones(len(self.x), dtype=bool)
        if self.support is not None:
            inside = (self.x >= self.support[0]) & (self.x <= self.support[1])
        shown = [part[inside] for part in (self.value, *self.band, self.truth) if part is not None]
        found = np.concatenate(shown) if inside.any() else self.value
        return found[np.isfinite(found)]


def learned(axes: Axes, curve: LearnedCurve, style: Style, *, zero: bool = False) -> None:
    """The function with its band, shaded where the data support it, and the truth where it is known."""
    if curve.support is not None:
        axes.axvspan(*curve.support, color=style.shade, lw=0, label=style.shade_label)
    if zero:
        axes.axhline(0.0, color=style.muted, lw=0.8, ls=":")
    axes.fill_between(curve.x, *curve.band, color=style.model, alpha=style.band, lw=0, label="95 % band")
    axes.plot(curve.x, curve.value, color=style.model, label="learned")
    if curve.truth is not None:
        axes.plot(curve.x, curve.truth, "--", color=style.truth, lw=style.truth_width, label="truth")


def stress_strain(axes: Axes, sides: Sequence[tuple[str, Any, str]], width: float = 0.9) -> None:
    """Stress-strain loops: (label, `Moduli`, colour) each. The slope is G', the area π G'' γ²."""
    for label, found, colour in sides:
        stress = found.dataframe["stress"] - found.dataframe["stress"].mean()
        axes.plot(found.dataframe["strain"], stress, color=colour, linewidth=width, label=label)
    axes.set(xlabel="strain", ylabel="shear stress (kT/µm²)")


def keep_in_view(axes: Axes, values: np.ndarray, share: float, least: float) -> None:
    """Limits of the y axis around finite values, with `share` of their range, at least of `least`, as room."""
    if values.size:
        room = share * max(np.ptp(values), least)
        axes.set_ylim(values.min() - room, values.max() + room)
