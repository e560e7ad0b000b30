"""Particles with inertia: from velocities to a metriplectic fluid; `fit` is the method."""
