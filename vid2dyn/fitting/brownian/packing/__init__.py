"""Pair forces of packed particles, whose forces cancel: what goes wrong there, and the estimator that does not."""
