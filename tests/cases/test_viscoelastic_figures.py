"""The viscoelastic sheet of 841 nodes: moduli, viscosities, heat, and drives that were not seen."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

pytestmark = pytest.mark.case


@pytest.fixture(scope="module")
def sheets(script: Callable[[str], ModuleType]) -> Any:
    return script("reproduce_viscoelastic")


@pytest.mark.parametrize(("record", "modulus", "viscosity"), [
    ("clean", 0.01, 0.03), ("velocities", 0.01, 0.1), ("noisy", 0.01, 0.1), ("positions", 0.01, 0.1),
    ("filmed", 0.01, 0.1)])
def test_figures(sheets: Any, record: str, modulus: float, viscosity: float) -> None:
    """Heat as viscosity; a sine of four times the frequency: displacement 1 %, stress on the edge 2 %."""
    row, _, _ = sheets.learned_from(record, sheets.records(sheets.FULL)[record], compared=record == "clean")
    for name in ("shear_modulus", "bulk_modulus"):
        assert row[name] == pytest.approx(1.0, abs=modulus), name
    for name in ("shear_viscosity", "bulk_viscosity", "heat"):
        assert row[name] == pytest.approx(1.0, abs=viscosity), name
    unseen = row["sine, 4 x"]
    assert unseen["displacement"] < 0.01
    assert unseen["stress"] < 0.02
    assert unseen["imbalance"] < 1e-10
    if record == "clean":
        assert row["members"]["BondEnergy"] < 0.01 < row["members"]["DeformationEnergy"]
