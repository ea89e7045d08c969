"""Generated data sets: planted partition and R-MAT, in memory or streamed to disk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from graphlab import check, sizes
from graphlab.datasets import chunked, storage, topology
from graphlab.datasets.dataset import Dataset
from graphlab.datasets.journal import Journal
from graphlab.datasets.ledger import Ledger
from graphlab.datasets.writer import Writer
from graphlab.graph import Graph
from graphlab.progress import track

if TYPE_CHECKING:
    from graphlab.datasets.synthetic import Recipe

PIECE_BYTES = 16 * 2**20
_KINDS = {
    "sbm": "planted partition; undirected, both directions stored; pairs drawn with "
    "replacement, so a pair may be drawn twice",
    "rmat": "R-MAT; directed; edges drawn with replacement, self loops and parallel edges "
    "kept; ids relabelled at random, so they carry no locality",
}


def generate(
    kind: str,
    num_nodes: int,
    num_edges: int,
    num_features: int = 0,
    *,
    seed: int = 0,
    path: str | Path | None = None,
    num_classes: int = 10,
    homophily: float = 0.8,
    snr: float = 1.5,
    probabilities: tuple[float, float, float, float] = (0.57, 0.19, 0.19, 0.05),
    train: float = 0.6,
    val: float = 0.2,
    dtype: str = "source",
    memory: int | str = "2GiB",
    overwrite: bool = False,
) -> Dataset:
    """Make a random data set: a function of its arguments, on any machine and any threads.

    ``sbm`` plants ``num_classes`` classes of equal size; an edge stays inside its class with
    probability ``homophily``, else it goes to a node of any other class. ``rmat`` draws each
    edge by halving the adjacency matrix with ``probabilities`` of the four quarters; its
    classes are independent of its edges.

    Features are ``x_v = snr * u[y_v] + noise``: ``u`` a unit direction of each class, noise
    of variance 1 in every direction (a sum of four uniform numbers, which is near normal and
    the same bits everywhere). Two class means are about ``sqrt(2) * snr`` standard
    deviations apart, whatever ``num_features``.

    Args:
        kind: ``sbm`` or ``rmat``.
        num_nodes: N, below 2^32.
        num_edges: E, directed edges as stored; even for ``sbm``, which stores both
            directions: edge 2i + 1 is the reverse of edge 2i.
        num_features: Width of ``x``, float32; 0 for none.
        seed: Everything follows from it.
        path: Folder to stream a store to; None keeps all in memory. The data are the same.
        num_classes: C.
        homophily: Probability that an edge stays inside its class; ``1 / num_classes`` is no
            preference, 0 is fully heterophilous. ``sbm`` only.
        snr: Length of a class mean over the standard deviation of the noise.
        probabilities: R-MAT's a, b, c, d.
        train: Share of training nodes; exact to one node.
        val: Share of validation nodes; the rest is test.
        dtype: How features are stored on disk; see :func:`graphlab.datasets.storage.save`.
        memory: Bytes that streaming may hold.
        overwrite: Whether to replace a store at ``path``.

    Returns:
        A Dataset whose meta says that it is generated and how.

    Raises:
        ValueError: arguments out of range.
        BudgetError: ``memory`` cannot hold the work.
        OutOfDiskError: the disk cannot hold the store.

    Cost:
        On disk: memory as declared, whatever the size; run files of 12 bytes an edge beside
        the store while it is made. A killed run, called again, goes on with its edges at the
        last checkpoint and draws features and labels anew.

    Source:
        Planted partition: Condon and Karp 2001. R-MAT: Chakrabarti, Zhan, Faloutsos 2004,
        with the probabilities of Graph500.

    Example:
        >>> d = generate("sbm", num_nodes=100, num_edges=400, num_features=8, num_classes=4)
        >>> d.num_nodes, d.num_edges, d.num_classes, int(d.train_mask.sum())
        (100, 400, 4, 60)
    """
    recipe = _recipe(
        kind, num_nodes, num_edges, num_features, num_classes, homophily, snr,
        probabilities, train, val, seed,
    )  # fmt: skip
    if path is not None:
        limit = sizes.parse(memory)
        _stream(recipe, Path(path), dtype, limit, overwrite)
        return storage.open(path)
    source, target = recipe.edges(0, num_edges)
    return Dataset(
        Graph(torch.stack([source, target]), num_nodes),
        x=recipe.features(0, num_nodes) if num_features else None,
        y=torch.from_numpy(recipe.labels(0, num_nodes)),
        splits={k: torch.from_numpy(m) for k, m in recipe.masks(0, num_nodes).items()},
        meta=_meta(recipe),
    )


def _recipe(
    kind: str,
    num_nodes: int,
    num_edges: int,
    num_features: int,
    num_classes: int,
    homophily: float,
    snr: float,
    probabilities: tuple[float, float, float, float],
    train: float,
    val: float,
    seed: int,
) -> Recipe:
    name = "generate"
    check.one_of(name, "kind", kind, _KINDS)
    check.positive(name, "num_nodes", num_nodes, least=2)
    check.positive(name, "num_edges", num_edges, least=0)
    check.positive(name, "num_features", num_features, least=0)
    check.positive(name, "num_classes", num_classes)
    if num_nodes >= 2**32:
        check.fail(ValueError, name, "num_nodes", "be below 2^32", num_nodes)
    if kind == "sbm" and num_edges % 2:
        requirement = "be even, since both directions are stored"
        check.fail(ValueError, name, "num_edges", requirement, num_edges)
    if num_classes > num_nodes:
        requirement = f"be at most num_nodes = {num_nodes:,}"
        check.fail(ValueError, name, "num_classes", requirement, num_classes)
    if not 0 <= homophily <= 1:
        check.fail(ValueError, name, "homophily", "be in [0, 1]", homophily)
    if not (snr >= 0 and snr < 1e6):
        check.fail(ValueError, name, "snr", "be at least 0", snr)
    if train < 0 or val < 0 or train + val > 1:
        got = f"{train} + {val}"
        check.fail(ValueError, name, "train + val", "be in [0, 1]", got)
    if (
        len(probabilities) != 4
        or min(probabilities) < 0
        or abs(sum(probabilities) - 1) > 1e-9
    ):
        requirement = "be four numbers of sum 1"
        check.fail(ValueError, name, "probabilities", requirement, probabilities)
    from graphlab.datasets.synthetic import Recipe

    return Recipe(
        kind, num_nodes, num_edges, num_features, num_classes, float(homophily),
        float(snr), probabilities, train, val, seed,
    )  # fmt: skip


def _meta(recipe: Recipe) -> dict[str, Any]:
    arguments = {**asdict(recipe), "probabilities": list(recipe.probabilities)}
    kind = arguments.pop("kind")
    unused = ["probabilities"] if kind == "sbm" else ["homophily"]
    return {
        "name": f"{kind}-{recipe.num_nodes}",
        "generated": True,
        "kind": _KINDS[kind],
        "arguments": {
            "kind": kind,
            **{k: v for k, v in arguments.items() if k not in unused},
        },
        "directed": kind == "rmat",
    }


def _stream(
    recipe: Recipe, folder: Path, dtype: str, memory: int, overwrite: bool
) -> None:
    """Write the store piece by piece."""
    from graphlab.datasets import encoding

    check.one_of("generate", "dtype", dtype, encoding.CHOICES)
    num_nodes, num_edges = recipe.num_nodes, recipe.num_edges
    from graphlab.datasets.synthetic import SyntheticEdges

    ledger, stream = Ledger("generate", memory), SyntheticEdges(recipe)
    storage.prepare("generate", folder, overwrite)
    topology.choose_sizes(ledger, stream, num_nodes, num_edges)
    _, stored = encoding.choose(torch.float32, dtype)
    need = topology.disk_bytes(num_nodes, num_edges) + 11 * num_nodes
    need += num_nodes * recipe.num_features * stored.itemsize + 4 * num_nodes
    chunked.need_disk(folder, need, f"generate({folder})")
    # Rows as drawn, their labels, and what coding holds beside them.
    rows = max(1, min(PIECE_BYTES, memory // 8) // (4 * recipe.num_features + 64))
    ledger.take("a piece of features", 4 * rows * (4 * recipe.num_features + 64))
    ledger.give(ledger.held)
    folder.mkdir(parents=True, exist_ok=True)
    request = {**asdict(recipe), "dtype": dtype, "memory": memory}
    journal = Journal(folder, request, overwrite)
    writer = Writer(folder)
    graph = topology.build(stream, num_nodes, num_edges, writer, journal, ledger)

    def ranges() -> Iterator[tuple[int, int]]:
        for start in range(0, num_nodes, rows):
            yield start, min(num_nodes, start + rows)

    if recipe.num_features:
        with track("drawing features", num_nodes, "rows") as progress:

            def pieces() -> Iterator[Tensor]:
                for start, stop in ranges():
                    yield recipe.features(start, stop)
                    progress.advance(stop - start)

            shape = (num_nodes, recipe.num_features)
            writer.dense("node/x", shape, torch.float32, pieces(), dtype)
    labels = (torch.from_numpy(recipe.labels(a, b)) for a, b in ranges())
    writer.dense("node/y", (num_nodes,), torch.int64, labels)
    for split in ("train", "val", "test"):
        masks = (torch.from_numpy(recipe.masks(a, b)[split]) for a, b in ranges())
        writer.dense(f"split/{split}", (num_nodes,), torch.bool, masks)
    writer.finish(
        graph,
        num_nodes,
        num_edges,
        splits={split: f"split/{split}" for split in ("train", "val", "test")},
        meta=_meta(recipe),
        provenance={"request": request, "peak_memory_bytes": ledger.peak},
    )
    journal.finish()
