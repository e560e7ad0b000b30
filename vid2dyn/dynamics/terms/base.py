"""Terms: what a model of particles is made of. One term is one energy or one friction, in one file.

    E = sum of the energies + kinetic energy,      M = sum of G Gᵀ of the frictions

A term is a frozen dataclass: its fields are its settings, which a user writes, TOML holds and a form shows. Settings
left at None are decided by the data and filled in by `settled`; from then on the term and a vector of numbers, its
parameters, are all there is to it. It says

- which numbers it has, their units, where they start, and what is believed of them (`parameters`);
- its energy (`Energy.energy`, in torch: the definition) with the forces in closed form, or its friction coefficients
  (`Friction`), from which its root G follows;
- what it needs: how far pairs must reach (`reach`), columns of the table (`columns`);
- its tables for the compiled rollout (`freeze`), and what can be asked of it (`quantities`: functions with names, units
  and pictures).

Forces and friction coefficients are linear in the parameters: what is fitted from motion is then a generalised least
squares problem with exact slopes, for hundreds of parameters. Everything that knows terms (estimator, rollout, report,
panel, export) knows them through this file alone, so a term of an outside package is a term like any other.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, NoReturn, TypeVar

import numpy as np
import torch
from numba import njit

from vid2dyn.core.configurable import Configurable
from vid2dyn.core.errors import ConfigError, ModelError
from vid2dyn.data.box import Box
from vid2dyn.dynamics.base import FrictionMatrix, Potential, Root
from vid2dyn.dynamics.snapshot import Snapshot
from vid2dyn.dynamics.terms.bonds import Bonds, BondTables

T = TypeVar("T", bound="Term")
PROBES = 4
"""Random vectors for the trace of a second derivative."""


@dataclass(frozen=True, eq=False)
class Scene:
    """What is known of the data before anything is learned.

    Parameters
    ----------
    dim : int
        Space dimensions.
    box : Box
        Space.
    species : tuple of str
        Names of the species, in the order of their numbers; one name where particles are all alike.
    kT : float
        A first estimate of the temperature [energy]: the scale of energies.
    time : float
        Time between frames [s].
    closest : (kinds,) array
        Shortest distance at which pairs of each kind were seen with some statistics [µm]; infinite: never.
    low, high : (dim,) arrays
        Where particles were [µm].
    sampled : tuple of Configuration
        A few frames with their pairs, for terms that ask for more.
    """

    dim: int
    box: Box
    species: tuple[str, ...]
    kT: float
    time: float
    closest: np.ndarray
    low: np.ndarray
    high: np.ndarray
    sampled: tuple[Configuration, ...] = ()

    @property
    def kinds(self) -> tuple[tuple[str, str], ...]:
        """Pairs of species in the order of their numbers: (a, a), (a, b), ..., (b, b), ..."""
        return kinds_of_pairs(self.species)


def kinds_of_pairs(species: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Unordered pairs of species; the kind of a pair of species numbers a <= b is its place here.

    >>> kinds_of_pairs(("big", "small"))
    (('big', 'big'), ('big', 'small'), ('small', 'small'))
    """
    return tuple((a, b) for k, a in enumerate(species) for b in species[k:])


def kind_number(a: np.ndarray, b: np.ndarray, species: int) -> np.ndarray:
    """Number of the kind of pairs of species numbers a and b, in either order.

    >>> kind_number(np.array([0, 1, 1]), np.array([0, 0, 1]), 2).tolist()
    [0, 1, 2]
    """
    low, high = np.minimum(a, b), np.maximum(a, b)
    return low * species - low * (low - 1) // 2 + (high - low)


@dataclass(frozen=True, eq=False)
class Parameters:
    """The numbers of one term.

    Parameters
    ----------
    names : tuple of str
        One for each number.
    unit : str
    start : (count,) array
        Where a fit begins.
    precision : (count, count) array
        Gaussian prior about zero: x·precision x/2 is taken off the log-likelihood. It keeps numbers of which the data
        say nothing near zero and functions smooth.
    positive : bool
        Whether all of them are at least zero, as the amplitudes of friction are.
    """

    names: tuple[str, ...]
    unit: str
    start: np.ndarray
    precision: np.ndarray
    positive: bool = False

    @property
    def count(self) -> int:
        """How many."""
        return len(self.names)


@dataclass(frozen=True, eq=False)
class Configuration:
    """Particles at one moment, in numpy, with the pairs within some range.

    Parameters
    ----------
    position : (n, dim) array
        [µm]
    first, second : (pairs,) int arrays
    e : (pairs, dim) array
        Unit vector from the second to the first.
    r : (pairs,) array
        Distance [µm].
    kind : (pairs,) int array
        Number of the pair of species.
    species : (n,) int array
    box : Box
    names : (n,) int array
        Names of the particles, for terms that treat each by itself.
    columns : mapping
        Further columns of the table by name, (n,) each.
    bonds : Bonds, optional
        Of a solid: pairs of the reference frame.
    """

    position: np.ndarray
    first: np.ndarray
    second: np.ndarray
    e: np.ndarray
    r: np.ndarray
    kind: np.ndarray
    species: np.ndarray
    box: Box
    names: np.ndarray
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)
    bonds: Bonds | None = None

    @property
    def n(self) -> int:
        """Particles."""
        return len(self.position)

    @property
    def dim(self) -> int:
        """Space dimensions."""
        return self.position.shape[1]

    @classmethod
    def of(cls, position: np.ndarray, box: Box, reach: float, species: np.ndarray | None = None, *,
           kinds_among: int = 1, names: np.ndarray | None = None,
           columns: Mapping[str, np.ndarray] | None = None) -> Configuration:
        """With all pairs closer than `reach` [µm] (0: none); `kinds_among`: how many species there are."""
        from vid2dyn.dynamics.snapshot import neighbour_pairs

        n = len(position)
        species = np.zeros(n, np.int64) if species is None else species
        pairs = neighbour_pairs(position, reach, box) if reach > 0 else np.empty((0, 2), np.int64)
        first, second = np.ascontiguousarray(pairs[:, 0]), np.ascontiguousarray(pairs[:, 1])
        apart = box.displacement(position[first], position[second])
        r = np.sqrt((apart**2).sum(axis=1))
        with np.errstate(divide="ignore", invalid="ignore"):
            e = np.where(r[:, None] > 0, apart / r[:, None], 0.0)
        kind = kind_number(species[first], species[second], kinds_among)
        return cls(position, first, second, e, r, kind, species, box, np.arange(n) if names is None else names,
                   dict(columns or {}))

    def moved(self, step: np.ndarray) -> Configuration:
        """The same pairs after a small step (n, dim) of the particles [µm]."""
        x = self.position + step
        apart = self.box.displacement(x[self.first], x[self.second])
        r = np.sqrt((apart**2).sum(axis=1))
        with np.errstate(divide="ignore", invalid="ignore"):
            e = np.where(r[:, None] > 0, apart / r[:, None], 0.0)
        return replace(self, position=x, e=e, r=r)

    @classmethod
    def of_snapshot(cls, snapshot: Snapshot, species: int = 1) -> Configuration:
        """The same nodes and pairs as a torch snapshot; `species`: how many there are."""
        x = snapshot.position.detach().cpu().numpy()
        apart = snapshot.separation().detach().cpu().numpy()
        r = np.sqrt((apart**2).sum(axis=1))
        pairs = snapshot.pairs.cpu().numpy()
        of = np.zeros(len(x), np.int64) if snapshot.species is None else snapshot.species.cpu().numpy()
        names = np.arange(len(x)) if snapshot.index is None else snapshot.index.cpu().numpy()
        kind = kind_number(of[pairs[:, 0]], of[pairs[:, 1]], species)
        with np.errstate(divide="ignore", invalid="ignore"):
            e = np.where(r[:, None] > 0, apart / r[:, None], 0.0)
        return cls(x, np.ascontiguousarray(pairs[:, 0]), np.ascontiguousarray(pairs[:, 1]), e, r, kind, of,
                   snapshot.box, names, bonds=_bonds_of(snapshot))

    def needed_bonds(self) -> Bonds:
        """The bonds; `ModelError` where there is no reference frame."""
        if self.bonds is None:
            raise ModelError("The model is one of a solid and needs reference positions, which these particles have "
                             "not; give Configuration.of(...).with_reference(reference, reach).")
        return self.bonds

    def with_reference(self, reference: np.ndarray, reach: float) -> Configuration:
        """The same particles as a solid, with bonds between those closer than `reach` in the reference frame [µm]."""
        return replace(self, bonds=Bonds.of(reference, reach, self.box))


def _bonds_of(snapshot: Snapshot) -> Bonds | None:
    """The bonds of a torch snapshot, in the same order."""
    if snapshot.reference is None or snapshot.bonds is None:
        return None
    ends = snapshot.bonds.cpu().numpy()
    length = snapshot.reference_vectors().norm(dim=1).detach().cpu().numpy()
    return Bonds(snapshot.reference.detach().cpu().numpy(), np.ascontiguousarray(ends[:, 0]),
                 np.ascontiguousarray(ends[:, 1]), length, snapshot.box)


@dataclass(frozen=True, eq=False)
class Cut:
    """A line through the arguments of a quantity along which it is drawn.

    Parameters
    ----------
    along : str
        Name and unit of the coordinate along it, for the axis.
    x : (n,) array
        That coordinate.
    at : (n, ...) array
        The arguments.
    support : (low, high)
        Where along it there were data.
    """

    along: str
    x: np.ndarray
    at: np.ndarray
    support: tuple[float, float]


@dataclass(frozen=True, eq=False)
class Quantity:
    """Something that can be asked of a term: a function of its parameters and of an argument, or a number.

    Most are functions of the distance of a pair, and drawn between the closest distance that was seen and the range of
    the term. Those of another argument say along which lines they are drawn (`cuts`).

    Parameters
    ----------
    name : str
        Method of the model and name of its band.
    label, unit : str
        For axes and tables.
    value : callable
        (parameters, x) -> values, x an array of distances or places; linear in the parameters or not. Of a number:
        (parameters, None) -> array without axes.
    argument : str
        Name and unit of the argument, for axes; empty: a number.
    caption : str
        A sentence for the picture, or beside the number.
    species : tuple of str
        Pair of species (or species) that it belongs to; empty where all particles are alike.
    cuts : tuple of Cut
        Where it is drawn, if not against distance.
    """

    name: str
    label: str
    unit: str
    value: Callable[[np.ndarray, Any], np.ndarray]
    argument: str = "r [µm]"
    caption: str = ""
    species: tuple[str, ...] = ()
    cuts: tuple[Cut, ...] = ()

    @property
    def is_number(self) -> bool:
        """Whether it has no argument."""
        return not self.argument


@dataclass(frozen=True)
class Exports:
    """What LAMMPS can make of a term.

    Parameters
    ----------
    step : bool
        Whether the compiled step inside LAMMPS (``engine="lammps"``) has it. It reads the tables of `Term.freeze`.
    stock : str
        Styles of LAMMPS itself that stand for it in a plain input file; empty: none.
    why_not : str
        What is missing, where it cannot be exported in one of the two ways.
    """

    step: bool = True
    stock: str = ""
    why_not: str = "no style of LAMMPS has this function"


class Term(Configurable, ABC):
    """Base of energies and frictions; a subclass is a frozen dataclass."""

    exports: ClassVar[Exports] = Exports()
    """What it can be exported to."""

    columns: ClassVar[tuple[str, ...]] = ()
    """Columns of the table that it reads, beside positions."""

    on_bonds: ClassVar[bool] = False
    """Whether it acts on the bonds of a solid (`BondTerm`), pairs of the reference frame, and not on those of now."""

    @property
    def needs_entropy(self) -> bool:
        """Whether it has a meaning only where particles have heat of their own."""
        return False

    @property
    def reach(self) -> float:
        """Distance up to which it joins pairs [µm]; 0: it does not."""
        return 0.0

    def settled(self: T, scene: Scene) -> T:
        """The same term with all that the data decide filled in; the default has nothing to fill in."""
        return self

    def with_reach(self: T, reach: float) -> T | None:
        """The same term with a shorter range, or None where its range is not to be learned."""
        return None

    @property
    @abstractmethod
    def count(self) -> int:
        """Number of parameters of a settled term."""

    @abstractmethod
    def parameters(self, scene: Scene) -> Parameters:
        """Its numbers, at these data."""

    @abstractmethod
    def freeze(self, theta: np.ndarray, tables: Tables) -> None:
        """Add what the compiled rollout needs of a settled term with numbers `theta`."""

    def quantities(self) -> tuple[Quantity, ...]:
        """What can be asked of a settled term."""
        return ()

    def title(self) -> str:
        """A few words for tables."""
        return type(self).__name__


class BondTerm(Term):
    """Base of terms of a solid, beside `Energy` or `Friction`: they act on the bonds of the reference frame.

    `reach` is the longest bond. The start of their numbers is a shape, whose size a fit finds, and their prior is
    stated for this shape: neither has the scale of the solid.
    """

    exports: ClassVar[Exports] = Exports(step=False, why_not="LAMMPS has no bonds of a reference frame whose edges "
                                                             "follow a recording; roll out with engine=\"vid2dyn\"")
    on_bonds: ClassVar[bool] = True

    @abstractmethod
    def freeze_bonds(self, theta: np.ndarray, tables: BondTables) -> None:
        """Add what the compiled loops of a solid need of a settled term with numbers `theta`."""

    def freeze(self, theta: np.ndarray, tables: Tables) -> None:
        raise ModelError(f"{self.title()} acts on the bonds of a solid, which has a reference frame: it cannot be "
                         "tabulated for particles that flow (`freeze_bonds`).")


class Energy(Term):
    """An energy of positions, linear in its parameters: E = sum_k θ_k E_k [energy]."""

    @abstractmethod
    def energy(self, theta: np.ndarray, snapshot: Snapshot) -> torch.Tensor:
        """E, a scalar tensor, differentiable in the positions: the definition."""

    @abstractmethod
    def force_slopes(self, at: Configuration) -> np.ndarray:
        """-∇E_k, (count, n, dim) [energy/µm per unit of the parameter]."""

    def force(self, theta: np.ndarray, at: Configuration) -> np.ndarray:
        """-∇E, (n, dim) [energy/µm]."""
        return np.tensordot(theta, self.force_slopes(at), axes=1)

    def stiffness_slopes(self, at: Configuration, inverse_mass: np.ndarray) -> np.ndarray:
        """Slopes of tr M⁻¹ K, K = ∇∇E, (count,) [1/s² per unit of the parameter]; inverse_mass (n,).

        From forces at both sides along random vectors of signs (Hutchinson, Commun. Stat. Simul. 19, 433, 1990), the
        same for the same number of particles: unbiased, each within about 1/√(n dim) of the trace. A term that knows
        its second derivative says it exactly.
        """
        out = np.zeros(self.count)
        rng = np.random.default_rng(at.n)
        step = 1e-5 * (self.reach or float(np.ptp(at.position)) or 1.0)
        for _ in range(PROBES):
            z = rng.choice([-1.0, 1.0], at.position.shape)
            weight = z * inverse_mass[:, None]
            after, before = (np.tensordot(self.force_slopes(at.moved(side * step * z)), weight, axes=2)
                             for side in (1, -1))
            out += (before - after) / (2 * step * PROBES)
        return out

    def potential(self, theta: np.ndarray) -> Potential:
        """The energy as a `Potential` of torch."""
        return _TermPotential(self, np.asarray(theta, float))


class PairEnergy(Energy):
    """A sum over pairs of functions of their distance."""

    @abstractmethod
    def pair_slopes(self, r: np.ndarray, kind: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of every pair the parameters that its force depends on and how: (pairs, m) int numbers of parameters,
        (pairs, m) slopes of -dφ/dr [energy/µm per unit of the parameter]."""

    def force_slopes(self, at: Configuration) -> np.ndarray:
        which, slope = self.pair_slopes(at.r, at.kind)
        out = np.zeros((self.count, at.n, at.dim))
        spread_along(at.first, at.second, at.e, which, slope, out)
        return out

    def stiffness_slopes(self, at: Configuration, inverse_mass: np.ndarray) -> np.ndarray:
        """Of a pair (1/m_i + 1/m_j) [φ'' + (dim - 1) φ'/r], φ'' from differences of the force."""
        out = np.zeros(self.count)
        weight = inverse_mass[at.first] + inverse_mass[at.second]
        step = 1e-5 * self.reach
        # -φ'(r ± step) each have parameters of their own, where r is close to a knot
        for r, factor in ((at.r, -(at.dim - 1) / at.r), (at.r + step, -0.5 / step), (at.r - step, 0.5 / step)):
            which, slope = self.pair_slopes(r, at.kind)
            out += np.bincount(which.ravel(), (slope * (weight * factor)[:, None]).ravel(), self.count)
        return out


@dataclass(frozen=True, eq=False)
class PairColumns:
    """Friction coefficients of pairs, linear in parameters: of every pair the numbers of m parameters (pairs, m) and
    what each adds to the friction across and along its line of centres, (pairs, m) [mass/s per unit of the parameter].
    """

    which: np.ndarray
    across: np.ndarray
    along: np.ndarray


@dataclass(frozen=True, eq=False)
class NodeColumns:
    """Friction coefficients of particles against what is at rest, in the same way: (n, m) each."""

    which: np.ndarray
    drag: np.ndarray


class Friction(Term):
    """A friction linear in its parameters, all at least zero: force -γ v on nodes, -γ v_ij on pairs, noise 2 kT γ.

    A subclass gives `pair_columns` or `node_columns` (or both).
    """

    temporal: ClassVar[bool] = False
    """Whether it acts with a delay (`PairMemory`)."""

    def remembering(self, times: tuple[float, ...], weights: tuple[float, ...]) -> Friction:
        """The same term with memory times, where `temporal`."""
        return self

    def pair_columns(self, at: Configuration) -> PairColumns | None:
        """Coefficients of the pairs; None: it is not a friction of pairs."""
        return None

    def bond_columns(self, at: Configuration) -> PairColumns | None:
        """Coefficients of the bonds of a solid; None: it is not a friction of bonds."""
        return None

    def node_columns(self, at: Configuration) -> NodeColumns | None:
        """Coefficients of the particles; None: momentum stays among the particles."""
        return None

    def matrix(self, theta: np.ndarray, mass: np.ndarray | float, kT: float) -> FrictionMatrix:
        """M on velocities and entropies, by its root: what friction takes from the motion warms the particles."""
        return _TermFriction(self, np.asarray(theta, float), mass, kT)


def pair_coefficients(columns: PairColumns, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Friction across and along of every pair [mass/s]."""
    weights = theta[columns.which]
    return (columns.across * weights).sum(axis=1), (columns.along * weights).sum(axis=1)


def node_coefficients(columns: NodeColumns, theta: np.ndarray) -> np.ndarray:
    """Drag of every particle [mass/s]."""
    return (columns.drag * theta[columns.which]).sum(axis=1)


@njit(cache=True)
def spread_along(first, second, e, which, slope, out):  # type: ignore[no-untyped-def]
    """out[k] += ± slope e of every pair for each of its parameters k; out (count, n, dim)."""
    for p in range(first.shape[0]):
        i, j = first[p], second[p]
        for m in range(which.shape[1]):
            k, s = which[p, m], slope[p, m]
            if s != 0.0:
                for c in range(e.shape[1]):
                    out[k, i, c] += s * e[p, c]
                    out[k, j, c] -= s * e[p, c]


class _TermPotential(Potential):
    """An energy term with its numbers."""

    def __init__(self, term: Energy, theta: np.ndarray) -> None:
        self.term, self.theta = term, theta

    def energy(self, snapshot: Snapshot) -> torch.Tensor:
        return self.term.energy(self.theta, snapshot)


class _TermFriction(FrictionMatrix):
    """A friction term with its numbers, on velocities and entropies.

    Channels of a pair: dim numbers; with R = sqrt(kT γ) (across and along), the two ends of G are ±R/m on velocities
    and -vᵀR/2kT on both entropies; of a particle: R/m and -vᵀR/kT. So Gᵀ∇E = 0 for E = kinetic energy + kT S: what
    friction takes from the motion is heat of the particles.
    """

    columns = ("velocity", "entropy")

    def __init__(self, term: Friction, theta: np.ndarray, mass: np.ndarray | float, kT: float) -> None:
        self.term, self.theta, self.mass, self.kT = term, theta, mass, kT

    def root(self, snapshot: Snapshot) -> Root:
        at = Configuration.of_snapshot(snapshot, self._species())
        x, v = snapshot.position, snapshot.column("velocity")
        dim = x.shape[1]
        mass = torch.as_tensor(np.broadcast_to(self.mass, (len(x),)).copy(), dtype=x.dtype)
        eye = torch.eye(dim, dtype=x.dtype)
        node = first = second = None
        on_nodes = self.term.node_columns(at)
        if on_nodes is not None:
            size = torch.as_tensor(np.sqrt(self.kT * node_coefficients(on_nodes, self.theta)), dtype=x.dtype)
            node = torch.zeros(len(x), dim + 1, dim, dtype=x.dtype)
            node[:, :dim] = (size / mass)[:, None, None] * eye
            node[:, dim] = -v * size[:, None] / self.kT
        pairs, on_pairs, lines = snapshot.pairs, self.term.pair_columns(at), at.e
        if on_pairs is None and (on_pairs := self.term.bond_columns(at)) is not None:
            pairs, lines = snapshot.column("bonds"), at.needed_bonds().lines(at.position)[0]
        if on_pairs is not None:
            across, along = (torch.as_tensor(np.sqrt(self.kT * c), dtype=x.dtype)
                             for c in pair_coefficients(on_pairs, self.theta))
            e = torch.as_tensor(lines, dtype=x.dtype)
            line = e[:, :, None] * e[:, None, :]
            R = across[:, None, None] * (eye - line) + along[:, None, None] * line
            one, two = pairs.unbind(1)
            relative = snapshot.box.relative_velocity(x[one], x[two], v[one], v[two])
            work = -0.5 * torch.einsum("pa,pab->pb", relative, R) / self.kT
            ends = []
            for end, sign in ((one, 1.0), (two, -1.0)):
                block = torch.zeros(len(e), dim + 1, dim, dtype=x.dtype)
                block[:, :dim] = sign * R / mass[end][:, None, None]
                block[:, dim] = work
                ends.append(block)
            first, second = ends
        return Root(node=node, first=first, second=second, pairs=None if first is None else pairs)

    def _species(self) -> int:
        return len(getattr(self.term, "species", None) or ("",))


def refuse_one_temperature(name: str) -> NoReturn:
    """`ModelError`: a term that needs entropy was used in a list at one temperature."""
    raise ModelError(f"{name} belongs to a fluid whose particles have heat of their own: its numbers are learned "
                     "together with their entropies and not as a term at one temperature. Give Metriplectic(..., "
                     "entropy=True), or use PairPotential, DensityEnergy and PairFriction at one temperature.")


def checked_positive(who: str, **values: Any) -> None:
    """`ConfigError` unless every value that is given is a finite positive number."""
    for name, value in values.items():
        if value is not None and not (np.isfinite(value) and value > 0):
            raise ConfigError(f"{who}: {name} = {value!r} must be a positive number.")


def checked_reach(who: str, reach: float, box: Box) -> None:
    """`ConfigError` for a range of more than half the box."""
    if box.lengths is not None and reach > 0.5 * min(box.lengths):
        raise ConfigError(f"{who}: cutoff = {reach:g} µm is more than half of the box edge {min(box.lengths):g} µm; a "
                          "particle would meet its own image. Choose a shorter cutoff or a larger box.")


def with_numbers(term: Term, theta: np.ndarray, parameters: Parameters) -> None:
    """`ModelError` unless `theta` are numbers of this term."""
    if len(theta) != parameters.count:
        raise ModelError(f"{type(term).__name__}: {len(theta)} numbers for {parameters.count} parameters.")


class Tables:
    """What terms add to while they are reduced to tables for a compiled rollout; `vid2dyn.dynamics.assembly.freeze`
    makes one model of it.

    Parameters
    ----------
    r : (rows,) array
        Distances of all radial tables [µm], from 0 to the longest range.
    kinds, species, dim : int
        Kinds of pairs, species, space dimensions.
    """

    def __init__(self, r: np.ndarray, kinds: int, species: int, dim: int) -> None:
        self.r, self.kinds, self.species, self.dim = r, kinds, species, dim
        self.others: dict[str, Any] = {}
        self.memory: list[tuple[float, np.ndarray]] = []
        self.pair_energy = np.zeros((kinds, len(r), 2))
        self.pair_friction = np.zeros((kinds, len(r), 4))
        self.drag = np.zeros(species)

    def set(self, name: str, value: Any) -> None:
        """A part of which there can be one alone: "density_energy", "density_range" and "kernel" as a `FrozenFluid` has
        them, "external" and "traps" as mappings of the arguments of its `ExternalTable` and `HarmonicTraps`.

        Raises
        ------
        ModelError
            When another term has set it.
        """
        if name in self.others:
            raise ModelError(f"Two terms of this model are of the same kind ({name}); the compiled rollout holds one "
                             "of them. Leave one out, or make one term of both.")
        self.others[name] = value
