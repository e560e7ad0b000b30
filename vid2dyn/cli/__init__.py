"""The command line ``vid2dyn``: `commands` are the verbs, `options` are made from the settings."""

from vid2dyn.cli.commands import main

__all__ = ["main"]
