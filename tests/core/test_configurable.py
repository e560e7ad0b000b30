"""Settings of the wrong kind, given in Python: one error that names class, setting, value and what is asked for."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import subprocess
import sys
import typing
from typing import Any

import numpy as np
import pytest

import vid2dyn as vd
from vid2dyn.core.config import settings
from vid2dyn.core.configurable import fits
from vid2dyn.core.errors import ConfigError, UnitsError, Vid2DynError
from vid2dyn.core.registry import parts
from vid2dyn.core.threads import without_useless_settings

FAMILIES = ("simulators", "potentials", "readers", "dynamics", "energies", "frictions")
KINDS = [kind for family in FAMILIES for kind in parts(family).values()] + [vd.tracking.Track, vd.simulators.Renderer]
WRONG = ("Yukawa!", b"1", [], {"a": 1}, object(), np.zeros((2, 2)), 3 + 4j)


def required(kind: type) -> dict[str, Any]:
    """Values for the arguments that have no default."""
    return {name: 1.0 for name, (_, default) in settings(kind).items() if default is dataclasses.MISSING}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_setting_of_every_part_refuses_what_it_is_not(kind: type) -> None:
    """Texts, bytes, lists, arrays, objects: an error of ours, or a value that the hint does allow."""
    for name, (hint, _) in settings(kind).items():
        for value in WRONG:
            if not fits(hint, value):
                with pytest.raises(ConfigError, match=f"{kind.__name__}: {name} = "):
                    kind(**{**required(kind), name: value})
                continue
            with contextlib.suppress(Vid2DynError):
                kind(**{**required(kind), name: value})


@pytest.mark.parametrize(("call", "words"), [
    (lambda: vd.simulators.Brownian(pair="Yukawa"), r"Brownian: pair = 'Yukawa'; give .*Yukawa\(\.\.\.\)"),
    (lambda: vd.simulators.Brownian(n_particles=None), "n_particles = None; give a whole number"),
    (lambda: vd.simulators.Yukawa(amplitude="10"), "amplitude = '10'; give a number"),
    (lambda: vd.Brownian(stationary="no"), "stationary = 'no'; give true, false or 'auto'"),
    (lambda: vd.Brownian(cutoff=[3.0]), "cutoff = .3.0.; give a number or auto or None"),
    (lambda: vd.tracking.Track(diameter="9"), "diameter = '9'; give a whole number"),
    (lambda: vd.Periodic(20.0), "one edge for every axis"),
    (lambda: vd.run(None), "path of an experiment file"),
])
def test_the_word_says_what_to_give(call: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        call()


def test_units_that_are_no_numbers() -> None:
    for value in ("x", [1.0], None.__class__, 1j):
        with pytest.raises(UnitsError, match="micrometre_per_pixel"):
            vd.Units(value)                                                                # type: ignore[arg-type]


def test_numbers_of_every_kind_are_numbers() -> None:
    """numpy's, whole floats for whole numbers, lists and arrays for tuples."""
    assert vd.Brownian(cutoff=np.float32(3.0), knots=np.int64(10)).knots == 10
    assert vd.tracking.Track(diameter=9.0).diameter == 9                                    # type: ignore[arg-type]
    assert vd.simulators.Arrhenius(kernel=[0.5], windows=np.array([1.0, 2.0]))              # type: ignore[arg-type]
    assert fits(tuple[float, ...], np.arange(3.0))
    assert fits(typing.Literal["a"], "b"), "the class itself says which words it knows"


@pytest.mark.parametrize("threads", ["0", "-3", "many", ""])
def test_a_number_of_threads_that_is_none_is_left_out_with_a_word(threads: str,
                                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_NUM_THREADS", threads)
    monkeypatch.delitem(sys.modules, "numba", raising=False)
    with pytest.warns(RuntimeWarning, match="NUMBA_NUM_THREADS.*1 or more"):
        without_useless_settings()
    assert "NUMBA_NUM_THREADS" not in os.environ


def test_without_a_useless_number_of_threads_numba_is_imported() -> None:
    """It would not be with it: whatever was given, what it finds is nothing."""
    code = ("import vid2dyn as vd\n"
            "print(vd.diffusion(vd.simulate(vd.simulators.Brownian(n_particles=9, frames=9))).D > 0)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120,
                          env={**os.environ, "NUMBA_NUM_THREADS": "-3"})
    assert done.stdout == "True\n", done.stderr
    assert "NUMBA_NUM_THREADS" in done.stderr
    assert "1 or more" in done.stderr


def test_files_write_none_where_it_is_not_the_default():
    build = vd.core.config.build
    assert build(vd.Brownian, {"cutoff": "none"}, "[dynamics]").cutoff is None
    assert build(vd.Brownian, {}, "[dynamics]").cutoff == "auto"
    assert build(vd.Brownian, vd.core.config.recipe(vd.Brownian(cutoff=None)), "model").cutoff is None
    assert build(vd.Brownian, {"trap": "none"}, "[dynamics]").trap == "none"
    with pytest.raises(ConfigError, match="cutoff = 'nothing'"):
        build(vd.Brownian, {"cutoff": "nothing"}, "[dynamics]")
    with pytest.raises(ConfigError, match="knots = 'none'"):
        build(vd.Brownian, {"knots": "none"}, "[dynamics]")
