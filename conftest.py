"""How a run of all tests uses the machine, and what is left out where Qt cannot start.

`pytest` alone runs everything on as many processes as there are cores, four at most (beyond that, compiling and the
longest tests take the time), each calculating with its share of the cores. Named files, folders or tests run in this
process, where a debugger and ``-s`` work; so do the slow cases, some of which measure speed. ``-n`` overrules all that.
"""

from __future__ import annotations

import gc
import importlib
import os
from collections.abc import Generator

import pytest

MOST = 4


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


WORKER = "PYTEST_XDIST_WORKER" in os.environ
if WORKER:
    # before numpy and torch are imported: threads of several processes that wait for each other take many times as long
    _share = max(1, _cores() // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))
    os.environ.setdefault("OMP_NUM_THREADS", str(_share))
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    # Where Qt cannot start (no binding, no system libraries), pytest-qt would end the whole run.
    try:
        importlib.import_module("PyQt6.QtWidgets")
        importlib.import_module("PyQt6.QtTest")
    except ImportError:
        plugin = pluginmanager.get_plugin("pytest-qt")
        if plugin is not None:
            pluginmanager.unregister(plugin)


def pytest_configure() -> None:
    if WORKER:                                               # libraries that a plugin imported before the lines above
        import threadpoolctl

        threadpoolctl.threadpool_limits(_share)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Importing makes no garbage: the collector, which would look through all of it again and again, waits."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_finish() -> None:
    """What was imported is no garbage: it is set aside, and not looked through whenever the collector runs."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000)                                 # compiling makes many objects, of which few are garbage


@pytest.hookimpl(tryfirst=True)                              # before pytest-xdist reads the number of its workers
def pytest_cmdline_main(config: pytest.Config) -> None:
    option = config.option
    everything = config.args_source is pytest.Config.ArgsSource.TESTPATHS and not option.collectonly
    alone = getattr(option, "cases", False) or option.usepdb or option.capture == "no" or WORKER
    # a worker has no workers of its own
    if config.pluginmanager.hasplugin("xdist") and option.numprocesses is None and everything and not alone:
        workers = min(_cores(), MOST)
        option.numprocesses = workers if workers > 1 else None
        if option.numprocesses and option.dist == "no":
            option.dist = "worksteal"                        # neighbours, which share fixtures, stay together
