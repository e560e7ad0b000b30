"""Tests of assumptions: a file for what belongs together."""
