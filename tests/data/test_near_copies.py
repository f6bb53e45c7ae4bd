"""Near-copies: which pairs are found, against a comparison of all pairs, and what is made of them."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mgral.artefacts.files import write_json
from mgral.config import NearCopiesConfig
from mgral.data import groups
from mgral.data.groups import Groups, NearCopy, find_groups, load_groups
from mgral.data.thumbnails import load_thumbnails
from mgral.errors import InputError

LIMITS = NearCopiesConfig(difference=5.0, of_contrast=0.4)
NONE = np.empty(0, np.int64), np.empty((0, 24, 24), np.uint8)


def scenes(count: int, seed: int, contrast: float = 40) -> np.ndarray:
    """Pictures that are unlike each other, of pixels from 20 to 235."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(0, contrast, (count, 6, 6)) + rng.uniform(100, 150, (count, 1, 1))
    return np.kron(coarse, np.ones((1, 4, 4))).clip(20, 235).astype(np.uint8)


def changed(pictures: np.ndarray, levels: int) -> np.ndarray:
    """Every other pixel lighter and darker by some levels, so that they are the root mean square of the change."""
    signs = np.where(np.indices((24, 24)).sum(axis=0) % 2, levels, -levels)
    return (pictures.astype(int) + signs).astype(np.uint8)


def test_copies_within_the_limit_are_found_and_others_not() -> None:
    known = scenes(6, 0)
    test = np.concatenate([changed(known[4:5], 5), changed(known[2:3], 6), scenes(1, 1), changed(known[0:1], 2)])
    found = find_groups(np.arange(10, 16), known, np.array([7, 8, 9, 5]), test, LIMITS)
    assert found.pairs == (NearCopy(5, 10, 2.0), NearCopy(7, 14, 5.0))
    assert (found.test_images, found.flat_test_images, found.share) == (4, 0, 0.5)
    assert found.groups == ()


def test_the_nearest_training_image_is_named() -> None:
    known = scenes(1, 0)
    train = np.concatenate([changed(known, levels) for levels in (4, 1, 3)])
    [pair] = find_groups(np.array([1, 2, 3]), train, np.array([9]), known, LIMITS).pairs
    assert pair == NearCopy(9, 2, 1.0)


def test_groups_are_chains_of_near_copies() -> None:
    """Of a slow video, the first frame and the last are unlike, but in one group."""
    first, other, alone = scenes(3, 3)
    video = [first.astype(int) + 4 * step for step in range(4)]
    train = np.array([*video, other, other, alone]).astype(np.uint8)
    found = find_groups(np.array([30, 2, 31, 1, 50, 40, 60]), train, *NONE, LIMITS)
    assert found.groups == ((1, 2, 30, 31), (40, 50))
    assert (found.pairs, found.share) == ((), 0.0)


def test_flat_pictures_are_not_called_copies() -> None:
    """Noise of 3 levels on the same grey: they differ by few levels, but as much as they vary."""
    noise = np.random.default_rng(0).normal(128, 3, (2, 24, 24)).round().astype(np.uint8)
    found = find_groups(np.array([1]), noise[:1], np.array([2]), noise[1:], LIMITS)
    assert (found.pairs, found.flat_test_images) == ((), 1)
    assert find_groups(np.array([1, 2]), noise, *NONE, LIMITS).groups == ()
    blind = LIMITS.model_copy(update={"of_contrast": 9.0})
    assert [pair.test for pair in find_groups(np.array([1]), noise[:1], np.array([2]), noise[1:], blind).pairs] == [2]


def test_pictures_of_one_value_are_copies_of_their_equals_only() -> None:
    train = np.stack([np.full((24, 24), value, np.uint8) for value in (0, 0, 3, 255)])
    found = find_groups(np.array([1, 2, 3, 4]), train, np.array([9]), train[3:], LIMITS)
    assert found.groups == ((1, 2),)
    assert found.pairs == (NearCopy(9, 4, 0.0),)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([3.0, 40.0]), st.floats(0, 12), st.floats(0.05, 2))
def test_all_pairs_are_compared(seed: int, contrast: float, difference: float, share: float) -> None:
    """Also where a set is compared in many parts."""
    rng = np.random.default_rng(seed)
    base = scenes(12, seed, contrast)
    noise = rng.normal(0, rng.uniform(0, 8, (36, 1, 1)), (36, 24, 24))
    pictures = (np.tile(base, (3, 1, 1)) + noise).clip(0, 255).astype(np.uint8)
    limits = NearCopiesConfig(difference=difference, of_contrast=share)
    train, test = pictures[:24], pictures[24:]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(groups, "ROWS", 5)
        patch.setattr(groups, "COLUMNS", 3)
        found = find_groups(np.arange(24), train, np.arange(12), test, limits)

    def distance(first: np.ndarray, second: np.ndarray) -> float:
        return float(np.sqrt(((first.astype(float) - second) ** 2).mean()))

    def near(first: np.ndarray, second: np.ndarray) -> bool:
        rms = distance(first, second)
        return rms <= difference and rms <= share * min(first.std(), second.std())

    joined = {place: {place} for place in range(24)}
    for one, other in combinations(range(24), 2):
        if near(train[one], train[other]):
            union = joined[one] | joined[other]
            joined |= dict.fromkeys(union, union)
    assert set(found.groups) == {tuple(sorted(group)) for group in joined.values() if len(group) > 1}
    nearest = {}
    for row, picture in enumerate(test):
        distances = [distance(picture, other) for other in train if near(picture, other)]
        if distances:
            nearest[row] = pytest.approx(min(distances), abs=5e-4)
    assert {pair.test: pair.difference for pair in found.pairs} == nearest
    closest = [min(distance(picture, other) for other in train) for picture in test]
    alike = {row for row, lowest in enumerate(closest) if lowest <= difference}
    assert found.flat_test_images == len(alike - set(nearest))


def test_groups_are_read_as_they_were_written(tmp_path: Path) -> None:
    written = Groups(((1, 2),), (NearCopy(2**62 + 1, 4, 1.5),), 7, 1)
    write_json(tmp_path / "groups.json", written.as_json())
    assert load_groups(tmp_path / "groups.json") == written


@pytest.mark.parametrize("content", [{}, [], {"groups": 3, "pairs": [], "test_images": 1, "flat_test_images": 0}])
def test_a_damaged_file_is_named(tmp_path: Path, content: object) -> None:
    write_json(tmp_path / "groups.json", content)
    with pytest.raises(InputError, match=r"groups\.json is damaged .* run the step `groups` again"):
        load_groups(tmp_path / "groups.json")


@pytest.mark.parametrize("step", ["cache", "pictures"])
def test_thumbnails_that_are_missing_name_the_step_that_makes_them(tmp_path, step):
    with pytest.raises(InputError, match=f"run the step `{step}` again"):
        load_thumbnails(tmp_path / "none.npy", 3, step)
