"""The list of scripts/mutants.py is of lines that are there; the run itself takes half an hour and is on demand."""

from __future__ import annotations

import importlib.util
import shlex
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_mutants_change_lines_that_are_there() -> None:
    spec = importlib.util.spec_from_file_location("mutants", ROOT / "scripts" / "mutants.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["mutants"] = module
    spec.loader.exec_module(module)
    assert len(module.MUTANTS) >= 100
    for mutant in module.MUTANTS:
        text = (ROOT / mutant.file).read_text(encoding="utf-8")
        assert text.count(mutant.old) == 1, (mutant.file, mutant.old)
        assert mutant.new != mutant.old
        assert (ROOT / shlex.split(mutant.tests)[0]).exists(), mutant.tests
