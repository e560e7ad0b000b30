"""Smoothed dissipative particle dynamics of an ideal gas; `gas` is the simulator, the rest its compiled parts."""
