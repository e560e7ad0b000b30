"""Rollouts inside LAMMPS, on one process or many: the step of `vid2dyn.rollout.fluid` as a compiled callback."""
