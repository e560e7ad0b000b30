"""Parts for particles that settle; vid2dyn finds them through the entry points in pyproject.toml."""
