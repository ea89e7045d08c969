"""OGB folders as they are unpacked, read natively: ``raw/`` and ``split/``.

Three kinds of files: ``raw/*.csv.gz``, ``raw/data.npz``, and splits as csv.gz (nodes) or .pt
(pairs). The ``processed/`` folder, which OGB writes with unrestricted pickle, is ignored.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from graphlab import check, memory
from graphlab.interop import arrow, pickled
from graphlab.interop.arrays import Array, DatasetArrays, EdgeArrays, as_tensor


class Official(NamedTuple):
    """What OGB's own table says of a dataset."""

    archive: str
    split: str
    inverse: bool
    """Raw files hold each undirected edge once; the reverse is added after each."""
    metric: str


_NODE = "http://snap.stanford.edu/ogb/data/nodeproppred"
_LINK = "http://snap.stanford.edu/ogb/data/linkproppred"
OFFICIAL = {
    "ogbn_arxiv": Official(f"{_NODE}/arxiv.zip", "time", False, "acc"),
    "ogbn_products": Official(f"{_NODE}/products.zip", "sales_ranking", True, "acc"),
    "ogbn_proteins": Official(f"{_NODE}/proteins.zip", "species", True, "rocauc"),
    "ogbn_papers100M": Official(f"{_NODE}/papers100M-bin.zip", "time", False, "acc"),
    "ogbl_ppa": Official(f"{_LINK}/ppassoc.zip", "throughput", True, "hits@100"),
    "ogbl_collab": Official(f"{_LINK}/collab.zip", "time", True, "hits@50"),
    "ogbl_ddi": Official(f"{_LINK}/ddi.zip", "target", True, "hits@20"),
    "ogbl_citation2": Official(f"{_LINK}/citation-v2.zip", "time", False, "mrr"),
    "ogbl_wikikg2": Official(f"{_LINK}/wikikg-v2.zip", "time", False, "mrr"),
    "ogbl_vessel": Official(f"{_LINK}/vessel.zip", "spatial", False, "rocauc"),
}
_SPLITS = {"train": "train", "valid": "val", "test": "test"}
_TYPED = ("triplet-type-list.csv.gz", "num-node-dict.csv.gz", "edge_index_dict.npz")
_NAMES = {"node_feat": "x", "edge_feat": "edge_attr", "species": "node_species"}


def official(name: str) -> Official | None:
    """OGB's entry of a dataset, by either spelling of its name."""
    plain = name.replace("-", "_").lower()
    return next((o for key, o in OFFICIAL.items() if key.lower() == plain), None)


def is_folder(path: Path) -> bool:
    """Whether a folder has the layout of an unpacked OGB dataset."""
    raw = path / "raw"
    return any((raw / n).is_file() for n in ("edge.csv.gz", "data.npz", *_TYPED))


def read(path: str | Path, inverse: bool | None = None) -> DatasetArrays:
    """Read a folder.

    Args:
        path: The folder that holds ``raw`` and ``split``.
        inverse: Whether to add the reverse after each edge; None: as OGB does for the
            folder's name, and not for names it does not know.

    Returns:
        ``node_feat`` as ``x``, other ``node_*`` as node columns, ``edge_feat`` as
        ``edge_attr``, ``edge_weight`` as weights, other ``edge_*`` as edge columns. Labels of
        one column are class ids, -1 where missing.

    Raises:
        ValueError: a heterogeneous graph, several graphs, counts that do not agree.
        BudgetError: more than memory holds.
    """
    path = Path(path)
    raw, known = path / "raw", official(path.name)
    if any((raw / name).exists() for name in _TYPED):
        remedy = "version 1 reads graphs of one node type and one edge type"
        got = f"a heterogeneous graph in {path}"
        check.fail(ValueError, "ogb.read", "path", "be homogeneous", got, remedy)
    if inverse is None:
        inverse = known is not None and known.inverse
    held = _read_npz(raw) if (raw / "data.npz").is_file() else _read_csv(raw)
    num_nodes = _one_graph(path, "num_nodes_list", held)
    num_edges = _one_graph(path, "num_edges_list", held)
    edge_index = as_tensor(held.pop("edge_index"))
    if edge_index.numel() and int(edge_index.max()) < 2**31:
        # Half the memory, which counts at ogbn-products' 124 million edges.
        edge_index = edge_index.int()
    if edge_index.shape[1] != num_edges:
        requirement = f"hold num-edge-list = {num_edges:,} edges"
        check.fail(
            ValueError, "ogb.read", "path", requirement, f"{edge_index.shape[1]:,}"
        )
    labels = held.pop("node_label", None)
    columns: dict[str, Any] = {}
    edge_columns: dict[str, Any] = {}
    for key, array in held.items():
        name = _NAMES.get(key, key)
        tensor = as_tensor(array)
        if key.startswith("edge_"):
            edge_columns[name] = tensor.repeat_interleave(2, 0) if inverse else tensor
        else:
            columns[name] = tensor
    weight = edge_columns.pop("edge_weight", None)
    if weight is not None:
        weight = weight.reshape(-1)
    if inverse:
        edge_index = _with_inverse(edge_index)
    meta: dict[str, Any] = {
        "name": path.name,
        "source": "OGB folder",
        "directed": not inverse,
        "symmetrised": inverse,
    }
    if known is not None:
        meta["metric"] = known.metric
    arrays = DatasetArrays(
        EdgeArrays(edge_index, num_nodes, weight),
        y=None if labels is None else _labels(labels),
        columns=columns,
        edge_columns=edge_columns,
        meta=meta,
    )
    _read_splits(path, known, arrays)
    return arrays


def _read_csv(raw: Path) -> dict[str, Array]:
    held = {
        "edge_index": arrow.read_matrix(raw / "edge.csv.gz").T,
        "num_nodes_list": arrow.read_matrix(raw / "num-node-list.csv.gz"),
        "num_edges_list": arrow.read_matrix(raw / "num-edge-list.csv.gz"),
    }
    for file in sorted(raw.glob("*.csv.gz")):
        key = file.name.removesuffix(".csv.gz").replace("-", "_")
        if key == "species" or key.startswith(("node_", "edge_")):
            held[key] = arrow.read_matrix(file)
    return held


def _read_npz(raw: Path) -> dict[str, Array]:
    need = 0
    files = [f for f in (raw / "data.npz", raw / "node-label.npz") if f.is_file()]
    for file in files:
        with zipfile.ZipFile(file) as archive:
            need += sum(info.file_size for info in archive.infolist())
    memory.require(
        "ogb.read",
        f"{raw}",
        need,
        "unzip data.npz and node-label.npz there, and stream them to a store: graphlab data "
        "convert --edges edge_index.npy --features node_feat.npy --labels node_label.npy",
    )
    held: dict[str, Array] = {}
    for file in files:
        with np.load(file, allow_pickle=False) as members:
            held |= {name: members[name] for name in members.files}
    return held


def _one_graph(path: Path, key: str, held: dict[str, Array]) -> int:
    counts = held.pop(key).reshape(-1)
    if len(counts) != 1:
        got = f"{len(counts)} in {path}"
        check.fail(ValueError, "ogb.read", "path", "hold one graph", got)
    return int(counts[0])


def _with_inverse(edge_index: Tensor) -> Tensor:
    """Each edge, then its reverse: OGB's order with add_inverse_edge."""
    both = edge_index.repeat_interleave(2, 1)
    both[:, 1::2] = edge_index.flip(0)
    return both


def _labels(labels: Array) -> Tensor:
    """Class ids with -1 for NaN where one column holds integers; else as they are."""
    if labels.dtype.kind == "f" and (labels.ndim == 1 or labels.shape[1] == 1):
        flat = labels.reshape(-1)
        known = np.isfinite(flat)
        if bool((flat[known] == np.round(flat[known])).all()):
            return as_tensor(np.where(known, flat, -1).astype(np.int64))
    return as_tensor(labels)


def _read_splits(path: Path, known: Official | None, arrays: DatasetArrays) -> None:
    folder = _split_folder(path, known)
    if folder is None:
        return
    arrays.meta["split"] = folder.name
    if (folder / "split_dict.pt").is_file():
        parts = pickled.load(folder / "split_dict.pt")
    elif (folder / "train.pt").is_file():
        parts = {split: pickled.load(folder / f"{split}.pt") for split in _SPLITS}
    else:
        parts = {
            split: arrow.read_matrix(folder / f"{split}.csv.gz").reshape(-1)
            for split in _SPLITS
        }
    for theirs, ours in _SPLITS.items():
        part = parts[theirs]
        if isinstance(part, dict):
            arrays.edge_splits[ours] = {k: _pairs(k, v) for k, v in part.items()}
        else:
            arrays.splits[ours] = torch.as_tensor(part).long()


def _pairs(key: str, value: Any) -> Tensor:
    """Pairs as [2, P], where OGB has [P, 2]; other arrays as they are."""
    tensor = torch.as_tensor(np.asarray(value))
    return tensor.t().contiguous() if key in ("edge", "edge_neg") else tensor


def _split_folder(path: Path, known: Official | None) -> Path | None:
    folder = path / "split"
    found = sorted(f for f in folder.iterdir() if f.is_dir()) if folder.is_dir() else []
    if known is not None and (folder / known.split) in found:
        return folder / known.split
    if len(found) > 1:
        got = ", ".join(f.name for f in found)
        requirement = "hold one split folder"
        check.fail(ValueError, "ogb.read", "path", requirement, f"{got} in {folder}")
    return found[0] if found else None
