"""Graphs of other libraries: what goes in comes out again."""

from __future__ import annotations

import subprocess
import sys
import warnings

import networkx
import numpy as np
import pytest
import scipy.sparse
import torch

from graphlab import Graph

EDGES = torch.tensor([[0, 3, 0, 0, 2, 2], [1, 1, 1, 2, 2, 0]])
WEIGHT = torch.arange(1.0, 7.0)


def graph(weighted=True):
    return Graph(EDGES, num_nodes=5, edge_weight=WEIGHT if weighted else None)


def same(ours, reference):
    assert torch.equal(ours.edge_index, reference.edge_index)
    assert ours.num_nodes == reference.num_nodes
    if reference.edge_weight is None:
        assert ours.edge_weight is None
    else:
        assert torch.equal(ours.edge_weight, reference.edge_weight)


@pytest.fixture(scope="module")
def dgl():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import dgl
        except Exception as error:
            pytest.skip(f"needs dgl==1.1.3: {error}")
    return dgl


@pytest.mark.parametrize("weighted", [True, False])
def test_pyg(weighted):
    from torch_geometric.data import Data

    data = graph(weighted).to_pyg()
    assert isinstance(data, Data)
    assert data.num_nodes == 5
    same(Graph.from_pyg(data), graph(weighted))


def test_pyg_forms():
    from torch_geometric import EdgeIndex
    from torch_geometric.data import Data, HeteroData

    assert Graph.from_pyg(Data(edge_index=EDGES, x=torch.ones(9, 1))).num_nodes == 9
    assert Graph.from_pyg(Data(edge_index=EDGES)).num_nodes == 4
    ours = Graph.from_pyg(Data(edge_index=EdgeIndex(EDGES, sparse_size=(5, 5))))
    assert type(ours.edge_index) is torch.Tensor
    assert ours.num_nodes == 5
    with torch.sparse.check_sparse_tensor_invariants(enable=True):
        adj_t = torch.sparse_coo_tensor(EDGES.flip(0), WEIGHT, (5, 5))
    ours = Graph.from_pyg(Data(adj_t=adj_t))
    assert ours.num_nodes == 5
    expected = graph().to_scipy().toarray()
    assert np.array_equal(ours.to_scipy().toarray(), expected)
    with pytest.raises(ValueError, match="have `edge_index` or `adj_t`, got x"):
        Graph.from_pyg(Data(x=torch.ones(3, 1)))
    with pytest.raises(
        TypeError, match=r"be homogeneous, got HeteroData; use data.to_homo"
    ):
        Graph.from_pyg(HeteroData())
    with pytest.raises(TypeError, match="be a PyG Data, got dict"):
        Graph.from_pyg({})


@pytest.mark.parametrize("weighted", [True, False])
def test_dgl(dgl, weighted):
    theirs = graph(weighted).to_dgl()
    assert theirs.num_nodes() == 5
    same(Graph.from_dgl(theirs), graph(weighted))


def test_dgl_refusals(dgl):
    hetero = dgl.heterograph(
        {("a", "to", "b"): ([0], [1]), ("b", "to", "a"): ([0], [1])}
    )
    with pytest.raises(
        TypeError, match=r"be homogeneous, got 2 edge types; use dgl.to_homo"
    ):
        Graph.from_dgl(hetero)
    with pytest.raises(TypeError, match="be homogeneous, got a block"):
        Graph.from_dgl(dgl.create_block(([0], [1])))
    with pytest.raises(TypeError, match="be a DGLGraph, got Graph"):
        Graph.from_dgl(graph())


def test_without_dgl_the_version_that_works_is_named():
    probe = (
        "import sys; sys.modules['dgl'] = None\n"
        "from graphlab.interop import dgl\n"
        "try: dgl.library()\n"
        "except ImportError as error: print(error)"
    )
    run = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True)
    assert "pip install dgl==1.1.3" in run.stdout, run.stderr


@pytest.mark.parametrize(
    "form", ["csr_matrix", "coo_matrix", "csc_array", "lil_matrix"]
)
def test_scipy(form):
    matrix = getattr(scipy.sparse, form)(np.array([[0, 2, 0], [1, 0, 0], [0, 0, 3.0]]))
    ours = Graph.from_scipy(matrix)
    assert np.array_equal(ours.to_scipy().toarray(), matrix.toarray())
    assert ours.edge_weight.sum() == 6
    assert Graph.from_scipy(matrix, weighted=False).edge_weight is None
    assert Graph.from_scipy((matrix != 0).astype(int)).edge_weight is None


def test_scipy_keeps_parallel_edges_apart():
    matrix = graph().to_scipy()
    assert matrix.nnz == 6
    assert matrix.toarray()[0, 1] == 1 + 3
    same_sum = Graph.from_scipy(matrix).to_scipy().toarray()
    assert np.array_equal(same_sum, matrix.toarray())
    with pytest.raises(ValueError, match=r"be square, got \[2, 3\]"):
        Graph.from_scipy(scipy.sparse.eye(2, 3))
    with pytest.raises(TypeError, match="be a sparse matrix, got ndarray"):
        Graph.from_scipy(np.eye(3))


@pytest.mark.parametrize("weighted", [True, False])
def test_networkx(weighted):
    theirs = graph(weighted).to_networkx()
    assert theirs.number_of_edges() == 6
    ours = Graph.from_networkx(theirs)
    assert ours.node_names is None
    assert np.array_equal(
        ours.to_scipy().toarray(), graph(weighted).to_scipy().toarray()
    )


def test_networkx_names_and_undirected_edges():
    theirs = networkx.Graph([("bob", "ada"), ("ada", "ada")])
    ours = Graph.from_networkx(theirs)
    assert ours.node_names.tolist() == ["bob", "ada"]
    assert ours.edge_index.tolist() == [[0, 1, 1], [1, 0, 1]]
    assert ours.is_undirected()
    assert sorted(ours.to_networkx().nodes) == ["ada", "bob"]
    mixed = networkx.DiGraph([(1, "a")])
    assert Graph.from_networkx(mixed).node_names.tolist() == [1, "a"]
    with pytest.raises(TypeError, match="be a networkx graph, got list"):
        Graph.from_networkx([])
