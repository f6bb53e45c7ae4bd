"""The labelled set for others: read back by the readers of data sets, and by globox."""

from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from globox import AnnotationSet
from hypothesis import given, settings
from hypothesis import strategies as st
from labelling_files import boxes
from PIL import Image

from mgral.config.data import CocoData, VocData, YoloData
from mgral.data.convert import FormatName
from mgral.data.read import read_splits
from mgral.errors import InputError
from mgral.labelling.exchange.export import LabelledPicture, export_labels
from mgral.labelling.exchange.read import read_labels
from mgral.labelling.records import Box

CLASSES = ("car", "big truck")
SETTINGS: dict[str, Any] = {"coco": CocoData, "yolo": YoloData, "voc": VocData}
FORMATS = get_args(FormatName)


def picture(folder: Path, number: int, *found: Box, width: int = 64, height: int = 48) -> LabelledPicture:
    path = folder / "originals" / f"{number}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height), (number, 0, 0)).save(path)
    return LabelledPicture(number, path, f"p{number}.png", width, height, found)


def written(folder: Path) -> tuple[list[LabelledPicture], list[LabelledPicture]]:
    train = [
        picture(folder, 7, Box(10, 20, 30, 20, "big truck"), Box(0, 0, 64, 48, "car")),
        picture(folder, 4),
        picture(folder, 9, Box(1, 2, 3, 4, "car")),
    ]
    audit = [picture(folder, 2, Box(5, 5, 10, 10, "car"), Box(6, 6, 9, 9, "big truck"))]
    return train, audit


@pytest.mark.parametrize("name", FORMATS)
def test_the_readers_of_data_sets_find_the_same_images_and_boxes(tmp_path: Path, name: FormatName) -> None:
    train, audit = written(tmp_path)
    lost = export_labels(name, tmp_path / "set", train, CLASSES, audit=audit)
    assert lost == {}
    checked = read_splits(SETTINGS[name](format=name, root=str(tmp_path / "set")), tmp_path / "set")
    for images, coco in ((train, checked.train), (audit, checked.test)):
        names = {one["id"]: Path(one["file_name"]).name for one in coco["images"]}
        assert set(names.values()) == {one.name for one in images}  # the one without objects too
        classes = {one["id"]: one["name"] for one in coco["categories"]}
        got = {(names[a["image_id"]], classes[a["category_id"]], *map(round, a["bbox"])) for a in coco["annotations"]}
        assert got == {(one.name, box.label, *box[:4]) for one in images for box in one.boxes}


@pytest.mark.parametrize("name", FORMATS)
def test_globox_reads_the_same(tmp_path: Path, name: FormatName) -> None:
    train, audit = written(tmp_path)
    folder = tmp_path / "set"
    export_labels(name, folder, train, CLASSES, audit=audit)
    if name == "coco":
        found = AnnotationSet.from_coco(folder / "annotations" / "instances_train.json")
    elif name == "voc":
        found = AnnotationSet.from_pascal_voc(folder / "Annotations")
        train = [*train, *audit]
    else:
        labels, pictures = folder / "labels" / "train", folder / "images" / "train"
        found = AnnotationSet.from_yolo_v5(labels, image_folder=pictures, image_extension=".png")
    shift = 1 if name == "voc" else 0  # globox does not count pixels from 1
    names = dict(enumerate(CLASSES)) if name == "yolo" else {}
    got = {
        (Path(one.image_id).name, names[int(box.label)] if names else box.label, *map(round, box.ltwh))
        for one in found
        for box in one.boxes
    }
    expected = {
        (one.name, box.label, round(box.x) + shift, round(box.y) + shift, *map(round, box[2:4]))
        for one in train
        for box in one.boxes
    }
    assert got == expected


def test_yolo_lists_its_pictures_so_that_others_are_no_background(tmp_path: Path) -> None:
    train, audit = written(tmp_path)
    export_labels("yolo", tmp_path / "set", train, CLASSES, audit=audit)
    values = yaml.safe_load((tmp_path / "set" / "data.yaml").read_text())
    assert values == {
        "train": "train.txt",
        "val": "test.txt",
        "test": "test.txt",
        "names": {0: "car", 1: "big truck"},
    }
    listed = (tmp_path / "set" / "train.txt").read_text().split()
    assert listed == [f"./images/train/p{number}.png" for number in (7, 4, 9)]
    assert all((tmp_path / "set" / name).is_file() for name in listed)
    (tmp_path / "set" / "images" / "train" / "new.png").touch()
    checked = read_splits(YoloData(format="yolo", root=str(tmp_path / "set")), tmp_path / "set")
    assert len(checked.train["images"]) == 3
    export_labels("yolo", tmp_path / "alone", train, CLASSES)
    assert yaml.safe_load((tmp_path / "alone" / "data.yaml").read_text())["val"] == "train.txt"


def test_pictures_are_linked_copied_or_left_where_they_are(tmp_path: Path) -> None:
    train, _ = written(tmp_path)
    for how, same in (("link", True), ("copy", False)):
        export_labels("voc", tmp_path / how, train, CLASSES, pictures=how)  # type: ignore[arg-type]
        for one in train:
            placed = tmp_path / how / "JPEGImages" / one.name
            assert placed.read_bytes() == one.path.read_bytes()
            assert placed.samefile(one.path) is same
    export_labels("voc", tmp_path / "none", train, CLASSES, pictures="none")
    assert not (tmp_path / "none" / "JPEGImages").exists()


@pytest.mark.parametrize("name", FORMATS)
def test_a_faulty_set_is_refused_and_nothing_is_written(tmp_path: Path, name: FormatName) -> None:
    wrong = [picture(tmp_path, 1, Box(60, 0, 30, 3, "car")), picture(tmp_path, 2, Box(0, 0, 3, 3, "bus"))]
    with pytest.raises(InputError, match="2 faults of 2 kinds"):
        export_labels(name, tmp_path / "set", wrong, CLASSES)
    assert not (tmp_path / "set").exists()


@settings(max_examples=30, deadline=None)
@given(
    name=st.sampled_from(FORMATS),
    sides=st.tuples(st.integers(2, 4000), st.integers(2, 4000)),
    corners=st.lists(st.tuples(*[st.floats(0, 1)] * 4), min_size=1, max_size=4),
)
def test_what_is_exported_can_be_imported(
    tmp_path_factory: pytest.TempPathFactory,
    name: FormatName,
    sides: tuple[int, int],
    corners: list[tuple[float, float, float, float]],
) -> None:
    width, height = sides
    found = []
    for x, y, w, h in corners:
        w, h = 2 + w * (width - 2), 2 + h * (height - 2)
        found.append(Box(x * (width - w), y * (height - h), w, h, "car"))
    folder = tmp_path_factory.mktemp("export")
    one = LabelledPicture(3, folder / "a.png", "a.png", width, height, tuple(found))
    export_labels(name, folder / "set", [one], CLASSES, pictures="none")
    returned = read_labels(folder / "set", lambda _: sides, empty="checked")
    tolerance = {"coco": 1e-6, "yolo": 1e-4, "voc": 1.0}[name]
    for box in found:
        differences = [max(abs(a - b) for a, b in zip(box[:4], got[:4], strict=True)) for got in boxes(returned, 9)]
        assert min(differences) <= tolerance
