"""Tests of assumptions, a file for what belongs together: memory, scatter, particles, places, times, pairs, tracking."""
