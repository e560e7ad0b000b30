"""What a user writes to have a dynamics learned: its settings, its estimator and the class of its models."""
