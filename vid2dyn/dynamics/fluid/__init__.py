"""A fluid of particles with position, velocity and entropy: bracket, friction, numbers, tables."""
