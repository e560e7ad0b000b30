"""Particles at an interface: a monolayer sheared by a magnetic needle."""
