"""What the page of the confirmatory batches counts."""

import numpy as np
import pytest

from benchmarks.causes import explained, part_of_copies


def test_an_image_is_a_near_copy_unless_it_is_the_first_of_its_group():
    group_of = {1: 0, 2: 0, 3: 0, 7: 1, 8: 1}
    assert part_of_copies({4}, {4, 1, 2, 5, 6}, group_of) == 1 / 4  # 2 after 1
    assert part_of_copies({3, 4}, {3, 4, 1, 2, 5, 6}, group_of) == 2 / 4  # both after 3
    assert part_of_copies({4}, {4, 1, 7, 5}, group_of) == 0


def test_explained_is_of_the_differences_within_seeds():
    rng = np.random.default_rng(0)
    feature, noise = rng.normal(size=(2, 10, 9))
    seeds = 100 * rng.normal(size=(10, 1))
    assert explained(seeds + 3 * feature, [feature]) == pytest.approx(1)
    assert explained(seeds + noise, [feature]) < 0.1
    assert 0.3 < explained(feature + noise, [feature]) < 0.7
