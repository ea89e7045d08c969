"""A store as PyG's ``FeatureStore`` and ``GraphStore``: for PyG's own loaders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch_geometric.data import FeatureStore, GraphStore
from torch_geometric.data.feature_store import TensorAttr
from torch_geometric.data.graph_store import EdgeAttr, EdgeLayout

from graphlab import check
from graphlab.datasets.column import gather

if TYPE_CHECKING:
    from graphlab.outofcore.store import Store

# PyG asks for a type where there are several; a homogeneous graph has one of each.
NODE = "node"
EDGE = (NODE, "to", NODE)


class StoreFeatures(FeatureStore):  # type: ignore[misc]
    """Node columns of a store, read by row when asked for; they cannot be changed.

    Args:
        store: The store.

    Example:
        >>> import tempfile, graphlab as gl
        >>> d = gl.Dataset(gl.Graph(torch.tensor([[0, 1], [1, 2]])), x=torch.eye(3))
        >>> store = gl.outofcore.Store.convert(d, tempfile.mkdtemp() + "/store")
        >>> features, graph = store.to_pyg_stores()
        >>> features.get_tensor(group_name="node", attr_name="x", index=torch.tensor([1]))
        tensor([[0., 1., 0.]])
    """

    def __init__(self, store: Store) -> None:
        super().__init__()
        self.__dict__["_columns"] = dict(store.columns)

    def _get_tensor(self, attr: TensorAttr) -> Tensor | None:
        column = self._columns.get(attr.attr_name)
        if column is None or attr.group_name != NODE:
            return None
        index = attr.index
        rows = column.shape[0]
        if index is None or not attr.is_set("index"):
            index = torch.arange(rows)
        elif isinstance(index, slice):
            index = torch.arange(rows)[index]
        return gather(column, torch.as_tensor(index))

    def _get_tensor_size(self, attr: TensorAttr) -> tuple[int, ...] | None:
        column = self._columns.get(attr.attr_name)
        return None if column is None else tuple(column.shape)

    def get_all_tensor_attrs(self) -> list[TensorAttr]:
        """What there is."""
        return [TensorAttr(NODE, name) for name in self._columns]

    def _put_tensor(self, tensor: Any, attr: TensorAttr) -> bool:
        return _read_only("put_tensor")

    def _remove_tensor(self, attr: TensorAttr) -> bool:
        return _read_only("remove_tensor")


class StoreGraph(GraphStore):  # type: ignore[misc]
    """The graph of a store, memory-mapped, as CSC; it cannot be changed."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self.__dict__["_graph"] = store.graph

    def _get_edge_index(self, edge_attr: EdgeAttr) -> Any:
        if edge_attr.layout != EdgeLayout.CSC or edge_attr.edge_type != EDGE:
            return None
        csc = self._graph.csc()
        return csc.idx.long(), csc.ptr

    def get_all_edge_attrs(self) -> list[EdgeAttr]:
        """The one edge type, as CSC."""
        n = self._graph.num_nodes
        return [EdgeAttr(EDGE, EdgeLayout.CSC, is_sorted=True, size=(n, n))]

    def _put_edge_index(self, edge_index: Any, edge_attr: EdgeAttr) -> bool:
        return _read_only("put_edge_index")

    def _remove_edge_index(self, edge_attr: EdgeAttr) -> bool:
        return _read_only("remove_edge_index")


def _read_only(function: str) -> bool:
    remedy = "change the source and convert it again"
    check.fail(ValueError, function, "self", "be writable", "a store", remedy)
