"""The same batches, from disk: store, trace, schedule, pack, loader."""

from graphlab.outofcore.store import Store as Store
