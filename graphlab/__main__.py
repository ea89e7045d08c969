"""``python -m graphlab``: the command line."""

import sys

from graphlab.cli import main

sys.exit(main())
