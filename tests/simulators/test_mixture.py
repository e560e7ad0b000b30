"""The mixture simulator against formulas: forces, diffusion, equilibrium; nothing of the learner."""

import numpy as np
import pytest

import vid2dyn as vd
from vid2dyn.core.errors import ConfigError
from vid2dyn.runs.experiment import part_from
from vid2dyn.simulators import BrownianMixture, Soft, Yukawa

Z = 4.9
STRONG, MIDDLE, WEAK = (Yukawa(amplitude=a, screening_length=0.4, cutoff=2.5) for a in (10.0, 4.0, 1.5))


def pair_sums(sim, x, species, what):
    """(n, ...) sum over the other particles of `what`(potential, r, unit vector)."""
    total = np.zeros((len(x), 2))
    second = np.zeros(len(x))
    for i in range(len(x)):
        e = x[i] - x
        e -= sim.box_length * np.round(e / sim.box_length)
        r = np.linalg.norm(e, axis=1)
        for j in np.flatnonzero((r > 0) & (r < 2.5)):
            pair = sim.pair_of("AB"[species[i]], "AB"[species[j]])
            if pair is not None:
                f = float(pair.force(r[j]))
                total[i] += f * e[j] / r[j]
                second[i] += -float(pair.curvature(r[j])) + f / r[j]
    return (total, second) if what == "both" else total


def test_forces_are_those_of_the_potentials():
    sim = BrownianMixture(n_a=25, n_b=20, frames=3, pair_aa=STRONG, pair_ab=MIDDLE, pair_bb=WEAK, box_length=9.0)
    path = sim.path(seed=1)
    species = np.repeat([0, 1], (25, 20))
    for frame in range(3):
        exact = pair_sums(sim, path.middle[frame], species, "force")
        assert path.forces[frame] == pytest.approx(exact, abs=1e-4 * np.abs(exact).max())


def test_free_particles_diffuse_each_at_its_rate():
    """Detects 4 % in D of a species: 60 x 200 x 2 steps; blur of an open shutter is 1/3 of a step (Berglund)."""
    sim = BrownianMixture(n_a=60, n_b=60, frames=200, diffusion_a=0.2, diffusion_b=0.6, exposure=0.01)
    path = sim.path(seed=0).positions[:, 0]
    step = (np.diff(path, axis=0) ** 2).mean(axis=(0, 2)) / (2 * 0.01 * (1 - 1 / 3))
    error = np.sqrt(2.2 / (60 * 199 * 2))
    for mean, D in ((step[:60].mean(), 0.2), (step[60:].mean(), 0.6)):
        assert abs(mean / D - 1) < Z * error < 0.07
        assert abs(mean / (1.1 * D) - 1) > Z * error


def test_it_is_at_equilibrium():
    """<F²> = -<div F> for each species, whatever their D; with the forces of B halved it is not so for A."""
    sim = BrownianMixture(n_a=30, n_b=30, frames=40, frames_per_second=10.0, diffusion_a=0.2, diffusion_b=0.8,
                          pair_aa=STRONG, pair_ab=MIDDLE, pair_bb=WEAK, box_length=10.0)
    path, species = sim.path(seed=2), np.repeat([0, 1], 30)
    sums = [pair_sums(sim, x, species, "both") for x in path.middle]
    for s in range(2):
        square = np.array([(force[species == s] ** 2).sum(axis=1).mean() for force, _ in sums])
        div = np.array([second[species == s].mean() for _, second in sums])
        off, wrong = square + div, 0.25 * square + div
        error = off.std(ddof=1) / np.sqrt(len(off)) * 1.5                 # frames are not quite independent
        assert abs(off.mean()) < Z * error
        assert abs(wrong.mean()) > Z * error


def test_the_table_names_the_species_and_the_truth():
    sim = BrownianMixture(n_a=5, n_b=3, frames=4, pair_ab=Soft())
    tracks = sim.run(seed=0)
    assert tracks.dataframe.groupby("species")["particle"].nunique().to_dict() == {"A": 5, "B": 3}
    assert tracks.info["truth"]["simulator"]["pair_ab"]["kind"] == "Soft"
    assert sim.pair_of("B", "A") is sim.pair_ab
    assert vd.simulate(sim, seed=0).dataframe.equals(tracks.dataframe)


def test_it_is_written_in_toml():
    table = {"kind": "BrownianMixture", "n_a": 4, "n_b": 4, "frames": 3,
             "pair_aa": {"kind": "Yukawa", "amplitude": 5.0}}
    sim = part_from(table, "simulators", None, "[simulate]")
    assert sim.pair_aa == Yukawa(amplitude=5.0)
    assert sim.pair_bb is None


@pytest.mark.parametrize(("wrong", "said"), [
    ({"n_a": 0}, "whole number"), ({"diffusion_b": 0.0}, "positive"), ({"exposure": 0.1}, "longer than one frame"),
    ({"box_length": 4.0, "pair_ab": STRONG}, "twice the cutoff of pair_ab"),
    ({"n_a": 400, "n_b": 400, "box_length": 8.0, "pair_bb": Yukawa(amplitude=90.0)}, "too dense to place")])
def test_arguments_out_of_range(wrong, said):
    with pytest.raises(ConfigError, match=said):
        BrownianMixture(**wrong)
