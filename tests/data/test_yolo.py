"""The reader of Ultralytics YOLO folders: pictures and their labels."""

import os
from pathlib import Path
from typing import Any

import pytest
from yolo_folder import YAML, boxes, faults, names, picture, read, settings, write_yolo_set

from mgral.data.check import NO_PICTURE
from mgral.data.findings import FaultyDataError, Finding, Findings
from mgral.data.formats import yolo
from mgral.data.formats.yolo import label_file
from mgral.data.read import read_splits


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_yolo_set(tmp_path / "set")


def test_both_splits_are_read(root: Path) -> None:
    train, test, findings = read(root)
    assert train.coco["images"] == [
        {"id": 1, "file_name": "images/train/b.jpg", "width": 200, "height": 100},
        {"id": 2, "file_name": "images/train/deep/a.jpg", "width": 200, "height": 100},
    ]
    assert train.coco["categories"] == test.coco["categories"] == [{"id": 0, "name": "ant"}, {"id": 1, "name": "bee"}]
    found = [(a["id"], a["image_id"], a["category_id"], a["iscrowd"]) for a in train.coco["annotations"]]
    assert found == [(1, 1, 1, 0), (2, 1, 0, 0), (3, 2, 0, 0)]
    # The middle of 200 x 100 pixels, 40 x 40 pixels large; then one that begins at the top left.
    assert boxes(train) == [[80, 30, 40, 40], [0, 0, 40, 40], [80, 30, 40, 40]]
    assert names(test) == ["images/val/c.jpg"]
    assert boxes(test) == [[0, 0, 200, 100]]
    assert test.coco["images"][0]["id"] == 3
    assert (findings.faults, findings.repairs) == ({}, {})


def test_the_checks_of_all_data_sets_take_it(root: Path) -> None:
    checked = read_splits(settings(root), root)
    assert [len(coco["annotations"]) for coco in (checked.train, checked.test)] == [3, 1]


def test_a_picture_without_label_file_is_not_labelled(root: Path) -> None:
    picture(root, "images/train/x.jpg", labels=None)
    picture(root, "images/train/y.jpg", labels="\n")
    train, _, _ = read(root)
    labelled = {image["file_name"]: image.get("labelled", True) for image in train.coco["images"]}
    assert labelled == {
        "images/train/b.jpg": True,
        "images/train/deep/a.jpg": True,
        "images/train/x.jpg": False,
        "images/train/y.jpg": True,
    }


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_damaged_picture_is_no_fault_of_its_class(root: Path, split: str) -> None:
    (root / "data.yaml").write_text(YAML.replace("[ant, bee]\nnc: 2", "[ant, bee, cat]"))
    for name in ("train", "val"):
        picture(root, f"images/{name}/x.jpg", "2 0.5 0.5 0.2 0.2\n2 0.1 0.1 0.2 0.2\n")
    (root / f"images/{split}/x.jpg").write_bytes(b"")
    with pytest.raises(FaultyDataError) as caught:
        read_splits(settings(root), root)
    findings = caught.value.findings
    assert [*findings.faults] == [NO_PICTURE]
    assert not findings.repairs


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("images/train/a.jpg", "labels/train/a.txt"),
        ("images/x/images/a.b.png", "images/x/labels/a.b.txt"),
        ("train/images/a.jpg", "train/labels/a.txt"),
        ("my_images/a.jpg", "my_images/a.txt"),
        ("a.jpg", "a.txt"),
    ],
)
def test_the_label_file_of_a_picture(name: str, expected: str) -> None:
    assert label_file(name) == expected


def labels(root: Path, content: str | bytes, **more: Any) -> tuple[list[list[float]], Findings]:
    (root / "labels/val/c.txt").write_bytes(content.encode() if isinstance(content, str) else content)
    _, test, findings = read(root, **more)
    return boxes(test), findings


@pytest.mark.parametrize(
    "content",
    [
        "1 0.5 0.5 0.2 0.4",
        "1\t0.5\t0.5\t0.2\t0.4\r\n\r\n",
        "\n  1.0 5e-1 .5 0.2 0.40000000 \n\n",
        b"\xef\xbb\xbf1 0.5 0.5 0.2 0.4\n",
        "01 0.5 0.5 0.2 0.4",
    ],
)
def test_harmless_spellings_of_a_line(root: Path, content: str | bytes) -> None:
    found, findings = labels(root, content)
    assert found == [[80, 30, 40, 40]]
    assert (findings.faults, findings.repairs) == ({}, {})


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        ("1 0.5 0.5 0.2", yolo.BAD_LINE),
        ("1", yolo.BAD_LINE),
        ("1 0.5 0.5 0.2 x", yolo.BAD_LINE),
        ("1 0.5 0.5 0.2 nan", yolo.BAD_LINE),
        ("1 0.5_0 0.5 0.2 0.4", yolo.BAD_LINE),
        ("1 0.5 0.5 0.2 \u0660.\u0664", yolo.BAD_LINE),
        ("1 0.5 0.5 -0.001 0.4", yolo.BAD_LINE),
        ("1 0.5 0.5 0.2 0.4 0.1 0.1 0.2", yolo.BAD_LINE),
        ("1 0.5 0.5 0.2 0.4 0.5 0.5 1", yolo.POSE),
        ("1 0.5 0.5 0.2 0.4 0.5 0.5 2 0 0 0", yolo.POSE),
        ("1 0.5 0.5 0.2 0.4 0.93", yolo.PREDICTIONS),
        ("1, 0.5, 0.5, 0.2, 0.4", yolo.COMMAS),
        ("1 0,5 0,5 0,2 0,4", yolo.COMMAS),
        ("bee 0.5 0.5 0.2 0.4", yolo.BAD_CLASS),
        ("0.5 0.5 0.2 0.4", yolo.BAD_CLASS),
        ("2 0.5 0.5 0.2 0.4", yolo.UNKNOWN_CLASS),
        ("-1 0.5 0.5 0.2 0.4", yolo.UNKNOWN_CLASS),
        ("1 100 50 40 40", yolo.NO_FRACTIONS),
        ("1 0.5 0.5 0.2 1.02", yolo.NO_FRACTIONS),
        ("1 -0.02 0.5 0.2 0.4", yolo.NO_FRACTIONS),
        (b"1 0.5 0.5 0.2 0.4\xff", yolo.BAD_FILE),
    ],
)
def test_faulty_lines_are_named_and_the_others_read(root: Path, content: str | bytes, kind: Finding) -> None:
    encoded = content.encode() if isinstance(content, str) else content
    found, findings = labels(root, b"0 0.5 0.5 0.1 0.1\n" + encoded)
    place = f"{root}/labels/val/c.txt"
    assert [*findings.faults] == [kind]
    assert findings.faults[kind][0].startswith(place if kind == yolo.BAD_FILE else f"{place}:2: ")
    assert len(found) == (0 if kind == yolo.BAD_FILE else 1)


def test_numbers_that_leave_the_picture_by_a_little_are_clipped(root: Path) -> None:
    (root / "labels/val/c.txt").write_text("1 0.5 0.5 1.0000001 1.005\n")
    checked = read_splits(settings(root), root)
    assert checked.test["annotations"][0]["bbox"] == [0, 0, 200, 100]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("1 0.1 0.2 0.3 0.1 0.2 0.5", [20, 10, 40, 40]),
        ("1 0.1 0.2 0.3 0.1 0.2 0.5 0.15 0.9", [20, 10, 40, 80]),
    ],
)
def test_the_box_around_a_polygon_is_used(root: Path, line: str, expected: list[float]) -> None:
    found, findings = labels(root, line)
    assert found == [expected]
    assert [*findings.repairs] == [yolo.POLYGONS]


@pytest.mark.parametrize(("shape", "numbers"), [("[1, 2]", "0.1 0.1"), ("[2, 3]", "0.1 0.1 2 0.5 0.5 1")])
def test_keypoints_are_told_from_polygons_by_kpt_shape(root: Path, shape: str, numbers: str) -> None:
    (root / "data.yaml").write_text(f"{YAML}kpt_shape: {shape}\n")
    for name in ("train/b", "train/deep/a"):
        (root / f"labels/{name}.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    found, findings = labels(root, f"1 0.5 0.5 0.2 0.4 {numbers}\n1 0.5 0.5 0.2 0.4 {numbers} 0.3 0.3\n")
    assert found == [[80, 30, 40, 40]]
    assert [*findings.repairs] == [yolo.KEYPOINTS]
    assert [*findings.faults] == [yolo.BAD_LINE]


def test_the_same_box_counts_once_in_whatever_digits(root: Path) -> None:
    found, findings = labels(root, "1 0.5 0.5 0.2 0.4\n0 0.5 0.5 0.2 0.4\n1  0.50 .5 2e-1 0.4\n")
    assert len(found) == 2
    assert findings.repairs == {yolo.REPEATED: [f"{root}/labels/val/c.txt:3"]}


def test_label_files_without_picture_are_refused(root: Path) -> None:
    for name in ("gone.txt", "classes.txt", "notes.md", ".hidden.txt"):
        (root / "labels/val" / name).write_text("0 0.5 0.5 0.1 0.1")
    (root / "labels/val/read_me.txt").write_text("made by two people\n")
    (root / "labels/train/empty.txt").write_text("")
    picture(root, "images/val/unlisted.jpg")
    assert faults(root) == {yolo.NO_PICTURE: [f"{root}/labels/train/empty.txt", f"{root}/labels/val/gone.txt"]}


@pytest.mark.parametrize("suffix", [".txt", ".TXT"])
def test_labels_beside_pictures_in_a_folder_images(root: Path, suffix: str) -> None:
    train, test, _ = read(root)
    for path in sorted(root.glob("labels/**/*.txt")):
        path.rename(root / "images" / path.relative_to(root / "labels").with_suffix(suffix))
    (root / "images/train/b2.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    beside, beside_test, findings = read(root)
    assert (beside.coco, beside_test.coco) == (train.coco, test.coco)
    assert len(findings.repairs[yolo.BESIDE]) == 3
    assert findings.faults == {yolo.NO_PICTURE: [f"{root}/images/train/b2.txt"]}
    assert beside.files[1] == f"{root}/images/train/b{suffix}"
    (root / "labels/val/c.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    _, from_labels, findings = read(root)
    assert boxes(from_labels) == [[90, 45, 20, 10]]
    assert len(findings.repairs[yolo.BESIDE]) == 2


def test_two_pictures_with_one_label_file_are_refused(root: Path) -> None:
    picture(root, "images/train/b.png", None)
    assert faults(root) == {yolo.SHARED: [f"{root}/labels/train/b.txt: 2 pictures"]}


@pytest.mark.parametrize(("exif", "expected"), [("apply", [40, 60, 20, 80]), ("ignore", [80, 30, 40, 40])])
def test_fractions_are_those_of_the_upright_picture(root: Path, exif: str, expected: list[float]) -> None:
    picture(root, "images/val/c.jpg", "1 0.5 0.5 0.2 0.4", orientation=6)
    assert boxes(read(root, exif=exif)[1]) == [expected]


def test_a_picture_that_cannot_be_read_is_named(root: Path) -> None:
    for name in ("d", "e"):
        picture(root, f"images/train/{name}.jpg")
        (root / f"images/train/{name}.jpg").write_bytes(b"none")
    with pytest.raises(FaultyDataError) as caught:
        read_splits(settings(root), root)
    assert {kind: len(places) for kind, places in caught.value.findings.faults.items()} == {NO_PICTURE: 2}


POINTS = ((0.35, 0.35), (0.65, 0.4), (0.5, 0.6), (0.4, 0.5))


@pytest.mark.parametrize(
    "points",
    [
        "".join(f" {x} {y}" for x, y in POINTS),
        "".join(f" {x} {y} 1" for x, y in POINTS),
        # Points that nobody saw are at 0 0, outside of the box.
        "".join(f" {x} {y} 1" for x, y in POINTS[:3]) + " 0 0 0",
        "".join(f" {x} {y}" for x, y in POINTS[:3]) + " 0 0",
        # Points outside of the box: each has a 1 behind it.
        " 0.9 0.9 1 0.1 0.1 1",
        # As many numbers as a turned box, whose opposite sides would be alike.
        "".join(f" {x} {y}" for x, y in POINTS[:2]),
    ],
)
def test_keypoints_without_their_shape_are_no_polygons(root: Path, points: str) -> None:
    for name in ("b.txt", "deep/a.txt"):
        (root / "labels/train" / name).write_text(f"0 0.5 0.5 0.4 0.4{points}\n")
    assert {kind: len(places) for kind, places in faults(root).items()} == {yolo.POSE: 2}
    assert not read(root)[2].repairs
    (root / "labels/train/b.txt").write_text("0 0.1 0.1 0.9 0.2 0.5 0.9 0.2 0.8\n")
    assert faults(root) == {}


def test_keypoints_of_a_single_point_are_told_in_five_lines(root: Path) -> None:
    lines = [f"0 0.5 0.5 0.4 0.{number} 0.45 0.55\n" for number in range(2, 7)]
    path = root / "labels/train/b.txt"
    path.write_text("".join(lines[:4]))
    assert faults(root) == {}
    path.write_text("".join(lines))
    assert len(faults(root)[yolo.POSE]) == 5


def test_a_point_outside_of_its_box_does_not_make_keypoints_polygons(root: Path) -> None:
    box = "0 0.5 0.5 0.4 0.4 0.35 0.35 0.65 0.4 0.5"
    (root / "labels/train/b.txt").write_text("".join(f"{box} 0.6{number}\n" for number in range(9)) + f"{box} 0.9\n")
    assert len(faults(root)[yolo.POSE]) == 10
    (root / "labels/train/deep/a.txt").write_text(f"{box} 0.95\n")
    assert faults(root) == {}


def test_turned_boxes_are_used(root: Path) -> None:
    for name in ("b.txt", "deep/a.txt"):
        (root / "labels/train" / name).write_text("0 0.4 0.4 0.6 0.4 0.6 0.6 0.4 0.6\n")
    train, _, findings = read(root)
    assert boxes(train) == [[80, 40, 40, 20]] * 2
    assert (findings.faults, [*findings.repairs]) == ({}, [yolo.POLYGONS])


def test_labels_with_a_suffix_in_capitals_are_read(root: Path) -> None:
    (root / "labels/train/b.txt").rename(root / "labels/train/b.TXT")
    train, _, findings = read(root)
    assert len(train.coco["annotations"]) == 3
    assert findings.repairs == {yolo.CAPITALS: [f"{root}/labels/train/b.TXT"]}
    picture(root, "images/train/b.png", None)
    assert faults(root) == {yolo.SHARED: [f"{root}/labels/train/b.TXT: 2 pictures"]}


def test_a_pipe_is_no_label_file(root: Path) -> None:
    (root / "labels/train/b.txt").unlink()
    os.mkfifo(root / "labels/train/b.txt")
    assert list(faults(root)) == [yolo.BAD_FILE]


@pytest.mark.parametrize(("unlabelled", "images"), [("leave_out", 2), ("background", 3)])
def test_a_picture_without_labels_is_background_only_where_the_user_says_so(
    root: Path, unlabelled: str, images: int
) -> None:
    picture(root, "images/train/x.jpg", labels=None)
    checked = read_splits(settings(root, unlabelled=unlabelled), root)
    assert len(checked.train["images"]) == images
    assert sum(len(places) for places in checked.findings.repairs.values()) == 1
