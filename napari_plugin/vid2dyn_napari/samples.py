"""What napari's File > Open Sample offers."""

from __future__ import annotations

from typing import Any

import vid2dyn as vd
from vid2dyn.runs.demo import SAMPLE_DATA
from vid2dyn_napari.layers import Layer, layers_of

CLIP, NEEDLE = SAMPLE_DATA / "clip.tif", SAMPLE_DATA / "needle.tif"
"""Recordings with known truth, of the repository or of the installed package."""


def gas_settings() -> Any:
    """A gas heated by a fast vortex, without which its entropy could not be followed; a fit takes about a minute."""
    return vd.simulators.SDPD(dim=2, n_particles=196, box_length=1.05, frames=121, substeps=5, flow="taylor_green",
                              flow_speed=30.0)


def lattice_settings() -> Any:
    """Attracting particles on a ring, enough realisations for a fit."""
    return vd.simulators.Arrhenius(kernel=(1.0,), sites=200, realisations=500)


def clip() -> list[Layer]:
    """Charged colloids, rendered."""
    return layers_of(vd.open(CLIP), "clip")


def needle() -> list[Layer]:
    """A packed film of two sizes of particles, sheared by a needle, rendered."""
    return layers_of(vd.open(NEEDLE), "needle")


def gas() -> list[Layer]:
    """A simulated gas."""
    return layers_of(vd.simulate(gas_settings(), seed=0), "ideal gas")


def lattice() -> list[Layer]:
    """A simulated lattice process."""
    return layers_of(vd.simulate(lattice_settings(), seed=0), "lattice")
