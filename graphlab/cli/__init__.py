"""The command line: parse, call tasks, print; nothing else."""

from graphlab.cli.app import main as main
