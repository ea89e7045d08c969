from __future__ import annotations

import subprocess
import sys

PROBE = """
import sys, os
before = dict(os.environ)
import graphlab
heavy = [m for m in ("torch", "numpy", "numba", "scipy", "typer") if m in sys.modules]
assert not heavy, heavy
assert dict(os.environ) == before
try:
    graphlab.no_such_name
except AttributeError as error:
    assert "no_such_name" in str(error)
else:
    raise SystemExit("an unknown name must be an AttributeError")
"""


def test_import_loads_nothing_heavy_and_changes_nothing():
    run = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout == ""
    assert run.stderr == ""
