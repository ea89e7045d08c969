"""The same batches, from disk: store, trace, schedule, pack, loader."""
