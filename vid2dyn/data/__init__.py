"""Data: recordings, trajectories and fields, with their units and the space that they live in."""
