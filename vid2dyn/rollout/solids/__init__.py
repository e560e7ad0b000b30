"""Rollouts of solids: bonds of a reference frame, held nodes that follow a path, heat kept account of."""
