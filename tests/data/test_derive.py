"""What follows from the data where the configuration has null: input size, anchors, iterations."""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from click.testing import CliRunner

from mgral.cli.main import mgral
from mgral.config import Config, SyntheticData, config_yaml, resolve_config
from mgral.config.canvas import MOST_PIXELS
from mgral.data.dataset import Category, Dataset
from mgral.data.derive import (
    assume_settings,
    best_possible_recall,
    derive_from_labels,
    derive_input_size,
    derive_lengths,
    derive_ratios,
    derive_scales,
    derive_settings,
    load_derived,
    settings_lines,
)
from mgral.data.read import read_data
from mgral.data.synthetic import write_synthetic
from mgral.engine.cost import derive_here
from mgral.errors import InputError
from mgral.models.build import random_detector
from mgral.models.detectors.timm import SSDConfig
from mgral.selection.pool import draw_initial

STRIDES = (4, 8, 16, 32)
REAL = {"data": {"format": "coco", "root": "somewhere"}, "initial": 3, "seeds": (0,)}
NONE = np.empty((0, 2))


def squares(side, count):
    return np.full((count, 2), side)


def dataset(boxes, size=(640, 480)):
    """Images of one size with the given boxes each, in pixels, and ids from 10."""
    arrays = [np.array(one, np.float32).reshape(-1, 4) for one in boxes]
    return Dataset(
        image_ids=np.arange(10, 10 + len(boxes)),
        file_names=tuple(f"{number}.jpg" for number in range(len(boxes))),
        sizes=np.tile(size, (len(boxes), 1)),
        categories=(Category(1, "cell"),),
        boxes=tuple(arrays),
        labels=tuple(np.zeros(len(one), np.int64) for one in arrays),
    )


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([(640, 480)], (288, 224)),  # shrunk to 0.45 and 0.467; 64,512 of 65,536 pixels
        ([(320, 320)], (256, 256)),
        ([(160, 160)], (160, 160)),  # never larger than the images
        ([(100, 70)], (96, 64)),
        ([(40, 40)], (32, 32)),
        ([(20, 12)], (32, 32)),  # the coarsest map has a cell at least
        ([(4000, 500)], (672, 96)),
        ([(500, 4000)], (96, 672)),
        ([(3000, 1000)], (384, 128)),  # 512 x 128 would show no more of the height
        ([(640, 480), (480, 640)], (256, 256)),
        ([(320, 320)] * 9 + [(6000, 4000)], (256, 256)),  # the median
    ],
)
def test_input_sizes(sizes, expected):
    assert derive_input_size(np.array(sizes)) == expected


def test_anchors_without_boxes_are_the_usual_ones():
    """From 0.08 to 0.8 by a factor of 10^(1/4)."""
    assert derive_scales(NONE, STRIDES, (256, 256)) == (0.08, 0.142, 0.253, 0.45, 0.8)
    assert derive_ratios(NONE) == (2.0,)


def test_anchor_scales_reach_from_the_smallest_to_the_largest_boxes():
    """Of 1,000 boxes the quantile 0.01 lies at 9.52 of the sorted: boxes of 0.1; 0.99 at 991.5 of them: of 0.6."""
    shapes = np.concatenate([squares(0.1, 500), squares(0.6, 500)])
    # A factor of 6^(1/4) = 1.565 each: 0.157 and 0.245, but 2.5 strides of 16 are 0.156 and of 32 are 0.3125.
    assert derive_scales(shapes, STRIDES, (256, 256)) == (0.1, 0.157, 0.245, 0.383, 0.6)
    # In an image of 128 pixels they are 0.078, 0.156, 0.3125 and 0.625; the one past the last is larger by 1.2.
    assert derive_scales(shapes, STRIDES, (128, 128)) == (0.1, 0.157, 0.312, 0.625, 0.75)


def test_small_and_large_boxes_keep_anchors_apart_and_inside():
    tiny = derive_scales(squares(3 / 256, 1000), STRIDES, (256, 256))
    assert tiny == (0.039, 0.078, 0.156, 0.312, 0.375)  # 2.5 strides, and 1.2 times the last
    assert derive_scales(squares(1.0, 1000), STRIDES, (256, 256)) == (0.458, 0.55, 0.66, 0.792, 0.95)


def test_a_few_boxes_alone_decide_nothing():
    scales = derive_scales(squares(0.3, 3), STRIDES, (256, 256))
    assert scales[0] == 0.08
    assert scales[-1] == 0.8


def test_the_aspect_ratio_is_that_of_elongated_boxes_in_either_direction():
    """With the usual 2 there are five: 1, 1, 2, 4, 4; the quantile 0.8 is between the fourth and the fifth."""
    shapes = np.array([(0.2, 0.2), (0.3, 0.3), (0.1, 0.4), (0.8, 0.2)])
    assert derive_ratios(shapes) == (4.0,)
    assert derive_ratios(np.array([(0.9, 0.01)] * 50)) == (8.0,)
    assert derive_ratios(squares(0.5, 50)) == (1.3,)


def test_iterations_grow_with_the_images():
    """500 for 100 images; 16 times the images train 16^0.75 = 8 times as long."""
    assert derive_lengths(100) == (500, 250, 75)
    assert derive_lengths(1600) == (4000, 2000, 600)
    assert derive_lengths(3) == derive_lengths(0) == (150, 75, 22)
    assert derive_lengths(10**6).detector == 20_000


def test_best_possible_recall():
    """One map of 2 x 2 cells, with anchors of half the image and a little more in their centres."""
    detector = SSDConfig(
        name="ssd", width=32, height=32, strides=(16,), anchor_scales=(0.5, 0.52), aspect_ratios=(1.0,)
    )
    cell, between, small = [0, 0, 0.5, 0.5], [0.125, 0.125, 0.625, 0.625], [0.2, 0.2, 0.3, 0.3]
    # Half of an anchor's side away: 0.75^2 / (2 - 0.75^2) = 0.39.
    assert best_possible_recall(detector, np.array([cell, cell, between, small], float)) == 0.5
    wide = np.array([[0.0, 0.125, 0.7, 0.375]])
    assert best_possible_recall(detector, wide) == 0
    assert best_possible_recall(detector.model_copy(update={"aspect_ratios": (2.8,)}), wide) == 1


SHAPES = {
    "tiny images": ((40, 40), [[0, 0, 3, 3]]),
    "huge images": ((4000, 3000), [[10, 10, 30, 30]] * 40),
    "1 to 8": ((400, 3200), [[0, 0, 400, 100]] * 5),
    "8 to 1": ((4000, 500), [[0, 0, 3, 500], [0, 0, 4000, 3]]),
    "whole image": ((300, 200), [[0, 0, 300, 200]] * 90),
    "one box": ((640, 480), [[7, 7, 20, 30]]),
    "3 pixels": ((1000, 1000), [[500, 500, 503, 503]] * 300),
    "no box": ((640, 480), []),
    "beyond the edge": ((100, 100), [[-20, -20, 150, 150], [0, 0, 0, 5]]),
    "a pixel": ((1, 1), [[0, 0, 1, 1]]),
}


@pytest.mark.parametrize(("size", "boxes"), SHAPES.values(), ids=SHAPES.keys())
def test_any_data_give_settings_of_which_a_network_can_be_made(size, boxes):
    data = dataset([boxes, [], boxes], size)
    given = resolve_config(REAL)
    config = derive_settings(given, data, data, data.image_ids)
    detector = config.detector
    width, height = detector.width, detector.height
    assert config.open_keys == {}
    assert width % 32 == height % 32 == 0
    assert width * height <= MOST_PIXELS
    assert width <= max(32, size[0])
    assert height <= max(32, size[1])
    scales = detector.anchor_scales
    assert len(scales) == 5
    assert all(0 < one < other < 1 for one, other in pairwise(scales))
    assert (scales[0] * np.sqrt(width * height) >= 2.5 * 4 - 0.1) or scales[-1] == 0.95
    assert 1.3 <= detector.aspect_ratios[0] <= 8
    assert config.iterations.detector >= config.iterations.base >= config.iterations.variant > 0
    assert settings_lines(given, config, data, data.image_ids)[0].startswith(f"input size: {width} x {height} pixels")


def test_a_network_of_the_smallest_size_can_be_made():
    data = dataset([[[0, 0, 3, 3]]] * 3, (40, 40))
    detector = derive_settings(resolve_config(REAL), data, data, data.image_ids).detector
    assert random_detector(detector, 1, seed=0).size == (32, 32)


def test_no_label_of_pool_or_test_images_matters():
    boxes = [[[10 * k, 10, 10 * k + 60, 90 + k]] for k in range(20)]
    train, test = dataset(boxes), dataset(boxes[:4])
    labelled = train.image_ids[:5]
    config = resolve_config(REAL)
    derived = derive_settings(config, train, test, labelled)
    other = [[[0, 0, 2, 400]] * 30] * 15
    changed = dataset(boxes[:5] + other)
    assert derive_settings(config, changed, dataset(other[:4]), labelled) == derived
    assert derive_settings(config, train.without_labels(train.image_ids[5:]), test, labelled) == derived
    classes = replace(train, labels=tuple(one + 1 for one in train.labels))
    assert derive_settings(config, classes, test, labelled) == derived
    assert derive_settings(config, changed, test, changed.image_ids[5:]) != derived  # those are read


def test_values_that_are_set_are_used_as_they_are():
    data = dataset([[[0, 0, 64, 48]]] * 3)
    detector = {"width": 100, "height": 50, "aspect_ratios": (3.0,)}
    config = resolve_config({**REAL, "detector": detector, "iterations": {"base": 7}})
    assert config.open_keys == {"detector": ("anchor_scales",), "iterations": ("detector", "variant")}
    full = derive_settings(config, data, data, data.image_ids)
    assert (full.detector.width, full.detector.height, full.detector.aspect_ratios) == (100, 50, (3.0,))
    assert full.iterations.base == 7
    assert full.iterations.detector == 150
    assert derive_settings(full, dataset([[]] * 3, (32, 32)), data, data.image_ids) == full
    assert config.with_derived({"detector": {"width": 64}}).detector.width == 100


def test_the_detector_of_a_configuration_without_one_is_by_its_data():
    assert resolve_config(REAL).detector.name == "ssd"
    assert Config().detector.name == "small_ssd"
    assert Config().open_keys == {}
    assert Config().iterations.model_dump() == {"detector": 300, "growth": 0.75, "base": 200, "variant": 60}
    named = resolve_config({**REAL, "detector": {"name": "small_ssd"}, "iterations": {"detector": None}})
    assert named.open_keys == {"iterations": ("detector",)}


def test_what_a_person_sees_before_a_training():
    """Sizes of 0.1, 0.141 and 1, with the usual 0.08 and 0.8: from 0.08 to 1 by factors of 12.5^(1/4) = 1.88."""
    data = dataset([[[0, 0, 64, 48], [64, 48, 128, 144]], [[0, 0, 640, 480]], []])
    given = resolve_config({**REAL, "detector": {"aspect_ratios": (2.5,)}})
    full = derive_settings(given, data, data, data.image_ids)
    assert settings_lines(given, full, data, data.image_ids) == [
        "input size: 288 x 224 pixels (derived; the median training image is 640 x 480)",
        "boxes: the median of 3 is 29 x 45 pixels at this size",
        "anchor scales: 0.08, 0.15, 0.283, 0.532, 0.95 (derived)",
        "aspect ratios: 2.5 (set)",
        "best possible recall: 100.0 % of the boxes have an anchor of IoU 0.5 or more",
        "iterations: detector 150 (derived), base 75 (derived), variant 22 (derived)",
    ]


def test_one_side_without_the_other_is_refused():
    with pytest.raises(InputError, match="set width and height, or neither of them"):
        resolve_config({**REAL, "detector": {"width": 100}})


def test_what_is_not_derived_yet_is_named():
    config = resolve_config(REAL)
    with pytest.raises(InputError, match=r"detector\.width: is null and not derived .* give --derived FILE"):
        _ = config.detector.image_canvas
    assert config.detector.largest_canvas.input_size == (256, 256)
    assert assume_settings(config).open_keys == {}


def test_derived_values_that_cannot_be_are_refused():
    with pytest.raises(InputError, match=r"derived settings: detector\.width: .*, found 'wide'; delete the file"):
        resolve_config(REAL).with_derived({"detector": {"width": "wide"}})


def coco(data):
    annotations = [
        {"id": 100 * row + k, "image_id": int(data.image_ids[row]), "category_id": 1, "iscrowd": 0,
         "bbox": [float(v) for v in (x1, y1, x2 - x1, y2 - y1)]}
        for row, boxes in enumerate(data.boxes) for k, (x1, y1, x2, y2) in enumerate(boxes)
    ]  # fmt: skip
    images = [
        {"id": int(i), "file_name": name, "width": int(w), "height": int(h)}
        for i, name, (w, h) in zip(data.image_ids, data.file_names, data.sizes, strict=True)
    ]
    return {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "cell"}]}


def test_the_steps_write_what_the_functions_derive_and_nothing_else(tmp_path):
    data = dataset([[[10 * k, 10, 10 * k + 60, 90 + k]] for k in range(9)])
    config = resolve_config({**REAL, "iterations": {"variant": 5}})
    (tmp_path / "config.yaml").write_bytes(config_yaml(config))
    (tmp_path / "train.json").write_text(json.dumps(coco(data)))
    (tmp_path / "labelled.json").write_text(json.dumps({"images": [10, 12, 15]}))

    def step(name, *options):
        done = CliRunner().invoke(
            mgral, [name, f"--config={tmp_path / 'config.yaml'}", *(f"--{one}" for one in options)]
        )
        assert done.exit_code == 0, done.output

    train, size, derived = f"dataset={tmp_path / 'train.json'}", tmp_path / "size.json", tmp_path / "derived.json"
    step("input_size", train, train, f"output={size}")
    assert json.loads(size.read_text()) == {"detector": {"width": 288, "height": 224}}
    step("derive", train, f"labelled={tmp_path / 'labelled.json'}", f"derived={size}", f"output={derived}")
    found = json.loads(derived.read_text())
    assert {section: set(values) for section, values in found.items()} == {
        "detector": {"width", "height", "anchor_scales", "aspect_ratios"},
        "iterations": {"detector", "base", "variant"},
    }
    full = derive_settings(config, data, data, [10, 12, 15])
    assert load_derived(config, [derived]) == full
    assert full.iterations.variant == 5  # as it is set
    assert derive_from_labels(full, data, [10, 12, 15])["detector"] == {}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A COCO folder of images of 128 x 128 pixels."""
    folder = tmp_path_factory.mktemp("derive")
    write_synthetic(SyntheticData(train_images=6, test_images=2), folder / "set")
    return folder


def test_a_notebook_has_the_same(folder):
    config = resolve_config(
        {**REAL, "data": {"format": "coco", "root": str(folder / "set")}, "cycles": 1, "budget": 1}
    )
    train, test = read_data(config, folder / "cache")
    assert train.images.canvas.input_size == (128, 128)
    labelled = draw_initial(train.dataset.image_ids, 3, seed=0)
    full = derive_settings(config, train.dataset, test.dataset, labelled)
    assert full.detector.image_canvas == train.images.canvas
    # What `mgral estimate` goes by: the data, or what a run derived from them, or the most that it may be.
    assert derive_here(config, folder / "results") == full
    (folder / "results" / "seed0").mkdir(parents=True)
    other = {
        "detector": {"width": 96, "height": 64, "anchor_scales": [0.1, 0.2, 0.3, 0.4, 0.5], "aspect_ratios": [3.0]}
    }
    (folder / "results" / "seed0" / "derived.json").write_text(json.dumps(other | {"iterations": {"detector": 7}}))
    run = derive_here(config, folder / "results")
    assert run.detector.image_canvas.input_size == (96, 64)
    assert run.iterations.detector == 7
    gone = resolve_config({**REAL, "data": {"format": "coco", "root": str(folder / "gone")}})
    assert derive_here(gone, folder / "nothing") is None
    assert assume_settings(gone).detector.image_canvas.input_size == (256, 256)
