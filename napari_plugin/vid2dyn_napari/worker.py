"""One way to run a verb off the GUI thread: progress at most five times a second, cancel, errors in words.

A verb is a function of one argument, `progress`. It runs in a thread of its own; what it returns, or why it did not,
comes back as a signal in the GUI thread. Cancelling makes the progress callback raise `vd.Cancelled`; a verb that does
not report within half a second is left to end by itself, and its result is dropped. A verb that noticed may be given
time to return what it keeps.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QObject, QTimer, Signal

import vid2dyn as vd
from vid2dyn_napari import styles

CANCEL_TIMEOUT = 500
"""Milliseconds that a cancelled verb may take to notice, before the panel goes on without it."""

Verb = Callable[[Any], Any]


class VerbThread(threading.Thread, vd.Progress):
    """A verb in its thread; it is also the progress callback that the verb gets.

    Parameters
    ----------
    verb : callable
        Of the progress callback.
    report : callable
        ``report(job, kind, value)`` with kind "progress", "converging", "likelihood", "done", "cancelled" or "failed";
        called in the thread.
    """

    def __init__(self, verb: Verb, report: Callable[[VerbThread, str, Any], None]) -> None:
        threading.Thread.__init__(self, name="vid2dyn verb")
        self.verb, self.report = verb, report
        self.stop = threading.Event()
        self.noticed = threading.Event()
        self.last = 0.0

    def __call__(self, done: int, total: int, what: str) -> None:
        """Progress of the verb; raises `Cancelled` when the user said so."""
        if self.stop.is_set():
            self.noticed.set()
            raise vd.Cancelled
        now = time.monotonic()
        if now - self.last >= styles.THROTTLE or done >= total:
            self.last = now
            self.report(self, "progress", (done, total, what))

    def converging(self, step: int, left: float, what: str) -> None:
        """How far a fit still is from its end, for the live curve; see `vd.Progress`."""
        self.report(self, "converging", (step, left, what))

    def likelihood(self, step: int, train: float, held_out: float, what: str) -> None:
        """Log-likelihoods of a fit so far, for the live curves; see `vd.Progress`."""
        self.report(self, "likelihood", (step, train, held_out, what))

    def run(self) -> None:
        try:
            outcome: tuple[str, Any] = ("done", self.verb(self))
        except vd.Cancelled:
            outcome = ("cancelled", None)
        except Exception as error:
            outcome = ("failed", error)
        self.report(self, *outcome)


class Worker(QObject):
    """Runs one verb at a time and says how it goes.

    Signals: `progressed` (done, total, what), `converging` (step, what is left, in what sense), `likelihood` (step,
    log-likelihood of data learned from and held out, of what), `ended` (nothing runs any more).
    """

    progressed = Signal(int, int, str)
    converging = Signal(int, float, str)
    likelihood = Signal(int, float, float, str)
    ended = Signal()
    _reported = Signal(object, str, object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.job: VerbThread | None = None
        self.cancel_timeout, self.finish_timeout = CANCEL_TIMEOUT, 0
        self.callbacks: dict[str, Callable[[Any], None]] = {}
        self._reported.connect(self._receive)

    @property
    def busy(self) -> bool:
        """Whether a verb runs."""
        return self.job is not None

    def run(self, verb: Verb, done: Callable[[Any], None], failed: Callable[[Exception], None],
            cancelled: Callable[[], None] | None = None, cancel_timeout: int = CANCEL_TIMEOUT,
            finish_timeout: int = 0) -> None:
        """Start a verb; exactly one of the three callbacks is called, in the GUI thread, when it ends.

        `cancel_timeout` [ms] is how long it may take to notice that it was cancelled, `finish_timeout` [ms] how much
        longer one that noticed may take to return what it keeps.
        """
        if self.busy:
            failed(vd.ConfigError("Something else is running. Wait for it, or cancel it first."))
            return
        self.callbacks = {"done": done, "failed": failed, "cancelled": lambda _: cancelled() if cancelled else None}
        self.cancel_timeout, self.finish_timeout = cancel_timeout, finish_timeout
        self.job = VerbThread(verb, self._send)
        self.job.start()

    def cancel(self) -> None:
        """Ask the verb to stop; if it has not ended after `cancel_timeout`, go on without it."""
        job = self.job
        if job is None:
            return
        job.stop.set()
        QTimer.singleShot(self.cancel_timeout, lambda: self._after_timeout(job))

    def _after_timeout(self, job: VerbThread) -> None:
        """Go on without a verb that did not notice; give one that did `finish_timeout` to return what it keeps."""
        wait = self.finish_timeout if job.noticed.is_set() else 0
        QTimer.singleShot(wait, lambda: self._receive(job, "cancelled", None))

    def close(self) -> None:
        """Stop for good: no callback is called any more."""
        job, self.job = self.job, None
        if job is not None:
            job.stop.set()

    def _send(self, job: VerbThread, kind: str, value: Any) -> None:
        """From the thread to the GUI."""
        try:
            self._reported.emit(job, kind, value)
        except RuntimeError:                               # the panel is gone
            job.stop.set()

    def _receive(self, job: VerbThread, kind: str, value: Any) -> None:
        if job is not self.job:                            # left behind, or the panel is closed
            return
        if kind == "progress":
            self.progressed.emit(*value)
        elif kind == "converging":
            self.converging.emit(*value)
        elif kind == "likelihood":
            self.likelihood.emit(*value)
        else:
            self.job = None
            self.callbacks[kind](value)
            self.ended.emit()


class Latest(QObject):
    """Runs the newest of many requests, one at a time: what was asked for meanwhile is forgotten but for the last."""

    _reported = Signal(object, str, object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.job: VerbThread | None = None
        self.waiting: tuple[Verb, Callable[[Any], None], Callable[[Exception], None]] | None = None
        self.callbacks: tuple[Callable[[Any], None], Callable[[Exception], None]] | None = None
        self._reported.connect(self._receive)

    def ask(self, verb: Verb, done: Callable[[Any], None], failed: Callable[[Exception], None]) -> None:
        """Run `verb` as soon as the one that runs is through; its result is dropped."""
        self.waiting = (verb, done, failed)
        if self.job is None:
            self._next()

    def close(self) -> None:
        """Forget everything."""
        self.waiting = self.callbacks = None

    def _next(self) -> None:
        if self.waiting is None:
            return
        verb, *callbacks = self.waiting
        self.waiting, self.callbacks = None, (callbacks[0], callbacks[1])
        self.job = VerbThread(verb, self._send)
        self.job.start()

    def _send(self, job: VerbThread, kind: str, value: Any) -> None:
        try:
            self._reported.emit(job, kind, value)
        except RuntimeError:
            job.stop.set()

    def _receive(self, job: VerbThread, kind: str, value: Any) -> None:
        if job is not self.job or kind in ("progress", "converging", "likelihood"):
            return
        callbacks, self.job = self.callbacks, None
        if callbacks is not None and self.waiting is None and kind != "cancelled":
            callbacks[0 if kind == "done" else 1](value)
        self._next()


def message_of(error: BaseException) -> tuple[str, str]:
    """What to show for an error, and its details: vid2dyn's own say what, where and what to do."""
    if isinstance(error, vd.Vid2DynError | OSError):
        return str(error), ""
    details = "".join(traceback.format_exception(error))
    return (f"Unexpected error, {type(error).__name__}: {error}. The data are as they were before. Hover over this "
            "message for the traceback; it helps when you report the error."), details
