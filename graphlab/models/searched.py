"""GNNs built from an architecture string, as searches write them."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from graphlab import check, ops
from graphlab.models.layers import GATLayer, GCNLayer, SAGELayer
from graphlab.models.sparse import SparseRows, dropout, features, linear, normalised
from graphlab.models.structure import Block, Kind, build

OPERATIONS = ("gat", "gcn", "gin", "cheb", "sage", "arma", "graph", "fc", "skip", "ppr")
ENDS = ("relu", "plain")
# Operations on blocks of this kind; the others are PyG's, or need no edges.
_KINDS: dict[str, Kind] = {"gcn": "gcn", "sage": "plain", "gat": "loops"}
_PYG = ("gin", "cheb", "arma", "graph")
# Below this share of non-zero entries features are multiplied as sparse rows.
_SPARSE = 0.1
# By identity: tensors compare element by element. Edges with the version that was read, for
# so many nodes and in this dtype; a block for each kind.
_BLOCKS: MutableMapping[Tensor, tuple[Any, dict[Kind, Block]]]
_BLOCKS = WeakTensorKeyDictionary()
_ROWS: MutableMapping[Tensor, tuple[int, SparseRows]] = WeakTensorKeyDictionary()


class SearchedGNN(nn.Module):
    r"""A DAG of graph layers: :math:`h_k = o_k(\mathrm{ReLU}(h_{p_k}))`.

    Rows of features are normalised, dropout stands before every operation. With
    ``ends=relu`` :math:`h_0 = xW`, and what no node takes is concatenated in front of an
    output map, behind a ReLU. With ``ends=plain`` the operations are the maps: what reads the
    features takes them to the width, what no node takes to the classes, and several of these
    are summed. So ``gcn,gcn`` is a GCN of two layers, ``fc,ppr`` APPNP. PyG's operations have
    a map in front where they read features. Attention weights are dropped as well.

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
        steps of personalised PageRank of APPNP (Gasteiger et al., ICLR 2019), with a map in
        front only where it reads features or gives classes. ``gin``, ``cheb``, ``arma`` and
        ``graph`` are PyG's.

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
        # Whose rows a node has: skips only pass them on.
        self.origin = [0]
        for k, (parent, name) in enumerate(zip(parents, operations, strict=True), 1):
            self.origin.append(self.origin[parent] if name == "skip" else k)
        self.ends = list(dict.fromkeys(self.origin[k] for k in self.leaves))
        taken = {
            self.origin[parent]
            for parent, name in zip(parents, operations, strict=True)
            if name != "skip"
        }
        widths = (in_channels, hidden, out_channels) if self.plain else (hidden,) * 3
        self.layers = nn.ModuleList()
        for k, (parent, name) in enumerate(zip(parents, operations, strict=True), 1):
            first = self.origin[parent] == 0
            last = k in self.ends and k not in taken
            inputs, outputs = widths[0 if first else 1], widths[2 if last else 1]
            # Where a width has to change, whatever the widths are.
            place = (self.plain and first, self.plain and last)
            self.layers.append(_Operation(name, inputs, outputs, self.dropout, *place))
        if self.plain:
            # Ends that another operation reads too have the inner width.
            self.maps = nn.ModuleDict(
                {
                    str(k): _linear(hidden if k else in_channels, out_channels)
                    for k in self.ends
                    if k == 0 or k in taken
                }
            )
        else:
            self.lin_in = _linear(in_channels, hidden)
            self.lin_out = _linear(hidden * len(self.leaves), out_channels)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """Compute logits."""
        p = self.dropout if self.training else 0.0
        rows = dropout(normalised(_rows(x)), self.dropout, self.training)
        states: list[Any] = [rows if self.plain else linear(rows, self.lin_in)]
        for parent, name, layer in zip(
            self.parents, self.operations, self.layers, strict=True
        ):
            h = states[parent]
            if name != "skip":
                if not (self.plain and self.origin[parent] == 0):
                    h = ops.norm_dropout_relu(h, p=p)
                h = layer(h, edge_index)
            states.append(h)
        if not self.plain:
            h = torch.cat([states[k] for k in self.leaves], dim=1)
            return self.lin_out(ops.norm_dropout_relu(h, p=p))
        return torch.stack([self._logits(k, states[k], p) for k in self.ends]).sum(0)

    def _logits(self, k: int, h: Any, p: float) -> Tensor:
        """What node ``k`` adds to the logits."""
        if str(k) not in self.maps:
            return h
        if k:
            h = ops.norm_dropout_relu(h, p=p)
        return linear(h, self.maps[str(k)])  # type: ignore[arg-type]


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
        block = _block(edge_index, len(x), x.dtype, "gcn")
        h = x
        for _ in range(self.steps):
            h = torch.lerp(block.aggregate(h, weight=block.weight), x, self.alpha)
        return h


class _Operation(nn.Module):
    """One operation, from one width to another; ``skip`` is the identity.

    Args:
        name: Of the operation.
        inputs: Width of the rows.
        outputs: Width of the result.
        dropout: Of attention weights.
        reads: The rows are the network's features, perhaps sparse.
        ends: The result is the network's, and has the classes' width.
    """

    def __init__(
        self,
        name: str,
        inputs: int,
        outputs: int,
        dropout: float,
        reads: bool,
        ends: bool,
    ) -> None:
        super().__init__()
        self.name = name
        # PyG's layers take no sparse rows; PageRank has no weights of its own.
        narrow = reads and name in _PYG
        maps = narrow or ((reads or ends) and name == "ppr")
        self.lin = _linear(inputs, outputs, bias=not narrow) if maps else None
        width = outputs if narrow else inputs
        self.layer = _layer(name, width, outputs, dropout, 1 if ends else 4)

    def forward(self, x: Any, edge_index: Tensor) -> Tensor:
        """Rows of all nodes."""
        if self.lin is not None:
            x = linear(x, self.lin)
        if self.name == "fc":
            return linear(x, self.layer)  # type: ignore[arg-type]
        if self.name in _KINDS:
            block = _block(edge_index, x.shape[0], x.dtype, _KINDS[self.name])
            return self.layer(x, block)
        return self.layer(x) if self.name == "skip" else self.layer(x, edge_index)


def _layer(
    name: str, inputs: int, outputs: int, dropout: float, heads: int
) -> nn.Module:
    if name == "skip":
        return nn.Identity()
    if name == "fc":
        return _linear(inputs, outputs)
    if name == "ppr":
        return PageRank()
    if name == "gcn":
        return GCNLayer(inputs, outputs)
    if name == "sage":
        return SAGELayer(inputs, outputs)
    if name == "gat":
        heads = heads if outputs % heads == 0 else 1
        return GATLayer(inputs, outputs // heads, heads=heads, dropout=dropout)
    import torch_geometric.nn as pyg

    if name == "gin":
        inner = nn.Sequential(
            nn.Linear(inputs, inputs), nn.ReLU(), nn.Linear(inputs, outputs)
        )
        return pyg.GINConv(inner)
    if name == "cheb":
        return pyg.ChebConv(inputs, outputs, K=2)
    kinds: dict[str, Any] = {"arma": pyg.ARMAConv, "graph": pyg.GraphConv}
    return kinds[name](inputs, outputs)


def _linear(inputs: int, outputs: int, bias: bool = True) -> nn.Linear:
    """Glorot-uniform weights, zero bias: rows of sum one drown in a bias of torch's size."""
    made = nn.Linear(inputs, outputs, bias=bias)
    nn.init.xavier_uniform_(made.weight)
    if bias:
        nn.init.zeros_(made.bias)
    return made


def _block(edge_index: Tensor, count: int, dtype: torch.dtype, kind: Kind) -> Block:
    """The prepared structure of edges, kept for the next epoch."""
    if edge_index.is_inference():  # has no version to tell changes by
        return build(edge_index, count, kind, dtype=dtype)
    of = (edge_index._version, count, dtype)
    held = _BLOCKS.get(edge_index)
    if held is None or held[0] != of:
        held = _BLOCKS[edge_index] = (of, {})
    if kind not in held[1]:
        held[1][kind] = build(edge_index, count, kind, dtype=dtype)
    return held[1][kind]


def _rows(x: Tensor) -> Any:
    """Dense features, or sparse rows of them where most entries are zero."""
    if x.requires_grad or x.layout != torch.strided:
        return features(x)
    version = None if x.is_inference() else x._version
    found = _ROWS.get(x)
    if found is not None and found[0] == version and version is not None:
        return found[1]
    if x.shape[1] < 64 or float((x != 0).float().mean()) > _SPARSE:
        return x
    made = features(x.to_sparse())
    if isinstance(made, SparseRows) and version is not None:
        _ROWS[x] = (version, made)
    return made
