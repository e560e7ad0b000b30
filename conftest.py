"""Where Qt cannot start (no binding, no system libraries), pytest-qt would end the whole run; it is left out there."""

from __future__ import annotations

import importlib

import pytest


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    try:
        importlib.import_module("PyQt6.QtWidgets")
        importlib.import_module("PyQt6.QtTest")
    except ImportError:
        plugin = pluginmanager.get_plugin("pytest-qt")
        if plugin is not None:
            pluginmanager.unregister(plugin)
