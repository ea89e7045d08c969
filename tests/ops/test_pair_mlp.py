from __future__ import annotations

import pytest
import torch

from graphlab import ops
from graphlab.ops.twins import pair_mlp as twin


def layers(width: int, norm: bool = True, score: int = 2) -> ops.PairLayers:
    def layer(acts: bool, norm: bool) -> ops.PairLayer:
        of_norm = (1 + torch.rand(width), torch.randn(width)) if norm else (None, None)
        weight = torch.randn(width, width) / width**0.5
        return ops.PairLayer(weight, torch.randn(width), *of_norm, acts)

    return ops.pack_pair_layers(
        [layer(True, False), layer(True, norm), layer(False, False)],
        [layer(True, norm)],
        [layer(True, norm) for _ in range(score)],
        (torch.randn(1, width), torch.randn(1)),
        torch.randn(1),
    )


def inputs(width: int, count: int = 333):
    h = torch.randn(50, width)
    pairs = torch.randint(50, (2, count))
    # Half of the sums are empty.
    return h, pairs, torch.randn(count, width) * (torch.rand(count, 1) > 0.5)


@pytest.mark.parametrize("width", [1, 5, 32, 64, 100, 260])
@pytest.mark.parametrize("p", [0.0, 0.3])
def test_equals_twin(width, p, threads):
    # Of rows of one value a layer norm makes noise.
    packed = layers(width, norm=width > 1)
    h, pairs, pooled = inputs(width)
    for sums in (pooled, None):
        expected = twin.pair_mlp(h, pairs, sums, *packed, p, 7)
        out = ops.pair_mlp(h, pairs, sums, packed, p=p, key=7)
        torch.testing.assert_close(out, expected, rtol=1e-3, atol=1e-3)


def test_float32_error_is_at_most_twice_torchs():
    packed, (h, pairs, pooled) = layers(64), inputs(64)
    params = packed.params.double()
    exact = twin.pair_mlp(
        h.double(), pairs, pooled.double(), params, packed.plan, 0.0, 0
    )
    theirs = twin.pair_mlp(h, pairs, pooled, *packed, 0.0, 0)
    ours = ops.pair_mlp(h, pairs, pooled, packed)
    assert (ours - exact).abs().max() <= 2 * (theirs - exact).abs().max() + 1e-6


# The twin's products are torch's, whose last bits depend on the batch.
NATIVE = ops.backends()["graphlab::pair_mlp"]["cpu"] == "native"


@pytest.mark.skipif(not NATIVE, reason="a law of the compiled kernel")
def test_same_bits_for_any_batch_and_thread_count():
    packed, (h, pairs, pooled) = layers(48), inputs(48, 1001)
    whole = ops.pair_mlp(h, pairs, pooled, packed)
    cut = [
        ops.pair_mlp(h, part.contiguous(), sums, packed)
        for part, sums in zip(pairs.split(77, 1), pooled.split(77), strict=True)
    ]
    assert torch.equal(torch.cat(cut), whole)
    assert torch.equal(ops.pair_mlp(h, pairs.flip(0), pooled, packed), whole)
    torch.set_num_threads(1)
    alone = ops.pair_mlp(h, pairs, pooled, packed)
    torch.set_num_threads(2)
    assert torch.equal(alone, whole)


def test_contract():
    packed, (h, pairs, pooled) = layers(6), inputs(6, 9)
    op = torch.ops.graphlab.pair_mlp
    torch.library.opcheck(op, (h, pairs, pooled, *packed, 0.0, 1))
    none = ops.pair_mlp(h, pairs[:, :0], pooled[:0], packed)
    assert none.shape == (0,)
    with pytest.raises(RuntimeError):
        op(h, pairs, pooled, packed.params[:-1], packed.plan, 0.0, 1)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"h": torch.ones(3, 2).double()}, TypeError, "`h` must be float32"),
        ({"pairs": torch.zeros(3, 2).long()}, ValueError, r"shape \[2, n\]"),
        ({"pairs": torch.full((2, 9), 50)}, IndexError, "`pairs`"),
        ({"pooled": torch.ones(9, 5)}, ValueError, r"have shape \[9, 6\]"),
        ({"p": 1.0}, ValueError, r"`p` must be in \[0, 1\)"),
    ],
)
def test_errors_name_the_argument(change, error, message):
    h, pairs, pooled = inputs(6, 9)
    given = {"h": h, "pairs": pairs, "pooled": pooled, "layers": layers(6)} | change
    with pytest.raises(error, match=message):
        ops.pair_mlp(**given)
