"""What a command has found, in the place of what the cycle's detector would find."""

import math

import numpy as np
import pytest
from squares import square_set

from mgral.config import EvaluationConfig, resolve_config
from mgral.data.results import FoundBoxes
from mgral.errors import InputError
from mgral.evaluation.evaluate import evaluate_found
from mgral.selection.features import given_features
from mgral.selection.selecting import select
from mgral.selection.strategies import entropy

CONFIG = resolve_config(
    {"initial": 2, "budget": 2, "cycles": 1, "evaluation": {"max_detections": 2}, "strategies": ("entropy_sum",)}
)


def found(*boxes):
    """Boxes given as row, score and the probability of the background, of the one class of `squares`."""
    rows, scores, background = (np.array(part) for part in zip(*boxes, strict=True))
    sides = np.tile(np.array([0, 0, 9, 9], np.float32), (len(rows), 1))
    distributions = np.stack([background, 1 - background], axis=1).astype(np.float32)
    return FoundBoxes(rows, sides, scores.astype(np.float32), np.zeros_like(rows), distributions)


def test_images_are_chosen_by_the_entropies_of_what_was_found_in_them():
    """Rows 0 and 1 are labelled. Of row 4 the third box is one too many, and that of row 5 is below 0.05."""
    data = square_set(6).dataset
    given = found(
        (0, 0.9, 0.5), (2, 0.5, 0.5), (3, 0.9, 0.1), (4, 0.5, 0.5), (4, 0.5, 0.5), (4, 0.4, 0.5), (5, 0.04, 0.5)
    )
    chosen = select("entropy_sum", CONFIG, data, np.array([10, 11]), 0, images=square_set(6).images, found=given)
    assert chosen.images.tolist() == [14, 12]
    assert chosen.scores == pytest.approx([2 * math.log(2), math.log(2)])


def test_a_strategy_that_reads_what_was_found_needs_it():
    data = square_set(6)
    with pytest.raises(InputError, match="strategy entropy_sum needs detector; pass what is missing"):
        select("entropy_sum", CONFIG, data.dataset, np.array([10, 11]), 0, images=data.images)


def test_features_come_with_the_summed_scores_of_each_class():
    vectors = np.ones((3, 2), np.float32)
    features, scores = given_features(vectors, found((0, 0.5, 0), (0, 0.25, 0), (2, 0.03, 0)), classes=1)
    assert features is vectors
    assert scores.tolist() == [[0.75], [0], [0]]
    assert given_features(vectors, None, classes=1).class_scores.shape == (3, 0)


def test_what_was_found_is_scored_in_pixels_of_the_original_images():
    data = square_set(3)
    rows = np.arange(3)
    exact = np.concatenate(data.dataset.boxes)
    sure = FoundBoxes(rows, exact, np.ones(3, np.float32), np.zeros(3, np.int64), np.empty((3, 0), np.float32))
    scores, results = evaluate_found(sure, data, EvaluationConfig())
    assert scores["map"] == pytest.approx(1)
    x1, y1, x2, y2 = exact[1].tolist()
    assert results[1] == {"image_id": 11, "category_id": 0, "bbox": [x1, y1, x2 - x1, y2 - y1], "score": 1.0}
    shifted = sure._replace(boxes=exact + 60)
    assert evaluate_found(shifted, data, EvaluationConfig())[0]["map"] == 0
    assert evaluate_found(sure.only(rows > 5), data, EvaluationConfig())[0]["map"] == 0


def test_the_objects_of_an_image_are_used_before_those_of_the_next_are_sought(monkeypatch):
    """Those of a large pool together take gigabytes."""
    happened = []
    of_row, own_entropy = FoundBoxes.of_row, entropy.entropy
    monkeypatch.setattr(FoundBoxes, "of_row", lambda self, row: happened.append("sought") or of_row(self, row))
    monkeypatch.setattr(entropy, "entropy", lambda given: happened.append("used") or own_entropy(given))
    data = square_set(9)
    given = found(*((row, 0.5, 0.5) for row in range(9)))
    select("entropy_sum", CONFIG, data.dataset, np.array([10, 11]), 0, images=data.images, found=given)
    assert happened == ["sought", "used"] * 7
