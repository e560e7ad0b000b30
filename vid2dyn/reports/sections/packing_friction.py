"""Friction of packed particles: against the fluid and between neighbours, and what the recording shows of it."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from vid2dyn.core.describe import with_error
from vid2dyn.reports.figures import DATA, MODEL, MUTED, picture
from vid2dyn.reports.sections.base import Content, ReportSection, Section, figure


class PackingFriction(ReportSection):
    """Friction against distance, how much of waves of each length is left after a frame, and the numbers."""

    order = 32.5

    def applies(self, content: Content) -> bool:
        """Where friction of pairs was learned."""
        return content.model is not None and "friction" in content.model.report

    def build(self, content: Content) -> Section:
        """Two pictures and a table."""
        model, found = content.model, content.model.report["friction"]
        bands = np.array(found["bands"], dtype=float).reshape(-1, 3)

        def law(axes: Axes) -> None:
            r = np.linspace(0.7 * found["pair_at"], found["pair_cutoff"], 100)
            low, high = model.band("pair_friction", r)
            axes.fill_between(r, low, high, color=MODEL, alpha=0.25, linewidth=0)
            axes.plot(r, model.pair_friction(r), color=MODEL)
            axes.set(xlabel="r (µm)", ylabel="pair friction (kT s/µm²)")

        def left(axes: Axes) -> None:
            used = bands[:, 2] > 0
            for some, colour, name in ((used, DATA, "told of friction"), (~used, MUTED, "told nothing")):
                axes.plot(bands[some, 0], bands[some, 1], "o", color=colour, label=name)
            axes.set(xlabel="wavelength (µm)", ylabel="left after a frame", xscale="log")
            axes.legend()

        drawn = [figure(picture(law), "Friction of two particles along the line of their centres.")]
        if len(bands):
            drawn.append(figure(picture(left), "How much of the thermal motion of waves is left after one frame. What "
                                "relaxes within a frame tells nothing; the driven motion tells beside it."))
        seen = found["seen"]
        rows = [["friction of a particle against the fluid", with_error(found["node"], found["node_stderr"]),
                 with_error(found["from_tracks"][0], found["from_tracks_stderr"][0]), "yes" if seen[0] else "no"],
                [f"friction of two particles at {found['pair_at']:.3g} µm", with_error(found["pair"], found[
                    "pair_stderr"]), with_error(found["from_tracks"][1], found["from_tracks_stderr"][1]),
                 "yes" if seen[1] else "no"]]
        given = "was given, and fixes what tracks leave open" if found["diffusion_given"] else "follows"
        return Section("packing-friction", "Friction of the particles", "Learned from how the motion of many "
                       "particles relaxes, in kT s/µm². D of a particle in its cage, kT over the friction that "
                       f"it feels there, is {found['diffusion']:.3g} µm²/s; it {given}.", drawn,
                       {"head": ["quantity", "in the model", "from the tracks alone", "known from them"], "rows": rows},
                       [])
