"""Rows on the device: the same batches, fewer misses, and the levels are told.

Without a CUDA device the CPU stands in for it: the same code, with RAM.
"""

from __future__ import annotations

import numpy as np
import pytest

from graphlab.errors import StoreError
from graphlab.outofcore import Belady, layout, plan
from graphlab.outofcore.plan import Plan
from graphlab.sample import NeighborLoader
from tests.outofcore.test_damage import flip
from tests.outofcore.test_plan import assert_epochs_equal, same

SHAPE = {"num_nodes": 3000, "num_edges": 24000, "width": 200}
# The least that leaves room for some rows, or a little more.
MEMORY = {"source": "1400KiB", "float16": "1100KiB", "int8": "1000KiB"}
DEVICE = 200_000  # 250 rows of 800 bytes


def make(store, path, mode, stored="source", policy="belady", **more) -> Plan:
    memory = "1400KiB" if mode in ("rolling", "direct") else MEMORY[stored]
    given = {"memory": memory, "mode": mode, "policy": policy, **more}
    if mode == "hybrid":
        given["disk"] = "6MiB"
    return plan(store, [4, 3], None, 32, path=path, **given)


@pytest.mark.parametrize(
    ("mode", "stored", "policy"),
    [
        ("replay", "source", Belady(0.3)),
        ("replay", "int8", "static"),
        ("hybrid", "source", Belady(0.3)),
        ("rolling", "float16", "belady"),
        ("direct", "int8", "static"),
    ],
)
def test_batches_are_equal(make_store, tmp_path, mode, stored, policy):
    _, store = make_store(stored, **SHAPE)
    made = make(store, tmp_path / "p", mode, stored, policy, device_memory=DEVICE)
    assert made.totals["device_rows"] == 250
    reference = NeighborLoader(store.dataset(), [4, 3], 32)
    loader = made.loader()
    assert_epochs_equal(loader, reference, 1 if mode in ("replay", "hybrid") else 2)
    stats = loader.stats()
    assert stats["peak_memory_bytes"] <= stats["declared_memory_bytes"]
    if policy != "static" and mode != "direct":  # out of order: slots are refilled
        assert same(loader.batch(0, 40), reference.batch(0, 40))
    loader.close()


def test_the_levels_are_told(make_store, tmp_path):
    _, store = make_store(**SHAPE)
    alone = make(store, tmp_path / "a", "replay")
    made = make(store, tmp_path / "p", "replay", device_memory=DEVICE)
    told = made.explain()
    level = told.levels[0]
    assert (level.name, level.rows, level.bytes) == ("rows on the device", 250, DEVICE)
    assert sum(level.accesses for level in told.levels) == made.totals["accesses"]
    assert made.totals["misses"] < alone.totals["misses"]
    served = sum(int((source < 250).sum()) for source in slots_of_hits(made))
    assert served == level.accesses > 0
    # What the device holds leaves the memory to other rows.
    assert made.totals["hot_rows"] + made.totals["slots"] > 240 + alone.totals["slots"]
    assert f"{'rows on the device':<24}" in str(told)


def slots_of_hits(made):
    name = "programme-00000"
    table = layout.read_index(
        made.path / f"{name}.idx", made.body["files"][f"{name}.idx"]
    )
    data = (made.path / f"{name}.bin").read_bytes()
    for entry in table:
        part = data[int(entry["offset"]) : int(entry["offset"] + entry["length"])]
        source = layout.decode_programme(np.frombuffer(part, dtype=np.uint8))[0]
        yield source[source >= 0]


def test_damage_is_told(make_store, tmp_path):
    _, store = make_store(**SHAPE)
    made = make(store, tmp_path / "p", "replay", device_memory=DEVICE)
    flip(made.path / "device-rows.bin", 3)
    with pytest.raises(StoreError, match=r"device-rows\.bin"):
        made.loader()


def test_what_a_device_cannot_hold_is_told(make_store, tmp_path):
    _, store = make_store(sparse=True, **SHAPE)
    with pytest.raises(
        ValueError, match="`device_memory` must be left out where a sparse"
    ):
        make(store, tmp_path / "p", "replay", device_memory=DEVICE)


def test_another_device_memory_is_another_plan(make_store, tmp_path):
    _, store = make_store(**SHAPE)
    make(store, tmp_path / "p", "replay", device_memory=DEVICE)
    with pytest.raises(ValueError, match="device_memory = 200000"):
        make(store, tmp_path / "p", "replay")


@pytest.mark.cuda
@pytest.mark.parametrize("mode", ["replay", "rolling", "direct"])
def test_on_a_device(make_store, tmp_path, mode):
    _, store = make_store("float16", **SHAPE)
    made = make(store, tmp_path / "p", mode, "float16", device_memory=DEVICE)
    reference = NeighborLoader(store.dataset(), [4, 3], 32)
    loader = made.loader(device="cuda")
    for batch, expected in zip(loader, reference, strict=True):
        assert batch.x.is_cuda
        assert same(batch.cpu(), expected)
