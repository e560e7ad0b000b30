from vid2dyn.runs import chunks as chunks
from vid2dyn.runs import demo as demo
from vid2dyn.runs import experiment as experiment
from vid2dyn.runs import movies as movies
from vid2dyn.runs import one as one
from vid2dyn.runs import stages as stages
from vid2dyn.runs import tables as tables
from vid2dyn.runs.demo import sample_data as sample_data

__all__: list[str]
