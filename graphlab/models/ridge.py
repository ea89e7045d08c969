"""Ridge regression onto labels, in closed form: the probe of what features tell."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from graphlab import check

# Penalties relative to the mean squared length of a training row.
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)


class Gram:
    r"""Inner products of all rows of some matrices, summed: :math:`\sum_s Z_s Z_s^\top`.

    Args:
        num_rows: N.
        dtype: float32 or float64.

    Cost:
        [N, N] numbers, and N^2 multiply-adds a column; for up to some 10,000 rows.
    """

    def __init__(self, num_rows: int, dtype: torch.dtype = torch.float32) -> None:
        self.matrix = torch.zeros(num_rows, num_rows, dtype=dtype)

    def add(self, rows: Tensor) -> None:
        """Add the inner products of [N, columns]."""
        self.matrix.addmm_(rows, rows.t())


def fit_predict(
    gram: Tensor,
    train: Tensor,
    targets: Tensor,
    wanted: Tensor,
    penalties: Sequence[float] = PENALTIES,
) -> Tensor:
    r"""Predict by ridge regression, for several penalties.

    :math:`\hat{Y} = G_{wt} (G_{tt} + \lambda I)^{-1} (Y - \bar{y}) + \bar{y}`.

    Args:
        gram: [N, N], inner products of the rows.
        train: [n], int64.
        targets: [n, C], of the training rows.
        wanted: [m], int64: rows to predict.
        penalties: :math:`\lambda` over the mean of the diagonal of :math:`G_{tt}`.

    Returns:
        [len(penalties), m, C].

    Raises:
        ValueError: shapes that do not fit.

    Example:
        >>> x = torch.tensor([[1.0], [2.0], [3.0]])
        >>> at = torch.tensor([0, 1])
        >>> round(float(fit_predict(x @ x.T, at, x[at], torch.tensor([2]), [1e-6])), 2)
        3.0
    """
    if len(train) != len(targets):
        need = f"have a row for each of {len(train)} training rows"
        check.fail(ValueError, "ridge", "targets", need, len(targets))
    # Distances do not change by centring, and neither does what a constant could explain.
    inner = gram[train][:, train].double()
    cross = gram[wanted][:, train].double()
    mean_of_cross, mean_of_train = cross.mean(1, keepdim=True), inner.mean(0)
    grand = mean_of_train.mean()
    centred = inner - mean_of_train[:, None] - mean_of_train + grand
    across = cross - mean_of_cross - mean_of_train + grand
    mean = targets.double().mean(0)
    size = float(centred.trace()) / max(len(train), 1) or 1.0
    aim = targets.double() - mean
    identity = torch.eye(len(train), dtype=torch.float64)
    found = []
    for p in penalties:
        factor = torch.linalg.cholesky(centred + p * size * identity)
        found.append(across @ torch.cholesky_solve(aim, factor) + mean)
    return torch.stack(found)


def one_hot(y: Tensor, num_classes: int) -> Tensor:
    """[n, C], -1 and 1."""
    out = torch.full((len(y), num_classes), -1.0, dtype=torch.float64)
    return out.scatter_(1, y[:, None], 1.0)


def fit_predict_columns(
    rows: Tensor,
    targets: Tensor,
    wanted: Tensor,
    penalties: Sequence[float] = PENALTIES,
) -> Tensor:
    """As :func:`fit_predict`, from the rows themselves, where they have few columns.

    Args:
        rows: [n, columns] of the training nodes.
        targets: [n, C].
        wanted: [m, columns] of the nodes to predict.
        penalties: Over the mean squared length of a centred training row.

    Returns:
        [len(penalties), m, C].
    """
    mean, level = rows.double().mean(0), targets.double().mean(0)
    z, across = rows.double() - mean, wanted.double() - mean
    square = z.t() @ z
    size = float(square.trace()) / max(len(rows), 1) or 1.0
    aim = z.t() @ (targets.double() - level)
    identity = torch.eye(len(square), dtype=torch.float64)
    found = []
    for p in penalties:
        factor = torch.linalg.cholesky(square + p * size * identity)
        found.append(across @ torch.cholesky_solve(aim, factor) + level)
    return torch.stack(found)
