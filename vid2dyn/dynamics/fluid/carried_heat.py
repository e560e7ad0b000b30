"""Heat of their own for particles of a frozen list of terms: tables of U(S, V) in place of one temperature.

    E_i = C kT' [e^(S_i/C) - 1] + [e^(β S_i/C) - 1] (Φ_i - <Φ>)/2,      Φ_i = sum_j φ(r_ij)

beside what the list has at one temperature (`vid2dyn.inference.hidden_heat` says where C, β come from). The second part
makes pair energies grow as T^β; <Φ>, the mean of the data, only says what belongs to C, so that particles at S = 0 have
the temperature kT. A frozen fluid knows densities d_i = own_i + sum_j W(r_ij) and energies U(S, 1/d): with W = φ/2 the
density is energy of the pairs, and U is the above with Φ_i/2 = d_i - own_i. So the compiled loop, exact energy and all,
runs these particles as any other fluid. own_i is free, and so large that densities stay positive. In a mixture W
differs between kinds of pairs, and own of species a is larger by [mean of all <Φ> - <Φ>_a]/2, so that one table serves
every species.

Pair memory stays at one temperature. Its modes are variables of pairs with an energy of their own, dim/2 kB each: with
two modes and thirty neighbours in space 45 kB a particle, where a star polymer was found to carry 9. They take heat
from their two particles and give it back within the memory time, so heat would not last as long as it was seen to.

Heat flows between neighbours, C²_ij = κ w(r) T_i T_j with w = (1 - r²/R²)², such that the mean rate at which a particle
comes to the temperature of its neighbours is 1/τ.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np

from vid2dyn.core.errors import ModelError
from vid2dyn.dynamics.fluid.frozen import FrozenFluid

REACH = 10.0
"""Standard deviations of S that the table covers; down to half of them where T would not be positive."""
NODES = (401, 65)
ROOM = 20.0
"""own_i is at least so many times kT and the depth of the pair energy, so that densities stay positive."""


def can_carry(frozen: FrozenFluid) -> bool:
    """Whether particles of these tables can have heat of their own: one temperature, no density energy, no memory."""
    return frozen.temperature is not None and frozen.density_energy is None and not frozen.memory


@dataclass(frozen=True)
class CarriedHeat:
    """Numbers of the heat of particles; the same for every species but <Φ>.

    Parameters
    ----------
    heat_capacity : float
        C [kB].
    exponent : float
        β.
    conductance : float
        κ [kB/s].
    reach : float
        R [µm].
    mean_energy : float or one float per species
        <Φ> [energy].

    Examples
    --------
    >>> CarriedHeat(10.0, 0.5, 2.0, 1.5, 0.0).heat_capacity
    10.0
    """

    heat_capacity: float
    exponent: float
    conductance: float
    reach: float
    mean_energy: float | tuple[float, ...]

    def added_to(self, frozen: FrozenFluid) -> FrozenFluid:
        """The same particles with heat of their own.

        Raises
        ------
        ModelError
            For a model that cannot (`can_carry`); when forces depend on heat so strongly that temperatures would be
            negative.
        """
        if not can_carry(frozen):
            raise ModelError("CarriedHeat: particles with pair energies, pair friction, drag and potentials can "
                             "carry heat; not with a density energy or memory.")
        rows = len(frozen.pair_energy[0]) if frozen.pair_energy is not None else 129
        r = np.linspace(0.0, frozen.cutoff, rows)
        kernel, own, span = self._kernel(frozen, rows)
        entropy, log_volume, eos = self._equation_of_state(float(frozen.temperature or 0.0), float(own.mean()), span,
                                                           self.exponent if frozen.pair_energy is not None else 0.0)
        s = np.minimum(r / self.reach, 1.0)
        heat = self.conductance * np.stack([(1 - s**2) ** 2, -4.0 * s * (1 - s**2) / self.reach], axis=1)
        heat[-1] = 0.0
        bath = frozen.drag_temperature
        if bath is None and frozen.drag is not None:
            bath = frozen.temperature
        return dataclasses.replace(frozen, temperature=None, kernel=kernel, own_density=own, heat=heat,
                                   temperature_power=1, entropy=entropy, log_volume=log_volume, eos=eos,
                                   drag_temperature=bath)

    def _kernel(self, frozen: FrozenFluid, rows: int) -> tuple[np.ndarray, np.ndarray, tuple[float, float]]:
        """W, own_a of every species, and the range of densities below and above their mean for which there are tables.
        """
        if frozen.pair_energy is None or self.exponent == 0.0:
            return np.zeros((rows, 2)), np.ones(frozen.species), (0.0, 1.0)
        kernel = 0.5 * frozen.pair_energy
        deepest = float(max(0.0, -kernel[..., 0].min()))
        own = max(float(kernel[:, 0, 0].max()), ROOM * (float(frozen.temperature or 0.0) + deepest))
        mean = np.broadcast_to(np.asarray(self.mean_energy, float), (frozen.species,))
        apart = 0.5 * (mean.mean() - mean)
        # two particles on top of each other add as much as φ(0)/2 again
        return (kernel if frozen.species > 1 else kernel[0]), own + apart, (
            -0.5 * ROOM * deepest + float(apart.min()), 2.0 * own + float(apart.max()))

    def _equation_of_state(self, kT: float, own: float, span: tuple[float, float], beta: float
                           ) -> tuple[tuple[float, float], tuple[float, float], np.ndarray]:
        C = self.heat_capacity
        log_volume = (-math.log(own + span[1]), -math.log(max(own + span[0], 0.02 * own)) + 1e-6)
        x = np.linspace(*log_volume, NODES[1])
        d = np.exp(-x)
        for width in REACH * math.sqrt(C) * 0.9 ** np.arange(8):
            S = np.linspace(-width, width, NODES[0])[:, None]
            hot, coupled = np.exp(S / C), np.exp(beta * S / C)
            above = d[None] - own - 0.5 * float(np.mean(self.mean_energy))
            eos = np.stack([C * kT * (hot - 1.0) + (coupled - 1.0) * above,
                            kT * hot + beta / C * coupled * above,
                            -(coupled - 1.0) * d[None], -beta / C * coupled * d[None]], axis=2)
            if beta == 0.0:
                eos[..., 2:] = 0.0
            if (eos[..., 1] > 0).all():
                return (-float(width), float(width)), log_volume, eos
        raise ModelError(f"CarriedHeat: with a heat capacity of {C:.3g} kB and forces that go as T^{beta:.3g} "
                         "particles would have negative temperatures: the data do not tell these numbers well "
                         "enough.")
