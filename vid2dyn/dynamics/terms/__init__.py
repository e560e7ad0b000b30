"""Terms: energies and friction roots, and the functions of distance, density or state that they are made of."""
