from typing import Any

from vid2dyn.dynamics.terms.base import Energy as Energy
from vid2dyn.dynamics.terms.base import Friction as Friction
from vid2dyn.dynamics.terms.bond_dashpot import BondDashpot as BondDashpot
from vid2dyn.dynamics.terms.bond_energy import BondEnergy as BondEnergy
from vid2dyn.dynamics.terms.conduction import Conduction as Conduction
from vid2dyn.dynamics.terms.deformation_energy import DeformationEnergy as DeformationEnergy
from vid2dyn.dynamics.terms.density_energy import DensityEnergy as DensityEnergy
from vid2dyn.dynamics.terms.equation_of_state import EquationOfState as EquationOfState
from vid2dyn.dynamics.terms.external_potential import ExternalPotential as ExternalPotential
from vid2dyn.dynamics.terms.harmonic_trap import HarmonicTrap as HarmonicTrap
from vid2dyn.dynamics.terms.node_volume import NodeVolume as NodeVolume
from vid2dyn.dynamics.terms.pair_friction import PairFriction as PairFriction
from vid2dyn.dynamics.terms.pair_memory import PairMemory as PairMemory
from vid2dyn.dynamics.terms.pair_potential import PairPotential as PairPotential
from vid2dyn.dynamics.terms.substrate_friction import SubstrateFriction as SubstrateFriction

def __getattr__(name: str) -> Any: ...
