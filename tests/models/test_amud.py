"""The diagnosis of direction: statistics against brute force, verdicts on known cases."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import graphlab as gl
from graphlab import Dataset, Graph, diagnose_direction
from graphlab.errors import BudgetError
from graphlab.models import ridge
from graphlab.models.amud_orientation import orientation
from graphlab.models.amud_patterns import _column_bytes, pattern_statistics
from graphlab.models.amud_probe import Probe, probe

MEMORY = 2**28


def digraph(n: int, m: int, seed: int = 0) -> Graph:
    return Graph(np.random.default_rng(seed).integers(0, n, (2, m)), num_nodes=n)


def dense(g: Graph) -> Tensor:
    a = torch.zeros(g.num_nodes, g.num_nodes, dtype=torch.float64)
    a[g.edge_index[0], g.edge_index[1]] = 1
    return a.fill_diagonal_(0)


# ---------------------------------------------------------------- statistics


@pytest.mark.parametrize("part", [False, True])
def test_statistics_are_those_of_the_built_patterns(part: bool) -> None:
    g = digraph(40, 200)
    ids = torch.arange(0, 40, 2) if part else torch.arange(40)
    y = torch.arange(len(ids)) % 3
    d = Dataset(g)
    found = {s.pattern: s for s in pattern_statistics(d, ids, y, 8, 0, MEMORY)}
    a = dense(g)
    built = {"A": a, "AA": a @ a, "AT": a @ a.t(), "TA": a.t() @ a}
    built["U"] = a + a.t()
    built["UU"] = built["U"] @ built["U"]
    off = ~torch.eye(len(ids), dtype=torch.bool)
    same = (y[:, None] == y)[off].double()
    for name, p in built.items():
        p = p[ids][:, ids][off]
        assert found[name].pairs == pytest.approx(float(p.sum()))
        assert found[name].alike == pytest.approx(float((p * same).sum() / p.sum()))
        expected = np.corrcoef(p.numpy(), same.numpy())[0, 1]
        # |P|^2 is estimated from 32 random directions, but for A.
        tolerance = 1e-6 if name == "A" else 0.03 + 0.3 * abs(expected)
        assert found[name].phi == pytest.approx(expected, abs=tolerance)


def test_the_null_covers_labels_that_do_not_matter() -> None:
    # 99 permutations, 40 graphs: p below 0.05 is binomial(40, 0.05); above 9 once in 10^4.
    low = 0
    for seed in range(40):
        d = Dataset(digraph(60, 240, seed))
        y = torch.from_numpy(np.random.default_rng(seed + 100).integers(0, 3, 60))
        found = pattern_statistics(d, torch.arange(60), y, 99, seed, MEMORY)
        low += found[0].p < 0.05
    assert low <= 9


@pytest.mark.parametrize("labelled", [True, False])
def test_small_memory_gives_the_same(labelled: bool) -> None:
    x = torch.randn(50, 6, generator=torch.Generator().manual_seed(0))
    d, ids = Dataset(digraph(50, 300), x=x), torch.arange(0, 50, 2)
    y = ids % 4 if labelled else None
    least = _column_bytes(50, 25) + (0 if labelled else 8 * 50 * 6)
    whole = pattern_statistics(d, ids, y, 9, 0, MEMORY)
    # One column at a time, and three, which divide neither the classes nor the signs.
    for memory in (least, least + 2 * _column_bytes(50, 25)):
        pieces = pattern_statistics(d, ids, y, 9, 0, memory)
        for a, b in zip(whole, pieces, strict=True):
            one, two = dataclasses.asdict(a), dataclasses.asdict(b)
            assert one.pop("pattern") == two.pop("pattern")
            assert one == pytest.approx(two, rel=1e-6, abs=1e-7)
    with pytest.raises(BudgetError, match=f"at least {least} bytes"):
        pattern_statistics(d, ids, y, 9, 0, least - 1)


def test_direction_flips_change_nothing_in_a() -> None:
    g = digraph(40, 150)
    flipped = Graph(g.edge_index.flip(0), num_nodes=40)
    ids, y = torch.arange(40), torch.arange(40) % 2
    one, two = (
        {
            s.pattern: s.alike
            for s in pattern_statistics(Dataset(x), ids, y, 3, 0, MEMORY)
        }
        for x in (g, flipped)
    )
    assert one["A"] == pytest.approx(two["A"])
    assert one["AT"] == pytest.approx(two["TA"])


# ---------------------------------------------------------------- orientation


def test_orientation_facts() -> None:
    g = Graph(torch.tensor([[0, 1, 1, 3, 3, 3, 2], [1, 0, 2, 2, 3, 2, 0]]), num_nodes=5)
    facts = orientation(g)
    assert (facts.num_edges, facts.self_loops, facts.parallel) == (5, 1, 1)
    assert facts.reciprocity == pytest.approx(2 / 5)
    assert facts.share_ascending == pytest.approx(2 / 5)
    assert (facts.no_source, facts.no_target) == (2, 1)
    assert facts.largest_component == pytest.approx(3 / 5)
    assert facts.acyclic is False
    assert not facts.alarm


def test_twins_have_the_same_sources_and_targets() -> None:
    # 0 and 1 point at 2 and 3; 4 points at 2 alone.
    g = Graph(torch.tensor([[0, 0, 1, 1, 4], [2, 3, 2, 3, 2]]), num_nodes=6)
    assert orientation(g).twin_share == pytest.approx(2 / 5)


def test_a_sorted_undirected_file_raises_the_alarm() -> None:
    d = gl.datasets.generate("sbm", num_nodes=200, num_edges=1200, num_features=8)
    e = d.graph.edge_index
    once = Dataset(Graph(e[:, e[0] < e[1]], num_nodes=200), x=d.x, y=d.y)
    report = diagnose_direction(once)
    assert report.orientation.alarm
    assert report.verdict == "undirected"
    assert "node numbering" in report.reasons[1]
    backwards = Dataset(Graph(e[:, e[0] > e[1]], num_nodes=200), x=d.x, y=d.y)
    assert diagnose_direction(backwards).orientation.alarm


# ---------------------------------------------------------------- verdicts


def co_citation(n: int = 600, seed: int = 0) -> Dataset:
    """Classes are told by common targets alone: noise in features, none in A itself."""
    draws = np.random.default_rng(seed)
    y = draws.integers(0, 3, n)
    # Nodes point at hubs of their class, whose own labels and features are random.
    hubs = np.arange(60)
    edges = []
    for v in range(60, n):
        for hub in draws.choice(20, 4, replace=False):
            edges.append((v, 20 * y[v] + hub))
    # Hubs point back at random nodes, so that following edges both ways mixes classes.
    for hub in hubs:
        for v in draws.choice(np.arange(60, n), 40, replace=False):
            edges.append((hub, v))
    x = draws.normal(size=(n, 12)) + 0.5 * np.eye(12)[y] * (np.arange(n) >= 60)[:, None]
    g = Graph(np.array(edges).T, num_nodes=n)
    d = Dataset(g, x=x.astype(np.float32), y=y)
    return gl.datasets.split_random(d, train=0.6, val=0.2, runs=1)


def test_where_only_co_citation_tells_the_verdict_is_directed() -> None:
    report = diagnose_direction(co_citation())
    assert report.verdict == "directed", str(report)
    assert report.direction == "directed"
    assert report.amud_score > 0.5
    best = max(report.patterns, key=lambda s: s.excess)
    assert best.pattern == "AT"


def test_an_undirected_graph_is_undirected() -> None:
    d = gl.datasets.generate("sbm", num_nodes=200, num_edges=1600, num_features=8)
    report = diagnose_direction(d)
    assert report.verdict == "undirected"
    assert "every edge has its reverse" in " ".join(report.reasons)


def test_a_graph_that_does_not_help_is_called_so() -> None:
    draws = np.random.default_rng(0)
    y = draws.integers(0, 3, 400)
    x = draws.normal(size=(400, 6)) + 2 * np.eye(6)[y]
    report = diagnose_direction(
        Dataset(digraph(400, 1600), x=x.astype(np.float32), y=y)
    )
    assert report.verdict == "unhelpful", str(report)
    assert "gains nothing from the graph" in report.reasons[-1]


@pytest.mark.parametrize("permutations", [0, 19, 20])
def test_few_permutations_decide_nothing(permutations: int) -> None:
    d = co_citation(120)
    bare = Dataset(d.graph, y=d.y)  # without features there is no probe
    report = diagnose_direction(bare, permutations=permutations)
    assert report.probe is None
    least = min([s.p for s in report.patterns if s.p is not None], default=1.0)
    assert (least < 0.05) == (permutations == 20)
    assert report.verdict == "undecided"
    said = f"{permutations} permutations cannot tell a pattern from chance: at least 20"
    assert (said in report.reasons[-1]) == (permutations < 20)


def test_test_labels_are_not_read() -> None:
    d = co_citation()
    other = d.y.clone()
    other[~d.train_mask] = (other[~d.train_mask] + 1) % 3
    changed = Dataset(d.graph, x=d.x, y=other, splits=d.splits)
    assert diagnose_direction(d).to_json() == diagnose_direction(changed).to_json()
    oracle = diagnose_direction(d, labels="all")
    assert "oracle" in oracle.reasons[0]
    assert oracle.num_labelled == d.num_nodes


def test_without_a_split_the_report_says_that_all_labels_were_read() -> None:
    d = co_citation(200)
    bare = diagnose_direction(Dataset(d.graph, x=d.x, y=d.y), permutations=2, repeats=2)
    assert bare.labels == bare.to_json()["labels"] == "all (no split)"
    assert bare.num_labelled == 200
    assert "there is no training split" in bare.reasons[0]
    split = diagnose_direction(d, permutations=2, repeats=2)
    assert split.labels == "train"
    assert not any("no training split" in reason for reason in split.reasons)
    asked = diagnose_direction(
        Dataset(d.graph, x=d.x, y=d.y), labels="all", permutations=2, repeats=2
    )
    assert asked.labels == "all"


def test_features_alone_give_a_verdict_without_labels() -> None:
    d = gl.datasets.generate("sbm", num_nodes=300, num_edges=2400, num_features=80)
    report = diagnose_direction(Dataset(d.graph, x=d.x))
    assert report.labels == "none"
    assert report.verdict == "undirected"
    assert {s.pattern for s in report.patterns} == {"A", "AA", "AT", "TA", "U", "UU"}
    directed = co_citation()
    found = diagnose_direction(Dataset(directed.graph, x=directed.x))
    assert found.probe is not None
    assert found.probe.metric == "R2"


@pytest.mark.data
def test_cora_ml_is_undirected(real_data: Path) -> None:
    d = gl.datasets.load("cora_ml", real_data)
    chosen = torch.arange(0, d.num_nodes, 4)
    d = d.with_splits({"train": chosen})
    report = diagnose_direction(d, repeats=4, permutations=4)
    assert report.direction == "undirected"
    assert report.verdict in ("undirected", "undecided")
    assert not report.orientation.alarm


@pytest.mark.data
@pytest.mark.parametrize("name", ["cornell_fixed", "minesweeper"])
def test_files_of_undirected_graphs_raise_the_alarm(name: str, real_data: Path) -> None:
    d = gl.datasets.load(name, real_data, undirected=False)
    assert orientation(d.graph).alarm


def test_the_probes_interval_is_that_of_nadeau_and_bengio() -> None:
    scores = {
        "directed": (0.80, 0.82, 0.81, 0.85),
        "undirected": (0.80, 0.79, 0.80, 0.81),
    }
    found = Probe("accuracy", scores, test_share=1 / 3).direction_gain
    # Differences 0, .03, .01, .04: mean .02, sample variance .001 / 3; t(.975, 3) = 3.18245.
    half = 3.18245 * (0.001 / 3 * (1 / 4 + 1 / 3)) ** 0.5
    assert (found.first, found.second) == ("directed", "undirected")
    assert found.mean == pytest.approx(0.02)
    assert found.high == pytest.approx(0.02 + half, rel=1e-5)
    assert found.low == pytest.approx(0.02 - half, rel=1e-4)
    # 60 % of 100 nodes train, 20 % are scored.
    d = gl.datasets.generate("sbm", num_nodes=100, num_edges=400, num_features=4)
    made = probe(d, torch.arange(100), d.y, 2, 0, MEMORY, directed=False)
    assert made.test_share == pytest.approx(1 / 3)


# ---------------------------------------------------------------- report


def test_report_files(tmp_path: Path) -> None:
    report = diagnose_direction(co_citation())
    report.save(tmp_path / "report.json")
    held = json.loads((tmp_path / "report.json").read_text())
    assert held == report.to_json()
    assert held["probe"]["direction_gain"]["low"] > 0
    assert report.plot(tmp_path / "report.png").stat().st_size > 5000
    assert str(report).startswith("dataset: directed")
    assert set(report.tables) == {"orientation", "patterns", "probe"}


def test_messages() -> None:
    d = Dataset(digraph(10, 20))
    with pytest.raises(
        ValueError, match="`d` must have labels or features, got neither"
    ):
        diagnose_direction(d)
    with pytest.raises(
        ValueError, match="`labels` must be one of 'train', 'all', 'none'"
    ):
        diagnose_direction(d, labels="test")
    multi = Dataset(digraph(10, 20), y=torch.ones(10, 3))
    with pytest.raises(ValueError, match=r"`d.y` must be \[N\] class ids"):
        diagnose_direction(multi)


def test_ridge_is_the_normal_equations() -> None:
    z = torch.randn(30, 4, dtype=torch.float64)
    y = torch.randn(30, 2, dtype=torch.float64)
    train, rest = torch.arange(20), torch.arange(20, 30)
    by_gram = ridge.fit_predict(z @ z.t(), train, y[train], rest)
    by_rows = ridge.fit_predict_columns(z[train], y[train], z[rest])
    torch.testing.assert_close(by_gram, by_rows)
    centred = z[train] - z[train].mean(0)
    size = centred.square().sum() / 20
    weight = torch.linalg.solve(
        centred.t() @ centred + 0.1 * size * torch.eye(4),
        centred.t() @ (y[train] - y[train].mean(0)),
    )
    expected = (z[rest] - z[train].mean(0)) @ weight + y[train].mean(0)
    torch.testing.assert_close(by_rows[3], expected)


def test_direction_of_node_fit() -> None:
    d = co_citation()
    r = gl.tasks.node.fit(
        d, gl.models.ADPA, seeds=[0], epochs=10, direction="auto", lr=0.02
    )
    assert r.runs[0]["direction"] == "stored"
    assert r.runs[0]["verdict"] == "directed"
    flat = gl.tasks.node.fit(
        d, gl.models.SGC, seeds=[0], epochs=3, direction="undirected"
    )
    assert flat.runs[0]["direction"] == "undirected"
    again = gl.tasks.node.fit(d.to_undirected(), gl.models.SGC, seeds=[0], epochs=3)
    assert again.test.values == flat.test.values
    assert torch.equal(flat.predict(d), again.predict(d.to_undirected()))
    with pytest.raises(ValueError, match="`loader` must be None with direction='auto'"):
        gl.tasks.node.fit(d, gl.models.SGC, loader=[], seeds=[0], direction="auto")
