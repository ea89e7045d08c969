from __future__ import annotations

import os
import pickle

import numpy as np
import pytest
import torch

from graphlab.errors import StoreError
from graphlab.interop import pickled


@pytest.mark.parametrize(
    ("protocol", "is_zip"), [(2, True), (3, True), (4, True), (5, True), (2, False)]
)
def test_arrays_and_tensors_of_any_protocol(tmp_path, protocol, is_zip):
    value = {
        "edge": np.arange(6).reshape(3, 2),
        "weight": np.ones(3, np.float32),
        "flag": np.array([True, False]),
        "one": np.float64(0.5),
        "ids": torch.arange(4).reshape(2, 2).t(),
        "none": torch.empty(0, 2),
        "half": torch.zeros(3, dtype=torch.uint8),
        "name": ["train", 3, None, 2.5],
    }
    torch.save(
        value,
        tmp_path / "split.pt",
        pickle_protocol=protocol,
        _use_new_zipfile_serialization=is_zip,
    )
    found = pickled.load(tmp_path / "split.pt")
    assert found.keys() == value.keys()
    for key in ("edge", "weight", "flag"):
        assert np.array_equal(found[key], value[key])
        assert found[key].dtype == value[key].dtype
    assert torch.equal(found["ids"], value["ids"])
    assert found["none"].shape == (0, 2)
    assert torch.equal(found["half"], value["half"])
    assert found["name"] == value["name"]
    assert found["one"] == 0.5


class Attack:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (os.mkdir, (self.path,))


@pytest.mark.parametrize("protocol", [2, 4])
def test_nothing_else_is_ever_run(tmp_path, protocol):
    trap = tmp_path / "trap"
    torch.save({"edge": Attack(trap)}, tmp_path / "bad.pt", pickle_protocol=protocol)
    message = r"bad.pt: expected a file of numpy arrays .* found the class posix.mkdir"
    with pytest.raises(StoreError, match=message):
        pickled.load(tmp_path / "bad.pt")
    with open(tmp_path / "plain.pt", "wb") as file:
        pickle.dump(Attack(trap), file, protocol=protocol)
    with pytest.raises(StoreError, match=r"written by torch\.save"):
        pickled.load(tmp_path / "plain.pt")
    assert not trap.exists()


def test_missing_and_truncated_files(tmp_path):
    with pytest.raises(FileNotFoundError):
        pickled.load(tmp_path / "none.pt")
    torch.save(np.arange(1000), tmp_path / "whole.pt")
    data = (tmp_path / "whole.pt").read_bytes()
    (tmp_path / "half.pt").write_bytes(data[: len(data) // 2])
    with pytest.raises(StoreError, match=r"half\.pt"):
        pickled.load(tmp_path / "half.pt")
