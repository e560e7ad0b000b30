"""The whole pipeline on one or many movies: resumable, in parallel, the same bytes however it is cut.

One movie is one unit of work and one folder, ``out/<movie>`` (see `vid2dyn.runs.one`); ``out/summary.csv`` has one line
for each.

A worker opens its movie by path. What is finished is not done again (see `vid2dyn.runs.stages`), so a
run that was stopped, by Ctrl-C or a power cut, goes on where it was when the command is repeated.
"""

from __future__ import annotations

import csv
import logging
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vid2dyn.core.errors import ConfigError, Vid2DynError
from vid2dyn.core.files import atomic, check_writable, locked
from vid2dyn.core.progress import Progress, silent
from vid2dyn.core.showing import ProgressLike, as_progress, showing
from vid2dyn.core.workers import in_processes
from vid2dyn.runs.experiment import Experiment, Source, read
from vid2dyn.runs.one import Outcome, one_movie

SUMMARY = {
    "movie": "movie", "D": "D [µm²/s]", "D_stderr": "D_stderr [µm²/s]", "model_D": "model D [µm²/s]",
    "model_D_stderr": "model D_stderr [µm²/s]", "localisation_error": "localisation_error [µm]",
    "viscosity": "viscosity [Pa·s]", "warnings": "warnings", "warnings_in_words": "warnings in words",
    "failed_assumptions": "failed_assumptions", "error": "error"}
"""Columns of summary.csv: name of a number, and its heading with the unit."""


def run(toml: str | os.PathLike[str], workers: int = 1, out: str | os.PathLike[str] | None = None,
        progress: ProgressLike = None) -> list[Outcome]:
    """Run an experiment file: every movie from pixels to report page.

    Parameters
    ----------
    toml : path
        Settings; see `vid2dyn.runs.experiment`.
    workers : int
        Movies worked on at the same time, each in a process of its own; a single movie is divided among them.
    out : path, optional
        Output folder; default ``runs/<name of the toml>`` beside the toml.
    progress : bool or callable, optional
        True shows bars with the time left; a function is called with (done, total, what).

    Returns
    -------
    list of Outcome
        One for each movie, in the order of the file. A movie that fails does not stop the others.

    Raises
    ------
    ConfigError
        When the file is not a valid experiment; nothing is written then.
    """
    if not isinstance(toml, str | os.PathLike):
        raise ConfigError(f"vd.run takes the path of an experiment file, not {type(toml).__name__}: "
                          "vd.run(\"experiment.toml\").")
    toml = Path(toml)
    experiment = read(toml)
    if workers < 1:
        raise ConfigError(f"workers = {workers}: at least one process has to do the work.")
    folder = Path(out) if out is not None else toml.parent / "runs" / toml.stem
    with showing(progress) as progress:
        return run_experiment(experiment, folder, workers, progress)


def run_experiment(experiment: Experiment, out: Path, workers: int = 1,
                   progress: Progress = silent) -> list[Outcome]:
    """`run` for an experiment that is already read."""
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out}: is a file; the output goes to a folder, choose another name.")
    folders = [out / name for name in _folder_names(experiment.sources)]
    jobs = [(experiment, source, folder) for source, folder in zip(experiment.sources, folders)]
    with locked(out):
        check_writable(out / "summary.csv", *(source.path for source in experiment.sources))
        if workers == 1 or len(jobs) == 1:
            outcomes = [_guarded(*job, progress if len(jobs) == 1 else _named(job[2].name, progress), workers)
                        for job in jobs]
        else:
            outcomes = _in_parallel(jobs, min(workers, len(jobs)), progress)
        _write_summary(out / "summary.csv", outcomes)
    return outcomes


def _named(movie: str, progress: Progress) -> Progress:
    """`progress` that says which movie it is about."""
    return as_progress(lambda done, total, what: progress(done, total, f"{movie}: {what}"))


def _guarded(experiment: Experiment, source: Source, folder: Path, progress: Progress = silent,
             workers: int = 1) -> Outcome:
    """`one_movie`, with an error of vid2dyn turned into an outcome."""
    try:
        return one_movie(experiment, source, folder, progress, workers)
    except Vid2DynError as error:
        logging.getLogger("vid2dyn.runs").error("%s: %s", source.name, error)
        return Outcome(source.name, folder, None, error=str(error))


def _in_parallel(jobs: list[Any], workers: int, progress: Progress) -> list[Outcome]:
    """Every job in one of `workers` fresh processes; Ctrl-C or a cancelled progress stops them all."""
    outcomes: dict[int, Outcome] = {}
    for i, outcome in in_processes(_guarded, jobs, workers, [source.name for _, source, *_ in jobs]):
        outcomes[i] = outcome
        progress(len(outcomes), len(jobs), "movies")
    return [outcomes[i] for i in range(len(jobs))]


def _folder_names(sources: tuple[Source, ...]) -> Iterator[str]:
    """One folder name for each source, inside the output folder and no one else's, whatever the movies are called.

    Movies of the same name in different folders, or with other suffixes, get numbers.
    """
    wanted = [_within(source.name) for source in sources]
    many = Counter(name.casefold() for name in wanted)     # some disks do not tell a.tif from A.tif
    taken = {name for name, times in many.items() if times == 1}
    seen: Counter[str] = Counter()
    for name in wanted:
        key = name.casefold()
        if many[key] == 1:
            yield name
            continue
        while True:
            seen[key] += 1
            numbered = f"{name}_{seen[key]}"
            if numbered.casefold() not in taken:
                taken.add(numbered.casefold())
                yield numbered
                break


def _within(name: str) -> str:
    """`name` as that of a folder that stays where it is made.

    >>> _within("clip"), _within(".."), _within("a/b"), _within("CON ")
    ('clip', 'movie', 'a_b', 'CON')
    """
    plain = re.sub(r'[\x00-\x1f/\\\\:*?"<>|]', "_", name).strip(". ")
    return plain[:120] or "movie"


def _write_summary(path: Path, outcomes: list[Outcome]) -> None:
    with atomic(path) as scratch, open(scratch, "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(SUMMARY.values()))
        writer.writeheader()
        for outcome in outcomes:
            row = {"movie": outcome.folder.name, "error": outcome.error, **(outcome.numbers or {})}
            writer.writerow({SUMMARY[name]: _cell(value) for name, value in row.items()})


def _cell(value: Any) -> Any:
    """A text that a spreadsheet takes as text: a name is data, not a formula.

    >>> _cell("=1+1"), _cell("clip"), _cell(-0.5)
    ("'=1+1", 'clip', -0.5)
    """
    return f"'{value}" if isinstance(value, str) and value.lstrip()[:1] in "=+-@\t\r" and value.strip() else value
