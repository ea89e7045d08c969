"""LAGNN: pairs, generator, controls, wrappers, consistency, selection."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import graphlab as gl
from graphlab import Graph
from graphlab.datasets import SparseColumn
from graphlab.models import (
    GCN,
    GRAND,
    ConditionalMeanAugmenter,
    LAAverage,
    LAConcat,
    LocalAugmenter,
    consistency_loss,
    layerwise,
)
from graphlab.models.lagnn import add_augmentation
from graphlab.models.lagnn_augmenter import PosteriorCollapseWarning
from graphlab.models.lagnn_controls import NeighborMean, SameFeatures
from graphlab.models.lagnn_pairs import PairSampler
from graphlab.models.lagnn_selection import (
    Receptive,
    _gaussian,
    bald,
    reference_score,
    selector,
)
from tests.tasks.test_resume import assert_equal_runs


@pytest.fixture
def graph() -> Graph:
    draws = np.random.default_rng(0)
    return Graph(draws.integers(0, 15, (2, 60)), num_nodes=16)


@pytest.fixture
def x() -> Tensor:
    return torch.rand(16, 6)


# ---------------------------------------------------------------- pairs


def test_slots_are_drawn_with_their_multiplicity(graph: Graph) -> None:
    pairs = PairSampler(graph, seed=1)
    assert pairs.num_pairs == graph.num_edges
    source, target = pairs.draw(0, 60_000)
    n = graph.num_nodes
    expected = torch.bincount(graph.edge_index[0] * n + graph.edge_index[1])
    found = torch.bincount(source * n + target, minlength=len(expected))
    assert bool((found[expected == 0] == 0).all())
    mean = 60_000 * expected[expected > 0] / graph.num_edges
    # Chi-squared with k - 1 degrees: 8 deviations above its mean, about one in 10^13.
    statistic = float(((found[expected > 0] - mean) ** 2 / mean).sum())
    k = len(mean)
    assert statistic < k + 8 * (2 * k) ** 0.5


def test_nodes_are_drawn_alike(graph: Graph) -> None:
    pairs = PairSampler(graph, "node", seed=1)
    _, target = pairs.draw(0, 60_000)
    held = graph.in_degree() > 0
    share = torch.bincount(target, minlength=16) / 60_000
    k = int(held.sum())
    assert bool((share[~held] == 0).all())
    assert float((share[held] - 1 / k).abs().max()) < 8 * (1 / k / 60_000) ** 0.5


def test_draws_are_a_function_of_seed_and_step(graph: Graph) -> None:
    first, again = PairSampler(graph, seed=3), PairSampler(graph, seed=3)
    for a, b in zip(first.draw(5, 10), again.draw(5, 10), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(first.draw(6, 10)[0], first.draw(5, 10)[0])


def test_inductive_pairs_stay_inside(graph: Graph) -> None:
    nodes = torch.arange(8)
    pairs = PairSampler(graph, nodes=nodes)
    source, target = pairs.draw(0, 500)
    assert int(source.max()) < 8
    assert int(target.max()) < 8
    inside = (graph.edge_index < 8).all(0)
    assert pairs.num_pairs == int(inside.sum())


def test_no_pair_is_an_error() -> None:
    with pytest.raises(ValueError, match="must hold an edge between the nodes"):
        PairSampler(Graph(torch.tensor([[0], [1]]), 3), nodes=torch.tensor([0, 2]))


# ---------------------------------------------------------------- generator


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_elbo_is_its_equation(likelihood: str, x: Tensor) -> None:
    a = LocalAugmenter(6, 3, 5, likelihood).double()
    u, v, noise = x[:8].double(), x[8:].double(), torch.randn(8, 3).double()
    reconstruction, kl = a.elbo(u, v, noise)
    w = {k: t.detach().numpy() for k, t in a.state_dict().items()}
    pair = np.concatenate([u, v], 1)
    h = np.maximum(pair @ w["encoder.0.weight"].T + w["encoder.0.bias"], 0)
    mean = h @ w["to_mean.weight"].T + w["to_mean.bias"]
    log_variance = h @ w["to_log_variance.weight"].T + w["to_log_variance.bias"]
    z = mean + noise.numpy() * np.exp(log_variance / 2)
    inner = np.concatenate([z, v], 1) @ w["decoder.0.weight"].T + w["decoder.0.bias"]
    out = np.maximum(inner, 0) @ w["decoder.2.weight"].T + w["decoder.2.bias"]
    if likelihood == "bernoulli":
        p = 1 / (1 + np.exp(-out))
        expected = -(u.numpy() * np.log(p) + (1 - u.numpy()) * np.log(1 - p)).sum(1)
    else:
        expected = ((out - u.numpy()) ** 2 + np.log(2 * np.pi)).sum(1) / 2
    np.testing.assert_allclose(reconstruction.detach(), expected)
    divergence = (mean**2 + np.exp(log_variance) - 1 - log_variance) / 2
    np.testing.assert_allclose(kl.detach(), divergence)


def two_kinds(num: int = 400) -> tuple[Tensor, Graph]:
    """Neighbours of a node are of either kind, whatever the node: only z can tell."""
    draws = np.random.default_rng(1)
    x = torch.zeros(num, 8)
    x[: num // 2, :4] = 1
    x[num // 2 :, 4:] = 1
    return x, Graph(draws.integers(0, num, (2, 6 * num)), num_nodes=num)


def test_free_bits_keep_z_in_use() -> None:
    x, g = two_kinds()
    a = LocalAugmenter(8, 2, 16, kl="free_bits")
    history = a.fit(x, g, steps=400, lr=0.01, every=50, early_stop=False)
    assert not history[-1].collapsed
    assert history[-1].share_from_z > 0.5
    assert history[-1].elbo > history[0].elbo
    drawn = a.sample(x[:1], s=64)
    assert float(drawn.std(0).max()) > 0.3
    torch.testing.assert_close(a.sample(x, mode="mean"), a.sample(x, mode="mean"))


def test_a_collapsed_posterior_is_told() -> None:
    x, g = two_kinds(60)
    a = LocalAugmenter(8, 2, 8, kl=100.0)
    with pytest.warns(PosteriorCollapseWarning, match="deterministic regressor"):
        history = a.fit(x, g, steps=300, lr=0.01, every=100, early_stop=False)
    assert history[-1].collapsed


def test_fit_repeats_and_files_keep_it(tmp_path: Path, graph: Graph, x: Tensor) -> None:
    made = []
    for _ in range(2):
        a = LocalAugmenter(6, 2, 8, kl="free_bits")
        a.fit(x, graph, steps=20, every=10, warn=False)
        made.append(a)
    draws = [a.sample(x, generator=torch.Generator().manual_seed(0)) for a in made]
    assert torch.equal(*draws)
    made[0].save(tmp_path / "augmenter")
    held = LocalAugmenter.load(tmp_path / "augmenter")
    again = held.sample(x, generator=torch.Generator().manual_seed(0))
    assert torch.equal(again, draws[0])
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".json", ".safetensors"]


def test_annealing_weighs_the_kl_term_by_twice_the_share_of_steps(x: Tensor) -> None:
    a, rows = LocalAugmenter(6, 3, 5).double(), (x[:8].double(), x[8:].double())
    assert a.kl == "anneal"
    free = LocalAugmenter(6, 3, 5, kl=0.0).double()
    free.load_state_dict(a.state_dict())
    expected = {1: 0.02, 25: 0.5, 49: 0.98, 50: 1.0, 51: 1.0, 100: 1.0}
    for step, weight in expected.items():
        # The KL term knows no noise; the same step has the same noise.
        _, kl = a.elbo(*rows, torch.zeros(8, 3).double())
        term = a._step(rows, step, 100, 0) - free._step(rows, step, 100, 0)
        torch.testing.assert_close(term, weight * kl.sum(1).mean())


def test_active_units_are_those_whose_mean_varies(x: Tensor) -> None:
    a = LocalAugmenter(6, 4, 6, "gaussian")
    with torch.no_grad():
        a.encoder[0].weight.copy_(torch.eye(6, 12))  # h is the neighbour's features
        a.encoder[0].bias.zero_()
        a.to_mean.weight.zero_()
        a.to_mean.bias.copy_(torch.tensor([0.0, 0.0, 3.0, 0.0]))
        # Deviations over pairs: above and below 0.1, the threshold's root; none; above.
        a.to_mean.weight[0, 0], a.to_mean.weight[1, 1] = 0.11, 0.09
        a.to_mean.weight[3, 2] = 5.0
        u = torch.zeros(400, 6)
        u[:, :3] = 1 + torch.randn(400, 3).clamp(-0.9, 0.9)
        u[:, :3] /= u[:, :3].std(0)
    found = a.evidence(u, torch.rand(400, 6))
    assert found.active_units == 2
    assert len(found.kl_per_unit) == 4
    assert found.kl == pytest.approx(sum(found.kl_per_unit))
    with torch.no_grad():
        a.to_mean.weight.zero_()
    still = a.evidence(u, torch.rand(400, 6))
    assert still.active_units == 0
    assert still.collapsed


def test_inductive_fit_ignores_other_nodes(graph: Graph, x: Tensor) -> None:
    mask = torch.arange(16) < 9
    other = x.clone()
    other[~mask] = 7.0
    fits = []
    for rows in (x, other):
        a = LocalAugmenter(6, 2, 8, kl="free_bits")
        a.fit(rows, graph, steps=20, every=10, nodes=mask, warn=False)
        fits.append(a.decoder[0].weight)
    assert torch.equal(*fits)


def test_generator_messages(graph: Graph, x: Tensor) -> None:
    with pytest.raises(
        ValueError, match=r"lie in \[0, 1\] with likelihood='bernoulli'"
    ):
        LocalAugmenter(6, likelihood="bernoulli").fit(x - 1, graph, steps=1)
    with pytest.raises(ValueError, match="`kl` must be one of 'anneal', 'free_bits'"):
        LocalAugmenter(6, kl="beta")
    with pytest.raises(ValueError, match=r"`x` must have shape \[nodes, dim = 6\]"):
        LocalAugmenter(6).fit(x[:, :5], graph)
    a = LocalAugmenter(6)
    a.fit(x - 1, graph, steps=1, warn=False)
    assert a.likelihood == "gaussian"


def test_the_range_of_all_rows_counts() -> None:
    draws = np.random.default_rng(0)
    g = Graph(draws.integers(0, 5000, (2, 9000)), num_nodes=5000)
    for bad in (1.5, -0.1, float("nan")):
        x = torch.zeros(5000, 2)
        x[-1, 1] = bad
        said = (
            f"values from {min(bad, 0):g} to"
            if bad == bad
            else "values from nan to nan"
        )
        with pytest.raises(ValueError, match=said):
            LocalAugmenter(2, 1, 2, "bernoulli").fit(x, g, steps=1)
        auto = LocalAugmenter(2, 1, 2)
        auto._prepare("fit", x, None, 0)
        assert auto.likelihood == "gaussian"
        # Rows that are not used may be anything.
        auto = LocalAugmenter(2, 1, 2)
        auto._prepare("fit", x, torch.arange(4999), 0)
        assert auto.likelihood == "bernoulli"


# ---------------------------------------------------------------- controls


def test_conditional_mean_is_the_regression_over_all_pairs(
    graph: Graph, x: Tensor
) -> None:
    u, v = x[graph.edge_index[0]].double(), x[graph.edge_index[1]].double()
    square = v.t() @ v
    ridge = 0.1 * square.diagonal().mean() * torch.eye(6)
    weight = torch.linalg.solve(square + ridge, v.t() @ u)
    a = ConditionalMeanAugmenter(6, 0.1).fit(x, graph)
    torch.testing.assert_close(a.sample(x)[0], (x.double() @ weight).float())
    nodes = torch.arange(8)
    keep = (graph.edge_index < 8).all(0)
    inside = ConditionalMeanAugmenter(6).fit(x, graph, nodes=nodes)
    alone = Graph(graph.edge_index[:, keep], num_nodes=16)
    again = ConditionalMeanAugmenter(6).fit(x, alone)
    torch.testing.assert_close(inside.weight, again.weight)


def test_conditional_mean_files(tmp_path: Path, graph: Graph, x: Tensor) -> None:
    a = ConditionalMeanAugmenter(6).fit(x, graph)
    a.save(tmp_path / "mean")
    held = ConditionalMeanAugmenter.load(tmp_path / "mean")
    assert torch.equal(held.sample(x), a.sample(x))


def test_neighbor_mean(graph: Graph, x: Tensor) -> None:
    rows = NeighborMean().fit(x, graph).sample(x)[0]
    for v in range(16):
        sources = graph.edge_index[0, graph.edge_index[1] == v]
        expected = x[sources].mean(0) if len(sources) else torch.zeros(6)
        torch.testing.assert_close(rows[v], expected)


# ---------------------------------------------------------------- wrappers


@pytest.fixture
def augmenter(graph: Graph, x: Tensor) -> LocalAugmenter:
    a = LocalAugmenter(6, 2, 8, kl="free_bits")
    a.fit(x, graph, steps=10, every=10, warn=False)
    return a


@pytest.mark.parametrize("backbone", ["gcn", "sage", "gat", "gcnii"])
@pytest.mark.parametrize("style", [LAConcat, LAAverage])
def test_full_batch_layerwise_and_sparse_agree(
    style, backbone: str, graph: Graph, augmenter: LocalAugmenter
) -> None:
    x = torch.rand(16, 6) * (torch.rand(16, 6) < 0.5)
    heads = {"heads": 4} if backbone == "gat" else {}
    model = style(6, 3, augmenter, backbone, hidden_channels=8, num_layers=2, **heads)
    model.eval()
    whole = model(x, graph)
    torch.testing.assert_close(layerwise(model, x, graph, chunk=5), whole)
    torch.testing.assert_close(
        model(SparseColumn.from_torch(x.to_sparse()), graph), whole
    )
    model.train()
    loss = sum(v.square().sum() for v in model.views(x, graph)) + model.consistency(
        model.views(x, graph)
    )
    loss.backward()
    for name, p in model.named_parameters():
        assert p.grad is not None, name


@pytest.mark.parametrize("s", [1, 3])
def test_the_first_layers_width_is_kept(s: int) -> None:
    plain = GCN(6, 3, 16)
    model = LAConcat(6, 3, SameFeatures(), "gcn", s=s, hidden_channels=16)
    count = sum(p.numel() for p in model.parameters())
    assert count == sum(p.numel() for p in plain.parameters())
    wide = LAConcat(
        6, 3, SameFeatures(), "gcn", s=s, hidden_channels=16, split_width=False
    )
    assert wide.backbone.layers[1].lin.in_features == 16 * (s + 1)


def test_concat_names_the_argument_that_does_not_fit() -> None:
    with pytest.raises(ValueError, match="`hidden_channels` must be a multiple of s"):
        LAConcat(6, 3, SameFeatures(), s=2, hidden_channels=8)
    for split_width in (True, False):
        with pytest.raises(
            ValueError, match=r"`num_layers` must be at least 2.* got 1"
        ):
            LAConcat(
                6,
                3,
                SameFeatures(),
                num_layers=1,
                hidden_channels=8,
                split_width=split_width,
            )


def test_concat_is_its_equation(graph: Graph, x: Tensor) -> None:
    model = LAConcat(6, 3, SameFeatures(), "gcn", hidden_channels=8, dropout=0.0)
    one, two = (b.layers[0].lin.weight for b in model.branches)
    plain = GCN(6, 3, 8, dropout=0.0)
    plain.layers[0].lin.weight.data = torch.cat([one, two]).detach()
    plain.layers[1].load_state_dict(model.backbone.layers[1].state_dict())
    torch.testing.assert_close(model(x, graph), plain(x, graph))


@pytest.mark.parametrize("backbone", ["gcn", "gcnii"])
def test_generated_rows_are_normalised_as_features_are(
    backbone: str, graph: Graph, x: Tensor
) -> None:
    torch.manual_seed(0)
    raw = LAConcat(
        6,
        3,
        SameFeatures(),
        backbone,
        hidden_channels=8,
        num_layers=2,
        normalise_rows=True,
    ).eval()
    torch.manual_seed(0)
    plain = LAConcat(
        6, 3, SameFeatures(), backbone, hidden_channels=8, num_layers=2
    ).eval()
    expected = plain(torch.nn.functional.normalize(x, p=1.0, dim=1), graph)
    torch.testing.assert_close(raw(x, graph), expected)


def test_batches_decode_only_their_rows(augmenter: LocalAugmenter) -> None:
    d = gl.datasets.generate("sbm", num_nodes=300, num_edges=1200, num_features=6)
    seen = []

    class Counting:
        def sample(self, rows: Tensor, s: int = 1, **options: object) -> Tensor:
            seen.append(len(rows))
            return augmenter.sample(rows, s, **options)

    model = LAConcat(6, 10, Counting(), "sage", hidden_channels=8)
    batch = next(iter(gl.sample.NeighborLoader(d, [3, 2], batch_size=8)))
    out = model(
        batch.x, batch.edge_index, batch.num_sampled_nodes, batch.num_sampled_edges
    )
    assert len(out) == 8
    assert seen == [batch.num_nodes]
    assert add_augmentation(batch, augmenter, 2).x_aug.shape == (batch.num_nodes, 2, 6)


def test_pool_draws_once(graph: Graph, x: Tensor) -> None:
    calls = []

    class Counting(SameFeatures):
        def sample(self, rows: Tensor, s: int = 1, **options: object) -> Tensor:
            calls.append(s)
            return rows.expand(s, -1, -1)

    model = LAConcat(6, 3, Counting(), pool=5, hidden_channels=8)
    for _ in range(3):
        model(x, graph)
    assert calls == [5, 1]  # the pool, and the mean for evaluation


def test_grand_without_dropping_is_its_equation(graph: Graph, x: Tensor) -> None:
    g = graph.to_undirected()
    model = GRAND(6, 3, order=2).eval()
    a = torch.zeros(16, 16)
    a[g.edge_index[0], g.edge_index[1]] = 1
    a.fill_diagonal_(1)
    d = a.sum(1).rsqrt()
    p = d[:, None] * a * d
    h = (x + p @ x + p @ p @ x) / 3
    expected = model.layers[1](model.layers[0](h).relu())
    torch.testing.assert_close(model(x, g), expected)


def test_la_grand_doubles_the_views(graph: Graph, x: Tensor) -> None:
    assert len(GRAND(6, 3).views(x, graph)) == 4
    assert len(GRAND(6, 3, augmenter=SameFeatures()).views(x, graph)) == 8


def test_node_fit_trains_views() -> None:
    d = gl.datasets.generate("sbm", num_nodes=200, num_edges=1200, num_features=6)
    d = gl.datasets.split_random(d, train=0.5, val=0.2)
    a = ConditionalMeanAugmenter(6).fit(d.x, d.graph)

    def concat(i: int, o: int) -> LAConcat:
        return LAConcat(i, o, a, "sage", hidden_channels=16, num_views=2)

    r = gl.tasks.node.fit(d, concat, seeds=[0], epochs=25, lr=0.02)
    assert r.test.mean > 0.4

    def loader(seed: int) -> gl.sample.NeighborLoader:
        return gl.sample.NeighborLoader(
            d, [5, 5], batch_size=50, input_nodes=d.ids("train"), seed=seed
        )

    r = gl.tasks.node.fit(d, concat, seeds=[0], epochs=8, lr=0.02, loader=loader)
    assert r.test.mean > 0.4
    r = gl.tasks.node.fit(d, GRAND, seeds=[0], epochs=20, lr=0.02)
    assert r.test.mean > 0.4


class Cut(Exception):
    """Where a run ends early."""


class CutBehind(gl.tasks.Callback):
    """Ends a run behind an epoch."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_epoch_end(self, seed: int, record: dict[str, Any]) -> None:
        if record["epoch"] == self.epoch:
            raise Cut


@pytest.mark.parametrize("kind", ["every pass", "pool", "grand"])
def test_a_resumed_run_equals_an_unbroken_one(kind: str, tmp_path: Path) -> None:
    d = gl.datasets.generate("sbm", num_nodes=120, num_edges=600, num_features=6)
    d = gl.datasets.split_random(d, train=0.5, val=0.2)
    a = LocalAugmenter(6, 4, 8, "gaussian")

    def model(i: int, o: int) -> torch.nn.Module:
        if kind == "grand":
            return GRAND(i, o, 8, order=2, num_views=2, augmenter=a)
        pool = 3 if kind == "pool" else None
        return LAConcat(i, o, a, hidden_channels=8, num_views=2, pool=pool)

    arguments = {"seeds": [0], "epochs": 5, "checkpoint_seconds": 0.0}
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    gl.tasks.node.fit(d, model, run_dir=whole, **arguments)
    with pytest.raises(Cut):
        gl.tasks.node.fit(
            d, model, run_dir=broken, callbacks=[CutBehind(2)], **arguments
        )
    gl.tasks.node.fit(d, model, run_dir=broken, **arguments)
    assert_equal_runs(whole, broken)


def test_kept_draws_are_those_of_the_models_seed(graph: Graph, x: Tensor) -> None:
    a = LocalAugmenter(6, 4, 8, "gaussian")
    for make in (
        lambda: GRAND(6, 3, augmenter=a),
        lambda: LAConcat(6, 3, a, pool=2, hidden_channels=8),
    ):
        drawn = []
        for before in (0, 0, 1):
            torch.manual_seed(before)
            model = make()
            torch.manual_seed(7 + len(drawn))
            model.views(x, graph)
            drawn.append(model._kept[1])
        assert torch.equal(drawn[0], drawn[1])
        assert not torch.equal(drawn[0], drawn[2])


@pytest.mark.parametrize("kind", ["gcn", "grand"])
def test_the_augmenter_moves_along_but_is_no_part(
    kind: str, graph: Graph, x: Tensor, augmenter: LocalAugmenter
) -> None:
    if kind == "grand":
        model: torch.nn.Module = GRAND(6, 3, augmenter=augmenter)
    else:
        model = LAConcat(6, 3, augmenter, hidden_channels=8)
    own = {id(p) for p in model.parameters()} | {id(b) for b in model.buffers()}
    assert not own & {id(t) for t in augmenter.state_dict(keep_vars=True).values()}
    assert not any("augmenter" in name for name in model.state_dict())
    model.double()
    assert {p.dtype for p in augmenter.parameters()} == {torch.float64}
    views = model.views(x.double(), graph)
    assert {v.dtype for v in views} == {torch.float64}


# ---------------------------------------------------------------- losses, selection


def test_consistency_is_its_equation() -> None:
    logits = [torch.randn(5, 3) for _ in range(4)]
    p = torch.stack(logits).softmax(2)
    sharp = p.mean(0) ** 2
    sharp = sharp / sharp.sum(1, keepdim=True)
    total = ((p - sharp) ** 2).sum(2)
    torch.testing.assert_close(
        consistency_loss(logits, 0.5, 0.7), 0.7 * total.mean(1).mean()
    )
    torch.testing.assert_close(
        consistency_loss(logits, compat="paper"), total.sum(1).mean()
    )
    with pytest.raises(ValueError, match="`temperature` must be above 0"):
        consistency_loss(logits, 0.0)


def test_bald_is_at_least_zero_and_the_releases_score_at_most() -> None:
    for seed in range(20):
        p = torch.randn(7, 5, 3, generator=torch.Generator().manual_seed(seed)) * 3
        p = p.softmax(2)
        assert float(bald(p)) >= -1e-6
        assert float(reference_score(p, torch.arange(5) % 3)) <= 1e-6
    same = p[:1].expand(7, -1, -1)
    assert abs(float(bald(same))) < 1e-5


def test_gaussian_draws_have_the_moments_of_dropout() -> None:
    x, w = torch.rand(3, 400), torch.randn(4, 400)
    drawn = _gaussian(x, w, 0.5, 20_000, torch.Generator().manual_seed(0))
    keep = (torch.rand(20_000, 1, 400) >= 0.5) * 2.0
    masked = (x[:1] * keep) @ w.t()
    torch.testing.assert_close(drawn.mean(0), x @ w.t(), rtol=0, atol=0.5)
    deviation = masked[:, 0].std(0)
    torch.testing.assert_close(drawn[:, 0].std(0), deviation, rtol=0.05, atol=0.05)
    torch.testing.assert_close(
        torch.corrcoef(drawn[:, 0].t()),
        torch.corrcoef(masked[:, 0].t()),
        rtol=0,
        atol=0.05,
    )


def test_scores_equal_those_of_whole_passes() -> None:
    d = gl.datasets.generate("sbm", num_nodes=120, num_edges=480, num_features=300)
    helper = GCN(300, 10, 8)
    nodes = torch.arange(0, 120, 10)
    reach = Receptive(d.graph, nodes)
    assert len(reach.inputs) < 120
    p = reach.probabilities(helper, d.x, 800, torch.Generator().manual_seed(0))
    with torch.no_grad():
        whole = torch.stack([helper(d.x, d.graph)[nodes] for _ in range(800)])
    torch.testing.assert_close(p.mean(0), whole.softmax(2).mean(0), rtol=0, atol=0.05)
    assert abs(float(bald(p) / bald(whole.softmax(2))) - 1) < 0.15


@pytest.mark.parametrize(
    "form", [{"num_layers": 1}, {"num_layers": 3}, {"norm": "batch"}]
)
def test_a_helper_of_another_form_is_refused(
    form: dict[str, Any], graph: Graph, x: Tensor
) -> None:
    helper, nodes = GCN(6, 2, 4, **form), torch.arange(8)
    with pytest.raises(ValueError, match="`helper` must be a GCN of two layers with"):
        selector(helper, x, graph, nodes)
    with pytest.raises(ValueError, match="`helper` must be a GCN of two layers with"):
        Receptive(graph, nodes).probabilities(helper, x, 3, torch.Generator())


def test_fit_keeps_the_best_scored_generator(graph: Graph, x: Tensor) -> None:
    helper = GCN(6, 2, 4)
    y = torch.arange(16) % 2
    score = selector(helper, x, graph, torch.arange(8), y[:8], passes=10)
    a = LocalAugmenter(6, 2, 8, kl="free_bits")
    history = a.fit(
        x,
        graph,
        steps=60,
        every=10,
        score=score,
        warmup=20,
        warn=False,
        early_stop=False,
    )
    assert history[-1].score == max(e.score for e in history)
    assert min(e.step for e in history) > 20
    reference = selector(helper, x, graph, torch.arange(8), y[:8], compat="reference")
    assert reference(a) <= 1e-6
