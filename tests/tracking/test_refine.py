"""When the correction for noise and blur does not settle: the plain estimate, said so, with finite errors."""

import numpy as np
import pytest

import vid2dyn as vd
from vid2dyn.core.errors import ModelError
from vid2dyn.fitting.brownian import indirect


@pytest.fixture(scope="module")
def tracks():
    return vd.simulators.Brownian(n_particles=60, frames=80, box_length=15.0, pair=vd.simulators.Yukawa(amplitude=10.0),
                                  localisation_error=0.027, exposure=0.01).run(seed=1)


@pytest.mark.parametrize("how", ["swings", "blows up"])
def test_a_correction_that_never_settles(tracks, monkeypatch, how):
    def never(job, p, *rest):
        if how == "blows up":
            raise ModelError("The rollout left the numbers.")
        return p, None

    settled = vd.fit(tracks, vd.Brownian(cutoff=3.0), seed=0)
    monkeypatch.setattr(indirect, "_iterate", never)
    found = vd.fit(tracks, vd.Brownian(cutoff=3.0), seed=0)
    assert any("did not settle" in warning for warning in found.report["warnings"])
    assert not any("did not settle" in warning for warning in settled.report["warnings"])
    r = np.linspace(*found.support, 50)[:-1]
    low, high = found.band("pair_potential", r)
    assert np.isfinite(low).all()
    assert (low < high).all()
    assert np.isfinite(found.report["held_out"]["gain_per_step"])
    assert 0.2 < found.diffusion() < 0.6
    # nothing was undone: noise and blur soften the core, so the force near contact is weaker than the corrected one
    assert found.pair_force(r[:10]).mean() < settled.pair_force(r[:10]).mean()
