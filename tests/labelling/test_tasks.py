"""Tasks for labelling tools: validated, and read back as what nobody touched."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import get_args
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from labelling_files import batch, boxes, found_box, read, repairs, states, task

from mgral.errors import InputError
from mgral.labelling.exchange import reading
from mgral.labelling.exchange.label_studio_tasks import label_studio_tasks
from mgral.labelling.exchange.read import FormatName, read_labels
from mgral.labelling.exchange.tasks import LEAST_SHOWN_SIDE, write_tasks
from mgral.labelling.records import Batch, Box, Task

FORMATS = get_args(FormatName)
PREFIX = "/data/local-files/?d=round2/"
TWO = batch(
    task(8, [found_box(10, 20, 30, 40, "big truck"), found_box(64, 96, 192, 192, score=0.25)], rank=2),
    task(3, rank=1, score=None, groups=("audit", "again"), name="a #1%.jpg"),
)


@pytest.mark.parametrize("name", FORMATS)
def test_a_batch_that_nobody_touched_comes_back_as_untouched(tmp_path: Path, name: FormatName) -> None:
    write_tasks(TWO, tmp_path / "tasks", name, prefix=PREFIX)
    sent = {task.name: [found.box for found in task.boxes] for task in TWO.tasks}
    found = read(tmp_path / "tasks", sent=lambda picture: sent[Path(picture).name])
    assert found.format == name
    assert found.findings.faults == {}
    by_name = {Path(file).name: state for file, state in states(found).items()}
    assert by_name == {"a #1%.jpg": "untouched", "p8.jpg": "untouched"}
    expected = {} if name == "label_studio" else {reading.UNCHANGED.title: 1, reading.NOT_TOLD.title: 1}
    assert repairs(found) == expected
    if name != "voc":
        assert found.project == "project-id"
    if name in ("label_studio", "cvat", "coco"):
        assert {(Path(one.file).name, one.image) for one in found.labels} == {("a #1%.jpg", 3), ("p8.jpg", 8)}
    if name != "label_studio":
        assert found.classes == ("car", "big truck")


def test_label_studio(tmp_path: Path) -> None:
    write_tasks(TWO, tmp_path / "tasks", "label_studio", prefix=PREFIX)
    first, second = json.loads((tmp_path / "tasks" / "label_studio.json").read_text())
    assert first == {
        "data": {
            "image": "/data/local-files/?d=round2/a%20%231%25.jpg",
            "mgral_id": 3,
            "mgral_rank": 1,
            "mgral_project": "project-id",
            "mgral_round": 2,
            "mgral_reason": "unsure",
            "mgral_groups": "audit, again",
        }
    }
    prediction = second["predictions"][0]
    # A project shows predictions of one name, and a score as percent.
    assert (prediction["model_version"], "score" in prediction) == ("mgral", False)
    assert prediction["result"][1] == {
        "id": "b1",
        "type": "rectanglelabels",
        "from_name": "label",
        "to_name": "image",
        "original_width": 640,
        "original_height": 480,
        "image_rotation": 0,
        "score": 0.25,
        "value": {"x": 10, "y": 20, "width": 30, "height": 40, "rotation": 0, "rectanglelabels": ["car"]},
    }
    view = ElementTree.parse(tmp_path / "tasks" / "label_config.xml").getroot()
    assert [label.get("value") for label in view.iter("Label")] == ["car", "big truck"]
    # What the configuration calls them is what the boxes name.
    assert {view[0].get("name"), view[0].get("value"), view[1].get("name")} == {"image", "$image", "label"}


def test_names_in_a_bucket_are_not_escaped(tmp_path: Path) -> None:
    write_tasks(TWO, tmp_path / "tasks", "label_studio", prefix="s3://bucket/")
    first = json.loads((tmp_path / "tasks" / "label_studio.json").read_text())[0]
    assert first["data"]["image"] == "s3://bucket/a #1%.jpg"


def test_the_other_formats(tmp_path: Path) -> None:
    for name in FORMATS:
        write_tasks(TWO, tmp_path / name, name, prefix=PREFIX)
    coco = json.loads((tmp_path / "coco" / "instances.json").read_text())
    assert coco["info"]["mgral_round"] == 2
    assert [image["id"] for image in coco["images"]] == [3, 8]
    assert all(one["segmentation"] == [] and "score" not in one for one in coco["annotations"])
    root = ElementTree.parse(tmp_path / "cvat" / "annotations.xml").getroot()
    assert root.findtext("version") == "1.1"
    assert [box.get("source") for box in root.iter("box")] == ["auto", "auto"]
    assert (tmp_path / "yolo" / "train.txt").read_text() == "./images/train/a #1%.jpg\n./images/train/p8.jpg\n"
    listing = yaml.safe_load((tmp_path / "yolo" / "data.yaml").read_text())
    assert (listing["train"], listing["val"]) == ("train.txt", "train.txt")
    assert listing["names"] == {0: "car", 1: "big truck"}
    assert (tmp_path / "voc" / "ImageSets" / "Main" / "trainval.txt").read_text() == "a #1%\np8\n"


NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12).map(
    lambda text: "".join(c for c in text if c.isprintable() and c not in "/\\\\") + "%#?+&;.jpg"
)


@given(name=NAMES, prefix=st.sampled_from([PREFIX, "https://host/a/"]))
def test_a_browser_asks_label_studio_for_the_very_file(name: str, prefix: str) -> None:
    [found] = label_studio_tasks(batch(), [task(1, name=name)], prefix)
    address = urlsplit(found["data"]["image"])
    assert not address.fragment
    if prefix == PREFIX:
        assert parse_qs(address.query) == {"d": [f"round2/{name}"]}
    else:
        assert unquote(address.path) == f"/a/{name}"
        assert not address.query


FAULTY = {
    "is none of the project": batch(task(1, [found_box(1, 1, 2, 2, "bus")])),
    "not finite numbers": batch(task(1, [found_box(1, math.nan, 2, 2)])),
    "negative sides": batch(task(1, [found_box(1, 1, -2, 2)])),
    "beyond their picture": batch(task(1, [found_box(600, 1, 41, 2)])),
    "not between 0 and 1": batch(task(1, [found_box(1, 1, 2, 2, score=1.5)])),
    "car, nan": batch(task(1, [found_box(1, 1, 2, 2, score=math.nan)])),
    "have the same name": batch(task(1), task(2, name="P1.jpg")),
    "cannot be shown": batch(task(1, name="a/b.jpg")),
    "class 'car": Batch("id", "t", 1, ("car\x07",), ()),
    "project 'a": Batch("id", "a\x07", 1, ("car",), ()),
}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("message", FAULTY)
def test_what_a_tool_would_not_show_is_refused_and_nothing_is_written(
    tmp_path: Path, name: FormatName, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        write_tasks(FAULTY[message], tmp_path / "tasks", name, prefix="")
    assert list(tmp_path.iterdir()) == []


def test_all_that_is_wrong_is_named_at_once(tmp_path: Path) -> None:
    tasks = [
        replace(task, image=n, name=f"{n}.jpg") for n, one in enumerate(FAULTY.values()) for task in one.tasks[:1]
    ]
    wrong = [one for one in tasks if one.boxes]
    with pytest.raises(InputError, match=f"{len(wrong)} faults of 4 kinds; nothing is written"):
        write_tasks(batch(*wrong), tmp_path / "tasks", "cvat", prefix="")


@pytest.mark.parametrize("name", ["yolo", "voc"])
def test_pictures_that_would_share_a_label_file_are_refused(tmp_path: Path, name: FormatName) -> None:
    two = batch(task(1, name="a.jpg"), task(2, name="a.png"))
    with pytest.raises(InputError, match="the same name but for the suffix"):
        write_tasks(two, tmp_path / "tasks", name, prefix="")
    write_tasks(two, tmp_path / "coco", "coco", prefix="")


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    with pytest.raises(InputError, match="exists already"):
        write_tasks(TWO, tmp_path, "coco", prefix="")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_boxes_that_leave_their_picture_by_rounding_are_cut_and_those_without_area_left_out(tmp_path: Path) -> None:
    one = batch(task(1, [found_box(600, -0.01, 40.02, 100), found_box(5, 5, 0, 9)]))
    for name in ("cvat", "coco", "yolo", "voc"):
        write_tasks(one, tmp_path / name, name, prefix="")
        found = read(tmp_path / name, empty="checked")
        assert boxes(found, 2) == [(600, 0, 39, 100, "car") if name == "voc" else (600, 0, 40, 99.99, "car")]
        assert repairs(found) == {}


def test_the_last_pixel_of_a_picture_is_the_last_that_voc_names(tmp_path: Path) -> None:
    write_tasks(batch(task(1, [found_box(0, 0, 640, 480)])), tmp_path / "voc", "voc", prefix="")
    (labels,) = (tmp_path / "voc" / "Annotations").iterdir()
    sides = re.findall(r"<([xy]m\w+)>(\d+)<", labels.read_text())
    assert sides == [("xmin", "1"), ("ymin", "1"), ("xmax", "640"), ("ymax", "480")]


SIDES = st.floats(0, 1, width=32)


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    """Draw tasks whose boxes have sides from two pixels."""
    tasks = []
    for number in range(1, draw(st.integers(1, 3)) + 1):
        width, height = draw(st.integers(2, 5000)), draw(st.integers(2, 5000))
        found = []
        for _ in range(draw(st.integers(1, 4))):
            w, h = (2 + draw(SIDES) * (side - 2) for side in (width, height))
            x, y = draw(SIDES) * (width - w), draw(SIDES) * (height - h)
            found.append(found_box(x, y, w, h, draw(st.sampled_from(["car", "big truck"])), draw(SIDES)))
        tasks.append(task(number, found, width=width, height=height))
    return batch(*tasks)


TOLERANCE = {"label_studio": 1e-6, "coco": 1e-6, "cvat": 0.0101, "yolo": 1e-4, "voc": 1.0001}
"""Pixels; CVAT's files have two decimals, VOC's none, and their last pixel is that of the border."""


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=30, deadline=None)
@given(written=batches())
def test_boxes_come_back_where_they_were(tmp_path_factory: pytest.TempPathFactory, name: str, written: Batch) -> None:
    folder = tmp_path_factory.mktemp("tasks")
    write_tasks(written, folder / "tasks", name, prefix="")
    if name == "label_studio":  # a person accepts what was found
        path = folder / "tasks" / "label_studio.json"
        tasks = json.loads(path.read_text())
        path.write_text(json.dumps([one | {"annotations": one.pop("predictions")} for one in tasks]))
    sizes = {Path(one.name).stem: (one.width, one.height) for one in written.tasks}
    found = read_labels(folder / "tasks", lambda file: sizes[Path(file).stem], empty="checked")
    assert found.findings.faults == {}
    by_name = {Path(one.file).stem: one for one in found.labels}
    for one in written.tasks:
        returned = by_name[Path(one.name).stem]
        assert returned.state == "labelled"
        assert len(returned.boxes) <= len(one.boxes)
        for box, _ in one.boxes:
            assert any(close(box, other, TOLERANCE[name]) for other in returned.boxes)


def close(one: Box, other: Box, tolerance: float) -> bool:
    corners = [(box.x, box.y, box.x + box.width, box.y + box.height) for box in (one, other)]
    return one.label == other.label and max(abs(a - b) for a, b in zip(*corners, strict=True)) <= tolerance


RAW = st.floats(-2, 70) | st.floats(allow_nan=True, width=32) | st.integers(0, 64).map(float)


@st.composite
def raw_batches(draw: st.DrawFn) -> Batch:
    """Draw tasks with whatever somebody may take for boxes, on pictures of 64 x 50 pixels or of one pixel."""
    tasks = []
    for number in range(1, draw(st.integers(1, 2)) + 1):
        width, height = draw(st.sampled_from([(64, 50), (1, 1), (7, 3)]))
        label = st.sampled_from(["car", "big truck", "bus"])
        found = [
            found_box(*(draw(RAW) for _ in range(4)), draw(label), draw(st.floats(0, 1)))
            for _ in range(draw(st.integers(0, 2)))
        ]
        tasks.append(task(number, found, width=width, height=height, score=draw(st.floats())))
    return batch(*tasks)


def raw_boxes(folder: Path, format: FormatName, sent: Batch) -> list[tuple[Task, str, tuple[float, ...]]]:
    """Return task, label and x1, y1, x2, y2 in pixels of all boxes, as the files themselves have them."""
    tasks = {Path(one.name).stem: one for one in sent.tasks}
    found: list[tuple[Task, str, tuple[float, ...]]] = []
    if format == "label_studio":
        for listed in json.loads((folder / "label_studio.json").read_text()):
            own = tasks[Path(listed["data"]["image"]).stem]
            for prediction in listed.get("predictions", []):
                assert math.isfinite(prediction.get("score", 0))
                for result in prediction["result"]:
                    x, y, w, h = (result["value"][key] for key in ("x", "y", "width", "height"))
                    assert x + w <= 100
                    assert y + h <= 100
                    sides = (x * own.width, y * own.height, (x + w) * own.width, (y + h) * own.height)
                    [label] = result["value"]["rectanglelabels"]
                    found.append((own, label, tuple(side / 100 for side in sides)))
    elif format == "cvat":
        for image in ElementTree.parse(folder / "annotations.xml").getroot().iter("image"):
            for box in image.iter("box"):
                sides = tuple(float(box.get(key, "")) for key in ("xtl", "ytl", "xbr", "ybr"))
                found.append((tasks[Path(image.get("name", "")).stem], box.get("label", ""), sides))
    elif format == "coco":
        coco = json.loads((folder / "instances.json").read_text())
        names = {one["id"]: one["name"] for one in coco["categories"]}
        images = {one["id"]: tasks[Path(one["file_name"]).stem] for one in coco["images"]}
        for one in coco["annotations"]:
            x, y, w, h = one["bbox"]
            found.append((images[one["image_id"]], names[one["category_id"]], (x, y, x + w, y + h)))
    elif format == "yolo":
        listing = yaml.safe_load((folder / "data.yaml").read_text())["names"]
        for path in (folder / "labels" / "train").iterdir():
            for line in path.read_text().splitlines():
                number, x, y, w, h = map(float, line.split())
                own = tasks[path.stem]
                sides = ((x - w / 2) * own.width, (y - h / 2) * own.height)
                # Nine decimals: a thousandth of a pixel in a picture of a million.
                ends = ((x + w / 2) * own.width - 1e-6, (y + h / 2) * own.height - 1e-6)
                found.append((own, listing[int(number)], (sides[0] + 1e-6, sides[1] + 1e-6, *ends)))
    else:
        for path in (folder / "Annotations").iterdir():
            for one in ElementTree.parse(path).getroot().iter("object"):
                sides = tuple(
                    float(one.findtext(f"bndbox/{key}") or "") - 1 for key in ("xmin", "ymin", "xmax", "ymax")
                )
                found.append((tasks[path.stem], one.findtext("name") or "", sides))
    return found


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=60, deadline=None)
@given(sent=raw_batches())
def test_whatever_is_sent_no_box_is_unknown_beyond_its_picture_or_without_area(
    tmp_path_factory: pytest.TempPathFactory, name: FormatName, sent: Batch
) -> None:
    folder = tmp_path_factory.mktemp("tasks")
    try:
        write_tasks(sent, folder / "tasks", name, prefix="")
    except InputError:
        assert list(folder.iterdir()) == []
        return
    written = raw_boxes(folder / "tasks", name, sent)
    for own, label, (left, top, right, bottom) in written:
        assert label in sent.classes
        assert 0 <= left < right <= own.width
        assert 0 <= top < bottom <= own.height
    wide = [box for one in sent.tasks for box, _ in one.boxes if min(inner(box, one)) >= LEAST_SHOWN_SIDE]
    assert len(written) == (len(set(wide)) if name == "yolo" else len(wide))


def inner(box: Box, own: Task) -> tuple[float, float]:
    """Return the width and height of what is in the picture."""
    return (
        min(box.x + box.width, own.width) - max(box.x, 0),
        min(box.y + box.height, own.height) - max(box.y, 0),
    )


@pytest.mark.parametrize("name", FORMATS)
def test_boxes_at_the_borders_and_thin_ones(tmp_path: Path, name: FormatName) -> None:
    """Percentages of 4.9 and 2.1 pixels of 7 that are rounded each add up to more than 100. A hair is left out."""
    edge = [found_box(4.9, 0, 7 - 4.9, 3), found_box(0, 1, 7, 2), found_box(0.1, 0.1, 0.004, 2)]
    sent = batch(task(1, edge, width=7, height=3))
    write_tasks(sent, tmp_path / "tasks", name, prefix="")
    found = raw_boxes(tmp_path / "tasks", name, sent)
    assert len(found) == 2
    assert all(right <= 7 and bottom <= 3 for _, _, (_, _, right, bottom) in found)
