"""One window of batches made ready: sampled, scheduled, packed; then deleted behind."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from graphlab import sizes
from graphlab.errors import BudgetError
from graphlab.outofcore import layout, node_order, schedule, trace
from graphlab.outofcore.budget import Ledger
from graphlab.outofcore.columns import Rows
from graphlab.outofcore.job import Job
from graphlab.outofcore.pack import Packed, hot_name, pack_name
from graphlab.outofcore.publish import entries
from graphlab.outofcore.space import Held, Space
from graphlab.outofcore.trace import Stop
from graphlab.outofcore.uses import Order, spill_uses

_NONE = np.zeros(0, dtype=np.int64)
# A window that came out too large is made again this much smaller than proportion tells.
_MARGIN = 0.95


@dataclass(frozen=True)
class Window:
    """Batches on disk, ready to be read as a small plan.

    Attributes:
        folder: Where.
        epoch: Epoch of the samples.
        numbers: Numbers of the batches in it.
        files: File table, as in a plan's manifest.
        nodes, edges: Of the largest batch.
        record_bytes, sparse_bytes: Room for the records, and sparse packs, of a batch.
        disk_bytes: What it takes on disk.
        read_bytes: What making it read from disk.
        held: Of the disk that windows share, where its packs are given back batch by batch.
        gone: Numbers of the batches whose packs were given back.
    """

    folder: Path
    epoch: int
    numbers: range
    files: dict[str, Any]
    nodes: int
    edges: int
    record_bytes: int
    sparse_bytes: int
    disk_bytes: int
    read_bytes: int
    held: Held | None = None
    gone: set[int] = field(default_factory=set)

    def take_over(self, space: Space | None, stop: Stop) -> Window:
        """The window of another process, with what it holds of this one's disk."""
        if space is None:
            return self
        held = Held(space)
        packs = self.folder.glob("pack-*.bin")
        held.take(512 * sum(path.stat().st_blocks for path in packs), stop)
        return replace(self, held=held)

    def delete(self) -> None:
        """Give the disk back."""
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.held is not None:
            self.held.release()


@dataclass(frozen=True)
class Maker:
    """Makes windows within a share of the memory and of the disk.

    Attributes:
        job: What to sample.
        columns: Columns on disk.
        residents: What memory holds, the same for all windows.
        ledger: Account of the memory of making.
        disk: Bytes that one window may take.
        topology: Bytes of the graph that the account counts while sampling.
        records: Bytes of them for all but the packs.
        space: Disk that the packs of all windows share; None: each has its own.
    """

    job: Job
    columns: list[Rows]
    residents: schedule.Residents
    ledger: Ledger
    disk: int
    topology: int
    records: int
    space: Space | None

    @property
    def identity(self) -> str:
        """Names what windows are of: the plan, and the rows that memory holds."""
        still = self.residents.still
        rows = [len(still), layout.crc(still.view(np.uint8)), self.residents.capacity]
        return self.job.identity({**self.job.arguments, "residents": rows})

    def make(self, folder: Path, epoch: int, numbers: range, stop: Stop) -> Window:
        """Make the longest window of the first ``numbers`` that the disk can hold.

        Raises:
            BudgetError: not even one batch fits the disk or the memory.
            Stopped: ``stop`` was set.
        """
        while True:
            try:
                return self._held(folder, epoch, numbers, stop)
            except _TooLargeError as error:
                if len(numbers) == 1:
                    raise BudgetError(
                        f"plan: `disk` must give a window at least "
                        f"{sizes.show(error.need)} for a single batch, got "
                        f"{sizes.show(self.disk)}; allow more disk, or choose a smaller "
                        "batch_size"
                    ) from None
                share = _MARGIN * self.disk / error.need
                numbers = numbers[
                    : max(1, min(int(share * len(numbers)), len(numbers) - 1))
                ]

    def _held(self, folder: Path, epoch: int, numbers: range, stop: Stop) -> Window:
        """Make a window; what it took of the disk is given back where that fails."""
        held = None if self.space is None else Held(self.space)
        try:
            return self._make(folder, epoch, numbers, stop, held)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            if held is not None:
                held.release()
            raise

    def _make(
        self,
        folder: Path,
        epoch: int,
        numbers: range,
        stop: Stop,
        held: Held | None,
    ) -> Window:
        job, ledger, num_nodes = self.job, self.ledger, self.job.dataset.num_nodes
        folder.mkdir(parents=True, exist_ok=True)
        request = job.request._replace(only=(epoch, numbers))
        part = [epoch, numbers.start, len(numbers), numbers.step]
        identity = job.identity({**job.arguments, "window": part})
        sampled = job.identity({**job.sampling, "window": part})
        try:
            with (
                ledger.hold("topology", self.topology),
                ledger.hold("input nodes", 32 * len(request.input_nodes)),
            ):
                samples = trace.sample_epochs(
                    folder,
                    job.sampler,
                    request,
                    ledger,
                    disk=self.records,
                    identity=sampled,
                    graph=job.graph_files,
                    threads=1,
                    stop=stop,
                )
        except trace.SamplesTooLargeError as error:
            need = error.need * self.disk // max(self.records, 1)
            raise _TooLargeError(need) from error
        order = Order(1, len(samples))
        residents, policy = self.residents, job.policy
        uses = None
        if residents.capacity:
            uses = spill_uses(
                folder,
                samples,
                order,
                self.columns,
                policy,
                num_nodes,
                self.records,
                ledger,
            )
        if uses is None:
            residents = residents._replace(capacity=0)
        made = schedule.compile_programmes(
            folder, samples, residents, policy, uses, num_nodes, ledger, durable=False
        )
        if uses is not None:
            uses.delete()
        records, stem = samples, trace.SAMPLES
        if job.node_order == "packed":
            records = node_order.reorder(folder, samples, made, ledger, durable=False)
            stem = node_order.ORDERED
        packs = [Packed(folder, rows, made, _NONE) for rows in self.columns]
        written = sum(
            p.stat().st_size
            for p in folder.iterdir()
            if not p.name.startswith(("pack-", "hot-"))
        )
        # The tables that follow: an entry a batch and file.
        small = layout.INDEX.itemsize * len(samples) * (2 + len(packs))
        pack = sum(p.pack_bytes for p in packs)
        need = written + small + pack
        # As shares of what each may take.
        for size, most in ((written + small, self.records), (pack, self._packs)):
            need = max(need, size * self.disk // max(most, 1))
        if need > self.disk:
            raise _TooLargeError(need)
        read = 2 * int(samples["length"].sum())
        with ledger.hold("packing tables", sum(p.nbytes for p in packs)):
            for packed in packs:
                packed.run_once(ledger, identity, stop, held)
                read += packed.rows.file_bytes
        layout.write_index(folder / f"{stem}.idx", records, durable=False)
        path = folder / f"{schedule.PROGRAMME}.idx"
        layout.write_index(path, made.table, durable=False)
        stems = [stem, schedule.PROGRAMME, *(pack_name(r.name) for r in self.columns)]
        files: dict[str, Any] = {}
        for each in stems:
            files |= entries(folder, each)
        for path in [
            *folder.glob("journal-*"),
            *(folder / hot_name(r.name) for r in self.columns),
        ]:
            path.unlink(missing_ok=True)
        if records is not samples:
            (folder / f"{trace.SAMPLES}.bin").unlink()
        lengths = samples["length"].astype(np.int64) + made.table["length"]
        sparse = [p for p in packs if p.rows.kind == "sparse"]
        return Window(
            folder,
            epoch,
            numbers,
            files,
            nodes=int(samples["rows"].max()),
            edges=int(samples["items"].max()),
            record_bytes=int(lengths.max()) + 64,
            sparse_bytes=sum(int(p.index["length"].max()) for p in sparse),
            disk_bytes=written + small + pack,
            read_bytes=read,
            held=held,
        )

    @property
    def _packs(self) -> int:
        """Bytes that the packs of a window may take."""
        return self.disk if self.space is None else self.space.limit


class _TooLargeError(Exception):
    """A window does not fit its share of the disk."""

    def __init__(self, need: int) -> None:
        super().__init__(need)
        self.need = need
