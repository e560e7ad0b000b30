"""Particles that hop on a ring, and what such processes become on large scales."""
