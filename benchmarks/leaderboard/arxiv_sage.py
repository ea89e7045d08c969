"""ogbn-arxiv, GraphSAGE, full batch on the undirected graph, ten seeds.

Settings of OGB's example (examples/nodeproppred/arxiv/gnn.py, --use_sage): three layers of
256, dropout 0.5, Adam at 0.01, 500 epochs, the epoch of the best validation accuracy.

    python benchmarks/leaderboard/arxiv_sage.py --root /data/ogb
"""

from __future__ import annotations

from functools import partial

from entry import arguments, finish

import graphlab as gl


def main() -> None:
    args = arguments(
        __doc__, epochs=500, hidden_channels=256, num_layers=3, dropout=0.5, lr=0.01
    )
    d = gl.datasets.load("ogbn-arxiv", args.root, undirected=True)
    model = partial(
        gl.models.SAGE,
        hidden_channels=args.hidden_channels,
        num_layers=args.num_layers,
        dropout=args.dropout,
    )
    result = gl.tasks.node.fit(
        d,
        model,
        seeds=range(args.runs),
        run_dir=f"{args.out}/arxiv-sage",
        epochs=args.epochs,
        lr=args.lr,
    )
    finish(result, args, "GraphSAGE")


if __name__ == "__main__":
    main()
