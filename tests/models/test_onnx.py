"""Detectors as ONNX files: the same boxes, scores and labels as without; and the example of the page."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image
from run_workflow import ROOT
from trained_results import write_results

from mgral.cli.main import mgral
from mgral.config import DetectorConfig
from mgral.errors import InputError
from mgral.models.build import random_detector
from mgral.models.detectors.small_ssd import SmallSSDConfig
from mgral.models.detectors.timm import SSDConfig, TimmRetinaNetConfig
from mgral.models.onnx_export import EXPORTED, check_exportable, export_onnx
from mgral.models.suppression import Limits

ANCHORS = {"anchor_scales": (0.08, 0.15, 0.28, 0.5, 0.8), "aspect_ratios": (2.0,)}
SMALL = {"width": 72, "height": 50, "pyramid_channels": 8, "backbone": "resnet10t", "weights": None, **ANCHORS}
CONFIGS: dict[str, DetectorConfig] = {
    "small_ssd": SmallSSDConfig(width=64, height=48, channels=4),
    "ssd": SSDConfig(name="ssd", **SMALL),
    "retinanet": TimmRetinaNetConfig(name="retinanet", **SMALL),
}
CLASSES = ["car", "big truck", 'naïve "図"']


def pictures(size, count=3):
    """Return pictures of large coloured cells, uint8 [count, 3, height, width]."""
    cells = np.random.default_rng(0).integers(0, 256, (count, 3, 8, 8), dtype=np.uint8)
    height, width = size
    return cells.repeat(12, 2).repeat(12, 3)[:, :, :height, :width].copy()


def test_every_exported_detector_is_tried():
    assert set(CONFIGS) == set(EXPORTED)


def rows(boxes, scores, labels):
    """Return what is found in an image, [n, 6]."""
    return np.column_stack([labels, scores, boxes])


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "found"),
    [*((name, "many") for name in CONFIGS), ("small_ssd", "few"), ("small_ssd", "nothing"), ("retinanet", "few")],
)
def test_the_file_finds_what_the_detector_finds(name, found):
    detector = random_detector(CONFIGS[name], len(CLASSES), seed=3).eval()
    images = pictures(detector.size)
    scores = detector.class_scores(detector.predictions(torch.from_numpy(images)).logits).flatten().sort().values
    gap = 1 + int(scores[-50:-5].diff().argmax())  # between scores that rounding cannot exchange
    threshold = {"many": scores[len(scores) // 2], "few": scores[-50:-5][gap - 1 : gap + 1].mean(), "nothing": 1.0}
    limits = Limits(float(threshold[found]), nms_iou=0.45, max_detections=20)
    session = onnxruntime.InferenceSession(export_onnx(detector, CLASSES, limits), providers=["CPUExecutionProvider"])
    expected = detector.detect(torch.from_numpy(images), limits)
    counts = [len(one.scores) for one in expected]
    assert {"many": counts == [20] * 3, "few": 0 < sum(counts) < 50, "nothing": sum(counts) == 0}[found]
    sides = np.tile(detector.size[::-1], 2)
    for first, last in ((0, 1), (2, 3), (0, 3)):
        boxes, best, labels = session.run(None, {"images": images[first:last]})
        assert (boxes.dtype, best.dtype, labels.dtype) == (np.float32, np.float32, np.int64)
        assert boxes.shape == (last - first, 20, 4)
        assert (np.diff(best) <= 0).all()
        for place, one in enumerate(expected[first:last]):
            count = len(one.scores)
            assert (best[place] > 0).sum() == count
            theirs = rows(boxes[place, :count] * sides, best[place, :count], labels[place, :count])
            for row in rows(one.boxes, one.scores, one.labels):
                assert np.isclose(theirs, row, atol=[1e-6, 1e-5, *[2e-3] * 4], rtol=0).all(1).sum() == 1


def test_what_the_file_says_of_itself():
    found = random_detector(CONFIGS["small_ssd"], len(CLASSES), seed=0).eval()
    content = export_onnx(found, CLASSES, Limits(0.01, 0.45, 100))
    assert content == export_onnx(found, CLASSES, Limits(0.01, 0.45, 100))
    model = onnx.load_from_string(content)
    about = {one.key: one.value for one in model.metadata_props}
    assert json.loads(about["classes"]) == CLASSES
    assert (about["width"], about["height"]) == ("64", "48")
    assert [one.name for one in model.graph.input] == ["images"]
    assert [one.name for one in model.graph.output] == ["boxes", "scores", "labels"]
    assert {one.domain for one in model.opset_import} == {""}


def test_others_are_refused(monkeypatch):
    with pytest.raises(
        InputError, match="detector ssd300_vgg16 cannot be exported to ONNX; small_ssd, ssd, retinanet"
    ):
        check_exportable("ssd300_vgg16")
    monkeypatch.setattr("mgral.models.onnx_export.find_spec", lambda _: None)
    with pytest.raises(InputError, match="the package onnx is not installed"):
        check_exportable("ssd")


def test_the_example_of_the_page_finds_what_predict_finds(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    config = {"name": "ssd", "width": 72, "height": 50, "pyramid_channels": 8, "weights": None, **ANCHORS}
    write_results(tmp_path / "results", config, CLASSES)
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    pixels = pictures((90, 60), 1)[0].transpose(1, 2, 0)
    Image.fromarray(pixels).save("picture.jpg", exif=exif, quality=95)
    mgral(["onnx", "--results", "results", "--output", "detector.onnx"], standalone_mode=False)
    assert "ssd of results/seed0/initial/cycle0, 3 classes, 72 x 50 pixels" in capsys.readouterr().out
    mgral(
        ["predict", "--results", "results", "--threshold", "0.5", "--output", "found.json", "picture.jpg"],
        standalone_mode=False,
    )
    capsys.readouterr()
    example = (ROOT / "docs" / "use-the-detector.md").read_text().split("```python\n")[1].split("```")[0]
    exec(example, {})
    lines = capsys.readouterr().out.splitlines()
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["images"] == [{"id": 1, "file_name": "picture.jpg", "width": 90, "height": 60}]
    assert len(lines) == len(found["annotations"]) > 0
    for line, one in zip(lines, found["annotations"], strict=True):
        name, score, *box = line.rsplit(maxsplit=5)
        x, y, width, height = one["bbox"]
        assert name == CLASSES[one["category_id"] - 1]
        assert float(score) == pytest.approx(one["score"], abs=6e-4)
        assert [float(side) for side in box] == pytest.approx([x, y, x + width, y + height], abs=0.07)
