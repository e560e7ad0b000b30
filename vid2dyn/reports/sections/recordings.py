"""Several recordings in one fit: what each says alone, and which does not belong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vid2dyn.core.describe import with_error
from vid2dyn.reports.sections.base import Content, ReportSection, Section

WORDS = {"diffusion": "D (µm²/s)", "force_strength": "strength of forces", "pair_strength": "strength of pair forces",
         "trap_strength": "strength of traps", "trap_stiffness": "trap stiffness (kT/µm²)",
         "mobility_strength": "strength of mobility", "drift_strength": "strength of drift",
         "noise_scale": "noise scale", "localisation_error": "localisation error (µm)",
         "log_likelihood_per_step": "held-out log-likelihood per step",
         "gain_of_its_own_per_step": "gain from its own values (nats)",
         "log_likelihood_per_number": "log-likelihood per number"}
PLAIN = ("name", "data_sha256", "belongs", "held_out_steps")


class Recordings(ReportSection):
    """One row for each recording of a fit of several."""

    order = 52.0

    def applies(self, content: Content) -> bool:
        """Where the model was fitted to several recordings."""
        return content.model is not None and len(content.model.report.get("recordings", ())) > 1

    def build(self, content: Content) -> Section:
        """The table; numbers with their standard errors."""
        entries = content.model.report["recordings"]
        keys = [key for key in entries[0] if key not in PLAIN and not key.endswith("_stderr")]
        rows = [[str(entry["name"]), *(_cell(entry, key) for key in keys), "" if entry.get("belongs", True) else "NO"]
                for entry in entries]
        return Section("recordings", "Do the recordings belong together?", "One physics was learned from all of them. "
                       "D and the strength of the forces are what each recording says alone (strength 1: as in the "
                       "shared model); where they differ by more than chance allows once in a million fits, the last "
                       "column says so.", [], {"head": ["recording", *map(_head, keys), "belongs"], "rows": rows})


def _head(key: str) -> str:
    """A column's heading: the quantity and whose it is."""
    name = next((name for name in sorted(WORDS, key=len, reverse=True) if key.startswith(name)), None)
    if name is None:
        return key.replace("_", " ")
    whose = key[len(name):].strip("_").replace("_", "-")
    return f"{WORDS[name]}, {whose}" if whose else WORDS[name]


def _cell(entry: Mapping[str, Any], key: str) -> str:
    value, stderr = entry.get(key), entry.get(f"{key}_stderr")
    if isinstance(value, float):
        return with_error(value, stderr)
    return "" if value is None else str(value)
