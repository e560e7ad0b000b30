"""What surrounds every command: a bar with the time left, text after it, errors without a traceback, Ctrl-C."""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
import types
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from vid2dyn.core.errors import Vid2DynError
from vid2dyn.core.progress import Cancelled, Progress
from vid2dyn.core.showing import showing

_lines: list[str] = []


def say(text: str) -> None:
    """Text for standard output, written when the command is done and its progress bars are gone."""
    _lines.append(text)


@contextmanager
def printed_at_the_end() -> Iterator[None]:
    """Write the texts of `say` when the block ends."""
    _lines.clear()
    try:
        yield
    finally:
        for text in _lines:
            typer.echo(text)


@contextmanager
def bars(quiet: bool) -> Iterator[Progress]:
    """One bar for each step, with the time left, on standard error."""
    with showing(not quiet) as progress:
        yield progress


NOT_WITHIN = ("numba", "llvmlite", "ctypes", "importlib._bootstrap")
"""Modules in which an interrupt waits. ctypes: numba unpacks a random generator with it and is not ready for errors."""


@contextmanager
def interrupt_after_compilation() -> Iterator[None]:
    """Ctrl-C waits for a running compilation or import: an exception within LLVM's callbacks can crash Python."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    notified: list[bool] = []

    def interrupt(number: int, frame: types.FrameType | None) -> None:
        while frame is not None:
            if str(frame.f_globals.get("__name__", "")).startswith(NOT_WITHIN):
                if not notified:
                    notified.append(True)
                    typer.secho("cancelling as soon as the code is compiled and loaded ...", fg="yellow", err=True)
                again = threading.Timer(0.1, _thread.interrupt_main)
                again.daemon = True
                again.start()
                return
            frame = frame.f_back
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def errors(debug: bool) -> Iterator[None]:
    """Errors made on purpose become one red message and exit code 2; Ctrl-C a quiet 130."""
    try:
        yield
    except (KeyboardInterrupt, Cancelled):
        typer.secho("cancelled; nothing was left half-written", fg="yellow", err=True)
        raise typer.Exit(130) from None
    except BrokenPipeError:                            # vid2dyn list | head: who reads has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from None
    except (Vid2DynError, OSError) as error:
        if debug:
            raise
        typer.secho(f"error: {error}", fg="red", err=True)
        raise typer.Exit(2) from None
