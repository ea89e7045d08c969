"""norm_dropout_relu and pair_mlp, the dense side of link models, against torch's modules.

Random draws cannot be compared between libraries, so cases with dropout check nothing; the
same code without dropout is checked beside them.

    python -m benchmarks.ops.link_layers [--quick]
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks import harness
from benchmarks.harness import Case, Contender, Trial
from graphlab import memory, ops
from graphlab.models import link_model

# Rows and width: pairs of a step of ogbl-collab, inner pairs of Cora.
SIZES = {"wide": (16_384, 256), "narrow": (131_072, 64)}
NODES = 100_000


def close(mine: Any, expected: Any) -> None:
    """Equal, but for rows with a value so near relu's kink that rounding decides its side."""
    if isinstance(mine, tuple):
        for one, other in zip(mine, expected, strict=True):
            close(one, other)
        return
    wrong = ~torch.isclose(mine, expected, rtol=1e-3, atol=1e-3)
    share = wrong.view(len(wrong), -1).any(1).float().mean().item()
    assert share <= (1e-4 if mine.dim() == 2 else 0), f"{share:.2g} of the rows"


def layer_trial(seed: int, rows: int, width: int, p: float, gradient: bool) -> Trial:
    torch.manual_seed(seed)
    x = torch.randn(rows, width, requires_grad=gradient)
    weight = torch.ones(width, requires_grad=gradient)
    bias = torch.zeros(width, requires_grad=gradient)
    grad = torch.randn(rows, width)

    def run(call: Callable[[], Tensor]) -> Any:
        if not gradient:
            return call()
        out = call()
        return out.detach(), *torch.autograd.grad(out, [x, weight, bias], grad)

    def ours() -> Tensor:
        return ops.norm_dropout_relu(x, weight, bias, p=p)

    def theirs() -> Tensor:
        return F.dropout(F.layer_norm(x, (width,), weight, bias), p).relu()

    return Trial(
        [
            Contender("graphlab", lambda: run(ours)),
            Contender("torch", lambda: run(theirs), ["torch"]),
        ],
        None if p else close,
        # Forward: x in, the result out; backward: grad, x and result in, one out.
        bytes=4 * rows * width * (6 if gradient else 2),
    )


def head_trial(seed: int, rows: int, width: int, p: float) -> Trial:
    torch.manual_seed(seed)
    head = link_model(8, 8, "ncn", hidden_channels=width, head_dropout=p).head
    head.train(p > 0)
    h, pairs = torch.randn(NODES, width), torch.randint(NODES, (2, rows))
    pooled = torch.randn(rows, width)
    layers = head._packed(h)
    plain = torch.nn.Sequential.forward

    def ours() -> Tensor:
        return ops.pair_mlp(h, pairs, pooled, layers, p=p)

    @torch.no_grad()
    def theirs() -> Tensor:
        product = h[pairs[0]] * h[pairs[1]]
        joined = head.beta * plain(head.common_mlp, pooled)
        joined = joined + plain(head.pair_mlp, product)
        return plain(head.score_mlp, joined)[:, 0]

    return Trial(
        [Contender("graphlab", ours), Contender("torch", theirs, ["torch"])],
        None if p else close,
        bytes=4 * rows * (3 * width + 5),
        ops=2 * len(layers.plan) * rows * width * width,
    )


def cases(quick: bool) -> Iterable[Case]:
    for size, (rows, width) in SIZES.items():
        rows = 500 if quick else rows
        facts = {"rows": rows, "width": width, "dtype": "float32"}
        for p in (0.0, 0.3):
            for gradient in (False, True):
                what = "forward and backward" if gradient else "forward"
                yield Case(
                    f"norm, dropout {p:g}, relu, {size}, {what}",
                    lambda seed, r=rows, w=width, p=p, g=gradient: layer_trial(
                        seed, r, w, p, g
                    ),
                    facts,
                )
            yield Case(
                f"NCN's head, dropout {p:g}, {size}",
                lambda seed, r=rows, w=width, p=p: head_trial(seed, r, w, p),
                facts,
            )


if __name__ == "__main__":
    # As in training; without it page faults are most of a pass.
    with memory.keep_freed():
        harness.main("link_layers", cases, repeats=7)
