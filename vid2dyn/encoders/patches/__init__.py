"""The picture of a particle -> numbers that last while it moves on."""
