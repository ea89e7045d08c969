"""Published splits of edges: NCN's 70/10/20, HeaRT's files, splits by time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from graphlab import check, memory
from graphlab.datasets.column import gather
from graphlab.datasets.dataset import Dataset
from graphlab.errors import StoreError
from graphlab.graph import Graph
from graphlab.interop.arrays import as_tensor
from graphlab.ops import rng

Keys = npt.NDArray[np.int64]
# Names the stream of negatives where the published one would not fit in memory.
_NEGATIVES = 105


def split_links_ncn(dataset: Dataset, seed: int = 0, exact: bool = True) -> Dataset:
    """Split edges 70/10/20 as NCN's code does for Cora, CiteSeer and PubMed.

    A seed names one split; the paper takes seeds 0 to 9, a new split for each. Validation
    and test have as many negatives as test has positives: validation has two for each
    positive. The same draws of torch in the same order give the same pairs as there.

    Args:
        dataset: Undirected; self loops and parallel edges are left out. Not changed.
        seed: Seed of the split.
        exact: Draw negatives from a permutation of all pairs without an edge, as there: 16
            bytes for each of them. False: as many uniform ones by graphlab's own stream, in
            memory of the edges; another split of the same law.

    Returns:
        The dataset with the training graph and ``edge_splits``; each list is sorted, with
        source < target.

    Raises:
        ValueError: a directed graph, or fewer than 10 edges.
        BudgetError: the permutation would not fit.

    Source:
        GraphPKU/NeuralCommonNeighbor, ``randomsplit``, on ``train_test_split_edges`` of
        PyG: first 20% of a permutation for validation, next 20% for test; then half of the
        first, in a second permutation, goes back to training.

    Example:
        >>> ring = torch.arange(50)
        >>> d = Dataset(Graph(torch.stack([ring, ring.roll(-1)])).to_undirected())
        >>> s = split_links_ncn(d, seed=0)
        >>> [part["edge"].shape[1] for part in s.edge_splits.values()]
        [35, 5, 10]
    """
    name = "split_links_ncn"
    graph = dataset.graph
    if not graph.is_undirected():
        need = "have an undirected graph"
        remedy = "use d.to_undirected()"
        check.fail(ValueError, name, "dataset", need, "a directed one", remedy)
    source, target = graph.edge_index
    n = int(graph.edge_index.max()) + 1 if graph.num_edges else 1
    edges = (source * n + target)[source < target].unique()
    count = len(edges)
    held_out = int(0.2 * count)
    if held_out < 2:
        check.fail(ValueError, name, "dataset", "have 10 edges or more", count)
    generator = torch.Generator().manual_seed(seed)
    order = edges[torch.randperm(count, generator=generator)]
    first, test = order[:held_out], order[held_out : 2 * held_out]
    train = order[2 * held_out :]
    free = _NonEdges(edges.numpy(), n)
    if exact:
        needed = 16 * free.count
        remedy = "pass exact=False"
        memory.require(name, "a permutation of all non-edges", needed, remedy)
        rank = torch.randperm(free.count, generator=generator)[: 2 * held_out].numpy()
    else:
        rank = _distinct(rng.key(seed, _NEGATIVES), 2 * held_out, free.count)
    negative = torch.from_numpy(free.keys(rank))
    first = first[torch.randperm(held_out, generator=generator)]
    num_val = int(held_out * 0.5)
    parts = {
        "train": {"edge": torch.cat([train, first[:-num_val]])},
        "val": {"edge": first[-num_val:], "edge_neg": negative[:held_out]},
        "test": {"edge": test, "edge_neg": negative[held_out:]},
    }
    splits = {
        split: {key: _pairs(keys.sort().values, n) for key, keys in part.items()}
        for split, part in parts.items()
    }
    stream = "" if exact else ", own negatives"
    return _with(dataset, splits, f"ncn-70/10/20(seed={seed}{stream})")


def split_links_temporal(
    dataset: Dataset, time: Any, val_from: float, test_from: float, seed: int = 0
) -> Dataset:
    """Split edges by when they came: before ``val_from``, before ``test_from``, later.

    A pair counts by its first edge, so that no later copy of a training edge is predicted.
    Negatives are uniform pairs that are never joined, as many as positives.

    Args:
        dataset: Undirected; not changed.
        time: [E], by edge id, or the name of an edge column.
        val_from: First time of validation.
        test_from: First time of testing, after ``val_from``.
        seed: Names the negatives.

    Returns:
        The dataset with the training graph and ``edge_splits``.

    Raises:
        ValueError: times of another length, a part without edges.
    """
    name = "split_links_temporal"
    graph = dataset.graph
    if isinstance(time, str):
        time = dataset.edge_columns[time]
        time = time if isinstance(time, Tensor) else gather(time, _all(graph))
    when = torch.as_tensor(time).flatten()
    if len(when) != graph.num_edges:
        need = f"have one entry for each of {graph.num_edges:,} edges"
        check.fail(ValueError, name, "time", need, len(when))
    if not val_from < test_from:
        need = f"be above val_from = {val_from}"
        check.fail(ValueError, name, "test_from", need, test_from)
    n = graph.num_nodes
    source, target = graph.edge_index
    key = torch.minimum(source, target) * n + torch.maximum(source, target)
    real = source != target
    edges, place = key[real].unique(return_inverse=True)
    start = torch.full((len(edges),), float("inf"), dtype=torch.float64)
    start.scatter_reduce_(0, place, when[real].double(), "amin")
    masks = {
        "train": start < val_from,
        "val": (start >= val_from) & (start < test_from),
        "test": start >= test_from,
    }
    for split, mask in masks.items():
        if not bool(mask.any()):
            got = f"none in {split}"
            check.fail(ValueError, name, "time", "give each part an edge", got)
    free = _NonEdges(edges.numpy(), n)
    sizes = [int(masks[split].sum()) for split in ("val", "test")]
    rank = _distinct(rng.key(seed, _NEGATIVES), sum(sizes), free.count)
    drawn = torch.from_numpy(free.keys(rank)).split(sizes)
    splits = {split: {"edge": _pairs(edges[mask], n)} for split, mask in masks.items()}
    for split, keys in zip(("val", "test"), drawn, strict=True):
        splits[split]["edge_neg"] = _pairs(keys.sort().values, n)
    stamp = f"temporal({val_from:g}, {test_from:g}, seed={seed})"
    return _with(dataset, splits, stamp)


def read_heart(dataset: Dataset, folder: str | Path) -> Dataset:
    """Take HeaRT's fixed split and its negatives from the published files.

    Read are ``{train,valid,test}_{pos,neg}.txt`` (two ids a line) and, where they are,
    ``heart_{valid,test}_samples.npy`` ([P, negatives, 2]), which then are each positive's own
    negatives: score them with ``mrr``.

    Args:
        dataset: Its nodes; the graph is replaced by the training edges.
        folder: Where the files are. Nothing is downloaded.

    Raises:
        StoreError: a file is missing or is no list of pairs.

    Source:
        Li et al., "Evaluating Graph Neural Networks for Link Prediction: Current Pitfalls and
        New Benchmarking", NeurIPS 2023. The published Planetoid negatives carry an artefact
        of their generator (similarity rankings reversed at second sight), so they are this
        benchmark and no other; :func:`graphlab.evaluate.hard_negatives` is ours.
    """
    folder = Path(folder)
    splits: dict[str, dict[str, Tensor]] = {}
    for theirs, ours in (("train", "train"), ("valid", "val"), ("test", "test")):
        part = {"edge": _read_pairs(folder / f"{theirs}_pos.txt", dataset.num_nodes)}
        if ours != "train":
            own = folder / f"heart_{theirs}_samples.npy"
            if own.is_file():
                part["edge_neg_own"] = _read_own(own, part["edge"].shape[1])
            else:
                path = folder / f"{theirs}_neg.txt"
                part["edge_neg"] = _read_pairs(path, dataset.num_nodes)
        splits[ours] = part
    kind = "heart" if "edge_neg_own" in splits["test"] else "heart-random"
    return _with(dataset, splits, f"{kind}-85/5/10")


class _NonEdges:
    """Pairs source < target without an edge, numbered row by row.

    Args:
        edges: Sorted keys ``source * n + target``.
        n: Nodes.
    """

    def __init__(self, edges: Keys, n: int) -> None:
        row, col = np.divmod(edges, n)
        # Pairs before each row of the upper triangle.
        rows = np.arange(n + 1, dtype=np.int64)
        self._start = rows * n - rows * (rows + 1) // 2
        number = self._start[row] + col - row - 1
        self._before = number - np.arange(len(number))
        self._n = n
        self.count = n * (n - 1) // 2 - len(edges)

    def keys(self, rank: Keys) -> Keys:
        """Keys of the pairs of some numbers."""
        number = rank + np.searchsorted(self._before, rank, side="right")
        row = np.searchsorted(self._start, number, side="right") - 1
        return row * self._n + number - self._start[row] + row + 1


def _distinct(key: int, count: int, size: int) -> Keys:
    """The first ``count`` distinct ones of a stream of numbers below ``size``."""
    if count > size:
        need = f"leave {count:,} pairs unjoined for negatives"
        check.fail(ValueError, "split_links", "dataset", need, f"{size:,}")
    drawn = np.zeros(0, np.int64)
    part = 0
    while len(drawn) < count:
        bits = rng.bits(rng.key(key, part), 2 * count + 16)
        # Numbers above the last whole repetition of the range are left out: no bias.
        limit = np.uint64(2**64 - 1) - np.uint64(2**64 % size)
        fresh = (bits[bits <= limit] % np.uint64(size)).astype(np.int64)
        both = np.concatenate([drawn, fresh])
        _, first = np.unique(both, return_index=True)
        drawn = both[np.sort(first)]
        part += 1
    return drawn[:count]


def _with(
    dataset: Dataset, splits: dict[str, dict[str, Tensor]], described: str
) -> Dataset:
    """The dataset on its training edges, both ways round, with the split's name."""
    result = dataset.with_splits(dataset.splits)
    edge = splits["train"]["edge"]
    both = torch.cat([edge, edge.flip(0)], 1)
    result.graph = Graph(both, dataset.num_nodes).to_undirected()
    result.edge_columns = {}
    result.edge_splits = splits
    result.meta["link_split"] = described
    return result


def _pairs(keys: Tensor, n: int) -> Tensor:
    return torch.stack([keys // n, keys % n])


def _all(graph: Graph) -> Tensor:
    return torch.arange(graph.num_edges)


def _read_pairs(path: Path, num_nodes: int) -> Tensor:
    if not path.is_file():
        remedy = "unpack HeaRT's archive there"
        raise StoreError(path, None, "a file of HeaRT's split", "none", remedy)
    try:
        pairs = np.loadtxt(path, dtype=np.int64, ndmin=2)
    except ValueError as error:
        raise StoreError(path, None, "two ids a line", str(error)) from error
    if pairs.shape[1] != 2 or pairs.min() < 0 or pairs.max() >= num_nodes:
        found = f"shape {list(pairs.shape)}, ids up to {int(pairs.max())}"
        raise StoreError(path, None, f"two ids below {num_nodes:,} a line", found)
    return as_tensor(pairs).t().contiguous()


def _read_own(path: Path, positives: int) -> Tensor:
    own = np.load(path, allow_pickle=False)
    if own.ndim != 3 or own.shape[0] != positives or own.shape[2] != 2:
        expected = f"shape [{positives:,}, negatives, 2]"
        raise StoreError(path, None, expected, f"{list(own.shape)}")
    return as_tensor(own.astype(np.int64))
