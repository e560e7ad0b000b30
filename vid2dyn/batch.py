"""The whole pipeline on one or many movies: resumable, in parallel, the same bytes however it is cut.

One movie is one unit of work and one folder::

    out/<movie>/tracks.parquet  diffusion.json  model.vid2dyn  rollout.parquet  comparison.json
                report.html  manifest.json
    out/summary.csv             one line per movie

A worker opens its movie by path. What is finished is not done again (see `vid2dyn.stages`), so a
run that was stopped, by Ctrl-C or a power cut, goes on where it was when the command is repeated.
"""

from __future__ import annotations

import csv
import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vid2dyn import pipeline
from vid2dyn.chunks import track_movie
from vid2dyn.config import recipe
from vid2dyn.errors import ConfigError, Vid2DynError
from vid2dyn.experiment import Experiment, Source, read
from vid2dyn.files import atomic
from vid2dyn.progress import Progress, silent
from vid2dyn.stages import Stages
from vid2dyn.workers import in_processes


@dataclass(frozen=True)
class Outcome:
    """What became of one movie.

    Parameters
    ----------
    name : str
        Its folder in the output.
    folder : Path
        Where everything about it is.
    report : Path or None
        The page, None where a stage failed.
    error : str
        Why it failed, in the words of the error; empty if it did not.
    skipped : tuple of str
        Stages that an earlier run had already finished.
    numbers : dict
        Headline numbers: n_tracks, D, D_stderr [µm²/s], localisation_error [µm], ...
    """

    name: str
    folder: Path
    report: Path | None
    error: str = ""
    skipped: tuple[str, ...] = ()
    numbers: dict[str, Any] | None = None


def run(toml: str | os.PathLike[str], workers: int = 1, out: str | os.PathLike[str] | None = None,
        progress: Progress = silent) -> list[Outcome]:
    """Run an experiment file: every movie from pixels to report page.

    Parameters
    ----------
    toml : path
        Settings; see `vid2dyn.experiment`.
    workers : int
        Movies worked on at the same time, each in a process of its own; a single movie is divided among them.
    out : path, optional
        Output folder; default ``runs/<name of the toml>`` beside the toml.

    Returns
    -------
    list of Outcome
        One for each movie, in the order of the file. A movie that fails does not stop the others.

    Raises
    ------
    ConfigError
        When the file is not a valid experiment; nothing is written then.
    """
    toml = Path(toml)
    experiment = read(toml)
    if workers < 1:
        raise ConfigError(f"workers = {workers}: at least one process has to do the work.")
    folder = Path(out) if out is not None else toml.parent / "runs" / toml.stem
    return run_experiment(experiment, folder, workers, progress)


def run_experiment(experiment: Experiment, out: Path, workers: int = 1,
                   progress: Progress = silent) -> list[Outcome]:
    """`run` for an experiment that is already read."""
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out}: is a file; the output goes to a folder, choose another name.")
    folders = [out / name for name in _folder_names(experiment.sources)]
    jobs = [(experiment, source, folder) for source, folder in zip(experiment.sources, folders)]
    if workers == 1 or len(jobs) == 1:
        outcomes = [_guarded(*job, progress if len(jobs) == 1 else _named(job[2].name, progress), workers)
                    for job in jobs]
    else:
        outcomes = _in_parallel(jobs, min(workers, len(jobs)), progress)
    _write_summary(out / "summary.csv", outcomes)
    return outcomes


def one_movie(experiment: Experiment, source: Source, folder: Path, progress: Progress = silent,
              workers: int = 1) -> Outcome:
    """All stages of one movie, its particles found by `workers` processes; the first error is raised."""
    stages = Stages(folder)
    tracks = stages.make("tracks", "tracks.parquet", {
        "source": source.key(), "track": experiment.track and recipe(experiment.track),
    }, lambda path: _make_tracks(experiment, source, path, folder / "tracks.parts", workers, progress))
    data = _Later(tracks)
    fit = asdict(experiment.fit)
    diffusion = stages.make("diffusion", "diffusion.json", {"tracks": stages.hash_of("tracks")},
                            lambda path: _write_json(path, pipeline.diffusion(data()).to_dict()))
    model = stages.make("model", "model.vid2dyn", {
        "tracks": stages.hash_of("tracks"), "dynamics": recipe(experiment.dynamics), "fit": fit,
    }, lambda path: pipeline.fit(data(), experiment.dynamics, **fit, progress=progress).save(path))
    learned = _Later(model)
    future = stages.make("rollout", "rollout.parquet", {
        "tracks": stages.hash_of("tracks"), "model": stages.hash_of("model"),
        "rollout": asdict(experiment.rollout),
    }, lambda path: _make_rollout(experiment, data(), learned(), progress).save(path))
    both = {"tracks": stages.hash_of("tracks"), "rollout": stages.hash_of("rollout")}
    rolled = _Later(future)
    stages.make("comparison", "comparison.json", both,
                lambda path: _write_json(path, pipeline.compare(data(), rolled()).to_dict()))
    page = stages.make("report", "report.html", {**both, "model": stages.hash_of("model"), "truth": source.truth_key()},
                       lambda path: pipeline.report(
                           path, tracks=data(), model=learned(), rollout=rolled(), truth=_truth(source, data()),
                           video=_video(source), title=source.name))
    numbers = _headline(json.loads(diffusion.read_text()))
    return Outcome(source.name, folder, page, skipped=tuple(stages.skipped), numbers=numbers)


def _truth(source: Source, tracks: Any) -> dict[str, Any] | None:
    """What is known about the sample; the localisation error is that of the tracker if true positions are there."""
    if source.true_positions is None:
        return source.truth
    from vid2dyn.score import score

    found = score(tracks, pipeline.load(source.true_positions))  # type: ignore[arg-type]
    return {**(source.truth or {}), "localisation_error": found.rmse}


class _Later:
    """A file of vid2dyn, loaded when it is first needed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.value: Any = None

    def __call__(self) -> Any:
        if self.value is None:
            self.value = pipeline.load(self.path)
        return self.value


def _make_tracks(experiment: Experiment, source: Source, target: Path, parts: Path, workers: int,
                 progress: Progress) -> None:
    if source.path is None:
        pipeline.simulate(source.simulator, source.seed, progress).save(target)
        return
    if source.path.suffix == ".parquet":
        loaded: Any = pipeline.load(source.path)
        loaded.with_units(**source.calibration).save(target)
        return
    opened: Any = pipeline.open(source.path, **source.calibration)
    opened.units.require("frames_per_second", "micrometre_per_pixel", for_what=f"{source.path.name}: The fit")
    if experiment.track is None:
        opened.save(target)
    else:
        track_movie(source.path, target, experiment.track, workers=workers, parts=parts, progress=progress,
                    **source.calibration)


def _make_rollout(experiment: Experiment, tracks: Any, model: Any, progress: Progress) -> Any:
    steps = experiment.rollout.steps or tracks.n_frames
    return model.rollout(tracks, steps=steps, seed=experiment.rollout.seed, progress=progress)


def _video(source: Source) -> Any:
    """The recording, where there is one, for the picture in the report."""
    if source.path is None or source.path.suffix.lower() in (*pipeline.TABLES, ".parquet"):
        return None
    return pipeline.open(source.path, **source.calibration)


def _named(movie: str, progress: Progress) -> Progress:
    """`progress` that says which movie it is about."""
    return lambda done, total, what: progress(done, total, f"{movie}: {what}")


def _guarded(experiment: Experiment, source: Source, folder: Path, progress: Progress = silent,
             workers: int = 1) -> Outcome:
    """`one_movie`, with an error of vid2dyn turned into an outcome."""
    try:
        return one_movie(experiment, source, folder, progress, workers)
    except Vid2DynError as error:
        return Outcome(source.name, folder, None, error=str(error))


def _in_parallel(jobs: list[Any], workers: int, progress: Progress) -> list[Outcome]:
    """Every job in one of `workers` fresh processes; Ctrl-C or a cancelled progress stops them all."""
    outcomes: dict[int, Outcome] = {}
    for i, outcome in in_processes(_guarded, jobs, workers, [source.name for _, source, *_ in jobs]):
        outcomes[i] = outcome
        progress(len(outcomes), len(jobs), "movies")
    return [outcomes[i] for i in range(len(jobs))]


def _folder_names(sources: tuple[Source, ...]) -> Iterator[str]:
    """One folder name for each source; movies of the same name in different folders get numbers."""
    many = Counter(source.name for source in sources)
    seen: Counter[str] = Counter()
    for source in sources:
        seen[source.name] += 1
        yield source.name if many[source.name] == 1 else f"{source.name}_{seen[source.name]}"


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")


def _headline(diffusion: dict[str, Any]) -> dict[str, Any]:
    names = ("D", "D_stderr", "localisation_error", "viscosity")
    return {name: diffusion.get(name) for name in names} | {"warnings": len(diffusion.get("warnings", ()))}


def _write_summary(path: Path, outcomes: list[Outcome]) -> None:
    columns = ["movie", "D", "D_stderr", "localisation_error", "viscosity", "warnings", "error"]
    with atomic(path) as scratch, open(scratch, "w", newline="") as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        for outcome in outcomes:
            writer.writerow({"movie": outcome.folder.name, "error": outcome.error, **(outcome.numbers or {})})
