"""A sheet that is driven at its edge: species, where it rearranged, and its stress against its strain."""

from __future__ import annotations

from functools import partial
from typing import Any

from matplotlib.axes import Axes

from vid2dyn.analysis import cycles, d2min, energy_of_cycles, moduli
from vid2dyn.analysis.drive_cycles import Cycles
from vid2dyn.core.errors import Vid2DynError
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.reports.drawing import stress_strain
from vid2dyn.reports.figures import DATA, MODEL, MUTED, picture
from vid2dyn.reports.sections.base import Content, ReportSection, Section, figure

_COLOURS = (DATA, "#e0a030", "#4c9f70", MODEL, "#7b5ea7", MUTED)


class DrivenSheet(ReportSection):
    """Species, D²min of half a cycle, stress-strain loop of the learned forces, and the energy of the rollout."""

    order = 33.0

    def applies(self, content: Content) -> bool:
        """Where tracks of a layer mark particles that are moved by hand, and a model learned the range of their
        forces."""
        if content.of_fields or content.data.dim != 2 or content.model is None:
            return False
        recipe = content.model.recipe
        return bool(recipe.get("packed")) and str(recipe.get("held")) in content.data.dataframe

    def build(self, content: Content) -> Section:
        """As many of the figures as the data allow; what they do not allow stands below."""
        tracks, model = content.data, content.model
        held, reach = str(model.recipe["held"]), float(model.recipe["cutoff"])
        doubts: list[str] = []
        drawn = [figure(picture(lambda axes: _species(axes, tracks, held), raster=True),
                        "The particles of the first frame; black ones are moved by hand.")]
        rows: list[list[str]] = []
        drive = _tried(doubts, lambda: cycles(tracks, held=held))
        if drive is not None:
            lag = max(1, round(0.5 / (drive.frequency * tracks.units.dt)))
            rows += [["frequency of the drive", f"{drive.frequency:.4g} /s"],
                     ["amplitude of the edge", f"{drive.amplitude:.4g} µm"], ["whole cycles", str(drive.count)]]
            drawn += _rearranged(doubts, tracks, reach, lag)
            drawn += _loops(doubts, content, drive, held, reach, rows)
        if content.rollout is not None and drive is not None:
            energy = _tried(doubts, lambda: energy_of_cycles(content.rollout, drive.frequency))
            if energy is not None:
                last = energy.dataframe.iloc[-1]
                rows += [["rollout: work of the last cycle", f"{last['work']:.4g} kT"],
                         ["heat given off in it", f"{last['heat']:.4g} kT"],
                         ["stored in it", f"{last['stored']:.4g} kT"]]
                doubts += list(energy.warnings)
        return Section("driven-sheet", "How the sheet answers its drive", "Where particles left the even deformation "
                       "of their neighbours, and what the learned forces carry.", drawn,
                       {"head": ["quantity", "value"], "rows": rows} if rows else None, doubts)


def _tried(doubts: list[str], make: Any) -> Any:
    """What `make` gives, or None and its error among the doubts."""
    try:
        return make()
    except Vid2DynError as error:
        doubts.append(str(error))
        return None


def _species(axes: Axes, tracks: Trajectories, held: str) -> None:
    table, um = tracks.dataframe[tracks.frame == tracks.frame.min()], tracks.units.um
    names = table["species"].astype(str) if "species" in table else table[held].map({True: "", False: "particles"})
    fixed = table[held].to_numpy(dtype=bool)
    for name, colour in zip(sorted(set(names[~fixed])), _COLOURS):
        some = (names == name).to_numpy() & ~fixed
        axes.scatter(table["x"][some] * um, table["y"][some] * um, s=9, color=colour, label=name)
    axes.scatter(table["x"][fixed] * um, table["y"][fixed] * um, s=9, color="black", label="held")
    axes.set(xlabel="x (µm)", ylabel="y (µm)", aspect="equal")
    axes.invert_yaxis()
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))


def _rearranged(doubts: list[str], tracks: Trajectories, reach: float, lag: int) -> list[dict[str, str]]:
    found = _tried(doubts, lambda: d2min(tracks, 0.7 * reach, lag, every=max(1, tracks.n_frames)))
    if found is None:
        return []
    floor = "" if not found.noise_floor else f" Noise alone makes {found.noise_floor:.2g} µm²."
    return [figure(picture(lambda axes: found.plot(axes), raster=True),
                   f"D²min over {lag} frames, half a cycle: high where particles rearranged.{floor}")]


def _loops(doubts: list[str], content: Content, drive: Cycles, held: str, reach: float,
           rows: list[list[str]]) -> list[dict[str, str]]:
    """Stress-strain loop of the data, and of the rollout, by the learned forces."""
    found = []
    for name, tracks, colour in (("data", content.data, DATA), ("rollout", content.rollout, MODEL)):
        if tracks is None:
            continue
        one = _tried(doubts, partial(moduli, tracks, content.model, reach, frequency=drive.frequency, held=held))
        if one is not None:
            found.append((name, one, colour))
            rows += [[f"G' of the {name}", f"{one.storage:.4g} ± {one.storage_stderr:.2g} kT/µm²"],
                     [f"G'' of the {name}", f"{one.loss:.4g} ± {one.loss_stderr:.2g} kT/µm²"]]
    if not found:
        return []

    def draw(axes: Axes) -> None:
        stress_strain(axes, found)
        axes.legend()

    return [figure(picture(draw), "Shear stress of the learned pair forces against strain. The slope is G', the area "
                   "of the loop π G'' γ².")]
