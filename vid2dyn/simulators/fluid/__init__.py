"""Particles with inertia: dissipative particle dynamics, and its smoothed form with heat of its own."""
