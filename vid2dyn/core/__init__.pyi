from vid2dyn.core import config as config
from vid2dyn.core import describe as describe
from vid2dyn.core import errors as errors
from vid2dyn.core import files as files
from vid2dyn.core import neighbours as neighbours
from vid2dyn.core import pair_noise as pair_noise
from vid2dyn.core import progress as progress
from vid2dyn.core import registry as registry
from vid2dyn.core import sealed as sealed
from vid2dyn.core import workers as workers

__all__: list[str]
