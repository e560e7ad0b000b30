"""What a camera makes of a simulation: exposure and noise of positions, rendered frames, movie files."""
