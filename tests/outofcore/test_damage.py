"""Damage is named, kills are survived, full disks are told before work."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from graphlab.errors import OutOfDiskError, StoreError
from graphlab.outofcore import layout, plan
from graphlab.outofcore.plan import Plan

# Planning that ends itself by SIGKILL at the n-th call of one of the calls that write.
CHILD = """
import os, signal, sys
from graphlab.outofcore import pack, plan, trace
trace.CHECKPOINT_BATCHES = 4
pack.CHUNK_BYTES = 2**18
store, folder, name, left = sys.argv[1:4] + [int(sys.argv[4])]
full = getattr(os, name)
def counted(*given, **named):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return full(*given, **named)
setattr(os, name, counted)
plan(store, [4, 3], batch_size=32, seed=1, memory="2MiB", mode="replay", path=folder)
"""
ARGUMENTS = {"batch_size": 32, "seed": 1, "memory": "2MiB", "mode": "replay"}


def contents(folder: Path) -> dict[str, int]:
    """Checksum of every file that the plan keeps; the manifest aside, which has timings."""
    import numpy as np

    return {
        path.name: layout.crc(np.fromfile(path, dtype=np.uint8))
        for path in sorted(folder.iterdir())
        if path.name != layout.MANIFEST
    }


def test_planning_killed_again_and_again_ends_in_the_same_bytes(make_store, tmp_path):
    _, store = make_store(width=600)
    whole = plan(store, [4, 3], path=tmp_path / "whole", **ARGUMENTS)
    folder = tmp_path / "killed"
    # While sampling; before a journal gets its name; while rows are packed.
    for name, count in (("pwrite", 9), ("replace", 20), ("pwrite", 900)):
        given = [str(store.path), str(folder), name, str(count)]
        child = subprocess.run([sys.executable, "-c", CHILD, *given], check=False)
        assert child.returncode == -signal.SIGKILL
    assert not (folder / layout.MANIFEST).exists()
    with pytest.raises(StoreError, match="an unfinished plan"):
        layout.read_manifest(folder)
    resumed = plan(store, [4, 3], path=folder, **ARGUMENTS)
    assert contents(folder) == contents(whole.path)
    kept = [f for f in resumed.body["files"]]
    assert sorted(kept) == sorted(contents(folder))
    batches = zip(resumed.loader(), whole.loader(), strict=True)
    assert all([bool((a.x == b.x).all()) for a, b in batches])


@pytest.fixture
def small(make_store, tmp_path) -> Plan:
    _, store = make_store()
    return plan(
        store, [4, 3], None, 64, memory="1200KiB", mode="replay", path=tmp_path / "plan"
    )


def flip(path: Path, place: int) -> None:
    with open(path, "r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 16]))


@pytest.mark.parametrize("stem", ["samples-00000", "programme-00000", "pack-x-00000"])
def test_flipped_byte_names_file_and_batch(small, stem):
    entry = layout.read_index(
        small.path / f"{stem}.idx", small.body["files"][f"{stem}.idx"]
    )[5]
    flip(small.path / f"{stem}.bin", int(entry["offset"]) + int(entry["length"]) // 2)
    loader = small.loader()
    found = []
    with pytest.raises(StoreError, match=rf"{stem}\.bin at byte .* of batch 5"):
        found.extend(batch.n_id for batch in loader)
    assert len(found) <= 5


def test_second_reading_skips_checksums(small):
    loader = small.loader()
    list(loader)
    entry = layout.read_index(
        small.path / "pack-x-00000.idx", small.body["files"]["pack-x-00000.idx"]
    )[0]
    flip(small.path / "pack-x-00000.bin", int(entry["offset"]))
    loader.set_epoch(0)
    list(loader)
    list(small.loader(verify=False))
    with pytest.raises(StoreError, match="of batch 0"):
        list(small.loader())


@pytest.mark.parametrize("name", ["hot-x.bin", "samples-00000.idx", "pack-x-00000.idx"])
def test_flipped_byte_in_a_small_file_is_found_at_opening(small, name):
    flip(small.path / name, 100)
    with pytest.raises(StoreError, match=rf"{name}: expected CRC32C"):
        small.loader()


@pytest.mark.parametrize(
    "name",
    ["samples-00000.bin", "pack-x-00000.bin", "hot-x.bin", "programme-00000.idx"],
)
def test_truncated_and_missing_files_are_found_at_opening(small, name):
    path = small.path / name
    os.truncate(path, path.stat().st_size - 1)
    with pytest.raises(StoreError, match=rf"{name}: expected \d+ bytes, found \d+"):
        small.loader()
    path.unlink()
    with pytest.raises(StoreError, match=rf"{name}: expected .*, found no"):
        small.loader()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b: "{", "expected a manifest, found damage"),
        (lambda b: "[]", "expected a manifest, found damage"),
        (
            lambda b: json.dumps({**b, "version": 3}),
            r"version 2 or less, found version 3",
        ),
        (lambda b: json.dumps({**b, "mode": "direct"}), "expected CRC32C"),
        (
            lambda b: json.dumps({**b, "format": "other"}),
            "expected format graphlab.plan",
        ),
    ],
    ids=["cut", "list", "newer", "changed", "format"],
)
def test_damaged_manifest_is_told(small, change, message):
    path = small.path / layout.MANIFEST
    path.write_text(change(json.loads(path.read_text())))
    job = small.job
    with pytest.raises(StoreError, match=message):
        plan(
            job.store,
            [4, 3],
            None,
            64,
            memory="1200KiB",
            mode="replay",
            path=small.path,
        )


def test_full_disk_is_told_before_packing(make_store, tmp_path, monkeypatch):
    _, store = make_store()
    scanned = []
    original = type(store.columns["x"]).scan

    def scan(self, *arguments, **named):
        scanned.append(self.path)
        return original(self, *arguments, **named)

    def full(descriptor, offset, size):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(type(store.columns["x"]), "scan", scan)
    given = {
        "batch_size": 64,
        "memory": "1200KiB",
        "mode": "replay",
        "path": tmp_path / "p",
    }
    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        with pytest.raises(
            OutOfDiskError, match=r"pack-x-00000.bin: expected room for"
        ):
            plan(store, [4, 3], **given)
    assert not scanned
    # Nothing was lost: the samples are there, and the same call goes on.
    assert (tmp_path / "p" / "journal-samples.idx").exists()
    assert plan(store, [4, 3], **given).mode == "replay"


def test_full_disk_while_sampling_is_told_and_resumed(
    make_store, tmp_path, monkeypatch
):
    _, store = make_store()
    given = {
        "batch_size": 64,
        "memory": "1200KiB",
        "mode": "replay",
        "path": tmp_path / "p",
    }
    write, calls = os.pwrite, []

    def full(descriptor, data, offset):
        calls.append(offset)
        if len(calls) == 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data, offset)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(
            OutOfDiskError, match=r"samples-00000.bin at byte .*full device"
        ):
            plan(store, [4, 3], **given)
    assert len(list(plan(store, [4, 3], **given).loader())) == 32


def test_damaged_store_is_found_while_packing(make_store, tmp_path):
    _, store = make_store(width=600)
    flip(store.columns["x"].path, 2**20 + 5)
    with pytest.raises(StoreError, match="chunk with CRC32C"):
        plan(
            store,
            [4, 3],
            None,
            16,
            memory="1600KiB",
            mode="replay",
            path=tmp_path / "p",
        )
