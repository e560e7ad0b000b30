"""Tests with windows: skipped with a message where napari, pytest-qt or a display is missing; never an abort."""

from __future__ import annotations

import functools
import gc
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

HOW = 'pip install -e ".[gui,test]", and apt-get install xvfb libxcb-icccm4 libxcb-keysyms1'
NEEDED = ("napari", "pytestqt", "qtpy")


@functools.cache
def reason() -> str:
    """Why no window can open; empty if one can. Qt without a display ends the process, so another one tries."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        return f"{', '.join(missing)} not installed ({HOW})"
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return f"no display ({HOW})"
    done = subprocess.run([sys.executable, "-c", "from qtpy.QtWidgets import QApplication; QApplication([])"],
                          capture_output=True, text=True, timeout=120)
    return "" if done.returncode == 0 else f"Qt cannot open a window: {done.stderr.strip()[-200:]} ({HOW})"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "window" in item.keywords and reason():
            item.fixturenames.clear()                     # type: ignore[attr-defined]
            item.add_marker(pytest.mark.skip(reason=reason()))


@pytest.fixture(autouse=True)
def _imports_set_aside() -> None:
    """napari looks for garbage whenever a layer goes. What libraries made when they were imported never is: set aside,
    it is not looked through each time, which took most of the time of these tests."""
    if "vid2dyn_napari.panel" not in sys.modules and not reason():
        importlib.import_module("vid2dyn_napari.panel")
        importlib.import_module("torch")
    if len(gc.get_objects()) > 100_000:
        gc.collect()
        gc.freeze()


@pytest.fixture
def panel(make_napari_viewer: Callable[..., Any], qtbot: Any) -> Any:
    """The panel docked in a viewer, as the Plugins menu opens it."""
    from vid2dyn_napari.panel import open_panel

    viewer = make_napari_viewer()
    made = open_panel(viewer)
    yield made
    made.stop()
    qtbot.waitUntil(lambda: not made.worker.busy, timeout=5000)
