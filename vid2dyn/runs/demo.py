"""The demonstration: a small recording whose truth is known, from pixels to report page.

The recording lies in ``sample_data/`` at the top of the repository, and comes with the installed package: ``clip.tif``,
``demo.toml`` (an ordinary experiment file), ``truth.json`` (what it was rendered from) and ``clip.truth.parquet``
(where the particles were).
`demo` runs the experiment file as `vid2dyn.runs.movies` runs any other and puts what was learned beside the truth.
"""

from __future__ import annotations

import dataclasses
import json
import os
import site
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vid2dyn import pipeline
from vid2dyn.analysis.detection_score import score
from vid2dyn.core.errors import ConfigError, DataError
from vid2dyn.core.showing import ProgressLike, showing
from vid2dyn.reports.headline import estimate
from vid2dyn.reports.sections.pair_energy import true_potential
from vid2dyn.runs.experiment import read
from vid2dyn.runs.one import one_movie


def sample_data() -> Path:
    """The folder of the sample: of the repository, or where the installed package has it."""
    above = Path(__file__).resolve().parents[2]
    places = [above / "sample_data", *(Path(root) / "share" / "vid2dyn" / "sample_data" for root in
                                       (above, sys.prefix, site.getuserbase()))]
    return next((place for place in places if (place / "demo.toml").is_file()), places[0])


SAMPLE_DATA = sample_data()


@dataclass(frozen=True)
class Row:
    """One quantity: what was found, its 95 % band, and the truth, all in `unit`."""

    name: str
    value: float
    low: float
    high: float
    truth: float
    unit: str

    @property
    def covered(self) -> bool:
        """Whether the band contains the truth."""
        return self.low <= self.truth <= self.high

    def __str__(self) -> str:
        band = f"{self.low:.3g} to {self.high:.3g}"
        return (f"{self.name:<28}{self.value:>9.3g}   {band:<18}{self.truth:>9.3g}   {self.unit:<7}"
                f"{'' if self.covered else ' outside the band'}")


@dataclass(frozen=True)
class Demo:
    """What the demonstration found: `rows` beside the truth, `warnings`, and the page."""

    rows: tuple[Row, ...]
    warnings: tuple[str, ...]
    report: Path

    def __str__(self) -> str:
        head = f"{'':<28}{'found':>9}   {'95 % band':<18}{'truth':>9}"
        notes = [f"note: {warning}" for warning in self.warnings]
        return "\n".join([head, *map(str, self.rows), *notes, f"report page: {self.report}"])


def demo(out: str | os.PathLike[str] = "vid2dyn_demo", progress: ProgressLike = None) -> Demo:
    """Run the demonstration and compare with the truth.

    Parameters
    ----------
    out : path
        Folder for tracks, model, rollout and ``report.html``; made if absent, resumed if not empty.
    progress : bool or callable, optional
        True shows bars with the time left; a function is called with (done, total, what).

    Returns
    -------
    Demo
        Diffusion coefficient, localisation error and pair potential at five distances with 95 % bands,
        beside the truth; ``print`` it.

    Raises
    ------
    DataError
        When the sample recording is absent.
    """
    settings = SAMPLE_DATA / "demo.toml"
    if not settings.is_file() or not (SAMPLE_DATA / "truth.json").is_file():
        raise DataError(f"{SAMPLE_DATA}: the sample recording is not there. It comes with the package and the "
                        "repository: install vid2dyn again, or rebuild it with python scripts/make_sample_data.py in a "
                        "clone.")
    if Path(out).exists() and not Path(out).is_dir():
        raise ConfigError(f"{out}: is a file; the results go to a folder, choose another name.")
    truth = json.loads((SAMPLE_DATA / "truth.json").read_text())
    experiment = read(settings)
    positions = SAMPLE_DATA / "clip.truth.parquet"
    source = dataclasses.replace(experiment.sources[0], truth=truth, true_positions=positions)
    folder = Path(out)
    with showing(progress) as progress:
        outcome = one_movie(dataclasses.replace(experiment, sources=(source,)), source, folder, progress)
    tracks, model = pipeline.load(folder / "tracks.parquet"), pipeline.load(folder / "model.vid2dyn")
    assert outcome.report is not None
    warnings = (*tracks.info.get("warnings", ()), *model.report.get("warnings", ()))  # type: ignore[union-attr]
    truth["localisation_error"] = score(tracks, pipeline.load(positions)).rmse  # type: ignore[arg-type]
    return Demo(tuple(_rows(model, truth)), tuple(dict.fromkeys(warnings)), outcome.report)


def _rows(model: Any, truth: dict[str, Any]) -> list[Row]:
    value, _, low, high = estimate(model, "diffusion")
    rows = [Row("diffusion coefficient D", value, low, high, truth["diffusion"], "µm²/s")]
    value, _, low, high = estimate(model, "localisation_error")
    true = truth["localisation_error"]
    rows.append(Row("localisation error σ", 1e3 * value, 1e3 * low, 1e3 * high, 1e3 * true, "nm"))
    start, stop = model.support
    r = np.round(np.linspace(start, stop, 7)[1:-1], 2)
    potential = true_potential(truth, r)
    assert potential is not None
    low_high = model.band("pair_potential", r)
    for i, value in enumerate(model.pair_potential(r)):
        rows.append(Row(f"pair potential at {r[i]:.2f} µm", float(value), float(low_high[0][i]), float(low_high[1][i]),
                        float(potential[i]), "kT"))
    return rows
