from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F

from graphlab import datasets
from graphlab.evaluate import clustering_scores
from graphlab.graph import Graph
from graphlab.models import PamCGC
from graphlab.models.autoencoder import AutoEncoder, dense_rows, pretrain
from graphlab.models.cluster_baselines import kmeans, propagated_kmeans, spectral
from graphlab.models.pamc_presets import PRESETS
from graphlab.models.pamc_training import student_t, target
from graphlab.models.sparse import features

SMALL = {"hidden": (16,), "dim": 4, "pretrain_epochs": 8, "epochs": 6}


@pytest.fixture(scope="module")
def planted():
    return datasets.generate(
        "sbm",
        num_nodes=240,
        num_edges=2400,
        num_features=12,
        num_classes=3,
        snr=3.0,
        seed=1,
    )


def test_a_seed_repeats_to_the_bit_and_leaves_generators_alone(planted):
    before = torch.random.get_rng_state()
    first = PamCGC(**SMALL, seed=3).fit(planted.x, planted.graph, 3)
    again = PamCGC(**SMALL, seed=3).fit(planted.x, planted.graph, 3)
    other = PamCGC(**SMALL, seed=4).fit(planted.x, planted.graph, 3)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(first.embedding_, again.embedding_)
    assert torch.equal(first.labels_, again.labels_)
    assert not torch.equal(first.embedding_, other.embedding_)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"compat": "reference"},
        {"compat": "reference", "negatives": "full"},
        {"negatives": "anchor", "smooth": 1},
        {"negatives": "taylor2", "topk": None},
        {"reconstruction": 0.1},
        {"batch_size": 64, "negatives": "anchor", "smooth": 2},
        {"batch_size": 64, "negatives": "meta", "beta": 1.0},
    ],
    ids=str,
)
def test_finds_planted_clusters(planted, changes):
    model = PamCGC(**{**SMALL, **changes}).fit(planted.x, planted.graph, 3)
    # Codes that are not averaged over neighbours have only noisy features to go by.
    least = 0.85 if changes.get("smooth") else 0.45
    assert clustering_scores(planted.y, model.labels_)["accuracy"] > least
    assert model.labels_.dtype == torch.int64
    assert model.embedding_.shape == (240, 4)
    torch.testing.assert_close(model.proba_.sum(1), torch.ones(240))
    assert torch.equal(model.proba_.argmax(1), model.labels_)
    assert len(model.history_) == 7
    assert set(model.seconds_) == {"pretrain", "prepare", "train"}


def test_the_chosen_epoch_has_the_largest_modularity_and_no_class_is_seen(planted):
    heard = []
    model = PamCGC(**SMALL).fit(
        planted.x,
        planted.graph,
        3,
        on_epoch_end=lambda epoch, z, q: heard.append((epoch, q.argmax(1))),
    )
    values = [line["modularity"] for line in model.history_]
    assert model.epoch_ == values.index(max(values))
    assert [epoch for epoch, _ in heard] == list(range(7))
    assert torch.equal(heard[model.epoch_][1], model.labels_)
    assert torch.equal(heard[-1][1], model.proba_.argmax(1)) or model.epoch_ < 6
    last = PamCGC(**SMALL, stop="last").fit(planted.x, planted.graph, 3)
    assert last.epoch_ == 6
    early = PamCGC(**{**SMALL, "epochs": 200}, patience=2)
    early.fit(planted.x, planted.graph, 3)
    assert len(early.history_) < 201
    stable = PamCGC(**{**SMALL, "epochs": 200}, stop="stable", lr=1e-6)
    assert len(stable.fit(planted.x, planted.graph, 3).history_) == 6


def test_a_given_autoencoder_is_copied_and_shared(planted):
    net = PamCGC(**SMALL).pretrain(planted.x)
    before = [p.clone() for p in net.parameters()]
    given = PamCGC(**SMALL).fit(planted.x, planted.graph, 3, autoencoder=net)
    alone = PamCGC(**SMALL).fit(planted.x, planted.graph, 3)
    assert all(map(torch.equal, before, net.parameters()))
    assert torch.equal(given.embedding_, alone.embedding_)


def test_sparse_features_give_what_dense_ones_give(planted):
    x = planted.x * (planted.x > 0.5)
    net = PamCGC(**SMALL).pretrain(x)
    heard = []
    for given in (x, x.to_sparse()):
        PamCGC(**SMALL).fit(
            given,
            planted.graph,
            3,
            autoencoder=net,
            on_epoch_end=lambda epoch, z, q: heard.append((z, q)),
        )
    # Before the first step and after it; later steps of Adam magnify rounding.
    for first, second in zip(heard[:2], heard[7:9], strict=True):
        torch.testing.assert_close(first, second, atol=1e-4, rtol=1e-4)
    rows = features(x.to_sparse())
    ids = torch.tensor([5, 0, 5])
    assert torch.equal(dense_rows(rows, ids), x[ids])
    assert torch.equal(rows.to_dense(), x)


def test_pretraining_lowers_the_error(planted):
    net = AutoEncoder(12, (16,), 4)
    seen = []
    pretrain(net, planted.x, epochs=6, on_epoch=lambda epoch, mse: seen.append(mse))
    assert len(seen) == 6
    assert seen[-1] < seen[0]


def test_student_t_and_its_target_are_the_equations():
    generator = torch.Generator().manual_seed(0)
    z, mu = (
        torch.randn(5, 3, generator=generator),
        torch.randn(2, 3, generator=generator),
    )
    q = torch.empty(5, 2)
    for i in range(5):
        for k in range(2):
            q[i, k] = 1 / (1 + (z[i] - mu[k]).square().sum())
    q /= q.sum(1, keepdim=True)
    torch.testing.assert_close(student_t(z, mu), q)
    torch.testing.assert_close(student_t(3 * z, 3 * mu, 9.0), q)
    p = q**2 / q.sum(0)
    torch.testing.assert_close(target(q), p / p.sum(1, keepdim=True))


def test_none_means_the_release_with_compat_and_ours_without():
    ours, release = PamCGC(), PamCGC(compat="reference")
    assert (ours.negatives, ours.smooth, ours.readout) == ("meta2", 1, 1)
    assert (ours.scale, ours.epochs) == (0.3, 100)
    assert (release.negatives, release.smooth, release.readout) == ("meta", 0, 0)
    assert (release.scale, release.epochs) == ("unit", 200)


@pytest.mark.parametrize("scale", [0.3, "unit"])
def test_the_kernel_follows_the_spread_of_the_codes(planted, scale):
    net = AutoEncoder(12, (16,), 4)
    tight = copy.deepcopy(net)
    with torch.no_grad():
        for parameter in (tight.encoder[-1].weight, tight.encoder[-1].bias):
            parameter.mul_(0.01)
    first = []
    for start in (net, tight):
        model = PamCGC(**SMALL | {"scale": scale, "epochs": 1})
        model.fit(
            planted.x,
            planted.graph,
            3,
            autoencoder=start,
            on_epoch_end=lambda epoch, z, q: first.append(q) if epoch == 0 else None,
        )
    assert torch.allclose(*first, atol=1e-3) == (scale != "unit")


def test_presets_are_those_of_the_release():
    model = PamCGC.preset("citeseer", epochs=3)
    settings = model.alpha, model.beta, model.order, model.tau, model.lr, model.epochs
    assert settings == (2.0, 2.5, 3, 0.5, 1e-3, 3)
    scgc = PamCGC.preset("scgc_citeseer")
    assert (scgc.negatives, scgc.compat, scgc.lr) == ("full", "reference", 1e-4)
    for name in PRESETS:
        PamCGC.preset(name)
    with pytest.raises(ValueError, match="`name` must be one of 'usps'"):
        PamCGC.preset("cora")


def test_baselines(planted):
    plain = clustering_scores(planted.y, kmeans(planted.x, 3))
    averaged = propagated_kmeans(planted.x, planted.graph, 3)
    assert clustering_scores(planted.y, averaged)["nmi"] > plain["nmi"]
    labels = spectral(planted.graph, 3)
    assert clustering_scores(planted.y, labels)["accuracy"] > 0.8
    assert torch.equal(labels, spectral(planted.graph, 3))
    # Isolated nodes and several components are no obstacle.
    edges = torch.tensor([[0, 1, 3, 4], [1, 0, 4, 3]])
    assert spectral(Graph(edges, 6), 2).shape == (6,)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        ({"epochs": 0}, "`epochs` must be at least 1, got 0"),
        ({"stop": "best"}, "'modularity', 'stable', 'last', got 'best'"),
        ({"batch_size": 8, "compat": "reference"}, "`batch_size` must be None with"),
        ({"negatives": "al"}, "`negatives` must be one of"),
        ({"readout": -1}, "`readout` must be at least 0"),
        ({"scale": 0}, "`scale` must be 'unit' or above 0, got 0"),
        ({"scale": "auto"}, "`scale` must be 'unit' or above 0, got auto"),
    ],
)
def test_settings_that_cannot_be(make, message):
    with pytest.raises(ValueError, match=message):
        PamCGC(**make)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        ({"graph": [1]}, TypeError, "`graph` must be a Graph, got list"),
        ({"x": torch.ones(3, 2)}, ValueError, "row for each of 240 nodes, got 3"),
        ({"n_clusters": 0}, ValueError, "`n_clusters` must be at least 1"),
        ({"n_clusters": 241}, ValueError, "at most the 240 nodes, got 241"),
        ({"x": torch.full((240, 2), torch.nan)}, ValueError, "`x` must be finite"),
    ],
)
def test_calls_that_cannot_be(planted, call, error, message):
    given = {"x": planted.x, "graph": planted.graph, "n_clusters": 3} | call
    with pytest.raises(error, match=message):
        PamCGC(**SMALL).fit(**given)


def test_padding_never_shows(planted):
    # 4 columns are padded to 16: codes of any width give the same loss as written down.
    from graphlab.models import PamCLoss

    z = torch.randn(240, 5)
    source, target_ = planted.graph.edge_index
    cosine = F.cosine_similarity(z[source], z[target_])
    sums = torch.zeros(240).index_add_(0, target_, torch.exp(0.5 * cosine))
    parts = PamCLoss(0.5, "taylor2")(z, planted.graph, return_parts=True)
    degree = planted.graph.in_degree()
    torch.testing.assert_close(parts.positive, sums[degree > 0].log().mean())
