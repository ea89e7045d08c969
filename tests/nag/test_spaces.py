from __future__ import annotations

import itertools
import json

import networkx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from graphlab import nag
from graphlab.nag import spaces
from graphlab.nag.canonical import canonical_form
from graphlab.nag.space import closure

NAMES = spaces.names()


@pytest.mark.parametrize("name", NAMES)
def test_samples_are_valid_and_strings_round_trip(name):
    space = spaces.open(name)
    x = space.sample(300, seed=1)
    assert bool(space.is_valid(x).all())
    assert space.encode(space.decode(x)).equal(x)
    assert space.canonical(x).equal(x)
    assert x.equal(space.sample(300, seed=1))
    assert not x.equal(space.sample(300, seed=2))


def test_all_cells_of_nb201_round_trip_and_hash_into_their_classes():
    space = spaces.NB201()
    x = space.enumerate()
    assert len(x) == space.size == 15_625
    texts = space.decode(x)
    assert len(set(texts)) == 15_625
    assert space.encode(texts).equal(x)
    assert len(set(space.hashes(x))) == 6_466


def test_nb201_mask_is_the_closure_of_the_card():
    rows = {0: range(1, 8), 1: (4, 5, 6, 7), 2: (6, 7), 3: (7,)}
    rows |= {4: (6, 7), 5: (7,), 6: (7,), 7: ()}
    attention = spaces.NB201().attention
    for i, reached in rows.items():
        assert attention[i].nonzero()[:, 0].tolist() == list(reached)


def test_closed_form_costs_of_nb201():
    space = spaces.NB201("ImageNet16-120")
    conv = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|"
    x = space.encode([f"{conv}+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|"])
    costs = space.costs(space.one_hot(x))
    assert float(costs["params"]) == pytest.approx(0.080456 + 6 * 0.24304, rel=1e-6)
    assert float(costs["flops"]) == pytest.approx(1.993792 + 6 * 8.95488, rel=1e-6)


def test_nas_bench_graph_has_as_many_functions_as_its_table():
    space = spaces.NASBenchGraph()
    assert len(set(space.hashes(space.enumerate()))) == 23_822


@pytest.mark.data
@pytest.mark.parametrize("name", ["nb201", "nas_bench_graph"])
def test_the_tables_answer_for_the_whole_space(name, real_data):
    table = nag.tables.load(name, nag.tables.datasets(name)[0], real_data)
    x = table.space.sample(200, seed=0)
    assert bool(table.knows(x).all())
    assert len(table.evaluate(x)) == 200
    assert table.best == pytest.approx(
        {"nb201": 94.37, "nas_bench_graph": 83.1}[name], abs=0.5
    )


def test_mobilenet_strings_depths_and_costs():
    space = spaces.MobileNetV3()
    assert space.size_functional == 7371**5
    x = space.sample(50, seed=3)
    for text, row in zip(space.decode(x), x, strict=True):
        layers = [t for t in text.split("_") if t != "0-0-0"]
        assert len(layers) == int(space.present(row[None]).sum())
    deep = space.from_string("_".join(["4-7-6"] * 20))
    flat = space.from_string("_".join(["2-3-3", "2-3-3", "0-0-0", "0-0-0"] * 5))
    costs = space.costs(space.one_hot(torch.stack([flat, deep])))
    assert float(costs["params"][0]) < float(costs["params"][1])
    assert float(costs["flops"][0]) < 250 < float(costs["flops"][1])
    with pytest.raises(ValueError, match="depths and layers that disagree"):
        space.from_string("_".join(["2-3-3"] * 20))


@pytest.mark.parametrize("name", NAMES)
def test_neighbours_differ_in_one_node_and_are_valid(name):
    space = spaces.open(name)
    x = space.sample(1, seed=5)[0]
    near = space.neighbours(x)
    assert bool(space.is_valid(near).all())
    assert not (near == x).all(1).any()
    if name != "mobilenetv3":  # a depth may take layers away with it
        assert ((near != x).sum(1) == 1).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 6), st.randoms(use_true_random=False))
def test_canonical_form_is_that_of_isomorphism(count, random):
    labels = [random.choice("ab") for _ in range(count)]
    edges = [
        e for e in itertools.combinations(range(count), 2) if random.random() < 0.5
    ]
    order = random.sample(range(count), count)
    moved = [""] * count
    for old, new in enumerate(order):
        moved[new] = labels[old]
    again = canonical_form(moved, [(order[u], order[v]) for u, v in edges])
    assert canonical_form(labels, edges) == again
    other = [
        e for e in itertools.combinations(range(count), 2) if random.random() < 0.5
    ]
    one, two = networkx.DiGraph(edges), networkx.DiGraph(other)
    for graph in (one, two):
        graph.add_nodes_from((i, {"label": label}) for i, label in enumerate(labels))
    same = networkx.is_isomorphic(one, two, node_match=lambda a, b: a == b)
    assert (canonical_form(labels, edges) == canonical_form(labels, other)) == same


def test_closure_is_networkx_transitive_closure():
    draw = torch.Generator().manual_seed(0)
    adjacency = (torch.rand(9, 9, generator=draw) < 0.25).triu(1)
    graph = networkx.DiGraph()
    graph.add_nodes_from(range(9))
    graph.add_edges_from(adjacency.nonzero().tolist())
    expected = networkx.to_numpy_array(networkx.transitive_closure(graph)) > 0
    assert closure(adjacency).numpy().tolist() == expected.tolist()


SPACE = {
    "name": "mine",
    "nodes": [
        {"name": "in", "ops": ["in"]},
        {"name": "a", "ops": ["conv", "pool"]},
        {"name": "b", "ops": ["conv", "pool", "id"]},
        {"name": "out", "ops": ["out"]},
    ],
    "edges": [["in", "a"], ["b", "out"]],
    "optional": [["in", "b"]],
    "templates": {"chain": [["a", "b"]], "wide": [["a", "out"]]},
    "costs": {"params": {"conv": 2.0, "pool": 0.5}},
    "identity": ["id"],
}


def test_user_dag_from_json(tmp_path):
    path = tmp_path / "space.json"
    path.write_text(json.dumps(SPACE))
    space = spaces.open(path)
    assert space.size == 2 * 3 * 2 * 2
    x = space.enumerate()
    assert space.encode(space.decode(x)).equal(x)
    assert bool(space.is_valid(x).all())
    x = space.encode(["in|conv|pool|out|absent|chain"])
    assert float(space.costs(space.one_hot(x))["params"]) == 2.5
    cell = space.cell(x[0])
    assert cell.labels == ("in", "conv", "pool", "out")
    assert set(cell.edges) == {(0, 1), (1, 2), (2, 3)}
    skipped = space.encode(["in|conv|id|out|absent|chain"])
    assert space.cell(skipped[0]).labels == ("in", "conv", "out")


def test_user_dag_from_networkx():
    graph = networkx.DiGraph()
    graph.add_node("a", ops=["x", "y"])
    graph.add_node("b", ops=["x", "y"])
    graph.add_edge("a", "b", optional=True)
    space = spaces.from_networkx(graph)
    assert space.size == 8
    assert space.names == ("a", "b", "a->b")
    graph.add_edge("b", "a")
    with pytest.raises(ValueError, match="`graph` must have no cycle"):
        spaces.from_networkx(graph)
    with pytest.raises(TypeError, match="must be a networkx DiGraph"):
        spaces.from_networkx(networkx.Graph())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"edge": []}, "`key` must be one of 'name', 'nodes'"),
        ({"edges": [["a", "in"]]}, "must follow the order of the nodes, got a -> in"),
        ({"edges": [["a", "z"]]}, "must join nodes, got a -> z"),
        ({"nodes": [{"ops": ["x"]}]}, r"must hold nodes as \[\{name, ops\}\]"),
        (
            {
                "nodes": [{"name": "a", "ops": []}],
                "edges": [],
                "optional": [],
                "templates": {},
                "costs": {},
            },
            "must give every node a label, got none for 'a'",
        ),
        ({"costs": {"params": {"dense": 1}}}, "must name operations, got 'dense'"),
    ],
)
def test_a_wrong_user_space_says_what_is_wrong(change, message):
    with pytest.raises(ValueError, match=message):
        spaces.from_json({**SPACE, **change})


def test_wrong_strings_name_the_space():
    space = spaces.NB201()
    with pytest.raises(ValueError, match="must be an architecture of nb201"):
        space.from_string("|conv~0|")
    with pytest.raises(ValueError, match="got labels not allowed in '0,0,0,0"):
        spaces.NASBenchGraph().encode(["0,0,0,0|skip,gcn,gcn,gcn"])
    with pytest.raises(ValueError, match="must be one of nb201, mobilenetv3"):
        spaces.open("nb301")
