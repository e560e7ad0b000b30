"""How a hidden state of a particle shows in its image."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from vid2dyn.simulators.camera import spots as _spots

KINDS = {"gaussian": _spots.GAUSSIAN, "ring": _spots.RING, "disc": _spots.DISC}
NO_PROFILE = np.zeros(1)


@dataclass(frozen=True)
class Look:
    """One layer of spots: kind and radial profile, `sigma` (N,) [px], `amplitude` (N,) [grey levels]."""

    kind: int
    profile: np.ndarray
    sigma: np.ndarray
    amplitude: np.ndarray


def look(spot: str, sigma: np.ndarray, amplitude: np.ndarray) -> Look:
    """Spots of the kind called `spot`."""
    return Look(KINDS[spot], NO_PROFILE if spot == "gaussian" else _spots.profile(KINDS[spot]), sigma, amplitude)


def light_of(spot: str) -> float:
    """Light of a spot of amplitude 1 and sigma 1: the integral of its profile over the plane.

    >>> round(light_of("gaussian") / math.pi, 6)
    2.0
    """
    if spot == "gaussian":
        return 2 * math.pi
    profile = _spots.profile(KINDS[spot])
    r = np.arange(profile.size) / (profile.size - 2) * 5.0            # the profile runs to 5 sigma, one knot beyond
    return float(2 * math.pi * np.trapezoid(profile * r, r))


def in_state(plain: Look, state: np.ndarray, spot: str, other: str, width: float, brightness: float) -> list[Look]:
    """Looks of particles in states between 0 (as `plain`) and 1.

    Sigma goes with width^s, the light with brightness^s: a wider image is dimmer at its centre. Where the shapes of
    the two states differ the light goes over from one to the other in proportion to s.

    Parameters
    ----------
    plain : Look
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
        return [Look(plain.kind, plain.profile, sigma, amplitude)]
    same_light = light_of(spot) / light_of(other)
    return [Look(plain.kind, plain.profile, sigma, amplitude * (1 - state)),
            look(other, sigma, amplitude * state * same_light)]
