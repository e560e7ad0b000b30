"""StochasticForceInference on tracks from a file, in an interpreter of its own (it brings jax).

    python -m venv sfi && sfi/bin/pip install StochasticForceInference==2.0.4
    python scripts/bench_fit.py --quick --sfi sfi/bin/python

which calls ``sfi/bin/python scripts/peer_sfi.py IN.npz OUT.npz MODE``. IN: positions (T, N, 2) [µm], box, dt, cutoff,
inner, knots, r. OUT: force at r [kT/µm], D, seconds. Cubic B-splines between the shortest distance and the cutoff are
fitted; MODE is "auto" (the linear estimator with its default preset), "clean" (the same with the preset for data
without noise) or "parametric" (the noise-aware one, D and noise fitted with it).
"""

from __future__ import annotations

import sys
import time

import jax.numpy as jnp
import numpy as np
from SFI import OverdampedLangevinInference, TrajectoryCollection
from SFI.bases.pairs import radial_pair_basis


def kernels(inner: float, cutoff: float, knots: int) -> list:
    """Uniform cubic B-splines on [inner, cutoff], zero with two derivatives at the cutoff."""
    width = (cutoff - inner) / knots

    def kernel(middle: float):
        def value(r):
            s = jnp.abs(r - middle) / width
            near = (4 - 6 * s**2 + 3 * s**3) / 6
            far = jnp.clip(2 - s, 0, None) ** 3 / 6
            return jnp.where(s < 1, near, far) * (r < cutoff)
        return value

    return [(kernel(inner + (k - 1) * width), f"B{k}") for k in range(knots)]


def main() -> None:
    given = np.load(sys.argv[1])
    start = time.perf_counter()
    data = TrajectoryCollection.from_arrays(X=given["positions"], dt=float(given["dt"]))
    found = kernels(float(given["inner"]), float(given["cutoff"]), int(given["knots"]))
    basis = radial_pair_basis(found, dim=2, box=jnp.asarray(given["box"])).dispatch_pairs()
    fit = OverdampedLangevinInference(data)
    if sys.argv[3] == "parametric":
        fit.infer_force(basis)
    else:
        fit.compute_diffusion_constant()
        fit.infer_force_linear(basis, preset=sys.argv[3])
    D = float(np.trace(np.asarray(fit.diffusion_average)) / 2)
    r = jnp.asarray(given["r"])
    values = np.stack([np.asarray(k(r)) for k, _ in found], axis=1)
    # their unit vector points from a particle to its neighbour: repulsion is negative
    force = -values @ np.asarray(fit.force_coefficients_full).ravel() / D
    np.savez(sys.argv[2], force=force, D=D, seconds=time.perf_counter() - start)


if __name__ == "__main__":
    main()
