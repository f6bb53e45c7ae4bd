"""A choice without near-copies, by any function."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from squares_query import squares_query

from mgral.config import BudgetConfig
from mgral.selection.near_copies import choose_near_copies_last, without_near_copies
from mgral.selection.query import SAME_SCORES, Choice
from mgral.selection.selecting import select

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
    choice = choose_near_copies_last(first_ones, asked)
    chosen = asked.pool[choice.rows].tolist()
    assert len(set(chosen)) == budget == len(choice.scores)
    best = sorted(without_near_copies(asked).tolist())
    assert chosen == [*best, *np.setdiff1d(asked.pool, best).tolist()][:budget]
    assert choice.forward_passes == (len(best) if budget <= len(best) else len(asked.pool))


def test_one_of_each_group_is_left_and_none_with_a_labelled_copy():
    for seed in range(10):
        found = set(without_near_copies(query(5, seed=seed)).tolist())
        assert found >= {22, 23, 24}
        assert [len(found & set(group)) for group in GROUPS] == [0, 1, 1]


def test_without_copies_the_choice_is_that_of_the_whole_pool():
    asked = query(4, groups=[])
    choice, usual = choose_near_copies_last(first_ones, asked), first_ones(asked)
    assert choice.rows.tolist() == usual.rows.tolist()
    assert choice.scores.tolist() == usual.scores.tolist()


def test_where_all_are_copies_of_labelled_images_the_budget_is_met_all_the_same():
    asked = query(3, groups=[list(range(10, 25))])
    assert not len(without_near_copies(asked))
    assert asked.pool[choose_near_copies_last(first_ones, asked).rows].tolist() == [15, 16, 17]


@given(st.sampled_from(sorted(QUERIES)), st.integers(0, 2**40))
def test_a_strategy_that_sees_no_difference_draws_copies_last_too(budget, seed):
    asked = replace(QUERIES[budget], seed=seed)
    choice = choose_near_copies_last(lambda query: Choice.best(np.ones(len(query.pool)), query.budget), asked)
    chosen, apart = asked.pool[choice.rows], without_near_copies(asked)
    assert len(set(chosen.tolist())) == budget
    assert set(chosen[: len(apart)].tolist()) <= set(apart.tolist())
    assert (choice.reason == SAME_SCORES) == (budget < len(apart))
    assert not choice.undecided


def test_a_reason_of_what_follows_is_a_note():
    asked = query(8)

    def at_random_of_copies(part):
        return replace(first_ones(part), reason="no tables" if 15 in part.pool else None)

    choice = choose_near_copies_last(at_random_of_copies, asked)
    assert choice.reason is None
    assert choice.note == "near-copies follow, drawn at random: no tables"


@pytest.mark.parametrize("strategy", ["random", "entropy_sum", "ppal"])
def test_copies_of_labelled_images_come_last_of_any_strategy(strategy):
    asked = query(4)
    given_to_it = {"images": asked.images, "detector": asked.detector, "groups": GROUPS}
    for seed in range(5):
        found = select(strategy, asked.config, asked.dataset, asked.labelled, seed, controls=3, **given_to_it)
        assert not {15, 16} & {*found.images.tolist(), *found.controls.tolist()}
        more = asked.config.model_copy(update={"budget": 7})
        found = select(strategy, more, asked.dataset, asked.labelled, seed, **given_to_it).images.tolist()
        assert len(found) == 6
        assert found[-1] in (15, 16)


def test_a_budget_in_boxes_is_met_as_far_as_images_without_copies_reach():
    asked = query(4)
    config = asked.config.model_copy(update={"budget": BudgetConfig(unit="boxes", amount=50)})
    given_to_it = {"images": asked.images, "detector": asked.detector, "groups": GROUPS}
    found = select("entropy_sum", config, asked.dataset, asked.labelled, 0, **given_to_it)
    assert sorted(found.images.tolist())[-3:] == [22, 23, 24]
    assert len(found.images) == 6
    assert found.boxes == 50
