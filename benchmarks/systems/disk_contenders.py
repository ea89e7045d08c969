"""One epoch from disk by the strategies of the published systems, in one memory cgroup.

All are written on this engine's own parts (its sampler, io_uring ring, assembly), so that
what differs is the strategy: which rows are in memory, and how the others are read.

``graphlab replay``       Belady's slots, every other row packed batch by batch
``static + packed``       the most used rows stay, the others are packed (DiskGNN's strategy)
``Belady + pages``        Belady's slots, every other row read by its page (Ginex's strategy)
``partitions``            some partitions are in memory, and batches are sampled from them
                          alone (MariusGNN's strategy): other batches, so its accuracy differs

Batches of the first three are equal bit for bit, and so are their losses. ``loader only``
computes nothing; ``SAGE`` trains. The disk of the case that input and output bind is made
slower (blkio throttle), to rates that its facts name, because the machine's own is faster
than one core puts batches together. Test accuracy after the
epoch is measured outside of the cgroup. Memory maps: see ``disk_epoch``.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import cgroup, harness
from benchmarks.harness import Case, Contender, Trial
from benchmarks.systems.disk_epoch import (
    FOLDER,
    MIB,
    Setting,
    make_store,
    read_bytes,
    seeds,
    warm_batch,
)

KINDS = {
    "graphlab replay": "belady",
    "static + packed": "static",
    "Belady + pages": "pages",
    "partitions": "partitions",
}
PARTITIONS, RESIDENT = 16, 2
# A disk of a small virtual machine.
SLOW = cgroup.Throttle(FOLDER, 600_000_000, 60_000)


def make_plan(setting: Setting, policy: str) -> Any:
    from graphlab.outofcore import Store, plan

    store = Store.open(setting.store)
    name = f"contender-{zlib.crc32(f'{setting}-{policy}'.encode()):08x}"
    return plan(
        store,
        list(setting.fanout),
        seeds(store.dataset(), setting),
        setting.batch_size,
        memory=setting.budget,
        mode="replay",
        policy=policy,
        path=FOLDER / name,
    )


def by_pages(setting: Setting) -> Iterator[Any]:
    """Ginex's strategy: the same programme, but missing rows come from the store by pages."""
    from graphlab.ops import io
    from graphlab.outofcore import layout
    from graphlab.outofcore.batch import Assembler
    from graphlab.outofcore.hot import Hot
    from graphlab.outofcore.pool import Pool
    from graphlab.outofcore.reader import QUEUE, Ring, allocate
    from graphlab.outofcore.replay import Trace
    from graphlab.outofcore.run import jobs
    from graphlab.outofcore.scattered import RowFile, Target
    from graphlab.sample.ahead import Ahead

    made = make_plan(setting, "belady")
    placement = jobs.place(made.job)
    rows = placement.rows(made.job)[0]
    fields = jobs.fields(made.job, placement, loaded=True)
    pool = Pool(made.sizing.prefetch + 1, made.sizing.block)
    assembler = Assembler(fields, pool, torch.device("cpu"))
    trace, ring = Trace(made.path, made.body["files"], []), Ring(QUEUE, 16384)
    still, live = made.totals["hot_rows"], made.totals["slots"]
    held = Hot(made.path, made.body["files"], still, rows, ring, live=live).slots
    areas = [
        allocate(int(part.table["length"].max()) + 2 * 4096) for part in trace.parts
    ]
    file = RowFile.of_column(rows)

    def make(number: int) -> Any:
        sample, programme = (
            part.file.read(
                int(part.table[number]["offset"]),
                int(part.table[number]["length"]),
                area,
            )
            for part, area in zip(trace.parts, areas, strict=True)
        )
        record = layout.decode_sample(sample)
        source, keep, _ = layout.decode_programme(programme)
        filling = assembler.begin(record)
        out = filling.column(rows)
        dst = torch.empty(int((source < 0).sum()), dtype=torch.int32)
        io.assemble_hits(held, torch.from_numpy(source), out, dst)
        wanted = record.n_id[dst.numpy()].astype(np.int64)
        kept = (held, torch.from_numpy(keep)) if len(keep) else ()
        file.read(wanted, ring, 0, Target(out, dst, *kept))
        return filling.finish().data

    yield None  # all is ready
    yield from Ahead(make, range(made.batches_per_epoch), prefetch=1)
    ring.close()


def by_partitions(setting: Setting) -> Iterator[Any]:
    """MariusGNN's strategy: sample inside of the partitions that are in memory.

    A window of partitions moves over all of them, one read at a time; a seed trains in one
    of the states, drawn at random, that hold its partition.
    """
    import graphlab as gl
    from graphlab.datasets.column import gather

    dataset = gl.datasets.open(setting.store)
    csc = dataset.graph.csc()
    chosen = seeds(dataset, setting)
    labels = dataset.columns["y"] if "y" in dataset.columns else dataset.y
    size = -(-setting.num_nodes // PARTITIONS)
    states = PARTITIONS - RESIDENT + 1
    part = chosen // size
    low = (part - RESIDENT + 1).clamp(min=0)
    high = part.clamp(max=states - 1)
    draw = torch.rand(len(chosen), generator=torch.Generator().manual_seed(0))
    state_of = low + ((high - low + 1) * draw).long()
    held = torch.empty(RESIDENT * size, setting.num_features)
    source = open(dataset.columns["x"].path, "rb", buffering=0)

    def load(number: int) -> None:
        """Partition ``number`` into its place, past the page cache's growth."""
        rows = held[number % RESIDENT * size :][:size]
        count = min(size, setting.num_nodes - number * size)
        view = memoryview(rows[:count].numpy()).cast("B")
        place, done = number * size * setting.num_features * 4, 0
        while done < len(view):
            done += os.preadv(source.fileno(), [view[done:]], place + done)
        os.posix_fadvise(source.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    yield None
    for number in range(RESIDENT - 1):
        load(number)
    for state in range(states):
        load(state + RESIDENT - 1)
        inside = range(state, state + RESIDENT)
        local = torch.full((PARTITIONS,), -1)
        for number in inside:
            local[number] = number % RESIDENT * size - number * size
        rows, cols = [], []
        for number in inside:
            first, end = number * size, min((number + 1) * size, setting.num_nodes)
            ptr = csc.ptr[first : end + 1]
            neighbours = csc.idx[int(ptr[0]) : int(ptr[-1])].long()
            targets = torch.repeat_interleave(torch.arange(first, end), ptr.diff())
            near = neighbours // size
            kept = (near >= inside.start) & (near < inside.stop)
            rows.append(neighbours[kept] + local[near[kept]])
            cols.append(targets[kept] + local[number])
        graph = gl.Graph(torch.stack([torch.cat(rows), torch.cat(cols)]), len(held))
        here = chosen[state_of == state]
        if not len(here):
            continue
        shift = local[here // size]
        y_held = torch.zeros(len(held), dtype=torch.int64)
        y_held[here + shift] = gather(labels, here)
        yield from gl.sample.NeighborLoader(
            gl.Dataset(graph, x=held, y=y_held),
            list(setting.fanout),
            setting.batch_size,
            here + shift,
            num_threads=1,
            prefetch=1,
        )


def child(kind: str, setting: Setting, train: bool, out: str) -> dict[str, Any]:
    """One epoch; what a contender prints."""
    import torch_geometric.data  # noqa: F401  what starting costs is no part of an epoch

    import graphlab as gl

    torch.manual_seed(0)
    model = gl.models.SAGE(
        setting.num_features, 10, hidden_channels=setting.hidden, num_layers=2
    )
    optimiser = torch.optim.Adam(model.parameters(), 0.003)
    stats, limit = None, None
    if kind == "nothing":
        batches: Iterator[Any] = iter([warm_batch(setting)])
    elif kind in ("pages", "partitions"):
        batches = by_pages(setting) if kind == "pages" else by_partitions(setting)
        next(batches)
    else:
        made = make_plan(setting, kind)
        loader = made.loader()
        batches, stats, limit = iter(loader), loader.stats, made
    values, count, before, start = [], 0, read_bytes(), time.perf_counter()
    for batch in batches:
        count += 1
        if not train:
            values.append(float(batch.x.sum()))
            continue
        result = model(
            batch.x, batch.edge_index, batch.num_sampled_nodes, batch.num_sampled_edges
        )
        size = batch.batch_size
        loss = torch.nn.functional.cross_entropy(result[:size], batch.y[:size])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        values.append(float(loss.detach()))
    found = {
        "seconds": time.perf_counter() - start,
        "batches": count,
        "values": values,
        "read_bytes": read_bytes() - before,
    }
    if stats is not None:
        kept = ("device_bytes", "hits", "misses", "stall_seconds", "limit_seconds")
        found |= {key: stats()[key] for key in kept}
        found["sequential_bandwidth"] = limit.calibration.sequential
    if train and out:
        torch.save(model.state_dict(), out)
    return found


def run(
    kind: str,
    setting: Setting,
    train: bool,
    limit: int,
    out: str,
    disk: cgroup.Throttle | None = None,
) -> Any:
    arguments = json.dumps([kind, setting, train, out])
    module = "benchmarks.systems.disk_contenders"
    command = [sys.executable, "-m", module, "--child", arguments]
    done = cgroup.in_cgroup(limit, command, cwd=harness.ROOT, disk=disk)
    if done.oom_kills:
        raise MemoryError(f"{kind}: out of memory in {limit} bytes")
    if done.returncode != 0:
        raise RuntimeError(f"{kind}: {done.stderr[-2000:]}")
    found = json.loads(done.stdout.splitlines()[-1])
    return {
        **found,
        "cgroup_bytes": limit,
        "cgroup_peak_bytes": done.peak_bytes,
        "resident_peak_bytes": done.peak_resident_bytes,
    }


def accuracy(setting: Setting, weights: str) -> float:
    """Share of 10,000 test nodes that a trained model tells, by sampled neighbourhoods."""
    import graphlab as gl

    dataset = gl.datasets.open(setting.store)
    model = gl.models.SAGE(
        setting.num_features, 10, hidden_channels=setting.hidden, num_layers=2
    )
    model.load_state_dict(torch.load(weights))
    model.eval()
    right = total = 0
    loader = gl.sample.NeighborLoader(
        dataset, list(setting.fanout), 1024, dataset.ids("test")[:10_000], shuffle=False
    )
    with torch.no_grad():
        for batch in loader:
            out = model(
                batch.x,
                batch.edge_index,
                batch.num_sampled_nodes,
                batch.num_sampled_edges,
            )
            size = batch.batch_size
            right += int((out[:size].argmax(1) == batch.y[:size]).sum())
            total += size
    return right / total


def setup(setting: Setting, train: bool, disk: cgroup.Throttle | None) -> Trial:
    make_store(setting)
    prepared, begun = {}, time.time()
    for policy in ("belady", "static"):
        start = time.perf_counter()
        made = make_plan(setting, policy)
        seconds = time.perf_counter() - start
        # A plan that another case has made is only opened.
        made_now = (made.path / "manifest.json").stat().st_mtime > begun
        prepared[policy] = (seconds if made_now else None, made)
    bare = run("nothing", setting, train, 2**40, "")["resident_peak_bytes"]
    limit = bare + setting.budget + 4 * MIB
    folder = tempfile.TemporaryDirectory(prefix="graphlab-")

    def contender(name: str, kind: str) -> Contender:
        weights = str(Path(folder.name) / f"{kind}.pt")

        def notes(found: dict[str, Any]) -> dict[str, Any]:
            kept = {key: value for key, value in found.items() if key != "values"}
            if kind in prepared:
                kept["prepare_seconds"], made = prepared[kind]
                kept["rows_in_memory"] = made.totals["hot_rows"] + made.totals["slots"]
                kept["pack_bytes"] = made.totals["pack_bytes"]
            if disk is not None:
                least = found["read_bytes"] / disk.read_bps
                kept["throttled_limit_seconds"] = least
                kept["of_throttled_limit"] = found["seconds"] / least
            if train:
                kept["test_accuracy"] = accuracy(setting, weights)
            return kept

        return Contender(
            name,
            lambda: run(kind, setting, train, limit, weights, disk),
            ["torch", "torch-geometric", "numpy"],
            prepare=cgroup.drop_caches,
            value=lambda found: None if kind == "partitions" else found["values"],
            seconds=lambda found: found["seconds"],
            notes=notes,
        )

    contenders = [contender(name, kind) for name, kind in KINDS.items()]

    def agree(mine: Any, theirs: Any) -> None:
        assert mine is None or mine == theirs, f"batches differ: {mine} and {theirs}"

    return Trial(contenders, agree, close=folder.cleanup)


def cases(quick: bool) -> Iterable[Case]:
    whole = Setting(batches=49)
    if quick:
        whole = Setting(20_000, 100_000, 128, 0.1, (5, 5), 64, 16, 0.6, batches=20)
    memory = f"memory {100 * whole.budget_share:.0f} %"
    shape = f"{whole.num_nodes:,} x {whole.num_features}"
    for train in (False, True):
        yield Case(
            f"{'SAGE' if train else 'loader only'}, {shape}, {whole.batches} batches, "
            f"{memory}",
            lambda seed, t=train: setup(whole, t, None),
            {**whole.facts, "model": "SAGE" if train else None},
            repeats=3,
            warmups=0,
        )
    epoch = whole if quick else whole._replace(batches=0)
    yield Case(
        f"loader only, {shape}, whole epoch, {memory}",
        lambda seed: setup(epoch, False, None),
        {**epoch.facts, "model": None},
        repeats=2,
        warmups=0,
    )
    slow = {"read_bps": SLOW.read_bps, "read_iops": SLOW.read_iops}
    yield Case(
        f"slow disk, {shape}, whole epoch, {memory}",
        lambda seed: setup(epoch, False, SLOW),
        {**epoch.facts, "model": None, "throttle": slow},
        repeats=1,
        warmups=0,
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        kind, setting, train, out = json.loads(sys.argv[2])
        fields = [tuple(v) if isinstance(v, list) else v for v in setting]
        torch.set_num_threads(2)
        print(json.dumps(child(kind, Setting(*fields), train, out)))
    else:
        harness.main("disk_contenders", cases, repeats=3)
