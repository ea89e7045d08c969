from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from graphlab.graph import Graph, influence
from graphlab.models import PamCLoss
from graphlab.models.pamc_clusters import Clusters
from graphlab.models.pamc_positives import Positives


def dense_reference(z, w, assign, k, tau):
    """The release's objective, written down densely."""
    unit = z / z.norm(dim=1, keepdim=True)
    cosine = unit @ unit.T
    cosine = cosine * (1 - torch.eye(len(z), dtype=z.dtype))
    positive = (w * torch.exp(tau * cosine)).sum(1)
    hot = F.one_hot(assign, k).to(z.dtype)
    centre = hot.T @ z
    centre = centre / centre.norm(dim=1, keepdim=True)
    between = centre @ centre.T
    between = between * (1 - torch.eye(k, dtype=z.dtype))
    negative = torch.exp(tau * between).sum(1)
    return -torch.log(positive + 1e-10).mean() + torch.log(negative + 1e-10).mean()


def dense_scgc(z, w, tau):
    unit = z / z.norm(dim=1, keepdim=True)
    cosine = (unit @ unit.T) * (1 - torch.eye(len(z), dtype=z.dtype))
    each = torch.exp(tau * cosine)
    return -torch.log((w * each).sum(1) / each.sum(1) + 1e-8).mean()


def exact_negatives(u, tau):
    cosine = (u @ u.T).fill_diagonal_(0)
    return torch.exp(tau * cosine).sum(1)


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(0)
    source, target = torch.randint(60, (2, 300), generator=generator)
    graph = Graph(torch.stack([source, target]), 60).to_undirected()
    z = torch.randn(60, 7, dtype=torch.float64, generator=generator)
    return graph, z, torch.arange(60) % 4


def dense_weights(w: Graph) -> torch.Tensor:
    dense = torch.zeros(w.num_nodes, w.num_nodes, dtype=torch.float64)
    source, target = w.edge_index
    return dense.index_put_((target, source), w.edge_weight.double(), accumulate=True)


@pytest.mark.parametrize("order", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_reference_equals_the_dense_formula_forward_and_backward(data, order, dtype):
    graph, z, assign = data
    w = influence(graph, order)
    expected_z = z.clone().requires_grad_()
    expected = dense_reference(expected_z, dense_weights(w), assign, 4, 0.5)
    expected.backward()
    ours_z = z.to(dtype).requires_grad_()
    ours = PamCLoss(0.5, compat="reference")(ours_z, w, assign=assign, k=4)
    ours.backward()
    assert abs(float(ours.detach()) - float(expected.detach())) < 1e-6
    assert float((ours_z.grad - expected_z.grad).abs().max()) < 1e-6


def test_reference_of_full_negatives_equals_the_dense_formula(data):
    graph, z, _ = data
    w = influence(graph, 2)
    expected_z = z.clone().requires_grad_()
    expected = dense_scgc(expected_z, dense_weights(w), 0.25)
    expected.backward()
    ours_z = z.clone().requires_grad_()
    ours = PamCLoss(0.25, "full", "reference")(ours_z, w)
    ours.backward()
    torch.testing.assert_close(ours, expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(ours_z.grad, expected_z.grad, atol=1e-6, rtol=0)


def test_reference_of_soft_assignments_is_that_of_their_largest(data):
    graph, z, assign = data
    soft = F.one_hot(assign, 4) * 0.5 + 0.125
    loss = PamCLoss(0.5, compat="reference")
    assert loss(z, graph, assign=soft) == loss(z, graph, assign=assign)


def test_full_and_its_chunks_equal_the_dense_sum(data, monkeypatch):
    from graphlab.models import pamc_negatives

    graph, z, _ = data
    z.requires_grad_()
    parts = PamCLoss(0.5, "full")(z, graph, return_parts=True)
    u = F.normalize(z, dim=1)
    torch.testing.assert_close(parts.negative, exact_negatives(u, 0.5).log().mean())
    whole = torch.autograd.grad(parts.negative, z)[0]
    monkeypatch.setattr(pamc_negatives, "_CHUNK_VALUES", 7 * 60)
    chunked = PamCLoss(0.5, "full")(z, graph, return_parts=True).negative
    torch.testing.assert_close(torch.autograd.grad(chunked, z)[0], whole)


def tight_clusters(spread: float):
    generator = torch.Generator().manual_seed(1)
    assign = torch.randint(4, (400,), generator=generator)
    centre = torch.randn(4, 6, dtype=torch.float64, generator=generator)
    noise = torch.randn(400, 6, dtype=torch.float64, generator=generator)
    return centre[assign] + spread * noise, assign


NO_EDGES = torch.empty(2, 0, dtype=torch.int64)


def test_estimates_close_in_on_the_exact_sum_as_clusters_tighten():
    errors = {}
    for spread in (0.5, 0.25):
        z, assign = tight_clusters(spread)
        exact = exact_negatives(F.normalize(z, dim=1), 0.5).log().mean()
        for kind in ("anchor", "meta2"):
            parts = PamCLoss(0.5, kind)(z, NO_EDGES, assign=assign, return_parts=True)
            errors[kind, spread] = float(parts.negative - exact)
    # First order: a lower bound (Jensen), an error of the square of the spread; the second
    # order leaves the cube. With both in the same place, halving must show it.
    assert errors["anchor", 0.5] < errors["anchor", 0.25] < 0
    assert errors["anchor", 0.5] / errors["anchor", 0.25] > 2.5
    assert abs(errors["meta2", 0.5]) < abs(errors["anchor", 0.5]) / 4
    assert abs(errors["meta2", 0.25]) < abs(errors["anchor", 0.25]) / 4


def test_clusters_of_one_member_are_exact():
    z = torch.randn(9, 5, dtype=torch.float64)
    exact = exact_negatives(F.normalize(z, dim=1), 0.7).log().mean()
    for kind in ("anchor", "meta2"):
        loss = PamCLoss(0.7, kind)
        parts = loss(z, NO_EDGES, assign=torch.arange(9), return_parts=True)
        torch.testing.assert_close(parts.negative, exact)


def test_taylor_is_exact_to_second_order():
    u = F.normalize(torch.randn(50, 5, dtype=torch.float64), dim=1)
    for tau in (0.4, 0.2, 0.1):
        negative = PamCLoss(tau, "taylor2")(u, NO_EDGES, return_parts=True).negative
        gap = float(negative - exact_negatives(u, tau).log().mean())
        # Lagrange's remainder of e^(tau s), |s| <= 1; a first-order series misses it.
        assert abs(gap) <= tau**3 / 6 * math.exp(2 * tau)
        first = (len(u) + tau * (u @ u.sum(0) - 1)).log().mean()
        assert abs(float(first - exact_negatives(u, tau).log().mean())) > abs(gap)


def test_sampled_is_unbiased_and_a_function_of_seed_and_step():
    z = torch.randn(300, 5, dtype=torch.float64)
    u = F.normalize(z, dim=1)
    exact = exact_negatives(u, 0.5)
    from graphlab.models import pamc_negatives

    draws = [
        pamc_negatives.sampled(
            u, u, 300, 0.5, pamc_negatives.draw(0, step, 64, 300, u.device)
        )
        for step in range(400)
    ]
    mean, deviation = torch.stack(draws).mean(0), torch.stack(draws).std(0) / 20
    # 300 means; each is beyond 5 deviations with probability 6e-7.
    assert bool(((mean - exact).abs() < 5 * deviation).all())
    first, again = PamCLoss(0.5, "sampled"), PamCLoss(0.5, "sampled")
    values = [float(first(z, NO_EDGES)) for _ in range(2)]
    assert values == [float(again(z, NO_EDGES)) for _ in range(2)]
    assert values[0] != values[1]


@pytest.mark.parametrize("kind", ["anchor", "meta2", "taylor2", "sampled", "full"])
def test_positives_can_be_left_out(data, kind):
    graph, z, assign = data
    options = {"num_samples": 4000} if kind == "sampled" else {}
    u = F.normalize(z, dim=1)
    cosine = (u @ u.T).fill_diagonal_(0)
    each = torch.exp(0.3 * cosine)
    source, target = graph.edge_index
    plain = torch.zeros(60, dtype=z.dtype).index_add_(0, target, each[target, source])
    exact = (each.sum(1) - plain).log().mean()
    loss = PamCLoss(0.3, kind, exclude_positives=True, **options)
    got = loss(z, graph, assign=assign, return_parts=True).negative
    tolerance = 1e-9 if kind == "full" else 0.05
    torch.testing.assert_close(got, exact, rtol=0, atol=tolerance)


def test_a_callable_gives_the_negatives(data):
    graph, z, assign = data
    seen = []

    def exact(anchors, rows, clusters, tau):
        seen.append(clusters)
        return exact_negatives(rows, tau)

    ours = PamCLoss(0.5, exact)(z, graph, assign=assign)
    assert isinstance(seen[0], Clusters)
    torch.testing.assert_close(ours, PamCLoss(0.5, "full")(z, graph))
    with pytest.raises(ValueError, match="sum for each of 60 anchors, got 3"):
        PamCLoss(0.5, lambda *_: torch.ones(3))(z, graph)


@pytest.mark.parametrize("kind", ["meta", "anchor", "meta2"])
@pytest.mark.parametrize("compat", [None, "reference"])
def test_empty_clusters_and_zero_vectors_never_give_nan(data, kind, compat):
    if compat is not None and kind != "meta":
        return
    graph, z, _ = data
    z[3] = 0
    z.requires_grad_()
    loss = PamCLoss(0.5, kind, compat)(
        z, graph, assign=torch.zeros(60, dtype=torch.int64), k=5
    )
    loss.backward()
    assert loss.isfinite()
    assert z.grad.isfinite().all()


@pytest.mark.parametrize("kind", ["meta", "anchor", "meta2", "taylor2", "full"])
def test_gradients(kind):
    generator = torch.Generator().manual_seed(3)
    z = torch.randn(8, 3, dtype=torch.float64, generator=generator).requires_grad_()
    edges = torch.randint(8, (2, 20), generator=generator)
    weight = torch.rand(20, dtype=torch.float64, generator=generator).requires_grad_()
    assign = torch.rand(8, 3, dtype=torch.float64, generator=generator).softmax(1)
    loss = PamCLoss(0.6, kind)
    assert torch.autograd.gradcheck(lambda z, w: loss(z, edges, w, assign), (z, weight))


@pytest.mark.parametrize("kind", ["meta", "anchor", "meta2"])
def test_hard_assignments_are_soft_ones_with_one_share(data, kind):
    graph, z, assign = data
    soft = F.one_hot(assign, 4).to(z.dtype)
    loss = PamCLoss(0.5, kind)
    torch.testing.assert_close(
        loss(z, graph, assign=soft), loss(z, graph, assign=assign)
    )


def test_without_assignments_prototypes_find_the_clusters():
    z, assign = tight_clusters(0.05)
    loss = PamCLoss(0.5, "anchor", seed=1)
    for _ in range(3):
        value = loss(z, NO_EDGES, k=4)
    found = loss.tracker.assign(F.normalize(z, dim=1), 4)
    pairs = {(int(a), int(b)) for a, b in zip(assign, found, strict=True)}
    assert len(pairs) == 4
    torch.testing.assert_close(value, loss(z, NO_EDGES, assign=found))
    with pytest.raises(ValueError, match="`k` must be given without `assign`"):
        loss(z, NO_EDGES)


def test_running_statistics_come_to_those_of_all_nodes():
    z, assign = tight_clusters(0.3)
    exact = PamCLoss(0.5, "anchor")(z, NO_EDGES, assign=assign, return_parts=True)
    running = PamCLoss(0.5, "anchor", momentum=0.95)
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        ids = torch.randperm(400, generator=generator)[:40]
        parts = running(
            z[ids], NO_EDGES, assign=assign[ids], k=4, num_nodes=400, return_parts=True
        )
    torch.testing.assert_close(
        parts.clusters.mean, exact.clusters.mean, rtol=0, atol=0.06
    )
    assert abs(float(parts.clusters.share.sum()) - 1) < 1e-9
    saved = running.state_dict()
    assert saved["tracker._running"].numel() > 0
    running.eval()
    running(z[:40], NO_EDGES, assign=assign[:40], k=4)
    assert torch.equal(
        running.state_dict()["tracker._running"], saved["tracker._running"]
    )


def test_anchors_of_a_batch_and_a_memory_of_rows(data):
    graph, z, assign = data
    graph = graph.without_self_loops()
    whole = PamCLoss(0.5, "anchor")(z, graph, assign=assign, return_parts=True)
    ptr, idx, _ = graph.csc()
    u = F.normalize(z, dim=1)
    source, target = graph.edge_index
    sums = torch.zeros(60, dtype=z.dtype)
    sums.index_add_(0, target, torch.exp(0.5 * (u[source] * u[target]).sum(1)))
    part = PamCLoss(0.5, "anchor")(
        z, graph.edge_index, assign=assign, anchors=20, return_parts=True
    )
    torch.testing.assert_close(part.positive, sums[:20].log().mean())
    memory = PamCLoss(0.5, "anchor")(
        z, Positives(ptr, idx, None, None), assign=assign, rows=z, return_parts=True
    )
    torch.testing.assert_close(memory.positive, whole.positive)


def test_a_graph_and_its_edges_give_the_same(data):
    graph, z, assign = data
    w = influence(graph, 2)
    loss = PamCLoss(0.5, "anchor")
    by_graph = loss(z, w, assign=assign)
    order = torch.randperm(w.num_edges)
    by_edges = loss(z, w.edge_index[:, order], w.edge_weight[order].double(), assign)
    torch.testing.assert_close(by_graph, by_edges)


def test_anchors_without_positives_do_not_count():
    z = torch.randn(4, 3)
    edges = torch.tensor([[0, 1], [1, 0]])
    parts = PamCLoss(0.5, "taylor2")(z, edges, return_parts=True)
    cosine = F.cosine_similarity(z[:1], z[1:2])[0]
    torch.testing.assert_close(parts.positive, 0.5 * cosine)
    assert math.isfinite(float(PamCLoss(0.5, "taylor2")(z, NO_EDGES)))


Z, EDGES = torch.eye(3), torch.tensor([[0, 1], [1, 2]])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        ({"tau": 0}, "`tau` must be a positive number, got 0"),
        ({"negatives": "mta"}, "`negatives` must be one of 'meta', .*got 'mta'"),
        ({"compat": "paper"}, "`compat` must be one of 'reference', got 'paper'"),
        ({"negatives": "anchor", "compat": "reference"}, "be 'meta' or 'full' with"),
        ({"exclude_positives": True}, "must be False with negatives='meta'"),
        ({"momentum": 1.0}, r"`momentum` must be in \[0, 1\), got 1.0"),
    ],
)
def test_settings_that_cannot_be(make, message):
    with pytest.raises(ValueError, match=message):
        PamCLoss(**make)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        ({"z": [1]}, TypeError, "`z` must be a tensor"),
        ({"edge_index": EDGES[0]}, ValueError, r"`edge_index` must be \[2, E\]"),
        ({"edge_weight": torch.ones(3)}, ValueError, "each of 2 edges, got 3"),
        ({"edge_index": Graph(EDGES, 4)}, ValueError, "3 rows of `z` as nodes, got 4"),
        ({"edge_index": EDGES + 1}, IndexError, r"in \[0, 3\), got 3"),
        ({"assign": torch.tensor([0, 1])}, ValueError, r"be \[3\] clusters or"),
        ({"assign": torch.tensor([0, 1, 2]), "k": 2}, IndexError, r"in \[0, 2\)"),
        ({"assign": torch.ones(3, 2), "k": 3}, ValueError, "3 columns, .*got 2"),
        ({"anchors": 4}, ValueError, r"`anchors` must be in \[1, 3\], got 4"),
    ],
)
def test_calls_that_cannot_be(call, error, message):
    given = {"z": Z, "edge_index": EDGES, "assign": torch.tensor([0, 1, 1])} | call
    with pytest.raises(error, match=message):
        PamCLoss()(**given)
