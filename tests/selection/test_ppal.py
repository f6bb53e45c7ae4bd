"""Strategy `ppal`: what makes an image uncertain, what makes two alike, and which ones are chosen then."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from told_detector import SIDE, ToldDetector, far_apart, told_query
from torch import nn

from mgral.data.images import Images
from mgral.models.build import build_detector
from mgral.models.detectors.retinanet import RetinaNetConfig
from mgral.models.detectors.small_ssd import SmallSSDConfig
from mgral.models.suppression import Found
from mgral.selection import similarity
from mgral.selection.medoids import k_medoids
from mgral.selection.query import SAME_SCORES
from mgral.selection.selecting import choose
from mgral.selection.similarity import Boxes, image_distances
from mgral.selection.strategies.ppal import boxes_of_levels, class_weights, uncertainty

NOTHING = [1.0, 0.0, 0.0]


def binary_entropy(p):
    return -p * math.log(p) - (1 - p) * math.log(1 - p)


def objects(scores, labels):
    """Return boxes that lie on one another, from the first anchors."""
    count = len(scores)
    given = torch.tensor(scores), torch.tensor(labels, dtype=torch.int64), torch.zeros(count, 3)
    return Found(torch.zeros(count, 4), *given, torch.arange(count))


def test_a_class_weighs_more_the_worse_the_detector_is_at_it():
    # 1 + 0.06 ln(27.0316 (1 - q) + 1): at q = 0.5 that is 1 + 0.06 * 2.67524, at 0.9 1 + 0.06 * 1.30919.
    weights = class_weights(torch.tensor([0.0, 0.5, 0.9, 1.0], dtype=torch.float64))
    assert weights.tolist() == pytest.approx([1.2, 1.160514, 1.078551, 1.0], abs=1e-6)


def test_uncertainty_adds_weighted_entropies_of_boxes_that_are_neither_small_nor_elongated():
    found = objects([0.5, 0.9, 0.3, 0.4, 0.2, 0.6, 1.0], [0, 1, 0, 1, 1, 0, 0])
    sizes = torch.tensor([[20, 20], [90, 20], [16, 16], [100, 20], [20, 101], [4, 200], [50, 50]])
    # The third is too small, the next three are too long or too high; the last is certain.
    expected = 1.0 * math.log(2) + 1.2 * binary_entropy(0.9)
    value = uncertainty(found, sizes.float(), torch.tensor([1.0, 1.2], dtype=torch.float64))
    assert value.item() == pytest.approx(expected, rel=1e-6)
    assert uncertainty(objects([], []), torch.zeros(0, 2), torch.ones(2)) == 0


def test_scores_are_of_boxes_as_large_as_in_the_original_image():
    torn, doubtful, unlikely = [0.5, 0.5, 0.0], [0.2, 0.0, 0.8], [0.96, 0.04, 0.0]
    told = [[torn, NOTHING], [torn, doubtful], [unlikely, NOTHING], [torn, NOTHING]]
    boxes = far_apart(4, 2).clone()
    boxes[3, 0, 2:] = torch.tensor([1.5, 2.0])  # 15 x 20 pixels: a root area of 17.3; at 80 x 40, of 12.2
    maps = [torch.ones(4, 3, 1, 1)]
    query = told_query(told, boxes=boxes, class_maps=maps, scale=10, budget=4)
    choice = choose("ppal", query)
    assert choice.rows.tolist() in ([1, 0, 3, 2], [1, 3, 0, 2])
    one = math.log(2)
    assert choice.scores == pytest.approx([one + binary_entropy(0.8), one, one, 0], rel=1e-5)
    assert choice.forward_passes == 8

    smaller = replace(query.dataset, sizes=np.where([[0], [0], [0], [1]], [80, 40], query.dataset.sizes))
    assert choose("ppal", replace(query, dataset=smaller)).scores == pytest.approx(
        [one + binary_entropy(0.8), one, 0, 0]
    )


def test_an_anchor_counts_for_each_class_that_is_likely_enough():
    told = [[[0.2, 0.4, 0.4]], [[0.2, 0.76, 0.04]]]
    choice = choose("ppal", query_over(told, [of_features([0, 1])], 2))
    assert choice.rows.tolist() == [0, 1]
    assert choice.scores == pytest.approx([2 * binary_entropy(0.4), binary_entropy(0.76)], rel=1e-5)


def test_images_are_compared_by_each_class_that_is_likely_enough():
    """Of the two that are unlike the first in the likeliest class, one shares the other class with it."""
    told = [[[0.0, 0.55, 0.45]], [[0.02, 0.04, 0.94]], [[0.04, 0.96, 0.0]]]
    query = query_over(told, [of_features([0, 0, 1])], 2)
    assert choose("ppal", query).rows.tolist() == [0, 2]


def test_what_a_box_has_beyond_the_edge_of_its_image_is_no_part_of_it():
    """An image of 80 x 40 pixels is shown at 1.6 times its size on a canvas of 128 x 128."""
    config = RetinaNetConfig(name="retinanet_resnet50_fpn", canvas=128)
    boxes = [[[0, 32, 32, 64]], [[0, 44, 32, 76]], [[0, 70, 100, 128]]]  # 20 x 20 pixels, 20 x 12.5, 62.5 x 0
    given = {"class_maps": [torch.ones(3, 1, 1, 1)], "budget": 3, "detector": config, "side": 128}
    query = told_query([[[0.5, 0.5]]] * 3, boxes=boxes, **given)
    sizes = np.array([[80, 40]] * 3)
    images = Images(query.images.stored, sizes, query.images.canvas)
    query = replace(query, dataset=replace(query.dataset, sizes=sizes), images=images)
    assert choose("ppal", query).scores == pytest.approx([math.log(2), 0, 0])


def test_each_box_goes_to_the_nearest_of_its_class():
    features = torch.tensor([[1, 0], [0, 1], [1, 0], [0.6, 0.8]])
    boxes = Boxes(
        torch.tensor([0, 0, 0, 1]), torch.tensor([0, 0, 1, 0]), torch.tensor([0.8, 0.2, 0.5, 0.4]), features
    )
    distances = image_distances(torch.tensor([[1.0, 0.5], [0.4, 0.0], [0.0, 0.0]]), [boxes])
    there = (0.8 * (1 - 0.6) + 0.2 * (1 - 0.8) + 0.5 * 2) / 1.5
    back = 1 - 0.8
    pair = (there + back) / 2
    torch.testing.assert_close(distances, torch.tensor([[0, pair, 2], [pair, 0, 2], [2, 2, 0]]))


@pytest.mark.parametrize("cosines", [1, 50, 1 << 22])
def test_distances_are_those_of_a_loop_over_pairs(monkeypatch, cosines):
    monkeypatch.setattr(similarity, "COSINES", cosines)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(9, (60,), generator=generator).sort().values
    images = images[images != 4]  # one without boxes
    count = len(images)
    labels, space = torch.randint(3, (2, count), generator=generator)
    labels[images == 7] = 2
    scores = torch.rand(count, generator=generator) + 0.05
    features = nn.functional.normalize(torch.rand(count, 5, generator=generator))

    def towards(one, other):
        total = 0.0
        for box in (images == one).nonzero().flatten():
            matches = ((images == other) & (labels == labels[box])).nonzero().flatten()
            cosine = features[matches] @ features[box] * (space[matches] == space[box])
            total += scores[box] * (1 - cosine.max() if len(matches) else 2)
        return total / scores[images == one].sum()

    sums = torch.zeros(9, 3).index_put_((images, labels), scores, accumulate=True)
    spaces = [Boxes(*(part[space == s] for part in (images, labels, scores, features))) for s in range(3)]
    distances = image_distances(sums, spaces)
    for one in range(9):
        for other in range(9):
            expected = (
                0 if one == other else 2 if 4 in (one, other) else (towards(one, other) + towards(other, one)) / 2
            )
            assert distances[one, other].item() == pytest.approx(float(expected), abs=1e-5)


def test_features_are_those_of_the_anchors_level_at_the_centre_of_the_box():
    left, right = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 2.0])
    level = torch.stack([left, right], 1)[:, None].expand(2, 2, 2)
    maps = [torch.full((2, 4, 4), 3.0), level]
    detector = ToldDetector(torch.zeros(1, 4, 3), far_apart(1, 4), [m[None] for m in maps])
    third, half = SIDE / 4, SIDE / 2
    boxes = torch.tensor([[half - 1, 0, half + 1, 2], [0, 0, 2 * third, 3], [third, 0, 3 * third, 1], [7, 7, 8, 8]])
    scores, labels = torch.tensor([0.9, 0.8, 0.7, 0.6]), torch.tensor([1, 0, 1, 1])
    found = Found(boxes, scores, labels, torch.zeros(4, 3), torch.tensor([1, 2, 3, 2]))
    (first, coarse), (second, fine) = boxes_of_levels(detector, maps, found, 5)
    assert (first, second) == (0, 1)
    torch.testing.assert_close(coarse.features, torch.tensor([[0.5**0.5, 0.5**0.5]]))
    # At the middle of the left cell; half way between the cells; beyond the middle of the last.
    mixed = torch.tensor([0.5, 1.0]) / 1.25**0.5
    torch.testing.assert_close(fine.features, torch.stack([left, mixed, right / 2]))
    assert fine.labels.tolist() == [0, 1, 1]
    assert fine.scores.tolist() == pytest.approx([0.8, 0.7, 0.6])
    assert fine.images.tolist() == [5, 5, 5]


def test_medoids_are_the_middles_of_clusters():
    places = np.array([10, 0, 1, 2, 11, 12.5, 50], np.float32)
    distances = np.abs(places[:, None] - places)
    assert k_medoids(distances, 3).tolist() == [2, 4, 6]
    assert k_medoids(distances, 7).tolist() == list(range(7))
    assert k_medoids(distances, 1).tolist() == [0]  # 10 is the median


def test_medoids_of_scattered_clusters_are_those_of_each():
    rng = np.random.default_rng(0)
    cluster = rng.permutation(np.repeat(np.arange(8), 25))
    points = rng.normal(size=(200, 2)) + 40 * np.stack([cluster % 3, cluster // 3], 1)
    distances = np.linalg.norm(points[:, None] - points, axis=2).astype(np.float32)
    members = [np.flatnonzero(cluster == one) for one in range(8)]
    expected = [rows[distances[np.ix_(rows, rows)].sum(0).argmin()] for rows in members]
    assert k_medoids(distances, 8).tolist() == sorted(expected)


def test_medoids_of_equal_rows_are_different_rows():
    assert k_medoids(np.zeros((5, 5), np.float32), 3).tolist() == [0, 1, 2]


def query_over(told, class_maps, budget):
    """Return a query over images whose boxes are all of 40 x 40 pixels of them."""
    boxes = torch.tensor([0.0, 0.0, 4.0, 4.0]).expand(*np.shape(told)[:2], 4)
    return told_query(told, boxes=boxes, class_maps=class_maps, scale=10, budget=budget)


def uncertain(likelihoods):
    """Return images with one box each, of the first class."""
    return [[[1 - p, p, 0.0]] for p in likelihoods]


def of_features(rows):
    """Return a class map of one cell, with a feature of its own for every number."""
    return torch.eye(4)[list(rows)][:, :, None, None]


def test_duplicates_of_an_uncertain_image_are_left_out_for_a_different_one():
    told = uncertain([0.95, 0.5, 0.48, 0.46, 0.9])
    query = query_over(told, [of_features([1, 0, 0, 0, 1])], 2)
    choice = choose("ppal", query)
    # By uncertainty 1, 2, 3, 4, 0: of the equal 1, 2, 3 the most uncertain, and of 4, 0.
    assert choice.rows.tolist() == [1, 4]
    assert choice.scores == pytest.approx([binary_entropy(0.5), binary_entropy(0.9)], rel=1e-5)
    assert choice.forward_passes == 10


def test_only_four_times_the_budget_are_compared():
    told = uncertain([0.5, 0.52, 0.54, 0.56, *[0.9] * 5])
    # Among all nine, 0 is like most.
    query = query_over(told, [of_features([2, 3, 3, 3, *[2] * 5])], 1)
    choice = choose("ppal", query)
    assert choice.rows.tolist() == [1]
    assert choice.forward_passes == 13


def test_a_class_that_the_detector_is_bad_at_comes_first():
    told = [[[0.45, 0.55, 0.0]], [[0.4, 0.0, 0.6]]]
    query = query_over(told, [of_features([0, 1])], 2)
    assert choose("ppal", query).rows.tolist() == [0, 1]
    query.detector.class_quality.values.copy_(torch.tensor([1.0, 0.0]))
    choice = choose("ppal", query)
    assert choice.rows.tolist() == [1, 0]
    assert choice.scores == pytest.approx([1.2 * binary_entropy(0.6), binary_entropy(0.55)], rel=1e-5)


def test_levels_of_different_widths_are_not_compared():
    first, second = [0.5, 0.5, 0.0], [0.6, 0.4, 0.0]
    told = [[first, NOTHING], [second, NOTHING], [NOTHING, first], [NOTHING, second]]
    maps = [torch.ones(4, 3, 1, 1), torch.ones(4, 6, 1, 1)]
    query = query_over(told, maps, 2)
    assert choose("ppal", query).rows.tolist() == [0, 2]


def test_images_without_a_box_can_be_chosen_too():
    choice = choose("ppal", query_over([[NOTHING]] * 4, [of_features([0] * 4)], 4))
    assert sorted(choice.rows) == [0, 1, 2, 3]
    assert choice.scores.tolist() == [0, 0, 0, 0]
    # Of a part of them none comes first.
    assert choose("ppal", query_over([[NOTHING]] * 4, [of_features([0] * 4)], 3)).reason == SAME_SCORES


def test_it_runs_with_a_real_detector_and_chooses_the_same_again():
    config = SmallSSDConfig(width=64, height=64, channels=8)
    detector = build_detector(config, 3, seed=0).eval()
    for convolution in detector.ssd.head.classification_head.module_list:
        nn.init.zeros_(convolution.bias)  # so that objects are as likely as background
    detector.class_quality.update(torch.tensor([0.2, 0.5, 0.8]), torch.ones(3), torch.arange(3))
    query = told_query([[[*NOTHING, 0.0]]] * 20, labelled=(3, 4), budget=3, scale=20, detector=config)
    pixels = np.random.default_rng(0).integers(0, 256, (20, 64, 64, 3), dtype=np.uint8)
    query = replace(query, detector=detector, images=Images(pixels, query.dataset.sizes, query.images.canvas))
    first, again = choose("ppal", query), choose("ppal", query)
    assert len(set(first.rows.tolist())) == 3
    assert (first.scores > 0).all()
    assert sorted(first.scores, reverse=True) == first.scores.tolist()
    assert first.forward_passes == 18 + 12
    assert np.array_equal(first.rows, again.rows)
    assert np.array_equal(first.scores, again.scores)
