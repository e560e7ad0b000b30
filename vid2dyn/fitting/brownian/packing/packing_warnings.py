"""What to know before trusting forces learned in a packing; and of plain fits, that the particles are packed."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vid2dyn.dynamics.recipes.brownian import Brownian
from vid2dyn.dynamics.terms.potentials import PairPotential
from vid2dyn.fitting.brownian.design import Field
from vid2dyn.fitting.brownian.packing.friction import FoundFriction
from vid2dyn.fitting.brownian.packing.static_forces import solved
from vid2dyn.fitting.brownian.packing.window_moments import window_moments, windows_of
from vid2dyn.fitting.brownian.recording import Recording
from vid2dyn.fitting.brownian.records import FitData

OFF = 1.4
"""Ratio of two estimates of the same force beyond which one of them is wrong."""
PACKED = 0.15
"""Net force over pair force below which particles are packed: what plain score matching says of them is not
reliable."""
LEFT = 0.35
"""Part of the squared mean forces that strengths of single particles leave, below which they are not alike."""
APART = 2.0
"""Distance of two groups of strengths in their spread, from which on there are two; one normal group cut in two has
2.6, so both this and `LEFT` are asked for."""
SLOW = 0.15
"""D · stiffness · frame interval beyond which D cannot be learned."""
_MOST = 40_000


@dataclass(frozen=True)
class Found:
    """Numbers by which a fit of a packing is judged.

    Parameters
    ----------
    neighbour_distance : float
        Of the six nearest particles, the median [µm].
    pair_force : float
        Of two neighbours there [kT/µm], mean over the pairs of species.
    learned_over_windowed, ratio_stderr : float
        That force over the one learned with all mean forces taken out, and the standard error of the ratio.
    force_error : float
        Relative standard error of that force.
    static_force, thermal_force : float
        tau, and root mean square of the thermal force, of each component [kT/µm].
    share, independent_frames : float
        λ, and frames in a window that are independent.
    windows : int
    noise : float
        Standard error of a position [µm].
    unsure : float
        Share of the particles whose label is not sure.
    apart, left : float
        Of a fit with one species: see `LEFT`, `APART`.
    diffusion : float
        From displacements as if particles were free [µm²/s].
    dt : float
        Frame interval [s].
    """

    neighbour_distance: float
    pair_force: float
    learned_over_windowed: float
    ratio_stderr: float
    force_error: float
    static_force: float
    thermal_force: float
    share: float
    independent_frames: float
    windows: int
    noise: float
    unsure: float
    apart: float
    left: float
    diffusion: float
    dt: float

    def report(self) -> dict[str, Any]:
        """Plain numbers for the report."""
        return dataclasses.asdict(self)


def stated_errors(data: FitData) -> bool:
    """Whether the tracks state errors of their positions."""
    return data.tracks.sigma is not None and bool((data.tracks.sigma > 0).any())


def packing_warnings(found: Found, data: Sequence[FitData]) -> list[str]:
    """Sentences; empty where nothing is off."""
    recipe, said = data[0].recipe, []
    # of a cage of six neighbours with dipolar forces; where the fit failed, its own thermal force says nothing
    stiffness = max(found.thermal_force**2, 9 * found.pair_force / found.neighbour_distance)
    if not stated_errors(data[0]):
        said.append("The tracks state no errors of the positions (y_std, x_std), which are taken as zero: noise of "
                    f"{1000 * np.sqrt(0.1 / max(1.75 * stiffness, 1e-9)):.0f} nm would make all forces 10 % small. "
                    "Give the columns, or track with vd.track.")
    elif 1.75 * stiffness * found.noise**2 > 5:
        smaller = 1 + 1.75 * stiffness * found.noise**2
        said.append(f"Noise of {1000 * found.noise:.0f} nm makes the forces look {smaller:.1f} times smaller than they "
                    "are; it is taken out, but a tenth of the forces may be wrong. Film with less noise.")
    off = abs(found.learned_over_windowed - 1)
    if not 1 / OFF < found.learned_over_windowed < OFF and off > 3 * found.ratio_stderr:
        said.append(f"Two estimates of the pair force at {found.neighbour_distance:.3g} µm differ: all of the "
                    f"motion gives {found.learned_over_windowed:.2f} times what the motion about mean positions "
                    "gives. Forces carry no reliable scale, nor does a stress: correct the labels (labels = "
                    "'balanced'), take a longer cutoff or more knots.")
    if found.static_force > 0.3 * found.pair_force:
        said.append(f"Mean forces of {found.static_force:.0f} kT/µm on a particle do not cancel, beside "
                    f"{found.pair_force:.0f} kT/µm between two neighbours: labels are wrong, the cutoff is too "
                    "short, or there are forces that are not of pairs. Labels = 'balanced' corrects labels.")
    if found.left < LEFT and found.apart > APART:
        said.append("Two species fit better than one: strengths that differ from particle to particle, in two "
                    f"groups, take away {100 * (1 - found.left):.0f} % of the squared mean forces that one potential "
                    "for all leaves. Give the column that names them, species = ..., or labels = 'found'.")
    if found.unsure > 0.2:
        said.append(f"The labels of {100 * found.unsure:.0f} % of the particles are not sure (held ones and those "
                    "near the edge have no balance of their own); particles beside them are left out.")
    if recipe.diffusion is None and recipe.pair_friction is None and found.diffusion * stiffness * found.dt > SLOW:
        said.append(f"Frames are {1000 * found.dt:.3g} ms apart, and a cage of {stiffness:.0f} kT/µm² relaxes "
                    "within a few ms at this D: how fast particles move in it cannot be seen, and D = "
                    f"{found.diffusion:.2g} µm²/s is a lower bound. Forces do not depend on it; a rollout does. "
                    "Give the D of a particle alone, diffusion = ..., or film faster.")
    return said


def friction_warnings(found: FoundFriction | None, packing: Found, recipe: Brownian) -> list[str]:
    """What the recording does not say of friction, and what would."""
    ask = ("give the D of a particle in its cage, diffusion = ... (from a short film with frames "
           f"{1000 / max(9 * packing.pair_force / packing.neighbour_distance, 1e-9):.2g} ms apart or closer)")
    if found is None:
        told = "" if recipe.diffusion is not None else f"; without it {packing.diffusion:.2g} µm²/s, a lower bound"
        return [f"No motion in this recording lasts for longer than a frame, {1000 * packing.dt:.3g} ms: friction, "
                "against the fluid or between particles, cannot be learned. The rollout takes kT/D against the fluid "
                f"alone{told}. Film faster, or a wider sheet, whose long waves relax more slowly."]
    said = []
    (node, pair), (node_error, pair_error) = found.tracks, found.tracks_stderr
    if not found.seen[0]:
        said.append(f"Friction of a particle against the fluid is {node:.2g} ± {node_error:.2g} kT s/µm² by the "
                    "tracks: not known. It sets how fast long waves of the sheet relax. Film longer, or a wider sheet.")
    if not found.seen[1] and recipe.diffusion is None:
        said.append(f"Friction between particles is {pair:.2g} ± {pair_error:.2g} kT s/µm² at "
                    f"{found.pair.near:.3g} µm by the tracks: not known, because the motion that shows it relaxes "
                    f"within a frame, {1000 * packing.dt:.3g} ms. The rollout takes {found.pair.amplitude:.2g}"
                    + ("" if pair > pair_error else ", which belongs to the D that displacements show, "
                       f"{packing.diffusion:.2g} µm²/s, a lower bound") + f". To know it, {ask}, or film faster.")
    if found.seen[1] and found.given is not None:
        off = found.pair.amplitude / pair
        if not 1 / OFF < off < OFF and abs(found.pair.amplitude - pair) > 3 * pair_error:
            said.append(f"The D that was given, {found.given:.3g} µm²/s, asks for a friction between particles of "
                        f"{found.pair.amplitude:.2g} kT s/µm² at {found.pair.near:.3g} µm; the tracks show {pair:.2g} "
                        f"± {pair_error:.2g}. One of them is wrong: check D, or leave it out.")
    return said


def packed_warnings(data: Sequence[FitData], potentials: Sequence[tuple[PairPotential, ...]],
                    fields: Sequence[Field]) -> list[str]:
    """Of a plain fit: a warning where particles are packed and the learned forces are not those of their motion.

    The forces are learned again with the mean of every window taken out, from the first detections; where net forces
    are far below pair forces and both estimates differ, the plain one has been driven to fit the balance, not the
    forces.
    """
    said = []
    for one, learned, field in zip(data, potentials, fields, strict=True):
        if not field.splines:
            continue
        recording = _first(one.recording)
        frames = int(np.ptp(recording.frame)) + 1
        if frames < 12:
            continue
        moments = window_moments(recording, field, windows_of(recording, int(np.clip(frames // 10, 10, 60))))
        if moments.detections < 200:
            continue
        try:
            found = solved(moments, field.penalty(), recording.dim, 1.0)
        except np.linalg.LinAlgError:
            continue
        r = neighbour_distance(recording, field.reach)
        c = found.solution.coefficients
        sizes = [[float(phi.force(np.array(max(r, spline.inner))))
                  for phi in (one_learned, PairPotential(spline, c[field.part(k)]))]
                 for k, (one_learned, spline) in enumerate(zip(learned, field.splines))]
        plain, windowed = np.mean(sizes, axis=0)
        net = float(np.sqrt(max(found.thermal_variance, 0.0)))
        if windowed > 0 and net < PACKED * windowed and not 1 / OFF < plain / windowed < OFF:
            said.append(f"{one.name + ': ' if len(data) > 1 else ''}The particles are packed: neighbours push with "
                        f"{windowed:.0f} kT/µm, the net force on one is {net:.0f}. Forces that cancel so well are "
                        f"not learned by this fit: at {r:.3g} µm it gives {plain / windowed:.2g} times what the "
                        "motion in the cages gives. Forces, stress and rollout carry no scale. Fit with packed = True.")
    return said


def neighbour_distance(recording: Recording, reach: float) -> float:
    """Median distance of the six nearest neighbours [µm], from the first frame."""
    from vid2dyn.dynamics.snapshot import neighbour_pairs

    rows = np.flatnonzero(recording.frame == recording.frame.min())
    x = recording.position[rows]
    pairs = neighbour_pairs(x, reach, recording.box, np.zeros(len(rows), np.int64))
    r = np.sort(np.linalg.norm(recording.box.displacement(x[pairs[:, 0]], x[pairs[:, 1]]), axis=1))
    return float(np.median(r[: max(1, min(3 * len(rows), len(r)))])) if len(r) else reach


def _first(recording: Recording) -> Recording:
    """The first frames, with `_MOST` detections or fewer."""
    if len(recording.position) <= _MOST:
        return recording
    count = np.cumsum(np.bincount(recording.frame - recording.frame.min()))
    last = recording.frame.min() + max(12, int(np.searchsorted(count, _MOST)))
    kept = recording.frame < last
    place = np.cumsum(kept) - 1
    steps = recording.steps[kept[recording.steps] & kept[np.minimum(recording.steps + 1, len(kept) - 1)]]
    return dataclasses.replace(
        recording, position=recording.position[kept], frame=recording.frame[kept], track=recording.track[kept],
        variance=recording.variance[kept], weight=recording.weight[kept], weight_slope=recording.weight_slope[kept],
        steps=place[steps], species=None if recording.species is None else recording.species[kept],
        filled=int(kept[len(kept) - recording.filled:].sum()))
