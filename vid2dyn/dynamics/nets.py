"""Learned functions of one or two numbers that return value and derivatives in one pass. No physics.

Derivatives are carried forward beside the value (closed form), so they cost a small multiple of the value, can be
differentiated with respect to the parameters, and survive export. Parameters are float64.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import nn

from vid2dyn.core.errors import ConfigError


def inverse_softplus(y: torch.Tensor) -> torch.Tensor:
    """x with log(1 + exp(x)) = y > 0.

    >>> float(nn.functional.softplus(inverse_softplus(torch.tensor(0.3, dtype=torch.float64))))
    0.3...
    """
    return y + torch.log(-torch.expm1(-y))


class MLP(nn.Module):
    """Fully connected net with tanh between its layers; smooth, so forces made of it are.

    Parameters
    ----------
    inputs, outputs, width, depth : int
        Numbers in, numbers out, units a hidden layer, hidden layers.
    generator : torch.Generator, optional
        Draws the start values (Glorot normal); default: seed 0.

    Examples
    --------
    >>> net = MLP(1, 1, width=8)
    >>> value, slope = net.value_and_slope(torch.linspace(0, 1, 5, dtype=torch.float64))
    >>> value.shape, slope.shape
    (torch.Size([5]), torch.Size([5]))
    """

    def __init__(self, inputs: int, outputs: int, *, width: int = 50, depth: int = 2,
                 generator: torch.Generator | None = None) -> None:
        super().__init__()
        generator = generator or torch.Generator().manual_seed(0)
        sizes = [inputs] + [width] * depth + [outputs]
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for into, out in itertools.pairwise(sizes):
            w = torch.randn(out, into, generator=generator, dtype=torch.float64) * math.sqrt(2.0 / (into + out))
            self.weights.append(nn.Parameter(w))
            self.biases.append(nn.Parameter(torch.zeros(out, dtype=torch.float64)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, inputs) to (n, outputs)."""
        for k, (w, b) in enumerate(zip(self.weights, self.biases)):
            x = torch.addmm(b, x, w.T)
            if k < len(self.weights) - 1:
                x = torch.tanh(x)
        return x

    def value_and_slope(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """For a net of one number in and one out: f(x) and df/dx, each of the shape of x, (n,)."""
        value, slope = x[:, None], torch.ones_like(x)[:, None]
        for k, (w, b) in enumerate(zip(self.weights, self.biases)):
            value, slope = torch.addmm(b, value, w.T), slope @ w.T
            if k < len(self.weights) - 1:
                value = torch.tanh(value)
                slope = (1 - value * value) * slope
        return value[:, 0], slope[:, 0]


class UniformSpline(nn.Module):
    """Cubic B-spline on [0, 1] with even knots; value, slope and curvature in one pass, linear beyond the ends.

    Parameters
    ----------
    knots : int
        Number of intervals; there are knots + 3 coefficients.
    positive : bool
        Coefficients are exponentials-like (softplus of the parameters), so the function is positive everywhere.

    Examples
    --------
    >>> spline = UniformSpline(8).fit(lambda x: torch.sin(3 * x))
    >>> value, slope, curvature = spline(torch.tensor([0.4], dtype=torch.float64))
    >>> round(value.item(), 3), round(slope.item(), 2)
    (0.932, 1.09)
    """

    matrix: torch.Tensor
    MATRIX = torch.tensor([[1.0, 4, 1, 0], [-3, 0, 3, 0], [3, -6, 3, 0], [-1, 3, -3, 1]], dtype=torch.float64) / 6

    def __init__(self, knots: int, *, positive: bool = False, start: float = 1.0) -> None:
        super().__init__()
        if knots < 1:
            raise ConfigError(f"UniformSpline: knots = {knots}; use at least 1.")
        self.knots, self.positive = knots, positive
        first = torch.full((knots + 3,), float(start), dtype=torch.float64)
        self.raw = nn.Parameter(inverse_softplus(first) if positive else first)
        self.register_buffer("matrix", self.MATRIX.clone())

    @property
    def coefficients(self) -> torch.Tensor:
        """(knots + 3,) coefficients of the B-splines."""
        return nn.functional.softplus(self.raw) if self.positive else self.raw

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """f, f' and f'' at x of shape (n,)."""
        inside = x.clamp(0.0, 1.0)
        place = inside * self.knots
        k = place.detach().floor().long().clamp(0, self.knots - 1)
        t = place - k
        # one small product turns B-spline coefficients into the powers of t on every interval
        powers = self.coefficients.unfold(0, 4, 1) @ self.matrix.T
        c0, c1, c2, c3 = powers[k].unbind(1)
        n = self.knots
        value = c0 + t * (c1 + t * (c2 + t * c3))
        slope = n * (c1 + t * (2 * c2 + 3 * t * c3))
        curvature = n * n * (2 * c2 + 6 * t * c3)
        beyond = x - inside
        return value + slope * beyond, slope, torch.where(beyond == 0, curvature, torch.zeros_like(curvature))

    def fit(self, function, samples: int = 400) -> UniformSpline:  # type: ignore[no-untyped-def]
        """The closest spline to `function` (tensor to tensor, on [0, 1]) by least squares; returns itself."""
        x = torch.linspace(0, 1, samples, dtype=torch.float64)
        columns = []
        keep = self.positive, self.raw.detach().clone()
        self.positive = False
        with torch.no_grad():
            for unit in torch.eye(self.knots + 3, dtype=torch.float64):
                self.raw.copy_(unit)
                columns.append(self(x)[0])
            best = torch.linalg.lstsq(torch.stack(columns, 1), function(x)[:, None]).solution[:, 0]
            self.positive = keep[0]
            floor = 1e-9 * float(best.abs().max()) + 1e-300
            self.raw.copy_(inverse_softplus(best.clamp(min=floor)) if self.positive else best)
        return self


class ConvexNet(nn.Module):
    """Convex function f(x, y), rising in x and falling in y, as a net: positive weights and softplus layers.

    Amos, Xu & Kolter, Input Convex Neural Networks, ICML 2017, §3, on (x, -y), so that it is monotone as well.
    Gradient and Hessian are carried forward layer by layer.

    Parameters
    ----------
    width, depth : int
        Units a layer and number of layers.

    Examples
    --------
    >>> f, fx, fy, fxx, fxy, fyy = ConvexNet(8)(torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64))
    >>> bool((fx > 0).all() and (fy < 0).all() and (fxx * fyy - fxy**2 >= 0).all())
    True
    """

    sign: torch.Tensor

    def __init__(self, width: int = 32, depth: int = 2, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        generator = generator or torch.Generator().manual_seed(0)

        def parameter(*shape: int, mean: float) -> nn.Parameter:
            noise = 0.5 * torch.randn(*shape, generator=generator, dtype=torch.float64)
            return nn.Parameter(inverse_softplus(torch.tensor(mean, dtype=torch.float64)) + noise)

        self.direct = nn.ParameterList([parameter(width, 2, mean=0.5) for _ in range(depth)])
        self.inner = nn.ParameterList([parameter(width, width, mean=1.0 / width) for _ in range(depth - 1)])
        self.biases = nn.ParameterList([nn.Parameter(torch.randn(width, generator=generator, dtype=torch.float64))
                                        for _ in range(depth)])
        self.out = parameter(width, mean=1.0 / width)
        self.register_buffer("sign", torch.tensor([1.0, -1.0], dtype=torch.float64))

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """f, f_x, f_y, f_xx, f_xy, f_yy at points x, y, each of shape (n,)."""
        positive = nn.functional.softplus
        z = torch.stack([x, y], 1)
        value, gradient, hessian = z[:, :0], z.new_zeros(len(z), 0, 2), z.new_zeros(len(z), 0, 3)
        for k, raw in enumerate(self.direct):
            w = positive(raw) * self.sign
            inner = positive(self.inner[k - 1]) if k else w.new_zeros(len(w), 0)
            v = z @ w.T + self.biases[k] + value @ inner.T
            g = w + torch.einsum("uw,nwc->nuc", inner, gradient)
            H = torch.einsum("uw,nwc->nuc", inner, hessian)
            s = torch.sigmoid(v)
            gx, gy = g.unbind(2)
            bent = (s * (1 - s))[..., None] * torch.stack([gx * gx, gx * gy, gy * gy], 2)
            # logaddexp, because torch's softplus turns into a straight line at 20
            value, gradient, hessian = torch.logaddexp(v, v.new_zeros(())), s[..., None] * g, bent + s[..., None] * H
        w = positive(self.out)
        return (value @ w, *torch.einsum("nuc,u->cn", gradient, w), *torch.einsum("nuc,u->cn", hessian, w))


class ConvexRidges(nn.Module):
    """Convex function f(x, y), rising in x and falling in y, as a sum of cubic-spline ridges.

    f = sum_k φ_k(x cos θ_k - y sin θ_k) + floor · (x - y) with fixed directions 0 <= θ_k <= π/2 and splines φ_k
    whose second derivative is the piecewise linear function of positive heights at even knots: C2, convex, rising.
    Linear in the heights, so least squares can start it.

    Parameters
    ----------
    directions, knots : int
        Number of ridges and of knots of each.
    reach : float
        Knots span [-reach, reach]; beyond, the curvature stays that of the last knot (right) or zero (left).

    Examples
    --------
    >>> f, fx, fy, *_ = ConvexRidges()(torch.zeros(2, dtype=torch.float64), torch.ones(2, dtype=torch.float64))
    >>> bool((fx > 0).all() and (fy < 0).all())
    True
    """

    along: torch.Tensor

    def __init__(self, directions: int = 8, knots: int = 12, *, reach: float = 4.0, floor: float = 1e-3) -> None:
        super().__init__()
        self.reach, self.knots, self.floor = float(reach), knots, float(floor)
        angle = torch.linspace(0, math.pi / 2, directions, dtype=torch.float64)
        self.register_buffer("along", torch.stack([angle.cos(), -angle.sin()], 1))
        start = torch.full((directions, knots - 1), 0.3 / directions, dtype=torch.float64)
        self.raw = nn.Parameter(inverse_softplus(start))

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """f, f_x, f_y, f_xx, f_xy, f_yy at points x, y, each of shape (n,)."""
        z = torch.stack([x, y], 1) @ self.along.T
        value, slope, bend = self.ridges(z)
        a, b = self.along.unbind(1)
        return (value.sum(1) + self.floor * (x - y), slope @ a + self.floor, slope @ b - self.floor,
                bend @ (a * a), bend @ (a * b), bend @ (b * b))

    def ridges(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """φ_k, φ_k', φ_k'' at z of shape (n, directions)."""
        heights = nn.functional.softplus(self.raw)
        heights = torch.cat([torch.zeros_like(heights[:, :1]), heights], 1)        # C2 at the left end
        h = 2 * self.reach / (self.knots - 1)
        left, right = heights[:, :-1], heights[:, 1:]
        zero = torch.zeros_like(left[:, :1])
        slopes = torch.cat([zero, torch.cumsum(h * (left + right) / 2, 1)], 1)
        rises = h * slopes[:, :-1] + h * h * (left / 3 + right / 6)
        values = torch.cat([zero, torch.cumsum(rises, 1)], 1)
        inside = z.clamp(-self.reach, self.reach)
        place = (inside + self.reach) / h
        k = place.detach().floor().long().clamp(0, self.knots - 2)
        t = place - k
        row = torch.arange(z.shape[1], device=z.device).expand_as(k)
        w0, w1 = heights[row, k], heights[row, k + 1]
        bend = w0 + (w1 - w0) * t
        slope = slopes[row, k] + h * t * (w0 + (w1 - w0) * t / 2)
        value = values[row, k] + h * t * (slopes[row, k] + h * t * (w0 / 2 + (w1 - w0) * t / 6))
        d = z - inside
        return value + d * (slope + 0.5 * d * bend), slope + d * bend, bend
