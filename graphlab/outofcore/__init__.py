"""The same batches, from disk: store, trace, schedule, pack, loader."""

from graphlab.outofcore.loader import DiskLoader as DiskLoader
from graphlab.outofcore.plan import Plan as Plan
from graphlab.outofcore.plan import plan as plan
from graphlab.outofcore.policy import LRU as LRU
from graphlab.outofcore.policy import Belady as Belady
from graphlab.outofcore.policy import Policy as Policy
from graphlab.outofcore.policy import Static as Static
from graphlab.outofcore.propagate import propagate as propagate
from graphlab.outofcore.store import Store as Store
