"""Brownian simulator against formulas that know nothing of it.

Every test compares a mean with an exact value in units of its standard error, taken from independent
particles or long blocks. False alarms: alpha = 1e-6 per comparison, |z| > 4.9 for many independent samples,
6.5 for 60 blocks (Student). Beside each stands a planted error that the same comparison must refuse.
"""

import numpy as np
import pytest

from vid2dyn import simulators as sims
from vid2dyn.data.units import Units
from vid2dyn.simulators.brownian.equilibrate import metropolis
from vid2dyn.simulators.brownian.forces import ForceField, FrameAverages, advance_frame
from vid2dyn.simulators.brownian.hydrodynamics import advance_frame_coupled, rotne_prager
from vid2dyn.simulators.brownian.mixture import _advance, _metropolis
from vid2dyn.simulators.brownian.pair_base import no_pair_table

ALPHA_1E6 = 4.9
BLOCKS, ALPHA_1E6_BLOCKS = 60, 6.5


def z(samples, exact):
    """Deviation of the mean of independent samples from the exact value, in standard errors."""
    samples = np.asarray(samples, dtype=float)
    return (samples.mean() - exact) / (samples.std(ddof=1) / np.sqrt(samples.size))


def blocks(series):
    """(T, ...) series as BLOCKS means over time."""
    series = np.asarray(series)
    return series[: len(series) // BLOCKS * BLOCKS].reshape(BLOCKS, -1).mean(axis=1)


# ------------------------------------------------------------------ free diffusion, blur and noise

def covariances(path):
    """Per particle: means of d_n², d_n d_{n+1}, d_n d_{n+2} over frames and axes, from (T, N, dim) positions."""
    d = np.diff(path, axis=0)
    return [(d[: len(d) - k] * d[k:]).mean(axis=(0, 2)) for k in range(3)]


@pytest.mark.parametrize("exposure", [0.0, 0.005, 0.01])
@pytest.mark.parametrize("sigma", [0.0, 0.05])
def test_free_diffusion_with_blur_and_noise(exposure, sigma):
    """Berglund 2010: E[d²] = 2 D dt (1-2R) + 2 s², E[d d'] = 2 R D dt - s², E[d d''] = 0. Detects 2 % of D."""
    D, dt, n, frames = 0.405, 0.01, 3000, 61
    tracks = sims.Brownian(n_particles=n, frames=frames, exposure=exposure, localisation_error=sigma).run(seed=11)
    path = tracks.positions.reshape(n, frames, 2).transpose(1, 0, 2)

    def scores(D, sigma):
        R = exposure / (6 * dt)
        exact = (2 * D * dt * (1 - 2 * R) + 2 * sigma**2, 2 * R * D * dt - sigma**2, 0.0)
        return [abs(z(c, e)) for c, e in zip(covariances(path), exact)]

    assert max(scores(D, sigma)) < ALPHA_1E6
    assert max(scores(1.03 * D, sigma)) > ALPHA_1E6           # planted: D 3 % wrong
    assert max(scores(D, sigma * 1.05 + 0.008)) > ALPHA_1E6   # planted: noise wrong
    if sigma == 0:
        assert max(scores(2 * D, sigma)) > 50                 # planted: noise variance doubled


def test_displacements_are_gaussian_and_the_axes_independent():
    """Fourth moment 3 (2 D dt)² and <dy dx> = 0; detects an excess kurtosis of 0.16, a correlation of 1.5 %."""
    path = sims.Brownian(n_particles=2000, frames=101).path(3).middle
    d = np.diff(path, axis=0).reshape(-1, 2) / np.sqrt(2 * 0.405 * 0.01)
    assert abs(z(d.ravel() ** 4, 3.0)) < ALPHA_1E6
    assert abs(z(d[:, 0] * d[:, 1], 0.0)) < ALPHA_1E6
    assert abs(z(d.ravel() ** 4, 3.16)) > ALPHA_1E6           # planted
    assert abs(z(d[:, 0] * d[:, 1] + 0.02, 0.0)) > ALPHA_1E6


def test_three_dimensions_and_msd():
    """MSD(n) = 2 dim [D (n - 2R) dt + s²] at n = 1 and 10; detects 3 %."""
    n, frames, sigma = 2000, 41, 0.03
    tracks = sims.Brownian(n_particles=n, frames=frames, dim=3, box_length=50.0, exposure=0.01,
                           localisation_error=sigma).run(seed=5)
    path = tracks.positions.reshape(n, frames, 3).transpose(1, 0, 2)
    for lag, step in ((1, 1), (10, 10)):
        d = path[lag::step] - path[:-lag:step]
        msd = (d**2).sum(axis=2).mean(axis=0)
        exact = 6 * (0.405 * (lag - 1 / 3) * 0.01 + sigma**2)
        assert abs(z(msd, exact)) < ALPHA_1E6
        assert abs(z(msd, 1.06 * exact)) > ALPHA_1E6


def test_exposure_average_of_eight_steps_has_the_blur():
    """The function for paths of others: 16 steps of a random walk, full exposure; detects 1.5 % of the variance."""
    rng = np.random.default_rng(0)
    walk = np.cumsum(rng.standard_normal((8 * 16 + 1, 40_000)), axis=0)
    d = np.diff(sims.exposure_average(walk, 16, 1.0), axis=0)
    exact = 16 * (2 / 3) * (1 + 0.25 / 16**2)                 # trapezoid of 16 steps: 1 + 1/(4 m²)
    assert abs(z((d**2).mean(axis=0), exact)) < ALPHA_1E6
    assert abs(z((d**2).mean(axis=0), 16.0)) > 50             # planted: no blur
    assert abs(z((d**2).mean(axis=0), 1.02 * exact)) > ALPHA_1E6


def test_noise_gaps_and_scatter_are_as_asked():
    seen = sims.observe(np.zeros((400, 300, 2)), Units(0.1, 10.0), np.random.default_rng(1), localisation_error=0.04,
                        localisation_scatter=0.3, gap_probability=0.2)
    missing = 1 - len(seen) / (400 * 300)
    assert abs(missing - 0.2) < ALPHA_1E6 * np.sqrt(0.2 * 0.8 / 120_000)
    whitened = (seen.positions / seen.sigma).ravel()
    assert abs(z(whitened**2, 1.0)) < ALPHA_1E6               # y_std, x_std are the truth
    assert abs(z(whitened**2, 1.03)) > ALPHA_1E6
    many = sims.observe(np.zeros((2, 20_000, 2)), Units(0.1, 10.0), np.random.default_rng(2), localisation_error=0.04,
                        localisation_scatter=0.3)
    per_particle = many.dataframe.groupby("particle")["x_std"].first().to_numpy() * 0.1
    assert abs(z(per_particle**2, 0.04**2)) < ALPHA_1E6       # the error is the root of the mean square
    assert abs(z(per_particle, 0.04)) > ALPHA_1E6             # planted: it is the mean, 4 % of it
    assert per_particle.std() / per_particle.mean() == pytest.approx(0.3, rel=0.05)


# ------------------------------------------------------------------ traps

@pytest.mark.parametrize("trap", ["shared", "each"])
def test_trapped_particle_is_an_ornstein_uhlenbeck_process(trap):
    """<u²> = 1/k, <u(0) u(t)> = exp(-D k t)/k. Detects 3 % of k and 10 % of D; the time step is the default."""
    k, D, n = 20.0, 0.405, 400
    path = sims.Brownian(n_particles=n, frames=400, frames_per_second=20.0, trap=trap, trap_stiffness=k,
                         box_length=None, diffusion=D).path(7)
    u = path.middle - np.asarray(path.truth["centres"])
    variance, lagged = (u * u).mean(axis=(0, 2)), (u[1:] * u[:-1]).mean(axis=(0, 2))
    assert abs(z(variance, 1 / k)) < ALPHA_1E6
    assert abs(z(lagged, np.exp(-D * k * 0.05) / k)) < ALPHA_1E6
    assert abs(z(variance, 1.03 / k)) > ALPHA_1E6                                  # planted: stiffness 3 % off
    assert abs(z(lagged, np.exp(-1.1 * D * k * 0.05) / k)) > ALPHA_1E6             # planted: mobility 10 % off
    assert abs(z((u**4).mean(axis=(0, 2)), 3 / k**2)) < ALPHA_1E6                  # a Gaussian, not only its width


# ------------------------------------------------------------------ pair forces: exact Boltzmann distributions

def boltzmann(pair, observable, stiffness):
    """<observable(r)> of two particles in one trap, in the plane: p(r) ~ r exp(-U(r) - k r²/4)."""
    r = np.linspace(pair.core, 12 / np.sqrt(stiffness) + pair.reach, 200_001)[1:]
    u = pair.energy(r) + stiffness * r**2 / 4
    weight = r * np.exp(-(u - u.min()))
    return (observable(r) * weight).sum() / weight.sum()


CASES = [  # potential, trap, the same potential with the planted error
    (sims.Yukawa(), 20.0, sims.Yukawa(amplitude=10.5)),
    (sims.Soft(5.0, 1.0), 10.0, sims.Soft(5.4, 1.0)),
    (sims.Soft(6.0, 0.4, "gaussian"), 10.0, sims.Soft(6.5, 0.4, "gaussian")),
    (sims.Dipolar(5.0), 10.0, sims.Dipolar(5.25)),
    (sims.WCA(1.0, 1.0), 60.0, sims.WCA(1.3, 1.0)),
    (sims.Morse(3.0, 0.6, 1.0), 10.0, sims.Morse(4.5, 0.6, 1.0)),
]


@pytest.mark.parametrize(("pair", "k", "wrong"), CASES, ids=[f"{type(c[0]).__name__}{n}" for n, c in enumerate(CASES)])
def test_two_particles_are_boltzmann_distributed(pair, k, wrong):
    """Mean distance, mean square, mean energy. Detects an amplitude 5-8 % wrong (WCA 30 %, Morse 50 %)."""
    D = 0.405
    frames = {"WCA": 3_000, "Morse": 5_000}.get(type(pair).__name__, 24_000)
    path = sims.Brownian(n_particles=2, frames=frames, frames_per_second=0.5 * D * k, pair=pair, trap="shared",
                         trap_stiffness=k, box_length=None, diffusion=D).path(1)
    r = np.linalg.norm(path.middle[:, 0] - path.middle[:, 1], axis=1)
    observables = (lambda r: r, lambda r: r**2, lambda r: np.exp(-4 * r), pair.energy)

    def scores(truth):
        return [abs(z(blocks(o(r)), boltzmann(truth, o, k))) for o in observables]

    assert max(scores(pair)) < ALPHA_1E6_BLOCKS
    assert max(scores(wrong)) > ALPHA_1E6_BLOCKS, scores(wrong)


def test_two_particles_in_a_periodic_box():
    """g(r) = exp(-U) exactly: shells of r out to half the box, against the area they have. Detects 10 % of U."""
    pair, length = sims.Yukawa(6.0, 0.4, 1.0, cutoff=2.4), 5.0
    sim = sims.Brownian(n_particles=2, frames=20_000, frames_per_second=4.0, pair=pair, box_length=length)
    path = sim.path(2)
    d = path.box.displacement(path.middle[:, 0], path.middle[:, 1])
    r = np.linalg.norm(d, axis=1)

    def expected(pair, low, high):
        axis = (np.arange(1000) + 0.5) / 1000 * length - length / 2
        distance = np.hypot(axis[:, None], axis[None])
        weight = np.exp(-pair.energy(distance))
        return weight[(distance >= low) & (distance < high)].sum() / weight.sum()

    def scores(pair):
        shells = ((0.3, 1.3), (1.3, 1.7), (1.7, 2.4))
        return [abs(z(blocks((r >= a) & (r < b)), expected(pair, a, b))) for a, b in shells]

    assert max(scores(pair)) < ALPHA_1E6_BLOCKS
    assert max(scores(sims.Yukawa(8.0, 0.4, 1.0, cutoff=2.4))) > ALPHA_1E6_BLOCKS
    assert max(scores(sims.Soft(0.0, 1.0))) > 20              # planted: no force


@pytest.mark.parametrize(("pair", "n", "dim", "length"), [
    (sims.Yukawa(), 200, 2, 28.0), (sims.Soft(10.0, 2.0), 200, 2, 20.0), (sims.Yukawa(amplitude=20.0), 120, 3, 8.0),
    (sims.WCA(), 100, 2, 11.0)])
def test_crowd_has_temperature_one(pair, n, dim, length):
    """Configurational temperature: <F²> = <laplacian U> per particle, kT = 1, for any density, at the start
    (Monte Carlo) and after it (dynamics). Detects 15 % of kT or of the force.
    Rugh, Phys. Rev. Lett. 78, 772 (1997).
    """
    sim = sims.Brownian(n_particles=n, frames=200, frames_per_second=20.0, pair=pair, box_length=length,
                        dim=dim)
    path = sim.path(4)
    difference, square = [], []
    for x, force in zip(path.middle, path.forces):
        d = path.box.displacement(x[:, None], x[None])
        r = np.linalg.norm(d, axis=2)
        r = r[(r > 0) & (r < pair.reach)]
        laplacian = (pair.curvature(r) - (dim - 1) * pair.force(r) / r).sum()
        difference.append((force**2).sum() - laplacian)
        square.append((force**2).sum())
    difference, square = (np.array(a).reshape(20, -1).mean(axis=1) for a in (difference, square))
    limit = 7.0                                               # alpha 1e-6 for 20 blocks
    assert abs(z(difference, 0.0)) < limit
    assert abs(z(difference - 0.15 * square, 0.0)) > limit    # planted: kT 15 % off


# ------------------------------------------------------------------ hydrodynamic coupling

@pytest.mark.parametrize("dim", [2, 3])
def test_coupled_noise_has_the_covariance_of_the_mobility(dim):
    """Whitened test: noise draws on the eigenvectors of 2 D M dt are independent N(0, 1). Detects 1.5 %."""
    x0 = np.random.default_rng(1).uniform(0, 4, (6, dim))
    D, h, radius, draws = 0.405, 1e-6, 0.5, 6000
    mobility, _ = rotne_prager(x0, radius)
    table = no_pair_table()
    table = (table.start, table.per_length, table.cutoff, table.force)
    rng, d = np.random.default_rng(2), np.empty((draws, x0.size))
    field = ForceField(np.zeros(dim), table, 0.0, x0)
    averages = FrameAverages(np.empty((1, *x0.shape)), np.empty_like(x0), np.empty_like(x0))
    for k in range(draws):
        x = x0.copy()
        advance_frame_coupled(x, rng, D, (0, 0.0, 1, h), field, radius, averages)
        d[k] = (x - x0).ravel()
    values, vectors = np.linalg.eigh(mobility)
    white = d @ vectors / np.sqrt(2 * D * h * values)
    assert abs(z(white.ravel() ** 2, 1.0)) < ALPHA_1E6
    upper = np.triu_indices(x0.size, 1)
    products = [z(white[:, i] * white[:, j], 0.0) for i, j in zip(*upper)]
    assert np.abs(products).max() < 5.9                       # 153 comparisons at most
    assert abs(z((1.02 * white).ravel() ** 2, 1.0)) > ALPHA_1E6
    uncoupled = d / np.sqrt(2 * D * h)                        # planted: the coupling left out of the noise
    assert np.abs([z(uncoupled[:, i] * uncoupled[:, j], 0.0) for i, j in zip(*upper)]).max() > 8


@pytest.mark.parametrize("dim", [2, 3])
def test_coupling_leaves_equilibrium_alone(dim):
    """With Rotne-Prager mobility the distance of two trapped particles stays Boltzmann-distributed: the Itô
    drift D div M is right (in a plane it is not zero). Detects 8 % of <r²>."""
    k = 8.0
    path = sims.Brownian(n_particles=2, frames=24_000, frames_per_second=4.0, dim=dim, trap="shared", trap_stiffness=k,
                         box_length=None, hydrodynamic_radius=0.3).path(3)
    r2 = ((path.middle[:, 0] - path.middle[:, 1]) ** 2).sum(axis=1)
    assert abs(z(blocks(r2), 2 * dim / k)) < ALPHA_1E6_BLOCKS
    assert abs(z(blocks(r2), 1.08 * 2 * dim / k)) > ALPHA_1E6_BLOCKS


# ------------------------------------------------------------------ starts, and means over an exposure

def test_the_start_in_traps_has_the_temperature_that_it_should():
    """<u²> = 1/k of 20,000 particles at kT = 1; detects a temperature 3.5 % off."""
    k, none, rng, found = 20.0, no_pair_table(), np.random.default_rng(5), []
    centres = np.stack(np.meshgrid(np.arange(20), np.arange(20)), axis=-1).reshape(-1, 2) * 100.0    # nobody near
    for _ in range(50):
        x = centres.copy()
        metropolis(x, rng, 200, 2 / np.sqrt(k), np.zeros(2), (none.start, none.per_length, none.cutoff, none.energy), k,
                   centres)
        found.append(x - centres)
    variance = (np.concatenate(found) ** 2).mean(axis=1)
    assert abs(z(variance, 1 / k)) < ALPHA_1E6
    assert abs(z(variance, 1.05 / k)) > ALPHA_1E6


@pytest.mark.parametrize("kernel", ["one kind", "a mixture"])
def test_the_start_of_pairs_has_the_temperature_that_it_should(kernel):
    """Mean energy of two particles that attract each other, in a small box: an integral over their distance. Detects a
    temperature 5 % off, which moves it by 5 % of the variance of the energy; errors from 60 stretches of one chain."""
    pair, length, rng = sims.Soft(-4.0, 0.4, "gaussian"), 4.0, np.random.default_rng(5)
    table, lengths, x = pair.table(), np.full(2, 4.0), np.array([[1.0, 1.0], [1.2, 1.0]])
    ranges, energies = np.tile([table.start, table.per_length, table.cutoff], (3, 1)), np.tile(table.energy, (3, 1, 1))
    energy = []
    for _ in range(400 * BLOCKS):
        if kernel == "one kind":
            metropolis(x, rng, 60, 0.6, lengths, (table.start, table.per_length, table.cutoff, table.energy), 0.0, x)
        else:
            _metropolis(x, np.arange(2), rng, 60, 0.6, lengths, ranges, energies)
        d = x[0] - x[1]
        energy.append(float(pair.energy(np.linalg.norm(d - length * np.round(d / length)))))
    grid = (np.arange(800) + 0.5) / 800 * length - length / 2
    u = pair.energy(np.hypot(*np.meshgrid(grid, grid)))

    def mean_energy(kT):
        return float((u * np.exp(-u / kT)).sum() / np.exp(-u / kT).sum())

    assert abs(z(blocks(energy), mean_energy(1.0))) < ALPHA_1E6_BLOCKS
    assert abs(z(blocks(energy), mean_energy(1.05))) > ALPHA_1E6_BLOCKS
    assert abs(z(blocks(energy), mean_energy(0.95))) > ALPHA_1E6_BLOCKS


@pytest.mark.parametrize("kernel", ["one kind", "coupled", "a mixture"])
def test_the_mean_over_an_exposure_of_one_step_is_exact(kernel):
    """A free particle that leaves 0 has a mean over the time h of variance 2 D h/3, in a single step as well: half the
    step alone would give 2 D h/4. Detects 5 %."""
    D, h, n, sets = 0.405, 0.01, 36, 160
    rng, means = np.random.default_rng(3), []
    spread = np.stack(np.meshgrid(np.arange(6), np.arange(6)), axis=-1).reshape(-1, 2) * 1e4    # nobody near
    none = no_pair_table()
    field = ForceField(np.zeros(2), (none.start, none.per_length, none.cutoff, none.force), 0.0, spread)
    for _ in range(sets):
        x, averages = spread.copy(), FrameAverages(np.empty((1, n, 2)), np.empty((n, 2)), np.empty((n, 2)))
        if kernel == "one kind":
            advance_frame(x, rng, D, (1, h, 0, 0.0), field, averages)
        elif kernel == "coupled":
            advance_frame_coupled(x, rng, D, (1, h, 0, 0.0), field, 1e-3, averages)
        else:
            ranges = np.tile([none.start, none.per_length, none.cutoff], (3, 1))
            _advance(x, np.arange(n) % 2, rng, np.full(n, D), (1, h, 0, 0.0), np.full(2, 1e6), ranges,
                     np.tile(none.force, (3, 1, 1)), *averages)
        means.append(averages[0][0] - spread)
    square = np.concatenate(means).ravel() ** 2
    assert abs(z(square, 2 * D * h / 3)) < ALPHA_1E6
    assert abs(z(square, 2 * D * h / 4)) > ALPHA_1E6
    assert abs(z(square, 1.1 * 2 * D * h / 3)) > ALPHA_1E6
