from vid2dyn.tracking.automatic import frame_numbers as frame_numbers
from vid2dyn.tracking.automatic import settings_in_force as settings_in_force
from vid2dyn.tracking.columns import COLUMNS as COLUMNS
from vid2dyn.tracking.columns import FLAGS as FLAGS
from vid2dyn.tracking.columns import Feature as Feature
from vid2dyn.tracking.columns import Flag as Flag
from vid2dyn.tracking.detect.base import Detector as Detector
from vid2dyn.tracking.detect.crocker_grier import CrockerGrier as CrockerGrier
from vid2dyn.tracking.detect.factory import detector as detector
from vid2dyn.tracking.detect.minmass import automatic_minmass as automatic_minmass
from vid2dyn.tracking.detect.spots import SpotFitter as SpotFitter
from vid2dyn.tracking.filters import keep as keep
from vid2dyn.tracking.fit.precision import centroid_std as centroid_std
from vid2dyn.tracking.link.linker import Linker as Linker
from vid2dyn.tracking.link.linker import LinkStream as LinkStream
from vid2dyn.tracking.link.linker import NearestLinks as NearestLinks
from vid2dyn.tracking.link.relinking import relink as relink
from vid2dyn.tracking.movie import track as track
from vid2dyn.tracking.phase import PhaseCorrection as PhaseCorrection
from vid2dyn.tracking.phase import phase_correction as phase_correction
from vid2dyn.tracking.phase import without_phase_bias as without_phase_bias
from vid2dyn.tracking.sensor_noise import CameraNoise as CameraNoise
from vid2dyn.tracking.sensor_noise import camera_noise as camera_noise
from vid2dyn.tracking.settings import Track as Track
from vid2dyn.tracking.suggest import Proposal as Proposal
from vid2dyn.tracking.suggest import propose as propose

__all__: list[str]
