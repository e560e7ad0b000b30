from typing import Any

from vid2dyn.dynamics.terms.base import Energy as Energy
from vid2dyn.dynamics.terms.base import Friction as Friction
from vid2dyn.dynamics.terms.pair_friction import PairFriction as PairFriction
from vid2dyn.dynamics.terms.pair_memory import PairMemory as PairMemory
from vid2dyn.dynamics.terms.pair_potential import PairPotential as PairPotential

def __getattr__(name: str) -> Any: ...
