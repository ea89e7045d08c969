"""Links of your own graph in five lines: split, train, compare with heuristics, retrieve.

python examples/link_prediction.py
"""

from __future__ import annotations

from functools import partial

import graphlab as gl


def main() -> None:
    # Your own: gl.Dataset(gl.Graph(edge_index), x=features).to_undirected()
    d = gl.datasets.generate("sbm", num_nodes=300, num_edges=1500, num_features=16)
    d = d.to_undirected()
    model = partial(gl.models.link_model, head="ncnc", hidden_channels=32)
    result = gl.tasks.link.fit(
        d,
        model,
        split=gl.datasets.split_links_ncn,
        seeds=range(2),
        epochs=5,
        metric="hits@50",
        run_dir="runs/links",
    )
    print(f"NCNC: {result.test}")
    for name, scores in result.baselines.items():
        print(f"{name}: {scores}")
    print(gl.report.html(result, "report.html"))
    nodes, logits = result.score_all(d, topk=5, sources=d.graph.edge_index[0, :1])
    print(f"most likely new neighbours: {nodes[0].tolist()}, logits {logits[0]}")


if __name__ == "__main__":
    main()
