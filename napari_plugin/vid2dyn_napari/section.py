"""A collapsible section of the panel: a heading, one sentence of help, a body, and a place for messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from vid2dyn_napari.worker import CANCEL_TIMEOUT, Verb, message_of
from vid2dyn_napari.workspace import Workspace

_HEADER = ("QPushButton { border: none; border-radius: 3px; padding: 5px 6px; text-align: left; font-weight: bold;"
           " background: #414851; color: #f0f1f2; } QPushButton:checked { background: #3f63c8; }"
           " QPushButton:hover { background: #4d5a78; } QPushButton:checked:hover { background: #4c70d6; }")
_TONES = {"error": "#ff8f8f", "note": "#ffd166", "good": "#9fe0b8", "": "#c3c8ce"}


class Section(QWidget):
    """Base of all sections.

    A section knows the workspace, not the panel that shows it. Subclasses set `title` and `help`, build their body in
    `__init__`, put the buttons that start something into `verbs`, and overwrite `refresh`, which is called when the
    session changed, and `leave`, which is called when the section is closed or the panel goes away.
    """

    title = ""
    help = ""
    opened = Signal(bool)

    def __init__(self, workspace: Workspace, number: int) -> None:
        super().__init__()
        self.workspace = workspace
        self.header = QPushButton()
        self.header.setCheckable(True)
        self.header.setStyleSheet(_HEADER)
        self.header.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.number = number
        self.verbs: dict[QPushButton, tuple[str, ...]] = {}
        """Buttons that start a verb, and what has to be there for it (see `Session.ready`)."""
        self.content = QWidget()
        self.body = QVBoxLayout(self.content)
        self.body.setContentsMargins(6, 2, 4, 8)
        self.body.setSpacing(6)
        self.body.addWidget(sentence(self.help))
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addWidget(self.header)
        column.addWidget(self.content)
        self.bar = QProgressBar()
        self.bar.setTextVisible(True)
        self.cancel_button = QPushButton("Cancel")
        self.cancel_button.setToolTip("Stop; what is finished is kept where that makes sense.")
        self.cancel_button.clicked.connect(self._cancel)
        self.running = row(self.bar, self.cancel_button)
        self.running.hide()
        self.message = sentence("")
        self.message.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.message.hide()
        self.reveal = QTimer(self)                       # when the message has found its place
        self.reveal.setSingleShot(True)
        self.reveal.timeout.connect(self._scroll_to_message)
        self._show_title(False)
        self.content.hide()

    def finish(self) -> None:
        """Called at the end of a subclass's `__init__`: progress and messages come last."""
        self.body.addWidget(self.running)
        self.body.addWidget(self.message)
        self.header.toggled.connect(self._toggle)

    def _show_title(self, on: bool) -> None:
        self.header.setText(f"{'▾' if on else '▸'}  {self.number}  {self.title}")

    def _toggle(self, on: bool) -> None:
        self._show_title(on)
        self.content.setVisible(on)
        if on:
            self.guarded(self.refresh)
        else:
            self.leave()
        self.opened.emit(on)

    def unfold(self, on: bool = True) -> None:
        """Open or close the section."""
        self.header.setChecked(on)

    @property
    def is_open(self) -> bool:
        return self.header.isChecked()

    # ---------------------------------------------------------------- for subclasses

    def refresh(self) -> None:
        """The session changed."""

    def leave(self) -> None:
        """Stop what runs only while the section is open."""

    def say(self, text: str, tone: str = "") -> None:
        """Show a message; tone "error", "note", "good" or none; an empty text hides it."""
        self.message.setText(text)
        self.message.setStyleSheet(f"color: {_TONES[tone]};")
        self.message.setVisible(bool(text))

    def fail(self, error: BaseException) -> None:
        """Show an error: what, where, what to do."""
        text, details = message_of(error)
        self.say(text, "error")
        self.message.setToolTip(f"<pre>{details}</pre>" if details else "")
        self.reveal.start(0)

    def _scroll_to_message(self) -> None:
        """Bring the message into view: below a long form it would not be seen."""
        above = self.parentWidget()
        while above is not None and not isinstance(above, QScrollArea):
            above = above.parentWidget()
        if above is not None and self.message.isVisible():
            above.ensureWidgetVisible(self.message)

    def guarded(self, action: Callable[[], Any]) -> Any:
        """The result of `action`, or None and its error shown."""
        try:
            return action()
        except Exception as error:
            self.fail(error)
            return None

    def start(self, verb: Verb, done: Callable[[Any], None], what: str, cancel_timeout: int = CANCEL_TIMEOUT,
              finish_timeout: int = 0,
              cancelled: str | Callable[[], str] = "Cancelled; everything is as it was.") -> None:
        """Run a verb off the GUI thread with a progress bar and a cancel button in this section."""
        self.say("")
        self.bar.setRange(0, 0)
        self.bar.setFormat(what)
        self.running.show()
        worker = self.workspace.worker
        worker.progressed.connect(self._progress)

        def end() -> None:
            worker.progressed.disconnect(self._progress)
            self.running.hide()

        def finished(result: Any) -> None:
            end()
            self.guarded(lambda: done(result))

        def failed(error: Exception) -> None:
            end()
            self.fail(error)

        def stopped() -> None:
            end()
            self.workspace.session.drop_running()
            self.say(cancelled if isinstance(cancelled, str) else cancelled(), "note")

        worker.run(verb, finished, failed, stopped, cancel_timeout, finish_timeout)
        self.workspace.refresh_buttons()

    def _cancel(self) -> None:
        self.bar.setRange(0, 0)
        self.bar.setFormat("stopping")
        self.workspace.worker.cancel()

    def _progress(self, done: int, total: int, what: str) -> None:
        self.bar.setRange(0, max(total, 1))
        self.bar.setValue(done)
        self.bar.setFormat(f"{what} %v of %m" if total > 1 else what)


def sentence(text: str) -> QLabel:
    """A label that wraps."""
    label = QLabel(text)
    label.setWordWrap(True)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
    return label


def button(text: str, action: Callable[[], Any], tip: str) -> QPushButton:
    """A push button with a word of help."""
    made = QPushButton(text)
    made.setToolTip(tip)
    made.clicked.connect(lambda *_: action())
    return made


def row(*widgets: QWidget, stretch: int = 0) -> QWidget:
    """Widgets side by side; the one with index `stretch` takes the room."""
    box = QWidget()
    line = QHBoxLayout(box)
    line.setContentsMargins(0, 0, 0, 0)
    for k, widget in enumerate(widgets):
        line.addWidget(widget, 1 if k == stretch else 0)
    return box
