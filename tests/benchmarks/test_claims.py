"""The page of the confirmatory comparison: Holm's correction, and which differences are tested."""

import numpy as np
import pytest

from benchmarks.claims import compared_with, holm


def test_holm_multiplies_the_smallest_most_and_never_changes_the_order():
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.9, 0.8]) == [1, 1]


def test_holm_leaves_out_what_was_not_tested():
    corrected = holm([np.nan, 0.02, 0.5])
    assert np.isnan(corrected[0])
    assert corrected[1:] == pytest.approx([0.04, 0.5])


def test_under_no_difference_holm_finds_one_in_at_most_five_of_a_hundred_families():
    rng = np.random.default_rng(0)
    families = rng.random((2000, 8))
    assert np.mean([min(holm(family)) <= 0.05 for family in families]) == pytest.approx(0.05, abs=0.012)


def test_the_best_other_is_tested_and_neither_is_the_agent():
    names = ("random", "sqrt_counts", "class_presence", "pal", "entropy_sum", "mgral", "mgral_greedy")
    heights = {name: np.array([height, height]) for name, height in zip(names, (1, 2, 3, 5, 4, 9, 8), strict=True)}
    found = list(compared_with(heights))
    assert [name for name, tested in found if tested] == ["random", "sqrt_counts", "class_presence", "pal"]
    assert [name for name, tested in found if not tested] == ["entropy_sum", "mgral"]


def test_where_a_named_one_is_the_best_it_is_tested_once():
    heights = {
        name: np.array([height])
        for name, height in zip(("random", "sqrt_counts", "class_presence"), (1, 7, 3), strict=True)
    }
    found = list(compared_with({**heights, "mgral_greedy": np.array([8.0]), "mgral": np.array([8.0])}))
    assert found == [("random", True), ("sqrt_counts", True), ("class_presence", True), ("mgral", False)]
