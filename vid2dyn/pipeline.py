"""The verbs: what a user calls, each a thin line through the layers below.

This is the only file that knows the whole flow. Heavy libraries load inside the functions, so that
`import vid2dyn` and ``vid2dyn --help`` stay fast.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vid2dyn.core import config
from vid2dyn.core.errors import ConfigError, DataError, ModelError, Vid2DynError, Vid2DynWarning
from vid2dyn.core.files import TABLES, existing_file
from vid2dyn.core.memory import need_memory
from vid2dyn.core.registry import did_you_mean, part, parts, resolve
from vid2dyn.core.showing import ProgressLike, showing
from vid2dyn.core.signatures import accepts
from vid2dyn.data.units import Units

if TYPE_CHECKING:
    from vid2dyn.analysis import Comparison, Diffusion
    from vid2dyn.assessment.table import Assessment
    from vid2dyn.data.box import Box
    from vid2dyn.data.fields import Fields
    from vid2dyn.data.trajectories import Trajectories
    from vid2dyn.data.video import Video
    from vid2dyn.encoders.patches.trained import TrainedPatchEncoder
    from vid2dyn.model import Model
    from vid2dyn.reports.suggestion import Suggestion
    from vid2dyn.simulators.camera.rendered_video import RenderedVideo
    from vid2dyn.simulators.camera.stack_renderer import RenderedStacks
    from vid2dyn.tracking import Track

PathLike = str | os.PathLike[str]
_LOG = logging.getLogger("vid2dyn")
"""What is done and how long it takes, at level INFO; quiet until a program sets logging up."""
ARRAY = ("axes", "channel", "z", "name")
"""Keys of `Video.from_array` beside the calibration."""
UNITS, TRACK = "vid2dyn.data.units:Units", "vid2dyn.tracking.settings:Track"


@accepts(UNITS, parts_of="readers")
def open_recording(path: PathLike, *, box: Box | None = None, **calibration: Any) -> Video | Trajectories:
    """A recording, opened lazily; a table of tracks (CSV, TSV, text, TrackMate XML, LAMMPS dump) is read as
    `Trajectories`.

    Parameters
    ----------
    path : path
        Movie (AVI, MP4, MOV, MKV), TIFF, folder or pattern of images, .cine, .seq, .nd2, or a table. TIFF and ND2 with
        time and depth are recordings of stacks, which `vd.track` follows in three dimensions.
    box : Box, optional
        Of a table of tracks from a simulation whose positions are folded into a box: ``vd.Periodic((20.0, 20.0))``.
    **calibration
        Keys of `Units` (frames_per_second, micrometre_per_pixel, exposure, temperature, viscosity,
        particle_radius, micrometre_per_plane); they overrule what the file says. Readers may take more (see
        ``vid2dyn list readers``).

    Raises
    ------
    DataError
        When the file is absent, empty, damaged or of an unknown kind.
    UnitsError
        When a calibration is not a positive number.
    ConfigError
        For a box of a recording, or of a table that states its own.

    Examples
    --------
    >>> import tempfile
    >>> import vid2dyn as vd
    >>> path = Path(tempfile.mkdtemp()) / "film.tif"
    >>> camera = vd.simulators.Renderer(height=64, width=80)
    >>> _ = vd.render(vd.simulators.Brownian(n_particles=30, frames=5), camera, to=path)
    >>> video = vd.open(path, micrometre_per_pixel=0.2)
    >>> len(video), video[0].shape, video.units.micrometre_per_pixel
    (5, (64, 80), 0.2)
    """
    if _suffix(path) in TABLES:
        from vid2dyn.convert import read_table

        table = read_table(path, box, **calibration)
        _show(table.info.get("warnings", ()))
        return table
    from vid2dyn.readers import open_video

    if box is not None:
        raise ConfigError(f"{path}: box belongs to tables of tracks; a recording has none. Leave it out.")
    video = open_video(path, **calibration)
    _show(video.warnings)
    return video


def _suffix(path: Any) -> str:
    """The suffix of a path in lower case; `DataError` for what is no path."""
    if not isinstance(path, str | os.PathLike):
        raise DataError(f"{type(path).__name__} is not the path of a recording or table. "
                        "vd.Video.from_array takes "
                        "pixels in memory, vd.Trajectories.from_dataframe a DataFrame, vd.Trajectories.from_dense an "
                        "array of positions.")
    return Path(path).suffix.lower()


def _show(notes: Iterable[str]) -> None:
    """What a user should know, shown once; it is kept with the result as well."""
    for note in notes:
        _LOG.info("%s", note)
        warnings.warn(note, Vid2DynWarning, stacklevel=3)


def open_keys() -> list[str]:
    """Keywords of `vd.open` beside the path: calibration first, then the options of the readers."""
    options = {key for reader in parts("readers").values() for key in config.settings(reader)}
    return [*config.settings(Units), *sorted(options)]


@accepts(TRACK, UNITS, parts_of="readers")
def track(video: Video | PathLike | Any, settings: Track | None = None, *, progress: ProgressLike = None,
          keep_partial: bool = False, **options: Any) -> Trajectories:
    """Find and link the particles of a recording.

    Parameters
    ----------
    video : Video, path or array
        What `vd.open` returned, a path that it can open, or what `Video.from_array` takes: a numpy, dask, zarr or
        xarray array, a list of images.
    settings : Track, optional
        All settings of the tracker in one object; or give them one by one, as below.
    progress : bool or callable, optional
        True shows bars with the time left; a function is called with (done, total, what).
    keep_partial : bool
        When `progress` cancels, return the tracks of the frames that are done in place of raising `Cancelled`; their
        ``info["parameters"]`` are the settings that repeat them.
    **options
        Keys of `Track` (diameter=11, search_range=5, memory=3, ...); with a path also those of `vd.open`, with an array
        those of `Video.from_array` (frames_per_second=..., micrometre_per_pixel=..., axes="tyx").

    Raises
    ------
    ConfigError
        For an unknown or impossible setting.
    DataError
        When the recording cannot be read or has no particle in it.

    Examples
    --------
    >>> import vid2dyn as vd
    >>> particles = vd.simulators.Brownian(n_particles=30, frames=5, box_length=16.0)
    >>> film = vd.render(particles, vd.simulators.Renderer(height=100, width=100), seed=1)
    >>> tracks = vd.track(film, diameter=11, search_range=6)
    >>> tracks.n_frames, bool((tracks.dataframe["y_std"] > 0).all())
    (5, True)
    """
    from vid2dyn.data.video import Video
    from vid2dyn.tracking import track as run_tracker

    chosen, calibration = _split(settings, options, video)
    if not isinstance(video, Video):
        video = _opened(video, calibration, "vd.open (command line: fit, report) reads its tracks as they are.")
    begin = time.monotonic()
    with showing(progress) as progress:
        tracks = run_tracker(video, chosen, progress=progress, keep_partial=keep_partial)
    _LOG.info("%s: %d tracks in %d frames after %.1f s", video.path.name, tracks.n_particles, tracks.n_frames,
              time.monotonic() - begin)
    _show(note for note in tracks.info["warnings"] if note not in video.warnings)
    return tracks


@accepts(TRACK, UNITS, parts_of="readers")
def suggest(video: Video | PathLike | Any, settings: Track | None = None, *, progress: ProgressLike = None,
            **options: Any) -> Suggestion:
    """Settings proposed for a recording, with the pictures behind them.

    Parameters
    ----------
    video : Video, path or array
        What `vd.open` returned, a path that it can open, or what `Video.from_array` takes.
    settings : Track, optional
        What is known already; whatever differs from the defaults is kept. Or give it one by one, as below.
    progress : bool or callable, optional
        True shows bars with the time left; a function is called with (done, total, what).
    **options
        Keys of `Track` (diameter=11, invert=True, ...); with a path also those of `vd.open`.

    Returns
    -------
    Suggestion
        `.track` goes into ``vd.track(video, suggestion.track)``; `.figures` and `.save("page.html")` show why;
        `.against_range` says how D depends on the search range; `.warnings` in plain words.

    Raises
    ------
    DataError
        When nothing stands out of the noise, or the recording has a single frame.

    Examples
    --------
    >>> import vid2dyn as vd
    >>> particles = vd.simulators.Brownian(n_particles=30, frames=5, box_length=16.0)
    >>> film = vd.render(particles, vd.simulators.Renderer(height=100, width=100), seed=1)
    >>> vd.suggest(film).track.diameter % 2
    1
    """
    from vid2dyn.data.video import Video
    from vid2dyn.reports.suggestion import suggest as propose

    chosen, calibration = _split(settings, options, video)
    if not isinstance(video, Video):
        video = _opened(video, calibration, "there is nothing to track.")
    with showing(progress) as progress:
        return propose(video, chosen, progress)


def _opened(recording: Any, calibration: Mapping[str, Any], instead: str) -> Video:
    """The video of a path, or of what is in memory; `instead`: what to do with a table of tracks."""
    from vid2dyn.data.video import Video

    if not isinstance(recording, str | os.PathLike):
        return Video.from_array(recording, **calibration)
    opened = open_recording(recording, **calibration)
    if not isinstance(opened, Video):
        raise DataError(f"{recording}: holds a table of positions, not a recording; {instead}")
    return opened


def _split(given: Track | None, options: Mapping[str, Any], video: Any) -> tuple[Track, dict[str, Any]]:
    """Options of `track`, told apart: settings of the tracker, and calibration for `open` or for an array."""
    from vid2dyn.data.video import Video
    from vid2dyn.tracking import Track

    tracker = set(config.settings(Track))
    rest = {key: value for key, value in options.items() if key not in tracker}
    is_open, is_path = isinstance(video, Video), isinstance(video, str | os.PathLike)
    of_recording = [] if is_open else open_keys() if is_path else [*config.settings(Units), *ARRAY]
    known = [*config.settings(Track), *of_recording]
    for key in rest:
        if is_open and key in open_keys():
            raise ConfigError(f"vd.track: {key} belongs to the recording, which is open already; "
                              "give it to vd.open.")
        if key not in known:
            raise ConfigError(f"vd.track: unknown key {key!r}.{did_you_mean(key, known)} "
                              f"It takes: {', '.join(known)}.")
    chosen = {key: value for key, value in options.items() if key in tracker}
    if given is not None and chosen:
        raise ConfigError(f"vd.track: settings={given!r} and {', '.join(chosen)} were both given; "
                          "use one of them.")
    return given if given is not None else config.build(Track, chosen, "vd.track"), rest


@accepts("vid2dyn.analysis.diffusion_coefficient:diffusion", UNITS)
def diffusion(tracks: Trajectories | PathLike | Any, **options: Any) -> Diffusion:
    """Diffusion coefficient, localisation error and, where possible, viscosity, with standard errors.

    See `vid2dyn.analysis.diffusion` for the estimator.

    Parameters
    ----------
    tracks : Trajectories, path or DataFrame
        Linked particles with frame rate and length per pixel; with exposure, temperature and particle radius it says
        more.
    **options
        Of the estimator; with a DataFrame also the calibration, keys of `Units`.

    Examples
    --------
    >>> import vid2dyn as vd
    >>> tracks = vd.simulate(vd.simulators.Brownian(n_particles=50, frames=100, diffusion=0.5), seed=0)
    >>> found = vd.diffusion(tracks)
    >>> abs(found.D - 0.5) < 5 * found.D_stderr
    True
    """
    from vid2dyn.analysis import diffusion as estimate

    calibration = {key: options.pop(key) for key in list(options) if key in config.settings(Units)}
    tracks = _tracks(tracks, calibration)
    with _about(tracks):
        return estimate(tracks, **options)


def simulate(simulator: Any, seed: int = 0, progress: ProgressLike = None) -> Any:
    """Data whose truth is known: ``vd.simulate(vd.simulators.Brownian(n_particles=50), seed=1)``.

    Parameters
    ----------
    simulator : Simulator
        See ``vid2dyn list simulators``.
    seed : int
        The same seed gives the same numbers.
    progress : bool or callable, optional
        True shows bars with the time left; a function is called with (done, total, what).

    Returns
    -------
    Trajectories or Fields
        Of particles, of lattice processes; the truth is in ``.info["truth"]``.

    Examples
    --------
    >>> import vid2dyn as vd
    >>> tracks = vd.simulate(vd.simulators.Brownian(n_particles=10, frames=20, diffusion=0.5), seed=1)
    >>> tracks.n_particles, tracks.n_frames, tracks.info["truth"]["diffusion"]
    (10, 20, 0.5)
    """
    if not callable(getattr(simulator, "run", None)) or isinstance(simulator, type):
        raise ConfigError(f"vd.simulate takes a simulator, such as vd.simulators.Brownian(n_particles=50), not "
                          f"{_kind(simulator)}; vid2dyn list simulators names them.")
    particles, frames = (getattr(simulator, name, 1) for name in ("n_particles", "frames"))
    if isinstance(particles, int) and isinstance(frames, int):
        need_memory(16.0 * particles * frames, f"a simulation of {particles} particles in {frames} frames. Take fewer")
    with showing(progress) as progress:
        return simulator.run(seed=_seed(seed), progress=progress)


@accepts(UNITS)
def fit(data: Trajectories | Fields | PathLike | Sequence[Trajectories | Fields | PathLike], recipe: Any = None,
        seed: int = 0, progress: ProgressLike = None, *, checkpoint: PathLike | None = None, stop: int | None = None,
        keep_partial: bool = False, **calibration: Any) -> Any:
    """Learn the dynamics of data; `recipe` says of which kind.

    Parameters
    ----------
    data : Trajectories, Fields, path or DataFrame, or a list of them
        Several recordings share the physics. For `Brownian` each has its own noise, drift, field of view, frame rate
        and calibration, and one that does not belong is named in the warnings; ``model.report["recordings"]`` says what
        each says alone. For `GradientFlow` they have one lattice and the same windows. For `Metriplectic` the last one
        is not learned from, it judges.
    recipe : Brownian, GradientFlow, Metriplectic or another recipe, optional
        ``vd.Brownian(cutoff=3.0)`` learns the forces between particles closer than 3 µm, ``vd.Brownian(trap="each")``
        traps; ``vd.GradientFlow()`` mobility and free energy of fields; ``vd.Metriplectic(cutoff=0.2)`` a fluid of
        particles with velocities and hidden entropy. Default: ``vd.Brownian()`` for trajectories, free diffusion or,
        where they show, pair forces whose range is found; ``vd.GradientFlow()`` for fields.
    seed : int
        The same seed gives the same model.
    progress : bool or callable, optional
        True shows bars with the time left; a function is called with (done, total, what). An instance of a subclass of
        `Progress` also hears how the fit converges.
    checkpoint : path, optional
        File that holds every finished round; a fit that was stopped or killed goes on from it, to the same bytes.
    stop : int, optional
        Leave off after so many rounds: the model is usable, and says in its report that it was stopped early.
    keep_partial : bool
        When `progress` cancels, return the model of the rounds that are done, as `stop` does, in place of raising
        `Cancelled`; before the first round there is none.
    **calibration
        Of a DataFrame: keys of `Units`.

    Raises
    ------
    ModelError, DataError, UnitsError
        When the data cannot carry such a model, or lack a calibration.

    Examples
    --------
    >>> import vid2dyn as vd
    >>> tracks = vd.simulate(vd.simulators.Brownian(n_particles=30, frames=80), seed=1)
    >>> model = vd.fit(tracks, vd.Brownian())
    >>> low, high = model.band("diffusion")
    >>> bool(low < model.diffusion() < high)
    True
    """
    from vid2dyn.dynamics.recipes.base import DEFAULT_DYNAMICS
    from vid2dyn.fitting import fit as learn

    several = isinstance(data, list | tuple)
    _known_calibration(calibration)
    if recipe is not None and not dataclasses.is_dataclass(recipe):
        raise ConfigError(f"No estimator is known for {_kind(recipe)}; vd.fit takes a recipe such as "
                          "vd.Brownian(cutoff=3.0).")
    seed = _seed(seed)
    read = [_recording(one, calibration) for one in (data if several else [data])]     # type: ignore[union-attr]
    if several:
        read = [of_file(one, path) if isinstance(path, str | os.PathLike) else one
                for one, path in zip(read, data)]     # type: ignore[arg-type]
    if recipe is None:
        of_fields = bool(read) and hasattr(read[0], "n_cells")
        recipe = part("dynamics", DEFAULT_DYNAMICS["fields" if of_fields else "trajectories"])()
    about: AbstractContextManager[None] = nullcontext()
    if not several and hasattr(read[0], "units"):
        about = _about(read[0])                       # type: ignore[arg-type]
    data = read if several else read[0]               # type: ignore[assignment]
    begin = time.monotonic()
    with about, showing(progress) as progress:
        model = learn(data, recipe, seed=seed, progress=progress, checkpoint=checkpoint, stop=stop,
                      keep_partial=keep_partial)
    _LOG.info("%s fitted after %.1f s", type(recipe).__name__, time.monotonic() - begin)
    return model


def assess(tracks: Trajectories | Fields | PathLike | Sequence[Trajectories | Fields | PathLike], model: Model,
           seed: int = 0) -> Assessment:
    """Is this model allowed? Every assumption that it rests on, tested on the data, in one table.

    For `Brownian`, `vd.fit` does the same with the recordings it is given, but for the comparison with rollouts;
    ``model.report["assessment"]`` has the table.

    Parameters
    ----------
    tracks : Trajectories, Fields or path, or a list of them
        The recordings that the model was fitted to, in that order; or others that it should describe.
    model : Model
        Fitted with a recipe that knows tests of its assumptions: `Brownian`, `Metriplectic` (but for solids),
        `GradientFlow`.
    seed : int
        Of the recordings that the model makes to be compared with.

    Returns
    -------
    Assessment
        ``.dataframe`` (test, assumption, statistic, p, effect, unit, failed, advice), ``.warnings``. Where every
        assumption holds, the whole table has a failed test in one of 100 recordings at most.

    Raises
    ------
    ModelError
        For a model whose kind has no such tests.

    Examples
    --------
    >>> import vid2dyn as vd
    >>> tracks = vd.simulate(vd.simulators.Brownian(n_particles=30, frames=80), seed=1)
    >>> vd.assess(tracks, vd.fit(tracks, vd.Brownian())).warnings
    []
    """
    kind = getattr(model, "kind", "")
    recipe = part("dynamics", kind) if kind else None
    assessor = getattr(recipe, "assessor", "")
    if not assessor:
        raise ModelError(f"vd.assess knows no tests for {_kind(model) if not kind else f'a model of {kind}'}; it takes "
                         "a model of vd.Brownian, vd.Metriplectic or vd.GradientFlow.")
    of_fields = getattr(recipe, "learns_from", "") == "fields"

    def recording(one: Any) -> Any:
        found = _recording(one)
        if hasattr(found, "n_cells") != of_fields:
            raise DataError(f"a model of {kind} is tested on {'fields' if of_fields else 'tracks'}, not on "
                            f"{_kind(one)}.")
        return found

    read = [recording(one) for one in tracks] if isinstance(tracks, list | tuple) else recording(tracks)
    return resolve(assessor)(read, model, seed=_seed(seed))


@accepts("vid2dyn.analysis.comparison:compare")
def compare(a: Trajectories, b: Trajectories, **options: Any) -> Comparison:
    """RDF, MSD and VACF of two sets of tracks, each with error bars and relative RMSE.

    Parameters
    ----------
    a, b : Trajectories
        The reference, and what is judged. Both see the same camera: see `vid2dyn.analysis.compare`.
    **options
        Of the comparison.

    Examples
    --------
    >>> import vid2dyn as vd
    >>> tracks = vd.simulate(vd.simulators.Brownian(n_particles=30, frames=80), seed=1)
    >>> future = vd.fit(tracks, vd.Brownian()).rollout(tracks, steps=80)
    >>> vd.compare(tracks, future).msd.relative_rmse < 0.5
    True
    """
    from vid2dyn.analysis import compare as put_side_by_side

    return put_side_by_side(_tracks(a), _tracks(b), **options)


def load(path: PathLike) -> Trajectories | Model | Fields | TrainedPatchEncoder:
    """Read what `save` wrote: trajectories (.parquet), a model (.vid2dyn), fields (.fields), an encoder (.encoder).

    Examples
    --------
    >>> import tempfile
    >>> import vid2dyn as vd
    >>> path = vd.simulate(vd.simulators.Brownian(n_particles=3, frames=4)).save(Path(tempfile.mkdtemp()) / "a.parquet")
    >>> vd.load(path).n_particles
    3
    """
    path = existing_file(path)
    if path.suffix == ".parquet":
        from vid2dyn.data.trajectories import Trajectories

        return Trajectories.load(path)
    if path.suffix == ".vid2dyn":
        from vid2dyn.model import Model

        return Model.load(path)
    if path.suffix == ".fields":
        from vid2dyn.data.fields import Fields

        return Fields.load(path)
    if path.suffix == ".encoder":
        from vid2dyn.encoders.patches.trained import TrainedPatchEncoder

        return TrainedPatchEncoder.load(path)
    raise DataError(f"{path}: vd.load reads .parquet (trajectories), .vid2dyn (models), .fields and .encoder; "
                    "vd.open reads recordings.")


def report(out: PathLike = "report.html", *, tracks: Trajectories | Fields, model: Model | None = None,
           rollout: Trajectories | Fields | None = None, video: Video | None = None,
           comparison: Comparison | None = None, truth: Mapping[str, Any] | None = None,
           title: str | None = None) -> Path:
    """One self-contained HTML page: headline numbers, warnings, detections, MSD, potential, calibration.

    Parameters
    ----------
    out : path
        The page to write (whole or not at all).
    tracks : Trajectories or Fields
        Data; everything else is optional, and its section is left out where it is absent. Of fields: their model and
        its rollout.
    model, rollout, comparison
        Results of `vd.fit`, `Model.rollout` and `vd.compare` (made here from tracks and rollout if absent).
    video : Video
        The recording, to draw detections on its first frame.
    truth : mapping
        What is known about the sample; default ``tracks.info["truth"]``.

    Examples
    --------
    >>> import tempfile
    >>> import vid2dyn as vd
    >>> tracks = vd.simulate(vd.simulators.Brownian(n_particles=20, frames=30), seed=1)
    >>> page = vd.report(Path(tempfile.mkdtemp()) / "report.html", tracks=tracks)
    >>> page.name
    'report.html'
    """
    from vid2dyn.core.files import check_writable
    from vid2dyn.reports.page import write_page

    tracks = _recording(tracks)
    rollout = None if rollout is None else _recording(rollout)
    if model is not None and not hasattr(model, "rollout") and not hasattr(tracks, "n_cells"):
        raise DataError(f"vd.report: model = {_kind(model)}; give what vd.fit or vd.load returned.")
    check_writable(out)
    return write_page(out, tracks, model=model, rollout=rollout, video=video, comparison=comparison,
                      truth=truth, title=title)


@accepts("vid2dyn.simulators.camera.rendered_video:render")
def render(source: Any, renderer: Any = None, seed: int = 0, *, progress: ProgressLike = None,
           **options: Any) -> RenderedVideo | RenderedStacks:
    """A simulation as a video whose truth is known; see `vid2dyn.simulators.render`.

    Parameters
    ----------
    source : Simulator
        For example ``vd.simulators.Brownian(n_particles=30, exposure=0.01)``.
    renderer : Renderer or StackRenderer, optional
        Microscope and camera; a `StackRenderer` takes z-stacks of a simulation in three dimensions.
    seed : int
        Of the simulation and of the picture.
    progress : bool or callable, optional
        True shows bars with the time left; a function is called with (done, total, what).
    **options
        ``to="clip.tif"`` also writes the movie with its truth beside it.

    Examples
    --------
    >>> import vid2dyn as vd
    >>> film = vd.render(vd.simulators.Brownian(n_particles=30, frames=3), vd.simulators.Renderer(height=64, width=80))
    >>> len(film), film[2].shape, film.truth.n_frames
    (3, (64, 80), 3)
    """
    from vid2dyn.simulators import render as draw

    with showing(progress) as progress:
        return draw(source, renderer, seed, progress=progress, **options)


@contextmanager
def _about(tracks: Trajectories) -> Iterator[None]:
    """Errors name the recording that the tracks came from, where it is known."""
    try:
        yield
    except Vid2DynError as error:
        source = tracks.info.get("source")
        if not source or Path(str(source)).name in str(error):
            raise
        raise type(error)(f"{source}: {error}") from error


def of_file(recording: Trajectories | Fields, path: PathLike) -> Any:
    """The recording with the name of its file in ``info["recording"]``, by which a fit of several tells them apart."""
    return dataclasses.replace(recording, info={**recording.info, "recording": Path(path).name})


def _recording(data: Any, calibration: Mapping[str, Any] | None = None) -> Trajectories | Fields:
    """Trajectories or fields, read if a path was given; calibration: of a DataFrame."""
    from vid2dyn.data.fields import Fields

    of_fields = isinstance(data, str | os.PathLike) and Path(data).suffix == ".fields"
    if calibration and (isinstance(data, Fields) or of_fields):
        raise ConfigError(f"{', '.join(calibration)}: fields have their units already. Only a DataFrame takes them "
                          "here.")
    if isinstance(data, Fields):
        return data
    if of_fields:
        return Fields.load(data)
    return _tracks(data, calibration)


def _known_calibration(calibration: Mapping[str, Any]) -> None:
    """Raise `ConfigError` for a key that is no calibration."""
    known = ["progress", "checkpoint", "stop", "keep_partial", *config.settings(Units)]
    for key in calibration:
        if key not in config.settings(Units):
            raise ConfigError(f"vd.fit: unknown key {key!r}.{did_you_mean(key, known)}")


def _tracks(tracks: Any, calibration: Mapping[str, Any] | None = None) -> Trajectories:
    """Trajectories, read if a path was given, made of a DataFrame with its calibration."""
    from vid2dyn.data.trajectories import Trajectories

    if calibration and hasattr(tracks, "iloc"):
        return Trajectories.from_dataframe(tracks, units=Units(**calibration))
    if calibration:
        raise ConfigError(f"{', '.join(calibration)}: tracks and files have their calibration already; change it with "
                          "tracks.with_units(...). Only a DataFrame takes it here.")
    if isinstance(tracks, Trajectories):
        return tracks
    if not isinstance(tracks, str | os.PathLike):
        raise DataError(f"{_kind(tracks)} is not tracks. Make them with vd.Trajectories.from_dataframe(df, "
                        "frames_per_second=..., micrometre_per_pixel=...), of a dense array with "
                        "vd.Trajectories.from_dense(positions, units), or give the path of a file.")
    suffix = Path(tracks).suffix.lower()
    found = open_recording(tracks) if suffix in TABLES else load(tracks)
    if not isinstance(found, Trajectories):
        raise DataError(f"{tracks}: not trajectories but a {type(found).__name__}; "
                        "give a .parquet file of tracks.")
    return found


def _kind(value: Any) -> str:
    """What a value is, for errors: "a list", "the text 'Brownian'"."""
    return f"the text {value!r}" if isinstance(value, str) else f"a {type(value).__name__}"


def _seed(value: Any) -> int:
    """A seed as the generators of numpy take it."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 0:
        raise ConfigError(f"seed = {value!r}: give a whole number of at least 0.")
    return int(value)
