"""Is this model allowed? Every assumption that it rests on, tested on the data, in one table."""

from __future__ import annotations

from vid2dyn.assessment.table import p_in_words
from vid2dyn.reports.sections.base import Content, ReportSection, Section

MOST = 5
"""Failed tests whose advice is written out."""


class AllowedModel(ReportSection):
    """One row for each test, failed ones first, and what to do about those."""

    order = 49.0

    def applies(self, content: Content) -> bool:
        """Where the assumptions of the model were tested."""
        return content.model is not None and bool(content.model.report.get("assessment"))

    def build(self, content: Content) -> Section:
        """The table of tests."""
        rows = content.model.report["assessment"]
        failed = [row for row in rows if row["failed"]]
        verdict = ("All assumptions hold within the errors." if not failed else
                   f"{len(failed)} of {len(rows)} assumptions fail; the first may cause the others.")
        table = [[(f"{row['recording']}: " if "recording" in row else "") + row["assumption"],
                  "FAILS" if row["failed"] else "holds", f"{row['effect']:.2g} {row['unit']}", p_in_words(row["p"])]
                 for row in rows]
        beside = ("what they are by chance" if not content.model.has_forces else
                  "those of a recording that the model itself makes")
        lead = (f"{verdict} Each test compares the steps, divided by their predicted spread, with {beside}. p: "
                "probability of as much by chance, one test alone; the whole table has a failed test by chance in one "
                "recording of 100 at most. Where an assumption holds, the effect is noise or too small to matter.")
        return Section("assessment", "Is this model allowed?", lead, [],
                       {"head": ["assumption", "", "effect", "by chance"], "rows": table},
                       [f"{row['test']}: {row['advice']}" for row in failed[:MOST]])
