"""Numbers with error bars, by the same code for data and rollout.

`msd`, `diffusion`, `drift`, `rdf`, `vacf` take `Trajectories` and return frozen results in µm and s;
`compare` puts two side by side. `thermodynamics` and `stress` take a fluid beside them: what turns
entropies into energies. Neither torch nor a tracker is needed.
"""

from vid2dyn.analysis.common_drift import drift
from vid2dyn.analysis.comparison import Comparison, Curve, compare
from vid2dyn.analysis.diffusion_coefficient import Diffusion, diffusion
from vid2dyn.analysis.diffusion_of_particles import ParticleDiffusion, particle_diffusion
from vid2dyn.analysis.displacement_distribution import NonGaussian, VanHove, non_gaussian, van_hove
from vid2dyn.analysis.energy_budget import Thermodynamics, thermodynamics
from vid2dyn.analysis.estimates import Covariances
from vid2dyn.analysis.mean_squared_displacement import MSD, PowerLaw, fit_power_law, msd
from vid2dyn.analysis.radial_distribution import RDF, rdf
from vid2dyn.analysis.result import Result
from vid2dyn.analysis.scattering import Scattering, StructureFactor, intermediate_scattering, structure_factor
from vid2dyn.analysis.stress_tensor import Stress, stress
from vid2dyn.analysis.velocity_correlation import VACF, vacf

__all__ = ["MSD", "RDF", "VACF", "Comparison", "Covariances", "Curve", "Diffusion", "NonGaussian",
           "ParticleDiffusion", "PowerLaw", "Result", "Scattering", "Stress", "StructureFactor", "Thermodynamics",
           "VanHove", "compare", "diffusion", "drift", "fit_power_law", "intermediate_scattering", "msd",
           "non_gaussian", "particle_diffusion", "rdf", "stress", "structure_factor", "thermodynamics", "vacf",
           "van_hove"]
