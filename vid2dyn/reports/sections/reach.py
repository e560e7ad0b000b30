"""Whether the particles interact and how far the forces reach, where the range was to be found."""

from __future__ import annotations

from vid2dyn.core.describe import with_error
from vid2dyn.reports.sections.base import Content, ReportSection, Section


class Reach(ReportSection):
    """Why there is no pair force, or one row for each range that was tried."""

    order = 51.0

    def applies(self, content: Content) -> bool:
        """Where the model says what each range adds, or why there is none."""
        return content.model is not None and "range" in content.model.report

    def build(self, content: Content) -> Section:
        """The sentence, or the table of candidates, or both."""
        found = content.model.report["range"]
        if found["cutoff"] is None:
            return Section("range", "Do the particles interact?", found["says"])
        rows = [[f"{one['cutoff']:.3g}", with_error(one["adds_per_step"], one["adds_per_step_stderr"]),
                 with_error(one["below_best_per_step"], one["below_best_per_step_stderr"]),
                 f"{one['energy_beyond']:.2g}" if "energy_beyond" in one else "",
                 "chosen" if one["cutoff"] == found["cutoff"] else ""] for one in found["candidates"]]
        return Section("range", "How far do the forces reach?", f"Log-likelihood of the same {found['steps']} held-out "
                       "steps, on which the force hardly changes, under models of several ranges [nats per step]. The "
                       "shortest range that is not worse than the best by more than the error of the difference, and "
                       "beyond which the best model has less than 0.1 kT for sure, was taken.", [],
                       {"head": ["range (µm)", "adds to the one above (first: to free diffusion)", "below the best",
                                 "energy beyond (kT)", ""], "rows": rows})
