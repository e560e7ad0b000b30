"""Fits of solids: springs and dashpots of a driven sheet from its motion, by shooting from the start state."""
