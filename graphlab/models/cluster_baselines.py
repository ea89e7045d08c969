"""Clusterings that a deep method has to beat: k-means on features, with and without a graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from graphlab import check
from graphlab.graph import Graph
from graphlab.graph.adjacency import pairs
from graphlab.models.pamc_training import smooth_features
from graphlab.models.sparse import SparseRows, features
from graphlab.ops import rng

# Rows that centres are found from.
_LARGE = 100_000


def kmeans(x: Any, n_clusters: int, *, seed: int = 0) -> Tensor:
    """K-means of rows, the best of ten starts; centres come from at most 100,000 rows.

    Args:
        x: [N, F]: a tensor, sparse tensor or SparseColumn.
        n_clusters: K.
        seed: Of the starts.

    Returns:
        [N], int64.

    Example:
        >>> kmeans(torch.tensor([[0.0], [0.1], [5.0]]), 2).unique().tolist()
        [0, 1]
    """
    from sklearn.cluster import KMeans

    check.positive("kmeans", "n_clusters", n_clusters)
    rows = features(x)
    dense = rows.to_dense() if isinstance(rows, SparseRows) else rows
    array = dense.detach().float().numpy()
    some = array
    if len(array) > _LARGE:
        some = array[rng.permutation(rng.key(seed), len(array))[:_LARGE]]
    found = KMeans(n_clusters, n_init=10, random_state=seed).fit(some)
    return torch.from_numpy(found.predict(array)).long()


def propagated_kmeans(
    x: Any, graph: Graph, n_clusters: int, *, hops: int = 2, seed: int = 0
) -> Tensor:
    """K-means of features averaged over ``hops`` hops, each node with its neighbours.

    Source: the first step of Zhang et al., IJCAI 2019 (AGC), with a fixed order.
    """
    dense = smooth_features(features(x), graph, hops)
    return kmeans(dense, n_clusters, seed=seed)


def spectral(graph: Graph, n_clusters: int, *, seed: int = 0) -> Tensor:
    """Regularised spectral clustering: the graph alone.

    Rows of the K leading eigenvectors of ``D^-1/2 A D^-1/2``, degrees raised by their mean,
    normalised and clustered by k-means.

    Source: Qin and Rohe, NIPS 2013.
    """
    import scipy.sparse
    from scipy.sparse.linalg import eigsh

    check.positive("spectral", "n_clusters", n_clusters)
    target, source = pairs(graph.csc())
    ones = np.ones(graph.num_edges)
    shape = (graph.num_nodes, graph.num_nodes)
    adjacency = scipy.sparse.csr_matrix((ones, (target.numpy(), source.numpy())), shape)
    adjacency = (adjacency + adjacency.T) / 2
    degree = np.asarray(adjacency.sum(1)).ravel()
    scale = scipy.sparse.diags(1 / np.sqrt(degree + max(degree.mean(), 1e-12)))
    # ARPACK would begin at random.
    start = np.random.default_rng(seed).standard_normal(graph.num_nodes)
    _, vectors = eigsh(scale @ adjacency @ scale, k=n_clusters, which="LA", v0=start)
    norm = np.linalg.norm(vectors, axis=1, keepdims=True)
    return kmeans(
        torch.from_numpy(vectors / np.maximum(norm, 1e-12)), n_clusters, seed=seed
    )
