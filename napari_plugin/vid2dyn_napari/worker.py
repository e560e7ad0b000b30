"""One way to run a verb off the GUI thread: progress at most five times a second, cancel, errors in words.

A verb is a function of one argument, `progress`. It runs in a thread of its own; what it returns, or why it did not,
comes back as a signal in the GUI thread. Cancelling makes the progress callback raise `vd.Cancelled`; a verb that does
not report within half a second is left to end by itself, and its result is dropped. A verb that has heard of it may be
given a while to put together what it keeps.
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

PATIENCE = 500
"""Milliseconds that a cancelled verb may take to notice, before the panel goes on without it."""

Verb = Callable[[Any], Any]


class Job(threading.Thread, vd.Progress):
    """A verb in its thread; it is also the progress callback that the verb gets.

    Parameters
    ----------
    verb : callable
        Of the progress callback.
    tell : callable
        ``tell(job, kind, value)`` with kind "progress", "converging", "judged", "done", "cancelled" or "failed";
        called in the thread.
    """

    def __init__(self, verb: Verb, tell: Callable[[Job, str, Any], None]) -> None:
        threading.Thread.__init__(self, name="vid2dyn verb")
        self.verb, self.tell = verb, tell
        self.stop = threading.Event()
        self.heard = threading.Event()
        self.last = 0.0

    def __call__(self, done: int, total: int, what: str) -> None:
        """Progress of the verb; raises `Cancelled` when the user said so."""
        if self.stop.is_set():
            self.heard.set()
            raise vd.Cancelled
        now = time.monotonic()
        if now - self.last >= styles.THROTTLE or done >= total:
            self.last = now
            self.tell(self, "progress", (done, total, what))

    def converging(self, step: int, left: float, what: str) -> None:
        """How far a fit still is from its end, for the live curve; see `vd.Progress`."""
        self.tell(self, "converging", (step, left, what))

    def likelihood(self, step: int, train: float, held_out: float, what: str) -> None:
        """What a fit is worth so far, for the live curves; see `vd.Progress`."""
        self.tell(self, "judged", (step, train, held_out, what))

    def run(self) -> None:
        try:
            outcome: tuple[str, Any] = ("done", self.verb(self))
        except vd.Cancelled:
            outcome = ("cancelled", None)
        except Exception as error:
            outcome = ("failed", error)
        self.tell(self, *outcome)


class Worker(QObject):
    """Runs one verb at a time and says how it goes.

    Signals: `progressed` (done, total, what), `converged` (step, what is left, in what sense), `judged` (step,
    log-likelihood of data learned from and held out, of what), `ended` (nothing runs any more).
    """

    progressed = Signal(int, int, str)
    converged = Signal(int, float, str)
    judged = Signal(int, float, float, str)
    ended = Signal()
    _told = Signal(object, str, object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.job: Job | None = None
        self.patience, self.grace = PATIENCE, 0
        self.answers: dict[str, Callable[[Any], None]] = {}
        self._told.connect(self._hear)

    @property
    def busy(self) -> bool:
        """Whether a verb runs."""
        return self.job is not None

    def run(self, verb: Verb, done: Callable[[Any], None], failed: Callable[[Exception], None],
            cancelled: Callable[[], None] | None = None, patience: int = PATIENCE, grace: int = 0) -> None:
        """Start a verb; exactly one of the three answers is called, in the GUI thread, when it ends.

        `patience` [ms] is how long it may take to hear that it was cancelled, `grace` [ms] how much longer one that
        heard it may take to put together what it keeps.
        """
        if self.busy:
            failed(vd.ConfigError("Something else is running. Wait for it, or cancel it first."))
            return
        self.answers = {"done": done, "failed": failed, "cancelled": lambda _: cancelled() if cancelled else None}
        self.patience, self.grace = patience, grace
        self.job = Job(verb, self._tell)
        self.job.start()

    def cancel(self) -> None:
        """Ask the verb to stop; when its patience is over without an answer go on without it."""
        job = self.job
        if job is None:
            return
        job.stop.set()
        QTimer.singleShot(self.patience, lambda: self._impatient(job))

    def _impatient(self, job: Job) -> None:
        """Go on without a verb that has not heard; wait on for what one that has heard keeps."""
        wait = self.grace if job.heard.is_set() else 0
        QTimer.singleShot(wait, lambda: self._hear(job, "cancelled", None))

    def close(self) -> None:
        """Stop for good: nothing is answered any more."""
        job, self.job = self.job, None
        if job is not None:
            job.stop.set()

    def _tell(self, job: Job, kind: str, value: Any) -> None:
        """From the thread to the GUI."""
        try:
            self._told.emit(job, kind, value)
        except RuntimeError:                               # the panel is gone
            job.stop.set()

    def _hear(self, job: Job, kind: str, value: Any) -> None:
        if job is not self.job:                            # left behind, or the panel is closed
            return
        if kind == "progress":
            self.progressed.emit(*value)
        elif kind == "converging":
            self.converged.emit(*value)
        elif kind == "judged":
            self.judged.emit(*value)
        else:
            self.job = None
            self.answers[kind](value)
            self.ended.emit()


class Latest(QObject):
    """Runs the newest of many requests, one at a time: what was asked for meanwhile is forgotten but for the last."""

    _told = Signal(object, str, object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.job: Job | None = None
        self.waiting: tuple[Verb, Callable[[Any], None], Callable[[Exception], None]] | None = None
        self.answers: tuple[Callable[[Any], None], Callable[[Exception], None]] | None = None
        self._told.connect(self._hear)

    def ask(self, verb: Verb, done: Callable[[Any], None], failed: Callable[[Exception], None]) -> None:
        """Run `verb` as soon as the one that runs is through; its answer is dropped."""
        self.waiting = (verb, done, failed)
        if self.job is None:
            self._next()

    def close(self) -> None:
        """Forget everything."""
        self.waiting = self.answers = None

    def _next(self) -> None:
        if self.waiting is None:
            return
        verb, *answers = self.waiting
        self.waiting, self.answers = None, (answers[0], answers[1])
        self.job = Job(verb, self._tell)
        self.job.start()

    def _tell(self, job: Job, kind: str, value: Any) -> None:
        try:
            self._told.emit(job, kind, value)
        except RuntimeError:
            job.stop.set()

    def _hear(self, job: Job, kind: str, value: Any) -> None:
        if job is not self.job or kind in ("progress", "converging", "judged"):
            return
        answers, self.job = self.answers, None
        if answers is not None and self.waiting is None and kind != "cancelled":
            answers[0 if kind == "done" else 1](value)
        self._next()


def in_words(error: BaseException) -> tuple[str, str]:
    """What to show for an error, and its details: vid2dyn's own say what, where and what to do."""
    if isinstance(error, vd.Vid2DynError | OSError):
        return str(error), ""
    details = "".join(traceback.format_exception(error))
    return (f"Something unexpected happened ({type(error).__name__}: {error}). Your data are unharmed; the details "
            "below help whoever mends it."), details
