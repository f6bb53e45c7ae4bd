"""The reader of Ultralytics YOLO folders."""

import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mgral.config import YoloData, resolve_config
from mgral.data.check import MISSING, NO_PICTURE
from mgral.data.findings import FaultyDataError, Findings, Kind
from mgral.data.formats import yolo, yolo_yaml
from mgral.data.formats.yolo import label_file, read_yolo
from mgral.data.read import read_splits
from mgral.data.records import Split

YAML = "train: images/train\nval: images/val\nnames: [ant, bee]\nnc: 2\n"


def settings(root: Path, **more: object) -> YoloData:
    data = resolve_config({"data": {"format": "yolo", "root": str(root), **more}}).data
    assert isinstance(data, YoloData)
    return data


def read(root: Path, **more: object) -> tuple[Split, Split, Findings]:
    findings = Findings()
    train, test = read_yolo(root, settings(root, **more), findings)
    return train, test, findings


def picture(root: Path, name: str, labels: str | bytes | None = "0 0.5 0.5 0.2 0.4\n", orientation: int = 1) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x0112] = orientation
    # Of a shade of its own, as the same file in both splits is a fault.
    Image.new("RGB", (200, 100), (len(list(root.rglob("*.jpg"))), 0, 0)).save(path, exif=exif)
    if labels is not None:
        place = root / label_file(name)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(labels.encode() if isinstance(labels, str) else labels)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "set"
    picture(folder, "images/train/b.jpg", "1 0.5 0.5 0.2 0.4\n0 0.1 0.2 0.2 0.4\n")
    picture(folder, "images/train/deep/a.jpg")
    picture(folder, "images/val/c.jpg", "1 0.5 0.5 1 1\n")
    (folder / "data.yaml").write_text(YAML)
    return folder


def names(split: Split) -> list[str]:
    return [image["file_name"] for image in split.coco["images"]]


def boxes(split: Split) -> list[list[float]]:
    return [pytest.approx(annotation["bbox"]) for annotation in split.coco["annotations"]]


def faults(root: Path, **more: object) -> dict[Kind, list[str]]:
    findings = Findings()
    try:
        read_yolo(root, settings(root, **more), findings)
    except FaultyDataError as error:
        return error.findings.faults
    return findings.faults


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


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("names: {0: ant, 1: bee}", [0, 1]),
        ("names: {0: ant, 1: bee, 7: cat}\nnc: 8", [0, 1, 7]),
        ("names:\n  - ant\n  - bee\nnc: '2'", [0, 1]),
        ("names: ['ant', 'bee']\npath:", [0, 1]),
    ],
)
def test_styles_of_names(root: Path, text: str, ids: list[int]) -> None:
    (root / "data.yaml").write_text(f"train: images/train\nval: images/val\n{text}\n")
    train, _, findings = read(root)
    assert [category["id"] for category in train.coco["categories"]] == ids
    assert not findings.faults


def test_names_are_texts_as_they_are_written(root: Path) -> None:
    (root / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [no, 007]\n")
    assert [category["name"] for category in read(root)[0].coco["categories"]] == ["no", "007"]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("nc: 2", yolo_yaml.NO_NAMES),
        ("names: [ant, [bee]]", yolo_yaml.NO_NAMES),
        ("names: {ant: 0, bee: 1}", yolo_yaml.NO_NAMES),
        ("names: [ant, '']", yolo_yaml.NO_NAMES),
        ("names: [ant, bee]\nnc: 80", yolo_yaml.OTHER_COUNT),
        ("names: [ant, bee]\nnc: two", yolo_yaml.OTHER_COUNT),
        ("names: [ant, bee]\nkpt_shape: [17]", yolo_yaml.BAD_KEYPOINTS),
    ],
)
def test_faulty_values_of_data_yaml_are_named(root: Path, text: str, kind: Kind) -> None:
    (root / "data.yaml").write_text(f"train: images/train\nval: images/val\n{text}\n")
    assert kind in faults(root)


@pytest.mark.parametrize(
    "content",
    [
        b"[1, 2]",
        b"",
        b"names: [",
        "names: [caf\xe9]".encode("latin-1"),
        b"x: " + 5000 * b"[",
        b"a: \0",
        b"names: &a [*a]",
    ],
)
def test_a_data_yaml_that_cannot_be_read_is_named(root: Path, content: bytes) -> None:
    (root / "data.yaml").write_bytes(content)
    assert [place.startswith(str(root / "data.yaml")) for place in faults(root)[yolo_yaml.UNREADABLE]] == [True]


def test_a_missing_data_yaml_is_named(root: Path) -> None:
    assert "No such file" in faults(root, data_yaml="other.yaml")[yolo_yaml.UNREADABLE][0]


def test_utf_16_is_read(root: Path) -> None:
    (root / "data.yaml").write_bytes(YAML.encode("utf-16"))
    (root / "labels/val/c.txt").write_bytes("1 0.5 0.5 1 1".encode("utf-16"))
    assert len(boxes(read(root)[1])) == 1


def test_aliases_of_aliases_are_harmless(root: Path) -> None:
    levels = "\n".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 30))
    (root / "data.yaml").write_text(f"{YAML}l0: &l0 [x]\n{levels}\ntest: *l29\n")
    assert yolo_yaml.NO_SPLIT in faults(root)


@pytest.mark.parametrize(
    ("lines", "test_split", "expected"),
    [
        ("", None, "images/val/c.jpg"),
        ("test: images/test", None, "images/test/d.jpg"),
        ("test: images/test", "val", "images/val/c.jpg"),
        ("test:", None, "images/val/c.jpg"),
        ("test: null", None, "images/val/c.jpg"),
        ("other: [images/test]", "other", "images/test/d.jpg"),
    ],
)
def test_the_test_split(root: Path, lines: str, test_split: str | None, expected: str) -> None:
    picture(root, "images/test/d.jpg")
    (root / "data.yaml").write_text(f"{YAML}{lines}\n")
    assert names(read(root, test_split=test_split)[1]) == [expected]


@pytest.mark.parametrize("split", ["valid", "nc"])
def test_a_split_that_is_not_there_is_named(root: Path, split: str) -> None:
    found = faults(root, train_split=split)
    assert {*found} <= {yolo_yaml.NO_SPLIT, yolo_yaml.NO_FOLDER}
    assert f"`{split}`" in next(iter(found.values()))[0]


@pytest.mark.parametrize(
    ("path", "train", "repairs"),
    [
        (".", "images/train", []),
        ("", "./images/train", []),
        ("images", "train", []),
        ("../set", "images/train", []),
        ("ROOT", "images/train", []),
        ("", "ROOT/images/train", []),
        ("", "images/train/", []),
        ("/content/of/another/machine", "images/train", [yolo_yaml.OTHER_PATH]),
        ("datasets/set", "images/train", [yolo_yaml.OTHER_PATH]),
        ("", "../images/train", [yolo_yaml.ONE_UP]),
        ("", "images\\train", [yolo_yaml.BACKSLASHES]),
        ("", "..\\images\\train", [yolo_yaml.BACKSLASHES, yolo_yaml.ONE_UP]),
    ],
)
def test_where_a_split_is(root: Path, path: str, train: str, repairs: list[Kind]) -> None:
    val = "val" if path == "images" else "images/val"
    text = f"path: {path}\ntrain: {train}\nval: {val}\nnames: [ant, bee]\n".replace("ROOT", str(root))
    (root / "data.yaml").write_text(text)
    train_split, _, findings = read(root)
    assert names(train_split) == ["images/train/b.jpg", "images/train/deep/a.jpg"]
    assert ([*findings.faults], [*findings.repairs]) == ([], repairs)


@pytest.mark.parametrize("train", ["../../../etc", "/etc", "C:\\data\\train", "../../images/train", "a\\0b"])
def test_a_path_that_leaves_the_folder_is_refused_by_name(root: Path, train: str) -> None:
    (root / "data.yaml").write_text(f'train: "{train}"\nval: images/val\nnames: [ant, bee]\n'.replace("\\d", "/d"))
    found = faults(root)
    assert [*found] == [yolo_yaml.OUTSIDE]
    assert "`train`" in found[yolo_yaml.OUTSIDE][0]


def test_a_folder_that_is_beside_the_data_is_not_read(root: Path, tmp_path: Path) -> None:
    picture(tmp_path, "images/train/other.jpg")
    (root / "data.yaml").write_text(YAML.replace("train: images", "train: ../images"))
    train, _, findings = read(root)
    assert names(train) == ["images/train/b.jpg", "images/train/deep/a.jpg"]
    assert [*findings.repairs] == [yolo_yaml.ONE_UP]


def test_a_path_of_another_data_set_that_is_there_is_refused(root: Path, tmp_path: Path) -> None:
    (root / "data.yaml").write_text(f"path: {tmp_path}\n{YAML}")
    assert [*faults(root)] == [yolo_yaml.OUTSIDE]


def test_a_missing_folder_is_named(root: Path) -> None:
    (root / "data.yaml").write_text(YAML.replace("val: images/val", "val: images/valid"))
    assert f"{root}/images/valid" in faults(root)[yolo_yaml.NO_FOLDER][0]


def test_several_folders_are_one_split(root: Path) -> None:
    picture(root, "images/more/d.jpg")
    (root / "data.yaml").write_text(YAML.replace("train: images/train", "train: [images/train/deep, images/more]"))
    assert names(read(root)[0]) == ["images/train/deep/a.jpg", "images/more/d.jpg"]


def test_the_layout_of_roboflow(tmp_path: Path) -> None:
    picture(tmp_path, "train/images/a.jpg", "0 0.5 0.5 0.2 0.4")
    picture(tmp_path, "valid/images/b.jpg", "0 0.5 0.5 0.2 0.4")
    (tmp_path / "data.yaml").write_text(
        "train: ../train/images\nval: ../valid/images\nnc: 1\nnames: ['kite']\nroboflow:\n  version: 1\n"
    )
    assert (tmp_path / "train/labels/a.txt").is_file()
    train, test, findings = read(tmp_path)
    assert (len(boxes(train)), len(boxes(test))) == (1, 1)
    assert {kind: len(places) for kind, places in findings.repairs.items()} == {yolo_yaml.ONE_UP: 2}


def write_list(root: Path, *lines: str, encoding: str = "utf-8") -> None:
    (root / "lists").mkdir(exist_ok=True)
    (root / "lists/train.txt").write_bytes("\r\n".join(lines).encode(encoding))
    (root / "data.yaml").write_text(YAML.replace("train: images/train", "train: lists/train.txt"))


@pytest.mark.parametrize(
    "line",
    [
        "images/train/b.jpg",
        "./../images/train/b.jpg",
        "./images/train/b.jpg",
        "ROOT/images/train/b.jpg",
        "images\\train\\b.jpg",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_list_of_pictures(root: Path, line: str, encoding: str) -> None:
    write_list(root, line.replace("ROOT", str(root)), "", encoding=encoding)
    train, _, findings = read(root)
    assert names(train) == ["images/train/b.jpg"]
    assert not findings.faults


def test_listed_pictures_that_are_not_there_are_all_named(root: Path) -> None:
    write_list(root, "images/train/b.jpg", *(f"images/train/{number}.jpg" for number in range(7)))
    with pytest.raises(FaultyDataError) as caught:
        read_splits(settings(root), root)
    assert {kind: len(places) for kind, places in caught.value.findings.faults.items()} == {MISSING: 7}


def test_faulty_lists_are_named(root: Path) -> None:
    write_list(root, "../../x.jpg", "/etc/x.jpg", "images/train/b.jpg", "images/train/b.jpg")
    found = faults(root)
    assert [place.rpartition(":")[0][-1] for place in found[yolo_yaml.OUTSIDE]] == ["1", "2"]
    assert read(root)[2].repairs == {yolo_yaml.LISTED_TWICE: [f"{root}/data.yaml, `train`: images/train/b.jpg"]}
    (root / "lists/train.txt").write_bytes(b"caf\xe9.jpg")
    assert [*faults(root)] == [yolo_yaml.BAD_LIST]


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
        ("1 0.5 0.5 -0.001 0.4", yolo.BAD_LINE),
        ("1 0.5 0.5 0.2 0.4 0.1 0.1 0.2", yolo.BAD_LINE),
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
def test_faulty_lines_are_named_and_the_others_read(root: Path, content: str | bytes, kind: Kind) -> None:
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


def test_the_same_line_counts_once(root: Path) -> None:
    found, findings = labels(root, "1 0.5 0.5 0.2 0.4\n0 0.5 0.5 0.2 0.4\n1  0.5 0.5 0.2 0.4\n")
    assert len(found) == 2
    assert findings.repairs == {yolo.REPEATED: [f"{root}/labels/val/c.txt:3"]}


def test_label_files_without_picture_have_a_line(root: Path) -> None:
    for name in ("gone.txt", "classes.txt", "notes.md"):
        (root / "labels/val" / name).write_text("0 0.5 0.5 0.1 0.1")
    picture(root, "images/val/unlisted.jpg")
    write_list(root, "images/train/b.jpg")
    assert read(root)[2].repairs == {yolo.NO_PICTURE: [f"{root}/labels/val/gone.txt"]}


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


def test_hidden_files_are_no_pictures(root: Path) -> None:
    for name in ("images/train/._b.jpg", "images/train/.cache/x.jpg", "images/train/notes.txt"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(b"none")
    assert names(read(root)[0]) == ["images/train/b.jpg", "images/train/deep/a.jpg"]


def test_pictures_below_a_link_are_read_once(root: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (root / "images/train/b.jpg").rename(tmp_path / "elsewhere/b.jpg")
    (root / "images/train/linked").symlink_to(tmp_path / "elsewhere")
    (root / "images/train/deep/round").symlink_to(root / "images/train")
    assert names(read(root)[0]) == ["images/train/deep/a.jpg", "images/train/linked/b.jpg"]


@pytest.mark.parametrize(
    "text", [YAML.replace("[ant, bee]", "{0: ant, 1: bee, 1: cow}"), f"{YAML}train: images/val\n"]
)
def test_a_key_that_is_there_twice_is_named(root: Path, text: str) -> None:
    (root / "data.yaml").write_text(text)
    ((kind, (place,)),) = faults(root).items()
    assert kind is yolo_yaml.UNREADABLE
    assert "is there twice" in place


@pytest.mark.parametrize("visible", ["", " 1"])
def test_keypoints_without_their_shape_are_no_polygons(root: Path, visible: str) -> None:
    points = "".join(f" {x} {y}{visible}" for x, y in ((0.35, 0.35), (0.65, 0.4), (0.5, 0.6), (0.4, 0.5)))
    line = f"0 0.5 0.5 0.4 0.4{points}\n"
    for name in ("b.txt", "deep/a.txt"):
        (root / "labels/train" / name).write_text(line)
    assert {kind: len(places) for kind, places in faults(root).items()} == {yolo.POSE: 2}
    (root / "labels/train/b.txt").write_text("0 0.1 0.1 0.9 0.2 0.5 0.9 0.2 0.8\n")
    assert faults(root) == {}


def test_labels_with_a_suffix_in_capitals_are_read(root: Path) -> None:
    (root / "labels/train/b.txt").rename(root / "labels/train/b.TXT")
    train, _, findings = read(root)
    assert len(train.coco["annotations"]) == 3
    assert yolo.CAPITALS in findings.repairs


def test_a_pipe_is_no_label_file(root: Path) -> None:
    (root / "labels/train/b.txt").unlink()
    os.mkfifo(root / "labels/train/b.txt")
    assert list(faults(root)) == [yolo.BAD_FILE]


@pytest.mark.parametrize("name", ["x" * 300, "x/" * 3000])
def test_names_that_no_file_can_have_are_those_of_none(root: Path, name: str) -> None:
    (root / "data.yaml").write_text(YAML.replace("images/train", name))
    assert list(faults(root)) == [yolo_yaml.NO_FOLDER]
    (root / "data.yaml").write_text(f"path: {name}\n{YAML}")
    assert yolo_yaml.OTHER_PATH in read(root)[2].repairs


def test_a_number_with_an_underscore_is_none(root: Path) -> None:
    (root / "labels/train/b.txt").write_text("0 0.5_0 0.5 0.1 0.1\n")
    assert list(faults(root)) == [yolo.BAD_LINE]


def test_a_folder_of_roboflow_that_is_gone_is_missing(root: Path) -> None:
    (root / "data.yaml").write_text(f"{YAML}test: ../test/images\n")
    assert list(faults(root)) == [yolo_yaml.NO_FOLDER]
