"""The protocol of backbones: full graphs, sampled batches, inference layer by layer.

**Forward.** ``model(x, edge_index, num_sampled_nodes=None, num_sampled_edges=None,
edge_weight=None) -> [rows, out_channels]``. ``edge_index`` is int64 [2, E] (row 0 sources,
row 1 targets) or a :class:`~graphlab.graph.Graph`, whose prepared structure (self loops,
normalisation, transpose) is kept for the next epoch. With the per-hop counts of a sampled
batch each layer computes only rows that still reach a seed, and the result has the seeds'
rows; without them it has all rows, and the seeds' are the same. In a full batch ``x`` may be
sparse: a ``SparseColumn``, or a sparse tensor.

**Layer by layer**, for exact inference on graphs whose activations do not fit::

    h = model.start(x)                                  # per node; needs no edges
    for i in range(model.num_layers):
        h = model.layer(i, h, adjacency, h_initial)     # per chunk of target nodes

``adjacency`` is a :class:`~graphlab.models.structure.Block` of the kind ``model.kind``: the
edges into a chunk of targets, whose own rows come first among the rows of ``h``;
``h_initial`` are the targets' rows of ``model.start(x)`` (only GCNII looks at them).
:func:`graphlab.models.layerwise` runs this loop over a whole graph.

**Dropout** stands where the papers' recipes for the public splits have it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from graphlab import check
from graphlab.graph import Graph
from graphlab.models.sparse import Features, dropout, features, first_rows, normalised
from graphlab.models.structure import Block, Kind, build, layer_blocks, of_graph


class GNN(nn.Module):
    """What the backbones share: the forward pass over blocks; see the module's text."""

    kind: ClassVar[Kind] = "plain"
    num_layers: int

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: int,
        num_layers: int,
        dropout: float,
        normalise_rows: bool = False,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        for argument, value in (
            ("in_channels", in_channels),
            ("out_channels", out_channels),
            ("hidden_channels", hidden_channels),
            ("num_layers", num_layers),
        ):
            check.positive(name, argument, value)
        if not 0 <= dropout < 1:
            check.fail(ValueError, name, "dropout", "be in [0, 1)", dropout)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.hidden_channels, self.num_layers = hidden_channels, num_layers
        self.dropout = dropout
        self.normalise_rows = normalise_rows

    def reset_parameters(self) -> None:
        """Draw all parameters anew; the same ones after the same ``torch.manual_seed``."""
        _reset_children(self)

    def start(self, x: Any) -> Any:
        """Per-node map ahead of the layers; the identity unless a model says otherwise."""
        return x

    def _inputs(self, x: Any) -> Any:
        """Features as the first map takes them: normalised, and with dropout."""
        x = normalised(x) if self.normalise_rows else x
        return dropout(x, self.dropout, self.training)

    def layer(self, i: int, x: Any, adjacency: Block, x_initial: Any = None) -> Tensor:
        """Layer ``i``: rows of the block's sources to rows of its targets."""
        raise NotImplementedError

    def forward(
        self,
        x: Any,
        edge_index: Tensor | Graph | Block,
        num_sampled_nodes: Sequence[int] | None = None,
        num_sampled_edges: Sequence[int] | None = None,
        edge_weight: Tensor | None = None,
    ) -> Tensor:
        """Compute logits; see the module's text.

        Raises:
            TypeError: ``x`` or ``edge_index`` of another type.
            ValueError: counts that do not fit ``x``, a wrong width or shape.
            IndexError: an edge between rows that ``x`` does not have.
        """
        x = self._check(x)
        block = self._block(x, edge_index, edge_weight)
        blocks = layer_blocks(
            block, self.num_layers, num_sampled_nodes, num_sampled_edges
        )
        h = initial = self.start(first_rows(x, blocks[0].num_sources))
        for i, part in enumerate(blocks):
            h = self.layer(i, h, part, initial)
        return h

    def _check(self, x: Any) -> Features:
        x = features(x)
        if len(x.shape) != 2 or x.shape[1] != self.in_channels:
            check.fail(
                ValueError,
                type(self).__name__,
                "x",
                f"have shape [nodes, in_channels = {self.in_channels}]",
                list(x.shape),
            )
        return x

    def _block(self, x: Features, edges: object, weight: Tensor | None) -> Block:
        name = type(self).__name__
        if isinstance(edges, Block):
            return edges
        if isinstance(edges, Graph):
            if edges.num_nodes != x.shape[0]:
                check.fail(
                    ValueError,
                    name,
                    "x",
                    f"have one row per node of the graph ({edges.num_nodes:,})",
                    x.shape[0],
                )
            return of_graph(edges, self.kind, x.dtype, x.device)
        edge_index = check.tensor(
            name, "edge_index", edges, dtypes=check.INDEX_DTYPES, ndim=2
        )
        if edge_index.shape[0] != 2:
            check.fail(
                ValueError,
                name,
                "edge_index",
                "have shape [2, edges]",
                list(edge_index.shape),
            )
        return build(edge_index, x.shape[0], self.kind, weight, dtype=x.dtype)

    def _widths(self) -> list[int]:
        inner = [self.hidden_channels] * (self.num_layers - 1)
        return [self.in_channels, *inner, self.out_channels]


def _reset_children(module: nn.Module) -> None:
    # A layer that resets itself also sees to its parts, which must not be drawn again.
    for child in module.children():
        reset = getattr(child, "reset_parameters", None)
        if callable(reset):
            reset()
        else:
            _reset_children(child)
