"""The strategies, each on a case small enough to know the right choice."""

import math

import numpy as np
import pytest
import torch
from made_embeddings import made_embeddings
from told_detector import told_query

from mgral.config import EvaluationConfig, registry
from mgral.errors import StepError
from mgral.models.build import build_detector
from mgral.selection.inference import FOUND_SCORE, find_objects
from mgral.selection.query import SAME_SCORES, Choice
from mgral.selection.selecting import choose
from mgral.selection.strategies.core_set import k_centre_greedy
from mgral.selection.strategies.entropy import mean_entropy

SURE, UNSURE, TORN, NOTHING = [0.02, 0.96, 0.02], [0.2, 0.4, 0.4], [0.05, 0.5, 0.45], [1.0, 0.0, 0.0]


def order(strategy, query):
    """Return the pool in the order of choice."""
    return query.pool[choose(strategy, query).rows].tolist()


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        # Image 0 has four sure objects, 1 one unsure and one sure, 2 one unsure, 3 nothing, 4 two unsure.
        ("entropy_sum", [[4], [1], [2], [0], [3]]),
        ("entropy_mean", [[2, 4], [1], [0], [3]]),
        ("entropy_max", [[1, 2, 4], [0], [3]]),
        ("least_confidence", [[4], [1], [2], [0], [3]]),
    ],
)
def test_uncertainty_adds_up_over_boxes(strategy, expected):
    images = [[SURE] * 4, [SURE, UNSURE], [UNSURE], [], [UNSURE, UNSURE]]
    told = [image + [NOTHING] * (4 - len(image)) for image in images]
    chosen = iter(order(strategy, told_query(told, budget=5)))
    assert [sorted(next(chosen) for _ in equal) for equal in expected] == expected


def test_margin_asks_for_the_two_likeliest_classes_and_confidence_for_one():
    told = [[SURE], [TORN], [[0.3, 0.45, 0.25]]]
    query = told_query(told, budget=3)
    assert order("margin", query) == [1, 2, 0]
    assert order("least_confidence", query) == [2, 1, 0]
    assert choose("margin", query).scores == pytest.approx([0.95**2, 0.85**2, 0.06**2], rel=1e-5)


def test_entropy_of_an_image_is_the_mean_over_its_objects():
    sure, unsure, background = [0.0, 1.0, 0.0], [0.0, 0.5, 0.5], [1.0, 0.0, 0.0]
    images = torch.tensor(
        [[sure, background, background], [sure, unsure, background], [unsure, unsure, unsure], [background] * 3]
    )
    assert mean_entropy(images).tolist() == pytest.approx([0, math.log(2) / 2, math.log(2), 0])


def test_entropy_leaves_labelled_images_alone():
    told = [[SURE], [[0.0, 0.5, 0.5]], [UNSURE], [[0.0, 0.7, 0.3]]]
    query = told_query(told, budget=3, labelled=(1,))
    assert order("entropy_anchors", query) == [2, 3, 0]
    assert choose("entropy_anchors", query).forward_passes == 3


def test_core_set_goes_where_nothing_is_labelled():
    pool = np.array([[0.0], [1.0], [2.0], [9.0], [10.0], [5.4]], np.float32)
    choice = k_centre_greedy(pool, np.array([[0.5]], np.float32), 4)
    # 10 is farthest from 0.5; then 5.4, 4.6 from 10; then 2, 1.5 from 0.5; then 9, 1 from 10.
    assert choice.rows.tolist() == [4, 5, 2, 3]
    assert choice.scores == pytest.approx([9.5, 4.6, 1.5, 1.0], rel=1e-6)


def test_core_set_takes_as_many_as_asked_where_images_are_equal():
    assert sorted(k_centre_greedy(np.zeros((5, 2), np.float32), np.zeros((1, 2), np.float32), 5).rows) == [
        0,
        1,
        2,
        3,
        4,
    ]


def test_of_images_that_all_score_the_same_a_random_batch_is_chosen():
    of_any_detector = ("entropy_sum", "entropy_mean", "entropy_max", "margin", "cald", "cdal_by_class")
    for name in (*of_any_detector, "cdal", "al_ssl", "ppal"):
        query = told_query([[NOTHING]] * 40, budget=4, labelled=(1,))
        choice = choose(name, query)
        assert choice.reason == SAME_SCORES, name
        # Not the first, as they would be by a stable order.
        assert sorted(choice.rows) != [0, 1, 2, 3], name
        assert choice.forward_passes > 0, name


def test_of_images_that_all_but_two_score_the_same_no_neighbours_are_chosen():
    """Two images show an object; in the order of ids, the others would come from the pool's beginning or its end."""
    for name in ("entropy_sum", "entropy_mean", "entropy_max", "margin", "cald", "cdal", "cdal_by_class", "al_ssl"):
        query = told_query(
            [[UNSURE if image in (20, 25) else NOTHING] for image in range(41)], budget=6, labelled=(40,)
        )
        rows = sorted({*choose(name, query).rows.tolist()} - {20, 25})
        assert max(rows) - min(rows) > len(rows) + 2, name
    vectors = np.zeros((40, 2), np.float32)
    vectors[20] = 1
    rows = sorted({*k_centre_greedy(vectors, vectors[:1], 6).rows.tolist()} - {20})
    assert rows != list(range(5))


def test_core_set_of_images_that_are_all_alike_is_a_random_batch():
    same = made_embeddings(np.arange(40), np.ones((40, 2)))
    choice = choose("core_set", told_query([[SURE]] * 40, budget=4, labelled=(1,), embeddings=same))
    assert choice.reason == SAME_SCORES
    assert sorted(choice.rows) != [0, 1, 2, 3]


def test_a_pool_that_is_taken_whole_needs_no_reason():
    query = told_query([[NOTHING]] * 4, budget=3, labelled=(1,))
    assert sorted(order("entropy_sum", query)) == [0, 2, 3]
    assert choose("entropy_sum", query).reason is None


def test_core_set_takes_the_components_by_id():
    components = np.array([[1.0], [-4.0], [0.0], [3.0]], np.float32)
    counts = np.array([[90.0], [0.0], [0.0], [0.0]], np.float32)
    embeddings = made_embeddings([3, 2, 1, 0], components, counts)
    assert order("core_set", told_query([[SURE]] * 4, labelled=(1,), embeddings=embeddings)) == [2]


def test_objects_are_those_that_the_detector_detects():
    """Compared with torchvision's post-processing, for a detector of one class with random weights."""
    from mgral.models.detectors.small_ssd import SmallSSDConfig

    detector = build_detector(SmallSSDConfig(width=64, height=64, channels=8), 1, seed=0).eval()
    with torch.no_grad():
        predictions = detector.predictions(torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 255)
    # From random weights nothing is found: make objects likely, as training does.
    predictions = predictions._replace(logits=predictions.logits - torch.tensor([3.5, 0.0]))
    config = EvaluationConfig(score_threshold=FOUND_SCORE, max_detections=30)
    found = find_objects(detector, predictions, config)
    expected = torchvisions_own(detector, predictions, FOUND_SCORE, config.nms_iou, 30)
    probabilities = detector.class_probabilities(predictions.logits)
    for image, (one, other) in enumerate(zip(found, expected, strict=True)):
        assert len(one.scores) == 30
        torch.testing.assert_close(one.scores, other["scores"])
        torch.testing.assert_close(one.boxes, other["boxes"])
        assert torch.equal(one.labels, other["labels"] - 1)
        torch.testing.assert_close(one.distributions, probabilities[image, one.sources])


def torchvisions_own(detector, predictions, score_threshold, nms_iou, most):
    """What torchvision's SSD finds, given its network's predictions."""
    model = detector.ssd
    model.score_thresh, model.nms_thresh, model.detections_per_img = score_threshold, nms_iou, most
    count, parts = len(predictions.logits), {"cls_logits": predictions.logits, "bbox_regression": predictions.offsets}
    return model.postprocess_detections(parts, [detector.anchors] * count, [detector.size] * count)


def test_a_strategy_that_chooses_too_few_or_the_same_twice_is_an_error(monkeypatch):
    query = told_query([[SURE]] * 4, budget=2)
    registry.strategy_function("random")  # imported, so that it is not registered again
    for rows in ([1, 1], [1], [0, 1, 2]):
        choice = Choice(np.array(rows), np.zeros(len(rows)))
        monkeypatch.setitem(registry._functions, "random", lambda _, choice=choice: choice)
        with pytest.raises(StepError, match="strategy random did not choose 2 different images"):
            choose("random", query)
    monkeypatch.setitem(registry._functions, "random", lambda _: Choice(np.array([0, 1]), np.array([1.0, np.nan])))
    with pytest.raises(StepError, match="strategy random gave a score that is not finite"):
        choose("random", query)
    for nothing in (None, [1, 2], Choice([0, 1], np.zeros(2))):
        monkeypatch.setitem(registry._functions, "random", lambda _, nothing=nothing: nothing)
        with pytest.raises(StepError, match="strategy random did not return a Choice of NumPy arrays"):
            choose("random", query)
    with pytest.raises(StepError, match=r"1 of 3 scores are not a number"):
        Choice.best(np.array([1.0, np.nan, 2.0]), 1)


@pytest.mark.parametrize("name", registry.strategies())
def test_every_registered_function_is_there(name):
    assert callable(registry.strategy_function(name))
    assert registry.strategies()[name].summary
