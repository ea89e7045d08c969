"""Canonical forms of small labelled DAGs: equal for isomorphic ones and for no others."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

Form = tuple[tuple[str, ...], tuple[tuple[int, int], ...]]


def canonical_form(labels: Sequence[str], edges: Sequence[tuple[int, int]]) -> Form:
    """Renumber a labelled DAG so that isomorphic ones become equal.

    Colours (label, colours of predecessors and successors) are refined until they are
    stable. A class with several vertices is split by singling out each of them in turn, and
    the smallest result counts; vertices with equal neighbours are interchangeable, so only
    one of them is tried.

    Args:
        labels: Label of each vertex.
        edges: Pairs (from, to).

    Returns:
        Labels and edges in canonical order.

    Cost: exponential only in symmetries other than interchangeable vertices.

    Source: McKay and Piperno, "Practical graph isomorphism, II", J. Symb. Comput. 2014
    (individualisation and refinement, without its pruning).

    Example:
        >>> one = canonical_form(["in", "a", "b"], [(0, 1), (1, 2)])
        >>> one == canonical_form(["b", "in", "a"], [(1, 2), (2, 0)])
        True
    """
    count = len(labels)
    before: list[list[int]] = [[] for _ in range(count)]
    after: list[list[int]] = [[] for _ in range(count)]
    for u, v in edges:
        after[u].append(v)
        before[v].append(u)
    names = sorted(set(labels))
    start = [names.index(label) for label in labels]

    def refine(colours: list[int]) -> list[int]:
        while True:
            keys = [
                (
                    colours[v],
                    tuple(sorted(colours[u] for u in before[v])),
                    tuple(sorted(colours[u] for u in after[v])),
                )
                for v in range(count)
            ]
            order = {key: i for i, key in enumerate(sorted(set(keys)))}
            fresh = [order[key] for key in keys]
            if len(order) == len(set(colours)):
                return fresh
            colours = fresh

    def best(colours: list[int]) -> Form:
        classes: dict[int, list[int]] = {}
        for v, colour in enumerate(colours):
            classes.setdefault(colour, []).append(v)
        split = next((c for c in sorted(classes) if len(classes[c]) > 1), None)
        if split is None:
            place = {
                v: i
                for i, v in enumerate(sorted(range(count), key=colours.__getitem__))
            }
            ordered = sorted(range(count), key=colours.__getitem__)
            shown = tuple(labels[v] for v in ordered)
            return shown, tuple(sorted((place[u], place[v]) for u, v in edges))
        kinds = {
            (tuple(sorted(before[v])), tuple(sorted(after[v]))): v
            for v in classes[split]
        }
        return min(best(refine(_single_out(colours, v))) for v in kinds.values())

    return best(refine(start))


def _single_out(colours: list[int], vertex: int) -> list[int]:
    """Give one vertex a colour of its own, just before those of its class."""
    return [2 * colour - (1 if v == vertex else 0) for v, colour in enumerate(colours)]


def digest(form: object) -> str:
    """16 hex digits of a canonical form's text."""
    return hashlib.blake2b(repr(form).encode(), digest_size=8).hexdigest()
