"""Fields: from short bursts of a lattice to mobility and free energy; `fit` is the method."""
