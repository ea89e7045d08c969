from __future__ import annotations

import pytest
import torch

from graphlab.embed.knowledge import SCORERS, KnowledgeEmbedding


def planted(people=60):
    """Four relations on people in a ring of generations.

    0 ``partner`` is symmetric; 1 ``next`` is antisymmetric; 2 ``previous`` is its inverse;
    3 ``next but one`` is 1 after 1.
    """
    ids = torch.arange(people)
    partner = torch.where(ids % 2 == 0, ids + 1, ids - 1)
    onwards, back = (ids + 2) % people, (ids - 2) % people
    relation = torch.ones(people, dtype=torch.int64)
    return torch.cat(
        [
            torch.stack([ids, 0 * relation, partner], 1),
            torch.stack([ids, 1 * relation, onwards], 1),
            torch.stack([ids, 2 * relation, back], 1),
            torch.stack([ids, 3 * relation, (ids + 4) % people], 1),
        ]
    )


def split(triples, seed=0):
    """Hide a tenth of each relation; what is hidden follows from the rest."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(triples), generator=generator)
    test = order[: len(triples) // 10]
    kept = order[len(triples) // 10 :]
    return triples[kept], triples[test]


def run(scorer, **change):
    triples = planted()
    train, test = split(triples)
    given = {"dim": 32, "epochs": 300, "batch_size": 256, "lr": 0.02} | change
    k = KnowledgeEmbedding(scorer, **given).fit(train, 60)
    return k, triples, test


def test_rotate_finds_planted_relations():
    k, triples, test = run("rotate")
    assert k.evaluate(test, triples).mrr >= 0.9


def test_distmult_cannot_tell_direction():
    """Its score is the same for (h, t) and (t, h): antisymmetric relations stay mixed up."""
    k, triples, test = run("distmult")
    directed = test[test[:, 1] > 0]
    found = k.evaluate(directed, triples)
    assert found.mrr < 0.7
    swapped = triples[:, [2, 1, 0]]
    torch.testing.assert_close(k.score(triples), k.score(swapped))
    rotated, _, _ = run("rotate")
    assert rotated.evaluate(directed, triples).mrr >= 0.9


@pytest.mark.parametrize("scorer", ["transe", "complex"])
def test_others_learn_what_they_are_shown(scorer):
    k, triples, _ = run(scorer, epochs=100)
    train, _ = split(triples)
    shown = train[train[:, 1] == 1]
    assert k.evaluate(shown, triples).mrr > 0.8


def test_a_grid_learns_the_same_and_repeats():
    # Negatives come from the parts at hand alone, so that it takes more epochs.
    k, triples, test = run("rotate", partitions=2)
    assert k.evaluate(test, triples).mrr >= 0.8
    first, again = (run("rotate", partitions=3, epochs=5)[0] for _ in range(2))
    assert torch.equal(first.entities, again.entities)


def test_ranks_are_filtered_and_ties_count_half():
    k = KnowledgeEmbedding("distmult", dim=1)
    k.entities = torch.tensor([[1.0], [3.0], [2.0], [2.0]])
    k.relations = torch.ones(1, 1)
    known = torch.tensor([[0, 0, 1], [0, 0, 2]])
    found = k.evaluate(known[1:], known)
    # Tail 2 scores 2, as 3 does; 1 scores 3 but is right too. Head 0 is below all others.
    assert found.ranks.tolist() == [1.5, 4.0]
    assert found.hits[3] == 0.5


def test_errors_name_the_argument():
    with pytest.raises(
        ValueError, match="`scorer` must be one of 'transe', 'distmult'"
    ):
        KnowledgeEmbedding("hole")
    with pytest.raises(ValueError, match="`dim` must be even for rotate, got 3"):
        KnowledgeEmbedding("rotate", dim=3)
    with pytest.raises(ValueError, match=r"`triples` must be \[triples, 3\]"):
        KnowledgeEmbedding().fit(torch.zeros(2, 2).long())
    with pytest.raises(IndexError, match=r"`triples` must be in \[0, 2\), got 5"):
        KnowledgeEmbedding().fit(torch.tensor([[0, 0, 5]]), 2)
    assert sorted(SCORERS) == ["complex", "distmult", "rotate", "transe"]
