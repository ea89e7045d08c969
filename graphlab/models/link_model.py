"""LinkModel: an encoder and a head; the models of the link task by name of the head."""

from __future__ import annotations

import contextlib
from typing import Any, Literal

import torch
from torch import Tensor, nn

from graphlab import check
from graphlab.graph import Graph
from graphlab.models.link_encoder import Conv, LinkEncoder
from graphlab.models.link_graph import LinkGraph
from graphlab.models.ncn import GAE, NCN
from graphlab.models.ncnc import NCNC
from graphlab.models.refined_gae import HadamardMLP

HEADS = ("gae", "ncn", "ncnc", "hadamard")


class LinkModel(nn.Module):
    """Score pairs of nodes: ``head(encoder(x, graph), graph, pairs)``.

    Args:
        encoder: ``forward(x, graph, exclude=None) -> [N, H]``, or any module
            ``(x, graph)`` or ``(x, edge_index)`` of graphlab's backbones.
        head: ``forward(h, graph, pairs, exclude=None) -> [B]``.

    Shapes:
        x [N, F], pairs [2, B] -> logits [B].

    Example:
        >>> graph = Graph(torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]]))
        >>> model = LinkModel(LinkEncoder(3, 8), NCN(8))
        >>> model(torch.eye(3), graph, torch.tensor([[0], [2]])).shape
        torch.Size([1])
    """

    def __init__(self, encoder: nn.Module, head: nn.Module) -> None:
        super().__init__()
        given: dict[str, object] = {"encoder": encoder, "head": head}
        for argument, module in given.items():
            if not isinstance(module, nn.Module):
                got = type(module).__name__
                check.fail(TypeError, "LinkModel", argument, "be a module", got)
        self.encoder, self.head = encoder, head

    def forward(
        self,
        x: Any,
        graph: Graph | LinkGraph,
        pairs: Tensor,
        exclude: Tensor | None = None,
    ) -> Tensor:
        """Compute logits of pairs.

        Args:
            x: What the encoder takes.
            graph: Undirected.
            pairs: [2, B], int64.
            exclude: [2, M]: pairs that count as not joined, in the convolutions too.
        """
        return self.head(self.encode(x, graph, exclude), graph, pairs, exclude)

    def encode(
        self, x: Any, graph: Graph | LinkGraph, exclude: Tensor | None = None
    ) -> Tensor:
        """Rows of all nodes. [N, H]."""
        if isinstance(self.encoder, LinkEncoder):
            return self.encoder(x, graph, exclude)
        if exclude is not None:
            check.fail(
                TypeError,
                "LinkModel",
                "exclude",
                "be None with this encoder, which cannot leave out edges",
                type(self.encoder).__name__,
                "use a LinkEncoder",
            )
        return self.encoder(x, graph)

    def caching(self) -> contextlib.AbstractContextManager[None]:
        """Keep between calls of :meth:`score` what the head can, for one ``h`` and graph."""
        keeping = getattr(self.head, "caching", contextlib.nullcontext)
        kept: contextlib.AbstractContextManager[None] = keeping()
        return kept

    @torch.no_grad()
    def score(
        self,
        x: Any,
        graph: Graph | LinkGraph,
        pairs: Tensor,
        *,
        batch_size: int = 65536,
        h: Tensor | None = None,
    ) -> Tensor:
        """Compute logits of any number of pairs, in evaluation mode.

        Nodes are encoded once, and NCNC's inner scores are kept between the batches, so the
        batch size changes time and memory, not values (up to rounding).

        Args:
            x: What the encoder takes.
            graph: Undirected.
            pairs: [2, B], int64.
            batch_size: Pairs at a time.
            h: Rows of all nodes, where they are known.

        Returns:
            [B].
        """
        check.positive("LinkModel.score", "batch_size", batch_size)
        training = self.training
        self.eval()
        try:
            h = self.encode(x, graph) if h is None else h
            with self.caching():
                parts = [
                    self.head(h, graph, part.contiguous())
                    for part in pairs.split(batch_size, 1)
                ]
        finally:
            self.train(training)
        return torch.cat(parts) if parts else h.new_zeros(0)


def link_model(
    in_channels: int,
    num_nodes: int,
    head: Literal["gae", "ncn", "ncnc", "hadamard"] = "ncn",
    hidden_channels: int = 256,
    num_layers: int = 1,
    conv: Conv = "puregcn",
    feature_dropout: float = 0.0,
    tail_dropout: float = 0.0,
    dropout: float = 0.0,
    edge_dropout: float = 0.0,
    residual: bool = False,
    jumping: bool = False,
    embedding: bool = False,
    num_embeddings: int | None = None,
    norm: bool = True,
    head_dropout: float = 0.0,
    head_edge_dropout: float = 0.0,
    neighbor_mlp: bool = True,
    last_linear: bool = False,
    deep: bool = False,
    beta: float = 1.0,
    depth: int = 1,
    scale: float = 5.0,
    offset: float = 3.0,
    prior: float = 0.5,
    alpha: float = 1.0,
    learned_prior: bool = False,
    train_limit: int | None = None,
    test_limit: int | None = None,
    memory: int | str = "1GiB",
    head_layers: int = 3,
    compat: Literal["reference"] | None = None,
) -> LinkModel:
    """Make a LinkModel from plain settings; those of other heads are not looked at.

    Args:
        in_channels: Width of the features.
        num_nodes: Nodes of the graph.
        head: ``gae``, ``ncn``, ``ncnc``; ``hadamard`` is Refined-GAE's.
        embedding: Learn a row a node in place of features.
        num_embeddings: Learn a row for each value of an id feature instead; see
            :class:`LinkEncoder`.
        head_layers: Layers of the ``hadamard`` head.
        hidden_channels, num_layers, conv, feature_dropout, tail_dropout, dropout,
            edge_dropout, residual, jumping, norm: See :class:`LinkEncoder`.
        head_dropout, head_edge_dropout, neighbor_mlp, last_linear, deep, beta, depth, scale,
            offset, prior, alpha, learned_prior, train_limit, test_limit, memory, compat: See
            :class:`NCN` and :class:`NCNC`.

    Example:
        >>> model = link_model(1433, 2708, "ncn", jumping=True)
        >>> sum(p.numel() for p in model.parameters())
        764163
    """
    check.one_of("link_model", "head", head, HEADS)
    if embedding and num_embeddings is None:
        num_embeddings = num_nodes
    encoder = LinkEncoder(
        in_channels,
        hidden_channels,
        num_layers,
        conv,
        feature_dropout=feature_dropout,
        dropout=dropout,
        tail_dropout=tail_dropout,
        edge_dropout=edge_dropout,
        norm=norm,
        residual=residual,
        jumping=jumping,
        num_embeddings=num_embeddings,
    )
    if head == "hadamard":
        return LinkModel(
            encoder, HadamardMLP(hidden_channels, head_layers, head_dropout)
        )
    shared: dict[str, Any] = {
        "dropout": head_dropout,
        "norm": norm,
        "last_linear": last_linear,
        "deep": deep,
    }
    if head == "gae":
        return LinkModel(encoder, GAE(hidden_channels, **shared))
    shared |= {
        "neighbor_mlp": neighbor_mlp,
        "edge_dropout": head_edge_dropout,
        "beta": beta,
    }
    if head == "ncn":
        return LinkModel(encoder, NCN(hidden_channels, **shared))
    completed = NCNC(
        hidden_channels,
        **shared,
        depth=depth,
        scale=scale,
        offset=offset,
        prior=prior,
        alpha=alpha,
        learned_prior=learned_prior,
        train_limit=train_limit,
        test_limit=test_limit,
        memory=memory,
        compat=compat,
    )
    return LinkModel(encoder, completed)
