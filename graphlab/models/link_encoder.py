"""The node encoder of NCN: few convolutions, mostly without parameters."""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphlab import check, ops
from graphlab.datasets.stored import StoredColumn
from graphlab.graph import Graph
from graphlab.models.dense import normalised
from graphlab.models.link_graph import LinkGraph, link_graph
from graphlab.models.sparse import (
    Features,
    SparseRows,
    features,
    linear,
)

Conv = Literal[
    "puregcn", "puresum", "puremean", "puremax", "gcn", "sum", "mean", "max", "none"
]
CONVS = get_args(Conv)
# Rows of features on disk that are held at a time.
_PIECE_ROWS = 4096


class LinkEncoder(nn.Module):
    r"""Encode nodes by ``num_layers`` convolutions with dropout of edges.

    ``puregcn``: :math:`\tilde D^{-1/2}(A + I)\tilde D^{-1/2} X`, with :math:`\tilde D` the row
    sums of the edges kept, plus one. ``puresum``: :math:`AX`; ``puremean``, ``puremax``: the
    mean and the maximum over neighbours. ``gcn``, ``sum``, ``mean``, ``max``: the same of
    :math:`XW`, plus :math:`b`. A pure convolution follows one linear map of the features.
    Each layer draws its own edges: stored entries are kept with probability :math:`1 - p`
    and scaled by :math:`1/(1 - p)`.

    Args:
        in_channels: Width of the features; unused with ``num_embeddings``.
        hidden_channels: Width of the result.
        num_layers: Convolutions.
        conv: See above; ``none``: the linear map alone.
        feature_dropout: On the features.
        dropout: Behind the linear map or the embedding, and behind inner convolutions.
        tail_dropout: Behind the last pure convolution.
        edge_dropout: Share of stored entries that a layer drops.
        norm: Layer norm behind the convolutions that have ReLU: all but the last of ``gcn``,
            ``sum``, ``mean`` and ``max`` (with one layer, that one). Pure ones have neither.
        residual: Add a layer's input to its output where widths match.
        jumping: Sum the outputs of all layers with learned weights, drawn from N(0, 1).
        num_embeddings: Rows of a learned table, orthogonal at first, in place of features:
            ``x`` then holds ids [N], or None for one row a node.

    Shapes:
        x [N, in_channels] (or ids) -> [N, hidden_channels].

    Source:
        Wang, Yang and Zhang, "Neural Common Neighbor with Completion for Link Prediction",
        ICLR 2024, and its release (GraphPKU/NeuralCommonNeighbor), with its quirks: edges are
        dropped by direction, the weights of ``jumping`` have no softmax. A maximum
        holds a row an edge; the sums hold none.

    Example:
        >>> graph = Graph(torch.tensor([[0, 1], [1, 0]]))
        >>> LinkEncoder(3, 8)(torch.eye(2, 3), graph).shape
        torch.Size([2, 8])
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int = 256,
        num_layers: int = 1,
        conv: Conv = "puregcn",
        feature_dropout: float = 0.0,
        dropout: float = 0.0,
        tail_dropout: float = 0.0,
        edge_dropout: float = 0.0,
        norm: bool = True,
        residual: bool = False,
        jumping: bool = False,
        num_embeddings: int | None = None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        check.one_of(name, "conv", conv, CONVS)
        check.positive(name, "hidden_channels", hidden_channels)
        check.positive(name, "num_layers", num_layers, least=0 if conv == "none" else 1)
        for argument, value in (
            ("feature_dropout", feature_dropout),
            ("dropout", dropout),
            ("tail_dropout", tail_dropout),
            ("edge_dropout", edge_dropout),
        ):
            if not 0 <= value < 1:
                check.fail(ValueError, name, argument, "be in [0, 1)", value)
        self.in_channels, self.hidden_channels = in_channels, hidden_channels
        self.num_layers = 0 if conv == "none" else num_layers
        self.conv: str = conv
        self.feature_dropout, self.dropout = feature_dropout, dropout
        self.tail_dropout, self.edge_dropout = tail_dropout, edge_dropout
        self.residual = residual
        self.embedding: nn.Embedding | None = None
        self.lin: nn.Linear | None = None
        width = in_channels
        if num_embeddings is not None:
            self.embedding = nn.Embedding(num_embeddings, hidden_channels)
            nn.init.orthogonal_(self.embedding.weight)
            width = hidden_channels
        elif self._pure:
            _require_features(in_channels)
            self.lin = nn.Linear(in_channels, hidden_channels)
            width = hidden_channels
        self.convs, self.norms = nn.ModuleList(), nn.ModuleList()
        if not self._pure:
            _require_features(width)
            for layer in range(num_layers):
                self.convs.append(nn.Linear(width, hidden_channels))
                nn.init.xavier_uniform_(self.convs[-1].weight)  # type: ignore[arg-type]
                nn.init.zeros_(self.convs[-1].bias)  # type: ignore[arg-type]
                width = hidden_channels
                if norm and (layer == 0 or layer + 1 < num_layers):
                    self.norms.append(nn.LayerNorm(hidden_channels))
        self.jumping: nn.Parameter | None = None
        if jumping:
            self.jumping = nn.Parameter(torch.randn(self.num_layers))

    @property
    def _pure(self) -> bool:
        return self.conv.startswith("pure") or self.conv == "none"

    def forward(
        self,
        x: Any,
        graph: Graph | LinkGraph,
        exclude: Tensor | None = None,
    ) -> Tensor:
        """Encode all nodes.

        Args:
            x: [N, in_channels], dense or sparse, or in evaluation a column on disk where
                :attr:`reads_by_pieces`; with an embedding [N] ids, or None.
            graph: Undirected.
            exclude: [2, M]: pairs that count as not joined.

        Raises:
            TypeError, ValueError: a directed graph; features of another width.
        """
        h = self._start(x, graph)
        rows = link_graph("LinkEncoder", graph, h.device)
        kept = rows.kept(exclude, h.dtype)
        outputs = []
        for layer in range(self.num_layers):
            out = self._layer(layer, h, rows, kept)
            if self.residual and isinstance(h, Tensor) and h.shape == out.shape:
                out = h + out
            h = out
            outputs.append(out)
        if self.jumping is not None:
            stacked = torch.stack(outputs)
            return (self.jumping[:, None, None] * stacked).sum(0)
        return h if isinstance(h, Tensor) else torch.empty(0)

    def _start(self, x: Any, graph: Graph | LinkGraph) -> Any:
        if self.embedding is not None:
            if x is None:
                ids = torch.arange(graph.num_nodes, device=self.embedding.weight.device)
            else:
                # One-hot rows, as ogbl-ppa has, name an id.
                ids = x.argmax(1) if x.dim() == 2 and x.shape[1] > 1 else x.flatten()
                ids = ids.long()
            return ops.dropout(self.embedding(ids), self.dropout, self.training)
        if isinstance(x, StoredColumn) and self.reads_by_pieces and not self.training:
            return self._by_pieces(x, graph)
        x = self._check(x, graph)
        if isinstance(x, SparseRows):
            x = x.with_values(ops.dropout(x.value, self.feature_dropout, self.training))
        else:
            x = ops.dropout(x, self.feature_dropout, self.training)
        if self.lin is None:
            return x
        return ops.dropout(linear(x, self.lin), self.dropout, self.training)

    @property
    def reads_by_pieces(self) -> bool:
        """Whether features on disk will do in evaluation: a linear map comes first."""
        return self.lin is not None

    def _by_pieces(self, x: StoredColumn, graph: Graph | LinkGraph) -> Tensor:
        """The linear map of features on disk, of which a piece at a time is held."""
        self._require_shape(x, graph)
        assert self.lin is not None
        like = self.lin.weight
        h = like.new_empty(graph.num_nodes, self.hidden_channels)
        for ids in torch.arange(graph.num_nodes).split(_PIECE_ROWS):
            rows = x.gather(ids).to(like.device, like.dtype)
            h[int(ids[0]) : int(ids[-1]) + 1] = F.linear(rows, like, self.lin.bias)
        return h

    def _check(self, x: Any, graph: Graph | LinkGraph) -> Features:
        name = "LinkEncoder"
        if x is None:
            remedy = "pass num_embeddings for a graph without features"
            check.fail(TypeError, name, "x", "be given", None, remedy)
        x = features(x)
        self._require_shape(x, graph)
        return x

    def _require_shape(self, x: Any, graph: Graph | LinkGraph) -> None:
        shape = (graph.num_nodes, self.in_channels)
        if tuple(x.shape) != shape:
            need = f"have shape [nodes, in_channels] = {list(shape)}"
            check.fail(ValueError, "LinkEncoder", "x", need, list(x.shape))

    def _layer(
        self, layer: int, h: Any, rows: LinkGraph, kept: Tensor | None
    ) -> Tensor:
        if self._pure:
            out = self._aggregate(h, rows, kept)
            if layer + 1 == self.num_layers:
                out = ops.dropout(out, self.tail_dropout, self.training)
            return out
        module: nn.Linear = self.convs[layer]  # type: ignore[assignment]
        out = self._aggregate(_project(h, module), rows, kept) + module.bias
        if layer == 0 or layer + 1 < self.num_layers:
            norm = self.norms[layer] if len(self.norms) else None
            p = self.dropout if self.training else 0.0
            out = normalised(out, norm, p)  # type: ignore[arg-type]
        return out

    def _aggregate(self, h: Tensor, rows: LinkGraph, kept: Tensor | None) -> Tensor:
        """One convolution, without weights of its own, over the edges this layer keeps."""
        weight = kept
        if self.training and self.edge_dropout:
            ones = h.new_ones(len(rows.idx)) if kept is None else kept
            weight = ops.dropout(ones, self.edge_dropout)
        flip = rows.transpose if torch.is_grad_enabled() and h.requires_grad else None
        if self.conv.endswith("max"):
            return _maximum(h, rows, weight)
        if not self.conv.endswith("gcn"):
            out = ops.spmm(rows.ptr, rows.idx, h, weight=weight, transpose=flip)
            if not self.conv.endswith("mean"):
                return out
            return out / _degree(rows, weight, h).clamp(min=1)[:, None]
        # On the entries, of which there are fewer than values in the rows.
        scale = (_degree(rows, weight, h) + 1).rsqrt()
        of_entry = torch.repeat_interleave(
            scale, rows.degree, output_size=len(rows.idx)
        )
        of_entry = of_entry * scale.index_select(0, rows.idx)
        if weight is not None:
            of_entry = of_entry * weight
        out = ops.spmm(rows.ptr, rows.idx, h, weight=of_entry, transpose=flip)
        return torch.addcmul(out, h, scale.square()[:, None])


def _maximum(h: Tensor, rows: LinkGraph, weight: Tensor | None) -> Tensor:
    """Largest value among the neighbours that are there; zero where none is."""
    ptr, idx = rows.ptr, rows.idx
    if weight is not None:
        present = weight > 0
        before = torch.cat([ptr[:1], present.cumsum(0)])
        ptr, idx, weight = before[ptr], idx[present], weight[present]
    single = torch.arange(len(idx) + 1, device=ptr.device)
    entries = ops.spmm(single, idx, h, weight=weight)
    return ops.segment_reduce(entries, ptr, "max")


def _degree(rows: LinkGraph, weight: Tensor | None, like: Tensor) -> Tensor:
    if weight is None:
        return rows.degree.to(like.dtype)
    return ops.segment_reduce(weight[:, None], rows.ptr)[:, 0]


def _project(x: Features, layer: nn.Linear) -> Tensor:
    """``x W`` without the bias, which comes behind the aggregation."""
    if isinstance(x, SparseRows):
        return x @ layer.weight.t().contiguous()
    return F.linear(x, layer.weight)


def _require_features(width: int) -> None:
    if width == 0:
        remedy = (
            "a graph without features learns a row a node instead: "
            "link_model(embedding=True), --set model.embedding=true"
        )
        need, got = "be at least 1 without `num_embeddings`", 0
        check.fail(ValueError, "LinkEncoder", "in_channels", need, got, remedy)
    check.positive("LinkEncoder", "in_channels", width)
