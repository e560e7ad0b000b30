"""What surrounds every command: a bar with the time left, text after it, errors without a traceback, Ctrl-C."""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
import types
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from vid2dyn.core.errors import Vid2DynError, Vid2DynWarning
from vid2dyn.core.progress import Cancelled, Progress
from vid2dyn.core.showing import showing

_lines: list[str] = []


def say(text: str) -> None:
    """Text for standard output, written when the command is done and its progress bars are gone."""
    _lines.append(text)


def printable(text: str) -> str:
    """The text with bytes of file names that are no UTF-8 shown as such.

    >>> printable("a\\udcff.tif")
    'a\\\\xff.tif'
    """
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


@contextmanager
def printed_at_the_end() -> Iterator[None]:
    """Write the texts of `say` when the block ends."""
    _lines.clear()
    try:
        yield
    finally:
        for text in _lines:
            typer.echo(printable(text))


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

    # a batch system that ends a job (TERM) and a terminal that is closed (HUP) leave things as tidy as Ctrl-C does
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    hang_up = getattr(signal, "SIGHUP", None)
    before = {number: signal.signal(number, interrupt) for number in numbers
              if number != hang_up or signal.getsignal(number) is not signal.SIG_IGN}       # nohup stays nohup
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def notes() -> Iterator[None]:
    """What a user should know about a recording, one line each on standard error."""
    with warnings.catch_warnings():
        plain = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *place: object, **more: object) -> None:
            if issubclass(category, Vid2DynWarning):
                typer.secho(f"note: {message}", fg="yellow", err=True)
            else:
                plain(message, category, *place, **more)  # type: ignore[arg-type]

        warnings.simplefilter("always", Vid2DynWarning)
        warnings.showwarning = show
        yield


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
    except MemoryError:
        if debug:
            raise
        typer.secho("error: the memory of this machine is too small for this. Take fewer frames or particles at a "
                    "time.",
                    fg="red", err=True)
        raise typer.Exit(2) from None
    except (Vid2DynError, OSError) as error:
        if debug:
            raise
        typer.secho(f"error: {printable(str(error))}", fg="red", err=True)
        raise typer.Exit(2) from None
