"""Dynamics: potentials on the state and a friction matrix M = G Gᵀ, from which drift, noise and laws follow.

`recipes` is what a user writes, `terms` the learned functions, `base` the sentence in code, `snapshot` the state.
"""
