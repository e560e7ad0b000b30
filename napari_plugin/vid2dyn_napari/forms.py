"""A form for any settings: one function turns the constructor of a dataclass into fields with units and help.

Names, types, defaults and help come from the class (`vd.core.config.settings`, `vd.core.describe.setting_help`), so
the form has the keys of the experiment file and nothing else. A field that is left at its default is left out of
`values()`. A setting that is a part has a form of its own inside the form, one that is a list of parts a form for each.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFormLayout,
    QFrame,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

import vid2dyn as vd
from vid2dyn_napari import wording

_UNIT = re.compile(r"\[([^\[\]]{1,24})\]")


def form(cls: type, *, only: Iterable[str] | None = None, first: Iterable[str] | None = None) -> Form:
    """The form of a configurable class.

    Parameters
    ----------
    cls : type
        A frozen dataclass whose docstring describes its settings.
    only : names, optional
        Settings to show; default all.
    first : names, optional
        Shown at once; the others wait under "more settings". Default: all shown.
    """
    return Form(cls, list(only) if only is not None else None, list(first) if first is not None else None)


class Form(QWidget):
    """Fields of a class; `changed` is sent when the user changes one."""

    changed = Signal()

    def __init__(self, cls: type, only: list[str] | None = None, first: list[str] | None = None) -> None:
        super().__init__()
        self.cls = cls
        helps = vd.core.describe.setting_help(cls)
        self.fields: dict[str, Field] = {}
        top, more = QFormLayout(), QFormLayout()
        for layout in (top, more):
            layout.setContentsMargins(0, 0, 0, 0)
            layout.setVerticalSpacing(4)
            layout.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        for name, (hint, default) in vd.core.config.settings(cls).items():
            if only is not None and name not in only:
                continue
            field = field_of(hint, default, left_empty(helps[name]))
            field.setObjectName(name)
            unset = f" ({left_empty(helps[name])})" if default is None else ""
            tip = (f"<p>{helps[name]}</p><p>{vd.core.describe.type_name(hint)}, default {shown_default(default)}"
                   f"{unset}</p>")
            label = QLabel(label_of(name, helps[name]))
            for widget in (field, label):
                widget.setToolTip(tip)
            field.changed.connect(self.changed)
            rows = top if first is None or name in first else more
            if field.wide:
                rows.addRow(label)
                rows.addRow(field)
            else:
                rows.addRow(label, field)
            self.fields[name] = field
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(top)
        self.more = QWidget()
        self.more.setLayout(more)
        if more.rowCount():
            column.addWidget(self._unfold())
            column.addWidget(self.more)
            self.more.hide()

    def _unfold(self) -> QToolButton:
        button = QToolButton()
        button.setCheckable(True)
        button.setText("▸ more settings")
        button.setStyleSheet("QToolButton { border: none; background: transparent; padding: 1px; }")

        def toggle(on: bool) -> None:
            button.setText(f"{'▾' if on else '▸'} {'fewer' if on else 'more'} settings")
            self.more.setVisible(on)

        button.toggled.connect(toggle)
        self.unfold = button
        return button

    def values(self) -> dict[str, Any]:
        """Settings that differ from the defaults, as plain values; `ConfigError` names a field that cannot be read."""
        found = {}
        for name, field in self.fields.items():
            try:
                value = field.value()
            except ValueError as error:
                raise vd.ConfigError(f"{name}: {error}") from None
            if value != field.default:
                found[name] = value
        return found

    def fill(self, values: Mapping[str, Any]) -> None:
        """Show these values, as a recipe or a table of an experiment file has them; settings that are not among them go
        to their defaults. Sends no `changed`."""
        for name, field in self.fields.items():
            blocked = field.blockSignals(True)
            field.show_value(values.get(name, field.default))
            field.blockSignals(blocked)

    def build(self, **more: Any) -> Any:
        """The object that the form describes, every field checked; `more` adds settings of other forms."""
        name = self.cls.__name__
        try:
            return vd.core.config.build(self.cls, {**self.values(), **more}, name)
        except vd.Vid2DynError as error:                   # many settings name their class themselves
            said = str(error).removeprefix(f"{name}: ") if str(error).startswith(f"{name}: {name}") else str(error)
            raise type(error)(said) from None


def label_of(name: str, text: str) -> str:
    """Name of a setting with its unit, as its description gives it.

    >>> label_of("frames_per_second", "Frame rate [1/s]."), label_of("seed", "Of the noise.")
    ('frames per second (1/s)', 'seed')
    """
    unit = _UNIT.search(text)
    return name.replace("_", " ") + (f" ({unit[1]})" if unit else "")


_UNSET = re.compile(r"None: ([^.;:(]+)|[Ww]ithout a (?:number|choice) ([^.;:(]+)|[Bb]y default ([^.;:(]+)|"
                    r"([Tt]he data decide (?:it|them))")


def left_empty(text: str) -> str:
    """What it means that a setting is not set, as its description says it.

    >>> left_empty("Range [µm]. None: particles do not interact."), left_empty("Ends there [px]; by default the width.")
    ('particles do not interact', 'the width')
    >>> left_empty("A place; the data decide it."), left_empty("A file.")
    ('the data decide it', 'not set')
    """
    found = _UNSET.search(text)
    return "not set" if found is None else next(part for part in found.groups() if part).strip().rstrip(",")


def shown_default(default: Any) -> str:
    """A default in words."""
    if dataclasses.is_dataclass(default) and not isinstance(default, type):
        return type(default).__name__
    return vd.core.describe.default_text(default)


class Field(QWidget):
    """One setting: `value()` reads it, `show_value` writes it, `changed` says that the user changed it."""

    changed = Signal()
    wide = False
    """Whether it takes the whole width, below its label."""

    def __init__(self, default: Any) -> None:
        super().__init__()
        self.default = None if default is dataclasses.MISSING else default
        self.column = QVBoxLayout(self)
        self.column.setContentsMargins(0, 0, 0, 0)
        self.column.setSpacing(2)

    def value(self) -> Any:
        """What the field says; ValueError in words where it cannot be read."""
        raise NotImplementedError

    def show_value(self, value: Any) -> None:
        """Write a value."""
        raise NotImplementedError


class TextField(Field):
    """Numbers, texts and lists, written as in the experiment file; while it is empty it says what that means."""

    def __init__(self, default: Any, kinds: tuple[Any, ...], unset: str = "not set") -> None:
        super().__init__(default)
        self.kinds = kinds
        self.edit = QLineEdit()
        self.edit.setPlaceholderText("required" if default is dataclasses.MISSING else
                                     unset if default is None else vd.core.describe.default_text(default))
        self.column.addWidget(self.edit)
        self.setFocusProxy(self.edit)
        self.edit.textEdited.connect(lambda _: self.changed.emit())
        self.show_value(self.default)

    def value(self) -> Any:
        text = self.edit.text().strip()
        if not text:
            return self.default
        if text == "none" and type(None) in self.kinds:
            return None
        words = [word for kind in self.kinds if typing.get_origin(kind) is typing.Literal
                 for word in typing.get_args(kind)]
        if text in words or (str in self.kinds and not text.startswith(("[", '"'))):
            return text
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            raise ValueError(f"{text!r} is not {'a number' if {int, float} & set(self.kinds) else 'a value'}; "
                             "write for example 3.5, or leave it empty.") from None
        if isinstance(value, list):
            return tuple(tuple(item) if isinstance(item, list) else item for item in value)
        return float(value) if float in self.kinds and isinstance(value, int) and not isinstance(value, bool) else value

    def show_value(self, value: Any) -> None:
        unset = "" if self.default is None else "none"
        plain = isinstance(value, str | bool)
        self.edit.setText(unset if value is None else str(value) if plain else wording.toml_value(value))


class ChoiceField(Field):
    """One of a few words."""

    def __init__(self, default: Any, choices: tuple[Any, ...]) -> None:
        super().__init__(default)
        self.box = QComboBox()
        self.choices = choices
        self.box.addItems([{"True": "yes", "False": "no"}.get(str(choice), str(choice)) for choice in choices])
        self.column.addWidget(self.box)
        self.setFocusProxy(self.box)
        self.show_value(self.default)
        self.box.currentIndexChanged.connect(lambda _: self.changed.emit())

    def value(self) -> Any:
        return self.choices[self.box.currentIndex()]

    def show_value(self, value: Any) -> None:
        self.box.setCurrentIndex(self.choices.index(value) if value in self.choices else 0)


class SwitchField(Field):
    """Yes or no."""

    def __init__(self, default: Any) -> None:
        super().__init__(default)
        self.box = QCheckBox()
        self.column.addWidget(self.box)
        self.setFocusProxy(self.box)
        self.show_value(self.default)
        self.box.toggled.connect(lambda _: self.changed.emit())

    def value(self) -> Any:
        return self.box.isChecked()

    def show_value(self, value: Any) -> None:
        self.box.setChecked(bool(value))


class PartField(Field):
    """A nested part, chosen by its kind, with a form of its own below."""

    def __init__(self, default: Any, known: dict[str, type], optional: bool) -> None:
        super().__init__(default)
        self.known = known
        self.box = QComboBox()
        self.box.addItems([*(["none"] if optional else []), *known])
        self.column.addWidget(self.box)
        self.form: Form | None = None
        self.show_value(self.default)
        self.box.currentTextChanged.connect(self._chosen)

    def _chosen(self, kind: str) -> None:
        self._place(kind, {})
        self.changed.emit()

    def _place(self, kind: str, values: Mapping[str, Any]) -> None:
        if self.form is not None:
            self.column.removeWidget(self.form)
            self.form.hide()                               # deleted later, and in the way of the new one till then
            self.form.deleteLater()
            self.form = None
        if kind in self.known:
            self.form = form(self.known[kind])
            self.form.fill(values)
            self.form.changed.connect(self.changed)
            self.column.addWidget(self.form)

    def value(self) -> Any:
        return None if self.form is None else self.form.build()

    def show_value(self, value: Any) -> None:
        kind, given = kind_and_settings(value)
        blocked = self.box.blockSignals(True)
        self.box.setCurrentIndex(max(self.box.findText(kind), 0))
        self.box.blockSignals(blocked)
        self._place(self.box.currentText(), given)


class PartListField(Field):
    """Any number of parts, each with a form of its own and a button to remove it; below them one to add another.

    Settings that the data decide (those without a default) wait under "more settings" of their part.
    """

    wide = True
    added = Signal(object)
    """The user added this entry."""

    def __init__(self, default: Any, known: dict[str, type]) -> None:
        super().__init__(default)
        self.known = known
        self.entries: list[PartEntry] = []
        self.box = QComboBox()
        self.box.addItems(list(known))
        for k, cls in enumerate(known.values()):
            self.box.setItemData(k, _summary(cls), Qt.ItemDataRole.ToolTipRole)
        self.add_button = QPushButton("Add")
        self.add_button.setToolTip("Add one of this kind to the list.")
        self.add_button.clicked.connect(lambda *_: self.add(self.box.currentText()))
        self.box.currentTextChanged.connect(self._tell)
        line = QHBoxLayout()
        line.addWidget(self.box, 1)
        line.addWidget(self.add_button)
        self.column.addLayout(line)
        self._tell(self.box.currentText())
        self.show_value(self.default)

    def _tell(self, kind: str) -> None:
        self.box.setToolTip(_summary(self.known[kind]))

    def add(self, kind: str) -> PartEntry:
        """One more of this kind, all of its settings at their defaults."""
        entry = self._place(kind, {})
        self.added.emit(entry)
        self.changed.emit()
        return entry

    def remove(self, entry: PartEntry) -> None:
        """Without this one."""
        self._take_away(entry)
        self.changed.emit()

    def _place(self, kind: str, values: Mapping[str, Any]) -> PartEntry:
        entry = PartEntry(self.known[kind])
        entry.form.fill(values)
        entry.form.changed.connect(self.changed)
        entry.remove_button.clicked.connect(lambda *_: self.remove(entry))
        self.column.insertWidget(len(self.entries), entry)
        self.entries.append(entry)
        return entry

    def _take_away(self, entry: PartEntry) -> None:
        self.entries.remove(entry)
        self.column.removeWidget(entry)
        entry.hide()
        entry.deleteLater()

    def value(self) -> Any:
        found = []
        for number, entry in enumerate(self.entries, start=1):
            try:
                found.append(entry.form.build())
            except vd.Vid2DynError as error:
                raise ValueError(f"number {number}: {error}") from None
        return tuple(found)

    def show_value(self, value: Any) -> None:
        for entry in list(self.entries):
            self._take_away(entry)
        for part in value or ():
            kind, given = kind_and_settings(part)
            if kind not in self.known:
                raise vd.ConfigError(f"unknown kind {kind!r}.{vd.core.registry.did_you_mean(kind, self.known)} "
                                     f"Known: {', '.join(self.known)}.")
            self._place(kind, given)


class PartEntry(QFrame):
    """One part of a list: its kind, a button to remove it, its form."""

    def __init__(self, cls: type) -> None:
        super().__init__()
        self.setObjectName("part")
        self.setStyleSheet("QFrame#part { border-left: 2px solid #3f63c8; }")
        column = QVBoxLayout(self)
        column.setContentsMargins(8, 2, 0, 4)
        column.setSpacing(3)
        heading = QLabel(f"<b>{cls.__name__}</b>")
        heading.setToolTip(_summary(cls))
        self.remove_button = QPushButton("Remove")
        self.remove_button.setToolTip(f"Take this {cls.__name__} out of the list.")
        line = QHBoxLayout()
        line.addWidget(heading, 1)
        line.addWidget(self.remove_button)
        column.addLayout(line)
        known = vd.core.config.settings(cls)
        self.form = form(cls, first=[name for name, (_, default) in known.items() if default is not None])
        column.addWidget(self.form)


def kind_and_settings(part: Any) -> tuple[str, dict[str, Any]]:
    """Class name and settings of a part: of the object itself, of its table in an experiment file, or of None.

    >>> kind_and_settings(vd.terms.Conduction(cutoff=0.2)) == kind_and_settings({"kind": "Conduction", "cutoff": 0.2})
    True
    >>> kind_and_settings(None)
    ('none', {})
    """
    if part is None:
        return "none", {}
    if isinstance(part, Mapping):
        return str(part.get("kind", "")), {name: value for name, value in part.items() if name != "kind"}
    return type(part).__name__, {name: getattr(part, name) for name in vd.core.config.settings(type(part))}


def _summary(cls: type) -> str:
    """What a class says about itself in a line."""
    return (inspect.getdoc(cls) or "").partition("\n")[0]


def field_of(hint: Any, default: Any, unset: str = "not set") -> Field:
    """The field for a type: yes or no, a choice, a nested part, a list of parts, or text."""
    union = isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union
    kinds = typing.get_args(hint) if union else (hint,)
    plain = tuple(k for k in kinds if k is not type(None))
    if plain == (bool,):
        return SwitchField(default)
    if len(plain) == 2 and plain[0] is bool and typing.get_origin(plain[1]) is typing.Literal:
        return ChoiceField(default, (*typing.get_args(plain[1]), True, False))
    if len(plain) == 1 and typing.get_origin(plain[0]) is typing.Literal:
        choices = typing.get_args(plain[0])
        return ChoiceField(default, ((None,) if len(plain) < len(kinds) else ()) + choices)
    parts = vd.core.config.parts_in(hint)
    if parts:
        known = vd.core.registry.kinds_of(parts[0])
        if typing.get_origin(hint) is tuple:
            return PartListField(default, known)
        return PartField(default, known, optional=len(plain) < len(kinds))
    return TextField(default, kinds, unset)
