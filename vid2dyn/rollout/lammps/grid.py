"""Processes in a box: how many along each axis."""

from __future__ import annotations

from collections.abc import Sequence

from vid2dyn.core.errors import ConfigError


def processor_grid(ranks: int, edges: Sequence[float], least: float) -> tuple[int, int, int]:
    """Processes along three axes, with as little border as possible and no part of the box narrower than `least`.

    Parameters
    ----------
    ranks : int
        Processes in all.
    edges : three floats
        Edges of the box [µm]; 0: an axis that is not divided.
    least : float
        Narrowest part [µm]: the reach of the neighbour lists.

    Raises
    ------
    ConfigError
        If the box does not hold so many.

    Examples
    --------
    >>> processor_grid(4, (10.0, 10.0, 20.0), 2.0)
    (1, 1, 4)
    """
    best: tuple[float, tuple[int, int, int]] | None = None
    most = 1
    widths = [max(1, int(edge / least + 1e-9)) if edge > 0 else 1 for edge in edges]
    for count in widths:
        most *= count
    for a in range(1, ranks + 1):
        for b in range(1, ranks // a + 1 if ranks % a == 0 else 0):
            if (ranks // a) % b:
                continue
            grid = (a, b, ranks // (a * b))
            if any(parts > room for parts, room in zip(grid, widths)):
                continue
            size = [edge / parts if edge > 0 else 1.0 for edge, parts in zip(edges, grid)]
            border = sum(size[(k + 1) % 3] * size[(k + 2) % 3] for k in range(3) if grid[k] > 1)
            if best is None or border < best[0] * (1 - 1e-12):
                best = border, grid
    if best is None:
        box = " x ".join(f"{edge:g}" for edge in edges if edge > 0)
        raise ConfigError(f"{ranks} processes do not fit into a box of {box} µm: none may be narrower "
                          f"than the reach of the forces, {least:g} µm. At most {most} processes (and not every "
                          "smaller number divides the box); take fewer, or a larger box.")
    return best[1]
