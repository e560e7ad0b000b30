"""Compiled rollout of a metriplectic fluid: tables in, trajectories out; `paths` states the method."""
