"""Checkpoints: tensors and JSON in one safetensors file that appears whole; no pickle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from graphlab import files
from graphlab.errors import StoreError


def write(path: Path, tensors: dict[str, Tensor], state: Any = None) -> None:
    """Write named tensors and a tree of plain values that may hold more tensors.

    The state goes into the header of the same file, so that a kill at any instant leaves
    the tensors and the state of one and the same moment.

    Args:
        path: The file.
        tensors: By name; shared memory is written twice.
        state: Dicts (str or int keys), lists, tuples, numbers, text, None, tensors.

    Raises:
        TypeError: something else in the state.
    """
    named = {f"tensors.{name}": value for name, value in tensors.items()}
    skeleton = _pack(state, "state", named)
    whole = {name: t.detach().cpu().clone().contiguous() for name, t in named.items()}
    metadata = {"state": json.dumps(skeleton)}
    with files.publish(path) as file:
        file.write(safetensors.torch.save(whole, metadata))


def read(path: Path) -> tuple[dict[str, Tensor], Any]:
    """Read what :func:`write` wrote.

    Raises:
        FileNotFoundError: no such file.
        StoreError: the file is damaged.
    """
    try:
        with safetensors.safe_open(path, "pt") as file:
            skeleton = json.loads((file.metadata() or {})["state"])
            everything = {name: file.get_tensor(name) for name in file.keys()}
        state = _unpack(skeleton, everything)
    except (safetensors.SafetensorError, KeyError, ValueError) as error:
        expected = "a checkpoint of graphlab"
        remedy = "delete it to start that seed again"
        raise StoreError(path, None, expected, f"{error}", remedy) from error
    tensors = {
        name.removeprefix("tensors."): value
        for name, value in everything.items()
        if name.startswith("tensors.")
    }
    return tensors, state


def _pack(tree: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """Replace tensors by their names; write containers so that int keys and tuples stay."""
    if isinstance(tree, Tensor):
        tensors[name] = tree
        return {"tensor": name}
    if isinstance(tree, dict):
        for key in tree:
            if not isinstance(key, (str, int)):
                raise TypeError(f"checkpoint.write: `state` has the key {key!r}")
        pairs = [[k, _pack(v, f"{name}.{k}", tensors)] for k, v in tree.items()]
        return {"dict": pairs}
    if isinstance(tree, (list, tuple)):
        kind = "list" if isinstance(tree, list) else "tuple"
        return {kind: [_pack(v, f"{name}.{i}", tensors) for i, v in enumerate(tree)]}
    if tree is None or isinstance(tree, (bool, int, float, str)):
        return tree
    raise TypeError(
        f"checkpoint.write: `state` must hold plain values and tensors, "
        f"got {type(tree).__name__} at {name}"
    )


def _unpack(tree: Any, tensors: dict[str, Tensor]) -> Any:
    if not isinstance(tree, dict):
        return tree
    [(kind, content)] = tree.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {key: _unpack(value, tensors) for key, value in content}
    items = [_unpack(value, tensors) for value in content]
    return items if kind == "list" else tuple(items)


def load_weights(
    model: torch.nn.Module, tensors: dict[str, Tensor], path: Path
) -> None:
    """Put weights into a model.

    Raises:
        StoreError: they are another model's.
    """
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        expected = f"weights of {type(model).__name__}"
        found = " ".join(str(error).split())
        raise StoreError(path, None, expected, found) from error
