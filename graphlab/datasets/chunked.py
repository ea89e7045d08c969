"""Files with a CRC32C for each 1 MiB chunk, published whole and resumable while written."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from graphlab import files, sizes
from graphlab.datasets.manifest import FileEntry
from graphlab.errors import OutOfDiskError, StoreError
from graphlab.interop.arrays import as_tensor
from graphlab.ops.crc import crc32c

CHUNK = 2**20

Buffer = npt.NDArray[np.uint8]


def bytes_of(array: npt.NDArray[np.generic] | Tensor) -> Buffer:
    """The bytes of a contiguous array or tensor, without a copy where it is contiguous."""
    if isinstance(array, Tensor):
        flat = array.detach().contiguous().reshape(-1)
        return flat.view(torch.uint8).numpy()
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def checksum(array: npt.NDArray[np.generic] | Tensor) -> int:
    """CRC32C of an array's bytes."""
    return crc32c(as_tensor(bytes_of(array)))


class Checksums:
    """CRC32C of each chunk of a stream of bytes, whatever the sizes it comes in."""

    def __init__(self) -> None:
        self.done: list[int] = []
        self._crc = 0
        self._filled = 0

    def feed(self, data: Buffer) -> None:
        """Count more bytes."""
        start = 0
        while start < len(data):
            stop = min(len(data), start + CHUNK - self._filled)
            self._crc = crc32c(as_tensor(data[start:stop]), self._crc)
            self._filled += stop - start
            start = stop
            if self._filled == CHUNK:
                self.done.append(self._crc)
                self._crc, self._filled = 0, 0

    def table(self) -> npt.NDArray[np.uint32]:
        """Checksums so far, the last one of a part of a chunk where it is one."""
        last = [self._crc] if self._filled else []
        return np.array(self.done + last, dtype="<u4")


class ChunkedWriter:
    """Write one file of a store, front to back.

    Bytes go to ``.<name>.part``. :meth:`close` flushes them, writes ``<name>.crc`` and gives
    the file its name. A part that a killed process left can be taken up again.

    Args:
        path: The file's final name.
        resume_at: Keep that many bytes of an earlier part (a size at which it was synced)
            and go on behind them; 0 starts anew.

    Raises:
        OutOfDiskError: the disk is full; what was synced stays for a resumed run.
        StoreError: the part to resume is shorter than ``resume_at``.
    """

    def __init__(self, path: str | Path, *, resume_at: int = 0) -> None:
        self.path = Path(path)
        self.part = self.path.with_name(f".{self.path.name}.part")
        self._checksums = Checksums()
        self.size = resume_at
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if resume_at:
            found = self.part.stat().st_size if self.part.exists() else 0
            if found < resume_at:
                remedy = "delete the unfinished folder and start again"
                expected = f"a part of at least {resume_at} bytes"
                raise StoreError(self.part, found, expected, f"{found} bytes", remedy)
            self._file = open(self.part, "r+b", buffering=0)
            self._file.truncate(resume_at)
            for piece in _pieces(self.part):
                self._checksums.feed(piece)
            self._file.seek(resume_at)
        else:
            self._file = open(self.part, "wb", buffering=0)

    def write(self, data: npt.NDArray[np.generic] | Tensor) -> None:
        """Append an array's bytes."""
        buffer = bytes_of(data)
        self._checksums.feed(buffer)
        view = buffer.data
        with full_disk_named(self.path):
            while len(view) > 0:
                written = self._file.write(view)
                view = view[written:]
        self.size += len(buffer)

    def sync(self) -> int:
        """Flush to the device; return the size up to which a resumed run can go on."""
        with full_disk_named(self.path):
            os.fsync(self._file.fileno())
        return self.size

    def close(self) -> FileEntry:
        """Publish the file and its checksums."""
        self.sync()
        self._file.close()
        table = self._checksums.table()
        with full_disk_named(self.path), files.publish(_crc_path(self.path)) as side:
            side.write(table.tobytes())
        os.replace(self.part, self.path)
        files.sync_folder(self.path.parent)
        return FileEntry(self.size, crc32c(torch.from_numpy(bytes_of(table))))

    def __enter__(self) -> ChunkedWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()


def write_file(path: Path, data: npt.NDArray[np.generic] | Tensor) -> FileEntry:
    """Write one array as a file of a store."""
    with ChunkedWriter(path) as writer:
        writer.write(data)
        return writer.close()


def entry_of(path: Path) -> FileEntry:
    """The entry of a file that an earlier run has published."""
    table = np.fromfile(_crc_path(path), dtype=np.uint8)
    return FileEntry(path.stat().st_size, crc32c(torch.from_numpy(table)))


def verify_file(path: Path, entry: FileEntry) -> int:
    """Read a file and compare every chunk with its checksum; return the bytes read.

    Raises:
        StoreError: names the file and the first damaged chunk's offset.
    """
    expected = read_checksums(path, entry)
    checksums = Checksums()
    read = 0
    for piece in _pieces(path):
        checksums.feed(piece)
        read += len(piece)
    compare(path, expected, checksums.table())
    return read


def compare(
    path: Path,
    expected: npt.NDArray[np.uint32],
    found: npt.NDArray[np.uint32],
    first: int = 0,
) -> None:
    """Raise StoreError where ``found``, from chunk ``first`` on, differs."""
    wrong = np.flatnonzero(expected[first : first + len(found)] != found)
    if len(wrong):
        at = first + int(wrong[0])
        raise StoreError(
            path,
            at * CHUNK,
            f"a chunk with CRC32C {int(expected[at]):#010x}",
            f"{int(found[wrong[0]]):#010x}",
            "the disk or a copy has changed it: restore it, or convert the source again",
        )


def read_checksums(path: Path, entry: FileEntry) -> npt.NDArray[np.uint32]:
    """Read the side file of a file and check it against the manifest."""
    side = _crc_path(path)
    chunks = -(-entry.bytes // CHUNK)
    raw = np.fromfile(side, dtype=np.uint8) if side.is_file() else np.zeros(0, np.uint8)
    found = crc32c(torch.from_numpy(raw))
    if len(raw) != 4 * chunks or found != entry.crc32c:
        raise StoreError(
            side,
            None,
            f"{chunks} checksums with CRC32C {entry.crc32c:#010x}",
            f"{len(raw) // 4} with {found:#010x}",
            "restore it from a copy, or convert the source again",
        )
    return raw.view("<u4")


def need_disk(folder: Path, need: int, what: str) -> None:
    """Refuse before any work when the disk has less than ``need`` bytes free.

    Raises:
        OutOfDiskError: names the need and what is free.
    """
    existing = folder
    while not existing.exists():
        existing = existing.parent
    free = shutil.disk_usage(existing).free
    if free < need:
        raise OutOfDiskError(
            folder,
            None,
            f"{sizes.show(need)} free for {what}",
            f"{sizes.show(free)} free",
            "free some space, or choose a folder on another disk; nothing was written",
        )


@contextlib.contextmanager
def full_disk_named(path: Path) -> Iterator[None]:
    """Turn "no space left on device" into OutOfDiskError."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        free = shutil.disk_usage(path.parent).free
        raise OutOfDiskError(
            path,
            None,
            "room to write",
            f"a full disk ({sizes.show(free)} free)",
            "free some space and run the same command again: finished parts are kept",
        ) from error


def _crc_path(path: Path) -> Path:
    return path.with_name(path.name + ".crc")


def _pieces(path: Path) -> Iterator[Buffer]:
    """The bytes of a file in pieces of one chunk, in one buffer that is used again."""
    buffer = np.empty(CHUNK, dtype=np.uint8)
    with open(path, "rb", buffering=0) as file:
        while count := file.readinto(buffer.data):
            yield buffer[:count]
