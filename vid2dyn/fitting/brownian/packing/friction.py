"""Friction of packed particles, against the fluid and of pairs, from how their collective motion relaxes.

    R(x) dx = F dt + noise,      R = γ + c(r) e eᵀ on relative velocities      (`rollout.node_and_pair_friction`)

A cage relaxes within milliseconds, most often between two frames; how fast particles move in it is then gone. But
the motion of many relaxes more slowly the longer its wave, at a rate G q²/(n γ + η q²), where G is a modulus, n the
density and η the viscosity of pair friction, and a driven edge makes such motion. So the balance of forces is summed
with waves w_k(x) over the particles:

    sum_i w_k·[γ Δx_i + sum_j c(r_ij) e (e·Δx_ij)] = ∫ sum_i w_k·F_i dt + noise of the step,

for every step and wave, which is linear in γ and in the amplitudes of c. With the pair forces learned before, both
sides are seen. (Read at the middle of the step R·Δx needs no drift term: R ∘ dx = F dt + Itô noise, because ∇·(R M) =
0.) As F(t) feels what happened before t, and both sides share the noise of the positions, the equations are not
regressed but summed with instruments: what the waves did one frame before the step and earlier, which is
independent of the noise of the step and of the errors of its positions (two-stage least squares: Wooldridge,
Econometric Analysis, 2010, §5.1). What relaxes within one frame is not correlated with them and drops out
by itself: the equations say what can be known, and `Band` what cannot. ∫F dt over a step is the trapezoid times
tanh(y/2)/(y/2), exact for a relaxation by exp(-y), with y measured for every band of waves. What goes with the motion
of the held particles is taken apart: their velocity is an instrument of its own, exact and slow.

Where D, that of a particle in its cage, is given, it fixes what tracks leave open: D = kT <diagonal of R⁻¹>.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import brentq, minimize_scalar
from scipy.sparse import coo_matrix
from scipy.sparse.linalg import splu

from vid2dyn.dynamics.brownian import pair_kinds, species_count
from vid2dyn.dynamics.snapshot import neighbour_pairs
from vid2dyn.dynamics.terms.friction import PairFrictionLaw
from vid2dyn.dynamics.terms.potentials import PairPotential
from vid2dyn.fitting.brownian.design import chunks
from vid2dyn.fitting.brownian.recording import Recording, steps_of

FORGOTTEN = 1.5
"""Waves that relax by more than exp(-1.5) in a frame tell too little, and the trapezoid too much."""
LAGS = (1, 2, 4, 8)
"""Frames over which the instruments are differences."""
STRONG = 10.0
"""F statistic of the instruments from which on they are not weak (Staiger & Stock, Econometrica 65, 557, 1997)."""
KNOWN = 0.3
"""Relative standard error up to which a friction counts as seen."""
_MOST_FRAMES, _MOST_WAVES, _LONG_WAVES, _PER_BAND = 3000, 300, 100, 20
_MOVES = 0.01
"""Spacings that held particles must go to count as driven."""
_SHORTEST = 1.25
"""Shortest half wave, in spacings."""
_ROUNDS, _STRETCHES = 3, 20
_PROBES, _SNAPSHOTS = 8, 4


@dataclass(frozen=True)
class Band:
    """Waves of about one length: `wavelength` [µm], how much of their motion is left after one frame, and whether they
    were used."""

    wavelength: float
    left: float
    used: bool


@dataclass(frozen=True, eq=False)
class FoundFriction:
    """What the relaxation of a packing says of its friction.

    Parameters
    ----------
    node : float
        γ of a particle against the fluid [kT s/µm²].
    pair : PairFrictionLaw
    covariance : (2, 2) array
        Of γ and of the amplitude of pairs.
    diffusion : float
        kT <diagonal of R⁻¹>, D of a particle in its cage [µm²/s].
    tracks, tracks_stderr : (2,) arrays
        γ and the amplitude from the tracks alone, without the D that was given; not a number where nothing was seen.
    bands : tuple of Band
    given : float or None
        D that was given.
    """

    node: float
    pair: PairFrictionLaw
    covariance: np.ndarray
    diffusion: float
    tracks: np.ndarray
    tracks_stderr: np.ndarray
    bands: tuple[Band, ...]
    given: float | None

    @property
    def seen(self) -> tuple[bool, bool]:
        """Whether the tracks alone show γ, and the friction of pairs."""
        known = (self.tracks > 0) & (self.tracks_stderr < KNOWN * self.tracks)
        return bool(known[0]), bool(known[1])

    def report(self) -> dict[str, Any]:
        """Plain numbers."""
        error = np.sqrt(np.maximum(np.diag(self.covariance), 0.0))
        return {"node": self.node, "node_stderr": float(error[0]), "pair": self.pair.amplitude,
                "pair_stderr": float(error[1]), "pair_at": self.pair.near, "pair_cutoff": self.pair.cutoff,
                "diffusion": self.diffusion, "diffusion_given": self.given is not None,
                "from_tracks": self.tracks.tolist(), "from_tracks_stderr": self.tracks_stderr.tolist(),
                "seen": list(self.seen), "bands": [[one.wavelength, one.left, one.used] for one in self.bands]}


@dataclass(frozen=True, eq=False)
class _Waves:
    """Sums over the particles of one recording, frame by frame, for K waves (of every axis).

    `before`, `after` (T, K): force at the start and end of each step, times dt; `move` (T, K) displacement; `drag`
    (T, K, 2): the sides of γ and of the amplitude; `length` (K,) [µm]; `drive` (T + 1, axes that move): mean place of
    the held particles [µm].
    """

    before: np.ndarray
    after: np.ndarray
    move: np.ndarray
    drag: np.ndarray
    length: np.ndarray
    drive: np.ndarray


def found_friction(recordings: Sequence[Recording], held: Sequence[np.ndarray],
                   potentials: tuple[PairPotential, ...], near: float, reach: float, diffusion: float | None,
                   lowest_diffusion: float, force_error: float = 0.0) -> FoundFriction | None:
    """Friction of the particles with weight; None where nothing in the recordings relaxes slowly enough.

    Parameters
    ----------
    recordings : sequence of Recording
        Detections without weight are neighbours only.
    held : sequence of (n,) bool arrays
        Of each recording: detections of particles that are moved by hand.
    potentials : tuple of PairPotential
        Of every pair of species.
    near, reach : float
        Distance of neighbours, and where friction of pairs ends [µm].
    diffusion : float, optional
        D of a particle in its cage [µm²/s], where it is known.
    lowest_diffusion : float
        That displacements from frame to frame show [µm²/s]: taken where D is not given and the friction that tracks
        show is below its own error.
    force_error : float
        Relative error of the forces, which is one of the friction.
    """
    unit = PairFrictionLaw(1.0, near, reach)
    waves = [_waves(one, by_hand, potentials, unit) for one, by_hand in zip(recordings, held, strict=True)]
    value, covariance, bands = _solved(waves)
    if not np.isfinite(value).all():
        return None
    covariance = covariance + force_error**2 * np.outer(value, value)
    error = np.sqrt(np.diag(covariance))
    snapshots = [_Snapshot.of(one, by_hand, frame, unit) for one, by_hand in zip(recordings, held, strict=True)
                 for frame in _some_frames(one)]
    if diffusion is not None:
        final, spread = _with_diffusion(value, covariance, diffusion, snapshots)
    elif (value > error).all():
        final, spread = value, covariance
    else:
        final, spread = _with_diffusion(value, covariance, lowest_diffusion, snapshots)
        spread = spread + np.diag([0.0, final[1] ** 2])
    law = PairFrictionLaw(float(final[1]), near, reach)
    return FoundFriction(float(final[0]), law, spread, cage_diffusion(snapshots, *final), value, error, tuple(bands),
                         diffusion)


# ---------------------------------------------------------------------- what is seen

def _waves(recording: Recording, held: np.ndarray, potentials: tuple[PairPotential, ...],
           unit: PairFrictionLaw) -> _Waves:
    """Sums of the module docstring over each step."""
    dim, first = recording.dim, int(recording.frame.min())
    last = min(int(recording.frame.max()), first + _MOST_FRAMES)
    used = np.flatnonzero(recording.frame <= last)
    forces = np.zeros_like(recording.position)
    for rows in chunks(recording, used):
        forces[rows] = pair_forces(recording, rows, potentials)
    good = used[(recording.weight[used] > 0) & (recording.track[used] >= 0)]
    low = recording.position[good].min(axis=0)
    size = np.maximum(recording.position[good].max(axis=0) - low, 1e-9)
    numbers, length = _wave_numbers(size, _SHORTEST * unit.near)
    T, K = last - first, len(numbers)
    sums = np.zeros((T, K, dim, 5))
    stepping = np.zeros(len(recording.position), bool)
    stepping[steps_of(recording.track, recording.frame)] = True       # those of held particles are needed, too
    for rows in chunks(recording, used[recording.frame[used] < last]):
        x = recording.position[rows]
        step = stepping[rows]
        move = np.zeros_like(x)
        move[step] = recording.box.displacement(recording.position[rows[step] + 1], x[step])
        drag, whole = _pair_drag(recording, rows, x, move, step, unit)
        use = step & whole & (recording.weight[rows] > 0)
        use[step] &= recording.weight[rows[step] + 1] > 0
        frame = recording.frame[rows] - first
        order = np.flatnonzero(use)[np.argsort(frame[use], kind="stable")]
        columns = np.stack([forces[rows] * recording.dt, np.zeros_like(x), move, move, drag], axis=2)
        columns[step, :, 1] = forces[rows[step] + 1] * recording.dt
        for mine in np.split(order, np.flatnonzero(np.diff(frame[order])) + 1):
            if len(mine):
                wave = np.ones((K, len(mine)))
                for c in range(dim):
                    wave *= np.cos(np.pi * numbers[:, c, None] * ((x[mine, c] - low[c]) / size[c]))
                sums[frame[mine[0]]] = (wave @ columns[mine].reshape(len(mine), -1)).reshape(K, dim, 5)
    flat = sums.reshape(T, K * dim, 5)
    return _Waves(flat[..., 0], flat[..., 1], flat[..., 2], flat[..., 3:], np.repeat(length, dim),
                  _drive(recording, held, first, T, _MOVES * unit.near))


def _drive(recording: Recording, held: np.ndarray, first: int, T: int, least: float) -> np.ndarray:
    """(T + 1, axes) mean place of the held particles along the axes on which they go farther than `least` [µm]."""
    i = steps_of(recording.track, recording.frame)
    i = i[held[i]]
    i = i[recording.frame[i] < first + T]
    frame = recording.frame[i] - first
    move = recording.box.displacement(recording.position[i + 1], recording.position[i])
    count = np.maximum(np.bincount(frame, minlength=T), 1)
    mean = np.stack([np.bincount(frame, column, T) / count for column in move.T], axis=1)
    place = np.concatenate([np.zeros((1, recording.dim)), np.cumsum(mean, axis=0)])
    return place[:, np.ptp(place, axis=0) > least]


def pair_forces(recording: Recording, rows: np.ndarray, potentials: tuple[PairPotential, ...]) -> np.ndarray:
    """(rows, dim) sum of the pair forces [kT/µm]; `rows` must hold whole frames."""
    x, reach = recording.position[rows], max(one.spline.cutoff for one in potentials)
    pairs = neighbour_pairs(x, reach, recording.box, recording.frame[rows])
    d = recording.box.displacement(x[pairs[:, 0]], x[pairs[:, 1]])
    r = np.maximum(np.linalg.norm(d, axis=1), 1e-9)
    kind = np.zeros(len(pairs), np.int64)
    if recording.species is not None and len(potentials) > 1:
        species = recording.species[rows]
        kind = pair_kinds(species_count(len(potentials)))[species[pairs[:, 0]], species[pairs[:, 1]]]
    grid, size = np.linspace(0.0, reach, 8193), np.empty(len(pairs))
    for k, one in enumerate(potentials):
        mine = kind == k
        size[mine] = np.interp(r[mine], grid, one.force(grid))
    return _on_both(pairs, d * (size / r)[:, None], len(rows))


def _on_both(pairs: np.ndarray, force: np.ndarray, n: int) -> np.ndarray:
    """(n, dim) sums of pair forces, opposite at their ends."""
    return np.stack([np.bincount(pairs[:, 0], column, n) - np.bincount(pairs[:, 1], column, n)
                     for column in force.T], axis=1)


def _pair_drag(recording: Recording, rows: np.ndarray, x: np.ndarray, move: np.ndarray, step: np.ndarray,
              unit: PairFrictionLaw) -> tuple[np.ndarray, np.ndarray]:
    """(rows, dim) what pairs of unit amplitude take for the displacements, at the middle of the step; and (rows,)
    whether all neighbours make the step, so that the sum is whole."""
    pairs = neighbour_pairs(x, 1.05 * unit.cutoff, recording.box, recording.frame[rows])
    both = step[pairs].all(axis=1)
    whole = np.ones(len(rows), bool)
    whole[pairs[~both].ravel()] = False
    i, j = pairs[both].T
    middle = x + 0.5 * move
    d = recording.box.displacement(middle[i], middle[j])
    r = np.maximum(np.linalg.norm(d, axis=1), 1e-9)
    e = d / r[:, None]
    along = unit(r) * np.einsum("pc,pc->p", e, move[i] - move[j])
    return _on_both(pairs[both], e * along[:, None], len(rows)), whole


def _wave_numbers(size: np.ndarray, shortest: float) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of half waves along each axis (K, dim) and their wavelengths (K,) [µm], long ones first; the short
    ones are thinned evenly."""
    most = np.maximum((size / shortest).astype(int), 1)
    grid = np.stack(np.meshgrid(*[np.arange(m + 1) for m in most], indexing="ij"), axis=-1).reshape(-1, len(size))
    q = np.pi * np.linalg.norm(grid / size, axis=1)
    order = np.argsort(q, kind="stable")
    order = order[q[order] <= np.pi / shortest]
    if len(order) > _MOST_WAVES:
        rest = order[_LONG_WAVES:]
        thin = np.linspace(0, len(rest) - 1, _MOST_WAVES - _LONG_WAVES).astype(int)
        order = np.concatenate([order[:_LONG_WAVES], rest[thin]])
    with np.errstate(divide="ignore"):
        return grid[order], 2 * np.pi / q[order]


# ---------------------------------------------------------------------- what it says

def _solved(several: Sequence[_Waves]) -> tuple[np.ndarray, np.ndarray, list[Band]]:
    """γ and amplitude, their covariance, and the bands.

    The covariance is from the scatter both between waves and between stretches of time (two-way clusters: Cameron,
    Gelbach & Miller, J. Bus. Econ. Stat. 29, 238, 2011).
    """
    variance = [np.ones(one.move.shape[1]) for one in several]
    value, covariance = np.full(2, np.nan), np.full((2, 2), np.nan)
    bands: list[Band] = []
    for _ in range(_ROUNDS):
        parts, bands = [], []
        for one, spread in zip(several, variance):
            M, b, mine = _equations(one, spread)
            parts.append((M, b))
            bands += mine
        total = np.sum([M.sum(axis=(0, 1)) for M, _ in parts], axis=0)
        if np.linalg.matrix_rank(total) != 2:
            return np.full(2, np.nan), np.full((2, 2), np.nan), bands
        value = np.linalg.solve(total, np.sum([b.sum(axis=(0, 1)) for _, b in parts], axis=0))
        scatter, alone = np.zeros((2, 2)), np.zeros((2, 2))
        for M, b in parts:
            left = b - M @ value                                                   # (K, stretches, 2)
            for groups in (left.sum(axis=1), left.sum(axis=0)):
                count = max(int((groups != 0).any(axis=1).sum()), 2)
                scatter += count / (count - 1) * groups.T @ groups
            alone += left.reshape(-1, 2).T @ left.reshape(-1, 2)
        # clusters add to the scatter of their members; where they seem to take from it, that is chance
        root = np.linalg.cholesky(alone)
        more, turn = np.linalg.eigh(np.linalg.solve(root, np.linalg.solve(root, scatter - alone).T))
        wide = np.linalg.solve(total, root @ turn)
        covariance = wide * np.maximum(more, 1.0) @ wide.T
        for k, one in enumerate(several):
            rest = one.drag @ value - 0.5 * (one.before + one.after)
            variance[k] = np.maximum(rest.var(axis=0), 1e-300)
    return value, covariance, bands


def _equations(waves: _Waves, variance: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[Band]]:
    """Of every wave and stretch of time M (K, J, 2, 2) and b (K, J, 2), M (γ, amplitude) = b, weighted by the variance
    of its noise; and the bands."""
    T, K = waves.move.shape
    lags = [lag for lag in LAGS if lag <= max(1, T // 10)]
    t = np.arange(max(lags) + 1, T - 1)
    if len(t) < _STRETCHES:
        return np.zeros((K, 1, 2, 2)), np.zeros((K, 1, 2)), []
    begin = np.linspace(0, len(t), _STRETCHES + 1).astype(int)[:-1]
    root = np.sqrt(variance)
    before, after = waves.before[t] / root, waves.after[t] / root
    drag, next_drag = waves.drag[t] / root[:, None], waves.drag[t + 1, :, 0] / root
    speed, common = np.diff(waves.drive, axis=0)[t], [np.ones((len(t), 1)), waves.drive[t] + waves.drive[t + 1]]
    M, b, driven = _driven(drag, before + after, speed, np.column_stack(common), begin)
    place = np.concatenate([np.zeros((1, K)), np.cumsum(waves.move, axis=0)])
    z = np.stack([*(waves.before[t - 1] - waves.before[t - 1 - lag] for lag in lags),
                  *(place[t - 1] - place[t - 1 - lag] for lag in lags)], axis=2) / root[:, None]
    if driven.any():
        rest = _without(np.column_stack([*common, speed]))
        for series in (z, drag, next_drag, before, after):
            series[:, driven] = rest(series[:, driven])
    bands: list[Band] = []
    for mine in np.array_split(np.arange(K), max(1, round(K / _PER_BAND))):         # long waves come first
        Z = z[:, mine].reshape(-1, z.shape[2])
        Z = Z / np.maximum(np.sqrt((Z**2).mean(axis=0)), 1e-300)
        sides = drag[:, mine].reshape(-1, 2)
        guess = Z @ np.linalg.solve(Z.T @ Z + 1e-9 * len(Z) * np.eye(Z.shape[1]), Z.T @ sides)
        expected, noise = guess[:, 0], sides[:, 0] - guess[:, 0]
        left = float(expected @ next_drag[:, mine].ravel()) / max(float(expected @ sides[:, 0]), 1e-300)
        y = -np.log(left) if left > 0 else np.inf
        strong = (expected @ expected) / Z.shape[1] > STRONG * (noise @ noise) / (len(Z) - Z.shape[1])
        bands.append(Band(float(1 / np.mean(1 / waves.length[mine])), left, bool(y < FORGOTTEN and strong)))
        if not bands[-1].used:
            continue
        half = 0.5 * abs(y)
        integral = (np.tanh(half) / half if half > 1e-6 else 1.0) * 0.5 * (before + after)[:, mine]
        guess = guess.reshape(len(t), len(mine), 2)
        M[mine] += _in_stretches(guess[..., :, None] * drag[:, mine, None, :], begin)
        b[mine] += _in_stretches(guess * integral[..., None], begin)
    return M, b, bands


def _in_stretches(series: np.ndarray, begin: np.ndarray) -> np.ndarray:
    """(T, K, ...) -> sums over stretches of time (K, J, ...)."""
    return np.moveaxis(np.add.reduceat(series, begin, axis=0), 0, 1)


def _driven(drag: np.ndarray, forces: np.ndarray, speed: np.ndarray, common: np.ndarray,
            begin: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """M and b of the motion in step with the velocity of the held particles, which no noise enters; and (K,) which
    waves have such motion.

    What goes with their place is left out: a force that is learned a little wrong goes with the deformation. Forces
    change little in a frame of the drive, so their mean is that of both ends.
    """
    K, J = drag.shape[1], len(begin)
    M, b = np.zeros((K, J, 2, 2)), np.zeros((K, J, 2))
    if not speed.shape[1]:
        return M, b, np.zeros(K, bool)
    rest = _without(common)
    v, sides = np.linalg.qr(rest(speed))[0], rest(drag)
    guess = np.einsum("ts,ska->tka", v, np.einsum("ts,tka->ska", v, sides))
    noise = ((sides[..., 0] - guess[..., 0]) ** 2).sum(axis=0) / (len(v) - v.shape[1])
    strong = (guess[..., 0] ** 2).sum(axis=0) / v.shape[1] > STRONG * noise
    M[strong] = _in_stretches(guess[..., :, None] * sides[..., None, :], begin)[strong]
    b[strong] = _in_stretches(guess * rest(0.5 * forces)[..., None], begin)[strong]
    return M, b, strong


def _without(columns: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Series (T, ...) -> the same without what is a combination of `columns` (T, p)."""
    basis = np.linalg.qr(columns)[0]
    return lambda series: series - np.tensordot(basis, np.tensordot(basis, series, axes=(0, 0)), axes=(1, 0))


# ---------------------------------------------------------------------- D of a particle in its cage

@dataclass(frozen=True, eq=False)
class _Snapshot:
    """One frame: particles that move by themselves, those of them that count (all their neighbours are seen), and
    pairs with e and unit friction."""

    n: int
    free: np.ndarray
    counts: np.ndarray
    pairs: np.ndarray
    unit: np.ndarray
    line: np.ndarray

    @classmethod
    def of(cls, recording: Recording, held: np.ndarray, frame: int, law: PairFrictionLaw) -> _Snapshot:
        rows = np.flatnonzero(recording.frame == frame)
        x = recording.position[rows]
        pairs = neighbour_pairs(x, law.cutoff, recording.box, np.zeros(len(rows), np.int64))
        d = recording.box.displacement(x[pairs[:, 0]], x[pairs[:, 1]])
        r = np.maximum(np.linalg.norm(d, axis=1), 1e-9)
        return cls(len(rows), ~held[rows], recording.weight[rows] > 0, pairs, law(r), d / r[:, None])

    def diagonal(self, node: float, amplitude: float) -> float:
        """Mean of the diagonal of R⁻¹ over the free particles [µm²/s at kT = 1], by ± 1 probes.

        (Hutchinson, Commun. Stat. B 19, 433, 1990.)
        """
        dim = self.line.shape[1]
        i, j = self.pairs.T
        rows, columns, values = [], [], []
        for a in range(dim):
            for b in range(dim):
                size = amplitude * self.unit * self.line[:, a] * self.line[:, b]
                for p, q, sign in ((i, i, 1.0), (j, j, 1.0), (i, j, -1.0), (j, i, -1.0)):
                    rows.append(dim * p + a)
                    columns.append(dim * q + b)
                    values.append(sign * size)
        everything = np.arange(dim * self.n)
        rows.append(everything)
        columns.append(everything)
        values.append(np.full(dim * self.n, node))
        R = coo_matrix((np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))).tocsc()
        inside = np.flatnonzero(np.repeat(self.free, dim))
        solve = splu(R[inside][:, inside])
        probes = np.random.default_rng(0).choice([-1.0, 1.0], (len(inside), _PROBES))
        counts = np.repeat(self.counts, dim)[inside]
        return float((probes * solve.solve(probes))[counts].mean())


def _some_frames(recording: Recording) -> np.ndarray:
    """A few frames, spread over the recording."""
    frames = np.unique(recording.frame[recording.weight > 0])
    return frames[np.linspace(0, len(frames) - 1, min(_SNAPSHOTS, len(frames))).astype(int)]


def cage_diffusion(snapshots: Sequence[_Snapshot], node: float, amplitude: float) -> float:
    """D of a particle among the others, for times too short for it to be pushed back [µm²/s]."""
    return float(np.mean([one.diagonal(node, amplitude) for one in snapshots]))


def _with_diffusion(value: np.ndarray, covariance: np.ndarray, diffusion: float,
                    snapshots: Sequence[_Snapshot]) -> tuple[np.ndarray, np.ndarray]:
    """γ and amplitude nearest to those of the tracks that give this D, and their covariance, D taken as exact."""
    precision = np.linalg.inv(covariance)

    def amplitude(node: float) -> float:
        """That gives D; falls from node = 0 to 0 at node = 1/D."""
        def off(size: float) -> float:
            return np.log(cage_diffusion(snapshots, node, size) / diffusion)

        if off(0.0) <= 0:
            return 0.0
        high = 1.0 / diffusion
        while off(high) > 0:
            high *= 2
        return float(brentq(off, 0.0, high, rtol=1e-4))

    def distance(log_node: float) -> float:
        away = np.array([np.exp(log_node), amplitude(np.exp(log_node))]) - value
        return float(away @ precision @ away)

    top = np.log(1.0 / diffusion)
    begin = np.log(np.clip(value[0], 1e-4 / diffusion, 1.0 / diffusion))
    width = max(0.5, 4 * float(np.sqrt(covariance[0, 0])) / np.exp(begin))
    low, high = max(begin - width, top - 12), min(begin + width, top)
    node = float(np.exp(minimize_scalar(distance, bounds=(low, high), method="bounded",
                                        options={"xatol": 2e-3}).x))
    size, step = amplitude(node), 0.02 * node
    slope = (amplitude(node + step) - size) / step
    tangent = np.array([1.0, slope])
    return np.array([node, size]), np.outer(tangent, tangent) / float(tangent @ precision @ tangent)
