"""Random batches without near-copies."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from squares_query import squares_query

from mgral.config import ProjectData
from mgral.errors import InputError
from mgral.selection.selecting import choose, select

GROUPS = [[10, 15, 16], [17, 18, 19], [20, 21]]
"""Of the images 10 to 24, of which 10 to 14 are labelled. Without a copy are 22, 23 and 24."""


def query(budget, groups=GROUPS, **given):
    return squares_query(images=15, labelled=5, budget=budget, groups=groups, **given)


QUERIES = {budget: query(budget) for budget in (5, 8)}


def drawn(asked, seed):
    found = select("random_no_copies", asked.config, asked.dataset, asked.labelled, seed, groups=asked.groups)
    return found.images.tolist()


@given(st.integers(0, 2**40))
def test_no_two_of_a_group_and_none_with_a_labelled_copy(seed):
    found = set(drawn(QUERIES[5], seed))
    assert found >= {22, 23, 24}
    assert [len(found & set(group)) for group in GROUPS] == [0, 1, 1]


@given(st.integers(0, 2**40))
def test_a_budget_that_is_too_large_is_filled_from_the_rest(seed):
    found = drawn(QUERIES[8], seed)
    assert len(set(found)) == 8
    assert [len(set(found[:5]) & set(group)) for group in GROUPS] == [0, 1, 1]
    assert set(found[5:]) <= {15, 16, 17, 18, 19, 20, 21}


def test_a_group_is_as_likely_as_an_image_without_copies():
    asked = query(1)
    counts = Counter(drawn(asked, seed)[0] for seed in range(1000))
    for images in (GROUPS[1], GROUPS[2], [22], [23], [24]):
        assert 160 < sum(counts[image] for image in images) < 240  # of 200
    assert min(counts[image] for image in GROUPS[1]) > 40  # of 67


def test_without_groups_it_is_refused_and_with_none_it_draws_from_all():
    asked = query(3)
    with pytest.raises(InputError, match="strategy random_no_copies needs groups; pass what is missing"):
        select("random_no_copies", asked.config, asked.dataset, asked.labelled, 0)
    alone = query(1, groups=[])
    assert {drawn(alone, seed)[0] for seed in range(200)} == set(range(15, 25))


def test_it_draws_anew_for_each_cycle_and_otherwise_than_random():
    assert len({tuple(choose("random_no_copies", query(4, cycle=cycle)).rows) for cycle in range(5)}) == 5
    without = query(10, groups=[])
    assert choose("random_no_copies", without).rows.tolist() != choose("random", without).rows.tolist()


def test_a_project_has_no_copies_in_a_batch_whatever_the_budget():
    """As it has of every strategy; a group with a labelled image comes last."""
    asked = query(8)
    data = ProjectData(format="project", snapshot="round1/snapshot.json")
    config = asked.config.model_copy(update={"data": data})
    found = select("random_no_copies", config, asked.dataset, asked.labelled, 0, groups=GROUPS).images.tolist()
    assert [len(set(found) & set(group)) for group in GROUPS] == [1, 1, 1]
    assert len(found) == 6
    assert found[-1] in (15, 16)


def test_labelled_images_alone_make_a_group_known():
    asked = query(2, groups=[[10, *range(15, 23)]])
    assert {image for seed in range(20) for image in drawn(asked, seed)} == {23, 24}
    assert np.isin(drawn(asked, 0), asked.pool).all()
