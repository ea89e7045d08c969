"""Nearest nodes by vectors: nodes alike, and nodes that are taken together."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from graphlab import check

if TYPE_CHECKING:
    from graphlab.graph import Graph

# Scores made at a time: 2^23 floats, 32 MiB.
_SCORES = 2**23


class Neighbors(NamedTuple):
    """Best nodes of each query, the best first.

    Attributes:
        ids: [Q, k], int64; -1 where fewer nodes are left.
        scores: [Q, k], float32.
    """

    ids: Tensor
    scores: Tensor


def knn(
    vectors: Tensor,
    targets: Tensor,
    ids: Tensor,
    k: int,
    *,
    kind: str = "similar",
    exclude: Graph | None = None,
) -> Neighbors:
    """Find the k best nodes for each query, exactly; never the query itself.

    Args:
        vectors: [N, d]: rows of the queries.
        targets: [N, d]: rows they are compared with.
        ids: [Q]: the queries.
        k: How many, less than N.
        kind: ``similar``: cosine; ``complementary``: the product of a vector and a context.
        exclude: A graph whose out-neighbours of a query are left out.

    Raises:
        TypeError, ValueError, IndexError: wrong dtype, k or id.

    Cost:
        Q N d operations; scores of 32 MiB at a time. For many queries over many nodes put
        the vectors into faiss (``pip install graphlab[ann]``).

    Source:
        Xu et al., "Two Is Better Than One: Dual Embeddings for Complementary Product
        Recommendations", 2022: in-in products find alike nodes, in-out products complements.

    Example:
        >>> v = torch.tensor([[1.0, 0], [2.0, 0], [0, 1.0]])
        >>> knn(v, v, torch.tensor([0]), 1).ids
        tensor([[1]])
    """
    name = "knn"
    check.one_of(name, "kind", kind, ("similar", "complementary"))
    check.tensor(name, "ids", ids, dtypes=check.INDEX_DTYPES, ndim=1)
    check.ids_in_range(name, "ids", ids, len(vectors))
    check.positive(name, "k", k)
    if k >= len(targets):
        check.fail(ValueError, name, "k", f"be less than {len(targets)}", k)
    if kind == "similar":
        vectors = torch.nn.functional.normalize(vectors)
        targets = torch.nn.functional.normalize(targets)
    found = []
    step = max(1, _SCORES // len(targets))
    csr = None if exclude is None else exclude.csr()
    for queries in ids.long().split(step):
        scores = vectors[queries] @ targets.T
        place = torch.arange(len(queries))
        scores[place, queries] = -torch.inf
        if csr is not None:
            begin, end = csr.ptr[queries], csr.ptr[queries + 1]
            row = torch.repeat_interleave(place, end - begin)
            first = torch.repeat_interleave(
                begin - _exclusive(end - begin), end - begin
            )
            column = csr.idx[first + torch.arange(len(row))].long()
            scores[row, column] = -torch.inf
        best = scores.topk(k)
        found.append(
            (
                torch.where(best.values == -torch.inf, -1, best.indices),
                best.values,
            )
        )
    if not found:
        return Neighbors(torch.empty(0, k, dtype=torch.int64), torch.empty(0, k))
    return Neighbors(
        torch.cat([ids for ids, _ in found]), torch.cat([s for _, s in found])
    )


def _exclusive(counts: Tensor) -> Tensor:
    return counts.cumsum(0) - counts
