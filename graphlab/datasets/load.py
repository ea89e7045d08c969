"""Datasets by name: what lies in a folder, and reading one of them."""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import NamedTuple, NoReturn

from graphlab import check
from graphlab.datasets import foreign, manifest, npz, storage
from graphlab.datasets.dataset import Dataset
from graphlab.errors import DatasetNotFoundError
from graphlab.interop import ogb

VARIABLE = "GRAPHLAB_DATA"


class Entry(NamedTuple):
    """A dataset that :func:`load` would find."""

    name: str
    kind: str
    """``npz``, ``ogb`` (raw folder) or ``store`` (saved dataset)."""
    path: Path


def load(
    name: str | Path,
    root: str | Path | None = None,
    *,
    splits: str | None = None,
    undirected: bool | None = None,
) -> Dataset:
    """Read a dataset by name, or by path.

    Looked for in ``root``, else in the folder that the variable GRAPHLAB_DATA names, as
    ``<name>.npz``, as an OGB folder ``<name>/raw`` (``ogbn-arxiv`` and ``ogbn_arxiv`` are one
    name) or as a saved dataset ``<name>/manifest.json``. Nothing is ever downloaded.

    Directed graphs stay directed. An undirected graph whose file stores each edge once gets
    both directions; ``meta["symmetrised"]`` and ``meta["directed"]`` say what was done.

    Args:
        name: The name, or the path of such a file or folder.
        root: Folder to look in.
        splits: Another set of splits that the file holds, such as ``geom`` (the ten
            Geom-GCN splits of cora and citeseer).
        undirected: True: give both directions in any case; False: edges as stored; None: as
            above.

    Returns:
        The dataset; sparse features stay sparse, those of saved datasets stay on disk.

    Raises:
        DatasetNotFoundError: nothing of this name; says which folder to put where.
        ValueError: splits that the dataset has not.
        StoreError: a file that is damaged or no graph.
    """
    entry = find(name, root)
    if entry.kind == "npz":
        return npz.read(entry.path, splits=splits, undirected=undirected)
    if splits is not None:
        got = f"{splits!r} for {entry.name!r}"
        check.fail(ValueError, "load", "splits", "be None for this dataset", got)
    if entry.kind == "ogb":
        dataset = foreign.from_arrays(ogb.read(entry.path))
    else:
        dataset = storage.open(entry.path)
    return dataset.to_undirected() if undirected else dataset


def list_datasets(root: str | Path | None = None) -> list[Entry]:
    """Every dataset that :func:`load` finds in ``root``, else GRAPHLAB_DATA, by name.

    Raises:
        DatasetNotFoundError: no folder was named, or it does not exist.
    """
    folder = _folder(root)
    found = [_look(path) for path in sorted(folder.iterdir())]
    return [entry for entry in found if entry is not None]


def find(name: str | Path, root: str | Path | None = None) -> Entry:
    """Tell which file or folder :func:`load` would read."""
    if isinstance(name, Path) or os.sep in name or name.endswith(".npz"):
        path = Path(name).expanduser()
        entry = _look(path) if path.exists() else None
        if entry is None:
            state = "is none of these" if path.exists() else "is not there"
            raise DatasetNotFoundError(
                f"load: `name` must be a dataset: a graph .npz, an OGB folder with raw/, or "
                f"a saved dataset with {manifest.NAME}; {path} {state}"
            )
        return entry
    folder = _folder(root, name)
    plain = name.replace("-", "_")
    same = (name, plain, plain.replace("_", "-"))
    for spelling in dict.fromkeys((*same, *(s.lower() for s in same))):
        for path in (folder / f"{spelling}.npz", folder / spelling):
            entry = _look(path)
            if entry is not None:
                return entry
    _missing(name, plain, folder)


def _look(path: Path) -> Entry | None:
    if path.suffix == ".npz" and path.is_file() and npz.is_graph(path):
        return Entry(path.stem, "npz", path)
    if (path / manifest.NAME).is_file():
        return Entry(path.name, "store", path)
    if ogb.is_folder(path):
        return Entry(path.name, "ogb", path)
    return None


def _folder(root: str | Path | None, name: str | None = None) -> Path:
    chosen = root if root is not None else os.environ.get(VARIABLE)
    if not chosen:
        raise DatasetNotFoundError(
            f"load: `root` must name the folder of datasets, got None"
            f"{'' if name is None else f' for {name!r}'}; pass root= or set {VARIABLE} "
            "(--root on the command line)"
        )
    folder = Path(chosen).expanduser()
    if not folder.is_dir():
        source = "root" if root is not None else VARIABLE
        raise DatasetNotFoundError(
            f"load: `root` must be a folder, got {folder} (from {source}); make it, or name "
            "another"
        )
    return folder


def _missing(name: str, plain: str, folder: Path) -> NoReturn:
    held = [entry.name for entry in list_datasets(folder)]
    near = difflib.get_close_matches(plain.lower(), held, n=3)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    shown = ", ".join(held) or "none"
    known = ogb.official(name)
    where = (
        f"unpack {known.archive} and name the folder {folder / plain}"
        if known is not None
        else f"put {folder / name}.npz, an OGB folder {folder / name}/raw or a saved dataset "
        f"{folder / name}/{manifest.NAME} there"
    )
    raise DatasetNotFoundError(
        f"load: `name` must be a dataset in {folder}, got {name!r}; {hint}{where}, or choose "
        f"another folder with root= or {VARIABLE}. It holds: {shown}"
    )
