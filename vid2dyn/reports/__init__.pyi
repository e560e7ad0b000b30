from vid2dyn.reports import drawing as drawing
from vid2dyn.reports import figures as figures
from vid2dyn.reports import headline as headline
from vid2dyn.reports import page as page
from vid2dyn.reports import suggestion as suggestion

__all__: list[str]
