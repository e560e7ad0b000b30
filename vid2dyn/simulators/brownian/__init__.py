"""Colloids in a solvent: overdamped particles, their pair potentials, hydrodynamic coupling, hidden states."""
