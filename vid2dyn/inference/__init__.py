"""What is seen of particles -> what is not: their entropy, carried from step to step, and the likelihood of it all."""
