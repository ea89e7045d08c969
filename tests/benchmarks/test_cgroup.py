from __future__ import annotations

import sys

import pytest

from benchmarks import cgroup

MIB = 2**20
needs_cgroup = pytest.mark.skipif(
    bool(cgroup.unavailable()), reason=cgroup.unavailable() or "available"
)


def python(code: str) -> list[str]:
    return [sys.executable, "-S", "-c", code]


@pytest.mark.cgroup
@needs_cgroup
def test_reports_peak_memory_and_io(tmp_path):
    target = tmp_path / "file"
    code = f"x = bytearray(40 << 20); f = open({str(target)!r}, 'wb')"
    done = cgroup.in_cgroup(
        128 * MIB, python(code + "; f.write(bytes(1 << 20)); print('well')")
    )
    assert (done.returncode, done.stdout, done.oom_kills) == (0, "well\n", 0)
    assert 40 * MIB <= done.peak_bytes <= 128 * MIB
    assert done.peak_resident_bytes >= 40 * MIB
    assert done.write_bytes in (0, *range(MIB, 2 * MIB))  # 0 on a memory file system


@pytest.mark.cgroup
@needs_cgroup
def test_the_limit_holds():
    done = cgroup.in_cgroup(32 * MIB, python("x = bytearray(64 << 20)"))
    assert done.returncode == -9
    assert done.oom_kills == 1
    assert done.peak_bytes <= 32 * MIB


@pytest.mark.cgroup
@needs_cgroup
def test_timeout_and_errors_come_back():
    done = cgroup.in_cgroup(32 * MIB, ["sleep", "60"], timeout=0.1)
    assert done.returncode == -9
    done = cgroup.in_cgroup(32 * MIB, python("raise SystemExit('broken')"))
    assert (done.returncode, done.stderr) == (1, "broken\n")


def test_without_a_cgroup_it_says_why(monkeypatch):
    monkeypatch.setattr(cgroup, "_root", lambda: None)
    with pytest.raises(OSError, match="no memory cgroup controller is mounted"):
        cgroup.in_cgroup(MIB, ["true"])


def test_drop_caches_of_one_file(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(bytes(MIB))
    assert cgroup.drop_caches(file)
    assert file.read_bytes() == bytes(MIB)
