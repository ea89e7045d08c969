"""Files of vectors: npy, safetensors, parquet, word2vec text and binary."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from graphlab import check, files
from graphlab.errors import StoreError

FORMATS = {
    ".npy": "npy",
    ".safetensors": "safetensors",
    ".parquet": "parquet",
    ".txt": "word2vec",
    ".w2v": "word2vec",
    ".bin": "word2vec-binary",
}
_ROWS = 2**14


def save(
    path: str | Path,
    vectors: Tensor,
    *,
    context: Tensor | None = None,
    names: Sequence[str] | None = None,
    format: str | None = None,
) -> Path:
    """Write vectors in input order; the file appears whole or not at all.

    Args:
        path: ``.npy``, ``.safetensors`` (with the context), ``.parquet`` (with ids or names;
            needs pyarrow), ``.txt`` (word2vec text) or ``.bin`` (word2vec binary).
        vectors: [N, d], float32.
        context: [N, d]; kept by safetensors.
        names: Names of the nodes; None: their numbers.
        format: ``npy``, ``safetensors``, ``parquet``, ``word2vec`` or ``word2vec-binary``;
            None: by the ending of the path.

    Raises:
        ValueError: an unknown format; a name with white space in a word2vec file.

    Example:
        >>> import tempfile
        >>> path = save(Path(tempfile.mkdtemp()) / "v.npy", torch.ones(2, 3))
        >>> load(path)[0].shape
        torch.Size([2, 3])
    """
    name, path = "embed.save", Path(path)
    kind = format_of(name, path, format)
    labels = [str(i) for i in range(len(vectors))] if names is None else list(names)
    array = vectors.detach().cpu().float().contiguous().numpy()
    if kind == "npy":
        with files.publish(path) as file:
            np.save(file, array)
    elif kind == "safetensors":
        from safetensors.torch import save as pack

        tensors = {"vectors": vectors.detach().contiguous()}
        if context is not None and context is not vectors:
            tensors["context"] = context.detach().contiguous()
        with files.publish(path) as file:
            file.write(pack(tensors))
    elif kind == "parquet":
        _save_parquet(path, array, names)
    else:
        for label in labels:
            if not label or label.split() != [label]:
                need = "hold no white space in a word2vec file"
                check.fail(ValueError, name, "names", need, repr(label))
        binary = kind == "word2vec-binary"
        with files.publish(path) as file:
            file.write(f"{len(array)} {array.shape[1]}\n".encode())
            for label, row in zip(labels, array, strict=True):
                if binary:
                    file.write(label.encode() + b" " + row.tobytes() + b"\n")
                else:
                    # Nine digits give every float32 back.
                    numbers = " ".join(f"{v:.9g}" for v in row)
                    file.write(f"{label} {numbers}\n".encode())
    return path


def load(
    path: str | Path, *, format: str | None = None
) -> tuple[Tensor, list[str] | None]:
    """Read what :func:`save` wrote.

    Returns:
        Vectors [N, d], and names where the file holds any.

    Raises:
        FileNotFoundError: no such file.
        StoreError: the file is damaged or of another format.
    """
    path = Path(path)
    kind = format_of("embed.load", path, format)
    if not path.exists():
        raise FileNotFoundError(f"embed.load: there is no file {path}")
    try:
        if kind == "npy":
            array = np.load(path, allow_pickle=False)
            if array.ndim != 2:
                raise ValueError(f"an array of {array.ndim} dimensions")
            return torch.from_numpy(array.astype(np.float32, copy=False)), None
        if kind == "safetensors":
            from safetensors.torch import load_file

            return load_file(path)["vectors"], None
        if kind == "parquet":
            return _load_parquet(path)
        return _load_word2vec(path, binary=kind == "word2vec-binary")
    except (ValueError, KeyError, EOFError) as error:
        raise StoreError(path, None, f"vectors as {kind}", str(error)) from error


def format_of(name: str, path: Path, format: str | None = None) -> str:
    """The format of a file by its ending; refuses others before any work is done."""
    kinds = sorted(set(FORMATS.values()))
    if format is not None:
        return check.one_of(name, "format", format, kinds)
    if path.suffix not in FORMATS:
        endings = ", ".join(FORMATS)
        need = f"end in one of {endings}"
        check.fail(ValueError, name, "path", need, path.name, "or give `format`")
    return FORMATS[path.suffix]


def _save_parquet(path: Path, array: np.ndarray, names: Sequence[str] | None) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    ids = pa.array(range(len(array)) if names is None else list(names))
    flat = pa.array(array.reshape(-1))
    rows = pa.FixedSizeListArray.from_arrays(flat, array.shape[1])
    sink = io.BytesIO()
    pq.write_table(pa.table({"node": ids, "vector": rows}), sink)
    with files.publish(path) as file:
        file.write(sink.getbuffer())


def _load_parquet(path: Path) -> tuple[Tensor, list[str] | None]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    column = table.column("vector").combine_chunks()
    width = column.type.list_size
    array = column.values.to_numpy().reshape(-1, width)
    names = None
    if pa.types.is_string(table.column("node").type):
        names = table.column("node").to_pylist()
    return torch.from_numpy(array.copy()), names


def _load_word2vec(path: Path, *, binary: bool) -> tuple[Tensor, list[str] | None]:
    with open(path, "rb") as file:
        head = file.readline().split()
        if len(head) != 2:
            raise ValueError("a first line without two numbers")
        count, width = (int(n) for n in head)
        out, names = np.empty((count, width), np.float32), []
        for i in range(count):
            if binary:
                label = bytearray()
                while (byte := file.read(1)) != b" ":
                    if not byte:
                        raise ValueError(f"{i} rows of {count}")
                    label += byte
                names.append(label.lstrip(b"\n").decode())
                out[i] = np.frombuffer(file.read(4 * width), np.float32)
            else:
                parts = file.readline().split()
                if len(parts) != width + 1:
                    raise ValueError(f"row {i} of {len(parts) - 1} numbers")
                names.append(parts[0].decode())
                out[i] = np.array(parts[1:], np.float32)
    if names == [str(i) for i in range(count)]:
        return torch.from_numpy(out), None
    return torch.from_numpy(out), names
