"""How the particles interact: the pair potential with its band, beside the one that was put in where it is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from vid2dyn.core.config import build
from vid2dyn.core.registry import part
from vid2dyn.reports import figures
from vid2dyn.reports.drawing import LearnedCurve
from vid2dyn.reports.sections.base import Content, ReportSection, Section, figure


def true_potential(known: Mapping[str, Any], r: np.ndarray) -> np.ndarray | None:
    """Pair potential that was put in [kT] at r [µm], where the truth is known; zeros for none at all."""
    if "pair" not in known:
        return None
    if known["pair"] is None:
        return np.zeros_like(r)
    table = known["pair"]
    potential: Any = build(part("potentials", table["kind"]), table, "truth")
    return potential.energy(r)


class PairEnergy(ReportSection):
    """Pair potential with band, and a table at a few distances."""

    order = 30.0

    def applies(self, content: Content) -> bool:
        """Where a model of particles learned a pair potential and saw pairs."""
        model = content.model
        return (model is not None and hasattr(model, "pair_potential") and getattr(model, "support", None) is not None
                and model.recipe.get("cutoff") is not None and not getattr(model, "species", ()))

    def build(self, content: Content) -> Section:
        """One picture and seven rows."""
        model, known = content.model, content.truth
        low, high = model.support
        r = np.linspace(low - 0.05 * (high - low), high + 0.1 * (high - low), 240)
        truth = true_potential(known, r)
        curve = LearnedCurve(r, model.pair_potential(r), model.band("pair_potential", r), model.support, truth)
        plot = figures.potential(curve)
        at = np.linspace(low, high, 7)
        value, band, true = model.pair_potential(at), model.band("pair_potential", at), true_potential(known, at)
        rows = [[f"{at[i]:z.2f}", f"{value[i]:z.2f}", f"{band[0][i]:z.2f} to {band[1][i]:z.2f}",
                 *([f"{true[i]:z.2f}"] if true is not None else [])] for i in range(at.size)]
        head = ["r (µm)", "U (kT)", "95 % band", *(["truth"] if true is not None else [])]
        caption = "Pair potential. Trust it where it is shaded: at least 100 pairs were seen at these distances."
        return Section("interactions", "How the particles interact", "The energy of two particles at distance r, "
                       "learned without assuming a formula.", [figure(plot, caption)], {"head": head, "rows": rows})
