"""A choice without near-copies, by any function."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from squares_query import squares_query

from mgral.selection.apart import choose_apart, images_apart
from mgral.selection.query import Choice

GROUPS = [[10, 15, 16], [17, 18, 19], [20, 21]]
"""Of the images 10 to 24, of which 10 to 14 are labelled. Without a copy are 22, 23 and 24."""


def query(budget, groups=GROUPS, seed=0):
    return squares_query(images=15, labelled=5, budget=budget, groups=groups, seed=seed)


QUERIES = {budget: query(budget) for budget in range(1, 11)}


def first_ones(asked):
    """A strategy that prefers the lowest ids."""
    return Choice.best(-asked.pool, asked.budget, forward_passes=len(asked.pool))


@given(st.sampled_from(sorted(QUERIES)))
def test_copies_come_last_and_the_budget_is_met(budget):
    asked = QUERIES[budget]
    choice = choose_apart(first_ones, asked)
    chosen = asked.pool[choice.rows].tolist()
    assert len(set(chosen)) == budget == len(choice.scores)
    best = sorted(images_apart(asked).tolist())
    assert chosen == [*best, *np.setdiff1d(asked.pool, best).tolist()][:budget]
    assert choice.forward_passes == (len(best) if budget <= len(best) else len(asked.pool))


def test_one_of_each_group_is_left_and_none_with_a_labelled_copy():
    for seed in range(10):
        found = set(images_apart(query(5, seed=seed)).tolist())
        assert found >= {22, 23, 24}
        assert [len(found & set(group)) for group in GROUPS] == [0, 1, 1]


def test_without_copies_the_choice_is_that_of_the_whole_pool():
    asked = query(4, groups=[])
    choice, usual = choose_apart(first_ones, asked), first_ones(asked)
    assert choice.rows.tolist() == usual.rows.tolist()
    assert choice.scores.tolist() == usual.scores.tolist()


def test_where_all_are_copies_of_labelled_images_the_budget_is_met_all_the_same():
    asked = query(3, groups=[list(range(10, 25))])
    assert not len(images_apart(asked))
    assert asked.pool[choose_apart(first_ones, asked).rows].tolist() == [15, 16, 17]
