"""The sections of the panel, in the order of the work; one file each."""

from vid2dyn_napari.sections.detect import Detect
from vid2dyn_napari.sections.editing import Edit
from vid2dyn_napari.sections.export import Export
from vid2dyn_napari.sections.fit import Fit
from vid2dyn_napari.sections.learned import Learned
from vid2dyn_napari.sections.opening import Open
from vid2dyn_napari.sections.rollout import Rollout
from vid2dyn_napari.sections.sheet import Sheet
from vid2dyn_napari.sections.tracking import Track

SECTIONS = (Open, Detect, Track, Edit, Fit, Learned, Rollout, Sheet, Export)

__all__ = ["SECTIONS", "Detect", "Edit", "Export", "Fit", "Learned", "Open", "Rollout", "Sheet", "Track"]
