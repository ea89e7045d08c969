"""Protocols that score vectors of nodes: node classification and link prediction.

Each protocol has a name that every score carries: DeepWalk's and GraphVite's node
classification differ, and so do node2vec's and GraphVite's link prediction.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from graphlab import check
from graphlab.evaluate.scores import Scores
from graphlab.evaluate.stamp import Stamp
from graphlab.graph import Graph
from graphlab.graph.distinct import distinct
from graphlab.interop.arrays import as_tensor
from graphlab.ops import rng

Array = npt.NDArray[Any]

# Names of random streams.
_SHUFFLE, _KEEP, _NEGATIVE = 301, 302, 303
CLASSIFY = ("deepwalk", "graphvite")
LINKS = ("node2vec", "graphvite")


def classify(
    vectors: Tensor,
    y: Tensor,
    *,
    train_share: float = 0.5,
    repeats: int = 10,
    seed: int = 0,
    protocol: str = "deepwalk",
    normalize: bool = False,
    dataset: str = "",
) -> dict[str, Scores]:
    """Predict labels from frozen vectors on random splits; each node's label count is given.

    ``deepwalk``: one logistic regression a class (liblinear, C = 1) on ``train_share`` of all
    nodes; a test node with k labels gets its k most probable ones. Classes without a training
    node are never predicted.

    ``graphvite``: nodes without labels are left out; a training node counts once for each of
    its labels, with that label alone as target; one linear layer, full-batch gradient descent
    (rate 1, momentum 0.9, weight decay 2e-5) until 100 steps in a row lowered the loss by less
    than 1e-6.

    Args:
        vectors: [N, d], float32.
        y: [N], int64, -1 for none; or [N, classes], zeros and ones.
        train_share: Share of the nodes that is trained on.
        repeats: Shuffles.
        seed: Names the shuffles; shuffle r is the same whatever the vectors are.
        protocol: ``deepwalk`` or ``graphvite``.
        normalize: Whether to bring rows to length 1 first (CogDL does).
        dataset: Name for the stamp.

    Returns:
        ``f1_micro`` and ``f1_macro``, one score for each shuffle.

    Raises:
        TypeError, ValueError: wrong dtype or shape, a share that leaves nothing.

    Source:
        Perozzi et al. 2014, the scoring script of its release; Zhu et al. 2019, release 0.2.2.

    Example:
        >>> v = torch.eye(2).repeat(20, 1)
        >>> s = classify(v, torch.arange(40) % 2, repeats=2)
        >>> s["f1_micro"].mean
        1.0
    """
    name = "classify"
    check.one_of(name, "protocol", protocol, CLASSIFY)
    check.tensor(name, "vectors", vectors, dtypes=check.FLOAT_DTYPES, ndim=2)
    check.positive(name, "repeats", repeats)
    if not 0 < train_share < 1:
        check.fail(ValueError, name, "train_share", "be a share in (0, 1)", train_share)
    labels = _labels(name, y, len(vectors))
    x = vectors.detach().cpu().float()
    if normalize:
        x = torch.nn.functional.normalize(x)
    nodes = np.arange(len(labels))
    if protocol == "graphvite":
        nodes = np.flatnonzero(labels.any(1))
    predict = _logistic if protocol == "deepwalk" else _linear_layer
    found: dict[str, list[float]] = {"f1_micro": [], "f1_macro": []}
    size = int(train_share * len(nodes))
    if size < 1 or size == len(nodes):
        got = f"{train_share} of {len(nodes)} nodes"
        check.fail(ValueError, name, "train_share", "leave nodes on both sides", got)
    for repeat in range(repeats):
        order = nodes[rng.permutation(rng.key(seed, _SHUFFLE, repeat), len(nodes))]
        train, test = order[:size], order[size:]
        scores = predict(x, labels, train, test, rng.key(seed, _SHUFFLE, repeat, 1))
        micro, macro = _f1(labels[test], _top(scores, labels[test].sum(1)))
        found["f1_micro"].append(micro)
        found["f1_macro"].append(macro)
    how = ", rows of length 1" if normalize else ""
    split = f"{100 * train_share:g}% of nodes, {repeats} shuffles, seed {seed}"
    check_sum = f"{zlib.crc32(np.packbits(labels).tobytes()):08x}"
    return {
        metric: Scores(
            tuple(values),
            tuple(range(repeats)),
            Stamp(
                dataset,
                split,
                f"{protocol} node classification{how}",
                metric,
                check_sum,
            ),
        )
        for metric, values in found.items()
    }


def split_edges(
    g: Graph, share: float = 0.5, seed: int = 0
) -> tuple[Graph, Tensor, Tensor]:
    """Hide edges of an undirected graph so that what is left keeps its components.

    A spanning forest stays; of the other edges so many are hidden, at random, that
    ``share`` of all is.

    Args:
        g: Undirected; self loops are left out.
        share: Share of the edges to hide; fewer where the forest needs more.
        seed: Names the draws.

    Returns:
        The rest (with its weights), the hidden edges [2, P], and as many pairs of nodes
        without an edge [2, P].

    Source:
        Grover & Leskovec 2016, section 4.4.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import minimum_spanning_tree

    name = "split_edges"
    if not 0 < share < 1:
        check.fail(ValueError, name, "share", "be a share in (0, 1)", share)
    if not g.is_undirected():
        remedy = "use g.to_undirected()"
        check.fail(ValueError, name, "g", "be undirected", "a directed graph", remedy)
    n = g.num_nodes
    source, target = (row.numpy() for row in g.edge_index)
    low, high = np.minimum(source, target), np.maximum(source, target)
    links = distinct((low * n + high)[low < high])
    # Random weights make the forest a random one.
    order = rng.permutation(rng.key(seed, _KEEP), len(links))
    weight = np.empty(len(links))
    weight[order] = np.arange(1, len(links) + 1)
    matrix = coo_matrix((weight, (links // n, links % n)), shape=(n, n)).tocsr()
    forest = minimum_spanning_tree(matrix).tocoo()
    kept = np.isin(links, forest.row.astype(np.int64) * n + forest.col)
    free = order[~kept[order]]
    hidden = np.zeros(len(links), bool)
    hidden[free[: int(share * len(links))]] = True
    if not hidden.any():
        check.fail(ValueError, name, "g", "have edges outside a forest", "none")
    gone = np.isin(low * n + high, links[hidden])
    stay = as_tensor(np.flatnonzero(~gone & (low != high)))
    rest = Graph(
        g.edge_index[:, stay],
        n,
        None if g.edge_weight is None else g.edge_weight[stay],
    )
    rest.node_names = g.node_names
    positive = links[hidden]
    negative = _non_edges(links, n, len(positive), rng.key(seed, _NEGATIVE))
    return rest, _pairs(positive, n), _pairs(negative, n)


def link_auc(
    vectors: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    context: Tensor | None = None,
    protocol: str = "graphvite",
    train: tuple[Tensor, Tensor] | None = None,
    seed: int = 0,
    dataset: str = "",
) -> Scores:
    """Area under the ROC curve of pairs with and without an edge.

    ``graphvite``: the score of (u, v) is vector of u times context of v. ``node2vec``: a
    logistic regression on the products of the two vectors, entry by entry, fitted on pairs
    of ``train``.

    Args:
        vectors: [N, d].
        positive: [2, P]: hidden edges.
        negative: [2, Q]: pairs without an edge.
        context: [N, d]; None: the vectors.
        protocol: ``graphvite`` or ``node2vec``.
        train: Edges and non-edges that the regression is fitted on; none of the above.
        seed: For the record.
        dataset: Name for the stamp.

    Returns:
        One score.

    Raises:
        ValueError: no pairs, or no ``train`` for ``node2vec``.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score

    name = "link_auc"
    check.one_of(name, "protocol", protocol, LINKS)
    for argument, pairs in (("positive", positive), ("negative", negative)):
        check.tensor(name, argument, pairs, dtypes=check.INDEX_DTYPES, ndim=2)
        if pairs.shape[0] != 2 or pairs.shape[1] == 0:
            got = list(pairs.shape)
            check.fail(ValueError, name, argument, "be [2, pairs], not 0", got)
        check.ids_in_range(name, argument, pairs, len(vectors))
    both = torch.cat([positive, negative], 1).long()
    truth = np.r_[np.ones(positive.shape[1]), np.zeros(negative.shape[1])]
    if protocol == "graphvite":
        tails = vectors if context is None else context
        scores = (vectors[both[0]] * tails[both[1]]).sum(1).double().numpy()
    else:
        if train is None:
            check.fail(ValueError, name, "train", "be given for node2vec", None)
        fitted = torch.cat(train, 1).long()
        target = np.r_[np.ones(train[0].shape[1]), np.zeros(train[1].shape[1])]
        model = LogisticRegression(max_iter=1000)
        model.fit(_hadamard(vectors, fitted), target)
        scores = model.decision_function(_hadamard(vectors, both))
    area = float(roc_auc_score(truth, scores))
    checksum = f"{zlib.crc32(both.numpy().tobytes()):08x}"
    what = f"{positive.shape[1]} edges, {negative.shape[1]} others"
    how = f"{protocol} link prediction"
    return Scores((area,), (seed,), Stamp(dataset, what, how, "auc", checksum))


def pairs_without_edge(g: Graph, count: int, seed: int = 0) -> Tensor:
    """Draw distinct pairs u < v that no edge joins: [2, count], sorted."""
    n = g.num_nodes
    source, target = (row.numpy() for row in g.edge_index)
    links = distinct(np.minimum(source, target) * n + np.maximum(source, target))
    return _pairs(_non_edges(links, n, count, rng.key(seed, _NEGATIVE, 1)), n)


def _hadamard(vectors: Tensor, pairs: Tensor) -> Array:
    return (vectors[pairs[0]] * vectors[pairs[1]]).double().numpy()


def _labels(name: str, y: Tensor, nodes: int) -> Array:
    """Labels as [N, classes] of bools."""
    check.tensor(name, "y", y)
    if y.shape[0] != nodes or y.dim() not in (1, 2):
        got = list(y.shape)
        check.fail(
            ValueError, name, "y", f"have one row for each of {nodes} nodes", got
        )
    if y.dim() == 2:
        out: Array = y.cpu().numpy() > 0
    else:
        known = y.cpu().numpy().astype(np.int64)
        out = np.zeros((nodes, int(known.max(initial=0)) + 1), bool)
        place = np.flatnonzero(known >= 0)
        out[place, known[place]] = True
    if not out.any():
        check.fail(ValueError, name, "y", "hold labels", "none")
    return out


def _logistic(x: Tensor, labels: Array, train: Array, test: Array, key: int) -> Array:
    from sklearn.linear_model import LogisticRegression

    scores = np.full((len(test), labels.shape[1]), -np.inf)
    rows, others = x[train].double().numpy(), x[test].double().numpy()
    for c in range(labels.shape[1]):
        target = labels[train, c]
        if not target.any():
            continue
        if target.all():
            scores[:, c] = np.inf
            continue
        model = LogisticRegression(solver="liblinear", random_state=0)
        model.fit(rows, target)
        scores[:, c] = model.decision_function(others)
    return scores


def _linear_layer(
    x: Tensor, labels: Array, train: Array, test: Array, key: int
) -> Array:
    node, label = np.nonzero(labels[train])
    rows = x[torch.from_numpy(train[node])]
    target = torch.zeros(len(node), labels.shape[1])
    target[torch.arange(len(node)), torch.from_numpy(label)] = 1.0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(key & (2**63 - 1))
        layer = torch.nn.Linear(x.shape[1], labels.shape[1])
    step = torch.optim.SGD(layer.parameters(), lr=1.0, momentum=0.9, weight_decay=2e-5)
    loss_of: Callable[[Tensor, Tensor], Tensor] = (
        torch.nn.functional.binary_cross_entropy_with_logits
    )
    best, waited = float("inf"), 0
    while waited < 100:
        step.zero_grad()
        loss = loss_of(layer(rows), target)
        loss.backward()
        step.step()
        value = loss.item()
        best, waited = (value, 0) if value < best - 1e-6 else (best, waited + 1)
    with torch.no_grad():
        return layer(x[torch.from_numpy(test)]).double().numpy()


def _top(scores: Array, counts: Array) -> Array:
    """The ``counts[i]`` best classes of each row."""
    order = np.argsort(-scores, axis=1, kind="stable")
    chosen = np.arange(scores.shape[1])[None] < counts[:, None]
    out = np.zeros(scores.shape, bool)
    np.put_along_axis(out, order, chosen, axis=1)
    return out


def _f1(truth: Array, decided: Array) -> tuple[float, float]:
    from sklearn.metrics import f1_score

    micro, macro = (
        float(f1_score(truth, decided, average=average, zero_division=0.0))
        for average in ("micro", "macro")
    )
    return micro, macro


def _pairs(keys: Array, nodes: int) -> Tensor:
    return torch.stack([as_tensor(keys // nodes), as_tensor(keys % nodes)])


def _non_edges(links: Array, nodes: int, count: int, key: int) -> Array:
    """Distinct keys u * N + v, u < v, that are not in the sorted ``links``."""
    if 2 * (count + len(links)) > nodes * (nodes - 1) // 2:
        got = f"{count} of {nodes} nodes with {len(links)} edges"
        check.fail(ValueError, "pairs_without_edge", "count", "be few enough", got)
    found = np.zeros(0, np.int64)
    batch = 0
    while len(found) < count:
        draws = rng.bits(rng.key(key, batch), 4 * count + 64) >> np.uint64(33)
        ends = (draws.astype(np.int64) * nodes) >> 31
        low, high = np.minimum(ends[::2], ends[1::2]), np.maximum(ends[::2], ends[1::2])
        keys = (low * nodes + high)[low != high]
        place = np.minimum(np.searchsorted(links, keys), len(links) - 1)
        keys = np.concatenate([found, keys[links[place] != keys]])
        _, first = np.unique(keys, return_index=True)
        found = keys[np.sort(first)]
        batch += 1
    return np.sort(found[:count])
