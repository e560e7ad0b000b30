"""Bands of fits of several recordings and of mixtures, over many films: do they cover? Minutes: run with --cases.

Each fit gives the share of distances at which its 95 % band holds the truth; points of one fit move together, fits are
independent. So the mean share of n fits has an error of its scatter/sqrt(n), and it must not be below 95 % by more than
4.9 of these (false alarm 1e-6). Bands several times as narrow, as `narrow` says, must fail.
"""

from __future__ import annotations

import numpy as np
import pytest

import vid2dyn as vd

pytestmark = pytest.mark.case

S, Z = vd.simulators, 4.9
YUKAWA = S.Yukawa(amplitude=8.0, screening_length=0.45, diameter=1.0, cutoff=3.0)
R = np.linspace(1.05, 2.4, 15)


def film(seed: int, **settings: object) -> vd.Trajectories:
    return S.Brownian(**{"n_particles": 80, "frames": 60, "box_length": 14.0, "pair": YUKAWA,
                         "localisation_error": 0.027, **settings}).run(seed)


def share(model: vd.Model, truth: np.ndarray, x: object, width: float = 1.0) -> float:
    """Part of the points at which the band, made `width` times as wide, holds the truth."""
    low, high = model.band("pair_potential", x)
    return float((np.abs(truth - 0.5 * (low + high)) <= 0.5 * width * (high - low)).mean())


def short_of(shares: list[float]) -> float:
    """By how many standard errors the mean share is below 0.95."""
    return float((0.95 - np.mean(shares)) / (np.std(shares, ddof=1) / np.sqrt(len(shares)) + 0.01))


@pytest.mark.parametrize("count", [3, 8], ids=["three recordings", "recordings as blocks"])
def test_bands_of_several_recordings_cover(count: int) -> None:
    """Also D: its error over the stated one has the variance 1 over 24 fits, within 4.9 standard errors."""
    wide, narrow, pulls = [], [], []
    for k in range(24):
        unlike = [{"localisation_error": 0.05}, {"frames_per_second": 60.0, "exposure": 0.01}, {}]
        data = [film(20_000 + 10 * k + r, **unlike[r % 3]) for r in range(count)]
        model = vd.fit(data, vd.Brownian(cutoff=3.0), seed=k)
        wide.append(share(model, YUKAWA.energy(R), R))
        narrow.append(share(model, YUKAWA.energy(R), R, width=0.15))
        pulls.append((model.diffusion() - 0.405) / model.standard_error("diffusion"))
        assert not any("belong" in text for text in model.report["warnings"])
    print(f"{count} recordings: 95 % bands of the potential hold the truth in {np.mean(wide):.1%}, .15 times as wide "
          f"in {np.mean(narrow):.1%}; D over its error {np.std(pulls):.2f}")
    assert short_of(wide) < Z < short_of(narrow)
    assert np.mean(np.square(pulls)) < 1 + Z * np.sqrt(2 / 24)


@pytest.mark.parametrize("count", [1, 3])
def test_bands_of_mixtures_cover(count: int) -> None:
    """Put-in potentials of every pair of species, from one recording and from three."""
    pairs = {("A", "A"): 10.0, ("A", "B"): 5.0, ("B", "B"): 2.5}
    truth = {both: S.Yukawa(amplitude=a, screening_length=0.4, cutoff=2.6) for both, a in pairs.items()}
    wide, narrow = [], []
    for k in range(16):
        data = [S.BrownianMixture(n_a=50, n_b=50, frames=80, diffusion_a=0.3, diffusion_b=0.5, box_length=14.5,
                                  pair_aa=truth["A", "A"], pair_ab=truth["A", "B"], pair_bb=truth["B", "B"],
                                  localisation_error=0.027).run(30_000 + 10 * k + r) for r in range(count)]
        model = vd.fit(data, vd.Brownian(cutoff=2.6, species="species"), seed=k)
        each = [(truth[both].energy(x), (x, both)) for both in pairs
                if len(x := np.linspace(model.pair_support(both)[0] + 0.05, 2.2, 10))]
        wide.append(float(np.mean([share(model, *one) for one in each])))
        narrow.append(float(np.mean([share(model, *one, width=0.06) for one in each])))
    print(f"mixture, {count} recordings: 95 % bands hold the truth in {np.mean(wide):.1%}, 0.06 times as wide in "
          f"{np.mean(narrow):.1%}")
    assert short_of(wide) < Z < short_of(narrow)
