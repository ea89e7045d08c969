"""Search architectures of one's own: a space in JSON, a score in Python.

python examples/own_search_space.py
"""

from __future__ import annotations

import graphlab as gl

SPACE = {
    "name": "my cells",
    "nodes": [
        {"name": "in", "ops": ["in"]},
        {"name": "a", "ops": ["conv", "pool", "attention"]},
        {"name": "b", "ops": ["conv", "pool", "attention"]},
        {"name": "c", "ops": ["conv", "pool", "attention"]},
        {"name": "out", "ops": ["out"]},
    ],
    "edges": [["in", "a"], ["a", "b"], ["b", "c"], ["c", "out"]],
    "optional": [["in", "c"], ["a", "c"], ["b", "out"]],
    "costs": {"params": {"conv": 1.0, "attention": 3.0}},
}


def score(architecture: str) -> float:
    """Stands for a training; architectures are strings of labels, one a node."""
    _, a, b, c, _, in_c, _, _ = architecture.split("|")
    gain = {"conv": 1.0, "pool": 0.3, "attention": 1.2}
    return gain[a] + gain[b] * (a != b) + gain[c] * (1.5 if in_c == "present" else 1.0)


def main() -> None:
    space = gl.nag.spaces.from_json(SPACE)
    print(f"{space.size} architectures")
    denoiser = gl.nag.Denoiser(space, hidden=32, blocks=2)
    denoiser.fit(space.sample(100), steps=100)
    found = gl.nag.search(
        space,
        score,
        evaluations=30,
        denoiser=denoiser,
        niches={"params": [2.0, 4.0, 6.0]},
    )
    print(f"best: {found.best}, {max(found.scores):.2f}")
    assert found.archive is not None
    for elite in found.archive.front("params"):
        print(
            f"{elite.costs['params']:.0f} params: {elite.score:.2f} {elite.architecture}"
        )


if __name__ == "__main__":
    main()
