from __future__ import annotations

import copy
import gc
import weakref

import pytest
import torch
from torch import nn
from torch_geometric import nn as pyg

from graphlab import models
from graphlab.datasets.column import SparseColumn
from graphlab.graph import Graph
from graphlab.models import structure
from graphlab.models.layers import GATLayer, GCNIILayer, GCNLayer, SAGELayer
from graphlab.sample import NeighborSampler

NODES, WIDTH = 60, 10
FACTORIES = {
    "MLP": lambda: models.MLP(WIDTH, 3, 8, 2),
    "GCN": lambda: models.GCN(WIDTH, 3, 16, 3),
    "GCN-wide-to-narrow": lambda: models.GCN(WIDTH, 3, 4, 2, norm="layer"),
    "SAGE": lambda: models.SAGE(WIDTH, 3, 16, 2),
    "SAGE-norm": lambda: models.SAGE(WIDTH, 3, 4, 3, norm="batch"),
    "GAT": lambda: models.GAT(WIDTH, 3, 8, 2, heads=4, out_heads=2),
    "GCNII": lambda: models.GCNII(WIDTH, 3, 8, 4),
}
each_model = pytest.mark.parametrize("make", FACTORIES.values(), ids=FACTORIES.keys())


@pytest.fixture
def edges():
    # Parallel edges, loops (two at node 5), nodes without edges.
    generator = torch.Generator().manual_seed(1)
    edge_index = torch.randint(0, NODES - 5, (2, 300), generator=generator)
    edge_index[:, :4] = torch.tensor([5, 5, 8, 9])
    return edge_index


@pytest.fixture
def x():
    values = torch.randn(NODES, WIDTH, generator=torch.Generator().manual_seed(2))
    return values * (values > 0.5)


def block_of(edges, kind, weight=None):
    return structure.build(edges, NODES, kind, weight)


def copy_weights(pairs):
    with torch.no_grad():
        for ours, theirs in pairs:
            theirs.copy_(ours.reshape(theirs.shape))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("width", [4, 20])
def test_gcn_layer_equals_pygs(edges, x, weighted, width):
    ours, theirs = GCNLayer(WIDTH, width), pyg.GCNConv(WIDTH, width)
    nn.init.normal_(ours.bias)
    copy_weights([(ours.lin.weight, theirs.lin.weight), (ours.bias, theirs.bias)])
    weight = torch.rand(edges.shape[1]) + 0.1 if weighted else None
    torch.testing.assert_close(
        ours(x, block_of(edges, "gcn", weight)),
        theirs(x, edges, weight),
        atol=1e-5,
        rtol=1e-5,
    )


@pytest.mark.parametrize("width", [4, 20])
def test_sage_layer_equals_pygs(edges, x, width):
    ours, theirs = SAGELayer(WIDTH, width), pyg.SAGEConv(WIDTH, width)
    pairs = [
        (ours.lin_l.weight, theirs.lin_l.weight),
        (ours.lin_r.weight, theirs.lin_r.weight),
        (ours.lin_r.bias, theirs.lin_l.bias),
    ]
    copy_weights(pairs)
    torch.testing.assert_close(
        ours(x, block_of(edges, "plain")), theirs(x, edges), atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("concat", [False, True])
def test_gat_layer_equals_pygs(edges, x, concat):
    ours = GATLayer(WIDTH, 4, heads=3, concat=concat)
    theirs = pyg.GATConv(WIDTH, 4, heads=3, concat=concat)
    names = ("lin.weight", "att_src", "att_dst", "bias")
    ours_by_name, theirs_by_name = (dict(m.named_parameters()) for m in (ours, theirs))
    copy_weights([(ours_by_name[n], theirs_by_name[n]) for n in names])
    torch.testing.assert_close(
        ours(x, block_of(edges, "loops")), theirs(x, edges), atol=1e-5, rtol=1e-5
    )


def test_gcnii_layer_equals_pygs(edges, x):
    ours = GCNIILayer(WIDTH, alpha=0.2, theta=0.5, layer=3)
    theirs = pyg.GCN2Conv(WIDTH, alpha=0.2, theta=0.5, layer=3)
    copy_weights([(ours.weight, theirs.weight1)])
    initial = torch.randn_like(x)
    torch.testing.assert_close(
        ours(x, initial, block_of(edges, "gcn")),
        theirs(x, initial, edges),
        atol=1e-5,
        rtol=1e-5,
    )


def test_one_self_loop_and_symmetric_normalisation():
    # By hand: 0 <-> 1, and a loop at 0 that must not count twice.
    edges = torch.tensor([[0, 1, 0], [1, 0, 0]])
    block = structure.build(edges, 3, "gcn")
    dense = torch.zeros(3, 3)
    dense[block.owner.long(), block.idx.long()] = block.weight
    expected = torch.tensor([[0.5, 0.5, 0], [0.5, 0.5, 0], [0, 0, 1.0]])
    torch.testing.assert_close(dense, expected)
    assert len(block.idx) == 5


def test_weights_that_sum_to_zero_give_zero_and_not_nan():
    edges = torch.tensor([[0, 1], [1, 1]])
    block = structure.build(edges, 2, "gcn", torch.tensor([1.0, -1.0]))
    assert torch.equal(block.weight, torch.tensor([1.0, 0.0, 0.0]))


@each_model
def test_graph_and_edge_index_agree_with_gradients(make, edges, x):
    model, graph = make().double().eval(), Graph(edges, num_nodes=NODES)
    gradients = []
    for structure_of in (edges, graph, edges.int()):
        given = x.double().requires_grad_()
        model.zero_grad()
        out = model(given, structure_of)
        assert out.shape == (NODES, 3)
        out.square().sum().backward()
        gradients.append([given.grad, *(p.grad.clone() for p in model.parameters())])
    for other in gradients[1:]:
        for a, b in zip(gradients[0], other, strict=True):
            torch.testing.assert_close(a, b)


@each_model
@pytest.mark.parametrize("hops", [1, 2, 3, 5])
def test_trimming_changes_no_seeds_row(make, edges, x, hops):
    graph = Graph(edges, num_nodes=NODES)
    sampler = NeighborSampler(graph, [3] * hops)
    sample = sampler.sample(torch.arange(0, 20, 2), epoch=0, batch=0)
    model = make().double().eval()
    rows, edge_index = x[sample.n_id].double(), torch.stack([sample.row, sample.col])
    whole = model(rows, edge_index)
    trimmed = model(
        rows, edge_index, sample.num_sampled_nodes, sample.num_sampled_edges
    )
    assert trimmed.shape == (10, 3)
    torch.testing.assert_close(trimmed, whole[:10])
    sparse = model(
        rows.to_sparse_coo(),
        edge_index,
        sample.num_sampled_nodes,
        sample.num_sampled_edges,
    )
    torch.testing.assert_close(sparse, trimmed)


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support:UserWarning")
@each_model
@pytest.mark.parametrize("as_input", ["column", "coo", "csr"])
def test_sparse_input_gives_the_dense_result(make, edges, x, as_input):
    from scipy.sparse import csr_matrix

    given = {
        "column": lambda: SparseColumn.from_scipy(csr_matrix(x.numpy())),
        "coo": x.to_sparse_coo,
        "csr": x.to_sparse_csr,
    }[as_input]()
    model = make().eval()
    graph = Graph(edges, num_nodes=NODES)
    results = []
    for features in (x, given):
        model.zero_grad()
        out = model(features, graph)
        out.square().sum().backward()
        results.append([out.detach(), *(p.grad.clone() for p in model.parameters())])
    for dense, sparse in zip(*results, strict=True):
        torch.testing.assert_close(sparse, dense, atol=1e-4, rtol=1e-4)
    model.train()
    assert model(given, graph).isfinite().all()


@pytest.mark.parametrize("name", ["MLP", "GCN", "SAGE", "GAT", "GCNII"])
def test_normalise_rows_equals_normalised_input(name, edges, x):
    x = x - 0.1
    x[3] = 0
    by_hand = x / x.abs().sum(1, keepdim=True).clamp(min=1e-12)
    model = getattr(models, name)(WIDTH, 3, 8).eval()
    expected = model(by_hand, edges)
    model.normalise_rows = True
    torch.testing.assert_close(model(x, edges), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        model(x.to_sparse_coo(), edges), expected, atol=1e-5, rtol=1e-5
    )
    out = models.layerwise(model, x, Graph(edges, num_nodes=NODES), chunk=9)
    torch.testing.assert_close(out, expected, atol=1e-5, rtol=1e-5)


@each_model
@pytest.mark.parametrize("weighted", [False, True])
def test_layer_by_layer_equals_the_forward_pass(make, edges, x, weighted):
    weight = torch.rand(edges.shape[1]) + 0.1 if weighted else None
    graph = Graph(edges, num_nodes=NODES, edge_weight=weight)
    model = make()
    assert model.training
    out = models.layerwise(model, x, graph, chunk=7)
    assert model.training
    torch.testing.assert_close(out, model.eval()(x, graph), atol=1e-5, rtol=1e-5)


def test_layer_by_layer_reads_columns_and_fills_buffers(edges, x):
    from scipy.sparse import csr_matrix

    shapes = []

    def buffer(shape):
        shapes.append(shape)
        return torch.empty(shape)

    model, graph = models.SAGE(WIDTH, 3, 16, 2), Graph(edges, num_nodes=NODES)
    column = SparseColumn.from_scipy(csr_matrix(x.numpy()))
    out = models.layerwise(model, column, graph, chunk=50, buffer=buffer)
    assert shapes == [(NODES, 16), (NODES, 3)]
    torch.testing.assert_close(out, model.eval()(x, graph), atol=1e-5, rtol=1e-5)


@each_model
def test_parameters_follow_the_seed(make):
    states = []
    for _ in range(2):
        torch.manual_seed(11)
        model = make()
        states.append(copy.deepcopy(model.state_dict()))
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])
    drawn = []
    for _ in range(2):
        torch.manual_seed(5)
        model.reset_parameters()
        drawn.append(copy.deepcopy(model.state_dict()))
    assert all(torch.equal(drawn[0][k], drawn[1][k]) for k in drawn[0])
    weights = [k for k in drawn[0] if drawn[0][k].dim() == 2]
    assert all(not torch.equal(drawn[0][k], states[0][k]) for k in weights)


def test_reset_keeps_a_layers_own_start_values():
    torch.manual_seed(0)
    model = models.GCN(1000, 10, 10)
    model.reset_parameters()
    # Glorot's bound, which torch's own start of a Linear would stay far below.
    bound = (6 / 1010) ** 0.5
    assert 0.95 * bound < model.layers[0].lin.weight.abs().max() <= bound


def test_dropout_stands_where_the_recipes_have_it(edges):
    ones = torch.ones(NODES, WIDTH)
    torch.manual_seed(0)
    gcn, sage = models.GCN(WIDTH, 3, 8, 1, 0.5), models.SAGE(WIDTH, 3, 8, 1, 0.5)
    assert not torch.equal(gcn(ones, edges), gcn(ones, edges))
    assert torch.equal(sage(ones, edges), sage(ones, edges))


def test_the_structure_of_a_graph_is_built_once_and_dies_with_it(edges):
    graph = Graph(edges, num_nodes=NODES)
    first = structure.of_graph(graph, "gcn")
    assert structure.of_graph(graph, "gcn") is first
    assert first.transposed() is first.transposed()
    assert structure.of_graph(graph, "loops") is not first
    assert structure.of_graph(graph, "gcn", torch.float64).weight.dtype == torch.float64
    block = weakref.ref(first)
    del graph, first
    gc.collect()
    assert block() is None


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: models.GCN(0, 3), ValueError, "GCN: `in_channels` must be at least 1"),
        (lambda: models.SAGE(4, 3, dropout=1.0), ValueError, r"in \[0, 1\), got 1.0"),
        (lambda: models.GCN(4, 3, norm="none"), ValueError, "one of 'batch', 'layer'"),
        (
            lambda: models.GAT(4, 3, 10, heads=4),
            ValueError,
            "`hidden_channels` must be a multiple of heads = 4, got 10",
        ),
        (
            lambda: models.MLP(4, 3)(torch.ones(2, 5), torch.zeros(2, 0).long()),
            ValueError,
            r"MLP: `x` must have shape \[nodes, in_channels = 4\], got \[2, 5\]",
        ),
        (
            lambda: models.MLP(4, 3)("x", torch.zeros(2, 0).long()),
            TypeError,
            "`x` must be a tensor or a SparseColumn, got str",
        ),
        (
            lambda: models.GCN(4, 3)(torch.ones(2, 4), torch.zeros(3, 1).long()),
            ValueError,
            r"`edge_index` must have shape \[2, edges\], got \[3, 1\]",
        ),
        (
            lambda: models.GCN(4, 3)(torch.ones(2, 4), torch.zeros(2, 1)),
            TypeError,
            "`edge_index` must be int32 or int64, got float32",
        ),
        (
            lambda: models.GCN(4, 3)(torch.ones(2, 4), torch.full((2, 1), 2)),
            IndexError,
            r"must be in \[0, 2\), got 2",
        ),
        (
            lambda: models.GCN(4, 3)(
                torch.ones(2, 4), Graph(torch.zeros(2, 1).long(), num_nodes=3)
            ),
            ValueError,
            r"`x` must have one row per node of the graph \(3\), got 2",
        ),
        (
            lambda: models.GCN(4, 3)(
                torch.ones(2, 4), torch.zeros(2, 1).long(), [1, 2], [1]
            ),
            ValueError,
            "`num_sampled_nodes` must sum to the 2 rows of `x`, got 3",
        ),
        (
            lambda: models.GCN(4, 3)(
                torch.ones(2, 4), torch.zeros(2, 1).long(), [1, 1], [1, 0]
            ),
            ValueError,
            "`num_sampled_nodes` must have one entry more than `num_sampled_edges`",
        ),
    ],
)
def test_bad_arguments(call, error, match):
    with pytest.raises(error, match=match):
        call()
