"""Compiled code ahead of its use: a list of what the everyday way needs, compiled here or by a second process.

numba compiles a function for the types of its arguments when it is first called, and keeps the code on disk. The way
from a movie to a model and its rollout takes some thirty such functions, listed in ``precompile.txt`` in the order in
which they are needed (`scripts/bench_first_minute.py --write` writes the list). `compile_listed` compiles them, for
``vid2dyn warmup``. `compiling_ahead` has a second process do so while this one works, from the end of the list, so
that the two meet: each finds in the cache what the other has compiled.

The second process is a convenience. It ends when this one does, however that ends; without it, and where its list is
out of date, everything is compiled where it is needed.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vid2dyn.core.progress import Progress, silent

LIST = Path(__file__).with_name("precompile.txt")
_SIGNS = ("vid2dyn.core.neighbours:close_pairs_in_groups", "vid2dyn.tracking.fit.joint:fit_jointly",
          "vid2dyn.tracking.link.assignment:assign")      # none of them in the cache: nothing is
_SECOND = ("import os, sys; sys.path[:] = sys.argv[1].split(os.pathsep); "
           "from vid2dyn.core.precompile import main; main(sys.argv[2:])")
_LISTED = "u1"                                            # pixels of the images that the list is of
PIXELS = (_LISTED, "u2", "f4")
"""Kinds of pixels of a recording: 8 bit, 16 bit, and all others."""
_LAYOUT = {"C": "::1", "F": "::1", "A": ":"}
_WORD = re.compile(r"[\w.]+(?:\[[^\]]*\])?|[()]")


@dataclass(frozen=True)
class Kernel:
    """A compiled function and the types of its arguments.

    Parameters
    ----------
    name : str
        ``module:function``.
    arguments : str
        Types, separated by blanks: ``f8``, ``i8``, ``b1``, ``f4[:,::1]`` (C order), ``f8[::1,:]`` (Fortran order),
        ``f8[:,:]`` (any), ``rng`` (numpy.random.Generator), a tuple in parentheses, a named tuple with its name before.
    """

    name: str
    arguments: str

    @property
    def function(self) -> Any:
        """The function, its module imported."""
        module, name = self.name.split(":")
        return getattr(importlib.import_module(module), name)

    def compile(self) -> None:
        """Compile it, or load it from the cache."""
        self.function.compile(types_of(self.arguments))

    def of_pixels(self, kind: str) -> Kernel:
        """The same for images of another kind: ``u1`` (8 bit, as they are listed), ``u2`` or ``f4``."""
        return Kernel(self.name, self.arguments.replace(f"{_LISTED}[", f"{kind}["))

    @property
    def reads_images(self) -> bool:
        """Whether it is compiled anew for each kind of pixels."""
        return self.of_pixels("u2") != self

    def __str__(self) -> str:
        return f"{self.name} {self.arguments}"


def listed() -> tuple[Kernel, ...]:
    """The kernels of the list, in the order in which they are needed.

    Examples
    --------
    >>> any(kernel.name == "vid2dyn.tracking.link.assignment:assign" for kernel in listed())
    True
    """
    lines = LIST.read_text(encoding="utf-8").splitlines()
    return tuple(Kernel(*line.split(" ", 1)) for line in lines if line and not line.startswith("#"))


def compile_listed(kernels: Iterable[Kernel] | None = None, progress: Progress = silent) -> tuple[int, set[str]]:
    """Compile kernels, by default all of the list for all kinds of pixels, or load them from the cache.

    Returns
    -------
    number : int
        How many there are.
    places : set of str
        The folders where they are kept; those of all rooms as one, the folder of vid2dyn.
    """
    if kernels is None:                                     # in the order of the list, each but once
        kernels = dict.fromkeys(kernel.of_pixels(kind) for kind in PIXELS for kernel in listed())
    kernels = tuple(kernels)
    places, package = set(), Path(__file__).parents[1]
    for done, kernel in enumerate(kernels):
        progress(done, len(kernels), "compiling")
        kernel.compile()
        place = Path(kernel.function.stats.cache_path)
        places.add(str(package if package in place.parents else place.parent))
    progress(len(kernels), len(kernels), "compiling")
    return len(kernels), places


def types_of(arguments: str) -> tuple[Any, ...]:
    """numba's types of the arguments of a `Kernel`.

    Examples
    --------
    >>> types_of("f8[:,::1] (i8 f8) b1")
    (Array(float64, 2, 'C', False, aligned=True), Tuple((int64, float64)), bool)
    """
    words = _WORD.findall(arguments)
    found = _read(words)
    if words:
        raise ValueError(f"{arguments!r}: a parenthesis is closed that was not opened.")
    return found


def _read(words: list[str]) -> tuple[Any, ...]:
    from numba import types

    found: list[Any] = []
    while words:
        word = words.pop(0)
        if word == ")":
            break
        if word == "(":
            found.append(types.Tuple(_read(words)))
        elif words and words[0] == "(" and "." in word:
            words.pop(0)
            module, name = word.rsplit(".", 1)
            members = _read(words)
            made = getattr(importlib.import_module(module), name)
            alike = len(set(members)) == 1
            found.append(types.NamedUniTuple(members[0], len(members), made) if alike
                         else types.NamedTuple(members, made))
        else:
            found.append(_simple(word))
    return tuple(found)


def _simple(word: str) -> Any:
    if word == "rng":
        import numba
        import numpy as np

        return numba.typeof(np.random.default_rng(0))
    types: Any = importlib.import_module("numba.core.types")
    scalar, _, axes = word.partition("[")
    number = getattr(types, scalar)
    if not axes:
        return number
    parts = axes.rstrip("]").split(",")
    layout = "C" if parts[-1] == "::1" else "F" if parts[0] == "::1" else "A"
    return types.Array(number, len(parts), layout)


def text_of(kind: Any) -> str:
    """The text that `types_of` reads as numba's type `kind`.

    Examples
    --------
    >>> text_of(types_of("(i8 f4[:,::1])")[0])
    '(i8 f4[:,::1])'
    """
    types: Any = importlib.import_module("numba.core.types")
    if isinstance(kind, types.Array):
        axes = [":"] * kind.ndim
        axes[0 if kind.layout == "F" else -1] = _LAYOUT[kind.layout]
        return f"{text_of(kind.dtype)}[{','.join(axes)}]"
    if isinstance(kind, types.BaseTuple):
        inside = "(" + " ".join(map(text_of, kind)) + ")"
        made = getattr(kind, "instance_class", tuple)
        return inside if made is tuple else f"{made.__module__}.{made.__qualname__}{inside}"
    if isinstance(kind, types.NumPyRandomGeneratorType):
        return "rng"
    if isinstance(kind, types.Boolean):
        return "b1"
    if isinstance(kind, types.Float):
        return f"f{kind.bitwidth // 8}"
    if isinstance(kind, types.Integer):
        return f"{'i' if kind.signed else 'u'}{kind.bitwidth // 8}"
    return str(kind)                                        # `types_of` does not know it


@contextlib.contextmanager
def compiling_ahead(*rooms: str, images: bool = False) -> Iterator[subprocess.Popen[bytes] | None]:
    """For the length of a block another process compiles what is listed, last things first.

    Nothing is started where something has been compiled before, where there is one core, and where code is not kept.

    Parameters
    ----------
    *rooms : str
        Beginnings of names of modules: only what is in these; all by default.
    images : bool
        Also what reads images, for 8 bit. Not where they may be others: numba's cache is safe when two processes
        compile the same, but not when they compile one function for different types in the same millisecond.
    """
    process = _started([*(["--images"] if images else []), *rooms]) if _worth_it() else None
    try:
        yield process
    finally:
        if process is not None:
            process.kill()
            process.communicate()


def _worth_it() -> bool:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if cores < 2 or getattr(sys, "frozen", False) or not sys.executable:
        return False
    from numba import config

    return not getattr(config, "DISABLE_JIT", 0) and not any(_kept(name) for name in _SIGNS)


def _kept(name: str) -> bool:
    """Whether the cache holds code of a function, for whatever types, or cannot hold any."""
    function = Kernel(name, "").function
    place = function.stats.cache_path
    if place is None:
        return True
    module, function_name = name.split(":")
    return any(Path(place).glob(f"{module.rsplit('.', 1)[-1]}.{function_name}-*.nbi"))


def _started(arguments: list[str]) -> subprocess.Popen[bytes] | None:
    try:                                                    # it imports what this process does
        return subprocess.Popen([sys.executable, "-c", _SECOND, os.pathsep.join(sys.path), *arguments],
                                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0))     # of Windows
    except OSError:
        return None


def _leave_with_parent() -> None:
    """End this process when the pipe from its parent closes, which it does however the parent ends."""
    with contextlib.suppress(OSError):
        os.read(0, 1)                                       # nothing is ever written
    os._exit(0)


def main(arguments: list[str]) -> None:
    """The second process: the list from its end."""
    images, rooms = "--images" in arguments, tuple(one for one in arguments if one != "--images")
    signal.signal(signal.SIGINT, signal.SIG_IGN)            # Ctrl-C is for the parent
    threading.Thread(target=_leave_with_parent, name="leave with parent", daemon=True).start()
    for kernel in reversed(listed()):
        if (images or not kernel.reads_images) and kernel.name.startswith(rooms or ""):
            with contextlib.suppress(Exception):            # then it is compiled where it is needed
                kernel.compile()
