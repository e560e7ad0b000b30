"""Terms of a model in the panel: a form for each, added and removed, from click to rollout; in a window under Xvfb."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import vid2dyn as vd

pytestmark = pytest.mark.window
LONG = 120_000
MELT = vd.simulators.DPD(n_particles=40, frames=40, box_length=2.3)
TERMS = vd.terms
FULL = vd.Metriplectic(
    mass=(1.0, 2.0), entropy=False, species="species", window_frames=3, select=False, compare=(),
    energy=(TERMS.PairPotential(2.0, knots=7, inner=(0.1, 0.2, 0.3), core=3.5, species=("A", "B")),
            TERMS.ExternalPotential(axes=(0, 1), periodic=(True, False)), TERMS.HarmonicTrap(centre=(1.0, 2.0))),
    friction=(TERMS.PairMemory(2.0, times=(0.1,), weights=(0.5,)), TERMS.SubstrateFriction()))


def click(qtbot: Any, button: Any) -> None:
    from qtpy.QtCore import Qt

    assert button.isEnabled(), button.text()
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def type_in(qtbot: Any, field: Any, text: str) -> None:
    field.edit.selectAll()
    qtbot.keyClicks(field.edit, text)


def add(qtbot: Any, field: Any, kind: str) -> Any:
    """One more term, as a user adds it; its form."""
    field.box.setCurrentText(kind)
    click(qtbot, field.add_button)
    return field.entries[-1].form


def done(qtbot: Any, panel: Any) -> None:
    qtbot.waitUntil(lambda: not panel.worker.busy, timeout=LONG)


@pytest.fixture
def made(qtbot: Any) -> Any:
    from vid2dyn_napari.forms import form

    one = form(vd.Metriplectic, first=vd.Metriplectic.shown_first)
    qtbot.addWidget(one)
    return one


def test_terms_are_added_and_removed_and_the_recipe_is_the_constructor_call(made: Any, qtbot: Any) -> None:
    assert made.values() == {}, "no term: the short form"
    changes: list[None] = []
    made.changed.connect(lambda: changes.append(None))
    energy, friction = made.fields["energy"], made.fields["friction"]
    for field, family in ((energy, "energies"), (friction, "frictions")):
        # every part, and what else of its kind this process has imported
        assert field.known == vd.core.registry.kinds_of(vd.core.registry.base_of(family))
        assert field.known.items() >= vd.core.registry.parts(family).items()
    potential = add(qtbot, energy, "PairPotential")
    type_in(qtbot, potential.fields["cutoff"], "1.5")
    add(qtbot, energy, "HarmonicTrap")
    type_in(qtbot, add(qtbot, energy, "PairPotential").fields["cutoff"], "3")
    type_in(qtbot, add(qtbot, friction, "PairFriction").fields["cutoff"], "1.5")
    made.fields["entropy"].box.click()
    short, long = TERMS.PairPotential(1.5), TERMS.PairPotential(3.0)
    expected = vd.Metriplectic(energy=[short, TERMS.HarmonicTrap(), long], friction=[TERMS.PairFriction(1.5)],
                               entropy=False)
    assert made.build() == expected
    assert len(changes) > 10, "clicks and letters are changes"
    click(qtbot, energy.entries[1].remove_button)
    assert made.build() == dataclasses.replace(expected, energy=(short, long))
    click(qtbot, energy.entries[0].remove_button)
    assert made.build() == dataclasses.replace(expected, energy=(long,))


def test_forms_of_terms_have_units_and_help(made: Any) -> None:
    from qtpy.QtWidgets import QLabel

    for name in ("energy", "friction"):
        field = made.fields[name]
        for k, (kind, cls) in enumerate(field.known.items()):
            entry = field.add(kind)
            assert set(entry.form.fields) == set(vd.core.config.settings(cls))
            assert all("default" in one.toolTip() for one in entry.form.fields.values())
            assert field.box.itemData(k, 3) == str(cls.__doc__).partition("\n")[0], "3: the role of tool tips"
            hidden = {one.objectName() for one in entry.form.more.children()} & set(entry.form.fields)
            assert hidden == {key for key, (_, default) in vd.core.config.settings(cls).items() if default is None}, \
                "what the data decide is not in the way"
            words = [label.text() for label in entry.form.findChildren(QLabel)]
            assert "cutoff" not in entry.form.fields or "cutoff (µm)" in words


@pytest.mark.parametrize("as_what", ["recipe", "table of a model file", "table of an experiment file"])
def test_a_recipe_fills_the_form_and_comes_back(made: Any, as_what: str) -> None:
    from vid2dyn_napari.session import Step
    from vid2dyn_napari.wording import toml

    steps = {"open": Step("simulate", {"simulator": MELT, "seed": 0}), "fit": Step("fit", {"recipe": FULL, "seed": 0})}
    values: Mapping[str, Any] = {name: getattr(FULL, name) for name in made.fields}
    if as_what == "table of a model file":
        values = vd.core.config.recipe(FULL)
    elif as_what == "table of an experiment file":
        values = tomllib.loads(toml(steps, fields=False, folder=None))["dynamics"]
        assert [term["kind"] for term in values["energy"]] == ["PairPotential", "ExternalPotential", "HarmonicTrap"]
        assert vd.core.config.build(vd.Metriplectic, values, "[dynamics]") == FULL
    made.fill(values)
    assert made.build() == FULL
    made.fill({"cutoff": 2.0})
    assert made.build() == vd.Metriplectic(cutoff=2.0), "terms of before are gone"
    with pytest.raises(vd.ConfigError, match="Did you mean 'PairPotential'"):
        made.fill({"energy": [{"kind": "PairPotental"}]})


def test_call_of_a_recipe_runs() -> None:
    from vid2dyn_napari.wording import call

    assert eval(call(FULL), {"vd": vd}) == FULL


def test_from_added_terms_to_the_rollout(panel: Any, qtbot: Any, tmp_path: Path) -> None:
    session = panel.session
    session.simulate(MELT, seed=0)
    panel.workspace.show_data()
    fit = panel.sections["Fit"]
    fit.unfold()
    assert fit.form.values() == {"cutoff": MELT.cutoff}, "the short form"
    potential = add(qtbot, fit.form.fields["energy"], "PairPotential")
    assert potential.values() == {"cutoff": MELT.cutoff}, "the range that was there is that of the term"
    assert "cutoff" not in fit.form.values()

    def refused(said: str) -> None:
        click(qtbot, fit.fit_button)
        done(qtbot, panel)
        assert said in fit.message.text()
        assert session.model is None

    refused("friction is empty")
    friction = add(qtbot, fit.form.fields["friction"], "PairFriction")
    assert friction.values() == {"cutoff": MELT.cutoff}
    fit.form.fields["entropy"].box.click()
    type_in(qtbot, friction.fields["cutoff"], "-1")
    refused("friction: number 1: PairFriction: cutoff = -1.0 must be")
    type_in(qtbot, friction.fields["cutoff"], "x")
    refused("friction: number 1: cutoff: 'x' is not a number")
    type_in(qtbot, friction.fields["cutoff"], "1.0")
    fit.form.unfold.click()
    fit.form.fields["select"].box.click()
    type_in(qtbot, fit.form.fields["window_frames"], "2")
    click(qtbot, fit.fit_button)
    done(qtbot, panel)
    model = session.model
    assert model is not None, fit.message.text()
    recipe = vd.Metriplectic(energy=[TERMS.PairPotential(1.0)], friction=[TERMS.PairFriction(1.0)], entropy=False,
                             select=False, window_frames=2)
    assert session.steps["fit"].arguments["recipe"] == recipe
    assert all(note in fit.result.text() for note in model.report["warnings"])
    assert "kT =" in fit.result.text()

    learned = panel.sections["Learned model"]
    assert "Temperature kT" in learned.numbers.text()
    assert "truth&nbsp;1" in learned.numbers.text()
    axes = learned.canvas.figure.axes
    assert {one.get_title() for one in axes} == {"pair potential", "pair force", "pair friction along",
                                                 "pair friction across"}
    assert all({"95 % band", "learned", "truth"} == set(one.get_legend_handles_labels()[1]) for one in axes)

    roll = panel.sections["Roll out"]
    roll.unfold()
    type_in(qtbot, next(iter(roll.forms.values())).fields["steps"], "20")
    click(qtbot, roll.run_button)
    done(qtbot, panel)
    assert {"model", "model particles"} <= set(panel.workspace.ours), roll.message.text()
    assert roll.colour.currentText() == "speed", "not the heat of the bath, which the data do not have"

    (tmp_path / "session.toml").write_text(session.toml())
    assert vd.runs.experiment.read(tmp_path / "session.toml").dynamics == recipe
    assert "vd.terms.PairFriction(cutoff=1.0, " in session.script()

    model.save(tmp_path / "model.vid2dyn")
    session.open(tmp_path / "model.vid2dyn")
    panel.workspace.changed()
    assert "Temperature kT" in learned.numbers.text()
    assert session.model.kT() == model.kT()


def test_trap_of_a_list_of_terms_has_its_own_unit() -> None:
    """Energies of a list are in mass µm²/s², not in kT as those of colloids."""
    from vid2dyn.model.base import LearnedNumber
    from vid2dyn_napari.sections.learned import numbers

    class Trapped:
        terms = (TERMS.HarmonicTrap(),)

        def trap_stiffness(self) -> float:
            return 3.0

        def band(self, _: str) -> tuple[float, float]:
            return 2.5, 3.5

        def numbers(self) -> tuple[LearnedNumber, ...]:
            return (LearnedNumber("Temperature kT", 1.0, 0.9, 1.1, "energy", truth="kT"),
                    LearnedNumber("Trap stiffness", 3.0, 2.5, 3.5, "energy/µm²"))

    shown = numbers(Trapped(), {"kT": 1.25})
    assert "energy/µm²" in shown
    assert "Temperature kT" in shown
    assert "truth&nbsp;1.25" in shown
    assert "kT/µm²" not in shown
