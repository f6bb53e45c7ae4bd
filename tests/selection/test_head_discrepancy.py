"""The discrepancy of two heads."""

import numpy as np
import pytest
import torch
from head_of_query import query_with_head
from squares_query import squares_query

from mgral.selection.selecting import choose
from mgral.selection.strategies import head_discrepancy
from mgral.selection.strategies.head_discrepancy import discrepancy


def test_discrepancy_is_the_squared_difference_of_the_classes_less_the_background():
    first = torch.tensor([[0.5, 0.3, 0.2], [0.9, 0.1, 0.0]])
    second = torch.tensor([[0.1, 0.7, 0.2], [0.8, 0.0, 0.2]])
    # Anchor 0: (0.16 + 0) / 2; anchor 1: (0.01 + 0.04) / 2.
    assert discrepancy(first, second).item() == pytest.approx((0.08 + 0.025) / 2)
    assert discrepancy(first, first) == 0


def test_only_the_anchors_in_most_dispute_count(monkeypatch):
    monkeypatch.setattr(head_discrepancy, "TOP_ANCHORS", 2)
    first = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    second = torch.tensor([[0.9, 0.1], [0.5, 0.5], [1.0, 0.0], [0.7, 0.3]])
    assert discrepancy(first, second).item() == pytest.approx((0.25 + 0.09) / 2)


def test_heads_come_to_agree_and_least_on_what_is_unlike_the_labelled_images():
    """The pool is copies of the labelled images, then images of noise."""
    query = squares_query(images=12, labelled=6, budget=6)
    pixels = query.images.stored
    pixels[6:9] = pixels[:3]
    pixels[9:] = np.random.default_rng(0).integers(0, 256, pixels[9:].shape)
    trained = choose("head_discrepancy", query_with_head(query, "head_discrepancy", iterations=200))
    assert set(trained.rows[:3].tolist()) == {3, 4, 5}
    untrained = choose("head_discrepancy", query_with_head(query, "head_discrepancy", iterations=1))
    assert (trained.scores[np.argsort(trained.rows)] < untrained.scores[np.argsort(untrained.rows)] / 2).all()
