from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from graphlab import evaluate


@pytest.fixture(scope="module")
def official():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(
            "ogb.nodeproppred", reason="pip install ogb"
        ).Evaluator


def labels(rng, name, n, width, missing):
    high = 40 if width == 1 else 2
    y_true = rng.integers(high, size=(n, width)).astype(np.float64)
    y_true[rng.random(y_true.shape) < missing] = np.nan
    if name == "ogbn-proteins":
        return y_true, rng.normal(size=y_true.shape).astype(np.float32)
    return y_true, rng.integers(high, size=y_true.shape)


@pytest.mark.parametrize(
    "name",
    ["ogbn-arxiv", "ogbn-products", "ogbn-papers100M", "ogbn-mag", "ogbn-proteins"],
)
@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_equal_to_the_official_evaluator_bit_for_bit(official, name, missing):
    rng = np.random.default_rng(7)
    theirs, ours = official(name), evaluate.ogb(name)
    assert (ours.metric, ours.num_tasks) == (theirs.eval_metric, theirs.num_tasks)
    for n in (2, 11, 357):
        y_true, y_pred = labels(rng, name, n, theirs.num_tasks, missing)
        y_true[:2] = [[0.0] * theirs.num_tasks, [1.0] * theirs.num_tasks]
        inputs = {"y_true": y_true, "y_pred": y_pred}
        assert ours.eval(inputs) == theirs.eval(inputs)
        tensors = {key: torch.from_numpy(value) for key, value in inputs.items()}
        assert ours.eval(tensors) == theirs.eval(tensors)


def test_guards_refuse_what_ogb_rewards_or_dies_on():
    arxiv, proteins = evaluate.ogb("ogbn-arxiv"), evaluate.ogb("ogbn-proteins")
    one = np.zeros((3, 1))
    wide = np.zeros((3, 112))
    with pytest.raises(ValueError, match="`y_pred` must be finite, got 3 of 3 values"):
        arxiv.eval({"y_true": one, "y_pred": one * np.nan})
    with pytest.raises(ValueError, match="hold a label, got only nan"):
        arxiv.eval({"y_true": one * np.nan, "y_pred": one})
    with pytest.raises(ValueError, match=r"shape \[n, 1\], n >= 1, got \[3\]"):
        arxiv.eval({"y_true": one[:, 0], "y_pred": one})
    with pytest.raises(ValueError, match=r"got \[0, 1\]"):
        arxiv.eval({"y_true": one[:0], "y_pred": one[:0]})
    with pytest.raises(ValueError, match=r"have the shape \[3, 1\] of `y_true`"):
        arxiv.eval({"y_true": one, "y_pred": one[:2]})
    with pytest.raises(TypeError, match="float32 or wider, got float16"):
        proteins.eval({"y_true": wide, "y_pred": wide.astype(np.float16)})
    with pytest.raises(TypeError, match="be a tensor or an array, got list"):
        arxiv.eval({"y_true": [[1]], "y_pred": one})
    with pytest.raises(KeyError, match="'y_true' and 'y_pred'"):
        arxiv.eval({"y_true": one})
    with pytest.raises(ValueError, match="positive and a negative label in some task"):
        proteins.eval({"y_true": wide, "y_pred": wide.astype(np.float32)})


def test_names_without_an_evaluator_say_what_exists():
    with pytest.raises(NotImplementedError, match=r"ogbg-molhiv has no .* ogbn-arxiv"):
        evaluate.ogb("ogbg-molhiv")
    with pytest.raises(ValueError, match="`name` must be one of ogbn-arxiv"):
        evaluate.ogb("ogbn-arxive")
