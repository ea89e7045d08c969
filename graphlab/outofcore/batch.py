"""Putting a batch together: every tensor of it inside one output buffer."""

from __future__ import annotations

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
from graphlab.outofcore.device import Mover
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
    """

    def __init__(
        self,
        node: dict[str, Tensor | SparseColumn | Rows],
        edge: dict[str, Tensor | SparseColumn | Rows],
        disjoint: bool,
    ) -> None:
        self.node, self.edge, self.disjoint = node, edge, disjoint

    @property
    def edges_on_disk(self) -> list[DenseRows]:
        """Edge columns that are read from disk; stand-ins for others have no name."""
        return [c for c in self.edge.values() if isinstance(c, DenseRows) and c.name]

    def block_bytes(self, nodes: int, edges: int, seeds: int) -> int:
        """Bytes of the output buffer of a batch."""
        sizes = [8 * nodes, 16 * edges, 8 * edges, 8 * seeds]
        sizes += [8 * nodes] if self.disjoint else []
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
    """A batch being put together."""

    def __init__(self, assembler: Assembler, block: Block, record: Record) -> None:
        self._assembler, self._block, self._record = assembler, block, record
        nodes, edges = len(record.n_id), len(record.row)
        self.n_id = self._copy(record.n_id)
        self._edge_index = block.take((2, edges), torch.int64)
        np.copyto(self._edge_index[0].numpy(), record.row, casting="unsafe")
        # On this thread alone: torch's threads belong to the caller's computation.
        targets = np.arange(len(record.degree))
        np.copyto(self._edge_index[1].numpy(), np.repeat(targets, record.degree))
        self._e_id = self._copy(record.e_id)
        self._input_id = self._copy(record.input_id)
        self._tree = self._copy(record.tree) if assembler.fields.disjoint else None
        self._read: dict[str, Tensor] = {}
        self._nodes = nodes

    def _copy(self, ids: npt.NDArray[Any]) -> Tensor:
        out = self._block.take((len(ids),), torch.int64)
        np.copyto(out.numpy(), ids, casting="unsafe")
        return out

    def column(self, rows: Rows) -> Tensor:
        """The place of a column that is read from disk: [nodes, width], to be filled."""
        out = self._block.take((self._nodes, rows.width), rows.dtype)
        self._read[rows.name] = out.reshape(self._nodes, *rows.shape)
        return out

    def finish(self) -> Made:
        """Add the resident columns; the batch as ``Data``, in NeighborLoader's order."""
        from torch_geometric.data import Data

        record, fields = self._record, self._assembler.fields
        node = {
            name: self._read[name]
            if name in self._read
            else self._gather(column, self.n_id)
            for name, column in fields.node.items()
        }
        edge = {name: self._gather(c, self._e_id) for name, c in fields.edge.items()}
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

    def _gather(self, column: Any, ids: Tensor) -> Tensor:
        if isinstance(column, DenseRows):
            assert self._assembler.edges is not None
            out = self._block.take((len(ids), *column.shape), column.dtype)
            self._assembler.edges.gather(column, ids, out)
            return out
        out = self._block.take((len(ids), *column.shape[1:]), column.dtype)
        if not isinstance(column, SparseColumn):
            return gather(column, ids, out)
        gather_sparse(column, ids, out)
        return out


def _row_bytes(column: Tensor | SparseColumn | Rows) -> int:
    if isinstance(column, (Tensor, SparseColumn)):
        width = int(np.prod(column.shape[1:], dtype=np.int64))
        return width * column.dtype.itemsize
    return column.out_bytes
