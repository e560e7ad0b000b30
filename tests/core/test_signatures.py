"""Signatures and help show the real keywords, from where they are declared, and nothing heavy is loaded for it."""

from __future__ import annotations

import inspect
import subprocess
import sys
from typing import Any

import pytest

import vid2dyn as vd
from vid2dyn import pipeline
from vid2dyn.core.config import settings
from vid2dyn.core.describe import setting_help
from vid2dyn.core.registry import parts
from vid2dyn.tracking import Track

READERS = {key for reader in parts("readers").values() for key in settings(reader)}
UNITS = set(settings(vd.Units))


@pytest.mark.parametrize(("name", "keywords"), [
    ("open", UNITS | READERS), ("track", UNITS | READERS | set(settings(Track))),
    ("suggest", UNITS | READERS | set(settings(Track))), ("diffusion", {"drift", "longest_lag"}),
    ("compare", {"r_max", "bins", "max_lag"}), ("render", {"to", "codec", "crf"})])
def test_signature_and_help_have_every_keyword(name: str, keywords: set[str]) -> None:
    function = getattr(vd, name)
    signature = inspect.signature(function)
    assert keywords <= set(signature.parameters)
    assert not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in signature.parameters.values())
    text = function.__doc__
    assert "**" not in text
    for keyword in keywords:
        assert any(keyword in line.partition(" : ")[0].split(", ") for line in text.splitlines()), keyword
    assert inspect.getdoc(function) == text
    signature.bind(*(object() for p in signature.parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD
                     and p.default is p.empty))


def test_defaults_and_texts_are_those_of_the_settings() -> None:
    shown = inspect.signature(vd.track).parameters
    for key, (hint, default) in settings(Track).items():
        assert (shown[key].default, shown[key].annotation) == (default, hint)
        assert shown[key].kind is inspect.Parameter.KEYWORD_ONLY
    for key, text in {**setting_help(Track), **setting_help(vd.Units)}.items():
        assert text in " ".join(vd.track.__doc__.split()), key


def test_a_signature_can_be_changed_as_any_other() -> None:
    signature = inspect.signature(vd.track)
    fewer = signature.replace(parameters=list(signature.parameters.values())[:2])
    assert list(fewer.parameters) == ["video", "settings"]
    assert signature == inspect.signature(vd.track)


def test_a_verb_loads_nothing_heavy_before_it_is_used() -> None:
    code = "import sys, vid2dyn as vd; vd.track.__doc__; print(' '.join(m.split('.')[0] for m in sys.modules))"
    done: Any = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert not {"torch", "pandas", "numba", "scipy", "cv2", "av", "matplotlib", "numpy"} & set(done.stdout.split())


def test_every_option_that_the_signature_shows_is_taken() -> None:
    of_tables = {"box"}
    assert set(pipeline.open_keys()) == set(inspect.signature(vd.open).parameters) - {"path"} - of_tables
