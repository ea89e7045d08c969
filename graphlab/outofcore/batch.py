"""Putting a batch together: every tensor of it inside one output buffer."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from graphlab.datasets.column import SparseColumn, gather
from graphlab.outofcore.columns import (
    SPARSE_STEP_BYTES,
    DenseRows,
    Rows,
    gather_sparse,
)
from graphlab.outofcore.device import Mover, Split
from graphlab.outofcore.layout import Record
from graphlab.outofcore.pool import Block, Pool, block_bytes
from graphlab.sample.loader import Made

if TYPE_CHECKING:
    from torch_geometric.data import Data

    from graphlab.outofcore.scattered import Edges
    from graphlab.sample.link_seeds import LinkSeeds
    from graphlab.sample.sampler import NeighborSampler


class Fields:
    """Names and sizes of what a batch holds.

    Args:
        node: Node columns by name, in the order of the batch's fields: the resident column,
            or the rows that are read from disk.
        edge: Edge columns by name, likewise; sparse ones are resident.
        disjoint: Whether batches carry ``batch``, the tree of each node.
        levels: Whether some rows of columns on disk are on the device.
    """

    def __init__(
        self,
        node: dict[str, Tensor | SparseColumn | Rows],
        edge: dict[str, Tensor | SparseColumn | Rows],
        disjoint: bool,
        *,
        levels: bool = False,
    ) -> None:
        self.node, self.edge, self.disjoint = node, edge, disjoint
        self.levels = levels

    @property
    def edges_on_disk(self) -> list[DenseRows]:
        """Edge columns that are read from disk; stand-ins for others have no name."""
        return [c for c in self.edge.values() if isinstance(c, DenseRows) and c.name]

    def block_bytes(self, nodes: int, edges: int, seeds: int) -> int:
        """Bytes of the output buffer of a batch."""
        sizes = [8 * nodes, 16 * edges, 8 * edges, 8 * seeds]
        sizes += [8 * nodes] if self.disjoint else []
        sizes += [4 * nodes] if self.levels else []
        sizes += [nodes * _row_bytes(column) for column in self.node.values()]
        sizes += [edges * _row_bytes(column) for column in self.edge.values()]
        return block_bytes(*sizes)

    def scratch_bytes(self, nodes: int, edges: int) -> int:
        """Bytes of temporaries while a batch is put together."""
        columns = [*self.node.values(), *self.edge.values()]
        sparse = any(isinstance(c, SparseColumn) for c in columns)
        unpacked = any(getattr(c, "kind", "") == "sparse" for c in columns)
        total = 4 * nodes + 16 * nodes + 8 * edges
        return (
            total
            + (48 * nodes if unpacked else 0)
            + (40 * edges if self.edges_on_disk else 0)
            + (32 * nodes if self.levels else 0)
            + (4 * SPARSE_STEP_BYTES if sparse else 0)
        )


class Assembler:
    """Makes batches of given fields in buffers of a pool.

    Args:
        fields: What a batch holds.
        pool: Output buffers.
        device: Where batches go.
        edges: Reads edge columns that are on disk; None where there are none.
        pairs: Draws a batch's pairs again, for their places; None: batches of nodes.
    """

    def __init__(
        self,
        fields: Fields,
        pool: Pool,
        device: torch.device,
        edges: Edges | None = None,
        pairs: tuple[LinkSeeds, NeighborSampler] | None = None,
    ) -> None:
        self.fields, self.pool, self.edges = fields, pool, edges
        self.mover, self.pairs = Mover(device), pairs

    def begin(self, record: Record) -> Filling:
        """Start the batch of a record: ids and edges are in place."""
        return Filling(self, self.pool.acquire(), record)


class Filling:
    """A batch being put together.

    All but the rows that are read from disk is copied in steps, which a caller that waits
    for the disk may take meanwhile; :meth:`finish` takes those that are left.
    """

    def __init__(self, assembler: Assembler, block: Block, record: Record) -> None:
        self._assembler, self._block, self._record = assembler, block, record
        nodes, edges = len(record.n_id), len(record.row)
        disjoint = assembler.fields.disjoint
        self._steps: deque[Callable[[], None]] = deque()
        self.n_id = self._copy(record.n_id)
        self._edge_index = block.take((2, edges), torch.int64)
        self._steps.append(self._connect)
        self._e_id = self._copy(record.e_id)
        self._input_id = self._copy(record.input_id)
        self._tree = self._copy(record.tree) if disjoint else None
        self._read: dict[str, Tensor] = {}
        self._level: Tensor | None = None
        self._fast: dict[str, Tensor] = {}
        self._rows = nodes  # to be filled of a column that is read from disk
        self._edge: dict[str, Tensor] = {}
        self._nodes, self._complete = nodes, False

    def _copy(self, ids: npt.NDArray[Any]) -> Tensor:
        out = self._block.take((len(ids),), torch.int64)
        self._steps.append(lambda: np.copyto(out.numpy(), ids, casting="unsafe"))
        return out

    def _connect(self) -> None:
        record = self._record
        np.copyto(self._edge_index[0].numpy(), record.row, casting="unsafe")
        targets = np.arange(len(record.degree))
        np.copyto(self._edge_index[1].numpy(), np.repeat(targets, record.degree))

    def step(self) -> bool:
        """Take a step of what need not wait for the disk; whether there was one."""
        if not self._steps:
            return False
        self._steps.popleft()()
        return True

    def split(self, fast: dict[str, Tensor], split: Split) -> None:
        """Leave the rows that are on the device out of the columns to be filled.

        Args:
            fast: By column, the rows on the device.
            split: Of this batch.
        """
        self._fast, self._rows = fast, len(split.rows)
        self._level = self._block.take((self._nodes,), torch.int32)
        np.copyto(self._level.numpy(), split.level)

    def column(self, rows: Rows) -> Tensor:
        """The place of a column that is read from disk: [nodes, width], to be filled.

        After :meth:`split` it has the rows that are not on the device only.
        """
        out = self._block.take((self._rows, rows.width), rows.dtype)
        self._read[rows.name] = out.reshape(self._rows, *rows.shape)
        return out

    def resident(self) -> None:
        """Add the columns that are in memory, as steps; once, after those that are not."""
        if self._complete:
            return
        self._complete, fields = True, self._assembler.fields
        for name, column in fields.node.items():
            if name not in self._read:
                self._gather(self._read, name, column, self.n_id)
        for name, column in fields.edge.items():
            self._gather(self._edge, name, column, self._e_id)

    def finish(self) -> Made:
        """Take the steps that are left; the batch as ``Data``, in NeighborLoader's order."""
        from torch_geometric.data import Data

        record, fields = self._record, self._assembler.fields
        self.resident()
        while self.step():
            pass
        if self._level is not None:
            mover = self._assembler.mover
            for name, fast in self._fast.items():
                self._read[name] = mover.merge(fast, self._read[name], self._level)
        node = {name: self._read[name] for name in fields.node}
        edge = {name: self._edge[name] for name in fields.edge}
        nbytes = sum(t.nbytes for t in (*node.values(), *edge.values()))
        more: dict[str, Any] = {} if "x" in node else {"num_nodes": self._nodes}
        more |= {
            "input_id": self._input_id,
            "batch_size": len(record.input_id),
            "num_sampled_nodes": record.nodes,
            "num_sampled_edges": record.edges,
        }
        if self._tree is not None:
            more["batch"] = self._tree
        data: Data = Data(
            edge_index=self._edge_index,
            n_id=self.n_id,
            e_id=self._e_id,
            **node,
            **edge,
            **more,
        )
        if self._assembler.pairs is not None:
            links, sampler = self._assembler.pairs
            epoch, batch = record.epoch, record.batch
            links.draw(sampler, epoch, batch, self._input_id).add_to(data)
        return Made(self._assembler.mover.move(data), self._nodes, nbytes)

    def _gather(
        self, into: dict[str, Tensor], name: str, column: Any, ids: Tensor
    ) -> None:
        if isinstance(column, DenseRows):
            shape, dtype = (len(ids), *column.shape), column.dtype
        else:
            shape, dtype = (len(ids), *column.shape[1:]), column.dtype
        into[name] = self._block.take(shape, dtype)
        self._steps.append(lambda: self._fill(column, ids, into[name]))

    def _fill(self, column: Any, ids: Tensor, out: Tensor) -> None:
        if isinstance(column, DenseRows):
            assert self._assembler.edges is not None
            self._assembler.edges.gather(column, ids, out)
        elif isinstance(column, SparseColumn):
            gather_sparse(column, ids, out)
        else:
            gather(column, ids, out)


def _row_bytes(column: Tensor | SparseColumn | Rows) -> int:
    if isinstance(column, (Tensor, SparseColumn)):
        width = int(np.prod(column.shape[1:], dtype=np.int64))
        return width * column.dtype.itemsize
    return column.out_bytes
