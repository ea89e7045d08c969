"""Readable twins: the definition of each op, its test oracle, and the fallback."""
