"""The manifest of a store: what each file holds; format version 1.

A store is one folder. ``manifest.json`` is written last, so a folder without it is not a
store yet. All numbers in files are little-endian and start at byte 0, without headers:

=====================  ========================================================
topology               ``ptr`` int64 [N + 1], ``idx`` int32 or int64 [E] (edges grouped by
                       target: CSC), ``edge_id`` int32 or int64 [E], absent when it counts
dense column           ``data``: rows one after the other, ``row_bytes`` each; an int8 column
                       has one float32 ``scale`` a row in a second file
sparse column          CSR parts: ``ptr`` int64 [N + 1], ``idx``, ``data`` [entries] or [1]
names                  UTF-8 text of all node names, and ``ptr`` int64 [N + 1] into it
``<file>.crc``         CRC32C of each 1 MiB of the file, uint32
=====================  ========================================================
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from graphlab import _version, files
from graphlab.errors import StoreError

FORMAT = "graphlab.store"
VERSION = 1
NAME = "manifest.json"


@dataclass(frozen=True)
class FileEntry:
    """One file: its size and the CRC32C of its table of chunk checksums."""

    bytes: int
    crc32c: int


@dataclass(frozen=True)
class ColumnEntry:
    """One column of a store.

    Attributes:
        domain: ``node``, ``edge`` (rows in edge-id order), ``split`` (a mask over nodes) or
            ``pairs`` (node pairs of a link-prediction split).
        kind: ``dense`` or ``sparse``.
        shape: Shape of the whole column.
        dtype: What reading it gives, as torch names it.
        stored: Dtype in the file; differs from ``dtype`` where the column is compressed.
        row_bytes: Row stride of a dense file; 0 for a sparse column.
        files: Role to file name: ``data`` and ``scale``, or ``ptr``, ``idx``, ``data``.
        idx_dtype: Dtype of a sparse column's ``idx`` file.
    """

    domain: str
    kind: str
    shape: tuple[int, ...]
    dtype: str
    stored: str
    row_bytes: int
    files: dict[str, str]
    idx_dtype: str | None = None


@dataclass(frozen=True)
class Topology:
    """Files of the graph, edges grouped by target; None where a part is implied."""

    ptr: str
    idx: str
    idx_dtype: str
    edge_id: str | None = None
    edge_id_dtype: str | None = None
    edge_weight: str | None = None
    edge_weight_dtype: str | None = None


@dataclass(frozen=True)
class Manifest:
    """All that a store says about itself; see the module's head for the files.

    ``columns`` has keys such as ``node/x``; ``splits`` and ``edge_splits`` name the columns
    that hold them. ``provenance`` says how the store was made. ``node_type`` is always None
    in version 1: a store of one node type out of several will name it there.
    """

    num_nodes: int
    num_edges: int
    directed: bool | None
    topology: Topology
    columns: dict[str, ColumnEntry]
    splits: dict[str, str]
    edge_splits: dict[str, dict[str, str]]
    meta: dict[str, Any]
    files: dict[str, FileEntry]
    names: dict[str, str] | None = None
    node_type: str | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
    generator: str = field(default=f"graphlab {_version.__version__}")
    version: int = VERSION

    @property
    def fingerprint(self) -> str:
        """SHA-256 over sizes, checksums and meaning of all files: equal stores, equal text."""
        value = self.to_json()
        for incidental in ("generator", "meta", "provenance"):
            value.pop(incidental)
        text = json.dumps(value, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """The manifest as plain values, in the order of the file."""
        body = dataclasses.asdict(self)
        head = {key: body.pop(key) for key in ("version", "generator")}
        return {"format": FORMAT, **head, **body}

    def write(self, folder: Path) -> None:
        """Publish the manifest; the folder is a store from here on."""
        files.publish_json(folder / NAME, self.to_json())


def read(folder: str | Path) -> Manifest:
    """Read the manifest of a store and check that its files are there and whole in size.

    Raises:
        StoreError: no store, a newer format version, a missing or truncated file.
    """
    folder = Path(folder)
    path = folder / NAME
    if not path.is_file():
        unfinished = folder.is_dir() and any(folder.iterdir())
        raise StoreError(
            path,
            None,
            "the manifest of a store",
            "an unfinished store" if unfinished else "nothing",
            "rerun the conversion that was writing it"
            if unfinished
            else "make one with `graphlab data convert` or Dataset.save",
        )
    manifest = _parse(path)
    for name, entry in manifest.files.items():
        _check_size(folder / name, entry.bytes)
    return manifest


def _parse(path: Path) -> Manifest:
    remedy = "convert the source again, or restore the folder from a copy"
    try:
        value = json.loads(path.read_text())
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise StoreError(path, None, "JSON", f"damage ({error})", remedy) from error
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        found = value.get("format") if isinstance(value, dict) else type(value).__name__
        raise StoreError(path, None, f'"format": "{FORMAT}"', repr(found), remedy)
    version = value.get("version")
    if not isinstance(version, int) or version < 1:
        raise StoreError(path, None, "a format version", repr(version), remedy)
    if version > VERSION:
        raise StoreError(
            path,
            None,
            f"format version {VERSION} or older",
            f"version {version} (written by {value.get('generator')})",
            "upgrade graphlab to read this store",
        )
    try:
        del value["format"]
        value["topology"] = Topology(**value["topology"])
        value["columns"] = {
            name: ColumnEntry(**{**entry, "shape": tuple(entry["shape"])})
            for name, entry in value["columns"].items()
        }
        value["files"] = {k: FileEntry(**v) for k, v in value["files"].items()}
        return Manifest(**value)
    except (KeyError, TypeError, AttributeError) as error:
        found = f"an unreadable entry ({error})"
        raise StoreError(
            path, None, "the fields of version 1", found, remedy
        ) from error


def _check_size(path: Path, expected: int) -> None:
    if not path.is_file():
        raise StoreError(
            path,
            None,
            f"a file of {expected} bytes",
            "no file",
            "restore it from a copy, or convert the source again",
        )
    found = path.stat().st_size
    if found != expected:
        raise StoreError(
            path,
            min(found, expected),
            f"a file of {expected} bytes",
            f"{found} bytes",
            "restore it from a copy, or convert the source again",
        )
