"""A batch dealt out to people: everything once, the shared part twice, and all shares alike."""

from collections import Counter
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mgral.labelling.sharing import deal

BATCHES = given(pictures=st.integers(0, 120), people=st.integers(1, 12), shared=st.floats(0, 1))


@BATCHES
def test_every_picture_has_one_person_and_each_shared_one_two(pictures: int, people: int, shared: float) -> None:
    dealt = deal(pictures, people, shared)
    assert len(dealt) == pictures
    assert all(owners == tuple(sorted(set(owners))) and set(owners) <= set(range(people)) for owners in dealt)
    assert set(map(len, dealt)) <= {1, 2}
    assert [len(owners) for owners in dealt].count(2) == (round(shared * pictures) if people > 1 else 0)


@BATCHES
def test_shares_and_pairs_differ_by_one_at_most(pictures: int, people: int, shared: float) -> None:
    dealt = deal(pictures, people, shared)
    shares = Counter(person for owners in dealt for person in owners)
    counts = [shares[person] for person in range(people)]
    assert max(counts) - min(counts) <= 1
    pairs = Counter(owners for owners in dealt if len(owners) == 2)
    times = [pairs[pair] for pair in combinations(range(people), 2)]
    assert not times or max(times) - min(times) <= 1


@given(pictures=st.integers(1, 120), people=st.integers(2, 12), shared=st.floats(0.01, 1))
def test_shared_pictures_are_spread_over_the_ranks(pictures: int, people: int, shared: float) -> None:
    """Of any first part of the batch, about the share that is asked for."""
    twice = [len(owners) == 2 for owners in deal(pictures, people, shared)]
    for part in range(1, pictures + 1):
        assert abs(sum(twice[:part]) - sum(twice) * part / pictures) < 1


def test_by_hand() -> None:
    assert deal(5, 2) == [(0,), (1,), (0,), (1,), (0,)]
    assert deal(4, 1, 0.5) == [(0,)] * 4
    assert deal(3, 2, 1.0) == [(0, 1)] * 3
    # Two of six pictures, the first and the fourth, for two pairs that share nobody.
    dealt = deal(6, 4, 0.34)
    assert [place for place, owners in enumerate(dealt) if len(owners) == 2] == [0, 3]
    assert sorted(dealt[0] + dealt[3]) == [0, 1, 2, 3]
    assert sorted(owners[0] for owners in dealt if len(owners) == 1) == [0, 1, 2, 3]


@pytest.mark.parametrize("people", range(2, 13))
def test_all_pairs_have_met_before_one_meets_again(people: int) -> None:
    pairs = list(combinations(range(people), 2))
    assert sorted(deal(len(pairs), people, 1.0)) == pairs


def test_the_best_pictures_are_dealt_out_as_evenly_as_the_others() -> None:
    for person in range(3):
        ranks = [rank for rank, owners in enumerate(deal(300, 3)) if person in owners]
        assert abs(sum(ranks) / len(ranks) - 149.5) <= 1
