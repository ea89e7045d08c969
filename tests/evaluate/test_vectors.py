from __future__ import annotations

import numpy as np
import pytest
import torch

import graphlab as gl
from graphlab.evaluate import classify, link_auc, pairs_without_edge, split_edges


def labelled(seed=0, nodes=300):
    """Two of five labels a node, each a direction in space, and noise."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.zeros(nodes, 5, dtype=torch.int64)
    for _ in range(2):
        y[torch.arange(nodes), torch.randint(5, (nodes,), generator=generator)] = 1
    centres = torch.randn(5, 16, generator=generator)
    noise = torch.randn(nodes, 16, generator=generator)
    return y.float() @ centres + 0.5 * noise, y


@pytest.mark.parametrize("protocol", ["deepwalk", "graphvite"])
def test_protocols_find_labels_and_not_noise(protocol):
    x, y = labelled()
    found = classify(x, y, train_share=0.5, repeats=3, protocol=protocol)
    assert found["f1_micro"].mean > 0.85
    assert protocol in found["f1_micro"].stamp.protocol
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    lost = classify(noise, y, train_share=0.5, repeats=3, protocol=protocol)
    assert lost["f1_micro"].mean < 0.6
    again = classify(x, y, train_share=0.5, repeats=3, protocol=protocol)
    assert again["f1_macro"].values == found["f1_macro"].values


def test_deepwalk_protocol_equals_one_classifier_at_a_time():
    """Against scikit-learn's OneVsRest with the label counts given."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import f1_score
    from sklearn.multiclass import OneVsRestClassifier

    from graphlab.evaluate.vectors import _SHUFFLE
    from graphlab.ops import rng

    x, y = labelled(3)
    found = classify(x, y, train_share=0.3, repeats=1)
    order = rng.permutation(rng.key(0, _SHUFFLE, 0), len(y))
    train, test = order[:90], order[90:]
    model = OneVsRestClassifier(LogisticRegression(solver="liblinear", random_state=0))
    model.fit(x[train].double().numpy(), y[train].numpy())
    probability = model.predict_proba(x[test].double().numpy())
    decided = np.zeros_like(y[test].numpy())
    for row, (p, k) in enumerate(zip(probability, y[test].sum(1), strict=True)):
        decided[row, np.argsort(-p)[: int(k)]] = 1
    expected = f1_score(y[test].numpy(), decided, average="micro")
    assert found["f1_micro"].values[0] == pytest.approx(expected, abs=1e-9)


def test_single_labels_and_missing_ones():
    x, _ = labelled()
    y = (x[:, 0] > 0).long()
    y[::10] = -1
    found = classify(x, y, repeats=2, protocol="graphvite")
    assert found["f1_micro"].mean > 0.8


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"train_share": 1.0},
            ValueError,
            r"`train_share` must be a share in \(0, 1\)",
        ),
        ({"protocol": "own"}, ValueError, "`protocol` must be one of 'deepwalk'"),
        ({"y": torch.zeros(5)}, ValueError, "`y` must have one row for each of 300"),
        ({"y": torch.zeros(300, 2)}, ValueError, "`y` must hold labels, got none"),
        ({"train_share": 0.001}, ValueError, "must leave nodes on both sides"),
    ],
)
def test_errors_name_the_argument(change, error, message):
    x, y = labelled()
    with pytest.raises(error, match=message):
        classify(**({"vectors": x, "y": y} | change))


def components(g: gl.Graph) -> int:
    from scipy.sparse.csgraph import connected_components

    return int(connected_components(g.to_scipy(), directed=False)[0])


def test_hidden_edges_leave_the_components():
    g = gl.datasets.generate("sbm", num_nodes=120, num_edges=900, num_features=2).graph
    g = g.to_undirected()
    rest, positive, negative = split_edges(g, 0.5, seed=1)
    assert components(rest) == components(g)
    assert rest.is_undirected()
    assert positive.shape == negative.shape
    once = int((g.edge_index[0] < g.edge_index[1]).sum())
    assert positive.shape[1] == once // 2
    assert rest.num_edges == 2 * (once - positive.shape[1])
    links = {tuple(p) for p in g.edge_index.T.tolist()}
    kept = {tuple(p) for p in rest.edge_index.T.tolist()}
    for pair in positive.T.tolist():
        assert tuple(pair) in links - kept
    for pair in negative.T.tolist():
        assert tuple(pair) not in links
        assert pair[0] < pair[1]
    assert len({tuple(p) for p in negative.T.tolist()}) == negative.shape[1]
    with pytest.raises(ValueError, match="`g` must be undirected"):
        split_edges(gl.Graph(torch.tensor([[0], [1]])))


def test_link_protocols():
    g = gl.datasets.generate("sbm", num_nodes=150, num_edges=1800, num_features=2)
    y = torch.nn.functional.one_hot(g.y).float()
    source, target = g.graph.edge_index
    positive = g.graph.edge_index[:, (source < target) & (g.y[source] == g.y[target])]
    negative = pairs_without_edge(g.graph, 500)
    for protocol in ("graphvite", "node2vec"):
        score = link_auc(
            y,
            positive[:, ::2],
            negative[:, ::2],
            protocol=protocol,
            train=(positive[:, 1::2], negative[:, 1::2]),
        )
        # Half of the negatives of equal blocks tie; the rest is told apart.
        assert score.mean > 0.85
        assert protocol in score.stamp.protocol
    # The first score by hand: the share of pairs that are ordered rightly.
    fixed = link_auc(
        torch.tensor([[1.0], [2.0], [-1.0]]),
        torch.tensor([[0, 0], [1, 2]]),
        torch.tensor([[1], [2]]),
    )
    assert fixed.mean == 1.0
    with pytest.raises(ValueError, match="`train` must be given"):
        link_auc(y, positive, negative, protocol="node2vec")
