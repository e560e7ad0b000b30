"""The sheared box: exact identities, on numpy and torch alike."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vid2dyn.core.errors import ConfigError
from vid2dyn.data.box import Box, LeesEdwards, Periodic

numbers = st.floats(-3.0, 3.0)


@pytest.mark.parametrize("dim", [2, 3])
@settings(max_examples=50, deadline=None)
@given(rate=numbers, strain=numbers, seed=st.integers(0, 1000))
def test_displacement_is_the_shortest_of_all_images(dim: int, rate: float, strain: float, seed: int) -> None:
    """Every pair nearer than half the shortest edge, against a search over images; relative velocity with it."""
    rng = np.random.default_rng(seed)
    lengths = (4.0, 5.0, 6.0)[:dim]
    box = LeesEdwards(lengths, rate, strain)
    a, b, va, vb = (rng.uniform(-8, 8, (60, dim)) for _ in range(4))
    b[:30] = a[:30] + rng.uniform(-1, 1, (30, dim)) + 4.0 * rng.integers(-1, 2, 30)[:, None] * np.eye(dim)[0]
    d, w = box.displacement(a, b), box.relative_velocity(a, b, va, vb)
    best = np.full(60, np.inf)
    image_d, image_w = np.zeros_like(d), np.zeros_like(w)
    for n in range(-6, 7):
        up = np.zeros(dim)
        up[:2] = n * lengths[0], n * strain * lengths[0]
        e = a - b - up
        e[:, 1:] -= np.asarray(lengths[1:]) * np.round(e[:, 1:] / np.asarray(lengths[1:]))
        r = np.linalg.norm(e, axis=1)
        nearer = r < best
        best[nearer], image_d[nearer] = r[nearer], e[nearer]
        image_w[nearer] = (va - vb - n * rate * lengths[0] * np.eye(dim)[1])[nearer]
    close = best < 0.5 * min(lengths) * (1 - 1e-9)
    np.testing.assert_allclose(d[close], image_d[close], atol=1e-12)
    np.testing.assert_allclose(w[close], image_w[close], atol=1e-12)


def test_wrapping_changes_no_displacement_and_no_relative_velocity() -> None:
    rng = np.random.default_rng(1)
    box = LeesEdwards((4.0, 5.0, 6.0), 0.7, 1.3)
    a, b, va, vb = (rng.uniform(-20, 20, (500, 3)) for _ in range(4))
    wa, wb = box.wrap(a), box.wrap(b)
    assert (wa >= 0).all()
    assert (wa <= np.asarray(box.lengths)).all()
    d, e = box.displacement(a, b), box.displacement(wa, wb)
    close = np.linalg.norm(d, axis=1) < 2.0
    assert close.sum() > 20
    np.testing.assert_allclose(e[close], d[close], atol=1e-11)
    np.testing.assert_allclose(
        box.relative_velocity(wa, wb, box.wrap_velocity(a, va), box.wrap_velocity(b, vb))[close],
        box.relative_velocity(a, b, va, vb)[close], atol=1e-11)


def test_relative_velocity_is_the_rate_of_the_displacement() -> None:
    """d/dt of displacement while both move freely and the images slide: exact in a linear motion."""
    rng = np.random.default_rng(2)
    box = LeesEdwards((4.0, 5.0), 0.7, 0.2)
    a, va, vb = (rng.uniform(-8, 8, (400, 2)) for _ in range(3))
    b = a + rng.uniform(-0.9, 0.9, (400, 2)) + 4.0 * rng.integers(-3, 4, 400)[:, None] * np.eye(2)[0]
    t = 1e-3
    moved = box.after(t).displacement(a + va * t, b + vb * t) - box.displacement(a, b)
    same_image = np.abs(moved).max(axis=1) < 1.0
    assert same_image.mean() > 0.9
    np.testing.assert_allclose(moved[same_image] / t, box.relative_velocity(a, b, va, vb)[same_image], atol=1e-9)
    wrong = LeesEdwards((4.0, 5.0), 0.7, 0.2 + 0.7 * 2 * t).displacement(a + va * t, b + vb * t)  # offset twice as fast
    crossing = same_image & (np.abs((a - b)[:, 0]) > 2.0)
    assert np.abs((wrong - box.displacement(a, b))[crossing] / t
                  - box.relative_velocity(a, b, va, vb)[crossing]).max() > 1.0


def test_no_shear_is_the_periodic_box_and_torch_is_numpy() -> None:
    import torch

    rng = np.random.default_rng(3)
    a, b = rng.uniform(-9, 9, (2, 100, 3))
    lengths = (4.0, 5.0, 6.0)
    np.testing.assert_allclose(LeesEdwards(lengths, 0.0).displacement(a, b), Periodic(lengths).displacement(a, b),
                               atol=1e-12)
    box = LeesEdwards(lengths, 0.3, 0.4)
    ta, tb = torch.as_tensor(a), torch.as_tensor(b)
    for name, arguments, tensors in (("displacement", (a, b), (ta, tb)), ("wrap", (a,), (ta,)),
                                     ("wrap_velocity", (a, b), (ta, tb)),
                                     ("relative_velocity", (a, b, b, a), (ta, tb, tb, ta))):
        np.testing.assert_allclose(getattr(box, name)(*tensors).numpy(), getattr(box, name)(*arguments), atol=1e-12)


def test_box_file_round_trip_and_refusals() -> None:
    box = LeesEdwards((4.0, 5.0), 0.3, 0.4)
    assert Box.from_dict(box.to_dict()) == box
    with pytest.raises(ConfigError, match="two axes"):
        LeesEdwards((4.0,), 1.0)
    with pytest.raises(ConfigError, match="shear_rate"):
        LeesEdwards((4.0, 4.0), float("nan"))
