"""Controls that keep tables honest."""

from __future__ import annotations

from torch import Tensor


def mean_rank(scores: Tensor) -> Tensor:
    """Order architectures by their mean rank over other data sets, best first: [N].

    Args:
        scores: [data sets, N], larger is better.

    Example:
        >>> from torch import tensor
        >>> mean_rank(tensor([[1.0, 3.0, 2.0], [1.0, 2.0, 3.0]])).tolist()
        [1, 2, 0]
    """
    ranks = scores.argsort(1, descending=True).argsort(1).double()
    return ranks.mean(0).argsort(stable=True)


def relative_improvement(score: float, average: float) -> float:
    """Percent by which a score exceeds that of the average architecture of the space.

    Source:
        Yang, Esperanca and Carlucci, "NAS evaluation is frustratingly hard", ICLR 2020.

    Example:
        >>> relative_improvement(94.0, 90.0)
        4.444444444444445
    """
    return 100.0 * (score - average) / average
