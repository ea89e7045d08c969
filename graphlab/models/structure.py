"""The edges of a forward pass, grouped by target, once for all layers."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from graphlab import check, ops
from graphlab.graph import Graph

Kind = Literal["plain", "loops", "gcn"]


Transpose = tuple[Tensor, Tensor, Tensor]


class Block:
    """Edges into the first ``num_targets`` of ``num_sources`` rows, grouped by target.

    Targets are the first rows of the sources, so ``x[:num_targets]`` are the targets' own
    rows. In a full batch both numbers are the number of nodes.

    Args:
        ptr: [num_targets + 1], int64.
        idx: [num_edges], int32 or int64: row of ``x`` that each edge starts from.
        weight: [num_edges] or None.
        num_sources: Rows of ``x``.
    """

    def __init__(
        self, ptr: Tensor, idx: Tensor, weight: Tensor | None, num_sources: int
    ) -> None:
        self.ptr = ptr
        self.idx = idx
        self.weight = weight
        self.num_sources = num_sources
        self._transpose: Transpose | None = None
        self._owner: Tensor | None = None

    @property
    def num_targets(self) -> int:
        """Rows that a layer computes."""
        return len(self.ptr) - 1

    @property
    def owner(self) -> Tensor:
        """[num_edges]: target of each edge, dtype of ``idx``."""
        if self._owner is None:
            targets = torch.arange(
                self.num_targets, dtype=self.idx.dtype, device=self.idx.device
            )
            self._owner = torch.repeat_interleave(targets, self.ptr.diff())
        return self._owner

    def transposed(self) -> Transpose:
        """Edges by source, for gradients; built at the first call and kept."""
        if self._transpose is None:
            self._transpose = ops.csr_transpose(self.ptr, self.idx, self.num_sources)
        return self._transpose

    def aggregate(
        self, x: Tensor, *, weight: Tensor | None = None, reduce: str = "sum"
    ) -> Tensor:
        """Reduce the rows of ``x`` that each target receives.

        Args:
            x: [num_sources, width].
            weight: [num_edges]; None: the rows as they are.
            reduce: ``sum`` or ``mean``.

        Returns:
            [num_targets, width].
        """
        # Only a backward pass through x reads the transpose.
        flip = (
            self.transposed() if torch.is_grad_enabled() and x.requires_grad else None
        )
        return ops.spmm(
            self.ptr, self.idx, x, weight=weight, reduce=reduce, transpose=flip
        )

    def to(self, device: torch.device | str) -> Block:
        """The same edges on another device."""
        if torch.device(device) == self.idx.device:
            return self
        weight = None if self.weight is None else self.weight.to(device)
        return Block(self.ptr.to(device), self.idx.to(device), weight, self.num_sources)

    def first(self, num_targets: int, num_sources: int) -> Block:
        """The edges into the first ``num_targets`` rows; views, nothing is copied."""
        if num_targets == self.num_targets and num_sources == self.num_sources:
            return self
        end = int(self.ptr[num_targets])
        weight = None if self.weight is None else self.weight[:end]
        return Block(self.ptr[: num_targets + 1], self.idx[:end], weight, num_sources)


def build(
    edge_index: Tensor,
    num_nodes: int,
    kind: Kind,
    edge_weight: Tensor | None = None,
    *,
    dtype: torch.dtype = torch.float32,
    scale: Tensor | None = None,
) -> Block:
    """Group edges by target and prepare what a kind of layer needs.

    Args:
        edge_index: [2, E], int32 or int64; row 0 sources, row 1 targets.
        num_nodes: Rows of ``x``.
        kind: ``plain``: the edges as they are, unweighted. ``loops``: exactly one self loop
            at every node, whatever loops there were. ``gcn``: the same with weights
            ``w(u, v) / sqrt(d(u) d(v))``, where ``d(v)`` sums the weights of the edges into
            ``v``, its loop with them. An existing loop keeps its weight (the last one
            counts), a new one gets 1.
        edge_weight: [E], or None for ones; used by ``gcn``.
        dtype: Of the weights.
        scale: [num_nodes], ``1 / sqrt(d)`` where the edges given are only some of the
            graph's; None: ``d`` from the edges given.
    """
    source, target = edge_index[0], edge_index[1]
    weight = None
    if kind != "plain":
        # What csr_build checks for all other edges: loops are replaced, not passed on.
        check.ids_in_range("forward", "edge_index", edge_index.flatten(), num_nodes)
        nodes = torch.arange(num_nodes, dtype=source.dtype, device=source.device)
        other = source != target
        if kind == "gcn" and edge_weight is not None:
            loop_weight = torch.ones(num_nodes, dtype=dtype, device=source.device)
            loop = ~other
            loop_weight[source[loop].long()] = edge_weight[loop].to(dtype)
            weight = torch.cat([edge_weight[other].to(dtype), loop_weight])
        source = torch.cat([source[other], nodes])
        target = torch.cat([target[other], nodes])
    ptr, idx, edge_id = ops.csr_build(target, source, num_nodes, num_nodes)
    block = Block(ptr, idx, None, num_nodes)
    if kind == "gcn":
        weight = None if weight is None else weight[edge_id]
        if scale is None:
            scale = gcn_scale(ptr, weight, dtype)
        norm = scale[block.owner] * scale[idx]
        block.weight = norm if weight is None else norm * weight
    return block


def gcn_scale(ptr: Tensor, weight: Tensor | None, dtype: torch.dtype) -> Tensor:
    """``1 / sqrt(d)`` of each target; 0 where the weights into it sum to none."""
    if weight is None:
        degree = ptr.diff().to(dtype)
    else:
        degree = ops.segment_reduce(weight[:, None], ptr)[:, 0]
    return degree.pow(-0.5).masked_fill_(degree <= 0, 0.0)


_CACHE: weakref.WeakKeyDictionary[Graph, dict[tuple[object, ...], Block]]
_CACHE = weakref.WeakKeyDictionary()


def of_graph(
    graph: Graph,
    kind: Kind,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Block:
    """The block of a whole graph; built once per graph, kind, dtype and device.

    Its transpose is kept with it, so a full-batch epoch sorts nothing. It lives as long as
    the graph does.
    """
    kept = _CACHE.setdefault(graph, {})
    key = (kind, dtype, str(device))
    if key not in kept:
        if kind == "plain":
            ptr, idx, _ = graph.csc()
            kept[key] = Block(ptr.to(device), idx.to(device), None, graph.num_nodes)
        else:
            weight = graph.edge_weight if kind == "gcn" else None
            kept[key] = build(
                graph.edge_index.to(device),
                graph.num_nodes,
                kind,
                None if weight is None else weight.to(device),
                dtype=dtype,
            )
    return kept[key]


def as_graph(edges: Tensor | Graph, num_nodes: int) -> Graph:
    """A Graph as it is; edges [2, E] of any device as a Graph, which lives on the CPU."""
    if isinstance(edges, Graph):
        return edges
    held = edges.cpu() if isinstance(edges, Tensor) else edges
    return Graph(held, num_nodes=num_nodes)


def layer_blocks(
    block: Block,
    num_layers: int,
    num_sampled_nodes: Sequence[int] | None,
    num_sampled_edges: Sequence[int] | None,
) -> list[Block]:
    """What each layer has to compute so that the seeds' rows come out right.

    Without counts every layer computes every row. With the counts of a sampled batch, of
    ``H`` hops, layer ``i`` of ``L`` computes the nodes of hops ``0 .. min(H, L - 1 - i)``
    from those of one hop further: what it leaves out reaches no seed.

    Raises:
        ValueError: the counts do not describe the block.
    """
    if num_sampled_nodes is None or num_sampled_edges is None:
        return [block] * num_layers
    name = "forward"
    if len(num_sampled_nodes) != len(num_sampled_edges) + 1:
        check.fail(
            ValueError,
            name,
            "num_sampled_nodes",
            "have one entry more than `num_sampled_edges`",
            f"{len(num_sampled_nodes)} and {len(num_sampled_edges)}",
        )
    ends = torch.tensor([int(n) for n in num_sampled_nodes]).cumsum(0).tolist()
    if ends[-1] != block.num_sources:
        check.fail(
            ValueError,
            name,
            "num_sampled_nodes",
            f"sum to the {block.num_sources} rows of `x`",
            ends[-1],
        )
    hops = len(ends) - 1
    return [
        block.first(
            ends[min(hops, num_layers - 1 - i)], ends[min(hops, num_layers - i)]
        )
        for i in range(num_layers)
    ]
