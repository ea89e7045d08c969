"""Files that appear whole or not at all.

Everything that graphlab publishes goes through :func:`publish`: written under a
temporary name beside the target, flushed to the device, renamed, and the folder flushed.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries, so that a rename in it survives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def publish(path: str | Path) -> Iterator[BinaryIO]:
    """Open a file for writing that gets its name only when the block ends well.

    A reader never sees a half-written file: a killed writer leaves at most
    ``.<name>.tmp.<pid>``, which the next writer of the same process id overwrites.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> with publish(folder / "a.bin") as file:
        ...     _ = file.write(b"whole")
        >>> (folder / "a.bin").read_bytes()
        b'whole'
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp.{os.getpid()}")
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def publish_text(path: str | Path, text: str) -> None:
    """Write a text file (UTF-8) atomically."""
    with publish(path) as file:
        file.write(text.encode())


def publish_json(path: str | Path, value: Any) -> None:
    """Write a JSON file atomically, keys in the given order, one trailing newline."""
    publish_text(path, json.dumps(value, indent=2) + "\n")
