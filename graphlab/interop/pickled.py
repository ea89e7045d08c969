"""Files that torch.save wrote, read without running anything that they name.

``torch.load(weights_only=True)`` with numpy's classes allowed reads most; it lacks the opcodes
of pickle protocol 4, so those files go through an unpickler with the same short list.
"""

from __future__ import annotations

import importlib
import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from graphlab.errors import StoreError

_ALLOWED = {
    ("_codecs", "encode"),
    ("collections", "OrderedDict"),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy.core.numeric", "_frombuffer"),
    ("numpy._core.numeric", "_frombuffer"),
    ("torch._utils", "_rebuild_tensor_v2"),
}
_NUMPY_CORE = "numpy._core" if int(np.__version__[0]) >= 2 else "numpy.core"
_STORAGES = {
    "BoolStorage": torch.bool,
    "ByteStorage": torch.uint8,
    "ShortStorage": torch.int16,
    "IntStorage": torch.int32,
    "LongStorage": torch.int64,
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
}


def load(path: str | Path) -> Any:
    """Read a file of numbers, strings, lists, dicts, numpy arrays and tensors.

    Raises:
        StoreError: anything else in it, or not such a file.
    """
    path = Path(path)
    try:
        with torch.serialization.safe_globals(_numpy_globals()):
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
    except Exception as error:
        # torch raises several kinds here; whatever it was, ours decides or says what.
        try:
            return _load_zip(path)
        except Exception as second:
            expected = "a file of numpy arrays and tensors written by torch.save"
            remedy = "files that hold other classes are never run"
            raise StoreError(path, None, expected, str(second), remedy) from error


class _Unpickler(pickle.Unpickler):
    """Knows the classes of arrays and tensors, and no others."""

    def __init__(self, archive: zipfile.ZipFile, folder: str) -> None:
        super().__init__(io.BytesIO(archive.read(f"{folder}/data.pkl")))
        self._archive, self._folder = archive, folder

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"the class {module}.{name}")
        # numpy 2 moved numpy.core to numpy._core; both names stand in files.
        plain = module.replace("numpy._core", "numpy.core")
        module = plain.replace("numpy.core", _NUMPY_CORE)
        return getattr(importlib.import_module(module), name)

    def persistent_load(self, pid: Any) -> Any:
        kind, dtype, key, _, _ = pid
        if kind != "storage" or not isinstance(dtype, torch.dtype):
            raise pickle.UnpicklingError(f"the persistent object {kind!r}")
        data = bytearray(self._archive.read(f"{self._folder}/data/{key}"))
        # frombuffer refuses an empty buffer.
        raw = torch.frombuffer(data, dtype=torch.uint8) if data else torch.empty(0)
        return torch.storage.TypedStorage(
            wrap_storage=raw.untyped_storage(), dtype=dtype, _internal=True
        )


def _load_zip(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        inner = [n for n in archive.namelist() if n.endswith("/data.pkl")]
        if len(inner) != 1:
            raise pickle.UnpicklingError("no member data.pkl")
        return _Unpickler(archive, inner[0].removesuffix("/data.pkl")).load()


def _numpy_globals() -> list[Any]:
    core = importlib.import_module(f"{_NUMPY_CORE}.multiarray")
    classes = [core._reconstruct, core.scalar, np.ndarray, np.dtype]
    numbers = [np.bool_, np.float16, np.float32, np.float64]
    numbers += [np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32]
    classes += [type(np.dtype(n)) for n in numbers]
    if _NUMPY_CORE != "numpy.core":
        # Files of numpy 1 say numpy.core.
        classes += [(core._reconstruct, "numpy.core.multiarray._reconstruct")]
        classes += [(core.scalar, "numpy.core.multiarray.scalar")]
    return classes
