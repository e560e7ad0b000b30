# Every public name and where it lives: read by editors and type checkers, and by vid2dyn.core.lazy at run time.
from vid2dyn import analysis as analysis
from vid2dyn import assessment as assessment
from vid2dyn import convert as convert
from vid2dyn import core as core
from vid2dyn import data as data
from vid2dyn import dynamics as dynamics
from vid2dyn import export as export
from vid2dyn import readers as readers
from vid2dyn import reports as reports
from vid2dyn import runs as runs
from vid2dyn import simulators as simulators
from vid2dyn import tracking as tracking
from vid2dyn.core.errors import ConfigError as ConfigError
from vid2dyn.core.errors import DataError as DataError
from vid2dyn.core.errors import ModelError as ModelError
from vid2dyn.core.errors import UnitsError as UnitsError
from vid2dyn.core.errors import Vid2DynError as Vid2DynError
from vid2dyn.core.errors import Vid2DynWarning as Vid2DynWarning
from vid2dyn.core.progress import Cancelled as Cancelled
from vid2dyn.core.progress import Progress as Progress
from vid2dyn.data.box import Box as Box
from vid2dyn.data.box import Free as Free
from vid2dyn.data.box import LeesEdwards as LeesEdwards
from vid2dyn.data.box import Periodic as Periodic
from vid2dyn.data.fields import Fields as Fields
from vid2dyn.data.trajectories import Trajectories as Trajectories
from vid2dyn.data.units import Units as Units
from vid2dyn.data.video import Video as Video
from vid2dyn.dynamics import terms as terms
from vid2dyn.dynamics.recipes.brownian import Brownian as Brownian
from vid2dyn.dynamics.recipes.gradient_flow import GradientFlow as GradientFlow
from vid2dyn.dynamics.recipes.metriplectic import Metriplectic as Metriplectic
from vid2dyn.encoders.patches.encoder import encode as encode
from vid2dyn.encoders.patches.recipe import PatchEncoder as PatchEncoder
from vid2dyn.model import Model as Model
from vid2dyn.pipeline import assess as assess
from vid2dyn.pipeline import compare as compare
from vid2dyn.pipeline import diffusion as diffusion
from vid2dyn.pipeline import fit as fit
from vid2dyn.pipeline import load as load
from vid2dyn.pipeline import open_recording
from vid2dyn.pipeline import render as render
from vid2dyn.pipeline import report as report
from vid2dyn.pipeline import simulate as simulate
from vid2dyn.pipeline import suggest as suggest
from vid2dyn.pipeline import track as track
from vid2dyn.runs.demo import demo as demo
from vid2dyn.runs.movies import run as run
from vid2dyn.tracking.curation import curate as curate

open = open_recording
__version__: str
__all__: list[str]
