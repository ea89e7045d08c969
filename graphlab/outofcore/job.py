"""What a plan is asked for: checked arguments, and where each column will live."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from graphlab import check, sizes
from graphlab.datasets import Dataset
from graphlab.datasets.column import SparseColumn
from graphlab.datasets.stored import GAP_BYTES, StoredColumn
from graphlab.errors import BudgetError
from graphlab.ops import NeighborSample
from graphlab.outofcore.batch import Fields
from graphlab.outofcore.budget import Ledger
from graphlab.outofcore.columns import Rows, load, loaded_bytes, rows_of
from graphlab.outofcore.node_order import require_order
from graphlab.outofcore.policy import Policy, as_policy
from graphlab.outofcore.request import Request, Samples
from graphlab.outofcore.store import Store
from graphlab.outofcore.topology import GraphFiles, readable
from graphlab.sample.batch import MASKS, node_columns
from graphlab.sample.link_seeds import LinkSeeds
from graphlab.sample.sampler import NeighborSampler
from graphlab.sample.source import fingerprint, input_ids, require_distinct

MODES = ("auto", "memory", "direct", "replay", "hybrid", "rolling")
# A column is held in memory whole where it takes at most this share of the budget: labels
# and masks cost more requests than bytes.
SMALL_SHARE = 16


@dataclass
class Job:
    """The arguments of :func:`graphlab.outofcore.plan`, checked.

    Attributes:
        store, dataset: The store, and it as a dataset whose parts are memory-mapped.
        sampler: Draws the batches.
        request: Which batches.
        columns: Node columns that travel, in the order of a batch's fields.
        limit, disk: Budgets in bytes; ``disk`` None is what the device has free.
        path: The plan's folder.
        policy: What stays in memory.
        batch_size: As asked for; ``request.batch_size`` may be lowered to fit.
        world_size: Ranks for which the schedule is compiled.
        rank: This process, where the ranks make the plan together; else None.
        resample_every: Epochs that share samples, which are then drawn afresh; None: for
            ever in mode ``replay``, one in mode ``rolling``.
        map_graph: Sample through the graph's map although the budget does not hold it: the
            system has memory for its pages.
        node_order: Order of a batch's nodes inside a hop.
        device_memory: Bytes of the device for rows, as batches hold them.
        gap: Bytes to read through rather than to skip.
    """

    store: Store
    dataset: Dataset
    sampler: NeighborSampler
    request: Request
    columns: list[str]
    limit: int
    disk: int | None
    mode: str
    policy: Policy
    prefetch: int
    path: Path
    batch_size: int
    world_size: int = 1
    rank: int | None = None
    resample_every: int | None = None
    map_graph: bool = False
    node_order: str = "discovery"
    device_memory: int = 0
    gap: int = GAP_BYTES

    @property
    def arguments(self) -> dict[str, Any]:
        """What two equal plans have in common, as plain values."""
        return {
            **self.sampling,
            "batch_size": self.batch_size,
            "columns": self.columns,
            "memory": self.limit,
            "disk": self.disk,
            "mode": self.mode,
            "policy": repr(self.policy),
            "prefetch": self.prefetch,
            "world_size": self.world_size,
            "resample_every": self.resample_every,
            "node_order": self.node_order,
            "device_memory": self.device_memory,
        }

    @property
    def sampling(self) -> dict[str, Any]:
        """What the samples depend on beside the store."""
        request = self.request
        return {
            "seed": request.seed,
            **self.sampler.settings(),
            "inputs": fingerprint(request.input_nodes),
            "batch_size": request.batch_size,
            "epochs": request.epochs,
            "shuffle": request.shuffle,
            "drop_last": request.drop_last,
            **({} if request.links is None else request.links.settings()),
        }

    def identity(self, of: dict[str, Any]) -> str:
        """64 hex digits that name a store and arguments."""
        text = json.dumps([self.store.fingerprint, of], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def device_rows(self, columns: list[Rows]) -> int:
        """Rows of columns on disk that the device holds.

        Raises:
            ValueError: a column is sparse: its rows have no fixed size there.
        """
        if not self.device_memory or not columns:
            return 0
        sparse = [rows.name for rows in columns if rows.kind == "sparse"]
        if sparse:
            need = "be left out where a sparse column is on disk"
            remedy = "its rows differ in size; leave the column out with columns="
            check.fail(ValueError, "plan", "device_memory", need, sparse[0], remedy)
        size = sum(rows.out_bytes for rows in columns)
        return min(self.device_memory // max(size, 1), self.dataset.num_nodes)

    @property
    def topology_bytes(self) -> int:
        """Bytes of the graph's arrays that sampling touches."""
        return sum(t.nbytes for t in self.dataset.graph.csc() if t is not None)

    @property
    def counted_topology(self) -> int:
        """Bytes of the mapped graph that are counted: all, or none where it is too large."""
        size = self.topology_bytes
        return size if size <= self.limit // 2 else 0

    @property
    def graph_files(self) -> GraphFiles | None:
        """The graph's files, where it is too large to be held and can be read in order."""
        if self.map_graph or self.counted_topology or not readable(self.sampler):
            return None
        return GraphFiles.of(self.store, self.limit, self.gap)


def source(job: Job, name: str) -> StoredColumn | SparseColumn | Tensor:
    """The column of a name: in its file, or memory-mapped."""
    if name in MASKS:
        return job.dataset.splits[name.removesuffix("_mask")]
    return job.store.columns[name]


@dataclass
class Placement:
    """Which columns are held in memory whole, and which are read from disk by rows.

    Attributes:
        resident, disk: Node columns.
        resident_bytes: Of all that is in memory.
        edges: Edge columns on disk.
    """

    resident: list[str]
    disk: list[str]
    resident_bytes: int
    edges: list[str]

    def rows(self, job: Job) -> list[Rows]:
        """The columns on disk, as the disk engine sees them."""
        return [rows_of(name, job.store.columns[name]) for name in self.disk]


def edge_columns(job: Job) -> dict[str, Any]:
    """Edge columns that travel: all of the dataset's, and the graph's weights."""
    edges = dict(job.dataset.edge_columns)
    weight = job.dataset.graph.edge_weight
    if weight is not None and "edge_weight" not in edges:
        edges["edge_weight"] = weight
    return edges


def place(job: Job, *, everything: bool = False) -> Placement:
    """Decide where columns live.

    Args:
        job: The job.
        everything: All in memory.

    Raises:
        BudgetError: sparse edge columns, which are held in memory, do not fit.
    """
    found = edge_columns(job)
    # The graph's weights are a column of the store under another name.
    stored = {n for n, c in found.items() if isinstance(c, StoredColumn) and len(c)}
    on_disk = {
        name
        for name in stored
        if not everything and loaded_bytes(found[name]) > job.limit // SMALL_SHARE
    }
    edges = sum(loaded_bytes(c) for n, c in found.items() if n not in on_disk)
    edges += 0 if job.request.links is None else job.request.links.nbytes
    if edges > job.limit // 2:
        raise BudgetError(
            f"plan: `memory` must be at least {sizes.show(2 * edges)} to hold the edge "
            f"columns ({sizes.show(edges)}) beside the rest, got {sizes.show(job.limit)}"
        )
    resident, disk, total = [], [], edges
    for name in sorted(job.columns, key=lambda n: loaded_bytes(source(job, n))):
        column = source(job, name)
        size = loaded_bytes(column)
        small = size <= job.limit // SMALL_SHARE and total + size <= job.limit // 2
        unreadable = isinstance(column, Tensor) or 0 in column.shape
        if everything or small or unreadable:
            resident.append(name)
            total += size
        else:
            disk.append(name)
    order = job.columns.index
    return Placement(
        sorted(resident, key=order), sorted(disk, key=order), total, sorted(on_disk)
    )


def fields(job: Job, placement: Placement, *, loaded: bool) -> Fields:
    """Names and columns of a batch; ``loaded`` copies resident columns into memory."""
    ready = load if loaded else _as_is
    node: dict[str, Any] = {}
    for name in job.columns:
        if name in placement.disk:
            node[name] = rows_of(name, job.store.columns[name])
        else:
            node[name] = ready(source(job, name))
    edge = {
        name: rows_of(name, column) if name in placement.edges else ready(column)
        for name, column in edge_columns(job).items()
    }
    levels = bool(job.device_memory and placement.disk)
    return Fields(node, edge, job.sampler.disjoint, levels=levels)


def _as_is(column: Any) -> Any:
    """Stand-in for a column of which only shape and dtype matter."""
    return rows_of("", column) if isinstance(column, StoredColumn) else column


def make_job(
    store: Store | str | Path,
    *,
    num_neighbors: Any,
    input_nodes: Any,
    batch_size: int,
    epochs: int,
    seed: int,
    shuffle: bool,
    drop_last: bool,
    replace: bool,
    weighted: bool,
    disjoint: bool,
    method: str,
    columns: Any,
    memory: int | str,
    disk: int | str | None,
    mode: str,
    policy: Any,
    prefetch: int,
    path: str | Path,
    world_size: int,
    rank: int | None,
    resample_every: int | None,
    node_order: str,
    device_memory: int | str | None,
    edge_label_index: Any,
    edge_label: Any,
    neg_sampling_ratio: float,
) -> Job:
    """Check the arguments of :func:`graphlab.outofcore.plan`."""
    if isinstance(store, (str, Path)):
        store = Store.open(store)
    given: object = store
    if not isinstance(given, Store):
        got = type(given).__name__
        remedy = "make one with gl.outofcore.Store.convert"
        check.fail(TypeError, "plan", "store", "be a Store or its folder", got, remedy)
    dataset = store.dataset()
    sampler = NeighborSampler(
        dataset.graph,
        num_neighbors,
        replace=replace,
        weighted=weighted,
        disjoint=disjoint,
        method=method,
        seed=seed,
    )
    links = None
    if edge_label_index is not None:
        if input_nodes is not None:
            need = "be left out where edge_label_index is given"
            check.fail(
                ValueError, "plan", "input_nodes", need, type(input_nodes).__name__
            )
        links = LinkSeeds(
            "plan",
            dataset.graph,
            edge_label_index,
            edge_label,
            neg_sampling_ratio=neg_sampling_ratio,
            seed=seed,
        )
        ids = torch.arange(links.edge_label_index.shape[1])
    else:
        if edge_label is not None or neg_sampling_ratio:
            need = "be given for labels of pairs, or negatives"
            check.fail(ValueError, "plan", "edge_label_index", need, None)
        ids = input_ids("plan", dataset, input_nodes)
        if not disjoint:
            require_distinct("plan", "input_nodes", ids)
    request = Request(
        ids,
        check.positive("plan", "batch_size", batch_size),
        check.positive("plan", "epochs", epochs),
        seed,
        shuffle,
        drop_last,
        links=links,
    )
    if not request.batches(0):
        check.fail(
            ValueError, "plan", "drop_last", "leave a batch", f"{len(ids)} input nodes"
        )
    return Job(
        store=store,
        dataset=dataset,
        sampler=sampler,
        request=request,
        columns=node_columns(dataset, columns, "plan"),
        limit=sizes.parse(memory),
        disk=None if disk is None else sizes.parse(disk, argument="disk"),
        mode=check.one_of("plan", "mode", mode, MODES),
        policy=as_policy("plan", policy),
        prefetch=check.positive("plan", "prefetch", prefetch),
        path=Path(path),
        batch_size=batch_size,
        world_size=check.positive("plan", "world_size", world_size),
        rank=_rank(rank, world_size),
        resample_every=_resample(resample_every, mode, epochs),
        node_order=require_order(node_order, mode),
        device_memory=0
        if device_memory is None
        else sizes.parse(device_memory, argument="device_memory"),
    )


def _rank(rank: int | None, world_size: int) -> int | None:
    if rank is None:
        return None
    check.positive("plan", "rank", rank, least=0)
    if rank >= world_size:
        check.fail(
            ValueError, "plan", "rank", f"be below world_size = {world_size}", rank
        )
    return rank


def _resample(every: int | None, mode: str, epochs: int) -> int | None:
    if every is None:
        return None
    check.positive("plan", "resample_every", every)
    if mode not in ("replay", "hybrid", "rolling"):
        need = "be left out, or mode be 'replay' or 'rolling'"
        check.fail(ValueError, "plan", "resample_every", need, f"mode {mode!r}")
    if epochs != 1:
        need = "be 1 where resample_every is given: one epoch is sampled at a time"
        check.fail(ValueError, "plan", "epochs", need, epochs)
    return every


def sample_seconds(job: Job, ledger: Ledger, count: int = 4) -> float:
    """Seconds in which one thread samples an epoch, by a few of its batches."""
    batches = job.request.batches(0)
    taken = []
    if job.graph_files is not None:  # together, as they will be
        start, done = time.perf_counter(), 0
        for _ in some_samples(job, 4 * count, ledger):
            done += 1
        return (time.perf_counter() - start) / done * len(batches)
    for number in _spread(len(batches), count):
        start = time.perf_counter()
        job.request.sample(job.sampler, 0, number, batches[number])
        taken.append(time.perf_counter() - start)
    return float(np.median(taken)) * len(batches)


def _spread(total: int, count: int) -> list[int]:
    """Numbers of at most ``count`` of ``total`` batches, spread evenly."""
    chosen: list[int] = np.unique(np.linspace(0, total - 1, count).astype(int)).tolist()
    return chosen


def some_samples(job: Job, count: int, ledger: Ledger) -> Iterator[NeighborSample]:
    """A few batches of epoch 0, spread over it; ``ledger`` accounts for reading the graph."""
    chosen = _spread(len(job.request.batches(0)), count)
    request = job.request._replace(only=(0, chosen))
    samples = Samples(
        job.sampler,
        request,
        range(len(chosen)),
        ledger,
        job.graph_files,
        threads=1,
    )
    try:
        for _, sample, _ in samples:
            yield sample
    finally:
        samples.close()


def probe(job: Job, count: int = 4) -> tuple[int, int]:
    """Nodes and edges of the largest of a few batches of epoch 0."""
    nodes = edges = 0
    for sample in some_samples(job, count, Ledger(job.limit, "plan")):
        nodes, edges = max(nodes, len(sample.n_id)), max(edges, len(sample.row))
    return nodes, edges
