"""Velocities of a fluid -> the entropy that nobody sees, and the likelihood: `score` states the method."""
