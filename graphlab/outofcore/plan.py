"""plan(): sample offline, choose what stays in memory, pack the rest."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from graphlab import check, sizes
from graphlab.errors import StoreError
from graphlab.outofcore import build, layout, together
from graphlab.outofcore.calibrate import Calibration
from graphlab.outofcore.job import Job, make_job
from graphlab.outofcore.loader import DiskLoader
from graphlab.outofcore.policy import Policy
from graphlab.outofcore.run import open_loader
from graphlab.outofcore.sizing import Sizing
from graphlab.outofcore.store import Store
from graphlab.outofcore.topology import expect_random_reads

if TYPE_CHECKING:
    from graphlab.outofcore.explain import Explanation


class Plan:
    """Batches made ready for reading within a budget; made by :func:`plan`.

    Attributes:
        path: The plan's folder.
        mode: ``memory``, ``direct``, ``replay``, ``hybrid`` or ``rolling``.
        identity: Name of store and arguments; two equal plans have the same.
        epochs: Epochs that were sampled.
        batches_per_epoch: Batches of an epoch.
        memory: Declared bytes.
        node_order: Order of a batch's nodes inside a hop.
        sizing: How they are shared out.
        totals: Figures of the trace and of the files.
        calibration: What the disk was measured to do.
    """

    def __init__(self, job: Job, body: dict[str, Any]) -> None:
        self.job = job
        self.body = body
        self.path = job.path
        self.mode: str = body["mode"]
        self.identity: str = body["identity"]
        self.epochs: int = body["arguments"]["epochs"]
        self.batches_per_epoch: int = body["totals"]["batches_per_epoch"]
        self.memory: int = body["arguments"]["memory"]
        # Plans of earlier versions know no other.
        self.node_order: str = body.get("node_order", "discovery")
        self.sizing = Sizing(**body["sizing"])
        self.totals: dict[str, Any] = body["totals"]
        self.calibration = Calibration(**body["calibration"])
        job.gap = self.calibration.gap
        job.request = job.request._replace(batch_size=self.totals["batch_size"])

    def __repr__(self) -> str:
        return (
            f"Plan({str(self.path)!r}, mode={self.mode!r}, "
            f"{self.batches_per_epoch} batches, memory={sizes.show(self.memory)})"
        )

    def loader(
        self,
        epoch: int = 0,
        device: Any = "cpu",
        prefetch: int | None = None,
        *,
        rank: int | None = None,
        world_size: int | None = None,
        verify: bool = True,
    ) -> DiskLoader:
        """Open the plan for reading.

        Args:
            epoch: The first epoch.
            device: Where batches go.
            prefetch: Batches made ahead at most; None, or more than the budget was planned
                for: as planned.
            rank, world_size: As in :class:`graphlab.sample.NeighborLoader`.
            verify: Compare the checksum of each region the first time that it is read.

        Returns:
            An iterable of ``torch_geometric.data.Data``; see :class:`DiskLoader`.

        Raises:
            StoreError: a file of the plan is missing, truncated or damaged.
        """
        if prefetch is not None:
            check.positive("loader", "prefetch", prefetch, least=0)
        if self.mode == "direct" and not self.job.counted_topology:
            expect_random_reads(self.job.dataset.graph)
        return open_loader(
            self,
            epoch=epoch,
            device=device,
            prefetch=prefetch,
            rank=rank,
            world_size=world_size,
            verify=verify,
        )

    def explain(self) -> Explanation:
        """What each mode costs, and who holds how much memory; prints as tables."""
        from graphlab.outofcore.explain import explain

        return explain(self)

    def delete(self) -> None:
        """Remove the plan's folder."""
        shutil.rmtree(self.path)


def plan(
    store: Store | str | Path,
    num_neighbors: Sequence[int],
    input_nodes: Any = None,
    batch_size: int = 1024,
    *,
    epochs: int = 1,
    seed: int = 0,
    memory: int | str = "2GiB",
    disk: int | str | None = None,
    mode: str = "auto",
    policy: str | Policy = "belady",
    path: str | Path = "plan",
    shuffle: bool = True,
    drop_last: bool = False,
    replace: bool = False,
    weighted: bool = False,
    disjoint: bool = False,
    method: str = "uniform",
    columns: Sequence[str] | None = None,
    prefetch: int = 3,
    process_memory: int | str | None = None,
    world_size: int = 1,
    rank: int | None = None,
    resample_every: int | None = None,
    node_order: str = "discovery",
    device_memory: int | str | None = None,
    edge_label_index: Any = None,
    edge_label: Tensor | None = None,
    neg_sampling_ratio: float = 0.0,
    overwrite: bool = False,
) -> Plan:
    """Prepare to train on a store within a memory and a disk budget.

    ``memory``
        holds all columns, nothing is read while training;
    ``replay``
        samples ``epochs`` epochs now, decides for each batch which rows are in memory, and
        packs every other row on disk, batch by batch, so that training reads sequentially;
    ``hybrid``
        is ``replay`` on a smaller disk: the rows that most batches miss are not packed into
        each, but read from one file that all share, as few as the disk forces;
    ``rolling``
        samples every epoch afresh, a window of batches at a time: a window is packed while
        another is read, and deleted once it was read, so that a small disk does;
    ``direct``
        samples while training and reads missing rows from the store where they are.

    ``auto`` takes ``memory`` where it fits. Else it samples, measures the disk for a second,
    predicts what an epoch reads in each mode that the disk can hold, and takes the fastest,
    preparation spread over ten epochs. Exact evaluation (``num_neighbors=[-1, ...]``,
    ``shuffle=False``) in mode ``direct`` takes smaller batches than asked for where they
    would not fit.

    The work can be killed at any instant: call again to continue. A plan of the same store
    and arguments is used as it is.

    Args:
        store: The store, or its folder.
        num_neighbors: Neighbours per node and hop; -1 takes all.
        input_nodes: Seeds: None for all, ids, a mask, or the name of a split.
        batch_size: Seeds per batch.
        epochs: Epochs to sample (``replay``); later ones replay these in turn.
        seed: Seed of order and samples.
        memory: Every byte held for data: topology, columns, hot rows, read ring, output
            buffers, planner tables. Not the interpreter, the model, the optimiser, nor the
            page cache that memory-mapped files pass through, which the system takes back
            as it likes.
        disk: Bytes that the plan may take; None: what is free.
        mode: ``auto``, ``memory``, ``replay``, ``hybrid``, ``rolling`` or ``direct``.
        policy: Which rows are in memory. ``belady``: rows come and go, those that are
            needed next stay, which misses least; batches keep their recorded order.
            ``static``: the rows that most batches use stay for good; later epochs may
            have their batches in a new order. ``lru``, or any
            :class:`graphlab.outofcore.Policy`. Sparse columns are always static.
        path: Folder of the plan.
        shuffle, drop_last, replace, weighted, disjoint, method, columns: As in
            :class:`graphlab.sample.NeighborLoader`.
        prefetch: Batches made ahead; fewer where the budget is small.
        process_memory: Bound of the whole process instead: what it takes now, ``memory``,
            and 4 MiB; ``memory`` is lowered to fit.
        world_size: Ranks that will share each epoch, each with ``memory`` of its own; with
            another number every batch is the same, but rows that a rank did not see come
            from the store one by one.
        rank: This process, of ``world_size`` that make the plan together: each calls with the
            same arguments and a folder that all see, samples and packs its share, and gets
            the same plan, whose files equal those that one process makes. A rank that was
            killed goes on when it calls again. They share modes ``replay`` and ``hybrid``;
            rank 0 makes others, and the rest wait. None: this process alone.
        resample_every: Draw new samples after so many epochs, in modes ``replay`` (whole
            epochs are packed, ahead where the disk can hold two) and ``rolling``.
        node_order: ``discovery``: as in memory, bit for bit. ``packed``: inside each hop rows
            that are in memory come first, then packed ones, each as they lie, so that
            assembly copies front to back; the same batch but for the order of its nodes.
            Modes ``replay``, ``hybrid`` and ``rolling``; records take their disk twice while
            the plan is made. Where most of an epoch is reading memory it saves little (5 to
            13 % of loading 1M R-MAT nodes of 512 bytes with 81 % hits, one comparison).
        device_memory: Bytes of each rank's training device for the rows that most batches
            use, beside ``memory``, held there as batches hold them (decoded); batches come
            on top. The loader's ``device`` then puts a batch together there: these rows
            from its own memory, the others from pinned memory, in one kernel (compiled, not
            run yet). On ``device="cpu"`` it is RAM beside ``memory``. Dense columns; unused
            in mode ``memory``. None: nothing.
        edge_label_index, edge_label, neg_sampling_ratio: Batches of pairs instead of nodes,
            as in :class:`graphlab.sample.LinkNeighborLoader`; ``batch_size`` counts
            positives. Give ``dataset.graph.edge_index`` for the graph's own edges.
        overwrite: Replace a plan of another store or of other arguments.

    Returns:
        A :class:`Plan`.

    Raises:
        TypeError, ValueError, IndexError: as the in-memory loader; a plan of other
            arguments in ``path``.
        BudgetError: a budget cannot hold; raised before the work that would break it.
        OutOfDiskError: the disk cannot hold the plan; raised before packing.
        PeerFailedError: another rank could not do its part.
        StoreError: the store changed since the plan in ``path`` was made, or is damaged.

    Cost:
        Sampling, then one sequential scan of each packed column and one write of its
        misses. Planner memory: about 12 bytes a node and 20 a slot, beside the batches and
        a piece of the scan.

    Source:
        DiskGNN (offline sampling, packing). A row's place is compiled instead of looked up,
        and packs ascend by node id, so that any budget needs one scan only. The schedule is
        Belady's, which Ginex applies to pages; here it decides what is packed.

    Example:
        >>> import tempfile, torch, graphlab as gl
        >>> folder = tempfile.mkdtemp()
        >>> d = gl.Dataset(gl.Graph(torch.tensor([[0, 1], [1, 2]])), x=torch.eye(3))
        >>> store = gl.outofcore.Store.convert(d, folder + "/store")
        >>> p = plan(store, [1], batch_size=2, memory="8MiB", path=folder + "/plan")
        >>> p.mode, sum(batch.batch_size for batch in p.loader())
        ('memory', 3)
    """
    if process_memory is not None:
        memory = build.within_process(memory, process_memory)
    job = make_job(
        store,
        num_neighbors=num_neighbors,
        input_nodes=input_nodes,
        batch_size=batch_size,
        epochs=epochs,
        seed=seed,
        shuffle=shuffle,
        drop_last=drop_last,
        replace=replace,
        weighted=weighted,
        disjoint=disjoint,
        method=method,
        columns=columns,
        memory=memory,
        disk=disk,
        mode=mode,
        policy=policy,
        prefetch=prefetch,
        path=path,
        world_size=world_size,
        rank=rank,
        resample_every=resample_every,
        node_order=node_order,
        device_memory=device_memory,
        edge_label_index=edge_label_index,
        edge_label=edge_label,
        neg_sampling_ratio=neg_sampling_ratio,
    )
    board = together.board_of(job)
    if board is not None and overwrite:
        remedy = "delete the plan's folder before the ranks begin"
        check.fail(
            ValueError,
            "plan",
            "overwrite",
            "be False where rank is given",
            True,
            remedy,
        )
    body = _existing(job, overwrite)
    if body is None and board is None:
        body = build.build(job)
    elif body is None and board is not None:
        try:
            if board.rank == 0:
                body = build.build(job, board)
            else:
                body = together.assist(job, board, lambda: _existing(job, False))
        except BaseException as error:
            board.fail(error)
            raise
    assert body is not None
    return Plan(job, body)


def _existing(job: Job, overwrite: bool) -> dict[str, Any] | None:
    """The manifest of a plan that can be used as it is; None to make one."""
    manifest = job.path / layout.MANIFEST
    if not manifest.exists():
        return None
    if overwrite:
        manifest.unlink()
        return None
    body = layout.read_manifest(job.path)
    if body["store"] != job.store.fingerprint:
        raise StoreError(
            manifest,
            None,
            f"a plan of the store {job.store.path} ({job.store.fingerprint[:12]})",
            f"one of a store with other contents ({body['store'][:12]})",
            "the store changed: make the plan again with overwrite=True",
        )
    asked = job.arguments
    held = {"node_order": "discovery", "device_memory": 0, **body["arguments"]}
    different = [name for name in asked if asked[name] != held.get(name)]
    if different:
        name = different[0]
        check.fail(
            ValueError,
            "plan",
            "path",
            f"hold no plan of other arguments ({name} = {held.get(name)!r})",
            f"{name} = {asked[name]!r}",
            "choose another path, or pass overwrite=True",
        )
    for file, entry in body["files"].items():
        layout.check_size(job.path / file, entry)
    return body
