"""Numbers with error bars, by the same code for data and rollout.

`msd`, `diffusion`, `drift`, `rdf`, `vacf` take `Trajectories` and return frozen results in µm and s;
`compare` puts two side by side. `thermodynamics` and `stress` take a fluid beside them: what turns
entropies into energies. Neither torch nor a tracker is needed.

Of sheets: `d2min` (with local strain), `psi6`, `t1_events`, `nonaffine`; of driven ones `cycles` (stroboscopic and
extremal frames), `virial_stress` of given pair forces, `moduli` (G', G'' in the bulk), `needle_moduli` (from the
needle's equation of motion) and `softness` (where it will rearrange). Their results have `.dataframe`, `.plot(ax)` and
`.warnings`.
"""

from vid2dyn.analysis.changes_of_motion import ChangePoints, change_points
from vid2dyn.analysis.common_drift import drift
from vid2dyn.analysis.comparison import Comparison, Curve, compare
from vid2dyn.analysis.density_correlations import CollectiveScattering, collective_scattering
from vid2dyn.analysis.diffusion_coefficient import Diffusion, diffusion
from vid2dyn.analysis.diffusion_of_particles import ParticleDiffusion, particle_diffusion
from vid2dyn.analysis.displacement_distribution import NonGaussian, VanHove, non_gaussian, van_hove
from vid2dyn.analysis.drive_cycles import Cycles, EnergyOfCycles, cycles, energy_of_cycles
from vid2dyn.analysis.energy_budget import Thermodynamics, thermodynamics
from vid2dyn.analysis.estimates import Covariances
from vid2dyn.analysis.fractional_motion import AnomalousExponent, anomalous_exponent
from vid2dyn.analysis.hexatic_order import Psi6, psi6
from vid2dyn.analysis.image_differences import DifferentialDynamics, differential_dynamics
from vid2dyn.analysis.local_strain import D2Min, d2min
from vid2dyn.analysis.mean_squared_displacement import MSD, PowerLaw, fit_power_law, msd
from vid2dyn.analysis.nonaffine_motion import NonAffine, nonaffine
from vid2dyn.analysis.pair_motion import HydrodynamicCoupling, TwoPoint, hydrodynamic_coupling, two_point
from vid2dyn.analysis.radial_distribution import RDF, rdf
from vid2dyn.analysis.rearrangements import T1Events, t1_events
from vid2dyn.analysis.result import Result
from vid2dyn.analysis.rheometry import Moduli, moduli, needle_moduli
from vid2dyn.analysis.scattering import Scattering, StructureFactor, intermediate_scattering, structure_factor
from vid2dyn.analysis.stress_tensor import Stress, stress
from vid2dyn.analysis.structural_softness import Softness, softness
from vid2dyn.analysis.velocity_correlation import VACF, vacf
from vid2dyn.analysis.virial import VirialStress, virial_stress

__all__ = ["MSD", "RDF", "VACF", "AnomalousExponent", "ChangePoints", "CollectiveScattering", "Comparison",
           "Covariances", "Curve", "Cycles", "D2Min", "DifferentialDynamics", "Diffusion", "EnergyOfCycles",
           "HydrodynamicCoupling", "Moduli", "NonAffine", "NonGaussian", "ParticleDiffusion", "PowerLaw", "Psi6",
           "Result", "Scattering", "Softness", "Stress", "StructureFactor", "T1Events", "Thermodynamics", "TwoPoint",
           "VanHove", "VirialStress", "anomalous_exponent", "change_points", "collective_scattering", "compare",
           "cycles", "d2min", "differential_dynamics", "diffusion", "drift", "energy_of_cycles", "fit_power_law",
           "hydrodynamic_coupling", "intermediate_scattering", "moduli", "msd", "needle_moduli", "non_gaussian",
           "nonaffine", "particle_diffusion", "psi6", "rdf", "softness", "stress", "structure_factor", "t1_events",
           "thermodynamics", "two_point", "vacf", "van_hove", "virial_stress"]
