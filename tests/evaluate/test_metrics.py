from __future__ import annotations

import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

from graphlab import evaluate

NAMES = list(evaluate.METRICS)


def classes(num_classes: int = 4, n: int = 200):
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(num_classes, (n,), generator=generator)
    return y, torch.randn(n, num_classes, generator=generator)


def tasks(n: int = 200, width: int = 3):
    generator = torch.Generator().manual_seed(1)
    y = torch.randint(2, (n, width), generator=generator)
    return y, torch.randn(n, width, generator=generator)


def test_classes_equal_scikit_learn():
    y, logits = classes()
    decided = logits.argmax(1)
    assert evaluate.accuracy(y, logits) == accuracy_score(y, decided)
    assert evaluate.f1_micro(y, logits) == f1_score(y, decided, average="micro")
    assert evaluate.f1_macro(y, logits) == f1_score(y, decided, average="macro")
    probability = logits.double().softmax(1)
    expected = roc_auc_score(y, probability, multi_class="ovr")
    assert evaluate.roc_auc(y, logits) == pytest.approx(expected, abs=1e-12)


def test_tasks_equal_scikit_learn():
    y, logits = tasks()
    assert evaluate.accuracy(y, logits) == ((logits > 0) == y).double().mean()
    assert evaluate.f1_micro(y, logits) == f1_score(y, logits > 0, average="micro")
    expected = roc_auc_score(y, logits, average="macro")
    assert evaluate.roc_auc(y.to(torch.uint8), logits) == pytest.approx(expected)


def test_two_classes_by_one_logit_or_two_agree():
    y, logits = classes(2)
    single = logits[:, 1] - logits[:, 0]
    for name in NAMES:
        expected = evaluate.metric(name)(y, logits)
        assert evaluate.metric(name)(y, single) == pytest.approx(expected)
        assert evaluate.metric(name)(y[:, None], single[:, None]) == pytest.approx(
            expected
        )


def test_a_task_without_both_labels_is_left_out_of_the_area():
    y, logits = tasks()
    y[:, 1] = 0
    kept = [0, 2]
    expected = roc_auc_score(y[:, kept], logits[:, kept])
    assert evaluate.roc_auc(y, logits) == pytest.approx(expected)


def test_float_labels_that_are_whole_numbers_count():
    y, logits = classes()
    assert evaluate.accuracy(y.float(), logits) == evaluate.accuracy(y, logits)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_diverged_predictions_are_refused(name, bad):
    y, logits = classes()
    logits[3, 1] = bad
    with pytest.raises(ValueError, match=rf"{name}: `logits` must be finite, got 1 of"):
        evaluate.metric(name)(y, logits)


def test_other_bad_input_is_refused_with_words():
    y, logits = classes()
    with pytest.raises(TypeError, match="`y` must be a tensor, got list"):
        evaluate.accuracy([0], logits)
    with pytest.raises(TypeError, match="`logits` must be floating point, got int64"):
        evaluate.accuracy(y, y)
    with pytest.raises(ValueError, match="hold at least one label, got none"):
        evaluate.accuracy(y[:0], logits[:0])
    with pytest.raises(ValueError, match=r"match the labels \[199\], got \[200, 4\]"):
        evaluate.accuracy(y[:-1], logits)
    with pytest.raises(ValueError, match=r"match the labels \[200, 3\]"):
        evaluate.f1_macro(tasks()[0], logits)
    with pytest.raises(ValueError, match=r"`y` must be in \[0, 4\), got 7"):
        evaluate.accuracy(y.clone().fill_(7), logits)
    with pytest.raises(ValueError, match="be classes, got fractions or nan"):
        evaluate.accuracy(torch.full((200,), float("nan")), logits)
    with pytest.raises(ValueError, match="hold all 4 classes"):
        evaluate.roc_auc(y.clamp(max=2), logits)
    with pytest.raises(ValueError, match=r"hold both classes, got \[0\]"):
        evaluate.roc_auc(y * 0, logits[:, 0])
    with pytest.raises(ValueError, match="both 0 and 1 in some task"):
        evaluate.roc_auc(torch.zeros(5, 2), torch.randn(5, 2))
    with pytest.raises(ValueError, match="'accuracy', 'roc_auc'"):
        evaluate.metric("acuracy")
