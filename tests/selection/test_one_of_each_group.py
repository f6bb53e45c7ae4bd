"""A batch has one image of a group of near-copies at most, whatever the strategy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from squares_query import squares_query

from mgral.data.groups import groups_by_name
from mgral.errors import InputError
from mgral.selection.pool import one_of_each
from mgral.selection.selecting import select

POOL = np.arange(1, 13)
GROUPS = ((1, 2, 3), (4, 12), (13, 14))


@given(st.integers(0, 2**40))
def test_one_of_each_group_stays_and_all_of_none(seed):
    shown = set(one_of_each(POOL, GROUPS, seed).tolist())
    assert {5, 6, 7, 8, 9, 10, 11} <= shown
    assert [len(shown & set(group)) for group in GROUPS] == [1, 1, 0]


def test_each_member_is_shown_at_times():
    seen = [set(one_of_each(POOL, GROUPS, seed).tolist()) & {1, 2, 3} for seed in range(300)]
    counts = [sum(member in one for one in seen) for member in (1, 2, 3)]
    assert sum(counts) == 300
    assert min(counts) > 70  # of 100


@pytest.mark.parametrize("strategy", ["random", "entropy_sum", "ppal"])
def test_no_strategy_chooses_two_of_a_group(strategy):
    query = squares_query(images=12, labelled=3, budget=3)
    groups = [[10, 13, 14, 15], [16, 17, 18, 19, 20]]  # of the pool 13 to 21
    given_to_it = {"images": query.images, "detector": query.detector, "groups": groups}
    for seed in range(5):
        found = select(strategy, query.config, query.dataset, query.labelled, seed, **given_to_it).images.tolist()
        assert len(found) == 3  # all that there are: one of each, and 21
        assert 21 in found
        assert all(len(set(found) & set(group)) == 1 for group in groups)


def test_a_batch_is_smaller_where_there_are_too_few():
    query = squares_query(images=12, labelled=3, budget=5)
    found = select("random", query.config, query.dataset, query.labelled, 0, groups=[range(13, 21)])
    assert len(found.images) == 2
    assert 21 in found.images
    with pytest.raises(InputError, match="no image is left to be chosen"):
        select("random", query.config, query.dataset, query.dataset.image_ids, 0, groups=[])


def test_groups_by_parts_of_names():
    names = ["cam/a_1.jpg", "cam/b_7.jpg", "cam/a_2.jpg", "other.jpg", "cam/b_8.jpg", "cam/c_1.jpg"]
    images = np.array([5, 4, 3, 2, 1, 9])
    assert groups_by_name(images, names, r"(\w)_\d+") == ((1, 4), (3, 5))
    assert groups_by_name(images, names, r"cam/") == ((1, 3, 4, 5, 9),)
    assert groups_by_name(images, names, r"nothing") == ()


def test_controls_are_drawn_uniformly_from_what_may_be_chosen_and_change_nothing():
    """Of 5 candidates, two of which stand for groups, each is one of two controls in 40 % of 500 draws."""
    query = squares_query(images=12, labelled=3, budget=2)
    groups = [[13, 14, 15], [16, 17, 18]]
    counts = dict.fromkeys(range(13, 22), 0)
    for seed in range(500):
        own = query.config, query.dataset, query.labelled, seed
        found = select("random", *own, groups=groups, controls=2)
        alone = select("random", *own, groups=groups)
        assert found.images.tolist() == alone.images.tolist()
        assert len(set(found.controls.tolist())) == 2
        assert "controls" not in alone.to_json()
        for image in found.controls.tolist():
            counts[image] += 1
    for members in ((13, 14, 15), (16, 17, 18), (19,), (20,), (21,)):  # standard deviation 11
        assert 160 < sum(counts[image] for image in members) < 240
    both = select("random", query.config, query.dataset, query.labelled, 0, groups=groups, controls=9).to_json()
    assert len(both["controls"]) == 5
