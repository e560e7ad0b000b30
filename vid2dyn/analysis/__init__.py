"""Numbers with error bars, by the same code for data and rollout.

`msd`, `diffusion`, `drift`, `rdf`, `vacf` take `Trajectories` and return frozen results in µm and s;
`compare` puts two side by side. `thermodynamics` and `stress` take a fluid beside them: what turns
entropies into energies. Neither torch nor a tracker is needed.
"""

from vid2dyn.analysis.compare import Comparison, Curve, compare
from vid2dyn.analysis.diffusion import Covariances, Diffusion, diffusion
from vid2dyn.analysis.drift import drift
from vid2dyn.analysis.msd import MSD, PowerLaw, fit_power_law, msd
from vid2dyn.analysis.stress import Stress, stress
from vid2dyn.analysis.structure import RDF, rdf
from vid2dyn.analysis.thermodynamics import Thermodynamics, thermodynamics
from vid2dyn.analysis.velocity import VACF, vacf

__all__ = ["MSD", "RDF", "VACF", "Comparison", "Covariances", "Curve", "Diffusion", "PowerLaw", "Stress",
           "Thermodynamics", "compare", "diffusion", "drift", "fit_power_law", "msd", "rdf", "stress",
           "thermodynamics", "vacf"]
