"""The complex modulus of a response to a sinusoidal strain, over whole cycles."""

from __future__ import annotations

import numpy as np


def complex_modulus(time: np.ndarray, strain: np.ndarray, stress: np.ndarray, frequency: float) -> complex | None:
    """G* = G' + i G'' at a frequency [1/s], from the last whole cycles of the series; None with less than one.

    Both series are fitted with a constant and a sine of that frequency: G* is the quotient of the amplitudes. Strain
    sin(ωt) and stress G' sin(ωt) + G'' cos(ωt) give G' + i G''.

    >>> t = np.arange(40) / 20
    >>> g = complex_modulus(t, 0.1 * np.sin(2 * np.pi * t), 3 * np.sin(2 * np.pi * t) + np.cos(2 * np.pi * t), 1.0)
    >>> round(g.real, 6), round(g.imag, 6)
    (30.0, 10.0)
    """
    if len(time) < 4:
        return None
    step = time[1] - time[0]
    cycles = int(np.floor((len(time) * step) * frequency + 1e-6))
    if cycles < 1:
        return None
    kept = time > time[-1] - cycles / frequency + 1e-6 * step
    phase = 2 * np.pi * frequency * time[kept]
    basis = np.stack([np.ones_like(phase), np.sin(phase), np.cos(phase)], axis=1)
    a, b = (np.linalg.lstsq(basis, series[kept], rcond=None)[0] for series in (strain, stress))
    return complex(b[1], b[2]) / complex(a[1], a[2])
