"""Everything of one recording or simulation, stage by stage, in one folder; what is finished is not done again.

Particles::

    tracks.parquet  encoded.parquet (with [encode])  diffusion.json  model.vid2dyn  rollout.parquet  comparison.json

fields of a lattice::

    fields.fields  model.vid2dyn  rollout.fields

and of both ``report.html`` and ``manifest.json``. A fit that was stopped goes on from its last finished round.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vid2dyn import pipeline
from vid2dyn.core.config import recipe
from vid2dyn.core.errors import DataError, Vid2DynWarning
from vid2dyn.core.files import locked
from vid2dyn.core.progress import Progress, silent
from vid2dyn.runs.chunks import track_movie
from vid2dyn.runs.experiment import Experiment, Source
from vid2dyn.runs.stages import Stages
from vid2dyn.tracking.preparation import images_of

_OUTPUTS = ("tracks.parquet", "encoded.parquet", "diffusion.json", "model.vid2dyn", "rollout.parquet",
            "comparison.json", "report.html", "fields.fields", "rollout.fields")


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


def one_movie(experiment: Experiment, source: Source, folder: Path, progress: Progress = silent,
              workers: int = 1) -> Outcome:
    """All stages of one source, its particles found by `workers` processes; the first error is raised."""
    _refuse_foreign(folder)
    with locked(folder):
        stages = Stages(folder)
        run = _fields if source.of_fields else _particles
        page, numbers = run(experiment, source, stages, progress, workers)
    return Outcome(source.name, folder, page, skipped=tuple(stages.skipped), numbers=numbers)


def _refuse_foreign(folder: Path) -> None:
    """Refuse a folder that holds files of the names that a run writes, but no run."""
    if (folder / "manifest.json").exists() or not folder.is_dir():
        return
    for name in _OUTPUTS:
        if (folder / name).exists():
            raise DataError(f"{folder / name}: is there already and was not written by a run of vid2dyn, which would "
                            "overwrite it. Move it, or choose another output folder.")


def _unchanged(source: Source, before: dict[str, Any]) -> None:
    """Refuse what was made of a recording that changed meanwhile."""
    if source.path is not None and source.key() != before:
        raise DataError(f"{source.path}: changed while it was worked on; what was made of it is not kept. Run again "
                        "when it is complete.")


def _particles(experiment: Experiment, source: Source, stages: Stages, progress: Progress,
               workers: int) -> tuple[Path, dict[str, Any]]:
    key = source.key()

    def make_tracks(path: Path) -> None:
        _make_tracks(experiment, source, path, stages.folder / "tracks.parts", workers, progress)
        _unchanged(source, key)

    tracks = stages.make("tracks", "tracks.parquet", {
        "source": key, "track": experiment.track and recipe(experiment.track),
        **(images_of(experiment.track) if experiment.track else {})}, make_tracks)
    data, name = _Later(tracks), "tracks"
    diffusion = stages.make("diffusion", "diffusion.json", {"tracks": stages.hash_of("tracks")},
                            lambda path: _write_json(path, pipeline.diffusion(data()).to_dict()))
    if experiment.encode is not None:
        plain, name = data, "encoded"
        data = _Later(stages.make("encoded", "encoded.parquet", {
            "tracks": stages.hash_of("tracks"), "encode": experiment.encode.key(),
        }, lambda path: _encode(experiment, source, plain(), stages.folder, progress).save(path)))
    model = _fit(experiment, stages, name, data, progress)
    learned = _Later(model)
    future = stages.make("rollout", "rollout.parquet", {
        "tracks": stages.hash_of(name), "model": stages.hash_of("model"), "rollout": _rollout_key(experiment.rollout),
    }, lambda path: _roll(learned(), data(), experiment.rollout, progress).save(path))
    both = {"tracks": stages.hash_of(name), "rollout": stages.hash_of("rollout")}
    rolled = _Later(future)
    stages.make("comparison", "comparison.json", both,
                lambda path: _write_json(path, pipeline.compare(data(), rolled()).to_dict()))
    page = stages.make("report", "report.html", {**both, "model": stages.hash_of("model"), "truth": source.truth_key()},
                       lambda path: pipeline.report(
                           path, tracks=data(), model=learned(), rollout=rolled(), truth=_truth(source, data()),
                           video=_video(source), title=source.name))
    failed = [row["test"] for row in learned().report.get("assessment", ()) if row["failed"]]
    return page, _headline(json.loads(diffusion.read_text()), learned(), data().info.get("warnings", ())) | {
        "failed_assumptions": "; ".join(failed)}


def _rollout_key(settings: Any) -> dict[str, Any]:
    """What a rollout of particles depends on; the engine only where it was chosen, so that older runs stay valid."""
    return {key: value for key, value in asdict(settings).items()
            if key in ("steps", "seed") or value != getattr(type(settings)(), key)}


def _roll(model: Any, data: Any, settings: Any, progress: Progress) -> Any:
    return model.rollout(data, steps=settings.steps or model.default_steps(data), seed=settings.seed, progress=progress,
                         **model.engine_options(settings.engine, settings.ranks))


def _fields(experiment: Experiment, source: Source, stages: Stages, progress: Progress,
            workers: int) -> tuple[Path, dict[str, Any]]:
    fields = _Later(stages.make("fields", "fields.fields", {"source": source.key()},
                                lambda path: _make_fields(source, progress).save(path)))
    learned = _Later(_fit(experiment, stages, "fields", fields, progress))
    asked = asdict(experiment.rollout)
    future = _Later(stages.make("rollout", "rollout.fields", {
        "fields": stages.hash_of("fields"), "model": stages.hash_of("model"), "rollout": asked,
    }, lambda path: learned().rollout(fields(), progress=progress, **asked).save(path)))
    page = stages.make("report", "report.html", {name: stages.hash_of(name) for name in ("fields", "model", "rollout")},
                       lambda path: pipeline.report(path, tracks=fields(), model=learned(), rollout=future(),
                                                    truth=source.truth, title=source.name))
    said = learned().report.get("warnings", ())
    return page, {"warnings": len(said), "warnings_in_words": " | ".join(said)}


def _fit(experiment: Experiment, stages: Stages, name: str, data: Callable[[], Any], progress: Progress) -> Path:
    """The model; rounds of a fit that is stopped stay in a file beside it until it is done."""
    arguments = {key: value for key, value in asdict(experiment.fit).items() if value is not None}
    place = stages.folder / "model.checkpoint"
    path = stages.make("model", "model.vid2dyn", {
        "tracks": stages.hash_of(name), "dynamics": recipe(experiment.dynamics), "fit": arguments,
    }, lambda path: pipeline.fit(data(), experiment.dynamics, **arguments, checkpoint=place,
                                 progress=progress).save(path))
    for kept in stages.folder.glob(f"{place.name}*"):
        kept.unlink()
    return path


def _truth(source: Source, tracks: Any) -> dict[str, Any] | None:
    """What is known about the sample; the localisation error is that of the tracker if true positions are there."""
    if source.true_positions is None:
        return source.truth
    from vid2dyn.analysis.detection_score import score

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
    opened: Any = _opened(source)
    opened.units.require("frames_per_second", "micrometre_per_pixel", for_what=f"{source.path.name}: The fit")
    if experiment.track is None:
        opened.save(target)
    else:
        track_movie(source.path, target, experiment.track, workers=workers, parts=parts, progress=progress,
                    **source.calibration)


def _make_fields(source: Source, progress: Progress) -> Any:
    return pipeline.load(source.path) if source.path else pipeline.simulate(source.simulator, source.seed, progress)


def _encode(experiment: Experiment, source: Source, tracks: Any, folder: Path, progress: Progress) -> Any:
    """The tracks with structural variables; a stopped training goes on where it was."""
    from vid2dyn.encoders.patches.encoder import encode

    assert experiment.encode is not None
    place = folder / "encoder.checkpoint"
    found = encode(_video(source), tracks, experiment.encode.encoder(), experiment.encode.seed, checkpoint=place,
                   progress=progress)
    place.unlink(missing_ok=True)
    return found


def _video(source: Source) -> Any:
    """The recording, where there is one, for the picture in the report."""
    if source.path is None or source.path.suffix.lower() in (*pipeline.TABLES, ".parquet"):
        return None
    return _opened(source)


def _opened(source: Source) -> Any:
    """The recording or table; what its reader warns of is on the page."""
    assert source.path is not None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Vid2DynWarning)
        return pipeline.open_recording(source.path, **source.calibration)


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")


def _headline(diffusion: dict[str, Any], model: Any, of_tracks: Sequence[str]) -> dict[str, Any]:
    """Numbers of summary.csv: from displacements, from the model (where it has one D), and every warning in words."""
    names = ("D", "D_stderr", "localisation_error", "viscosity")
    said = list(dict.fromkeys([*of_tracks, *diffusion.get("warnings", ()), *model.report.get("warnings", ())]))
    learned = [number for number in model.numbers() if number.truth == "diffusion"]
    of_model = {} if len(learned) != 1 else {
        "model_D": learned[0].value, "model_D_stderr": (learned[0].high - learned[0].low) / (2 * 1.959964)}
    return {name: diffusion.get(name) for name in names} | of_model | {
        "warnings": len(said), "warnings_in_words": " | ".join(said)}
