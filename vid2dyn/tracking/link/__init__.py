"""Features of successive frames in, particle numbers out."""
