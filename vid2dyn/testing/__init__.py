"""Checks that a new part inherits.

`brackets` holds the laws of friction matrices, potentials and dynamics, `fluids` those of fluids of particles, `parts`
the contracts of simulators, readers and dynamics as parts of vid2dyn, `terms` that of energies and frictions.
"""

from vid2dyn.testing.brackets import (
    FrictionLaws,
    PotentialLaws,
    check_divergence,
    check_friction,
    check_overdamped,
    check_potential,
    random_snapshot,
    standard_states,
    whitened_noise_pvalue,
)
from vid2dyn.testing.parts import (
    DynamicsContract,
    ReaderContract,
    SimulatorContract,
    check_bad_files,
    check_model,
    check_reader,
    check_recipe,
    check_settings,
    check_simulator,
)
from vid2dyn.testing.terms import TermContract, check_term

__all__ = ["DynamicsContract", "FrictionLaws", "PotentialLaws", "ReaderContract", "SimulatorContract", "TermContract",
           "check_bad_files", "check_divergence", "check_friction", "check_model", "check_overdamped",
           "check_potential", "check_reader", "check_recipe", "check_settings", "check_simulator", "check_term",
           "random_snapshot", "standard_states", "whitened_noise_pvalue"]
