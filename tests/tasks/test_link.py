from __future__ import annotations

import functools
import json

import pytest
import torch

import graphlab as gl
from graphlab.tasks import Callback, ConfigError, LinkResult, link
from graphlab.tasks.link_scoring import candidates
from graphlab.tasks.link_training import PairBatches
from tests.tasks.test_resume import assert_equal_runs


@pytest.fixture(scope="module")
def data():
    d = gl.datasets.generate(
        "sbm", num_nodes=150, num_edges=700, num_features=8, seed=0
    )
    d = d.to_undirected()
    d.meta["name"] = "toy"
    return d


def model(head="ncn", **more):
    settings = {"hidden_channels": 8, "dropout": 0.1, "head_dropout": 0.1, **more}
    return functools.partial(gl.models.link_model, head=head, **settings)


SPLIT = gl.datasets.split_links_ncn
FAST = {"epochs": 3, "batch_size": 100, "metric": "hits@20", "lr": 0.01}


@pytest.mark.parametrize("head", ["gae", "ncn", "ncnc", "hadamard"])
def test_learns_and_reports(data, head):
    result = link.fit(data, model(head), split=SPLIT, seeds=[0, 3], **FAST)
    assert result.metric == "hits@20"
    assert result.seeds == (0, 3)
    assert len(result.test.values) == 2
    assert set(result.baselines) == {*gl.evaluate.heuristics.HEURISTICS, "cosine"}
    assert result.stamp.split == "ncn-70/10/20, a new one for each seed"
    assert result.stamp.dataset == "toy"
    found = result.to_json()
    assert found["test"]["std"] == pytest.approx(result.test.std)
    pairs = torch.tensor([[0, 1], [5, 9]])
    chance = result.predict(SPLIT(data, 0), pairs)
    assert chance.shape == (2,)
    assert ((chance > 0) & (chance < 1)).all()


def test_baselines_are_scored_on_the_same_pairs(data):
    d = SPLIT(data, 0)
    result = link.fit(
        d, model(), seeds=[0], baselines=["common_neighbors", "cosine"], **FAST
    )
    test = d.edge_splits["test"]
    evaluator = gl.evaluate.LinkEvaluator("hits@20")
    cn = gl.evaluate.heuristics.common_neighbors
    expected = evaluator.score(cn(d.graph, test["edge"]), cn(d.graph, test["edge_neg"]))
    assert result.baselines["common_neighbors"].values == (expected,)
    assert set(result.baselines) == {"common_neighbors", "cosine"}
    quiet = link.fit(d, model(), seeds=[0], baselines="none", **FAST)
    assert quiet.baselines == {}
    assert quiet.test.values == result.test.values


class Stop(Exception):
    pass


def test_a_stopped_run_continues_to_the_same_bits(data, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    arguments = {"split": SPLIT, "seeds": [0, 1], "baselines": "none", **FAST}
    expected = link.fit(data, model("ncnc"), run_dir=whole, **arguments)

    class Dies(Callback):
        def on_epoch_end(self, seed, record):
            if (seed, record["epoch"]) == (1, 1):
                raise Stop

    with pytest.raises(Stop):
        link.fit(
            data,
            model("ncnc"),
            run_dir=broken,
            callbacks=[Dies()],
            checkpoint_batches=2,
            **arguments,
        )
    result = link.fit(data, model("ncnc"), run_dir=broken, **arguments)
    assert result.test.values == expected.test.values
    assert_equal_runs(whole, broken)
    again = LinkResult.load(whole)
    assert again.test.values == expected.test.values
    pairs = torch.tensor([[0], [5]])
    d = SPLIT(data, 1)
    assert torch.equal(
        again.predict(d, pairs, seed=1), expected.predict(d, pairs, seed=1)
    )
    with pytest.raises(ValueError, match=r"link task; use gl\.tasks\.LinkResult"):
        gl.tasks.Result.load(whole)
    with pytest.raises(ValueError, match=r"link\.fit: `run_dir` must hold a run"):
        link.fit(data, model("ncnc"), run_dir=whole, **{**arguments, "lr": 0.5})


def test_an_epoch_is_a_function_of_its_number(data):
    d = SPLIT(data, 0)
    pos = d.edge_splits["train"]["edge"]

    def batches(epoch, skip=0, kind="pairs"):
        made = PairBatches(d.graph, pos, kind, 100, 4, torch.device("cpu"))
        assert made.length == pos.shape[1] // 100
        return list(made.batches(epoch, skip, None))

    one, two = batches(2), batches(2, skip=1)
    assert len(one) == len(two) + 1
    assert all(torch.equal(a[1], b[1]) for a, b in zip(one[1:], two, strict=True))
    assert not torch.equal(batches(3)[0][0], one[0][0])
    edges = {tuple(e) for e in d.graph.edge_index.t().tolist()}
    for _, neg in one:
        assert not edges & {tuple(p) for p in neg.t().tolist()}
    for part, neg in batches(0, kind="targets"):
        assert torch.equal(part[0], neg[0])
    small = PairBatches(d.graph, pos[:, :7], "pairs", 100, 0, torch.device("cpu"))
    assert [b[0].shape[1] for b in small.batches(0, 0, None)] == [7]


def own_negatives(d):
    parts = {"train": d.edge_splits["train"]}
    for split in ("val", "test"):
        edge = d.edge_splits[split]["edge"]
        draw = torch.randint(150, (edge.shape[1], 9), generator=torch.Generator())
        parts[split] = {
            "source_node": edge[0],
            "target_node": edge[1],
            "target_node_neg": draw,
        }
    return parts


def test_own_negatives_and_mrr(data):
    d = SPLIT(data, 0)
    d.edge_splits = own_negatives(d)
    pairs = candidates(d, "test")
    assert pairs.neg.shape == (2, pairs.pos.shape[1], 9)
    settings = {**FAST, "metric": "mrr", "negatives": "targets"}
    result = link.fit(d, model("ncn"), seeds=[0], **settings)
    blocks = link.fit(d, model("ncn"), seeds=[0], eval_batch_size=50, **settings)
    assert result.test.values == pytest.approx(blocks.test.values, abs=1e-9)
    for name, scores in result.baselines.items():
        same = blocks.baselines[name].values
        assert scores.values == pytest.approx(same, abs=1e-9), name


def test_hard_negatives_as_a_split(data):
    d = SPLIT(data, 0)
    for split in ("val", "test"):
        pos = d.edge_splits[split]["edge"]
        own = gl.evaluate.hard_negatives(d.graph, pos, d.x, number=10)
        d.edge_splits[split] = {"edge": pos, "edge_neg_own": own}
    result = link.fit(d, model(), seeds=[0], **{**FAST, "metric": "mrr"})
    assert 0 < result.test.mean < 1


def test_validation_edges_at_test_time_change_the_test_alone(data):
    d = SPLIT(data, 0)
    plain = link.fit(d, model(), seeds=[0], **FAST)
    more = link.fit(d, model(), seeds=[0], val_edges_at_test=True, **FAST)
    assert more.valid.values == plain.valid.values
    assert more.baselines["adamic_adar"] != plain.baselines["adamic_adar"]
    with pytest.raises(gl.evaluate.StampMismatchError, match="protocol"):
        _ = more.test - plain.test


def test_score_all_equals_brute_force(data):
    d = SPLIT(data, 0)
    result = link.fit(d, model("ncnc"), seeds=[0], **FAST)
    nodes, logits = result.score_all(d, topk=4, candidates="all", batch_size=500)
    blocks = result.score_all(d, topk=4, candidates="all")
    assert torch.equal(nodes, blocks[0])
    every = torch.cartesian_prod(torch.arange(150), torch.arange(150)).t()
    chance = result.predict(d, every).view(150, 150)
    i, j = d.graph.edge_index
    chance[i, j] = -1
    chance.fill_diagonal_(-1)
    best = chance.topk(4).values
    torch.testing.assert_close(logits.sigmoid(), best)
    near, scores = result.score_all(d, topk=3, sources=torch.tensor([7, 2]))
    counts = gl.graph.common_neighbors(
        d.graph, torch.stack([torch.tensor([7, 7, 7, 2, 2, 2]), near.flatten()])
    )
    assert (counts > 0).all()
    assert (scores.diff() <= 0).all()
    ring = torch.arange(6)
    lonely = gl.Dataset(
        gl.Graph(torch.stack([ring[:3], ring[3:]]), 150).to_undirected(), x=d.x
    )
    mask = torch.zeros(150, dtype=torch.bool)
    mask[[2, 7]] = True
    for given in (mask, [2, 7]):
        chosen, _ = result.score_all(d, topk=3, sources=given)
        assert torch.equal(chosen, near.flip(0))
    with pytest.raises(TypeError, match="score_all: `sources` must be int32 or int64"):
        result.score_all(d, sources=torch.ones(2))
    nothing, low = result.score_all(lonely, topk=2, sources=torch.tensor([149]))
    assert nothing.tolist() == [[-1, -1]]
    assert low.isinf().all()


def test_any_module_with_the_signature(data):
    class Dot(torch.nn.Module):
        def __init__(self, in_channels, num_nodes):
            super().__init__()
            self.lin = torch.nn.Linear(in_channels, 4)

        def forward(self, x, graph, pairs, exclude=None):
            h = self.lin(x)
            return (h[pairs[0]] * h[pairs[1]]).sum(1)

    result = link.fit(data, Dot, split=SPLIT, seeds=[0], **FAST)
    assert result.num_parameters == 36
    assert result.config["model"]["target"].endswith("Dot")


def test_what_cannot_be_is_refused(data):
    d = SPLIT(data, 0)
    with pytest.raises(ValueError, match=r"have a link split, got none; use gl"):
        link.fit(data, model(), seeds=[0])
    with pytest.raises(ConfigError, match="metric"):
        link.fit(d, model(), seeds=[0], metric="accuracy")
    with pytest.raises(ConfigError, match="baselines"):
        link.fit(d, model(), seeds=[0], baselines=["cn"])
    with pytest.raises(ValueError, match="name each seed once"):
        link.fit(d, model(), seeds=[0, 0])
    leaking = SPLIT(data, 0)
    leaking.graph = data.graph
    with pytest.raises(ValueError, match="hide validation and test pairs"):
        link.fit(leaking, model(), seeds=[0])
    bare = SPLIT(data, 0)
    del bare.edge_splits["val"]["edge_neg"]
    with pytest.raises(ValueError, match="have negatives in its val link split"):
        link.fit(bare, model(), seeds=[0])
    with pytest.raises(ValueError, match="at least K = 5000 negatives"):
        link.fit(d, model(), seeds=[0], metric="hits@5000", epochs=1)


def test_the_config_is_kept(data, tmp_path):
    link.fit(data, model(), split=SPLIT, seeds=[0], run_dir=tmp_path / "r", **FAST)
    config = json.loads((tmp_path / "r" / "config.json").read_text())
    assert config["task"] == "link"
    assert config["fit"]["exclude_batch"] is True
    assert config["model"]["head"] == "ncn"
    events = (tmp_path / "r" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(e)["event"] for e in events] == ["epoch"] * 3 + ["run", "done"]


def test_link_loaders_train_too(data):
    d = SPLIT(data, 0)
    pos = d.edge_splits["train"]["edge"]

    def loader(seed):
        return gl.sample.LinkNeighborLoader(
            d, [-1, -1], pos, batch_size=100, neg_sampling_ratio=1.0, seed=seed
        )

    result = link.fit(d, model("ncnc"), loader=loader, seeds=[0], **FAST)
    again = link.fit(d, model("ncnc"), loader=loader, seeds=[0], **FAST)
    assert result.test.values == again.test.values
    assert result.config["loader"] == "function"
    bare = gl.sample.LinkNeighborLoader(d, [-1], pos, batch_size=100)
    with pytest.raises(
        ValueError, match=r"give batches with `edge_label`, got one with"
    ):
        link.fit(d, model(), loader=bare, seeds=[0], **FAST)


def test_a_sampled_batch_with_all_neighbours_is_the_whole_graph(data):
    from graphlab.tasks.link_training import sampled_inputs

    d = SPLIT(data, 0)
    pos = d.edge_splits["train"]["edge"]
    loader = gl.sample.LinkNeighborLoader(
        d, [-1, -1, -1, -1], pos, batch_size=60, neg_sampling_ratio=1.0, shuffle=False
    )
    batch = next(iter(loader))
    x, graph, some, none = sampled_inputs(batch)
    made = model("ncnc", num_layers=1)(8, 150).eval()
    local = made(x, graph, torch.cat([some, none], 1), exclude=some.contiguous())
    pairs = batch.n_id[torch.cat([some, none], 1)]
    whole = made(d.x, d.graph, pairs, exclude=batch.n_id[some])
    torch.testing.assert_close(local, whole, atol=1e-5, rtol=1e-4)
