"""The page of fields, from Python and from the command line."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from typer.testing import CliRunner

import vid2dyn as vd
from vid2dyn.cli.commands import app
from vid2dyn.core.errors import ModelError
from vid2dyn.reports.page import contents
from vid2dyn.testing import check_model

Arrhenius = vd.simulators.Arrhenius


@pytest.fixture(scope="module")
def fields():
    return vd.simulate(Arrhenius(sites=100, realisations=300, starts=((0.5, 0.4, 1), (0.5, 0.4, 2)),
                                 windows=(10.0, 20.0, 30.0, 600.0)), seed=0)


@pytest.fixture(scope="module")
def model(fields):
    return vd.fit(fields, vd.GradientFlow(elements=10, knots=6))


def test_page_shows_functions_with_truth_and_the_plateau(fields, model):
    page = contents(fields, model, model.rollout(fields, steps=2))
    assert [s.id for s in page["sections"]] == ["seen", "learned", "trust"]
    assert [len(s.figures) for s in page["sections"]] == [2, 4, 1]
    shown = page["cards"][0]
    assert shown["truth"] == f"{Arrhenius().limit(0.5 * sum(model.support)).mobility[0]:.4g}"
    assert float(shown["value"].split()[0]) == pytest.approx(float(shown["truth"]), rel=0.1)
    used = [w["used"] for w in model.report["windows"]]
    assert used == [True, True, True, False], "600 hops are long against an element of 10 sites"


def test_model_keeps_the_contract(fields, model):
    check_model(model, fields)


def test_bands_of_a_network_say_what_they_leave_out(fields, model):
    def lead(of):
        return next(s.lead for s in contents(fields, of)["sections"] if s.id == "learned")

    network = dataclasses.replace(model, recipe={**model.recipe, "shape": "network"})
    assert "last layer" in lead(network)
    assert "last layer" not in lead(model)


def test_windows_off_the_plateau_are_said(fields):
    """Fluctuations three times too large in one window (a few cells shaken): warned of, by its width."""
    values = fields.values.astype(float)
    values[:, 2] += 0.4 * np.random.default_rng(0).normal(size=values[:, 2].shape)
    shaken = vd.fit(vd.Fields(values, fields.times, fields.starts), vd.GradientFlow(elements=10, knots=6))
    said = [w for w in shaken.report["warnings"] if "Off the plateau" in w]
    assert len(said) == 1
    assert said[0] in contents(fields, shaken)["warnings"]


def test_files_and_errors(tmp_path, fields, model):
    fields.save(tmp_path / "a.fields")
    model.save(tmp_path / "a.vid2dyn")
    done = CliRunner().invoke(app, ["report", str(tmp_path / "a.fields"), "--model", str(tmp_path / "a.vid2dyn"),
                                    "--out", str(tmp_path / "a.html"), "--quiet"])
    assert done.exit_code == 0, done.output
    assert "Mobility and free energy" in (tmp_path / "a.html").read_text(encoding="utf-8")
    with pytest.raises(ModelError, match="not a model of fields"):
        vd.report(tmp_path / "b.html", tracks=fields, model=object())
