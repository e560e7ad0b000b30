"""Dynamics: potentials on the state and a friction matrix M = G Gᵀ, from which drift, noise and laws follow."""
