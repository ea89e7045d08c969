"""ogbn-arxiv, MLP on the features alone, ten seeds: the control of every entry on arxiv.

Settings of OGB's example (examples/nodeproppred/arxiv/mlp.py): three layers of 256, dropout
0.5, Adam at 0.01, 500 epochs, the epoch of the best validation accuracy.

    python benchmarks/leaderboard/arxiv_mlp.py --root /data/ogb
"""

from __future__ import annotations

from functools import partial

from entry import arguments, finish

import graphlab as gl


def main() -> None:
    args = arguments(
        __doc__, epochs=500, hidden_channels=256, num_layers=3, dropout=0.5, lr=0.01
    )
    d = gl.datasets.load("ogbn-arxiv", args.root)
    model = partial(
        gl.models.MLP,
        hidden_channels=args.hidden_channels,
        num_layers=args.num_layers,
        dropout=args.dropout,
    )
    result = gl.tasks.node.fit(
        d,
        model,
        seeds=range(args.runs),
        run_dir=f"{args.out}/arxiv-mlp",
        epochs=args.epochs,
        lr=args.lr,
    )
    finish(result, args, "MLP")


if __name__ == "__main__":
    main()
