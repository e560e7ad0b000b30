"""What napari's File > Open Sample offers."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import vid2dyn as vd
from vid2dyn_napari.layers import Layer, layers_of

CLIP = Path(vd.__file__).resolve().parents[1] / "sample_data" / "clip.tif"
"""The recording with known truth that lies beside the package in its repository."""
NEEDLE = CLIP.with_name("needle.tif")
"""The second one."""


def gas_settings() -> Any:
    """A gas heated by a fast vortex, without which its entropy could not be followed; a fit takes about a minute."""
    return vd.simulators.SDPD(dim=2, n_particles=196, box_length=1.05, frames=121, substeps=5, flow="taylor_green",
                              flow_speed=30.0)


def lattice_settings() -> Any:
    """Attracting particles on a ring, enough realisations for a fit."""
    return vd.simulators.Arrhenius(kernel=(1.0,), sites=200, realisations=500)


def clip() -> list[Layer]:
    """Charged colloids, rendered."""
    return layers_of(vd.open(clip_path()), "clip")


def needle() -> list[Layer]:
    """A packed film of two sizes of particles, sheared by a needle, rendered."""
    return layers_of(vd.open(needle_path()), "needle")


def needle_path() -> Path:
    """The film; where the repository is not there, a shorter one is rendered once, for this computer."""
    if NEEDLE.is_file():
        return NEEDLE
    made = Path(tempfile.gettempdir()) / "vid2dyn_sample" / "needle.tif"
    if not made.is_file():
        made.parent.mkdir(exist_ok=True)
        film = vd.simulators.Needle(gap=60.0, width=80.0, frames=20, frames_per_second=15.0, strain=0.05, frequency=0.5)
        vd.render(film, film.camera("ring"), seed=0, to=made)
    return made


def clip_path() -> Path:
    """The sample recording; where the repository is not there, a smaller one is rendered once, for this computer."""
    if CLIP.is_file():
        return CLIP
    made = Path(tempfile.gettempdir()) / "vid2dyn_sample" / "clip.tif"
    if not made.is_file():
        made.parent.mkdir(exist_ok=True)
        source = vd.simulators.Brownian(n_particles=150, frames=60, frames_per_second=80.0, diffusion=0.4,
                                        exposure=0.0125, micrometre_per_pixel=0.13, box_length=30.0,
                                        pair=vd.simulators.Yukawa())
        vd.render(source, vd.simulators.Renderer(height=192, width=192, spot_sigma=1.6), seed=0, to=made)
    return made


def gas() -> list[Layer]:
    """A simulated gas."""
    return layers_of(vd.simulate(gas_settings(), seed=0), "ideal gas")


def lattice() -> list[Layer]:
    """A simulated lattice process."""
    return layers_of(vd.simulate(lattice_settings(), seed=0), "lattice")
