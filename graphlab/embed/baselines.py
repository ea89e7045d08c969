"""Baselines through the same interface: ProNE and spectral embedding."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from graphlab import check
from graphlab.embed import nearest, vectors
from graphlab.graph import Graph
from graphlab.graph.adjacency import owners
from graphlab.ops import spmm


class _Matrix:
    """What the two share: fit, save, knn."""

    vectors: Tensor
    context: Tensor

    def __init__(self, dim: int = 128, *, seed: int = 0) -> None:
        self.dim = check.positive(type(self).__name__, "dim", dim)
        self.seed = check.positive(type(self).__name__, "seed", seed, least=0)
        self.history: dict[str, Any] = {}

    def fit(self, g: Graph) -> Self:
        """Compute the vectors; undirected or not, edges count both ways."""
        name = type(self).__name__
        if g.num_edges == 0:
            check.fail(ValueError, f"{name}.fit", "g", "have edges", "none")
        if self.dim >= g.num_nodes:
            need = f"be less than the {g.num_nodes} nodes"
            check.fail(ValueError, f"{name}.fit", "dim", need, self.dim)
        begin = time.perf_counter()
        self.vectors = self._embed(g).float()
        self.context = self.vectors
        self.history = {
            "method": name.lower(),
            "seconds": time.perf_counter() - begin,
        }
        return self

    def save(self, path: str | Path, *, format: str | None = None) -> Path:
        """Write the vectors; see :func:`graphlab.embed.vectors.save`."""
        return vectors.save(path, self.vectors, format=format)

    def knn(self, ids: Tensor | list[int], k: int = 10) -> nearest.Neighbors:
        """Find the k nodes most alike to each of ``ids``."""
        return nearest.knn(self.vectors, self.vectors, torch.as_tensor(ids), k)

    def _embed(self, g: Graph) -> Tensor:
        raise NotImplementedError


class Spectral(_Matrix):
    """Eigenvectors of the normalised adjacency matrix with the largest eigenvalues.

    Args:
        dim: Number of eigenvectors, without the trivial one.
        seed: Names the first vector of the iteration.

    Source:
        Tang & Liu, "Leveraging social media networks for classification", 2011.

    Example:
        >>> ring = torch.arange(8)
        >>> Spectral(2).fit(Graph(torch.stack([ring, ring.roll(-1)]))).vectors.shape
        torch.Size([8, 2])
    """

    def _embed(self, g: Graph) -> Tensor:
        from scipy.sparse.linalg import eigsh

        matrix = _symmetric(g)
        degree = np.asarray(matrix.sum(1))[:, 0]
        scale = 1 / np.sqrt(np.maximum(degree, 1e-12))
        normal = matrix.multiply(scale[:, None]).multiply(scale[None]).tocsr()
        first = np.random.default_rng(self.seed).random(g.num_nodes)
        _, found = eigsh(normal, k=self.dim + 1, which="LA", v0=first)
        # eigsh sorts upwards; the last is the trivial one.
        return torch.from_numpy(np.ascontiguousarray(found[:, -2::-1]))


class ProNE(_Matrix):
    """Factorise a sparse matrix of shifted logarithms, then filter it on the graph.

    First a truncated SVD of ``log(P_ij / (tau s_j))`` where there is an edge, P the
    transition matrix and s_j proportional to column sums to the power 0.75; then a
    Chebyshev expansion of order ``steps`` of the band-pass filter
    ``exp(-theta/2 ((x - mu)^2 - 1))`` of the Laplacian.

    Args:
        dim: Width.
        seed: Names the draws of the randomised SVD.
        steps: Order of the expansion; 0: no filter.
        mu: Centre of the band.
        theta: Sharpness of the band.

    Cost:
        O(E dim steps) by this library's SpMM, and the SVD.

    Source:
        Zhang et al., "ProNE: Fast and Scalable Network Representation Learning", 2019, and
        its release.

    Example:
        >>> ring = torch.arange(8)
        >>> ProNE(2).fit(Graph(torch.stack([ring, ring.roll(-1)]))).vectors.shape
        torch.Size([8, 2])
    """

    def __init__(
        self,
        dim: int = 128,
        *,
        seed: int = 0,
        steps: int = 10,
        mu: float = 0.2,
        theta: float = 0.5,
    ) -> None:
        super().__init__(dim, seed=seed)
        self.steps = check.positive("ProNE", "steps", steps, least=0)
        self.mu, self.theta = mu, theta

    def _embed(self, g: Graph) -> Tensor:
        from sklearn.preprocessing import normalize
        from sklearn.utils.extmath import randomized_svd

        matrix = _symmetric(g)
        smooth = normalize(matrix, "l1")
        share = np.asarray(smooth.sum(0))[0] ** 0.75
        share = share / share.sum()
        logs = smooth.tocoo()
        logs.data = np.log(np.maximum(logs.data, 1e-30)) - np.log(share[logs.col])
        u, s, _ = randomized_svd(
            logs.tocsr(), self.dim, n_iter=5, random_state=self.seed
        )
        first = normalize(u * np.sqrt(s))
        return self._filter(matrix, torch.from_numpy(first))

    def _filter(self, matrix: Any, first: Tensor) -> Tensor:
        from scipy.sparse import eye
        from scipy.special import iv
        from sklearn.preprocessing import normalize

        if self.steps < 2:
            return first
        n = matrix.shape[0]
        looped = (matrix + eye(n)).tocsr()
        walk = normalize(looped, "l1").tocsr()
        # M = L - mu I with L = I - D^-1 A: one product with the walk matrix each.
        multiply = _multiplier(walk)

        def shifted(x: Tensor) -> Tensor:
            return (1 - self.mu) * x - multiply(x)

        x0 = first.float()
        x1 = 0.5 * shifted(shifted(x0)) - x0
        total = iv(0, self.theta) * x0 - 2 * iv(1, self.theta) * x1
        for i in range(2, self.steps):
            x2 = (shifted(shifted(x1)) - 2 * x1) - x0
            total += (-1) ** i * 2 * iv(i, self.theta) * x2
            x0, x1 = x1, x2
        ready = _multiplier(looped)(first.float() - total)
        u, s, _ = torch.linalg.svd(ready, full_matrices=False)
        return torch.nn.functional.normalize(u * s.sqrt())


METHODS: dict[str, type[_Matrix]] = {"prone": ProNE, "spectral": Spectral}


def _symmetric(g: Graph) -> Any:
    """Weights of edges in either direction, summed, without loops."""
    from scipy.sparse import csr_matrix

    ptr, idx, edge_id = g.csr()
    weight = np.ones(len(idx))
    if g.edge_weight is not None:
        by_row = g.edge_weight if edge_id is None else g.edge_weight[edge_id.long()]
        weight = by_row.double().numpy()
    row = owners(ptr).numpy()
    keep = row != idx.numpy()
    shape = (g.num_nodes, g.num_nodes)
    matrix = csr_matrix((weight[keep], (row[keep], idx.numpy()[keep])), shape)
    return matrix if g.is_undirected() else matrix + matrix.T


def _multiplier(matrix: Any) -> Any:
    """Product with a sparse matrix by this library's SpMM."""
    ptr = torch.from_numpy(matrix.indptr.astype(np.int64))
    idx = torch.from_numpy(matrix.indices.astype(np.int32))
    weight = torch.from_numpy(matrix.data.astype(np.float32))

    def multiply(x: Tensor) -> Tensor:
        return spmm(ptr, idx, x, weight=weight)

    return multiply
