"""The same batches, from disk: store, trace, schedule, pack, loader."""

from graphlab.outofcore.loader import DiskLoader as DiskLoader
from graphlab.outofcore.plan import Plan as Plan
from graphlab.outofcore.plan import plan as plan
from graphlab.outofcore.store import Store as Store
