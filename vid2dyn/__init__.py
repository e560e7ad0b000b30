"""vid2dyn: video of moving particles in, a thermodynamically consistent stochastic model out.

The rooms of the house. Read from below it is the way of the data; a room imports only from lines below its own::

    cli          the command line
    runs         experiment files; one recording, many movies, parts of a movie; the demonstration
    testing      checks that a new part inherits
    __main__     python -m vid2dyn: the command line
    pipeline     the verbs: open, track, diffusion, simulate, fit, compare, load, report, assess
    export       models for other programs: LAMMPS, tables of pair potentials
    reports      the page that shows data and model, section by section; proposed settings
    fitting      data and a recipe -> a model with error bars
    assessment   steps whitened by a model -> every assumption of it tested
    model        what a fitted model can say, and its file
    rollout      dynamics and a start -> trajectories: plain steps in torch, compiled loops
    inference    velocities -> the entropy that nobody sees, and the likelihood of a fluid
    encoders     surroundings or picture of a particle -> latent columns of its state
    dynamics     potentials + friction matrix M = G Gᵀ: drift, noise and laws follow (torch begins here)
    tracking     video -> tracks: detect, fit, link
    readers      files of recordings -> video
    convert      tables of other programs <-> trajectories; tracks -> density fields
    simulators   parameters -> data whose truth is known; they share no code with what learns from them
    analysis     numbers with error bars; scores against known truth
    data         video, trajectories, fields, units, box
    errors       the errors under a short name; they live in core
    core         errors, settings, registry, files, checkpoints, progress, processes, neighbours, pair noise, solvers

runs and testing, the three of fitting, reports and export, and the five from tracking to analysis do not import each
other. How to add a part, and what the words mean: docs/contributing.md. Public names load on first use, so
`import vid2dyn` is fast; they are listed in `__init__.pyi`.
"""

from vid2dyn.core.code_cache import with_a_place_for_code
from vid2dyn.core.lazy import attach
from vid2dyn.core.threads import without_useless_settings

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = attach(__name__, __file__)
__all__ += ["__version__"]
without_useless_settings()
with_a_place_for_code()
