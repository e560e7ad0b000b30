from typing import Any

from vid2dyn.simulators.base import Simulator as Simulator
from vid2dyn.simulators.base import TruePositions as TruePositions
from vid2dyn.simulators.brownian.departures import Departures as Departures
from vid2dyn.simulators.brownian.hidden_state import HiddenState as HiddenState
from vid2dyn.simulators.brownian.mixture import BrownianMixture as BrownianMixture
from vid2dyn.simulators.brownian.pair_base import AnalyticPairPotential as AnalyticPairPotential
from vid2dyn.simulators.brownian.pair_potentials import WCA as WCA
from vid2dyn.simulators.brownian.pair_potentials import Dipolar as Dipolar
from vid2dyn.simulators.brownian.pair_potentials import Morse as Morse
from vid2dyn.simulators.brownian.pair_potentials import Soft as Soft
from vid2dyn.simulators.brownian.pair_potentials import Yukawa as Yukawa
from vid2dyn.simulators.brownian.simulator import Brownian as Brownian
from vid2dyn.simulators.camera.challenge import TrackingChallenge as TrackingChallenge
from vid2dyn.simulators.camera.observation import exposure_average as exposure_average
from vid2dyn.simulators.camera.observation import observe as observe
from vid2dyn.simulators.camera.rendered_video import RenderedVideo as RenderedVideo
from vid2dyn.simulators.camera.rendered_video import render as render
from vid2dyn.simulators.camera.renderer import Renderer as Renderer
from vid2dyn.simulators.camera.stack_renderer import RenderedStacks as RenderedStacks
from vid2dyn.simulators.camera.stack_renderer import StackRenderer as StackRenderer
from vid2dyn.simulators.fluid.dpd import DPD as DPD
from vid2dyn.simulators.fluid.sdpd.gas import SDPD as SDPD
from vid2dyn.simulators.interface.needle import Needle as Needle
from vid2dyn.simulators.lattice.processes import Arrhenius as Arrhenius
from vid2dyn.simulators.lattice.processes import ZeroRange as ZeroRange
from vid2dyn.simulators.star_polymer import StarPolymer as StarPolymer
from vid2dyn.simulators.viscoelastic import ViscoelasticSheet as ViscoelasticSheet

__all__: list[str]

def __getattr__(name: str) -> Any: ...  # parts of outside packages
