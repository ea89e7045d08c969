"""scipy: a sparse adjacency matrix A, where A[source, target] is an edge's weight."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from graphlab import check
from graphlab.interop.arrays import EdgeArrays, as_tensor


def read(matrix: Any, weighted: bool | None = None) -> EdgeArrays:
    """Take a square sparse matrix apart; every stored entry is an edge, row by row.

    Args:
        matrix: [N, N], any scipy sparse matrix or array.
        weighted: Whether values become weights; None: where any is not 1.

    Raises:
        TypeError: not a scipy sparse matrix.
        ValueError: not square.
    """
    from scipy.sparse import issparse

    if not issparse(matrix):
        got = type(matrix).__name__
        remedy = "use scipy.sparse.csr_matrix(array)"
        check.fail(TypeError, "from_scipy", "matrix", "be a sparse matrix", got, remedy)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        shape = list(matrix.shape)
        check.fail(ValueError, "from_scipy", "matrix", "be square", shape)
    coo = matrix.tocoo()
    edge_index = torch.stack([as_tensor(coo.row), as_tensor(coo.col)])
    if weighted is None:
        weighted = bool((coo.data != 1).any())
    weight = as_tensor(coo.data) if weighted else None
    return EdgeArrays(edge_index, matrix.shape[0], weight)


def write(ptr: Any, idx: Any, weight: Any, num_nodes: int) -> Any:
    """A CSR matrix of these rows; parallel edges stay separate entries."""
    from scipy.sparse import csr_matrix

    data = np.ones(len(idx), np.float32) if weight is None else weight.numpy()
    return csr_matrix((data, idx.numpy(), ptr.numpy()), shape=(num_nodes, num_nodes))
