"""Lattice processes against what is known exactly: detailed balance, limits, fluctuations. Z: false alarm 1e-6."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import distributions

import vid2dyn as vd
from vid2dyn.core.errors import ConfigError, DataError
from vid2dyn.fitting.fields.elements import Elements
from vid2dyn.simulators.lattice import limits
from vid2dyn.simulators.lattice.kernels import CERTAIN, _exclusion, _recount, thresholds
from vid2dyn.simulators.lattice.oracles import carre_du_champ, generator, instant_mobility

Z = 4.9
Arrhenius, ZeroRange = vd.simulators.Arrhenius, vd.simulators.ZeroRange
RHO = np.linspace(0.1, 0.9, 9)
KERNELS = [(), (1.0,), (-2.0,), (1.0, 1.0), (0.0, 2.0), (-1.0, 0.5), (0.6, 0.6, 0.6)]


def energy(eta, kernel):
    """-sum over pairs of J(r), J in kT, on a ring."""
    n = len(eta)
    return -sum(J * eta[i] * eta[(i + r) % n] for i in range(n) for r, J in enumerate(kernel, start=1))


def neighbours_energy(eta, i, kernel):
    n = len(eta)
    return sum(J * (eta[(i + r) % n] + eta[(i - r) % n]) for r, J in enumerate(kernel, start=1))


def tabulated_rate(simulator, eta, i, side):
    """What the compiled loop accepts a hop to i + side with, read from its own table, over N² d."""
    n, reach = len(eta), simulator.reach
    if simulator._counted:
        row = sum(eta[(i + r) % n] + eta[(i - r) % n] for r in range(1, reach + 1))
    else:
        row = eta[(i - side) % n] if reach else 0
        for r in range(2, reach + 1):
            row = (row << 2) | (eta[(i - r) % n] << 1) | eta[(i + r) % n]
    return simulator.acceptance()[row] * simulator._rate


@pytest.mark.parametrize("kernel", KERNELS)
def test_detailed_balance_on_a_small_ring(kernel):
    """Every hop of every state, for the rates in the tables that the compiled loops read."""
    n = 6 if len(kernel) < 3 else 8
    simulator = Arrhenius(sites=n, kernel=kernel)
    for eta in itertools.product((0, 1), repeat=n):
        for i in range(n):
            j = (i + 1) % n
            if eta[i] == 1 and eta[j] == 0:
                other = list(eta)
                other[i], other[j] = 0, 1
                there = np.exp(-energy(eta, kernel)) * tabulated_rate(simulator, eta, i, 1)
                back = np.exp(-energy(other, kernel)) * tabulated_rate(simulator, other, j, -1)
                assert there == pytest.approx(back, rel=1e-12)
                rate = np.exp(-neighbours_energy(eta, i, kernel))
                assert tabulated_rate(simulator, eta, i, 1) == pytest.approx(rate, rel=1e-12)


@pytest.mark.parametrize("simulator", [
    Arrhenius(sites=6, kernel=(1.0,), windows=(60.0,), realisations=40_000, starts=((0.5, 0.0, 1),)),
    Arrhenius(sites=6, kernel=(-1.0, 0.5), windows=(60.0,), realisations=40_000, starts=((0.5, 0.0, 1),))])
def test_the_compiled_loop_ends_at_equilibrium(simulator):
    """Frequencies of the 20 states of 3 particles on 6 sites; the kernel of half the strength fails."""
    last = simulator.run(seed=1).values[:, -1]
    last = last[last.sum(axis=1) == 3]
    codes = last @ (1 << np.arange(6))
    states = [eta for eta in itertools.product((0, 1), repeat=6) if sum(eta) == 3]
    seen = np.array([np.sum(codes == np.dot(eta, 1 << np.arange(6))) for eta in states])

    def chi2(kernel):
        weight = np.array([np.exp(-energy(eta, kernel)) for eta in states])
        expected = len(last) * weight / weight.sum()
        return float(((seen - expected) ** 2 / expected).sum())

    limit = distributions.chi2.isf(1e-6, len(states) - 1)
    assert chi2(simulator.kernel) < limit
    assert chi2(tuple(J / 2 for J in simulator.kernel)) > limit


@pytest.mark.parametrize("reach", [1, 2, 7])
def test_counts_equal_a_recount_after_a_million_trials(reach):
    """The four entries a hop changes, both ways round the ring; one wrong entry leaves counts that no state has."""
    occupied = np.zeros(60, dtype=np.uint8)
    occupied[:30] = 1
    counts, fresh = np.zeros(60, np.int32), np.zeros(60, np.int32)
    _recount(occupied, reach, counts)
    before = occupied.copy()
    _exclusion(occupied, counts, True, reach, thresholds(np.exp(-0.1 * np.arange(2 * reach + 1))), 1_000_000,
               np.uint64(5))
    _recount(occupied, reach, fresh)
    assert (counts == fresh).all()
    assert occupied.sum() == 30
    assert (occupied != before).any()


def test_box_and_general_kernel_agree_with_the_chain():
    """Occupied neighbours at equilibrium, by the counts of the box and by the patterns of the general kernel."""
    shared = {"sites": 400, "starts": ((0.5, 0.0, 1),), "windows": (500.0,), "realisations": 300}
    chain = limits.local_chain(0.5, (0.5, 0.5, 0.5))
    exact = chain.probability(np.array([[1, 1, 0], [1, 1, 1]])).sum()
    box = Arrhenius(kernel=(0.5, 0.5, 0.5), **shared)
    general = Arrhenius(kernel=(0.5, 0.5, 0.5 + 1e-9), **shared)
    assert box._counted
    assert not general._counted
    for simulator in (box, general):
        eta = simulator.run(seed=3).values[:, -1].astype(float)
        each = (eta * np.roll(eta, -1, axis=1)).mean(axis=1)
        assert abs(each.mean() - exact) < Z * each.std(ddof=1) / len(each) ** 0.5
        assert abs(each.mean() - 1.1 * exact) > Z * each.std(ddof=1) / len(each) ** 0.5


@pytest.mark.parametrize("simulator", [Arrhenius(sites=100, kernel=(1.0,), realisations=4, windows=(20.0,)),
                                       Arrhenius(sites=100, kac_range=10, kac_strength=2.0, realisations=4),
                                       ZeroRange(sites=100, realisations=4), ZeroRange(sites=100, rate="independent")])
def test_mass_is_kept_and_seeds_decide(simulator):
    a, b, c = simulator.run(seed=0), simulator.run(seed=0), simulator.run(seed=1)
    assert (a.values == b.values).all()
    assert (a.values != c.values).any()
    mass = a.values.sum(axis=2, dtype=np.int64)
    assert (mass == mass[:, :1]).all()


def test_threads_change_nothing():
    import numba

    simulator = Arrhenius(sites=100, kernel=(1.0,), realisations=20, windows=(30.0,))
    before = numba.get_num_threads()
    try:
        found = []
        for threads in (1, min(2, numba.config.NUMBA_NUM_THREADS)):
            numba.set_num_threads(threads)
            found.append(simulator.run(seed=5).values)
    finally:
        numba.set_num_threads(before)
    assert (found[0] == found[-1]).all()


def test_mean_of_exclusion_obeys_the_discrete_heat_equation():
    """Mode 1 of <η> decays at 2d(1 - cos 2π/N) per microscopic time, exactly. Detects 5 % of the rate."""
    simulator = Arrhenius(sites=40, starts=((0.5, 0.4, 1),), realisations=20_000, windows=(20.0,))
    eta = simulator.run(seed=2).values.astype(float)
    wave = np.cos(2 * np.pi * np.arange(40) / 40) * 2 / 40
    each = eta @ wave
    kept = np.exp(-2 * (1 - np.cos(2 * np.pi / 40)) * 20.0)
    left = each[:, 1] - kept * each[:, 0]
    error = left.std(ddof=1) / len(left) ** 0.5
    assert abs(left.mean()) < Z * error
    assert abs((each[:, 1] - kept**1.05 * each[:, 0]).mean()) > Z * error


def test_short_time_fluctuations_of_exclusion():
    """Growth of a long mode's variance at equilibrium: N Cov/(2h) = m k² for k h small. Detects 5 % of m."""
    N, h = 500, 10.0
    simulator = Arrhenius(sites=N, starts=((0.5, 0.0, 1),), realisations=20_000, windows=(h,))
    eta = simulator.run(seed=4).values.astype(float)
    x = np.arange(N) / N
    modes = np.stack([np.cos(2 * np.pi * 5 * x), np.sin(2 * np.pi * 5 * x)])
    step = (eta[:, 1] - eta[:, 0]) @ modes.T / N
    # equilibrium: <ΔY²> = 2 χ/N·(1 - exp(-w h)) |mode|²/N summed; w = 2(1 - cos k) per microscopic time
    k = 2 * np.pi * 5 / N
    w = 2 * (1 - np.cos(k))
    expected = 2 * 0.25 * (1 - np.exp(-w * h)) * (modes**2).sum(axis=1) / N**2
    z = (step**2).mean(axis=0) / expected - 1
    error = (2 / len(step)) ** 0.5
    assert (abs(z) < Z * error).all()
    assert Z * error < 0.05


def test_exact_limits_agree_with_each_other():
    for J in (1.0, 2.0, -1.0, -2.0):
        exact, matrix = limits.nearest_neighbour(RHO, J), limits.short_range(RHO, (J,))
        assert np.allclose(exact.curvature, matrix.curvature, rtol=1e-11)
        assert np.allclose(exact.mobility, limits.instant_mobility(RHO, (J,)), rtol=1e-11)
        # D is the slope of the gradient current's mean
        a, h = np.exp(-J) - 1, 1e-5

        def current(rho, a=a, J=J):
            p10 = 2 * rho * (1 - rho) / (1 + np.sqrt(1 + 4 * rho * (1 - rho) * np.expm1(J)))
            return rho + a * (2 * (rho - p10) - (rho - p10) ** 2 / rho)

        assert np.allclose((current(RHO + h) - current(RHO - h)) / (2 * h), exact.diffusion, rtol=2e-8)
    assert np.allclose(limits.short_range(RHO, ()).curvature, limits.exclusion(RHO).curvature, rtol=1e-11)
    assert np.allclose(limits.short_range(RHO, (0.0, 0.0)).free_energy, limits.exclusion(RHO).free_energy, atol=1e-11)


@pytest.mark.parametrize("kernel", [(1.0, 1.0), (0.0, 2.0), (-1.0, -1.0)])
def test_free_energy_of_range_two_curves_as_stated(kernel):
    h = 2e-3
    f = [limits.short_range(RHO + s * h, kernel).free_energy for s in (-1, 0, 1)]
    assert np.allclose((f[0] - 2 * f[1] + f[2]) / h**2, limits.short_range(RHO, kernel).curvature, rtol=2e-4)


def test_zero_range_limits():
    """f' = ln φ and m = φ, from equilibrium itself: Var(n) = 1/f'' and the mean rate of a site is φ."""
    for rate, g in (("constant", lambda n: n > 0), ("independent", lambda n: n)):
        simulator = ZeroRange(sites=50, rate=rate, starts=((0.7, 0.0, 1),), realisations=4000, windows=(5.0,))
        n = simulator.run(seed=0).values[:, -1].astype(float)
        limit = simulator.limit(0.7)
        assert g(n).mean() == pytest.approx(limit.mobility[0], rel=0.02)
        # a closed ring has lost one degree of freedom
        assert n.var() == pytest.approx(1 / limit.curvature[0], rel=0.03)


@pytest.mark.parametrize("simulator", [
    Arrhenius(sites=1000, realisations=600), Arrhenius(sites=1000, kernel=(1.0,), realisations=600),
    Arrhenius(sites=1000, kernel=(-1.0,), realisations=600), ZeroRange(sites=1000, realisations=600)])
def test_carre_du_champ_of_snapshots_is_the_mobility_of_gradient_models(simulator):
    """Known rates on static equilibrium states: m to 0.5 %; 1.5 % is detected."""
    states = simulator._draw(np.full(simulator.sites, 0.4), np.random.default_rng(0))
    found, error = instant_mobility(simulator, states)
    exact = float(simulator.limit([0.4]).mobility[0])
    assert abs(found - exact) < Z * error < 0.014 * exact
    assert found == pytest.approx(exact, rel=5e-3)
    # the same through test functions: K of a uniform mobility
    elements = Elements(simulator.sites, 10, 1)
    K = simulator.sites / 2 * carre_du_champ(simulator, states, elements.values())
    assert np.allclose(np.diag(K), 2 * 10 * exact, rtol=0.05)
    assert np.allclose(K.sum(axis=0), 0.0, atol=1e-9 * K.max())


def test_generator_is_the_drift_of_short_times():
    """<L Y> of the starts against <Y(h) - Y(0)>/h; the reversed current fails. Detects 10 %."""
    simulator = Arrhenius(sites=100, kernel=(1.0,), starts=((0.5, 0.4, 4),), windows=(2.0,), realisations=20_000)
    fields = simulator.run(seed=0)
    gamma = np.cos(2 * np.pi * 4 * np.arange(100) / 100)[:, None]
    states = fields.values.astype(float)
    each = np.diff(states @ gamma[:, 0], axis=1)[:, 0] / 100 / fields.times[1]
    drift = generator(simulator, states.reshape(-1, 100), gamma).reshape(-1, 2).mean(axis=1)
    away = each - drift
    assert abs(away.mean()) < Z * away.std(ddof=1) / len(away) ** 0.5 < 0.1 * abs(drift.mean())
    assert abs((each + drift).mean()) > Z * away.std(ddof=1) / len(away) ** 0.5


def test_instant_mobility_of_range_two_counts_the_hops():
    """Snapshots against the sum over all windows of five sites; the mobility itself is lower (`test_gradient_flow`)."""
    simulator = Arrhenius(sites=1000, kernel=(0.0, 2.0), realisations=600)
    found, error = instant_mobility(simulator, simulator._draw(np.full(1000, 0.5), np.random.default_rng(1)))
    assert abs(found - limits.instant_mobility([0.5], (0.0, 2.0))[0]) < Z * error < 0.03 * found


def test_growth_of_covariance_has_the_stated_bias():
    """Hats, exclusion at density 1/2, l = sqrt(h)/q: diagonal 1 - 3cl, neighbours 1 - 4cl, next -cl, c = 2/(3 sqrt(π))
    with the lattice's own B(h) for c h^(3/2)."""
    N, h, n = 240, 9.0, 12
    q, c = N / n, 2 / (3 * np.pi**0.5)
    simulator = Arrhenius(sites=N, starts=((0.5, 0.0, 1),), realisations=12_000, windows=(h,))
    values = simulator.run(seed=6).values.astype(float) @ Elements(N, n, 1).values() / N
    step = values[:, 1] - values[:, 0]
    K = N / (2 * h / N**2) * step.T @ step / len(step)
    w = 2 - 2 * np.cos(np.linspace(0, np.pi, 20_001))
    share = np.where(w == 0, h**2 / 2, (w * h - 1 + np.exp(-w * h)) / np.where(w == 0, 1, w) ** 2)
    B = np.trapezoid(share, dx=1 / 20_000)
    cl = B / h / q
    assert cl == pytest.approx(c * h**0.5 / q, rel=0.1)
    m = 0.25 * n
    for away, expected in ((0, 2 * m * (1 - 3 * cl)), (1, -m * (1 - 4 * cl)), (2, -m * cl)):
        found = np.mean([K[i, (i + away) % n] for i in range(n)])
        error = 2 * m * (2 / (len(step) * n)) ** 0.5                       # an upper bound for all three
        assert abs(found - expected) < Z * error, away
    assert 3 * cl * 2 * m > Z * error, "without the bias it fails"


def test_variance_at_equilibrium_is_that_of_the_free_energy():
    """Var(Y) = <γ²> / (N f''), after 100 hops of interacting particles; f'' of free ones fails. Detects 12 %."""
    simulator = Arrhenius(sites=200, kernel=(1.0,), starts=((0.5, 0.0, 1),), realisations=4000, windows=(100.0,))
    wave = np.cos(2 * np.pi * 2 * np.arange(200) / 200)
    Y = simulator.run(seed=7).values[:, 1].astype(float) @ wave / 200
    expected = 0.5 / (200 * simulator.limit([0.5]).curvature[0])
    error = expected * (2 / len(Y)) ** 0.5
    assert abs(Y.var() - expected) < Z * error < 0.12 * expected
    assert abs(Y.var() - 0.5 / (200 * 4.0)) > Z * error


def test_a_kac_mobility_of_short_range_is_near_its_mean_field():
    near = limits.uncorrelated_mobility(RHO, (2.0 / 400,) * 200)
    assert np.allclose(near, limits.kac(RHO, 2.0).mobility, rtol=0.01)
    assert limits.kac(RHO, 5.0).curvature.min() < 0
    assert limits.kac(RHO, 3.9).curvature.min() > 0


def test_local_equilibrium_starts_have_the_profile_and_the_correlations():
    simulator = Arrhenius(sites=100, kernel=(1.0,), starts=((0.5, 0.3, 1),), realisations=4000)
    eta = simulator.run(seed=0).values[:, 0].astype(float)
    error = eta.std(axis=0, ddof=1) / len(eta) ** 0.5
    assert (abs(eta.mean(axis=0) - simulator.profiles()[0]) < 5.5 * error).all()
    pair = (eta * np.roll(eta, -1, axis=1)).mean(axis=0)[:-1]
    chains = [limits.local_chain(r, (1.0,)) for r in simulator.profiles()[0]]
    exact = np.array([c.probability(np.array([[1, 1]]))[0] for c in chains])
    middle = 0.5 * (exact[1:] + exact[:-1])
    assert abs(pair / middle - 1).mean() < 0.03
    assert abs(simulator.profiles()[0][:-1] ** 2 / middle - 1).mean() > 0.1, "independent sites are no match"


def test_a_kernel_may_name_both_sides():
    assert Arrhenius(kernel={-2: 0.5, 1: 1.0, -1: 1.0}).kernel == (1.0, 0.5)


def test_certain_is_certain():
    assert thresholds(np.array([1.0, 0.0])).tolist() == [CERTAIN, 0]


@pytest.mark.parametrize(("settings", "said"), [
    ({"starts": ((0.8, 0.4, 1),)}, "between 0 and 1"), ({"sites": 3}, "at least 4"),
    ({"windows": (2.0, 1.0)}, "increasing"),
    ({"kernel": (1.0,), "kac_range": 2, "kac_strength": 1.0}, "not both"), ({"kac_range": 3}, "belong together"),
    ({"kernel": (0.1,) * 9}, "range 9"), ({"sites": 10, "kac_range": 5, "kac_strength": 1.0}, "both sides"),
    ({"realisations": 0}, "at least 1"), ({"d": 0.0}, "positive"), ({"kernel": (float("nan"),)}, "finite"),
    ({"kernel": {-1: 1.0, 1: 0.5}}, "not even"), ({"kernel": {0: 1.0}}, "0 left out"),
])
def test_settings_out_of_range(settings, said):
    with pytest.raises(ConfigError, match=said):
        Arrhenius(**settings)


def test_fields_file_and_its_errors(tmp_path):
    fields = Arrhenius(sites=20, realisations=3, windows=(1.0,)).run(seed=0)
    path = fields.save(tmp_path / "a.fields")
    again = vd.load(path)
    assert (again.values == fields.values).all()
    assert again.info == fields.info
    assert again.values.dtype == fields.values.dtype
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match="not a readable file"):
        vd.load(path)
    with pytest.raises(DataError, match="increasing"):
        vd.Fields(np.zeros((1, 2, 3)), np.array([0.0, 0.0]))
    with pytest.raises(DataError, match="finite"):
        vd.Fields(np.full((1, 1, 3), np.nan), np.array([0.0]))
    with pytest.raises(DataError, match="no realisation of start 7"):
        fields.of_start(7)


def test_the_kac_limit_is_one_free_energy():
    """f'' is the second derivative of f (central differences, h = 1e-3: error h²/12 of the fourth), D = m f'' at f'' of
    ρ ln ρ + (1 - ρ) ln(1 - ρ) - J ρ²/2, and the spinodal begins at J = 4, where f''(1/2) is zero."""
    rho, h = np.linspace(0.1, 0.9, 17), 1e-3
    for strength in (-1.5, 0.0, 2.0, 4.0):
        found = limits.kac(rho, strength)
        f = [limits.kac(rho + shift, strength).free_energy for shift in (-h, 0.0, h)]
        np.testing.assert_allclose((f[0] - 2 * f[1] + f[2]) / h**2, found.curvature, atol=2e-4)
        np.testing.assert_allclose(found.curvature, 1 / rho + 1 / (1 - rho) - strength, rtol=1e-12)
        np.testing.assert_allclose(found.mobility, rho * (1 - rho) * np.exp(-strength * rho), rtol=1e-12)
    assert abs(limits.kac([0.5], 4.0).curvature[0]) < 1e-12
