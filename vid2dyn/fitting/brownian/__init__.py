"""Brownian colloids: from noisy, blurred tracks to D, pair forces and traps; `fit` is the method."""
