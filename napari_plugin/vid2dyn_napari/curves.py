"""What the plots of the panel show, as arrays: pure functions of tracks, models and truth; no Qt, no drawing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

import vid2dyn as vd

CUTS = {"mass": ("minmass", "low"), "size": ("max_size", "high"), "ecc": ("max_ecc", "high")}
"""Column of the table -> the setting of `Track` that limits it, and from which side."""


@dataclass(frozen=True)
class Histogram:
    """Counts of one column: `edges` (n + 1), `counts` (n), and words for the axis."""

    name: str
    label: str
    edges: np.ndarray
    counts: np.ndarray


def histograms(tracks: Any, bins: int = 40) -> list[Histogram]:
    """Mass, size and eccentricity of all detections, as far as the table has them.

    >>> tracks = vd.simulate(vd.simulators.Brownian(n_particles=5, frames=9, box_length=9.0), seed=0)
    >>> histograms(tracks)
    []
    """
    labels = {"mass": "mass (grey levels)", "size": "size (px)", "ecc": "eccentricity"}
    found = []
    for name, label in labels.items():
        if name in tracks.dataframe:
            value = tracks.dataframe[name].to_numpy(float)
            value = value[np.isfinite(value)]
            if value.size:
                low, high = np.percentile(value, (0.0, 99.8))
                counts, edges = np.histogram(value, bins=bins, range=(low, high if high > low else low + 1.0))
                found.append(Histogram(name, label, edges, counts))
    return found


def phase(tracks: Any, bins: int = 20) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Edges in [0, 1] and counts of the sub-pixel parts of y and x; flat if nothing pulls positions to the pixels."""
    edges = np.linspace(0.0, 1.0, bins + 1)
    y, x = (np.histogram(tracks.dataframe[a].to_numpy(float) % 1.0, edges)[0] for a in tracks.axes[-2:])
    return edges, y, x


def counts(tracks: Any) -> tuple[np.ndarray, np.ndarray]:
    """Frame numbers and detections in each."""
    frame = tracks.frame
    return np.arange(frame.min(), frame.max() + 1), np.bincount(frame - frame.min())


@dataclass(frozen=True)
class Spread:
    """Mean squared displacement [µm²] against lag [s], its error, the line of the estimate and the noise floor."""

    lag: np.ndarray
    value: np.ndarray
    stderr: np.ndarray
    line: np.ndarray
    floor: float | None
    diffusion: Any


def spread(tracks: Any) -> Spread:
    """MSD with the diffusion estimate; 2 dim σ² is the floor that localisation noise sets."""
    found = vd.diffusion(tracks)
    still = tracks.without_drift(vd.analysis.drift(tracks)) if found.drift_removed and tracks.drift is None else tracks
    seen = vd.analysis.msd(still)
    good = np.isfinite(seen.value) & (seen.value > 0)
    sigma = found.localisation_error
    noise = sigma if sigma is not None and np.isfinite(sigma) else None
    lag = seen.lag[good]
    line = 2 * tracks.dim * (found.D * (lag - 2 * tracks.units.blur * tracks.units.dt) + (noise or 0.0) ** 2)
    return Spread(lag, seen.value[good], seen.stderr[good], np.where(line > 0, line, np.nan),
                  None if noise is None else 2 * tracks.dim * noise**2, found)


@dataclass(frozen=True)
class Learned:
    """One learned function: y(x) with its 95 % band, the range the data support, and the truth where it is known."""

    title: str
    x_label: str
    y_label: str
    x: np.ndarray
    y: np.ndarray
    low: np.ndarray
    high: np.ndarray
    support: tuple[float, float] | None = None
    truth: np.ndarray | None = None


def learned(model: Any, truth: Mapping[str, Any], data: Any = None) -> list[Learned]:
    """Every function that a model learned, ready to be drawn.

    Parameters
    ----------
    model : Model
    truth : mapping
        What the simulator put in; empty where unknown.
    data : Trajectories, optional
        What it was learned from, for the range of entropies of a fluid.
    """
    found: list[Learned] = []
    if hasattr(model, "pair_potential") and model.recipe.get("cutoff") is not None:
        found += _pair(model, truth)
    if hasattr(model, "free_energy"):
        found += _gradient_flow(model, truth)
    if hasattr(model, "temperature") and isinstance(model.support, Mapping):
        found += _fluid_functions(model, truth, data)
    return found


def _fluid_functions(model: Any, truth: Mapping[str, Any], data: Any) -> list[Learned]:
    """T and P against S and against V through the middle of the data, and the pair friction."""
    (s_low, s_high), (v_low, v_high), (r_low, r_high) = (model.support[name] for name in "SVr")
    S, V = np.linspace(s_low, s_high, 60), np.linspace(v_low, v_high, 60)
    middle_S, middle_V = 0.5 * (s_low + s_high), 0.5 * (v_low + v_high)
    simulator, origin = true_simulator(truth), first_entropy(data)
    found = []
    for name, letter, unit in (("temperature", "T", "energy/kB"), ("pressure", "P", "energy/volume")):
        for axis, at, x, label in (("S", (S, np.full_like(S, middle_V)), S, "entropy S (kB)"),
                                   ("V", (np.full_like(V, middle_S), V), V, "volume V (µm^dim)")):
            below, above = model.band(name, *at)
            known = simulator is not None and origin is not None and hasattr(simulator, name)
            true = getattr(simulator, name)(at[0] + origin, at[1]) if known else None
            found.append(Learned(f"{name}, along {axis}", label, f"{letter} ({unit})", x, getattr(model, name)(*at),
                                 below, above, (x[0], x[-1]), true))
    r = np.linspace(max(r_low, 1e-6), r_high, 60)
    for name, title in (("shear", "shear friction of a pair"), ("bulk", "bulk friction of a pair")):
        below, above = model.band(name, r)
        found.append(Learned(title, "distance r (µm)", "radial part", r, getattr(model, name)(r), below, above,
                             (r_low, r_high)))
    return found


def first_entropy(data: Any) -> float | None:
    """Mean entropy at the first frame [kB], the origin from which a model counts; None where it is not recorded."""
    if data is None or getattr(data, "entropy", None) is None:
        return None
    return float(data.entropy[data.frame == data.frame.min()].mean())


def true_numbers(truth: Mapping[str, Any]) -> dict[str, float]:
    """Single numbers of the truth under the names that models have for them."""
    found = {name: float(value) for name, value in truth.items()
             if isinstance(value, float | int) and not isinstance(value, bool)}
    simulator = true_simulator(truth)
    if simulator is not None and hasattr(simulator, "transport"):
        values = simulator.transport(simulator.kT, 1.0 / simulator.volume0)
        found |= {name: float(value) for name, value in zip(("shear_viscosity", "bulk_viscosity", "conductivity"),
                                                           values)}
    return found


def _pair(model: Any, truth: Mapping[str, Any]) -> list[Learned]:
    low, high = model.support
    r = np.linspace(max(low - 0.05 * (high - low), 1e-3), high + 0.1 * (high - low), 200)
    potential = true_pair(truth)
    wanted = (("pair_potential", "pair potential", "U (kT)", "energy"),
              ("pair_force", "pair force", "F (kT/µm)", "force"))
    found = []
    for name, title, label, of in wanted:
        below, above = model.band(name, r)
        true = None if potential is None else getattr(potential, of)(r)
        value = getattr(model, name)(r)
        found.append(Learned(title, "distance r (µm)", label, r, value, below, above, (low, high), true))
    return found


def true_pair(truth: Mapping[str, Any]) -> Any:
    """The pair potential that was put in, or None where it is not known or there was none."""
    table = truth.get("pair")
    if not isinstance(table, Mapping):
        return None
    kind = vd.registry.part("vid2dyn.simulators", vd.simulators.PairPotential, str(table["kind"]))
    return vd.config.build(kind, table, "truth")


def _gradient_flow(model: Any, truth: Mapping[str, Any]) -> list[Learned]:
    low, high = model.support
    rho = np.linspace(low, high, 120)
    exact = true_limit(truth, rho)
    names = (("mobility", "mobility m", "m"), ("free_energy", "free energy f", "f (kT per site)"),
             ("curvature", "f''", "f'' (kT)"))
    found = []
    for name, title, label in names:
        true = None if exact is None else getattr(exact, name)
        if true is not None and name == "free_energy":       # an affine part is not observable: align value and slope
            value, slope = true, np.gradient(true, rho)
            middle = len(rho) // 2
            true = value - value[middle] - slope[middle] * (rho - rho[middle])
        y, (below, above) = getattr(model, name)(rho), model.band(name, rho)
        if name == "free_energy":
            line = y[len(rho) // 2] + model.chemical_potential(rho[len(rho) // 2]) * (rho - rho[len(rho) // 2])
            y, below, above = y - line, below - line, above - line
        found.append(Learned(title, "density ρ (per site)", label, rho, y, below, above, (low, high), true))
    return found


def true_limit(truth: Mapping[str, Any], rho: np.ndarray) -> Any:
    """Exact free energy and mobility of the lattice process that made the data, or None."""
    simulator = true_simulator(truth)
    if simulator is None or not hasattr(simulator, "limit"):
        return None
    try:
        return simulator.limit(rho)
    except vd.Vid2DynError:
        return None


def true_simulator(truth: Mapping[str, Any]) -> Any:
    """The simulator behind the data, rebuilt from their truth, or None."""
    table = truth.get("simulator") if isinstance(truth.get("simulator"), Mapping) else truth
    kind = table.get("kind") if isinstance(table, Mapping) else None
    known = vd.registry.parts("vid2dyn.simulators", vd.simulators.Simulator)
    return vd.config.build(known[kind], table, "truth") if kind in known else None     # type: ignore[arg-type]


# -------------------------------------------------------------------- budgets


@dataclass(frozen=True)
class Budget:
    """Named series in time [s] of data or model: ``series[name] = (values, unit)``."""

    time: np.ndarray
    series: dict[str, tuple[np.ndarray, str]]


def budget(tracks: Any, model: Any = None, truth: Mapping[str, Any] | None = None, frames: int = 200,
           progress: Any = None) -> Budget | None:
    """Energy, entropy and momentum of a fluid, or the energy of pairs of colloids; None where neither is defined.

    Parameters
    ----------
    frames : int
        About how many frames are looked at, evenly spaced.
    """
    every = max(1, tracks.n_frames // frames)
    fluid, tracks = _fluid(tracks, model, truth or {})
    if tracks.entropy is not None and fluid is not None:
        tell = {} if progress is None else {"progress": progress}
        found = vd.analysis.thermodynamics(tracks, fluid, every=every, **tell)
        momentum = np.linalg.norm(found.momentum, axis=1)
        return Budget(found.time, {
            "energy": (found.energy - found.energy[0], "change (energy)"),
            "kinetic": (found.kinetic, "energy"), "entropy": (found.entropy - found.entropy[0], "change (kB)"),
            "momentum": (momentum, "|Σ m v|")})
    if model is not None and hasattr(model, "pair_potential") and model.recipe.get("cutoff") is not None:
        return _pair_energy(tracks, model, every)
    return None


def _fluid(tracks: Any, model: Any, truth: Mapping[str, Any]) -> tuple[Any, Any]:
    """What turns entropies into energies, and tracks with the entropies that it means.

    A rollout carries those of its model, a simulation those of its simulator; for other data the model infers them.
    """
    learned_fluid = model is not None and hasattr(model, "internal_energy")
    if learned_fluid and "rollout" in tracks.info:
        return model, tracks
    simulator = true_simulator(truth or tracks.info.get("truth") or {})
    if hasattr(simulator, "internal_energy") and tracks.entropy is not None:
        return simulator, tracks
    if learned_fluid and tracks.velocities is not None:
        return model, tracks.replace(dataframe=tracks.dataframe.assign(entropy=model.entropy(tracks)))
    return None, tracks


def _pair_energy(tracks: Any, model: Any, every: int) -> Budget:
    """Energy of all pairs over the number of particles [kT], under the learned potential."""
    from scipy.spatial import cKDTree

    cutoff = float(model.recipe["cutoff"])
    lengths = tracks.box.lengths
    order = np.argsort(tracks.frame, kind="stable")
    frames, first = np.unique(tracks.frame[order], return_index=True)
    position = tracks.positions[order]
    time, energy = [], []
    for frame, x in list(zip(frames, np.split(position, first[1:])))[::every]:
        box = None if lengths is None else np.asarray(lengths)
        tree = cKDTree(x if box is None else np.mod(x, box), boxsize=box)
        pairs = tree.query_pairs(cutoff, output_type="ndarray")
        r = np.linalg.norm(tracks.box.displacement(x[pairs[:, 0]], x[pairs[:, 1]]), axis=1)
        time.append(frame * tracks.units.dt)
        energy.append(float(model.pair_potential(r).sum()) / max(len(x), 1))
    return Budget(np.array(time), {"pair energy": (np.array(energy), "kT per particle")})


# -------------------------------------------------------------------- lattice


def exact_flow(simulator: Any, rho: np.ndarray, times: np.ndarray) -> np.ndarray | None:
    """Densities (starts, times, cells) of ρ_t = Φ(ρ)_xx, Φ' = m f'', on a ring of length 1; None without exact m.

    Parameters
    ----------
    simulator : Lattice
        The process whose exact limit is followed.
    rho : (starts, cells) array
        Densities at times[0].

    Examples
    --------
    >>> x = np.arange(64) / 64
    >>> free = vd.simulators.Arrhenius(kernel=(0.0,))                       # exclusion alone: m f'' = 1
    >>> after = exact_flow(free, 0.5 + 0.2 * np.cos(2 * np.pi * x)[None], np.array([0.0, 0.02]))[0, 1]
    >>> bool(abs(after.max() - 0.5 - 0.2 * np.exp(-4 * np.pi**2 * 0.02)) < 2e-4)
    True
    """
    from scipy.integrate import cumulative_simpson, solve_ivp
    from scipy.interpolate import CubicSpline
    from scipy.sparse import diags

    margin = 1e-3
    grid = np.linspace(max(rho.min() - margin, 1e-6), rho.max() + margin, 201)
    try:
        D = simulator.limit(grid).diffusion
    except vd.Vid2DynError:
        return None
    phi = CubicSpline(grid, cumulative_simpson(D, x=grid, initial=0.0))
    n = rho.shape[1]
    ring = diags([1.0, 1.0, 1.0, 1.0, 1.0], [-(n - 1), -1, 0, 1, n - 1], shape=(n, n))

    def rate(_: float, state: np.ndarray) -> np.ndarray:
        value = phi(state)
        return n**2 * (np.roll(value, -1) - 2 * value + np.roll(value, 1))

    return np.stack([solve_ivp(rate, (times[0], times[-1]), start, method="BDF", t_eval=times, rtol=1e-6, atol=1e-9,
                               jac_sparsity=ring).y.T for start in np.asarray(rho, float)])


def monte_carlo(simulator: Any, times: np.ndarray, realisations: int, seed: int, progress: Any) -> Any:
    """`Fields` of the true process at macroscopic `times` (the first of which is the start), on the same ring."""
    import dataclasses

    windows = tuple(float(t) * simulator.sites**2 * simulator.d for t in times[1:])
    return vd.simulate(dataclasses.replace(simulator, windows=windows, realisations=realisations), seed, progress)
