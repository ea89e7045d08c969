"""ogbn-products, GraphSAGE with neighbour sampling, ten seeds, exact inference.

Settings of OGB's example (examples/nodeproppred/products, graphsage with NeighborSampler):
three layers of 256, dropout 0.5, Adam at 0.003, fanout 15, 10, 5, batches of 1024, 20 epochs,
the epoch of the best validation accuracy.

    python benchmarks/leaderboard/products_sage.py --root /data/ogb
"""

from __future__ import annotations

from functools import partial

from entry import arguments, finish

import graphlab as gl


def main() -> None:
    args = arguments(
        __doc__,
        epochs=20,
        hidden_channels=256,
        num_layers=3,
        dropout=0.5,
        lr=0.003,
        batch_size=1024,
    )
    d = gl.datasets.load("ogbn-products", args.root)
    model = partial(
        gl.models.SAGE,
        hidden_channels=args.hidden_channels,
        num_layers=args.num_layers,
        dropout=args.dropout,
    )

    def loader(seed: int) -> gl.sample.NeighborLoader:
        fanout = [15, 10, 5][: args.num_layers]
        ids = d.ids("train")
        return gl.sample.NeighborLoader(d, fanout, args.batch_size, ids, seed=seed)

    result = gl.tasks.node.fit(
        d,
        model,
        loader=loader,
        seeds=range(args.runs),
        run_dir=f"{args.out}/products-sage",
        epochs=args.epochs,
        lr=args.lr,
    )
    finish(result, args, "GraphSAGE (neighbour sampling)")


if __name__ == "__main__":
    main()
