"""A session: every verb that was called, with its arguments, and what came out; no Qt, no napari.

The panel calls verbs of `Session` only. So the session can say what was done: as a plain Python script (`script`) and
as an experiment file for ``vid2dyn run`` (`toml`). Both give the numbers of the session again, to the last digit,
because every verb is a pure function of its arguments and seed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import vid2dyn as vd
from vid2dyn_napari import wording

SAVED = (".parquet", ".vid2dyn", ".fields")
"""Suffixes of what vid2dyn's own `save` writes."""


@dataclass(frozen=True)
class Step:
    """One call: the verb and its arguments, as plain objects."""

    verb: str
    arguments: dict[str, Any] = field(default_factory=dict)


class Session:
    """What is open, and how it came to be.

    `video`, `tracks`, `fields`, `model`, `future` and `truth` are None until a verb makes them; a verb drops what
    depended on what it replaces. `steps` holds the last call of "open" (or "simulate"), "track", "fit" and "rollout",
    and all edits of the tracks ("edit").

    Examples
    --------
    >>> import vid2dyn as vd
    >>> session = Session()
    >>> gas = vd.simulators.Brownian(n_particles=20, frames=50, box_length=20.0)
    >>> _ = session.simulate(gas, seed=1)
    >>> _ = session.fit(vd.Brownian(), seed=0)
    >>> "tracks = vd.simulate(vd.simulators.Brownian(n_particles=20, frames=50," in session.script()
    True
    """

    def __init__(self) -> None:
        self.steps: dict[str, Step] = {}
        self.video: Any = None
        self.tracks: Any = None
        self.fields: Any = None
        self.model: Any = None
        self.future: Any = None
        self.truth: dict[str, Any] = {}
        self.unedited: Any = None
        self.version = 0

    def drop_running(self) -> None:
        """The result of a verb that still runs will be dropped."""
        self.version += 1

    # ---------------------------------------------------------------- verbs

    def open(self, path: str | os.PathLike[str], **calibration: Any) -> Any:
        """Open a recording, a table, or anything that `save` wrote; returns it."""
        path, version = Path(path), self.version
        known = {key: value for key, value in calibration.items() if value is not None}
        if path.suffix == ".vid2dyn":
            return self._learned(vd.load(path), Step("load", {"path": path}))
        if path.suffix in SAVED:
            found: Any = vd.load(path)
            found = found.with_units(**known) if known and hasattr(found, "with_units") else found
        else:
            found = vd.open(path, **known)
        self._unchanged(version)
        self.take(found, Step("open", {"path": path, "calibration": known}))
        beside = path.with_name(f"{path.stem}.truth.parquet")
        if isinstance(found, vd.Video) and beside.is_file():
            self.truth = dict(vd.load(beside).info.get("truth") or {})         # type: ignore[union-attr]
        return found

    def simulate(self, simulator: Any, seed: int = 0, progress: Any = None) -> Any:
        """Simulate `Trajectories` or `Fields`; returns them."""
        version = self.version
        data = vd.simulate(simulator, seed, progress)
        self._unchanged(version)
        self.take(data, Step("simulate", {"simulator": simulator, "seed": seed}))
        return data

    def take(self, data: Any, step: Step) -> None:
        """Start anew with `data`: a Video, Trajectories or Fields, and the step that made it."""
        self.drop_running()
        self.video = self.tracks = self.fields = None
        self.truth = {}
        self.steps = {"open": step, **self._drop_learned()}
        if isinstance(data, vd.Video):
            self.video = data
            return
        if isinstance(data, vd.Fields):
            self.fields = data
        else:
            self.tracks = data
        self.truth = dict(data.info.get("truth") or {})

    def track(self, settings: Any, progress: Any = None) -> Any:
        """Find and link; when cancelled, the frames that are done are kept, with the settings that repeat them."""
        video = self._need("video", "Open a recording first: there is nothing to track.")
        version = self.version
        tracks = vd.track(video, settings, progress=progress, keep_partial=True)
        self._unchanged(version)
        if not len(tracks):
            raise vd.DataError(wording.nothing_left(settings))
        used = vd.core.config.build(vd.tracking.Track, tracks.info["parameters"], "Track")
        self.steps = {"open": self.steps["open"], "track": Step("track", {"settings": used}), **self._drop_learned()}
        self.tracks = tracks
        return tracks

    def edit(self, edit: dict[str, Any]) -> Any:
        """Correct the tracks by hand (`vd.curate`); what was learned from them is dropped."""
        tracks = self._need("tracks", "Track the particles or open tracks first: there is nothing to edit.")
        if not self.edits:
            self.unedited = tracks
        return self._edited(vd.curate(tracks, edit), [*self.edits, edit])

    def undo(self) -> Any:
        """The tracks before the last edit."""
        if not self.edits:
            raise vd.DataError("There is no edit to take back.")
        left = self.edits[:-1]
        return self._edited(vd.curate(self.unedited, left) if left else self.unedited, left)

    @property
    def edits(self) -> list[dict[str, Any]]:
        """What was edited by hand, oldest first."""
        return list(self.steps["edit"].arguments["edits"]) if "edit" in self.steps else []

    def _edited(self, tracks: Any, edits: list[dict[str, Any]]) -> Any:
        self.drop_running()
        kept = {name: step for name, step in self.steps.items() if name in ("open", "track")}
        about = {"edit": Step("edit", {"edits": edits})} if edits else {}
        self.steps = {**kept, **about, **self._drop_learned()}
        self.tracks = tracks
        return tracks

    def fit(self, recipe: Any, seed: int = 0, progress: Any = None, checkpoint: Any = None,
            stop: int | None = None) -> Any:
        """Learn a model of the tracks or fields; when cancelled, the best so far is kept, and `checkpoint` holds what
        is done, so that the same call goes on from there."""
        data, version = self.data, self.version
        model = vd.fit(data, recipe, seed=seed, progress=progress, checkpoint=checkpoint, stop=stop, keep_partial=True)
        self._unchanged(version)
        rounds = model.report.get("stopped_early", {}).get("rounds")
        arguments = {"recipe": recipe, "seed": seed} | ({} if rounds is None else {"stop": rounds})
        return self._learned(model, Step("fit", arguments))

    def rollout(self, steps: int | None = None, seed: int = 1, progress: Any = None, **options: Any) -> Any:
        """Run the model from the first frame on; as many frames as the data have if `steps` is None."""
        data, model = self.data, self._need("model", "Fit a model first, or open one: there is nothing to roll out.")
        of_fields = model.learned_from == "fields"
        if of_fields != isinstance(data, vd.Fields):
            raise vd.ModelError("The model is one of fields, and these are tracks of particles. Fit a model to them, "
                                "or open the fields that it was learned from." if of_fields else
                                "The model is one of particles, and these are fields. Fit a gradient flow to them, or "
                                "open the tracks that it was learned from.")
        version = self.version
        count = steps or (model.default_steps(data) if hasattr(data, "n_frames") else 100)
        future = model.rollout(data, steps=count, seed=seed, progress=progress, **options)
        self._unchanged(version)
        self.steps["rollout"] = Step("rollout", {"steps": count, "seed": seed, **options})
        self.future = future
        return future

    # ---------------------------------------------------------------- looking at it

    @property
    def data(self) -> Any:
        """What a model is learned from: `Fields` or `Trajectories`."""
        found = self.fields if self.fields is not None else self.tracks
        if found is None:
            todo = "track the particles of the recording" if self.video is not None else "open a recording"
            raise vd.DataError(f"There is nothing to learn from yet: {todo} first.")
        return found

    def ready(self, *names: str) -> bool:
        """Whether all of "video", "tracks", "fields", "data", "model", "future" are there."""
        return all((self.fields if self.fields is not None else self.tracks) is not None if name == "data"
                   else getattr(self, name) is not None for name in names)

    @property
    def name(self) -> str:
        """A short name for windows and files."""
        step = self.steps.get("open")
        if step is None:
            return "session"
        if "path" in step.arguments:
            return Path(step.arguments["path"]).stem
        return type(step.arguments["simulator"]).__name__ if "simulator" in step.arguments else "tracks"

    # ---------------------------------------------------------------- saying it again

    def script(self, out: str = "results") -> str:
        """The session as a plain Python script that writes its results to a folder; it needs vid2dyn alone."""
        return wording.script(self.steps, fields=self.fields is not None, out=out)

    def toml(self, folder: str | os.PathLike[str] | None = None) -> str:
        """The session as an experiment file for ``vid2dyn run``; paths relative to `folder` where they lie in it.

        Raises
        ------
        ConfigError
            Where an experiment file cannot say it: tables from elsewhere, a model from a file.
        """
        return wording.toml(self.steps, fields=self.fields is not None, folder=folder)

    # ---------------------------------------------------------------- within

    def _learned(self, model: Any, step: Step) -> Any:
        self.model, self.future = model, None
        self.steps.pop("rollout", None)
        self.steps["fit"] = step
        return model

    def _drop_learned(self) -> dict[str, Step]:
        """Drop what was learned from data that are replaced; a model from a file stays, and its step is returned."""
        self.future = None
        step = self.steps.get("fit")
        if step is not None and step.verb == "load":
            return {"fit": step}
        self.model = None
        return {}

    def _need(self, name: str, otherwise: str) -> Any:
        found = getattr(self, name)
        if found is None:
            raise vd.DataError(otherwise)
        return found

    def _unchanged(self, version: int) -> None:
        """Drop the result if what it was made from was replaced, or it is no longer wanted."""
        if version != self.version:
            raise vd.Cancelled

