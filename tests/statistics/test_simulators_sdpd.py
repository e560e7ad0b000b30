"""The SDPD gas against theory that knows nothing of how it is simulated.

At given energy E and momentum the density exp(sum S_i/kB) dr dv dS of an ideal gas makes the shares of the internal
energies and of the kinetic energy Dirichlet with exponents C (each) and dim (N - 1)/2, whatever the positions.

False alarms: p < 1e-6 a test (|z| < 4.9; 6.6 where the error comes from 24 blocks, Student's t). What each test
detects is stated, and planted.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from numba import njit
from scipy import stats

from vid2dyn.analysis import stress, vacf
from vid2dyn.simulators.fluid.sdpd import updates as pairs
from vid2dyn.simulators.fluid.sdpd.gas import SDPD
from vid2dyn.simulators.fluid.sdpd.physics import GasParameters, pair_key
from vid2dyn.simulators.fluid.sdpd.start import draw_energies

ALPHA, Z = 1e-6, 4.9
BLOCKS, T24 = 24, 6.6
LAWS = ("constant", "radial")


def gas_of(law: str, **arguments: object) -> SDPD:
    """60 particles of heat capacity 10: the terms of order kB are 10 % here."""
    given: dict[str, object] = {
        "n_particles": 60, "box_length": 0.6, "heat_capacity": 10.0, "shear_viscosity": 10.0, "bulk_viscosity": 5.0,
        "conductivity": 1000.0, "coefficients": law, "substeps": 1, "frames_per_second": 400.0}
    return SDPD(**{**given, **arguments})  # type: ignore[arg-type]


# ------------------------------------------------------------------ one pair, many times over


@njit(cache=True)
def many_pairs(v, u, e, f, dt, steps, seed, fluid, friction=True, conduction=True):  # type: ignore[no-untyped-def]
    """`steps` updates of friction and conduction of many separate pairs: v (n, 2, 3), u (n, 2)."""
    refused = 0
    for k in range(v.shape[0]):
        for step in range(steps):
            key = pair_key(seed, step, 2 * k, 2 * k + 1)
            if friction:
                refused += not pairs.apply_friction(0, 1, e[0], e[1], e[2], f, 0.0, dt, key, v[k], u[k], fluid)
            if conduction:
                refused += not pairs.apply_conduction(0, 1, f, dt, key, u[k], fluid)
    return refused


def pair_of(law: str, heat_capacity: float, dim: int = 3) -> tuple[SDPD, GasParameters, float]:
    """A gas, its constants, and the f at which w decays at about 1 per unit of time."""
    gas = gas_of(law, heat_capacity=heat_capacity, dim=dim, n_particles=200)
    f = gas.mass / (2 * (gas.fluid.alpha + gas.fluid.beta))
    return gas, gas.fluid._replace(kappa=0.25 * heat_capacity / f), f


def equilibrium_pairs(n: int, C: float, dim: int, mass: float, rng: np.random.Generator,
                      extra: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """v (n, 2, 3) at momentum 0 and u (n, 2) from Dirichlet(C, C, dim/2) shares of the energy 2 C + dim/2."""
    share = rng.dirichlet([C + extra, C + extra, dim / 2], n) * (2 * C + dim / 2)
    v = np.zeros((n, 2, 3))
    w = rng.normal(size=(n, dim))
    w *= np.sqrt(4 * share[:, 2] / mass)[:, None] / np.linalg.norm(w, axis=1)[:, None]
    v[:, 0, :dim], v[:, 1, :dim] = w / 2, -w / 2
    return v, np.ascontiguousarray(share[:, :2])


def shares(v: np.ndarray, u: np.ndarray, mass: float) -> np.ndarray:
    w2 = ((v[:, 0] - v[:, 1]) ** 2).sum(axis=1)
    return np.column_stack([u, mass * w2 / 4]) / (u.sum(axis=1) + mass * w2 / 4)[:, None]


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("law", LAWS)
def test_pair_keeps_the_invariant_density_at_any_step(law: str, dim: int) -> None:
    """60,000 pairs drawn in equilibrium, 12 long steps later: the same Dirichlet law, with C = 3 kB.

    The mean share of U is known to 0.1 %. Planted: the density with respect to dU in place of dS, C + 1 for C, is
    left within those 12 steps.
    """
    C, dt = 3.0, 0.7
    gas, fluid, f = pair_of(law, C, dim)
    e = np.array([0.6, 0.8, 0.0])
    exact = [stats.beta(C, C + dim / 2).cdf, stats.beta(dim / 2, 2 * C).cdf]
    v, u = equilibrium_pairs(60_000, C, dim, gas.mass, np.random.default_rng(0))
    refused = many_pairs(v, u, e, f, dt, 12, np.uint64(1), fluid)
    assert refused < 0.4 * 12 * 2 * len(u)
    after = shares(v, u, gas.mass)
    for column, cdf in ((0, exact[0]), (1, exact[0]), (2, exact[1])):
        assert stats.kstest(after[:, column], cdf).pvalue > ALPHA
    # directions too: components of w along e and across it are alike
    w = v[:, 0] - v[:, 1]
    ratio = (w @ e) ** 2 / (w**2).sum(axis=1)
    assert stats.kstest(ratio, stats.beta(0.5, (dim - 1) / 2).cdf).pvalue > ALPHA
    v, u = equilibrium_pairs(60_000, C, dim, gas.mass, np.random.default_rng(0), extra=1.0)
    assert stats.kstest(shares(v, u, gas.mass)[:, 2], exact[1]).pvalue < ALPHA
    many_pairs(v, u, e, f, dt, 12, np.uint64(1), fluid)
    assert stats.kstest(shares(v, u, gas.mass)[:, 2], stats.beta(dim / 2, 2 * (C + 1)).cdf).pvalue < ALPHA


def one_update(fluid: GasParameters, f: float, w: np.ndarray, u: np.ndarray, dt: float, n: int,
               friction: bool) -> tuple[np.ndarray, np.ndarray]:
    """Changes of w (n, 3) and of U_i - U_j (n,) over one step of friction, or of conduction, from one state.

    The line of centres is the first axis.
    """
    v = np.zeros((n, 2, 3))
    v[:, 0], v[:, 1] = w / 2, -w / 2
    after = np.tile(u, (n, 1))
    many_pairs(v, after, np.array([1.0, 0.0, 0.0]), f, dt, 1, np.uint64(5), fluid, friction,
               not friction)
    return v[:, 0] - v[:, 1] - w, after[:, 0] - after[:, 1] - (u[0] - u[1])


@pytest.mark.parametrize("law", LAWS)
def test_pair_moves_as_friction_noise_and_kB_terms_say(law: str) -> None:
    """Mean and variance of one short update against M grad S + kB div M, the divergence by differences.

    Drift and noise across and along the line of centres are known to 1 % and 0.2 %; 0.4 and 0.8 % are allowed for the
    length of the step. Planted: the kB terms left out (10-20 % of the drift at C = 5), the noise 3 % stronger.
    """
    C, n, dt, step = 5.0, 600_000, 0.01, 1e-4
    gas, fluid, f = pair_of(law, C)
    w, u, m = np.array([5.0, 5.0, 0.0]), np.array([4.0, 7.0]), gas.mass

    def K(energies: np.ndarray) -> np.ndarray:
        T = energies / C
        h = 2 * T[0] * T[1] / T.sum() if law == "constant" else gas.kT
        return f * h * np.array([fluid.alpha + fluid.beta, fluid.alpha, fluid.alpha])
    plain = -(C / m) * (1 / u).sum() * K(u) * w
    full = plain.copy()
    for k in (0, 1):                                 # -(1/m) d(K/T_k)/dS_k w at fixed V, where dU = T dS
        up, down = (u + sign * step * u[k] / C * np.eye(2)[k] for sign in (1, -1))
        full -= (K(up) * C / up[k] - K(down) * C / down[k]) / (2 * step) / m * w
    moved, _ = one_update(fluid, f, w, u, dt, n, True)
    moved_off, _ = one_update(fluid._replace(noisy=False), f, w, u, dt, 1, True)
    np.testing.assert_allclose(moved_off[0] / dt, plain, rtol=0.03)
    noise = 8 * K(u) / m**2 * dt
    for axis in (0, 1):
        decay = -full[axis] / w[axis] * dt
        error = Z * math.sqrt(noise[axis] / n) / dt + 4e-3 * abs(plain[axis])
        expected = -w[axis] * (1 - math.exp(-decay)) / dt
        assert abs(moved[:, axis].mean() / dt - expected) < error
        assert abs(moved[:, axis].mean() / dt - expected * plain[axis] / full[axis]) > error
        spread = moved[:, axis].var() / (noise[axis] * (1 - decay)) - 1
        assert abs(spread) < Z * math.sqrt(2 / n) + 8e-3
        assert 1.03 - 1 - abs(spread) > Z * math.sqrt(2 / n) + 8e-3


@pytest.mark.parametrize("law", LAWS)
def test_heat_flows_as_conduction_noise_and_kB_terms_say(law: str) -> None:
    """The same for conduction: dU_i = [C² (1/T_i - 1/T_j) + kB terms] dt, variance 2 C² dt. The kB terms: 10-20 %."""
    C, n, dt, step = 5.0, 600_000, 0.01, 1e-4
    gas, fluid, f = pair_of(law, C)
    u = np.array([8.0, 3.0])

    def C2(q: float) -> float:
        T = (u + np.array([q, -q])) / C
        return 2 * fluid.kappa * f * (T[0] * T[1] if law == "constant" else gas.kT**2)
    plain = C2(0) * C * (1 / u[0] - 1 / u[1])
    # reversible diffusion of q with density exp(S_i + S_j)/(T_i T_j): C² d ln/dq + d(C²)/dq
    full = C2(0) * (C - 1) * (1 / u[0] - 1 / u[1]) + (C2(step) - C2(-step)) / (2 * step)
    _, moved = one_update(fluid, f, np.zeros(3), u, dt, n, False)
    q = moved / 2
    decay = -full / (0.5 * (u[0] - u[1])) * dt
    error = Z * math.sqrt(2 * C2(0) * dt / n) / dt + 4e-3 * abs(plain)
    assert abs(q.mean() / dt - full * (1 - decay / 2)) < error
    assert law == "constant" or abs(full - plain) > 2 * error      # there the two kB terms cancel
    spread = q.var() / (2 * C2(0) * dt * (1 - decay)) - 1
    assert abs(spread) < 0.02
    assert 1.05 - 1 - abs(spread) > 0.02


@pytest.mark.parametrize("law", LAWS)
def test_pair_updates_are_their_own_time_reversal(law: str) -> None:
    """Detailed balance: <a(before) b(after)> = <b(before) a(after)> for pairs in equilibrium, a, b of third order.

    200,000 pairs, friction and conduction each alone; the asymmetry is known to 0.3 % of the fluctuations'
    product. Planted: the same statistics of updates without noise, which only go one way.
    """
    C = 3.0
    gas, fluid, f = pair_of(law, C)
    fluid_off = fluid._replace(noisy=False)
    e = np.array([0.6, 0.8, 0.0])
    for given, reversible in ((fluid, True), (fluid_off, False)):
        v, u = equilibrium_pairs(200_000, C, 3, gas.mass, np.random.default_rng(3))
        before = shares(v, u, gas.mass)
        many_pairs(v, u, e, f, 0.3, 1, np.uint64(9), given, True, False)
        after = shares(v, u, gas.mass)
        asymmetry = before[:, 2] ** 3 * after[:, 2] - before[:, 2] * after[:, 2] ** 3
        z = asymmetry.mean() / (asymmetry.std() / math.sqrt(len(u)))
        assert (abs(z) < Z) == reversible
        before = after
        many_pairs(v, u, e, f, 0.3, 1, np.uint64(10), given, False, True)
        after = shares(v, u, gas.mass)
        asymmetry = before[:, 0] ** 3 * after[:, 0] - before[:, 0] * after[:, 0] ** 3
        z = asymmetry.mean() / (asymmetry.std() / math.sqrt(len(u)))
        assert (abs(z) < Z) == reversible


# ------------------------------------------------------------------ the whole gas


class Run:
    """60 particles over 240 decay times of the velocity: U (T, N), ln V (T, N), kinetic and total energy (T,)."""

    def __init__(self, law: str) -> None:
        self.gas = gas_of(law, frames=4800)
        self.tracks = self.gas.run(seed=1)
        x = self.tracks.dense()[0][::2]
        self.v, S = np.empty((4800, 60, 3)), np.empty((4800, 60))
        self.v[self.tracks.frame, self.tracks.particle] = self.tracks.velocities
        S[self.tracks.frame, self.tracks.particle] = self.tracks.entropy
        V = np.array([1 / self.gas.densities(y) for y in x])
        self.U, self.lnV = self.gas.internal_energy(S[::2], V), np.log(V / self.gas.volume0)
        self.kinetic = 0.5 * self.gas.mass * (self.v[::2] ** 2).sum(axis=(1, 2))
        self.energy = self.kinetic + self.U.sum(axis=1)


@pytest.fixture(scope="module", params=LAWS)
def run(request: pytest.FixtureRequest) -> Run:
    return Run(request.param)


def z_of(values: np.ndarray, expected: float) -> float:
    """(mean - expected) over its error from 24 blocks of frames."""
    blocks = np.array([block.mean() for block in np.array_split(values, BLOCKS)])
    return float((values.mean() - expected) / (blocks.std(ddof=1) / math.sqrt(BLOCKS)))


def test_shares_of_energy_are_dirichlet(run: Run) -> None:
    """Equipartition, mean and fluctuation, and the law of the internal energies: what exp(sum S/kB) dr dv dS says.

    Kinetic share: mean known to 1 % (planted: 9 %, what dU for dS as reference measure would make of it); mean square
    deviation. Shares of U: variance known to 3 % (planted: 25 %), mean logarithm, whole law. The entropy is
    S = C ln U + atoms ln V, and U and V are independent.
    """
    gas, n = run.gas, run.gas.n_particles
    a, b = 1.5 * (n - 1), n * gas.heat_capacity
    share, kinetic = run.kinetic / run.energy, stats.beta(a, b)
    assert abs(z_of(share, kinetic.mean())) < T24
    assert abs(z_of((share - kinetic.mean()) ** 2, kinetic.var())) < T24
    assert abs(z_of(share, kinetic.mean() * 1.09)) > T24
    f, one = run.U / run.energy[:, None], stats.beta(gas.heat_capacity, (n - 1) * gas.heat_capacity + a)
    spread = ((f - one.mean()) ** 2).mean(axis=1)
    assert abs(z_of(spread, one.var())) < T24
    assert abs(z_of(spread, 1.25 * one.var())) > T24
    assert abs(z_of(np.log(f).mean(axis=1), float(one.expect(np.log)))) < T24
    assert stats.kstest(f[::100].ravel(), one.cdf).pvalue > ALPHA
    assert abs(np.corrcoef(np.log(f).ravel(), run.lnV.ravel())[0, 1]) < 0.05
    # Verlet's error of energy walks at random in a noisy gas: 0.8e-3 rms at the end of six such runs, of either sign,
    # and numbers depend on the compiler; the largest of a walk exceeds 5.2 of these once in 1e6 (reflection principle)
    assert np.abs(run.energy / run.energy[0] - 1).max() < 6e-3


def test_velocities_are_maxwells(run: Run) -> None:
    """KS of all components, one frame in 60 (6 decay times), against N(0, kT/m (1 - 1/N)); 10 % is planted."""
    gas, v = run.gas, run.v[::60].ravel()
    width = math.sqrt(gas.kT / gas.mass * (1 - 1 / gas.n_particles))
    assert stats.kstest(v / width, "norm").pvalue > ALPHA
    assert stats.kstest(1.1 * v / width, "norm").pvalue < ALPHA
    thermal = vacf(run.tracks.between(0, 1200), 20)
    assert abs(thermal.value[0] / (3 * width**2) - 1) < max(Z * thermal.stderr[0] / thermal.value[0], 0.03)
    assert thermal.value[10] < 0.6 * thermal.value[0]


def test_positions_do_not_know_of_friction(run: Run) -> None:
    """ln V in the run against Hamiltonian Monte Carlo: mean and spread, each known to 5 % (25 % is detected)."""
    starts = [gas_of(run.gas.coefficients, frames=1, equilibration=8).run(seed=s) for s in range(20)]
    drawn = np.array([-np.log(run.gas.densities(t.positions) * run.gas.volume0) for t in starts])
    for number in (np.mean, np.std):
        simulated, sampled = number(run.lnV, axis=1), number(drawn, axis=1)
        blocks = np.array([block.mean() for block in np.array_split(simulated, BLOCKS)])
        error = math.hypot(blocks.std(ddof=1) / math.sqrt(BLOCKS), sampled.std(ddof=1) / math.sqrt(len(drawn)))
        assert abs(simulated.mean() - sampled.mean()) < T24 * error
        assert T24 * error < 0.25 * abs(sampled.mean())


def test_start_is_already_the_equilibrium() -> None:
    """Energies drawn for 3,000 starts: the kinetic share is Beta to 0.3 %; momentum is zero."""
    gas, rng = gas_of("constant"), np.random.default_rng(4)
    kinetic = []
    for _ in range(3000):
        v, u = draw_energies(gas, rng)
        kinetic.append(0.5 * gas.mass * (v**2).sum())
        assert 0.5 * gas.mass * (v**2).sum() + u.sum() == pytest.approx(60 * 10 + 1.5 * 59)
        assert np.abs(v.sum(axis=0)).max() < 1e-10
    share = np.array(kinetic) / (60 * 10 + 1.5 * 59)
    assert stats.kstest(share, stats.beta(1.5 * 59, 600).cdf).pvalue > ALPHA
    assert stats.kstest(share, stats.beta(1.5 * 60, 600).cdf).pvalue < 1e-3


def test_friction_stress_is_the_kernel_sum() -> None:
    """At the first instant of a strong shear the friction stress is kernel_sum eta shear_rate, direction-averaged.

    20 configurations: known to 1.5 %; 10 % is planted. The kernel sum itself lies well below 1 here.
    """
    ratio, sums = [], []
    for seed in range(20):
        gas = gas_of("constant", flow="shear", shear_rate=3000.0, frames=1, substeps=4, box_length=0.7,
                     n_particles=250, equilibration=3)
        tracks = gas.run(seed=seed)
        sums.append(gas.kernel_sum(tracks.positions))
        ratio.append(stress(tracks, gas).friction[0, 1, 0] / (gas.shear_viscosity * 3000.0) / sums[-1])
    error = np.std(ratio, ddof=1) / math.sqrt(20)
    assert abs(np.mean(ratio) - 1) < 7 * error                          # Student, 19 degrees of freedom
    assert 7 * error < 0.1
    assert 0.5 < np.mean(sums) < 0.95

