"""Models: one method, one file, named after it."""
