"""How a memory budget is shared out between the parts of a running loader."""

from __future__ import annotations

from typing import NamedTuple

from graphlab import sizes
from graphlab.errors import BudgetError
from graphlab.outofcore.batch import Fields
from graphlab.outofcore.reader import ALIGN, QUEUE, align_down, align_up

# A buffer whose rows are being put in their places is not in flight: with many small ones
# that costs the disk less than with few large ones.
SEGMENT_BYTES = 2**19
LEAST_SEGMENT_BYTES = 2**16
DEPTH = 32


class Largest(NamedTuple):
    """The largest batch: an upper bound in each count by itself."""

    nodes: int
    edges: int
    seeds: int


class Sizing(NamedTuple):
    """Bytes of each part of a running loader; their sum is within the budget.

    Attributes:
        prefetch: Batches made ahead; output buffers are one more.
        depth, segment: Reads in flight, and bytes of each.
        block: Bytes of an output buffer.
        record: Bytes for the records of a batch.
        sparse: Bytes for the sparse packs of a batch.
        scratch: Bytes of temporaries.
        tables: Bytes of index tables, and of maps from nodes to slots.
        resident: Bytes of columns that are in memory whole.
        topology: Bytes of the graph that are counted; 0 where it is not touched, or where
            it is left to the page cache.
        hot: Bytes of rows of columns on disk that stay in memory.
        slots: Bytes of slots whose rows change from batch to batch.
        spare: Bytes of the buffers that refill slots where batches are not asked for in
            their order.
        maker: Bytes for making a window while another is read.
        shared: Bytes of the buffers that read rows which batches share.
        edges: Bytes of the buffers that read edge columns.
    """

    prefetch: int
    depth: int
    segment: int
    block: int
    record: int
    sparse: int
    scratch: int
    tables: int
    resident: int
    topology: int
    hot: int
    slots: int = 0
    spare: int = 0
    maker: int = 0
    shared: int = 0
    edges: int = 0

    @property
    def parts(self) -> dict[str, int]:
        """Memory by part, for people."""
        return {
            "columns in memory": self.resident,
            "topology": self.topology,
            "hot rows": self.hot,
            "slots": self.slots + self.spare,
            "window in the making": self.maker,
            "read ring": self.depth * self.segment + self.shared + self.edges,
            "batch records": self.record + self.sparse,
            "output buffers": (self.prefetch + 1) * self.block,
            "scratch": self.scratch,
            "tables": self.tables,
        }

    @property
    def total(self) -> int:
        """All parts together."""
        return sum(self.parts.values())


def ring_sizes(limit: int, row_bytes: int) -> tuple[int, int]:
    """Depth and segment of the read ring: 1/16 of the budget, up to 16 MiB.

    The disk reads on into it while a batch's rows in memory are copied.

    A row, wherever it begins, fits a segment.
    """
    segment = align_down(min(max(limit // 256, LEAST_SEGMENT_BYTES), SEGMENT_BYTES))
    segment = max(segment, align_up(row_bytes) + 2 * ALIGN)
    return max(2, min(DEPTH, limit // 16 // segment)), segment


def spare_sizes(room: int, row_bytes: int) -> tuple[int, int]:
    """Depth and segment of the ring that refills slots: single rows, wherever they begin.

    About 1/32 of the memory for rows, two reads in flight at least.
    """
    segment = max(4 * ALIGN, align_up(row_bytes) + 2 * ALIGN)
    return min(max(room // 32 // segment, 2), DEPTH), segment


def shared_sizes(limit: int, row_bytes: int) -> tuple[int, int]:
    """Depth and segment of the ring that reads shared rows: 1/64 of the memory, or less."""
    segment = spare_sizes(0, row_bytes)[1]
    return min(max(limit // 64 // segment, 2), QUEUE), segment


def edge_ring_bytes(limit: int, fields: Fields) -> int:
    """Bytes of the ring that reads edge columns; 0 where all are in memory."""
    longest = max((rows.row_bytes for rows in fields.edges_on_disk), default=0)
    depth, segment = shared_sizes(limit, longest)
    return depth * segment if longest else 0


def share_out(
    limit: int,
    fields: Fields,
    largest: Largest,
    *,
    owner: str,
    prefetch: int,
    row_bytes: int,
    record: int,
    sparse: int,
    tables: int,
    resident: int,
    topology: int = 0,
    maker: int = 0,
    shared: int = 0,
    use_ring: bool = True,
) -> Sizing:
    """Share ``limit`` out; what is left becomes hot rows.

    Deep prefetching gives way first: buffers may take half of the budget, and at least two.

    Raises:
        BudgetError: the parts do not fit without any hot row; the message lists them.
    """
    asked = {
        "block": fields.block_bytes(*largest),
        "record": align_up(record),
        "sparse": align_up(sparse),
        "scratch": fields.scratch_bytes(largest.nodes, largest.edges),
        "tables": tables,
        "resident": resident,
        "topology": topology,
        "maker": maker,
        "shared": shared,
        "edges": edge_ring_bytes(limit, fields),
    }

    def within(limit: int) -> Sizing:
        depth, segment = ring_sizes(limit, row_bytes) if use_ring else (0, 0)
        ahead = max(prefetch, 1)
        while ahead > 1 and (ahead + 1) * asked["block"] > (limit - resident) // 2:
            ahead -= 1
        return Sizing(prefetch=ahead, depth=depth, segment=segment, hot=0, **asked)

    sizing = within(limit)
    if sizing.total <= limit:
        return sizing._replace(hot=limit - sizing.total)
    need = sizing.total
    # A larger budget has a larger ring: ask for what holds that, too.
    while (sizing := within(need)).total > need:
        need = sizing.total
    parts = ", ".join(f"{k} {sizes.show(v)}" for k, v in sizing.parts.items() if v)
    raise BudgetError(
        f"{owner}: `memory` must be at least {sizes.show(need)} ({need} bytes) to hold "
        f"{parts}, got {sizes.show(limit)} ({limit} bytes); or choose a smaller batch_size "
        f"or fewer neighbours: the largest batch, of {largest.seeds:,} seeds, has "
        f"{largest.nodes:,} nodes"
    )
