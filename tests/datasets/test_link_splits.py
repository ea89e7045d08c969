from __future__ import annotations

import numpy as np
import pytest
import torch

import graphlab as gl
from graphlab.errors import StoreError
from graphlab.evaluate import audit_links


def keys(pairs: torch.Tensor) -> set[tuple[int, int]]:
    return {tuple(p) for p in pairs.t().tolist()}


def ours(n: int = 60, edges: int = 200) -> gl.Dataset:
    draw = torch.randint(n, (2, edges), generator=torch.Generator().manual_seed(1))
    g = gl.Graph(draw, n).to_undirected().without_self_loops()
    return gl.Dataset(g, x=torch.eye(n))


def published(d: gl.Dataset, seed: int) -> dict[str, set[tuple[int, int]]]:
    """The release's steps on a dense mask, with torch's global generator."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        edge = d.graph.edge_index
        n = int(edge.max()) + 1
        row, col = edge[:, edge[0] < edge[1]]
        held = int(0.2 * len(row))
        order = torch.randperm(len(row))
        row, col = row[order], col[order]
        mask = torch.ones(n, n, dtype=torch.bool).triu(1)
        mask[row, col] = False
        free = mask.nonzero().t()
        free = free[:, torch.randperm(free.shape[1])[: 2 * held]]
        first = torch.stack([row[:held], col[:held]])[:, torch.randperm(held)]
        num_val = int(held * 0.5)
        test = torch.stack([row[held : 2 * held], col[held : 2 * held]])
        rest = torch.stack([row[2 * held :], col[2 * held :]])
        return {
            "train": keys(torch.cat([rest, first[:, :-num_val]], 1)),
            "val": keys(first[:, -num_val:]),
            "val_neg": keys(free[:, :held]),
            "test": keys(test),
            "test_neg": keys(free[:, held:]),
        }


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_the_published_draws(seed):
    d = ours()
    s = gl.datasets.split_links_ncn(d, seed)
    expected = published(d, seed)
    for split, parts in s.edge_splits.items():
        assert keys(parts["edge"]) == expected[split]
        if split != "train":
            assert keys(parts["edge_neg"]) == expected[f"{split}_neg"]
    both = keys(s.graph.edge_index)
    assert both == expected["train"] | {(b, a) for a, b in expected["train"]}
    assert audit_links(s) == []


def test_own_negatives_have_the_same_law():
    d = ours()
    s = gl.datasets.split_links_ncn(d, 3, exact=False)
    t = gl.datasets.split_links_ncn(d, 3)
    # The permutation of positives comes first in both.
    assert torch.equal(s.edge_splits["test"]["edge"], t.edge_splits["test"]["edge"])
    sizes = [part["edge"].shape for part in t.edge_splits.values()]
    assert [part["edge"].shape for part in s.edge_splits.values()] == sizes
    assert audit_links(s) == []
    assert s.meta["link_split"] == "ncn-70/10/20(seed=3, own negatives)"


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("cora", [3696, 527, 1055, 1055, 1055]),
        ("citeseer", [3187, 455, 910, 910, 910]),
    ],
)
def test_published_sizes(real_data, name, sizes):
    s = gl.datasets.split_links_ncn(gl.datasets.load(name, real_data), 0).edge_splits
    found = [s[split]["edge"].shape[1] for split in ("train", "val", "test")]
    found += [s[split]["edge_neg"].shape[1] for split in ("val", "test")]
    assert found == sizes


def test_what_cannot_be_split():
    directed = gl.Dataset(gl.Graph(torch.tensor([[0], [1]])))
    with pytest.raises(ValueError, match=r"use d.to_undirected\(\)"):
        gl.datasets.split_links_ncn(directed)
    with pytest.raises(ValueError, match="10 edges or more, got 1"):
        gl.datasets.split_links_ncn(directed.to_undirected())


def test_by_time_a_pair_counts_once():
    edges = torch.tensor([[0, 1, 2, 0, 3, 1], [1, 2, 3, 1, 4, 4]])
    years = torch.tensor([1.0, 1, 2, 5, 6, 9])
    g = gl.Graph(edges, num_nodes=8)
    d = gl.Dataset(g, edge_attr={"year": years})
    s = gl.datasets.split_links_temporal(d, "year", 2, 6)
    assert {k: keys(v["edge"]) for k, v in s.edge_splits.items()} == {
        "train": {(0, 1), (1, 2)},
        "val": {(2, 3)},
        "test": {(3, 4), (1, 4)},
    }
    assert s.edge_splits["test"]["edge_neg"].shape == (2, 2)
    assert audit_links(s) == []
    with pytest.raises(ValueError, match="`test_from` must be above val_from = 2"):
        gl.datasets.split_links_temporal(d, years, 2, 2)
    with pytest.raises(ValueError, match="`test_from` must be above val_from = 3"):
        gl.datasets.split_links_temporal(d, years, 3, 3)
    with pytest.raises(ValueError, match="one entry for each of 6 edges, got 5"):
        gl.datasets.split_links_temporal(d, years[:5], 2, 6)


def test_heart_files(tmp_path):
    d = ours()
    for split in ("train", "valid", "test"):
        np.savetxt(tmp_path / f"{split}_pos.txt", [[0, 1], [2, 3]], fmt="%d")
        np.savetxt(tmp_path / f"{split}_neg.txt", [[4, 5]], fmt="%d", delimiter="\t")
    s = gl.datasets.read_heart(d, tmp_path)
    assert s.meta["link_split"] == "heart-random-85/5/10"
    assert keys(s.edge_splits["val"]["edge_neg"]) == {(4, 5)}
    assert s.num_edges == 4
    own = np.arange(2 * 6 * 2).reshape(2, 6, 2) % 60
    for split in ("valid", "test"):
        np.save(tmp_path / f"heart_{split}_samples.npy", own)
    s = gl.datasets.read_heart(d, tmp_path)
    assert s.meta["link_split"] == "heart-85/5/10"
    assert np.array_equal(s.edge_splits["test"]["edge_neg_own"].numpy(), own)
    np.save(tmp_path / "heart_test_samples.npy", own[:1])
    with pytest.raises(StoreError, match=r"expected shape \[2, negatives, 2\]"):
        gl.datasets.read_heart(d, tmp_path)
    (tmp_path / "train_pos.txt").write_text("0 1\n0 99\n")
    with pytest.raises(StoreError, match="two ids below 60"):
        gl.datasets.read_heart(d, tmp_path)
    (tmp_path / "train_pos.txt").write_text("a b\n")
    with pytest.raises(StoreError, match="two ids a line"):
        gl.datasets.read_heart(d, tmp_path)
    (tmp_path / "train_pos.txt").unlink()
    with pytest.raises(StoreError, match="unpack HeaRT's archive there"):
        gl.datasets.read_heart(d, tmp_path)


def test_a_part_without_edges_is_named():
    g = gl.Graph(torch.tensor([[0, 1], [1, 2]]), num_nodes=5)
    with pytest.raises(ValueError, match="give each part an edge, got none in test"):
        gl.datasets.split_links_temporal(gl.Dataset(g), torch.tensor([1, 2]), 2, 3)
