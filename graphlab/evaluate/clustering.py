"""Scores of a clustering against classes, and what can be said of it without any."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from graphlab import check
from graphlab.graph import Graph

CLUSTERING_METRICS = ("accuracy", "nmi", "ari", "f1_macro")
Ints = npt.NDArray[np.int64]


def clustering_scores(y: Tensor, clusters: Tensor) -> dict[str, float]:
    """Score clusters against classes: accuracy, NMI, ARI and macro-F1.

    Accuracy and F1 are those of the one-to-one matching of clusters with classes that has
    the most nodes right (Hungarian method). Where there are fewer clusters than classes, the
    classes left over count as never found; clusters left over count as wrong.

    Args:
        y: [N], integer classes.
        clusters: [N], integer cluster of each node; any numbers.

    Returns:
        ``accuracy``, ``nmi`` (arithmetic mean of entropies), ``ari``, ``f1_macro`` (over
        the classes of ``y``).

    Raises:
        TypeError, ValueError: not integer vectors of one length of at least 1.

    Cost: N operations and a matching of K clusters, K^3; milliseconds.

    Source: scipy's ``linear_sum_assignment``; NMI and ARI of scikit-learn. The releases of
        this family (SDCN, PAMC) overwrite predictions where a class is missed; this does not.

    Example:
        >>> y, clusters = torch.tensor([0, 0, 1, 1]), torch.tensor([7, 7, 3, 7])
        >>> clustering_scores(y, clusters)["accuracy"]
        0.75
    """
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    classes, found = _codes("y", y), _codes("clusters", clusters)
    if len(classes) != len(found):
        requirement = f"have the length of `y` ({len(classes)})"
        check.fail(ValueError, "clustering_scores", "clusters", requirement, len(found))
    matched = _matched(classes, found)
    num_classes = int(classes.max()) + 1
    right = classes == matched
    true_positive = np.bincount(classes[right], minlength=num_classes)
    predicted = np.bincount(matched[matched < num_classes], minlength=num_classes)
    actual = np.bincount(classes, minlength=num_classes)
    f1 = 2 * true_positive / (predicted + actual)
    return {
        "accuracy": float(right.mean()),
        "nmi": float(normalized_mutual_info_score(classes, found)),
        "ari": float(adjusted_rand_score(classes, found)),
        "f1_macro": float(f1.mean()),
    }


def modularity(graph: Graph, clusters: Tensor) -> float:
    r"""Share of edges inside clusters, less what random edges of the same degrees have.

    :math:`Q = \frac{1}{E} \sum_{(u, v)} [c_u = c_v] - \sum_c \frac{d^{out}_c d^{in}_c}{E^2}`;
    it needs no classes, so it may choose an epoch.

    Args:
        graph: The graph, each edge counted with its weight, if any.
        clusters: [N], integers from 0.

    Returns:
        A float below 1; 0 for one cluster, or without edges.

    Cost: one pass over the edges.

    Source: Newman, PNAS 2006; for directed graphs Leicht and Newman, PRL 2008.

    Example:
        >>> g = Graph(torch.tensor([[0, 1, 2, 3], [1, 0, 3, 2]]))
        >>> modularity(g, torch.tensor([0, 0, 1, 1]))
        0.5
    """
    name = "modularity"
    check.tensor(name, "clusters", clusters, dtypes=check.INDEX_DTYPES, ndim=1)
    if len(clusters) != graph.num_nodes:
        requirement = f"have one entry for each of {graph.num_nodes} nodes"
        check.fail(ValueError, name, "clusters", requirement, len(clusters))
    if graph.num_edges == 0:
        return 0.0
    source, target = graph.edge_index
    at, to = clusters[source].long(), clusters[target].long()
    weight = graph.edge_weight
    each = torch.ones(len(at)) if weight is None else weight
    each = each.double()
    total = float(each.sum())
    count = int(clusters.max()) + 1
    leaving = torch.zeros(count, dtype=torch.float64).index_add_(0, at, each)
    arriving = torch.zeros(count, dtype=torch.float64).index_add_(0, to, each)
    inside = float(each[at == to].sum())
    return inside / total - float(leaving @ arriving) / total**2


def _codes(argument: str, values: object) -> Ints:
    """Numbers 0, 1, ... for the distinct values of a vector."""
    if isinstance(values, np.ndarray):
        values = torch.from_numpy(values)
    name = "clustering_scores"
    vector = check.tensor(name, argument, values, ndim=1)
    if vector.is_floating_point() or vector.dtype == torch.bool or vector.is_complex():
        got = str(vector.dtype).removeprefix("torch.")
        check.fail(TypeError, name, argument, "hold integers", got)
    if len(vector) == 0:
        check.fail(ValueError, name, argument, "hold at least one node", "none")
    codes: Any = np.unique(vector.cpu().numpy(), return_inverse=True)[1]
    return codes.astype(np.int64)


def _matched(classes: Ints, found: Ints) -> Ints:
    """The class that each node's cluster is matched with; clusters left over get no class."""
    from scipy.optimize import linear_sum_assignment

    num_classes, num_found = int(classes.max()) + 1, int(found.max()) + 1
    table = np.zeros((num_found, num_classes), dtype=np.int64)
    np.add.at(table, (found, classes), 1)
    rows, columns = linear_sum_assignment(table, maximize=True)
    name = np.full(num_found, num_classes, dtype=np.int64)
    name[rows] = columns
    return name[found]
