"""vid2dyn: video of moving particles in, a thermodynamically consistent stochastic model out.

The rooms of the house, in the order in which data flow through them read from below; a room imports only from lines
below its own::

    cli          the command line
    runs         experiment files; one recording, many movies, parts of a movie; the demonstration
    pipeline     the verbs: open, track, diffusion, simulate, fit, compare, load, report
    fitting, reports     data and a recipe -> a model with error bars; the page that shows it, and proposed settings
    model        what a fitted model can say, and its file
    rollout      dynamics and a start -> trajectories: plain steps in torch, compiled loops
    inference    velocities -> the entropy that nobody sees, and the likelihood of a fluid
    encoders     surroundings or picture of a particle -> latent columns of its state
    dynamics     potentials + friction matrix M = G Gᵀ: drift, noise and laws follow (torch begins here)
    tracking, readers, convert, simulators, analysis     video -> tracks; files; tables; known truth; numbers with
    errors data         video, trajectories, fields, units, box
    core         errors, settings, registry, files, progress, processes, neighbours, noise of pairs, linear solver

`testing` holds the checks that a new part inherits. Public names load on first use, so `import vid2dyn` is fast; they
are listed in `__init__.pyi`.
"""

from vid2dyn.core.lazy import attach

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = attach(__name__, __file__)
__all__ += ["__version__"]
