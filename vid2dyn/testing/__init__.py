"""Checks that a new part inherits: `brackets` for dynamics, `fluids` for fluids of particles."""

from vid2dyn.testing.brackets import *  # noqa: F403
