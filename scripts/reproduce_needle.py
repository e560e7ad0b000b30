#!/usr/bin/env python
"""The interfacial stress rheometer from film to model: simulate, see, label, learn, roll out, measure; one page.

    python scripts/reproduce_needle.py                 # figures of a film of positions with 25 nm of noise
    python scripts/reproduce_needle.py --rendered      # the same from rendered movies: tracked, with their species
    python scripts/reproduce_needle.py --rendered --out movies --keep    # tracks are kept there, and read the next time
    python scripts/reproduce_needle.py --out needle    # where needle.html and needle.json go
    python scripts/reproduce_needle.py --views 8       # bands of forces of so many films, of what the camera sees

1. A film driven at 5 % strain is simulated, with 25 nm of noise and a tenth of the labels wrong, as image mass gives
them. 2. Labels and pair forces are learned together (`vd.Brownian(packed=True, labels="balanced")`), and friction
against the fluid and between particles (`pair_friction`).
3. The model is rolled out beside the moving needle, and judged beside its bound: the same packing with other noise,
which goes other ways by chance, so that several of each are compared.
4. G' and G'' of the learned forces, at 1, 5 and 10 %, beside those of the true ones.

With `--rendered`, rings of two sizes that touch are drawn, filmed and tracked; the species are those that the images
show. The camera sees the gap with 7 µm of needle and wall, and four fifths of their length: particles nearer to the
edges of the view than the forces reach follow the recording, and stress is measured a cutoff inside the view.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

import vid2dyn as vd
from vid2dyn import analysis
from vid2dyn.analysis.detection_score import DetectionScore
from vid2dyn.analysis.link_score import score_links
from vid2dyn.analysis.space import close_pairs

FILM = vd.simulators.Needle()
CYCLE = 300
"""Frames of a cycle of the drive."""
NOISE = 0.025
"""Standard error of a position [µm]."""
CAMERA_NOISE = 0.005
"""Standard error of the place of a tracked ring [µm]."""
WRONG = 0.10
"""Share of wrong labels."""
REPLICAS = 4
"""Films of the same packing with other noise, by which a rollout is judged."""
MOBILITY = 0.4
"""D of a particle in its cage [µm²/s]: frames are too far apart to show it."""
PAIRS = (("large", "large"), ("large", "small"), ("small", "small"))
TRUE_FORCES = {both: (lambda r, both=both: FILM.pair_force(r, *both)) for both in PAIRS}
REGION = (FILM.low, FILM.high)
DIAMETER = 13
"""Of the images [px]."""
Spot = Literal["gaussian", "disc", "ring"]


@cache
def film(strain: float, replica: int = 0, seed: int = 5) -> vd.Trajectories:
    """The true positions at a strain."""
    return replace(FILM, strain=strain, replica=replica).run(seed=seed)


def seen(tracks: vd.Trajectories, seed: int = 0) -> vd.Trajectories:
    """With noise, and wrong labels."""
    rng, table = np.random.default_rng(seed), tracks.dataframe.copy()
    for axis in tracks.axes:
        table[axis] += rng.normal(0, NOISE / tracks.units.um, len(table))
        table[f"{axis}_std"] = NOISE / tracks.units.um
    wrong = rng.random(table["particle"].max() + 1) < WRONG
    other = np.where(table["species"] == "small", "large", "small")
    table["species"] = np.where(wrong[table["particle"]], other, table["species"])
    return tracks.replace(dataframe=table)


def learned(tracks: vd.Trajectories, labels: Literal["given", "balanced"] = "balanced") -> Any:
    """The model. Labels that image mass gives are corrected; those of the shape of images are right as they are."""
    recipe = vd.Brownian(cutoff=FILM.cutoff, species="species", packed=True, labels=labels, held="held",
                         diffusion=MOBILITY, pair_friction=1.5 * FILM.spacing)
    return vd.fit(tracks, recipe, seed=0, progress=True)


def measured() -> dict[str, Any]:
    """All figures."""
    truth = film(0.05)
    tracks = seen(truth)
    model = learned(tracks)
    found: dict[str, Any] = {"particles": truth.n_particles, "frames": truth.n_frames}
    friction = model.report["friction"]
    found |= {"friction against the fluid, learned over true": friction["node"] / FILM.node_friction,
              "pair friction, learned over true": float(model.pair_friction(FILM.spacing)) / FILM.pair_friction}
    found |= labels_right(model, tracks, truth) | forces_off(model, truth)
    found |= moduli_off(model, tracks, truth) | beside_bound(model, tracks, truth)
    for strain in (0.01, 0.10):
        other = film(strain)
        noisy = model_labels(model, tracks, seen(other, seed=1))
        pair = [moduli(one, forces) for one, forces in ((noisy, model), (other, TRUE_FORCES))]
        found[f"G' at {strain:.0%}, learned over true"] = pair[0].storage / pair[1].storage
        found[f"G'' at {strain:.0%}, learned over true"] = pair[0].loss / pair[1].loss
    found["model"], found["tracks"], found["truth"] = model, tracks, truth
    return found


def model_labels(model: Any, fitted: vd.Trajectories, tracks: vd.Trajectories) -> vd.Trajectories:
    """Another film of the same packing with the labels that the balance of forces gave."""
    named = model.labelled(fitted).dataframe.groupby("particle")["species"].first()
    table = tracks.dataframe
    return tracks.replace(dataframe=table.assign(species=named.reindex(table["particle"]).to_numpy()))


def moduli(tracks: vd.Trajectories, forces: Any) -> analysis.Moduli:
    """G' and G'' of pair forces on a film of one cycle."""
    return analysis.moduli(tracks.between(0, CYCLE), forces, FILM.cutoff, region=REGION, frequency=FILM.frequency)


def labels_right(model: Any, tracks: vd.Trajectories, truth: vd.Trajectories) -> dict[str, float]:
    """Share of right labels among the particles of the film, before and after."""
    inside = (truth.dataframe["held"].to_numpy() == 0) & (truth.frame == 0)
    name = truth.dataframe["species"].to_numpy()[inside]
    balanced = model.labelled(tracks) if "label_tracks" in model.arrays else tracks
    after = balanced.dataframe["species"].to_numpy()[inside]
    before = tracks.dataframe["species"].to_numpy()[inside]
    return {"labels right before": float((before == name).mean()), "labels right inside": float((after == name).mean())}


def neighbour_distances(truth: vd.Trajectories) -> dict[tuple[str, str], tuple[float, float]]:
    """Where nine of ten neighbours of each pair of species are [µm]: three pairs a particle are nearest."""
    start = truth.rows(truth.frame == 0)
    x, names = start.positions, start.dataframe["species"].to_numpy()
    i, j = close_pairs(x, truth.box, FILM.cutoff)
    r = np.linalg.norm(truth.box.displacement(x[i], x[j]), axis=1)
    near = r < np.sort(r)[3 * len(x)]
    kind = [tuple(sorted(both)) for both in zip(names[i], names[j])]
    found = {}
    for both in PAIRS:
        low, high = np.percentile(r[near & np.array([one == both for one in kind])], [5, 95])
        found[both] = float(low), float(high)
    return found


def forces_off(model: Any, truth: vd.Trajectories) -> dict[str, float]:
    """Largest relative error of the pair forces at the distances of neighbours and on to 9 µm, and how often the 95 %
    band holds the truth."""
    near, far, held = [], [], []
    for both, (low, high) in neighbour_distances(truth).items():
        for r, into in ((np.linspace(low, high, 9), near), (np.linspace(low, 9.0, 14), far)):
            true = FILM.pair_force(r, *both)
            below, above = model.band("pair_force", (r, both))
            into.append(float(np.abs(model.pair_force(r, both) / true - 1).max()))
            held.append(float(((below < true) & (true < above)).mean()))
    return {"forces at neighbours, worst": max(near), "forces to 9 µm, worst": max(far),
            "band holds the truth": float(np.mean(held))}


def in_views(seeds: range) -> pd.DataFrame:
    """Pair forces of what the camera sees of several films (no images: places within `CAMERA_NOISE`), at the distances
    of neighbours: error over the truth and over the standard error of the band, and how often bands hold the truth.

    Errors of one film are nearly the same at all distances and of all pairs: whether its bands hold is one draw.
    """
    rows = {}
    for seed in seeds:
        truth = film(0.05, seed=seed)
        model = learned(view_of(truth, seed), labels="given")
        off, z = [], []
        for both, (low, high) in neighbour_distances(truth).items():
            r = np.linspace(low, high, 9)
            true = FILM.pair_force(r, *both)
            below, above = model.band("pair_force", (r, both))
            error = model.pair_force(r, both) - true
            off.append(error / true)
            z.append(error / ((above - below) / 2 / 1.96))
        rows[seed] = {"mean error": np.mean(off), "worst error": np.abs(off).max(), "mean z": np.mean(z),
                      "band holds the truth": np.mean(np.abs(z) < 1.96)}
        print(pd.Series(rows[seed], name=seed).to_frame().T.to_string(float_format=lambda v: f"{v:.3f}"), flush=True)
    return pd.DataFrame(rows).T


def view_of(truth: vd.Trajectories, seed: int) -> vd.Trajectories:
    """What the camera sees of a film, with the errors of places that tracked rings have."""
    camera, um = FILM.camera("ring"), truth.units.um
    view = np.array([camera.height, camera.width]) * FILM.micrometre_per_pixel / um
    assert isinstance(truth.box, vd.Periodic)
    corner = 0.5 * (np.array(truth.box.lengths) / um - view)
    table, rng = truth.dataframe, np.random.default_rng(seed)
    for axis, begin in zip(truth.axes, corner):
        table = table.assign(**{axis: table[axis] - begin + rng.normal(0, CAMERA_NOISE / um, len(table)),
                                f"{axis}_std": CAMERA_NOISE / um})
    places = table[list(truth.axes)].to_numpy()
    seen_there = ((places > 0) & (places < view)).all(axis=1)
    return truth.replace(dataframe=table[seen_there].reset_index(drop=True), box=vd.Free(),
                         field_of_view=tuple(view))


def moduli_off(model: Any, tracks: vd.Trajectories, truth: vd.Trajectories) -> dict[str, float]:
    """G' and G'' of the learned forces on noisy positions over those of the true forces on true ones."""
    one, other = moduli(model.labelled(tracks), model), moduli(truth, TRUE_FORCES)
    return {"G' true": other.storage, "G'' true": other.loss, "G' learned over true": one.storage / other.storage,
            "G'' learned over true": one.loss / other.loss}


def beside_bound(model: Any, tracks: vd.Trajectories, truth: vd.Trajectories) -> dict[str, Any]:
    """Rollouts, and truth with other noise, beside the truth.

    A sheet that yields goes one way or another by chance: two films that differ in noise alone are from 0.17 to 0.50 µm
    apart. So the bound is the mean over all pairs of `REPLICAS` films, and the model's the mean over these films and as
    many rollouts, one less.
    """
    films = [truth, *(film(0.05, replica=k) for k in range(1, REPLICAS))]
    rollouts = [model.rollout(tracks, steps=CYCLE, seed=k, observed=False) for k in range(1, REPLICAS)]
    free = ~truth.dataframe.groupby("particle")["held"].first().to_numpy()
    paths = [[one.dense()[0][:CYCLE, free] for one in several] for several in (films, rollouts)]
    g = moduli(rollouts[0], model)
    energy = analysis.energy_of_cycles(rollouts[0], FILM.frequency)
    return judged(paths, truth) | {
        "G' of the rollout": g.storage, "G'' of the rollout": g.loss,
        "work of the cycle (kT)": float(energy.dataframe["work"].sum()), "energy imbalance": energy.imbalance}


def judged(paths: list[list[np.ndarray]], truth: vd.Trajectories) -> dict[str, Any]:
    """How far rollouts, paths[1], are from films, paths[0], beside the distances of films from each other.

    All are (frames, particles, 2) [µm] of the same free particles; the first film is that of the recording.
    """
    films, made = paths

    def apart(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.sqrt((truth.box.displacement(a, b) ** 2).sum(axis=2).mean()))

    bounds = [apart(films[a], films[b]) for a in range(len(films)) for b in range(a)]
    off = [apart(one, path) for one in made for path in films]
    one_film, other, future = (vd.Trajectories.from_dense(path, truth.units, box=truth.box)
                               for path in (films[0], films[1], made[0]))
    plain = float(np.sqrt((analysis.nonaffine(one_film, lag=CYCLE // 2, every=CYCLE, flow="profile").rms ** 2).mean()))
    d2 = [np.log(analysis.d2min(one, 1.4 * FILM.spacing, CYCLE // 2, every=CYCLE).dataframe["d2min"].to_numpy())
          for one in (one_film, other, future)]
    rdf = [analysis.rdf(one, r_max=25.0, bins=100).value for one in (one_film, other, future)]
    return {"RMSE (µm)": float(np.mean(off)), "RMSE of the bound (µm)": float(np.mean(bounds)),
            "RMSE over bound": float(np.mean(off) / np.mean(bounds)), "bound, least and most (µm)": str(
                (round(min(bounds), 3), round(max(bounds), 3))),
            "RMSE over non-affine motion": float(np.mean(off)) / plain,
            "RMSE over non-affine motion, bound": float(np.mean(bounds)) / plain,
            "D²min correlation": correlation(d2[0], d2[2]), "D²min correlation of the bound": correlation(d2[0], d2[1]),
            "RDF": float(np.sqrt(((rdf[2] - rdf[0]) ** 2).mean() / (rdf[0] ** 2).mean())),
            "RDF of the bound": float(np.sqrt(((rdf[1] - rdf[0]) ** 2).mean() / (rdf[0] ** 2).mean()))}


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Of the particles for which both are known."""
    both = np.isfinite(a) & np.isfinite(b)
    return float(np.corrcoef(a[both], b[both])[0, 1])


@dataclass(frozen=True, eq=False)
class Filmed:
    """A tracked movie: `tracks` [px of the view]; `true`, the same rows with the true places, species and `held`, and
    the number of the particle in the simulation, `simulated`; `corner` of the view [µm]."""

    tracks: vd.Trajectories
    true: vd.Trajectories
    corner: np.ndarray

    def in_simulation(self) -> tuple[vd.Trajectories, vd.Trajectories]:
        """Both tables in the coordinates of the simulation."""
        shift = self.corner / self.tracks.units.um
        tracks, true = (one.replace(dataframe=one.dataframe.assign(
            y=one.dataframe["y"] + shift[0], x=one.dataframe["x"] + shift[1])) for one in (self.tracks, self.true))
        return tracks, true


def video_of(spot: Spot, strain: float = 0.05, frames: int = CYCLE, every: int = 1, seed: int = 5) -> Any:
    """What a camera sees. `every`: the frame rate is that much lower."""
    small = replace(FILM, strain=strain, frames=frames, frames_per_second=FILM.frames_per_second / every)
    return vd.simulators.render(small, small.camera(spot), seed=seed)


def tracked(video: Any) -> Filmed:
    """A movie, tracked; and the truth, row by row.

    The images of discs and rings touch, and tell the species by their size. The needle and the wall are where they are:
    what lies beyond the edges of the gap is held.
    """
    tracks = vd.track(video, diameter=DIAMETER, sizes="two", search_range=6.0, predictor="profile", memory=1,
                      min_length=2, progress=True)
    um = video.units.um
    held = [{"edit": "hold", "region": [[(low - video.corner[0]) / um, -1e3], [(high - video.corner[0]) / um, 1e4]],
             "edge": edge} for edge, low, high in ((1, -1e3, FILM.low), (2, FILM.high, 1e4))]
    tracks = tracks.edit(*held)
    return Filmed(tracks, true_rows(tracks, video.truth), video.corner)


def true_rows(tracks: vd.Trajectories, truth: vd.Trajectories) -> vd.Trajectories:
    """The table of `tracks` with the true place, species, `held` and number of the particle nearest to each detection.
    """
    table, true = tracks.dataframe.copy(), truth.dataframe
    columns = ["y", "x", "species", "held", "simulated"]
    there = dict(list(true.groupby("frame")))
    parts = []
    for frame, rows in table.groupby("frame").indices.items():
        one = there[frame]
        nearest = cKDTree(one[["y", "x"]]).query(table[["y", "x"]].to_numpy()[rows])[1]
        parts.append(one[columns].iloc[nearest].set_index(rows))
    return tracks.replace(dataframe=table.assign(**pd.concat(parts).sort_index()))


def kept(folder: Path | None, name: str, make: Callable[[], Filmed]) -> Filmed:
    """What `make` gives, from files of an earlier run where there are some."""
    if folder is None:
        return make()
    places = [folder / f"{name}.{part}.parquet" for part in ("tracks", "true")]
    corner = folder / f"{name}.corner.json"
    if corner.exists():
        return Filmed(vd.load(places[0]), vd.load(places[1]), np.array(json.loads(corner.read_text())))
    found = make()
    folder.mkdir(parents=True, exist_ok=True)
    for place, one in zip(places, (found.tracks, found.true)):
        one.save(place)
    corner.write_text(json.dumps(found.corner.tolist()))
    return found


def seen_in_movie(spot: Spot, strain: float = 0.05, frames: int = 3, every: int = 1) -> dict[str, float]:
    """How good tracking is: links and species of a rendered movie, detections a diameter inside the frame (images that
    its edge cuts are two times worse than stated), CPU time of a frame."""
    video = video_of(spot, strain, frames, every)
    movie = tracked(video)
    tracks, true = movie.tracks, movie.true
    shape = np.array(video.shape)

    def inside(table: pd.DataFrame) -> np.ndarray:
        place = table[["y", "x"]].to_numpy()
        return ((place > DIAMETER) & (place < shape - 1 - DIAMETER)).all(axis=1)

    rows = inside(tracks.dataframe)
    a, b = (one.dataframe[["y", "x"]].to_numpy()[rows] for one in (tracks, true))
    z = (a - b) / tracks.dataframe[["y_std", "x_std"]].to_numpy()[rows]
    there = video.truth.dataframe
    both = [tuple(part.loc[part["frame"] == k, ["y", "x"]].to_numpy() for part in (
        tracks.dataframe[rows], there[inside(there)])) for k in range(frames)]
    found = DetectionScore.of(both)                                                   # type: ignore[arg-type]
    same = (tracks.dataframe["species"] == true.dataframe["species"]).mean()
    known = vd.tracking.Track(diameter=DIAMETER, sizes="two", spot=tracks.info["spot"], invert=False,
                              class_sizes=tuple(tracks.info["class_sizes"]))
    find, taken = vd.tracking.detector(known), []
    for frame in range(frames):
        image, begin = video[frame], time.process_time()
        count = len(find(image))
        taken.append((time.process_time() - begin) / count)
    return {f"{spot}: precision": found.precision, f"{spot}: recall": found.recall,
            f"{spot}: error (px)": found.rmse, f"{spot}: std of error/sigma": float(z.std()),
            f"{spot}: links of those detected": score_links(tracks, video.truth).recall_of_detected,
            f"{spot}: species right": float(same),
            f"{spot}: CPU time of a frame of 1,200 (s)": 1200 * min(taken)}


def rendered(frames: int = CYCLE, folder: Path | None = None) -> dict[str, Any]:
    """All figures of movies: what tracking makes of them, and the way on to forces, rollout and moduli.

    With fewer frames than a cycle only forces are learned.
    """
    found: dict[str, Any] = {}
    for spot in get_args(Spot):
        found |= seen_in_movie(spot)
    learnt = kept(folder, f"rings at 5 %, {frames}", lambda: tracked(video_of("ring", 0.05, frames)))
    model = learned(learnt.tracks, labels="given")
    found |= labels_right(model, learnt.tracks, learnt.true) | forces_off(model, film(0.05))
    found["model"], found["tracks"] = model, learnt.tracks
    if frames < CYCLE:
        return found
    friction = model.report["friction"]
    found |= {"friction against the fluid, learned over true": friction["node"] / FILM.node_friction,
              "pair friction, learned over true": float(model.pair_friction(FILM.spacing)) / FILM.pair_friction}
    for strain in (0.05, 0.01, 0.10):
        other = learnt if strain == 0.05 else kept(folder, f"rings at {strain:.0%}", lambda: tracked(
            video_of("ring", strain, CYCLE // 6, 6)))                                       # noqa: B023
        pair = [in_view(one, other.corner, forces) for one, forces in zip(other.in_simulation(), (model, TRUE_FORCES))]
        found[f"G' at {strain:.0%}, learned over true"] = pair[0].storage / pair[1].storage
        found[f"G'' at {strain:.0%}, learned over true"] = pair[0].loss / pair[1].loss
    return found | beside_bound_in_view(model, learnt)


def in_view(tracks: vd.Trajectories, corner: np.ndarray, forces: Any) -> analysis.Moduli:
    """G' and G'' of what lies a cutoff inside the view of the camera, `tracks` in the coordinates of the simulation."""
    frames = round(CYCLE * tracks.units.frames_per_second / FILM.frames_per_second)
    camera = FILM.camera("ring")
    low, high = corner[1] + FILM.cutoff, corner[1] + camera.width * FILM.micrometre_per_pixel - FILM.cutoff
    return analysis.moduli(tracks.between(0, frames), forces, FILM.cutoff, frequency=FILM.frequency, gap=FILM.gap,
                           region=(FILM.low + 0.5 * FILM.cutoff, FILM.high - 0.5 * FILM.cutoff), sides=(low, high))


def beside_bound_in_view(model: Any, movie: Filmed) -> dict[str, Any]:
    """`beside_bound` for the free particles in the first frame of a movie."""
    first = movie.tracks.frame == movie.tracks.frame.min()
    who = movie.true.dataframe["simulated"].to_numpy()[first]
    films = [film(0.05, replica=k) for k in range(REPLICAS)]
    rollouts = [model.rollout(movie.tracks, steps=CYCLE, seed=k, observed=False) for k in range(1, REPLICAS)]
    free = ~rollouts[0].dataframe.groupby("particle")["held"].first().to_numpy(dtype=bool)
    same = [rollout.replace(dataframe=rollout.dataframe.assign(
        y=rollout.dataframe["y"] + movie.corner[0] / rollout.units.um,
        x=rollout.dataframe["x"] + movie.corner[1] / rollout.units.um)) for rollout in rollouts]
    seen_of = [one.rows(np.isin(one.particle, who)) for one in films]
    order = np.argsort(who)
    paths = [[one.dense()[0][:CYCLE][:, free[order]] for one in seen_of],
             [one.dense()[0][:CYCLE][:, order][:, free[order]] for one in same]]
    return {f"movie: {name}": value for name, value in judged(paths, films[0]).items()} | {
        "movie: free particles of the rollout": int(free.sum()),
        "movie: energy imbalance": analysis.energy_of_cycles(rollouts[0], FILM.frequency).imbalance,
        "movie: G' of the rollout": (g := in_view(same[0], movie.corner, model)).storage,
        "movie: G'' of the rollout": g.loss}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("needle"))
    parser.add_argument("--rendered", action="store_true")
    parser.add_argument("--keep", action="store_true", help="keep the tracks of movies in the folder, and read them")
    parser.add_argument("--frames", type=int, default=CYCLE, help="of the rendered movie that is learned from")
    parser.add_argument("--views", type=int, default=0, metavar="N", help="only: bands of forces of N films")
    options = parser.parse_args()
    if options.views:
        print("mean", in_views(range(100, 100 + options.views)).mean().to_string(float_format=lambda v: f"{v:.3f}"),
              sep="\n")
        return
    options.out.mkdir(parents=True, exist_ok=True)
    found = rendered(options.frames, options.out if options.keep else None) if options.rendered else measured()
    model, tracks = found.pop("model"), found.pop("tracks")
    rollout = model.rollout(tracks, steps=tracks.n_frames, seed=1)
    vd.report(options.out / "needle.html", tracks=tracks if options.rendered else model.labelled(tracks), model=model,
              rollout=rollout)
    (options.out / "needle.json").write_text(json.dumps(found, indent=1, ensure_ascii=False))
    print(pd.Series(found).to_string(float_format=lambda v: f"{v:.4g}"))
    print(*model.report["warnings"], sep="\n", file=sys.stderr)


if __name__ == "__main__":
    main()
