from __future__ import annotations

import pytest
import torch

from graphlab.models import GCN, SearchedGNN
from graphlab.models.searched import OPERATIONS, PageRank, parse
from graphlab.nag import spaces
from graphlab.nag.spaces.nas_bench_graph import OPS


def ring(count: int) -> torch.Tensor:
    i = torch.arange(count)
    return torch.stack(
        [torch.cat([i, (i + 1) % count]), torch.cat([(i + 1) % count, i])]
    )


def test_the_space_and_the_model_know_the_same_operations():
    assert OPERATIONS == (*OPS, "ppr")
    assert set(OPERATIONS) < set(spaces.GNN().labels)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_builds_trains_and_knows_its_graph(operation):
    torch.manual_seed(0)
    wiring = "0,1,2,3|fc," + ",".join([operation] * 3)
    model = SearchedGNN(5, 3, architecture=wiring, hidden_channels=8)
    x, edges = torch.rand(6, 5), ring(6)
    out = model(x, edges)
    assert out.shape == (6, 3)
    out.sum().backward()
    # PyG's ARMA of one step keeps a weight for further steps.
    unused = [n for n, p in model.named_parameters() if p.grad is None]
    assert all(operation == "arma" and n.endswith(".weight") for n in unused)
    model.eval()
    other = model(x, edges[:, :2])
    alone = operation in ("fc", "skip")
    assert torch.allclose(model(x, edges), other) == alone


def test_skips_compute_what_the_hash_says():
    space = spaces.NASBenchGraph()
    torch.manual_seed(0)
    one = SearchedGNN(4, 2, architecture="0,1,2,3|gcn,skip,fc,skip", hidden_channels=8)
    two = SearchedGNN(4, 2, architecture="0,1,2,3|gcn,fc,skip,skip", hidden_channels=8)
    two.lin_in, two.lin_out = one.lin_in, one.lin_out
    two.layers[0], two.layers[1] = one.layers[0], one.layers[2]
    x, edges = torch.rand(5, 4), ring(5)
    assert torch.allclose(one.eval()(x, edges), two.eval()(x, edges))
    hashes = space.hashes(
        space.encode(["0,1,2,3|gcn,skip,fc,skip", "0,1,2,3|gcn,fc,skip,skip"])
    )
    assert hashes[0] == hashes[1]


def test_sparse_rows_equal_dense_ones():
    torch.manual_seed(0)
    x = (torch.rand(30, 200) < 0.03).float()
    model = SearchedGNN(200, 2, architecture="0,0,1,1|gcn,gat,fc,sage").eval()
    sparse = model(x, ring(30))
    assert model(x, ring(30)).equal(sparse)  # the rows are remembered
    dense = model(x.clone().requires_grad_(True), ring(30))
    assert torch.allclose(sparse, dense, atol=1e-5)


def test_settings_in_the_string_win():
    text = "0,0,1,2|gcn,gcn,gcn,gcn|hidden=16|dropout=0.2|lr=0.01"
    model = SearchedGNN(4, 2, architecture=text)
    assert model.lin_in.out_features == 16
    assert model.dropout == 0.2
    assert parse(text)[2]["lr"] == "0.01"


@pytest.mark.parametrize(
    "text",
    ["gcn", "0,1|gcn", "1,0|gcn,gcn", "0,x|gcn,gcn", "0,1|gcn,conv", "0|gcn|hidden"],
)
def test_what_is_no_architecture_is_refused(text):
    with pytest.raises(
        ValueError, match=r"SearchedGNN: `(architecture|operation)` must be"
    ):
        SearchedGNN(4, 2, architecture=text)


def test_plain_ends_are_gcn_and_appnp():
    torch.manual_seed(0)
    settings = "hidden=8|dropout=0|ends=plain"
    model = SearchedGNN(5, 3, architecture=f"0,1,2,3|gcn,gcn,skip,skip|{settings}")
    x, edges = torch.rand(6, 5), ring(6)
    gcn = GCN(5, 3, hidden_channels=8, dropout=0.0, normalise_rows=True)
    weights = dict(zip(gcn.state_dict(), model.state_dict().values(), strict=True))
    gcn.load_state_dict(weights)
    torch.testing.assert_close(model(x, edges), gcn(x, edges))

    model = SearchedGNN(5, 3, architecture=f"0,1,2,3|fc,ppr,skip,skip|{settings}")
    fc, ppr = model.layers[0].layer, model.layers[1].lin
    rows = x / x.sum(1, keepdim=True)
    logits = ppr(fc(rows).relu())
    torch.testing.assert_close(model(x, edges), PageRank()(logits, edges))
    with pytest.raises(ValueError, match="`ends` must be one of 'relu', 'plain'"):
        SearchedGNN(5, 3, architecture="0|gcn|ends=none")


def test_maps_stand_where_they_must_whatever_the_widths():
    text = "0,1,2,3|fc,ppr,skip,skip|hidden=8|ends=plain"
    assert SearchedGNN(5, 8, architecture=text).layers[1].lin.out_features == 8
    text = "0,1|ppr,fc|hidden=64|ends=plain"
    model = SearchedGNN(64, 3, architecture=text).eval()
    x = (torch.rand(9, 64) < 0.05).float()
    dense = model(x.clone().requires_grad_(True), ring(9))
    torch.testing.assert_close(model(x, ring(9)), dense)


@pytest.mark.parametrize("classes", [7, 8])
def test_one_head_gives_the_classes(classes):
    text = "0,1|gat,gat|hidden=8|ends=plain"
    first, last = SearchedGNN(5, classes, architecture=text).layers
    assert (first.layer.heads, last.layer.heads) == (4, 1)
    assert last.layer.out_channels == classes


@pytest.mark.parametrize("operation", ["gcn", "sage", "gat", "ppr"])
def test_what_changes_in_place_is_read_again(operation):
    torch.manual_seed(0)
    text = f"0,1|fc,{operation}|hidden=8|ends=plain"
    model = SearchedGNN(200, 3, architecture=text).eval()
    x, edges = (torch.rand(20, 200) < 0.03).float(), ring(20)
    model(x, edges)
    x[:] = (torch.rand(20, 200) < 0.03).float()
    edges[1] = edges[1].roll(3)
    expected = model(x.clone(), edges.clone())
    assert model(x, edges).equal(expected)
    with torch.inference_mode():
        assert model(x.clone(), edges.clone()).equal(expected)


def test_plain_ends_are_summed_and_mapped_where_they_are_read_again():
    torch.manual_seed(0)
    text = "0,1,1,0|fc,skip,fc,skip|hidden=8|dropout=0|ends=plain"
    model = SearchedGNN(5, 3, architecture=text)
    assert model.ends == [1, 3, 0]
    x = torch.rand(6, 5)
    rows = x / x.sum(1, keepdim=True)
    inner = model.layers[0].layer(rows)
    expected = model.maps["1"](inner.relu()) + model.layers[2].layer(inner.relu())
    torch.testing.assert_close(model(x, ring(6)), expected + model.maps["0"](rows))


@pytest.mark.parametrize("ends", ["relu", "plain"])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_reads_sparse_features_and_ends_the_network(operation, ends):
    torch.manual_seed(0)
    x = (torch.rand(30, 200) < 0.03).float()
    text = f"0,1,0,1|{operation},{operation},skip,{operation}|ends={ends}|hidden=8"
    model = SearchedGNN(200, 3, architecture=text).eval()
    dense = model(x.clone().requires_grad_(True), ring(30))
    assert dense.shape == (30, 3)
    torch.testing.assert_close(model(x, ring(30)), dense)


def test_pagerank_is_appnps():
    import torch_geometric.nn as pyg

    edges = torch.randint(0, 9, (2, 30))
    edges = edges[:, edges[0] != edges[1]].unique(dim=1)
    x = torch.randn(9, 4)
    for _ in range(2):
        expected = pyg.APPNP(K=10, alpha=0.1)(x, edges)
        torch.testing.assert_close(PageRank()(x, edges), expected)
        edges[:, 0] = torch.tensor([7, 8])  # edges that change are read again
