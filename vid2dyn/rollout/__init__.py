"""Rollout: a model and a start -> trajectories or fields, by plain steps in torch and by compiled loops."""
