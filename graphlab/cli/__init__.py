"""The command line: parse, call tasks, print; nothing else."""
