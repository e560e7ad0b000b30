"""The least error with which anybody can place the particles of a rendered stack: its Cramér-Rao bound.

Voxel m has the expected grey level μ_m(θ), θ the places and brightnesses of all particles and the background, and
independent noise of variance v_m = gain μ_m + read_noise² + 1/12 (rounding). With F = Σ_m ∂μ_m ∂μ_m^T / v_m, no
unbiased estimate of θ_k has a variance below (F⁻¹)_kk (Cramér 1946; Kay, Fundamentals of Statistical Signal
Processing I, eq. 3.31). What the size of the noise tells beside, ½ Σ (∂v/v)², is gain²/2v of that and left out.

For a lone Gaussian of brightness A and widths w [px], u [planes] in white noise n the sums are integrals:
∂_x μ = A g (x - x0)/w² with g² a Gaussian of integral (√π w)² √π u and variance w²/2 along x, so that

    F_xx = (A²/n² w⁴) (w²/2) π^(3/2) w² u = π^(3/2) A² u/(2 n²),    std(x) = (n/A) √(2/(π^(3/2) u)) px
    F_zz = (A²/n² u⁴) (u²/2) π^(3/2) w² u = π^(3/2) A² w²/(2 n² u),  std(z) = (n/A) √(2 u/(π^(3/2) w²)) planes

The matrix below is written with differences of the rendered light, and shares nothing with what fits stacks.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.special import erf

_REACH = 4.5                      # widths around a particle that count
_STEP = 1e-3                      # px or planes, of the central differences


def stack_bound(points: np.ndarray, amplitude: np.ndarray, renderer: object) -> np.ndarray:
    """Least standard errors (N, 3) of y, x [px] and z [planes].

    Parameters
    ----------
    points : (N, 3) array
        Places y, x [px], z [planes].
    amplitude : (N,) array
        Brightness at the centre [grey levels].
    renderer : StackRenderer

    Examples
    --------
    >>> from vid2dyn.simulators import StackRenderer
    >>> r = StackRenderer(planes=24, height=32, width=32, gain=0, background=50, read_noise=5)
    >>> found = stack_bound(np.array([[15.2, 16.0, 12.0]]), np.array([100.0]), r)
    >>> bool(np.allclose(found[0], 0.05 * np.sqrt(2 / np.pi**1.5 / 2), rtol=0.03))
    True
    """
    r, n = renderer, len(points)
    size = np.array([r.planes, r.height, r.width])                       # type: ignore[attr-defined]
    widths = np.array([r.axial_sigma, r.spot_sigma, r.spot_sigma])       # type: ignore[attr-defined]
    rows, columns, values = [], [], []
    light = np.full(int(size.prod()), float(r.background))               # type: ignore[attr-defined]
    for i in range(n):
        place = points[i, [2, 0, 1]]
        first = np.maximum(np.ceil(place - _REACH * widths), 0).astype(int)
        last = np.minimum(np.floor(place + _REACH * widths), size - 1).astype(int)
        along = [np.arange(a, b + 1) for a, b in zip(first, last)]
        voxel = ((along[0][:, None, None] * size[1] + along[1][:, None]) * size[2] + along[2]).ravel()
        shape = [_profile(along[k], place[k], widths[k], k > 0) for k in range(3)]
        slope = [(_profile(along[k], place[k] + _STEP, widths[k], k > 0)
                  - _profile(along[k], place[k] - _STEP, widths[k], k > 0)) / (2 * _STEP) for k in range(3)]
        brightness = float(amplitude[i])
        light[voxel] += brightness * _outer(*shape)
        for k, parts in enumerate(([shape[0], slope[1], shape[2]], [shape[0], shape[1], slope[2]],
                                   [slope[0], shape[1], shape[2]], shape)):
            rows.append(voxel)
            columns.append(np.full(len(voxel), 4 * i + k))
            values.append((brightness if k < 3 else 1.0) * _outer(*parts))
    rows.append(np.arange(len(light)))
    columns.append(np.full(len(light), 4 * n))
    values.append(np.ones(len(light)))
    slopes = sparse.csr_matrix((np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))),
                               (len(light), 4 * n + 1))
    noise = r.gain * light + r.read_noise**2 + 1 / 12                    # type: ignore[attr-defined]
    fisher = (slopes.T @ sparse.diags(1 / noise) @ slopes).toarray()
    scale = 1 / np.sqrt(np.diag(fisher))
    covariance = np.linalg.inv(fisher * scale[:, None] * scale) * scale[:, None] * scale
    return np.sqrt(np.diag(covariance)[:-1].reshape(n, 4)[:, :3])        # type: ignore[no-any-return]


def _profile(at: np.ndarray, centre: float, width: float, integrated: bool) -> np.ndarray:
    """A Gaussian of peak 1, integrated over pixels or sampled."""
    d = at - centre
    if not integrated:
        return np.exp(-0.5 * (d / width) ** 2)  # type: ignore[no-any-return]
    scale = 1 / (np.sqrt(2) * width)
    edges: np.ndarray = erf((d + 0.5) * scale) - erf((d - 0.5) * scale)
    return width * np.sqrt(0.5 * np.pi) * edges


def _outer(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    return (a[:, None, None] * b[:, None] * c).ravel()  # type: ignore[no-any-return]
