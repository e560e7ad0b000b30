"""Encoders: what is seen of a particle, its surroundings or its image -> latent columns of its state."""
