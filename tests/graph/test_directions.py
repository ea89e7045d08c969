from __future__ import annotations

import numpy as np
import pytest

from graphlab.graph import Graph, directions


@pytest.mark.parametrize("size", [3, 2**24])
def test_both_directions_are_distinct_and_ascend(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directions, "_SLICE", size)
    edges = np.random.default_rng(0).integers(0, 15, (2, 90))
    graph = Graph(edges, num_nodes=16)
    a = np.zeros((16, 16), dtype=bool)
    a[edges[0], edges[1]] = True
    np.fill_diagonal(a, False)
    for (ptr, idx), dense in zip(
        directions.both_directions(graph), (a, a.T), strict=True
    ):
        rows = [idx[ptr[v] : ptr[v + 1]].tolist() for v in range(16)]
        assert rows == [np.flatnonzero(row).tolist() for row in dense]
    mutual = directions.reciprocated(*directions.both_directions(graph), 16)
    assert mutual.tolist() == (a & a.T).sum(1).tolist()
    both = directions.undirected_form(graph)
    ptr, idx, _ = both.csc()
    rows = [idx[ptr[v] : ptr[v + 1]].tolist() for v in range(16)]
    assert rows == [np.flatnonzero(row).tolist() for row in a | a.T]
