"""The reader of the data.yaml of Ultralytics YOLO folders."""

import os
from pathlib import Path

import pytest
from yolo_folder import YAML, boxes, faults, names, picture, read, settings, write_list, write_yolo_set

from mgral.data.check import MISSING
from mgral.data.findings import FaultyDataError, Finding
from mgral.data.formats import yolo_yaml
from mgral.data.read import read_splits


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_yolo_set(tmp_path / "set")


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
def test_faulty_values_of_data_yaml_are_named(root: Path, text: str, kind: Finding) -> None:
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
def test_where_a_split_is(root: Path, path: str, train: str, repairs: list[Finding]) -> None:
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


def test_folders_in_a_list_are_named(root: Path) -> None:
    write_list(root, ".", "images/train/b.jpg", "./", "images/")
    found = faults(root)
    assert [place.rpartition("txt:")[2] for place in found[yolo_yaml.BAD_ENTRY]] == ["1: .", "3: ./", "4: images/"]
    assert names(read(root)[0]) == ["images/train/b.jpg"]


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
    # A link that comes before the folder that it leads to, and one that leads to a folder of both.
    (root / "images/train/a_link").symlink_to(root / "images/train/deep")
    (root / "images/train/z_link").symlink_to(tmp_path / "elsewhere")
    assert names(read(root)[0]) == ["images/train/deep/a.jpg", "images/train/linked/b.jpg"]


@pytest.mark.parametrize(
    "text", [YAML.replace("[ant, bee]", "{0: ant, 1: bee, 1: cow}"), f"{YAML}train: images/val\n"]
)
def test_a_key_that_is_there_twice_is_named(root: Path, text: str) -> None:
    (root / "data.yaml").write_text(text)
    ((kind, (place,)),) = faults(root).items()
    assert kind is yolo_yaml.UNREADABLE
    assert "is there twice" in place


def test_a_picture_whose_name_no_file_can_have_is_missing(root: Path) -> None:
    write_list(root, "images/train/b.jpg", "x" * 300, "y/" * 3000, "y/" * 3000 + "images/z.jpg")
    with pytest.raises(FaultyDataError) as caught:
        read_splits(settings(root), root)
    assert {kind: len(places) for kind, places in caught.value.findings.faults.items()} == {MISSING: 3}


def test_a_surrogate_in_a_path_or_a_name_has_no_traceback(root: Path) -> None:
    (root / "data.yaml").write_text('train: "images/\\uD800"\nval: images/val\nnames: [ant, "b\\uD801ee"]\n')
    assert yolo_yaml.NO_FOLDER in faults(root)


@pytest.mark.parametrize("suffix", ["jfif", "ppm", "pgm", "JPG"])
def test_pictures_of_other_suffixes_are_read(root: Path, suffix: str) -> None:
    (root / "images/train/b.jpg").rename(root / f"images/train/b.{suffix}")
    train, _, findings = read(root)
    assert names(train) == [f"images/train/b.{suffix}", "images/train/deep/a.jpg"]
    assert (findings.faults, findings.repairs) == ({}, {})


@pytest.mark.parametrize("name", ["data.yaml", "lists/train.txt"])
def test_a_pipe_is_neither_a_data_yaml_nor_a_list(root: Path, name: str) -> None:
    write_list(root, "images/train/b.jpg")
    (root / name).unlink()
    os.mkfifo(root / name)
    ((place,),) = faults(root).values()
    assert "it is no file" in place


@pytest.mark.parametrize("name", ["x" * 300, "x/" * 3000])
def test_names_that_no_file_can_have_are_those_of_none(root: Path, name: str) -> None:
    (root / "data.yaml").write_text(YAML.replace("images/train", name))
    assert list(faults(root)) == [yolo_yaml.NO_FOLDER]
    (root / "data.yaml").write_text(f"path: {name}\n{YAML}")
    assert yolo_yaml.OTHER_PATH in read(root)[2].repairs


def test_a_folder_of_roboflow_that_is_gone_is_missing(root: Path) -> None:
    (root / "data.yaml").write_text(f"{YAML}test: ../test/images\n")
    assert faults(root) == {yolo_yaml.NO_FOLDER: [f"{root}/test/images (of {root}/data.yaml, `test`)"]}
    assert names(read(root, test_split="val")[1]) == ["images/val/c.jpg"]
