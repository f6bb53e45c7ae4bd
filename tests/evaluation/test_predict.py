"""What a detector finds in pictures of any folder: what it finds in cached ones, of odd files too."""

import json
import re

import click
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from run_workflow import ROOT
from trained_results import write_results

from mgral.artefacts.files import write_json
from mgral.cli.main import mgral
from mgral.cli.tools.onnx import command as ONNX
from mgral.cli.tools.predict import command as PREDICT
from mgral.config import EvaluationConfig, PictureSettings
from mgral.data.dataset import Category, Dataset
from mgral.data.images import Images, to_canvas
from mgral.errors import InputError
from mgral.evaluation.detect import detect_images
from mgral.evaluation.predict import found_json, predict
from mgral.evaluation.trained import find_trained
from mgral.models.build import random_detector
from mgral.models.detectors.small_ssd import SmallSSDConfig

SMALL = SmallSSDConfig(width=64, height=48, channels=4)
CLASSES = (Category(1, "car"), Category(7, "big truck"))
LIMITS = EvaluationConfig(score_threshold=0.0, max_detections=5)
QUARTER_TURN = 6


@pytest.fixture(scope="module")
def detector():
    return random_detector(SMALL, len(CLASSES), seed=0).eval()


@pytest.fixture
def pixels():
    cells = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    return cells.repeat(20, 0).repeat(20, 1)


def found_in(detector, *paths, **settings):
    return predict(detector, paths, CLASSES, SMALL.image_canvas, PictureSettings(**settings), LIMITS)


def test_the_same_is_found_as_in_cached_pictures(detector, pixels, tmp_path):
    pictures = [Image.fromarray(np.roll(pixels, n, 1)).crop((0, 0, 180 - n, 120)) for n in range(40)]
    for number, picture in enumerate(pictures):
        picture.save(tmp_path / f"{number}.png")
    sizes = np.array([picture.size for picture in pictures])
    nothing = [(np.empty((0, 4), np.float32), np.empty(0, np.int64))] * len(pictures)
    names = tuple(str(tmp_path / f"{number}.png") for number in range(len(pictures)))
    boxes, labels = zip(*nothing, strict=True)
    dataset = Dataset(np.arange(1, len(pictures) + 1), names, sizes, CLASSES, boxes, labels)
    cached = np.stack([to_canvas(picture, SMALL.image_canvas) for picture in pictures])
    images = Images(cached, sizes, SMALL.image_canvas)
    expected = detect_images(detector, dataset, images, np.arange(len(pictures)), LIMITS)
    found = found_in(detector, *(tmp_path / f"{number}.png" for number in range(len(pictures))))
    assert found.objects == expected
    assert [(one["id"], one["file_name"], one["width"]) for one in found.images] == [
        (number, name, 181 - number) for number, name in enumerate(names, start=1)
    ]
    assert found.findings.faults == {}


def test_pictures_of_other_kinds(detector, pixels, tmp_path):
    """Each as its upright RGB: turned by EXIF, grey, with a palette, transparent, in CMYK, in TIFF."""
    upright = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[0x0112] = QUARTER_TURN
    odd = {
        "turned.png": upright.transpose(Image.Transpose.ROTATE_90),
        "grey.png": upright.convert("L"),
        "palette.gif": upright.convert("P"),
        "transparent.png": upright.convert("RGBA"),
        "cmyk.tif": upright.convert("CMYK"),
        "plain.tiff": upright,
    }
    for name, picture in odd.items():
        picture.save(tmp_path / name, **({"exif": exif} if name == "turned.png" else {}))
        with Image.open(tmp_path / name) as written:
            plain = upright if name == "turned.png" else written.convert("RGB")
        plain.save(tmp_path / "expected.png")
        found, expected = (found_in(detector, tmp_path / one) for one in (name, "expected.png"))
        assert found.findings.faults == {}
        assert (found.images[0]["width"], found.images[0]["height"]) == (180, 120)
        assert found.objects == expected.objects != []
    stored = found_in(detector, tmp_path / "turned.png", exif="ignore")
    assert (stored.images[0]["width"], stored.images[0]["height"]) == (120, 180)


def test_bad_pictures_are_left_out_and_named(detector, pixels, tmp_path):
    Image.fromarray(pixels).save(tmp_path / "good.jpg")
    whole = (tmp_path / "good.jpg").read_bytes()
    bad = {"cut.jpg": whole[: len(whole) // 2], "text.jpg": b"no picture", "empty.png": b""}
    for name, content in bad.items():
        (tmp_path / name).write_bytes(content)
    Image.fromarray(pixels[..., 0].astype(np.uint16) * 200).save(tmp_path / "deep.png")
    names = ["cut.jpg", "good.jpg", "gone.jpg", "text.jpg", "good.jpg", "empty.png", "deep.png"]
    found = found_in(detector, *(tmp_path / name for name in names))
    assert [one["id"] for one in found.images] == [2, 5]
    first, second = ([one["bbox"] for one in found.objects if one["image_id"] == image] for image in (2, 5))
    assert first == second != []
    places = " ".join(place for places in found.findings.faults.values() for place in places)
    assert sum(map(len, found.findings.faults.values())) == 5
    assert all(name in places for name in names if name != "good.jpg")
    assert not [kind for kind in found.findings.faults if "data." in kind.advice]
    assert found_in(detector, tmp_path / "text.jpg").images == []


def test_coco_of_what_is_found_from_a_threshold_on(detector, pixels, tmp_path):
    Image.fromarray(pixels).save(tmp_path / "a.png")
    found = found_in(detector, tmp_path / "a.png")
    scores = [one["score"] for one in found.objects]
    coco = found_json(found, CLASSES, scores[2])
    assert [one["score"] for one in coco["annotations"]] == scores[:3]
    assert [one["id"] for one in coco["annotations"]] == [1, 2, 3]
    assert coco["categories"] == [{"id": 1, "name": "car"}, {"id": 7, "name": "big truck"}]
    for one in coco["annotations"]:
        x, y, width, height = one["bbox"]
        assert one["area"] == pytest.approx(width * height, abs=0.01)
        assert 0 <= x < x + width <= 180.01
        assert 0 <= y < y + height <= 120.01


def test_the_commands_of_the_page_have_these_options():
    page = (ROOT / "docs" / "use-the-detector.md").read_text()
    lines = re.findall(r"^mgral (predict|onnx) (.+)$", page, re.MULTILINE)
    assert [name for name, _ in lines] == ["predict", "predict", "predict", "onnx"]
    for name, words in lines:
        with mgral.get_command(click.Context(mgral), name).make_context(name, words.split()) as given:
            assert given.params["results"].parts[0] == "results"
    # What the text says of options that no line of it has.
    known = {option for one in PREDICT.params for option in one.opts} | {
        option for one in ONNX.params for option in one.opts
    }
    assert set(re.findall(r"--[a-z]+", page)) <= known


SETTINGS = {"name": "small_ssd", "width": 64, "height": 48, "channels": 4}


@pytest.fixture
def results(tmp_path):
    write_results(tmp_path / "results", SETTINGS, ["car", "big truck"])
    return tmp_path / "results"


def run(results, *arguments):
    output = results.parent / "found.json"
    done = CliRunner().invoke(
        mgral, ["predict", "--results", str(results), "--output", str(output), *map(str, arguments)]
    )
    return done, json.loads(output.read_text()) if output.exists() else None


def test_the_command_takes_folders_and_files(results, pixels, tmp_path):
    for name in ("photos/b.JPG", "photos/deep/a.png", "photos/.hidden/c.png", "photos/.d.png", "other.bmp"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / name)
    (tmp_path / "photos" / "notes.txt").touch()
    done, found = run(
        results, tmp_path / "photos", tmp_path / "other.bmp", tmp_path / "photos" / "b.JPG", "--threshold", 0
    )
    assert done.exit_code == 0, done.output
    expected = ["photos/b.JPG", "photos/deep/a.png", "other.bmp"]
    assert [one["file_name"] for one in found["images"]] == [f"{tmp_path.as_posix()}/{name}" for name in expected]
    assert f"{len(found['annotations'])} objects in 3 pictures" in done.output


def test_it_writes_what_can_be_read_and_fails_for_the_rest(results, pixels, tmp_path):
    Image.fromarray(pixels).save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"")
    done, found = run(results, tmp_path / "bad.png", tmp_path / "good.png")
    assert done.exit_code == 1
    assert "1 picture is left out" in str(done.exception)
    assert "bad.png" in str(done.exception)
    assert [one["file_name"] for one in found["images"]] == [(tmp_path / "good.png").as_posix()]


def test_nothing_is_written_where_what_is_named_is_not_there(results, tmp_path):
    (tmp_path / "empty").mkdir()
    done, found = run(results, tmp_path / "gone.jpg", tmp_path / "empty")
    assert isinstance(done.exception, InputError)
    assert "2 faults of 2 kinds" in str(done.exception)
    assert found is None


def test_the_usual_threshold_is_what_half_of_the_detections_reach(results, pixels, tmp_path):
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert "of score 0.5 and more" in run(results, tmp_path / "a.png")[0].output
    right = {"image_id": 1, "category_id": 1, "bbox": [10, 10, 20, 20], "score": 0.123}
    wrong = {**right, "bbox": [60, 60, 5, 5], "score": 0.05}
    write_json(results / "seed0/initial/cycle0/detections.json", [right, wrong, {**wrong, "score": 0.04}])
    assert "of score 0.05 and more" in run(results, tmp_path / "a.png")[0].output
    write_json(results / "seed0/initial/cycle0/detections.json", [wrong])
    assert "of score 0.5 and more" in run(results, tmp_path / "a.png")[0].output


def test_a_threshold_may_be_below_that_of_the_evaluation(results, pixels, tmp_path):
    Image.fromarray(pixels).save(tmp_path / "a.png")
    settings = json.loads((results / "config.yaml").read_text()) | {"evaluation": {"score_threshold": 0.9}}
    write_json(results / "config.yaml", settings)
    assert run(results, tmp_path / "a.png", "--threshold", 0.0)[1]["annotations"] != []
    assert run(results, tmp_path / "a.png", "--threshold", 0.9)[1]["annotations"] == []


def test_one_of_several_detectors_is_named(tmp_path):
    results = tmp_path / "results"
    write_results(results, SETTINGS, ["car"], rounds=["full/cycle0", "strategies/mgral/cycle1"])
    with pytest.raises(InputError, match="2 detectors; name one by --detector: full/cycle0, strategies/mgral/cycle1"):
        find_trained(results)
    with pytest.raises(InputError, match="no 'full'; name one"):
        find_trained(results, place="full")
    assert find_trained(results, place="full/cycle0").folder == results / "seed0" / "full" / "cycle0"
    with pytest.raises(InputError, match="seed1 contains no trained detector"):
        find_trained(results, seed=1)
    with pytest.raises(InputError, match="contains no results"):
        find_trained(tmp_path)


def test_derived_settings_are_those_of_the_results(tmp_path):
    results = tmp_path / "results"
    derived = {"width": 96, "height": 64, "anchor_scales": [0.1, 0.2, 0.3, 0.5, 0.8], "aspect_ratios": [2.0]}
    own = {"name": "ssd", "pyramid_channels": 8, "weights": None}
    write_results(results, own | derived, ["car"])
    write_json(results / "config.yaml", {"detector": own})
    write_json(results / "dataset/input_size.json", {"detector": {key: derived[key] for key in ("width", "height")}})
    rest = {"detector": {key: derived[key] for key in ("anchor_scales", "aspect_ratios")}}
    write_json(results / "seed0/derived.json", rest)
    assert find_trained(results).load().size == (64, 96)
