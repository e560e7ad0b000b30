"""The command line: arguments -> the verbs of `vid2dyn.pipeline`.

Options that are settings are made from the dataclass that holds them (name, type, default and help text
from its docstring), so there is no second list to keep in step. Parts chosen by name (a simulator, a
dynamics) take theirs as ``--set key=value``; ``vid2dyn list`` shows what there is.

Exit codes: 0 done, 2 wrong input or settings, 130 cancelled with Ctrl-C.
"""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from vid2dyn import pipeline
from vid2dyn.cli.options import (
    about,
    app,
    build_part,
    families,
    model_at,
    parse_assignments,
    show_parts,
    suffix,
    tracks_at,
    verb,
    viewer,
)
from vid2dyn.cli.terminal import say
from vid2dyn.core.config import build
from vid2dyn.core.errors import ConfigError, Vid2DynError
from vid2dyn.core.progress import Progress
from vid2dyn.data.units import Units
from vid2dyn.dynamics.recipes.base import DEFAULT_DYNAMICS
from vid2dyn.tracking import Track

Out = typer.Option("--out", "-o", help="File to write.")


def out_beside(default: str) -> Any:
    """The option --out of a command that names its file after an argument."""
    return typer.Option("--out", "-o", help=f"File to write (default: {default}).")


Seed = typer.Option(help="Seed of every random choice.")
Set = typer.Option("--set", metavar="KEY=VALUE", help="A setting of the chosen part, e.g. --set cutoff=3.0, "
                   "--set pair.kind=Yukawa. Repeat for more. See: vid2dyn list.")


@verb()
def demo(out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the results.")] = Path("vid2dyn_demo"),
         *, progress: Progress) -> None:
    """Run the whole pipeline on a small recording whose truth is known, and compare what was found with the truth."""
    from vid2dyn.core.precompile import compiling_ahead

    with compiling_ahead(images=True):
        from vid2dyn.runs.demo import demo as run_demo

        say(str(run_demo(out, progress=progress)))


@verb()
def warmup(*, progress: Progress) -> None:
    """Compile what tracking, fitting and rollouts need, so that no later run does: for containers and clusters.

    Takes about a minute, once for an installation and a kind of processor. Compiled code is kept in the folder of
    the installation, or in the user's cache, or where the environment variable NUMBA_CACHE_DIR says.
    """
    from vid2dyn.core.precompile import compile_listed

    number, places = compile_listed(progress=progress)
    say(f"{number} functions are compiled and kept in {', '.join(sorted(places))}")


@verb(settings=Track, calibration=Units)
def track(movie: Annotated[Path, typer.Argument(help="Movie, TIFF stack or folder of images.")],
          out: Annotated[Path | None, out_beside("MOVIE.parquet")] = None,
          reader: Annotated[list[str] | None, typer.Option(
              metavar="KEY=VALUE", help="An option of the reader, e.g. --reader channel=0; see vid2dyn list readers.")]
          = None,
          workers: Annotated[int, typer.Option(help="Processes that find particles.")] = 1,
          chunk: Annotated[str | None, typer.Option(
              metavar="I/N", help="Find the particles of the I-th of N chunks only (a task of an array on a cluster); "
              "the same command without it, afterwards, links them.")] = None,
          parts: Annotated[Path | None, typer.Option(
              help="Folder that keeps finished parts, to go on from there (default: OUT with the ending .parts)."
              )] = None,
          part_frames: Annotated[int, typer.Option(
              help="Frames in a part. A part that is not finished when the program is killed is done again.")] = 100,
          keep_parts: Annotated[bool, typer.Option(
              "--keep-parts", help="Do not remove that folder: to link again with another search range.")] = False,
          *, settings: dict[str, Any], calibration: dict[str, Any], progress: Progress) -> None:
    """Find and link the particles of a movie: makes a file of tracks (.parquet).

    If it was stopped, the same command goes on where it was.
    """
    from vid2dyn.core.precompile import compiling_ahead
    from vid2dyn.runs import chunks

    target = suffix(out or Path(f"{movie.stem}.parquet"), ".parquet")
    options = {**calibration, **parse_assignments(reader or [])}
    common: dict[str, Any] = {"workers": workers, "parts": parts, "part_frames": part_frames,
                              "progress": progress, **options}
    chosen = build(Track, settings, "vid2dyn track")
    if chunk is not None:
        mine, every = chunks.track_chunk(movie, target, chosen, chunk=chunk, **common)
        say(f"chunk {chunk}: {mine} of {every} parts are there; vid2dyn track without --chunk links them")
        return
    with compiling_ahead("vid2dyn.tracking") if workers == 1 else nullcontext():
        tracked = chunks.track_movie(movie, target, chosen, keep_parts=keep_parts, **common)
    say(f"{tracked}\nwritten to {target}")
    for warning in tracked.warnings:
        say(f"note: {warning}")


@verb(settings=Track, calibration=Units)
def suggest(movie: Annotated[Path, typer.Argument(help="Movie, TIFF stack or folder of images.")],
            out: Annotated[Path | None, typer.Option(
                "--out", "-o", help="Page (.html) with the pictures (default: MOVIE.settings.html).")] = None,
            reader: Annotated[list[str] | None, typer.Option(
                metavar="KEY=VALUE", help="An option of the reader, e.g. --reader channel=0.")] = None,
            *, settings: dict[str, Any], calibration: dict[str, Any], progress: Progress) -> None:
    """Propose settings for tracking a movie, with pictures that show why. Settings that you give are kept."""
    target = suffix(out or Path(f"{movie.stem}.settings.html"), ".html")
    options = {**calibration, **parse_assignments(reader or []), **settings}
    found = pipeline.suggest(movie, progress=progress, **options)
    say(f"{found}\nwritten to {found.save(target)}")


@verb(calibration=Units)
def diffusion(tracks: Annotated[Path, typer.Argument(help="Tracks (.parquet, or a table .csv/.xml).")], *,
              calibration: dict[str, Any], progress: Progress) -> None:
    """Diffusion coefficient, localisation error and viscosity of tracks, with standard errors."""
    with about(tracks):
        result = pipeline.diffusion(tracks_at(tracks, calibration))
    say(str(result))


@verb()
def encode(movie: Annotated[Path, typer.Argument(help="The recording that was tracked.")],
           tracks: Annotated[Path, typer.Argument(help="Its tracks (.parquet).")],
           out: Annotated[Path | None, out_beside("TRACKS.encoded.parquet")] = None,
           encoder: Annotated[Path | None, typer.Option(
               help="Trained encoder (.encoder): applied if it is there, else trained and written there.")] = None,
           set_: Annotated[list[str] | None, Set] = None,
           seed: Annotated[int, Seed] = 0, *, progress: Progress) -> None:
    """Learn numbers that describe the image of every particle: tracks get them as columns latent_0, latent_1, ..."""
    from vid2dyn.encoders.patches.encoder import encode as read_off
    from vid2dyn.encoders.patches.recipe import PatchEncoder

    target = suffix(out or tracks.with_name(f"{tracks.stem}.encoded.parquet"), ".parquet", tracks, movie)
    recipe: Any = build(PatchEncoder, parse_assignments(set_ or []), "vid2dyn encode --set")
    video: Any = pipeline.open_recording(movie)
    with about(tracks):
        found = tracks_at(tracks)
        if encoder is not None and suffix(encoder, ".encoder").exists():
            recipe = pipeline.load(encoder)
        elif encoder is not None:
            recipe = recipe.train(video, found, seed, checkpoint=encoder.with_suffix(".checkpoint"), progress=progress)
            recipe.save(encoder)
            encoder.with_suffix(".checkpoint").unlink(missing_ok=True)
        encoded = read_off(video, found, recipe, seed, progress=progress)
    encoded.save(target)
    lasts = ", ".join(f"latent_{k} {p:.2f}" for k, p in enumerate(encoded.info["encoder"]["persistence"]))
    say(f"{encoded!r}\nlasts from picture to picture (1: all of it): {lasts}\nwritten to {target}")


@verb(calibration=Units)
def fit(tracks: Annotated[list[Path], typer.Argument(
            help="Tracks (.parquet, or a table .csv/.xml), or fields (.fields). Several files: one model of all.")],
        out: Annotated[Path | None, out_beside("TRACKS.vid2dyn")] = None,
        dynamics: Annotated[str | None, typer.Option(
            help="Kind of model, see vid2dyn list dynamics; by default "
            f"{DEFAULT_DYNAMICS['trajectories']}, for fields {DEFAULT_DYNAMICS['fields']}.")] = None,
        set_: Annotated[list[str] | None, Set] = None,
        seed: Annotated[int, Seed] = 0,
        checkpoint: Annotated[Path | None, typer.Option(
            help="File that keeps every finished round: after Ctrl-C or a kill the same command goes on from "
            "there.")] = None,
        stop: Annotated[int | None, typer.Option(help="Stop after this number of rounds.")] = None,
        *, calibration: dict[str, Any], progress: Progress) -> None:
    """Learn a model from tracks or fields: makes a model file (.vid2dyn).

    Without settings particles are free, unless neighbours are seen to push or pull each other: then the range of their
    forces is found. --set cutoff=3.0 learns forces between particles closer than 3 µm, --set cutoff=none none, --set
    trap=each a harmonic trap for every particle, --dynamics Metriplectic a fluid of particles with velocities. All
    kinds of models and their settings: vid2dyn list dynamics.

    Energies and frictions of Metriplectic are lists of terms. A single one is set as --set entropy=false --set
    energy.kind=PairPotential --set energy.cutoff=1.0 --set friction.kind=PairFriction --set friction.cutoff=1.0; write
    several into an experiment file, each as a table [[dynamics.energy]] or [[dynamics.friction]] with its kind and its
    settings, and start it with vid2dyn run. All terms: vid2dyn list energies, vid2dyn list frictions.

    Several files are recordings of one physics: vid2dyn fit a.parquet b.parquet --set cutoff=3.0. Calibration given
    here is that of all of them.
    """
    first = tracks[0]
    target = suffix(out or Path(f"{first.stem}.vid2dyn"), ".vid2dyn")
    lattice = first.suffix == ".fields"
    recipe = build_part("dynamics", dynamics or DEFAULT_DYNAMICS["fields" if lattice else "trajectories"], set_)
    read: list[Any] = [path if path.suffix == ".fields" else tracks_at(path, calibration) for path in tracks]
    if len(read) > 1:
        read = [one if isinstance(one, Path) else pipeline.of_file(one, path) for one, path in zip(read, tracks)]
    with about(first) if len(tracks) == 1 else nullcontext():
        model = pipeline.fit(read[0] if len(read) == 1 else read, recipe, seed=seed, progress=progress,
                             checkpoint=checkpoint, stop=stop)
    model.save(target)
    say(f"{model!r}\nwritten to {target}")
    for remark in model.remarks():
        say(remark)
    for warning in model.report.get("warnings", ()):
        say(f"note: {warning}")


@verb()
def simulate(simulator: Annotated[str, typer.Argument(help="Name of a simulator: see vid2dyn list simulators.")],
             out: Annotated[Path | None, out_beside("SIMULATOR.parquet or .fields")] = None,
             set_: Annotated[list[str] | None, Set] = None,
             movie: Annotated[Path | None, typer.Option(
                 help="Movie to draw of it (.tif, .avi, .mkv); a file with its truth is written beside it.")] = None,
             movie_set: Annotated[list[str] | None, typer.Option(
                 metavar="KEY=VALUE", help="A setting of the camera: see vid2dyn list renderer.")] = None,
             seed: Annotated[int, Seed] = 0, *, progress: Progress) -> None:
    """Simulate data whose truth is known: makes tracks (.parquet) or fields (.fields), and a movie if asked for."""
    source = build_part("simulators", simulator, set_)
    target = suffix(out or Path(f"{simulator}{source.suffix}"), source.suffix)
    if movie is not None:
        from vid2dyn.simulators import Renderer

        camera = build(Renderer, parse_assignments(movie_set or []), "--movie-set")
        say(repr(pipeline.render(source, camera, seed, to=movie, progress=progress)))
    data = pipeline.simulate(source, seed, progress)
    data.save(target)
    say(f"{data!r}\nwritten to {target}")


@verb()
def rollout(model: Annotated[Path, typer.Argument(help="Model (.vid2dyn).")],
            tracks: Annotated[Path, typer.Argument(help="Tracks (.parquet) that say where the particles start.")],
            out: Annotated[Path, Out] = Path("rollout.parquet"),
            steps: Annotated[int | None, typer.Option(
                help="Frames to simulate (default: as many as the tracks have).")] = None,
            seed: Annotated[int, Seed] = 1,
            engine: Annotated[str, typer.Option(
                help="Where it runs: vid2dyn, or lammps (many particles on many processes; needs vid2dyn[lammps]).")]
            = "vid2dyn",
            ranks: Annotated[int, typer.Option(help="Processes of LAMMPS.")] = 1,
            checkpoint: Annotated[Path | None, typer.Option(
                help="Folder in which a run of LAMMPS keeps its frames and states; it goes on there if it was stopped."
                )] = None, *, progress: Progress) -> None:
    """Simulate a model from the first frame of tracks on: makes tracks (.parquet)."""
    target = suffix(out, ".parquet", tracks, model)
    start = tracks_at(tracks)
    learned = model_at(model)
    frames = learned.default_steps(start) if steps is None else steps
    with about(tracks):
        future = learned.rollout(start, steps=frames, seed=seed, progress=progress,
                                 **learned.engine_options(engine, ranks, checkpoint))
    future.save(target)
    say(f"{future!r}\nwritten to {target}")


@verb()
def export(model: Annotated[Path, typer.Argument(help="Model (.vid2dyn).")],
           out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write; new or empty.")] = Path("exported"),
           to: Annotated[str, typer.Option(help="The program that is to run it: lammps.")] = "lammps",
           tracks: Annotated[Path | None, typer.Option(
               help="Tracks (.parquet) whose first frame is the start; without them a box at the density of the data "
               "is filled.")] = None,
           steps: Annotated[int, typer.Option(help="Frames to make.")] = 1000,
           replicate: Annotated[str | None, typer.Option(
               help="Copies of the start along each axis, e.g. 2,2,2 (y,x,z).")] = None,
           particles: Annotated[int | None, typer.Option(help="Particles of a start without tracks.")] = None,
           largest_error: Annotated[float, typer.Option(
               help="Largest relative error at which styles of LAMMPS may stand for the model.")] = 0.1,
           seed: Annotated[int, Seed] = 1, *, progress: Progress) -> None:
    """Write a model as a folder that LAMMPS runs on many processes: a README.txt in it says how."""
    if to != "lammps":
        raise ConfigError(f"--to {to}: a model can be exported to lammps.")
    try:
        times = None if replicate is None else [int(word) for word in replicate.split(",")]
    except ValueError:
        raise ConfigError(f"--replicate {replicate}: give whole numbers with commas, e.g. 2,2,2.") from None
    from vid2dyn.export import lammps

    folder = lammps(model_at(model), out, None if tracks is None else tracks_at(tracks), steps=steps, seed=seed,
                    replicate=times, particles=particles, largest_error=largest_error)
    say((folder / "README.txt").read_text(encoding="utf-8").rstrip() + f"\nwritten to {folder}")


@verb()
def compare(a: Annotated[Path, typer.Argument(help="Tracks: the data.")],
            b: Annotated[Path, typer.Argument(help="Tracks: the rollout, or other data.")], *,
            progress: Progress) -> None:
    """Compare radial distribution, mean squared displacement and velocity correlation of two sets of tracks."""
    one, other = tracks_at(a), tracks_at(b)
    with about(b), about(a):
        result = pipeline.compare(one, other)
    say(f"{result}\nWhere both agree within their errors, mean z² is about 1.")


@verb()
def assess(model: Annotated[Path, typer.Argument(help="Model (.vid2dyn).")],
           tracks: Annotated[list[Path], typer.Argument(help="Tracks (or .fields) that it was fitted to, or should "
                                                             "describe.")],
           seed: Annotated[int, Seed] = 0, *, progress: Progress) -> None:
    """Is a model allowed? Every assumption that it rests on, tested on the data; what fails comes first."""
    read: list[Any] = [pipeline.load(path) if path.suffix == ".fields" else tracks_at(path) for path in tracks]
    with about(tracks[0]) if len(tracks) == 1 else nullcontext():
        found = pipeline.assess(read[0] if len(read) == 1 else read, model_at(model), seed=seed)
    say(str(found))
    for warning in found.warnings:
        say(f"note: {warning}")


@verb(calibration=Units)
def report(tracks: Annotated[Path, typer.Argument(help="Tracks (.parquet, or a table .csv/.xml), or .fields.")],
           model: Annotated[Path | None, typer.Option(help="Model (.vid2dyn) fitted to them.")] = None,
           rollout: Annotated[Path | None, typer.Option(help="Rollout (.parquet) of the model.")] = None,
           video: Annotated[Path | None, typer.Option(help="The recording, for the picture.")] = None,
           out: Annotated[Path, Out] = Path("report.html"), *, calibration: dict[str, Any],
           progress: Progress) -> None:
    """Write one self-contained HTML page about tracks or fields and, if given, their model and its rollout."""
    def data_at(path: Path) -> Any:
        return pipeline.load(path) if path.suffix == ".fields" else tracks_at(path, calibration)

    page = pipeline.report(suffix(out, ".html"), tracks=data_at(tracks),
                           model=model_at(model) if model else None,
                           rollout=data_at(rollout) if rollout else None,
                           video=pipeline.open_recording(video) if video else None)  # type: ignore[arg-type]
    say(f"written to {page}")


@verb()
def run(toml: Annotated[Path, typer.Argument(help="Experiment file (.toml).")],
        workers: Annotated[int, typer.Option(help="Movies worked on at the same time, or processes for a single "
                                             "one.")] = 1,
        out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for the results "
                                                    "(default: runs/NAME beside the file).")] = None,
        *, progress: Progress) -> None:
    """Run the whole pipeline of an experiment file on one or many movies.

    A run that was stopped goes on where it was when the command is repeated.
    """
    from vid2dyn.core.precompile import compiling_ahead
    from vid2dyn.runs.movies import run as run_all

    with compiling_ahead() if workers == 1 else nullcontext():
        outcomes = run_all(toml, workers=workers, out=out, progress=progress)
    for outcome in outcomes:
        again = f" ({len(outcome.skipped)} stages were already done)" if outcome.skipped else ""
        if outcome.report:
            say(f"{outcome.folder.name}: {outcome.report}{again}")
    failed = [f"{outcome.folder.name}: {outcome.error}" for outcome in outcomes if outcome.error]
    if failed:
        raise Vid2DynError(f"{len(failed)} of {len(outcomes)} movies failed; the others are finished.\n"
                           + "\n".join(failed) if len(outcomes) > 1 else failed[0])


@verb(name="list")
def list_(family: Annotated[str | None, typer.Argument(
        help=f"One of {', '.join(families())}; all of them if left out.")] = None, *, progress: Progress) -> None:
    """Show the parts that there are, those of other packages included, and for one family their settings."""
    show_parts(family)


@verb()
def view(paths: Annotated[list[Path] | None, typer.Argument(
        help="Folder of a run, or recordings, tracks (.parquet), models (.vid2dyn), fields (.fields).")] = None, *,
        progress: Progress) -> None:
    """Open napari with the panel: look at a run, or go from video to model without code (needs vid2dyn[gui])."""
    viewer(list(paths or []))


def main() -> None:
    """Entry point of the command ``vid2dyn``."""
    app()
