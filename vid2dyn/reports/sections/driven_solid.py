"""What a driven solid resists with and where the energy goes: force of the edges, account of the rollout, members."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from matplotlib.axes import Axes

from vid2dyn.reports.figures import MODEL, MUTED, PAGE, TRUTH, picture
from vid2dyn.reports.sections.base import Content, ReportSection, Section, figure


class DrivenSolid(ReportSection):
    """Loop of the force on a held edge against its displacement, and what became of the work."""

    order: ClassVar[float] = 37.0

    def applies(self, content: Content) -> bool:
        """Where a solid was learned."""
        return content.model is not None and "members" in content.model.report

    def build(self, content: Content) -> Section:
        """Two pictures of the rollout, and a table of the energies that were compared."""
        report, about = content.model.report, {}
        if content.rollout is not None:
            about = content.rollout.info.get("rollout", {})
        figures = []
        if about.get("edge_force"):
            figures.append(figure(picture(lambda axes: _loop(axes, content, about)),
                                  "Force with which an edge is held against how far it went. The area of the loop is "
                                  "the work that became heat."))
            figures.append(figure(picture(lambda axes: _account(axes, content, about["energy"])),
                                  "What became of the work of the edges. Stored, moving and heat add up to it to "
                                  f"{about['imbalance']:.1g} of it, at every time step."))
        rows = [[", ".join(one["energy"]), _share(one["displacement_error"]), "yes" if one["adopted"] else "no"]
                for one in report["members"]]
        strain = np.array(report.get("reference", {}).get("strain", []), float)
        lead = ("A solid keeps the bonds of its reference frame; its edges follow their recorded path and the rest "
                "follows from springs and dashpots. Errors are of motion that was not learned from, over how far nodes "
                "move.")
        if strain.size:
            lead += f" Strain of the reference frame that would fit better: {100 * np.abs(strain).max():.2g} % at most."
        return Section("driven-solid", "Driven solid", lead, figures,
                       {"head": ["energy", "error of unseen displacements", "adopted"], "rows": rows}, [])


def _share(error: float) -> str:
    return f"{100 * error:.2g} %" if np.isfinite(error) else "it breaks loose"


def _edge(content: Content) -> int:
    """The edge that moves most."""
    return int(np.argmax([np.abs(_moved(content, k + 1)).max() for k in range(_edges(content))])) + 1


def _edges(content: Content) -> int:
    return len(content.rollout.info["rollout"]["edge_force"])


def _moved(content: Content, edge: int) -> np.ndarray:
    """(F + 1, dim) mean displacement of an edge [µm]."""
    made = content.rollout
    rows = made.dataframe["held"].to_numpy() == edge
    x = made.positions[rows].reshape(-1, made.n_frames, made.dim).mean(axis=0)
    return x - x[0]


def _loop(axes: Axes, content: Content, about: Mapping[str, Any]) -> None:
    edge = _edge(content)
    moved, force = _moved(content, edge), np.asarray(about["edge_force"][edge - 1])
    axis = int(np.argmax(np.ptp(moved, axis=0)))
    axes.plot(moved[:, axis], force[:, axis], color=MODEL, lw=PAGE.width, label="rollout of the model")
    stress = content.truth.get("boundary_stress")
    if stress is not None and edge == 2:
        true = np.asarray(stress, float)[:len(moved)]
        width = content.simulator.size if content.simulator is not None else 1.0
        axes.plot(moved[:len(true), axis], width * true[:, axis], color=TRUTH, lw=PAGE.truth_width, ls="--",
                  label="truth")
    axes.set(xlabel=f"displacement of edge {edge} along {'yxz'[axis]} (µm)", ylabel="force on it (energy/µm)")
    axes.legend()


def _account(axes: Axes, content: Content, energy: Mapping[str, Any]) -> None:
    t = np.arange(len(energy["work"])) * content.rollout.units.dt
    for name, colour, style in (("work", TRUTH, "-"), ("stored", MODEL, "-"), ("heat", MODEL, "--"),
                                ("kinetic", MUTED, "-")):
        axes.plot(t, np.asarray(energy[name], float), color=colour, ls=style, lw=PAGE.width, label=name)
    axes.set(xlabel="time (s)", ylabel="energy")
    axes.legend()
