"""Tracking: Video in, Trajectories out.

`track` runs a `Detector` (features of one frame) and a `Linker` (particle numbers) over a movie, one frame at
a time; `Track` holds all settings. Every position carries a calibrated standard error: see
`vid2dyn.tracking.information`.
"""

from vid2dyn.tracking.choice import frame_numbers, settings_in_force
from vid2dyn.tracking.detect import COLUMNS, FLAGS, CrockerGrier, Detector
from vid2dyn.tracking.detectors import detector
from vid2dyn.tracking.filters import keep
from vid2dyn.tracking.link import Linker, LinkStream, NearestLinks
from vid2dyn.tracking.minmass import automatic_minmass
from vid2dyn.tracking.movie import track
from vid2dyn.tracking.noise import CameraNoise, camera_noise
from vid2dyn.tracking.phase import PhaseCorrection, phase_correction, without_phase_bias
from vid2dyn.tracking.precision import centroid_std
from vid2dyn.tracking.relinking import relink
from vid2dyn.tracking.settings import Track
from vid2dyn.tracking.spots import SpotFitter
from vid2dyn.tracking.suggest import Proposal, propose

__all__ = ["COLUMNS", "FLAGS", "CameraNoise", "CrockerGrier", "Detector", "LinkStream", "Linker", "NearestLinks",
           "PhaseCorrection", "Proposal", "SpotFitter", "Track", "automatic_minmass", "camera_noise", "centroid_std",
           "detector", "frame_numbers", "keep", "phase_correction", "propose", "relink", "settings_in_force",
           "track", "without_phase_bias"]
