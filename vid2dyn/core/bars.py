"""Bars with the time left, in a terminal or a notebook."""

from __future__ import annotations

import io
import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Live

from vid2dyn.core.progress import Progress, silent

REDRAW = 0.2
"""Seconds between two drawings in a notebook; a terminal's bars have a clock of their own."""


def bars() -> Progress:
    """Bars where somebody can see them: in a notebook, or on standard error if that is a terminal; else silence."""
    console = Console(stderr=True)
    if console.is_jupyter:
        return NotebookBars()
    return TerminalBars(console) if console.is_terminal else silent


class TerminalBars(Progress):
    """One line for each step, on a console; they appear with the first report.

    Parameters
    ----------
    console : rich.console.Console
        Where to draw.
    """

    def __init__(self, console: Console) -> None:
        self.live = Live(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
                         TimeRemainingColumn(elapsed_when_finished=True), console=console, redirect_stdout=False)
        self.tasks: dict[str, TaskID] = {}

    def __call__(self, done: int, total: int, what: str) -> None:
        if not self.tasks:
            self.begin()
        if what not in self.tasks:
            self.tasks[what] = self.live.add_task(what, total=total)
        self.live.update(self.tasks[what], completed=done, total=total)

    def begin(self) -> None:
        """Draw from now on, several times a second."""
        self.live.start()

    def close(self) -> None:
        """Draw the last state and give the cursor back."""
        if self.tasks:
            self.live.stop()


class NotebookBars(TerminalBars):
    """The same lines as the output of a notebook's cell, drawn again and again in place.

    Rich's own bars need ipywidgets in a notebook; one display that is updated needs nothing.
    """

    def __init__(self) -> None:
        super().__init__(Console(file=io.StringIO(), record=True, width=100, force_jupyter=False, force_terminal=True))
        self.display: Any = None
        self.drawn = 0.0

    def __call__(self, done: int, total: int, what: str) -> None:
        super().__call__(done, total, what)
        if time.monotonic() - self.drawn > REDRAW:
            self.draw()

    def begin(self) -> None:
        from IPython.display import HTML, display

        self.display = display(HTML(""), display_id=True)

    def draw(self) -> None:
        """Put the bars as they are now in the place of those before."""
        from IPython.display import HTML

        self.drawn = time.monotonic()
        self.live.console.print(self.live.get_renderable())
        self.display.update(HTML(self.live.console.export_html(inline_styles=True, code_format=(
            "<pre style='line-height: normal; font-family: monospace'>{code}</pre>"))))

    def close(self) -> None:
        if self.display is not None:
            self.draw()
