"""Training jobs: many seeds, run folder, resume."""
