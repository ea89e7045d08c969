"""Random splits of nodes and of edges, the same for the same seed on any machine."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from graphlab import check
from graphlab.datasets.column import gather
from graphlab.datasets.dataset import Dataset
from graphlab.graph import Graph
from graphlab.interop.arrays import as_tensor
from graphlab.ops import rng

Ids = npt.NDArray[np.int64]

# Names of random streams, so that no two kinds of split share their draws.
_RANDOM, _PER_CLASS, _POSITIVES, _NEGATIVES = 101, 102, 103, 104
# Below this many pairs of nodes, those without an edge are listed instead of drawn.
_LISTED_PAIRS = 2**22


def split_random(
    dataset: Dataset,
    train: float = 0.6,
    val: float = 0.2,
    runs: int = 10,
    seed: int = 0,
    stratified: bool = False,
) -> Dataset:
    """Split the labelled nodes at random (all nodes where there are no labels).

    Args:
        dataset: Not changed; the result shares its columns.
        train: Share of the nodes, in (0, 1); the number is rounded.
        val: The same; the rest is the test split.
        runs: Number of independent splits.
        seed: Names the draws; run ``r`` is the same whatever ``runs`` is.
        stratified: Whether to split every class by these shares.

    Returns:
        The dataset with masks [N, runs] (or [N] for one run).

    Raises:
        ValueError: shares that leave a split empty or have no room.

    Example:
        >>> d = Dataset(Graph(torch.tensor([[0, 1], [1, 0]]), num_nodes=10))
        >>> split_random(d, 0.5, 0.3).test_mask.sum(0).tolist()
        [2, 2, 2, 2, 2, 2, 2, 2, 2, 2]
    """
    name = "split_random"
    for argument, share in (("train", train), ("val", val)):
        if not 0 < share < 1:
            check.fail(ValueError, name, argument, "be a share in (0, 1)", share)
    if train + val >= 1:
        check.fail(ValueError, name, "train + val", "leave a test split", train + val)
    check.positive(name, "runs", runs)
    groups = [_labelled(dataset)]
    if stratified:
        groups = _classes(name, dataset)
    masks = _Masks(dataset.num_nodes, runs)
    for run in range(runs):
        for number, group in enumerate(groups):
            order = group[
                rng.permutation(rng.key(seed, _RANDOM, run, number), len(group))
            ]
            first = round(train * len(group))
            second = first + round(val * len(group))
            masks.put(run, order[:first], order[first:second], order[second:])
    kind = ", stratified" if stratified else ""
    described = f"{name}(train={train:g}, val={val:g}, seed={seed}{kind})"
    return masks.onto(name, dataset, described)


def split_per_class(
    dataset: Dataset,
    per_class: int = 20,
    num_val: int = 500,
    num_test: int | None = None,
    runs: int = 10,
    seed: int = 0,
) -> Dataset:
    """Train on equally many nodes of every class, as the Planetoid splits do.

    Args:
        dataset: Class ids in ``y``; not changed, the result shares its columns.
        per_class: Training nodes of each class.
        num_val: Validation nodes, drawn from the others.
        num_test: Test nodes, drawn from those left; None: all of them.
        runs: Number of independent splits.
        seed: Names the draws.

    Returns:
        The dataset with masks [N, runs] (or [N] for one run).

    Raises:
        ValueError: a class with fewer members, or too few nodes left.
    """
    name = "split_per_class"
    check.positive(name, "per_class", per_class)
    check.positive(name, "num_val", num_val)
    check.positive(name, "runs", runs)
    classes = _classes(name, dataset)
    for number, members in enumerate(classes):
        if len(members) < per_class:
            requirement = "be at most the size of the smallest class"
            got = f"{per_class} where class {number} has {len(members)}"
            check.fail(ValueError, name, "per_class", requirement, got)
    left = sum(len(c) for c in classes) - per_class * len(classes) - num_val
    if left < (1 if num_test is None else num_test):
        requirement = "leave enough nodes for testing"
        check.fail(
            ValueError, name, "num_val", requirement, f"{num_val} and {left} left"
        )
    masks = _Masks(dataset.num_nodes, runs)
    for run in range(runs):
        chosen, others = [], []
        for number, members in enumerate(classes):
            key = rng.key(seed, _PER_CLASS, run, number)
            order = members[rng.permutation(key, len(members))]
            chosen.append(order[:per_class])
            others.append(order[per_class:])
        rest = np.concatenate(others)
        rest = rest[rng.permutation(rng.key(seed, _PER_CLASS, run, -1), len(rest))]
        end = None if num_test is None else num_val + num_test
        masks.put(run, np.concatenate(chosen), rest[:num_val], rest[num_val:end])
    described = f"{name}({per_class}, num_val={num_val}, seed={seed})"
    return masks.onto(name, dataset, described)


def split_links(
    dataset: Dataset,
    val: float | int = 0.1,
    test: float | int = 0.2,
    negatives: float | int = 1.0,
    seed: int = 0,
) -> Dataset:
    """Hide edges for link prediction: the result's graph holds the training edges only.

    In an undirected graph both directions of an edge, and parallel edges in any graph, go to
    one side together. Self loops are no links and are left out. Negatives are drawn uniformly
    from the pairs that are no edge of the whole graph, each once, others for test than for
    validation; never (v, v).

    Args:
        dataset: Not changed; the result shares its node columns.
        val: Share of the distinct pairs (rounded down) or their number.
        test: The same.
        negatives: Negative pairs: a share of the positives of each split (float), or their
            number (int).
        seed: Names the draws.

    Returns:
        The dataset with the training graph, its edge columns cut to it, and ``edge_splits``:
        ``edge`` [2, P] of train, val and test, ``edge_neg`` [2, Q] of val and test, all sorted;
        in an undirected graph source < target.

    Raises:
        ValueError: sizes with no room, or fewer pairs without an edge than asked for.

    Example:
        >>> ring = torch.arange(20)
        >>> d = Dataset(Graph(torch.stack([ring, ring.roll(-1)])))
        >>> s = split_links(d, val=0.1, test=0.2)
        >>> s.num_edges, s.edge_splits["test"]["edge"].shape[1]
        (14, 4)
    """
    name = "split_links"
    graph = dataset.graph
    undirected = graph.is_undirected()
    source, target = (row.numpy() for row in graph.edge_index)
    low, high = source, target
    if undirected:
        low, high = np.minimum(source, target), np.maximum(source, target)
    keys = low * graph.num_nodes + high
    is_link = source != target
    pairs, of_pair = np.unique(keys[is_link], return_inverse=True)
    num_val, num_test = (
        _size(name, argument, value, len(pairs))
        for argument, value in (("val", val), ("test", test))
    )
    if num_val + num_test >= len(pairs):
        got = f"{num_val:,} + {num_test:,} of {len(pairs):,}"
        check.fail(ValueError, name, "val + test", "leave training edges", got)
    part = np.zeros(len(pairs), np.int8)
    order = rng.permutation(rng.key(seed, _POSITIVES), len(pairs))
    part[order[:num_test]] = 2
    part[order[num_test : num_test + num_val]] = 1

    sizes = [_size(name, "negatives", negatives, n) for n in (num_val, num_test)]
    drawn = _non_edges(name, pairs, graph.num_nodes, undirected, sum(sizes), seed)
    empty = {"val": np.sort(drawn[: sizes[0]]), "test": np.sort(drawn[sizes[0] :])}
    result = dataset.with_splits(dataset.splits)
    result.edge_splits = {}
    for number, split in enumerate(("train", "val", "test")):
        parts = {"edge": _decode(pairs[part == number], graph.num_nodes)}
        if split in empty:
            parts["edge_neg"] = _decode(empty[split], graph.num_nodes)
        result.edge_splits[split] = parts

    keep = np.flatnonzero(is_link)[part[of_pair] == 0]
    kept = as_tensor(keep)
    weight = None if graph.edge_weight is None else graph.edge_weight[kept]
    result.graph = Graph(graph.edge_index[:, kept], graph.num_nodes, weight)
    result.graph.node_names = graph.node_names
    result.edge_columns = {n: gather(c, kept) for n, c in dataset.edge_columns.items()}
    result.meta["link_split"] = {"val": val, "test": test, "seed": seed}
    return result


class _Masks:
    """Masks of all runs, filled run by run."""

    def __init__(self, num_nodes: int, runs: int) -> None:
        shape = (num_nodes, runs)
        self._masks = {s: np.zeros(shape, bool) for s in ("train", "val", "test")}

    def put(self, run: int, *ids: Ids) -> None:
        for mask, chosen in zip(self._masks.values(), ids, strict=True):
            mask[chosen, run] = True

    def onto(self, name: str, dataset: Dataset, described: str) -> Dataset:
        for split, mask in self._masks.items():
            if not mask.any(0).all():
                requirement = f"give the {split} split at least one node"
                check.fail(ValueError, name, "dataset", requirement, "too few nodes")
        result = dataset.with_splits(self._masks)
        # Scores carry this name: a file's own split must not lend its own to another.
        result.meta = {**dataset.meta, "split": described}
        return result


def _labelled(dataset: Dataset) -> Ids:
    """Ids of nodes that have a label, or of all where nothing is labelled."""
    y = dataset.y
    if y is None or y.dim() == 2:
        return np.arange(dataset.num_nodes)
    known = ~y.isnan() if y.is_floating_point() else y >= 0
    return known.nonzero()[:, 0].numpy()


def _classes(name: str, dataset: Dataset) -> list[Ids]:
    """Ids of the members of every class."""
    y = dataset.y
    if y is None or y.dim() == 2 or y.is_floating_point():
        got = "none" if y is None else f"{list(y.shape)} {y.dtype}"
        check.fail(ValueError, name, "dataset", "have one class id per node in y", got)
    order = np.argsort(y.numpy(), kind="stable")
    counts = np.bincount(y.numpy()[y.numpy() >= 0])
    ends = int((y < 0).sum()) + np.cumsum(counts)
    return [order[end - count : end] for end, count in zip(ends, counts, strict=True)]


def _size(name: str, argument: str, value: float | int, total: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
        requirement = "be a positive share (float) or number (int)"
        check.fail(ValueError, name, argument, requirement, value)
    # 1e-9: 0.29 * 100 is 28.999999999999996 in floating point.
    return value if isinstance(value, int) else int(value * total + 1e-9)


def _decode(keys: Any, num_nodes: int) -> Tensor:
    return torch.stack([as_tensor(keys // num_nodes), as_tensor(keys % num_nodes)])


def _non_edges(
    name: str, pairs: Ids, num_nodes: int, undirected: bool, count: int, seed: int
) -> Ids:
    """Draw ``count`` distinct keys of pairs that are not in the sorted ``pairs``."""
    total = num_nodes * (num_nodes - 1) // (2 if undirected else 1)
    if count > total - len(pairs):
        requirement = f"be at most the {total - len(pairs):,} pairs without an edge"
        check.fail(ValueError, name, "negatives", requirement, f"{count:,}")
    if total <= _LISTED_PAIRS:
        low, high = np.divmod(np.arange(num_nodes**2), num_nodes)
        every = np.flatnonzero(low < high if undirected else low != high)
        free = np.setdiff1d(every, pairs, assume_unique=True)
        return free[rng.permutation(rng.key(seed, _NEGATIVES), len(free))[:count]]
    found = np.zeros(0, np.int64)
    batch = 0
    while len(found) < count:
        ends = _bounded(rng.key(seed, _NEGATIVES, batch), 4 * count + 64, num_nodes)
        low, high = ends[: len(ends) // 2], ends[len(ends) // 2 :][: len(ends) // 2]
        if undirected:
            low, high = np.minimum(low, high), np.maximum(low, high)
        keys = (low * num_nodes + high)[low != high]
        position = np.minimum(np.searchsorted(pairs, keys), len(pairs) - 1)
        keys = np.concatenate([found, keys[pairs[position] != keys]])
        _, first = np.unique(keys, return_index=True)
        found = keys[np.sort(first)]
        batch += 1
    return found[:count]


def _bounded(key: int, count: int, size: int) -> Ids:
    """Unbiased draws below ``size``: about ``count`` of them, rejected ones left out."""
    bits = rng.bits(key, count)
    limit = np.uint64(2**64 - 1) - np.uint64(2**64 % size)
    return (bits[bits <= limit] % np.uint64(size)).astype(np.int64)
