"""GNNs built from an architecture string, as searches write them."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from graphlab import check, ops
from graphlab.models.sparse import SparseRows, dropout, features, linear, normalised
from graphlab.models.structure import Block, build

OPERATIONS = ("gat", "gcn", "gin", "cheb", "sage", "arma", "graph", "fc", "skip", "ppr")
ENDS = ("relu", "plain")
# Below this share of non-zero entries features are multiplied as sparse rows.
_SPARSE = 0.1
# By identity: tensors compare element by element. Edges with the version that was read, for
# so many nodes and in this dtype.
_BLOCKS: MutableMapping[Tensor, tuple[Any, Block]] = WeakTensorKeyDictionary()
_ROWS: MutableMapping[Tensor, SparseRows] = WeakTensorKeyDictionary()


class SearchedGNN(nn.Module):
    r"""A DAG of graph layers: :math:`h_0 = xW`, :math:`h_k = o_k(\mathrm{ReLU}(h_{p_k}))`.

    What no node takes is concatenated in front of the output map, behind a ReLU. Rows of
    features are normalised, dropout stands before every map. With ``ends=plain`` there is no
    ReLU and no second dropout between the first map and the layers, nor between the layers
    and the output map: these two only change the width, and ``gcn,gcn`` is a GCN of two
    layers.

    Args:
        in_channels: Width of the features.
        out_channels: Number of classes.
        architecture: ``parents|operations``, such as ``0,1,2,2|gcn,gat,skip,fc``: parent of
            each node (0 is the input) and its operation; then ``|name=value`` for
            ``hidden`` and ``dropout``, which win over the arguments, and ``ends`` (``relu``,
            the default, or ``plain``). Names that are not the model's (``lr``,
            ``weight_decay``) are for who trains it.
        hidden_channels: Width.
        dropout: Chance to drop.

    Shapes:
        x [N, in_channels] dense, edge_index int64 [2, E] -> [N, out_channels].

    Raises:
        ValueError: a string that is no architecture.

    Source:
        Qin et al., "NAS-Bench-Graph", NeurIPS 2022: DAGs and operations; ``ppr`` is the ten
        steps of personalised PageRank of APPNP (Gasteiger et al., ICLR 2019), without
        weights. Layers are PyG's.

    Example:
        >>> model = SearchedGNN(3, 2, architecture="0,0,1,2|gcn,sage,skip,fc|hidden=8")
        >>> model(torch.rand(4, 3), torch.tensor([[0, 1, 2], [1, 2, 3]])).shape
        torch.Size([4, 2])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        architecture: str,
        hidden_channels: int = 64,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        parents, operations, settings = parse(architecture)
        hidden = int(settings.get("hidden", hidden_channels))
        self.dropout = float(settings.get("dropout", dropout))
        check.positive("SearchedGNN", "hidden", hidden)
        if not 0 <= self.dropout < 1:
            need = "be in [0, 1)"
            check.fail(ValueError, "SearchedGNN", "dropout", need, self.dropout)
        ends = check.one_of("SearchedGNN", "ends", settings.get("ends", "relu"), ENDS)
        self.plain = ends == "plain"
        self.parents, self.operations = parents, operations
        self.leaves = [k for k in range(1, len(parents) + 1) if k not in parents]
        self.lin_in = nn.Linear(in_channels, hidden)
        self.layers = nn.ModuleList(_operation(o, hidden) for o in operations)
        self.lin_out = nn.Linear(hidden * len(self.leaves), out_channels)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """Compute logits."""
        p = self.dropout if self.training else 0.0
        rows = normalised(_rows(x))
        rows = dropout(rows, self.dropout, self.training)
        states, is_input = [linear(rows, self.lin_in)], [True]
        for parent, name, layer in zip(
            self.parents, self.operations, self.layers, strict=True
        ):
            h = states[parent]
            if name != "skip":
                if not (self.plain and is_input[parent]):
                    h = ops.norm_dropout_relu(h, p=p)
                h = layer(h) if name == "fc" else layer(h, edge_index)
            states.append(h)
            is_input.append(is_input[parent] and name == "skip")
        h = torch.cat([states[k] for k in self.leaves], dim=1)
        if not self.plain:
            h = ops.norm_dropout_relu(h, p=p)
        return self.lin_out(h)


def parse(architecture: str) -> tuple[list[int], list[str], dict[str, str]]:
    """Parents, operations and settings of an architecture string.

    Raises:
        ValueError: not such a string.

    Example:
        >>> parse("0,1|gcn,fc|hidden=8")
        ([0, 1], ['gcn', 'fc'], {'hidden': '8'})
    """
    wiring, _, rest = architecture.partition("|")
    operations, *pairs = rest.split("|")
    names = operations.split(",")
    need = "be `parents|operations|name=value`"
    try:
        parents = [int(p) for p in wiring.split(",")]
        settings = dict(pair.split("=", 1) for pair in pairs)
    except ValueError:
        check.fail(ValueError, "SearchedGNN", "architecture", need, repr(architecture))
    for name in names:
        check.one_of("SearchedGNN", "operation", name, OPERATIONS)
    if len(parents) != len(names) or any(
        not 0 <= p <= i for i, p in enumerate(parents)
    ):
        check.fail(ValueError, "SearchedGNN", "architecture", need, repr(architecture))
    return parents, names, settings


class PageRank(nn.Module):
    r"""Personalised PageRank: :math:`h \leftarrow (1 - a) \hat{A} h + a h_0`, K times.

    Args:
        steps: K.
        alpha: a, the chance to go back.
    """

    def __init__(self, steps: int = 10, alpha: float = 0.1) -> None:
        super().__init__()
        self.steps, self.alpha = steps, alpha

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """Propagate rows. [N, F]."""
        held = _BLOCKS.get(edge_index)
        version = edge_index._version
        of = (version, len(x), x.dtype)
        if held is None or held[0] != of:
            block = build(edge_index, len(x), "gcn", dtype=x.dtype)
            held = _BLOCKS[edge_index] = (of, block)
        block = held[1]
        h = x
        for _ in range(self.steps):
            h = torch.lerp(block.aggregate(h, weight=block.weight), x, self.alpha)
        return h


def _operation(name: str, width: int) -> nn.Module:
    import torch_geometric.nn as pyg

    if name in ("fc", "skip"):
        return nn.Linear(width, width) if name == "fc" else nn.Identity()
    if name == "gat":
        heads = 4 if width % 4 == 0 else 1
        return pyg.GATConv(width, width // heads, heads=heads)
    if name == "gin":
        inner = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width)
        )
        return pyg.GINConv(inner)
    if name == "ppr":
        return PageRank()
    if name == "cheb":
        return pyg.ChebConv(width, width, K=2)
    kinds: dict[str, Any] = {
        "gcn": pyg.GCNConv,
        "sage": pyg.SAGEConv,
        "arma": pyg.ARMAConv,
        "graph": pyg.GraphConv,
    }
    return kinds[name](width, width)


def _rows(x: Tensor) -> Any:
    """Dense features, or sparse rows of them where most entries are zero."""
    if x.requires_grad or x.layout != torch.strided:
        return features(x)
    found = _ROWS.get(x)
    if found is not None:
        return found
    if x.shape[1] < 64 or float((x != 0).float().mean()) > _SPARSE:
        return x
    made = features(x.to_sparse())
    if isinstance(made, SparseRows):
        _ROWS[x] = made
    return made
