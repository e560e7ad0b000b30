"""Layers of spots to draw, and how a hidden state of a particle shows in its image."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from vid2dyn.simulators.camera import spots as _spots

KINDS = {"gaussian": _spots.GAUSSIAN, "ring": _spots.RING, "disc": _spots.DISC}
NO_PROFILE = np.zeros(1)


@dataclass(frozen=True)
class SpotLayer:
    """One layer of spots, one for each particle.

    Parameters
    ----------
    kind : int
        GAUSSIAN, RING or DISC of `spots`.
    profile : array
        Radial profile of a ring or disc, see `spots.profile`.
    sigma : (N,) array
        Width of each spot [px].
    amplitude : (N,) array
        Brightness at its centre [grey levels].
    """

    kind: int
    profile: np.ndarray
    sigma: np.ndarray
    amplitude: np.ndarray


def spot_layer(spot: str, sigma: np.ndarray, amplitude: np.ndarray) -> SpotLayer:
    """The layer of spots of the kind called `spot`."""
    profile = NO_PROFILE if spot == "gaussian" else _spots.profile(KINDS[spot])
    return SpotLayer(KINDS[spot], profile, sigma, amplitude)


def integrated_light(spot: str) -> float:
    """Light of a spot of amplitude 1 and sigma 1: the integral of its profile over the plane.

    >>> round(integrated_light("gaussian") / math.pi, 6)
    2.0
    """
    if spot == "gaussian":
        return 2 * math.pi
    profile = _spots.profile(KINDS[spot])
    r = np.arange(profile.size) / (profile.size - 2) * 5.0            # the profile runs to 5 sigma, one knot beyond
    return float(2 * math.pi * np.trapezoid(profile * r, r))


def layers_in_state(plain: SpotLayer, state: np.ndarray, spot: str, other: str, width: float,
                    brightness: float) -> list[SpotLayer]:
    """Layers that draw particles in hidden states between 0 (as `plain`) and 1.

    Sigma goes with width^s, the light with brightness^s: a wider image is dimmer at its centre. Where the shapes of
    the two states differ the light goes over from one to the other in proportion to s.

    Parameters
    ----------
    plain : SpotLayer
        The particles in state 0, of shape `spot`.
    state : (N,) array
    spot, other : str
        Shape in state 0 and in state 1.
    width, brightness : float
        Sigma and light in state 1 over those in state 0.
    """
    sigma = plain.sigma * width**state
    amplitude = plain.amplitude * brightness**state * width**(-2 * state)
    if other == spot:
        return [SpotLayer(plain.kind, plain.profile, sigma, amplitude)]
    same_light = integrated_light(spot) / integrated_light(other)
    return [SpotLayer(plain.kind, plain.profile, sigma, amplitude * (1 - state)),
            spot_layer(other, sigma, amplitude * state * same_light)]
