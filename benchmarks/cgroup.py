"""Run a command inside a memory cgroup; drop the page cache. Linux, mostly as root."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_COUNTER = itertools.count()
_BLKIO = Path("/sys/fs/cgroup/blkio")
_MOUNT = re.compile(r"^\S+ (\S+) (cgroup2?) (\S+)", re.MULTILINE)


@dataclass(frozen=True)
class Throttle:
    """A slower disk: bytes and requests that may be read a second.

    Attributes:
        path: Any file on the device.
        read_bps: Bytes a second.
        read_iops: Requests a second.
    """

    path: Path
    read_bps: int
    read_iops: int


@dataclass(frozen=True)
class Outcome:
    """What a command did.

    Attributes:
        returncode: Exit code; negative: the signal that ended it (-9: out of memory).
        stdout: Its standard output.
        stderr: Its standard error.
        seconds: Wall time.
        peak_bytes: Highest charge of the group: anonymous memory and page cache.
        peak_anonymous_bytes: Highest anonymous part, sampled every 5 ms.
        peak_resident_bytes: Highest resident set of one process, mapped files included.
        read_bytes: Bytes fetched from storage (``/proc/<pid>/io``), children included.
        write_bytes: Bytes sent to storage.
        oom_kills: Processes that the limit ended.
    """

    returncode: int
    stdout: str
    stderr: str
    seconds: float
    peak_bytes: int
    peak_anonymous_bytes: int
    peak_resident_bytes: int
    read_bytes: int
    write_bytes: int
    oom_kills: int


def unavailable() -> str:
    """Why no memory cgroup can be made here; empty where one can."""
    root = _root()
    if root is None:
        return "no memory cgroup controller is mounted"
    if not os.access(root[0], os.W_OK):
        return f"{root[0]} is not writable (needs root)"
    return ""


def in_cgroup(
    limit_bytes: int,
    command: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: str | Path | None = None,
    timeout: float | None = None,
    disk: Throttle | None = None,
) -> Outcome:
    """Run a command with at most ``limit_bytes`` of memory, page cache included, no swap.

    Args:
        limit_bytes: The limit.
        command: Program and arguments.
        env: Its environment; that of this process when absent.
        cwd: Its working folder.
        timeout: Seconds after which it is killed.
        disk: What it may read a second (version 1 of the hierarchy).

    Raises:
        OSError: no memory cgroup can be made here (:func:`unavailable` says why).
    """
    reason = unavailable()
    root = _root()
    if reason or root is None:
        raise OSError(f"in_cgroup: {reason}")
    folder, version = root
    group = folder / f"graphlab-{os.getpid()}-{next(_COUNTER)}"
    group.mkdir()
    try:
        if version == 2:
            (group / "memory.max").write_text(str(limit_bytes))
            _try_write(group / "memory.swap.max", "0")
        else:
            (group / "memory.limit_in_bytes").write_text(str(limit_bytes))
            _try_write(group / "memory.memsw.limit_in_bytes", str(limit_bytes))
        with _throttled(disk, group.name) as groups:
            return _run([group, *groups], version, command, env, cwd, timeout)
    finally:
        _remove(group)


@contextlib.contextmanager
def _throttled(disk: Throttle | None, name: str) -> Iterator[list[Path]]:
    if disk is None:
        yield []
        return
    group = _BLKIO / name
    group.mkdir()
    try:
        device = os.stat(disk.path).st_dev
        device_name = f"{os.major(device)}:{os.minor(device)}"
        for rate, value in (("bps", disk.read_bps), ("iops", disk.read_iops)):
            path = group / f"blkio.throttle.read_{rate}_device"
            path.write_text(f"{device_name} {value}")
        yield [group]
    finally:
        _remove(group)


def drop_caches(*files: str | Path) -> bool:
    """Take files out of the page cache, or everything, where none are named.

    Returns:
        Whether it was done; everything needs root.
    """
    os.sync()
    if not files:
        return _try_write(Path("/proc/sys/vm/drop_caches"), "3")
    for file in files:
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
    return True


def _root() -> tuple[Path, int] | None:
    """The folder in which groups are made, and the version of its hierarchy."""
    for mount, kind, options in _MOUNT.findall(Path("/proc/mounts").read_text()):
        if kind == "cgroup" and "memory" in options.split(","):
            return Path(mount), 1
        if kind == "cgroup2":
            controllers = Path(mount) / "cgroup.controllers"
            if "memory" in controllers.read_text().split():
                _try_write(Path(mount) / "cgroup.subtree_control", "+memory")
                return Path(mount), 2
    return None


def _run(
    groups: list[Path],
    version: int,
    command: Sequence[str],
    env: Mapping[str, str] | None,
    cwd: str | Path | None,
    timeout: float | None,
) -> Outcome:
    group = groups[0]
    # The shell joins the groups before the command starts in its place.
    steps = [f'echo $$ >"{each}/cgroup.procs"' for each in groups]
    join = ["sh", "-c", " && ".join([*steps, 'exec "$@"']), "sh"]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        start = time.perf_counter()
        child = subprocess.Popen(
            [*join, *command], env=env, cwd=cwd, stdout=out, stderr=err
        )
        killer = threading.Timer(timeout, child.kill) if timeout else None
        if killer is not None:
            killer.start()
        anonymous = 0
        while (
            os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
        ):
            anonymous = max(anonymous, _anonymous(group, version))
            time.sleep(0.005)
        seconds = time.perf_counter() - start
        # Not reaped yet, so its counters can still be read.
        io = dict(re.findall(r"(\w+): (\d+)", _io(child.pid)))
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if killer is not None:
            killer.cancel()
        texts = []
        for stream in (out, err):
            stream.seek(0)
            texts.append(stream.read().decode(errors="replace"))
    peak = "memory.peak" if version == 2 else "memory.max_usage_in_bytes"
    events = "memory.events" if version == 2 else "memory.oom_control"
    kills = re.search(r"oom_kill (\d+)", (group / events).read_text())
    return Outcome(
        child.returncode,
        *texts,
        seconds,
        int((group / peak).read_text()),
        anonymous,
        usage.ru_maxrss * 1024,
        int(io.get("read_bytes", 0)),
        int(io.get("write_bytes", 0)),
        int(kills.group(1)) if kills else 0,
    )


def _io(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/io").read_text()
    except OSError:
        return ""


def _anonymous(group: Path, version: int) -> int:
    name = "anon" if version == 2 else "total_rss"
    found = re.search(
        rf"^{name} (\d+)", (group / "memory.stat").read_text(), re.MULTILINE
    )
    return int(found.group(1)) if found else 0


def _remove(group: Path) -> None:
    """End what still runs in a group, and remove it."""
    for _ in range(100):
        for pid in (group / "cgroup.procs").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        try:
            group.rmdir()
        except OSError:
            time.sleep(0.01)
        else:
            return


def _try_write(path: Path, text: str) -> bool:
    try:
        path.write_text(text)
    except OSError:
        return False
    return True
