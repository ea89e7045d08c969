"""The process keeps to declared memory + its footprint before the loader + 4 MiB."""

from __future__ import annotations

import json
import sys

import pytest

from benchmarks import cgroup
from graphlab.outofcore import plan

MIB = 2**20

# Counts its own memory the hard way: anonymous pages before the loader, and their peak.
CHILD = """
import json, re, sys, threading
import torch, torch_geometric.data
from graphlab.outofcore import plan, Store

def anonymous():
    with open("/proc/self/smaps_rollup") as file:
        return int(re.search(r"Anonymous: +(\\d+)", file.read())[1]) * 1024

made = plan(Store.open(sys.argv[1]), [10, 5], range(6000), batch_size=256, memory="24MiB",
            mode=sys.argv[2], path=sys.argv[3])
before, most = anonymous(), 0
rss = int(open("/proc/self/statm").read().split()[1]) * 4096
loader = made.loader()
total = 0.0
for number, batch in enumerate(loader):
    total += float(batch.x[0, 0])
    if number % 8 == 0:
        most = max(most, anonymous())
stats = loader.stats()
print(json.dumps({"before": before, "most": most, "rss": rss, **stats}))
"""


@pytest.mark.cgroup
@pytest.mark.slow
@pytest.mark.skipif(
    bool(cgroup.unavailable()), reason=cgroup.unavailable() or "available"
)
@pytest.mark.parametrize("mode", ["replay", "direct"])
def test_process_finishes_in_declared_plus_footprint(make_store, tmp_path, mode):
    _, store = make_store(num_nodes=60_000, num_edges=400_000, width=128)
    path = tmp_path / "plan"
    given = {"batch_size": 256, "memory": "24MiB", "mode": mode}
    plan(store, [10, 5], range(6000), path=path, **given)
    command = [sys.executable, "-c", CHILD, str(store.path), mode, str(path)]
    free = cgroup.in_cgroup(2048 * MIB, command)
    assert free.returncode == 0, free.stderr
    told = json.loads(free.stdout)
    assert told["peak_memory_bytes"] <= told["declared_memory_bytes"] == 24 * MIB
    # Exact accounting: what the loader added is what it declared, and slack.
    assert told["most"] - told["before"] <= 24 * MIB + 4 * MIB
    tight = cgroup.in_cgroup(told["rss"] + 24 * MIB + 4 * MIB, command)
    assert tight.returncode == 0, tight.stderr
    assert tight.oom_kills == 0
