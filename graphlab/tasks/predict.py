"""Predictions of a finished run, written to a file."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from graphlab import check, files
from graphlab.tasks import preparation, recipe
from graphlab.tasks.result import Result

if TYPE_CHECKING:
    from graphlab.datasets import Dataset

_KINDS = (".parquet", ".csv", ".npy")


def predict(
    run_dir: str | Path,
    out: str | Path,
    *,
    d: Dataset | None = None,
    seed: int | None = None,
    probabilities: bool = False,
    memory: int | str | None = None,
    device: str = "cpu",
) -> Path:
    """Predict every node with a run's weights, from full neighbourhoods, and write a file.

    Columns of ``.parquet`` and ``.csv``: ``node``; ``name`` where the graph has names;
    ``label`` (of multi-label data ``label_0``, ``label_1``, ...); and, if asked for, ``p_0``,
    ``p_1``, ... A ``.npy`` holds the labels, or the probabilities, as one array by node.

    Args:
        run_dir: Folder of a finished run.
        out: ``.parquet`` (needs pyarrow), ``.csv`` or ``.npy``; published atomically.
        d: The data set; None: the one of the run's recipe, loaded again.
        seed: Whose weights; None: those with the best validation score.
        probabilities: Add a column for each class.
        memory: Bytes that inference may add; see :func:`graphlab.tasks.inference.exact`.
        device: Where to compute.

    Returns:
        ``out``.

    Raises:
        ValueError: another kind of file; an unfinished run; a run without a recipe and no
            ``d``.
        ModuleNotFoundError: ``.parquet`` without pyarrow.
    """
    out = Path(out)
    if out.suffix not in _KINDS:
        need = f"end in {', '.join(_KINDS)}"
        check.fail(ValueError, "predict", "out", need, repr(out.name))
    if out.suffix == ".parquet":
        _require_arrow()
    result = Result.load(run_dir)
    if d is None:
        d = _dataset(result)
    p = result.predict(d, seed=seed, memory=memory, device=device)
    if out.suffix == ".npy":
        with files.publish(out) as file:
            np.save(file, (p if probabilities else _labels(p, result)).numpy())
        return out
    columns = _columns(d, p, result, probabilities)
    with files.publish(out) as file:
        if out.suffix == ".csv":
            _write_csv(file, columns)
        else:
            _write_parquet(file, columns)
    return out


def _dataset(result: Result) -> Dataset:
    written = result.config.get("recipe")
    if written is None:
        check.fail(
            ValueError,
            "predict",
            "d",
            "be given for a run that was not made from a recipe",
            None,
            "use predict(run_dir, out, d=...)",
        )
    return preparation.dataset(recipe.load(written).data)


def _labels(p: Tensor, result: Result) -> Tensor:
    return (p > 0.5).to(torch.uint8) if result.is_multi_label else p.argmax(1)


def _columns(
    d: Dataset, p: Tensor, result: Result, probabilities: bool
) -> dict[str, Any]:
    columns: dict[str, Any] = {"node": np.arange(d.num_nodes)}
    if d.graph.node_names is not None:
        columns["name"] = d.graph.node_names
    labels = _labels(p, result).numpy()
    if labels.ndim == 1:
        columns["label"] = labels
    else:
        columns |= {f"label_{k}": labels[:, k] for k in range(labels.shape[1])}
    if probabilities:
        columns |= {f"p_{k}": p[:, k].numpy() for k in range(p.shape[1])}
    return columns


def _write_csv(file: BinaryIO, columns: dict[str, Any]) -> None:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*(c.tolist() for c in columns.values()), strict=True))
    text.flush()
    text.detach()


def _write_parquet(file: BinaryIO, columns: dict[str, Any]) -> None:
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.table(columns), file)


def _require_arrow() -> None:
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise ModuleNotFoundError(
            "predict: a .parquet file needs pyarrow; pip install 'graphlab[arrow]', "
            "or write .csv or .npy"
        ) from error
