"""The demonstration: each graph is trained from memory and from disk, the same to the bit."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from graphlab import progress, sizes
from graphlab.errors import OutOfDiskError

if TYPE_CHECKING:
    from graphlab.datasets import Dataset
    from graphlab.outofcore import Store

RUNS = ("in-memory", "from-disk")


@dataclasses.dataclass(frozen=True)
class Case:
    """A graph, and how it is trained twice.

    Args:
        name: Of a dataset under ``GRAPHLAB_DATA``, or for the generated graph.
        num_nodes: Nodes.
        num_features: Features a node, float32 on disk.
        num_edges: Edges to generate; 0: a real dataset, loaded by its name.
        memory: Budget of the run from disk.
        split: Shares of the nodes that train, validate and test.
        epochs: Epochs of both runs.
        batch_size: Seeds a batch.
        num_neighbors: Neighbours a hop.
        hidden_channels: Width of the model.
        lr: Learning rate.
        exact: Whether validation and test use full neighbourhoods; else sampled ones.
    """

    name: str
    num_nodes: int
    num_features: int
    num_edges: int
    memory: str
    split: tuple[float, float, float]
    epochs: int
    batch_size: int
    num_neighbors: tuple[int, ...]
    hidden_channels: int = 64
    lr: float = 0.01
    exact: bool = False

    @property
    def feature_bytes(self) -> int:
        """Bytes of the dense features."""
        return 4 * self.num_nodes * self.num_features

    @property
    def plan_bytes(self) -> int:
        """Bytes that the plan may take: every row that its batches can hold, once."""
        rows, width = self.batch_size, self.batch_size
        for count in self.num_neighbors:
            width *= count
            rows += width
        batches = -(-int(self.split[0] * self.num_nodes) // self.batch_size)
        row = 4 * self.num_features + 40
        return self.epochs * batches * min(rows, self.num_nodes) * row + 2**24

    @property
    def disk_bytes(self) -> int:
        """Bytes on disk at most: the store and the plan."""
        return self.feature_bytes + 32 * self.num_edges + 2**25 + self.plan_bytes

    def describe(self) -> str:
        """One line about what will be done."""
        kind = "generated" if self.num_edges else "real"
        return (
            f"{self.name} ({kind}): {self.num_nodes:,} nodes, features "
            f"{sizes.show(self.feature_bytes)}; {self.epochs} epochs in memory, then "
            f"{self.epochs} from disk inside {self.memory}"
        )


REAL = Case(
    "amazon_computers",
    num_nodes=13_752,
    num_features=767,
    num_edges=0,
    memory="32MiB",
    split=(0.2, 0.1, 0.2),
    epochs=8,
    batch_size=128,
    num_neighbors=(10, 5),
    hidden_channels=128,
    lr=0.003,
    exact=True,
)
GENERATED = Case(
    "generated-2m",
    num_nodes=2_000_000,
    num_features=128,
    num_edges=16_000_000,
    memory="256MiB",
    split=(0.02, 0.005, 0.01),
    epochs=3,
    batch_size=1024,
    num_neighbors=(10, 5),
)
SMALL = Case(
    "generated-small",
    num_nodes=40_000,
    num_features=64,
    num_edges=320_000,
    memory="4MiB",
    split=(0.05, 0.02, 0.02),
    epochs=3,
    batch_size=128,
    num_neighbors=(5, 5),
    hidden_channels=32,
)


def cases(*, small: bool = False) -> list[Case]:
    """What the demonstration trains here: the real graph only where its file is."""
    if small:
        return [SMALL]
    root = os.environ.get("GRAPHLAB_DATA", "")
    real = bool(root) and (Path(root) / f"{REAL.name}.npz").is_file()
    return [REAL, GENERATED] if real else [GENERATED]


def is_done(case: Case, out: Path) -> bool:
    """Whether both runs of a case are finished already."""
    return all((out / case.name / run / "result.json").is_file() for run in RUNS)


def require_disk(wanted: list[Case], out: Path) -> int:
    """Return the bytes that the cases still need; refuse where the disk has not got them.

    Raises:
        OutOfDiskError: says how much is missing; nothing was written.
    """
    need = max((c.disk_bytes for c in wanted if not is_done(c, out)), default=0)
    there = next(p for p in (out.absolute(), *out.absolute().parents) if p.exists())
    free = shutil.disk_usage(there).free
    if free < need:
        raise OutOfDiskError(
            out,
            None,
            f"{sizes.show(need)} free",
            f"{sizes.show(free)}",
            "free some space, choose another disk with --out, or try --small",
        )
    return need


def run(case: Case, out: Path, *, keep: bool = False) -> list[Path]:
    """Train a case from memory and from disk; finished runs are not done again.

    Args:
        case: The case.
        out: Folder; the case gets a folder of its own in it.
        keep: Whether to leave the store and the plan.

    Returns:
        The two run folders.
    """
    folder = out / case.name
    if not is_done(case, out):
        store = _store(case, folder / "store")
        _train_in_memory(case, store, folder / RUNS[0])
        _train_from_disk(case, store, folder)
    if not keep:
        for big in ("store", "plan"):
            shutil.rmtree(folder / big, ignore_errors=True)
    return [folder / name for name in RUNS]


def same_losses(runs: list[Path]) -> bool:
    """Whether all runs have the same training losses, to the last bit."""
    losses = []
    for folder in runs:
        lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
        losses.append([line["loss"] for line in lines if line["event"] == "epoch"])
    return all(other == losses[0] for other in losses) and bool(losses[0])


def _store(case: Case, path: Path) -> Store:
    from graphlab import datasets
    from graphlab.outofcore import Store

    if not (path / "manifest.json").is_file():
        if case.num_edges:
            progress.say(f"{case.name}: generating {case.num_nodes:,} nodes")
            datasets.generate(
                "sbm",
                num_nodes=case.num_nodes,
                num_edges=case.num_edges,
                num_features=case.num_features,
                seed=0,
                path=path,
            )
        else:
            d = datasets.load(case.name, undirected=True)
            return Store.convert(d, path, layout="dense", overwrite=True)
    return Store.open(path)


def _dataset(case: Case, store: Store) -> Dataset:
    """The store's dataset with the case's split, which is a function of the seed 0."""
    d = store.dataset()
    order = torch.randperm(d.num_nodes, generator=torch.Generator().manual_seed(0))
    ends = torch.tensor(case.split).cumsum(0).mul(d.num_nodes).round().long().tolist()
    parts = (order[: ends[0]], order[ends[0] : ends[1]], order[ends[1] : ends[2]])
    d.set_splits(dict(zip(("train", "val", "test"), parts, strict=True)))
    shares = "/".join(f"{100 * share:g}" for share in case.split)
    d.meta |= {"name": case.name, "split": f"random {shares} %, seed 0"}
    return d


def _train_in_memory(case: Case, store: Store, run_dir: Path) -> None:
    from graphlab.graph import Graph
    from graphlab.sample import NeighborLoader

    d = _dataset(case, store)
    progress.say(f"{case.name}: training in memory")
    ptr, idx, edge_id = d.graph.csc()
    edge_id = None if edge_id is None else edge_id.clone()
    d.graph = Graph.from_csc(ptr.clone(), idx.clone(), edge_id)
    d.x = d.x.gather(torch.arange(d.num_nodes))
    loader = NeighborLoader(
        d, case.num_neighbors, case.batch_size, d.ids("train"), seed=0
    )
    _fit(case, d, loader, run_dir)


def _train_from_disk(case: Case, store: Store, folder: Path) -> None:
    from graphlab import outofcore

    d = _dataset(case, store)
    progress.say(f"{case.name}: planning {case.epochs} epochs inside {case.memory}")
    plan = outofcore.plan(
        store,
        num_neighbors=list(case.num_neighbors),
        input_nodes=d.ids("train"),
        batch_size=case.batch_size,
        epochs=case.epochs,
        seed=0,
        memory=case.memory,
        disk=case.plan_bytes,
        mode="replay",
        path=folder / "plan",
    )
    progress.say(f"{case.name}: training from disk inside {case.memory}")
    loader = plan.loader()
    try:
        _fit(case, d, loader, folder / RUNS[1], explain=str(plan.explain()))
    finally:
        loader.close()


def _fit(case: Case, d: Dataset, loader: Any, run_dir: Path, **notes: Any) -> None:
    from graphlab.models import SAGE
    from graphlab.sample import NeighborLoader
    from graphlab.tasks import node

    def sampled(ids: torch.Tensor) -> NeighborLoader:
        return NeighborLoader(d, case.num_neighbors, 1024, ids, shuffle=False, seed=0)

    node.fit(
        d,
        partial(SAGE, hidden_channels=case.hidden_channels, num_layers=2, dropout=0.2),
        loader=loader,
        seeds=[0],
        run_dir=run_dir,
        eval_loader=None if case.exact else sampled,
        final_inference="exact" if case.exact else "sampled",
        epochs=case.epochs,
        lr=case.lr,
        notes=notes,
    )
