from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from graphlab import evaluate
from graphlab.evaluate import LinkEvaluator


@pytest.fixture(scope="module")
def official():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ogb = pytest.importorskip("ogb.linkproppred", reason="pip install ogb")
    return ogb.Evaluator


def scores(seed: int, own: bool, ties: bool):
    rng = np.random.default_rng(seed)
    pos = rng.normal(1, 1, 300).astype(np.float32)
    neg = rng.normal(0, 1, (300, 150) if own else 4000).astype(np.float32)
    if ties:
        pos, neg = pos.round(1), neg.round(1)
    return pos, neg


@pytest.mark.parametrize(
    "name", ["ogbl-ddi", "ogbl-ppa", "ogbl-collab", "ogbl-citation2", "ogbl-vessel"]
)
@pytest.mark.parametrize("ties", [False, True])
def test_equal_to_the_official_evaluator_bit_for_bit(official, name, ties):
    theirs, ours = official(name), evaluate.ogb(name)
    assert ours.eval_metric == theirs.eval_metric
    for seed in range(3):
        pos, neg = scores(seed, name == "ogbl-citation2", ties)
        tensors = {"y_pred_pos": torch.tensor(pos), "y_pred_neg": torch.tensor(neg)}
        arrays = {"y_pred_pos": pos, "y_pred_neg": neg}
        mine, official_scores = ours.eval(tensors), theirs.eval(tensors)
        assert set(mine) == set(official_scores)
        for key, value in official_scores.items():
            same = mine[key] == value
            assert bool(same.all()) if isinstance(value, torch.Tensor) else same
        # Its numpy branch of MRR raises TypeError; ours is the torch one.
        expected = theirs.eval(arrays) if name != "ogbl-citation2" else mine
        for key, value in ours.eval(arrays).items():
            assert np.array_equal(np.asarray(value), np.asarray(expected[key]))


@pytest.mark.parametrize("metric", ["hits@1", "hits@20", "auc", "ap"])
def test_streaming_shared_negatives(metric):
    pos, neg = (torch.tensor(part) for part in scores(0, False, True))
    whole = LinkEvaluator(metric).score(pos, neg)
    parts = LinkEvaluator(metric)
    for p, n in zip(pos.split(77), neg.split(1001), strict=False):
        parts.update(p, n)
    for p in pos.split(77)[4:]:
        parts.update(p, neg[:0])
    assert parts.compute() == whole


@pytest.mark.parametrize("metric", ["mrr", "hits@3"])
def test_streaming_own_negatives(metric):
    pos, neg = (torch.tensor(part) for part in scores(1, True, True))
    whole = LinkEvaluator(metric).score(pos, neg)
    parts = LinkEvaluator(metric)
    for p, n in zip(pos.split(64), neg.split(64), strict=True):
        parts.update(p, n)
    assert parts.compute() == pytest.approx(whole, abs=1e-12)
    assert parts.ties > 0


def test_definitions_by_hand():
    pos, neg = torch.tensor([3.0, 1.0, 2.0]), torch.tensor([2.0, 0.0, 1.5])
    hits = LinkEvaluator("hits@1")
    assert hits.score(pos, neg) == pytest.approx(1 / 3)
    assert hits.ties == 1
    own = torch.tensor([[4.0, 3.0, 1.0]])
    # One above, one equal: rank 2.5.
    assert LinkEvaluator("mrr").score(pos[:1], own) == pytest.approx(1 / 2.5)
    assert LinkEvaluator("hits@2").score(pos[:1], own) == 0.0


P, N = torch.tensor([1.0, 2.0]), torch.tensor([0.5, 0.1])


@pytest.mark.parametrize(
    ("metric", "pos", "neg", "error", "message"),
    [
        ("hits@3", P, N, ValueError, "at least K = 3 negatives, got 2"),
        ("hits@1", P * torch.nan, N, ValueError, "`pos` must hold no NaN, got 2 of 2"),
        ("hits@1", P, N / 0 * 0, ValueError, "`neg` must hold no NaN"),
        ("hits@1", P.half(), N, TypeError, "half precision ties scores"),
        ("hits@1", P.long(), N, TypeError, "`pos` must be float32 or float64"),
        ("hits@1", P[:, None], N, ValueError, r"shapes \[P\] and \[Q\]"),
        ("hits@1", [1.0], N, TypeError, "`pos` must be a tensor, got list"),
        ("hits@1", P[:0], N, ValueError, "hold a positive, got 0"),
        ("mrr", P, N, ValueError, r"each positive's own, \[P, Q\], for mrr"),
        ("mrr", P, N[None], ValueError, "a row for each of 2 positives"),
        ("mrr", P, N[:0].expand(2, 0), ValueError, "at least 1 negatives"),
        ("auc", P, N[:, None], ValueError, r"be shared, \[Q\], for auc"),
        ("ap", P, N[:0], ValueError, "hold a negative, got 0"),
    ],
)
def test_guards(metric, pos, neg, error, message):
    with pytest.raises(error, match=message):
        LinkEvaluator(metric).score(pos, neg)


@pytest.mark.parametrize("metric", ["hits", "hits@0", "accuracy", "hits@1.5"])
def test_unknown_metrics(metric):
    with pytest.raises(ValueError, match="`metric` must be hits@K, mrr, auc or ap"):
        LinkEvaluator(metric)


def test_blocks_must_be_alike():
    evaluator = LinkEvaluator("hits@1")
    evaluator.update(P, N)
    with pytest.raises(ValueError, match="shared or own in all blocks alike"):
        evaluator.update(P, N[None].expand(2, 2))
