"""The reader of PASCAL VOC folders."""

from pathlib import Path

import pytest

from mgral.config import resolve_config
from mgral.data.check import Split
from mgral.data.formats.voc import read_voc
from mgral.errors import InputError

OBJECT = """
 <object><name>{name}</name><difficult>{difficult}</difficult>
  <bndbox><xmin>{box[0]}</xmin><ymin>{box[1]}</ymin><xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox></object>"""


def write_xml(root: Path, stem: str, *objects: tuple[str, tuple[float, ...]], difficult: int = 0) -> Path:
    path = root / "Annotations" / f"{stem}.xml"
    path.parent.mkdir(exist_ok=True)
    content = "".join(OBJECT.format(name=name, box=box, difficult=difficult) for name, box in objects)
    path.write_text(
        f"<annotation><filename>{stem}.jpg</filename><size><width>20</width><height>10</height></size>"
        f"{content}</annotation>"
    )
    return path


def read(root: Path, **settings: object) -> tuple[Split, Split]:
    return read_voc(root, resolve_config({"data": {"format": "voc", "root": str(root), **settings}}).data)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_layout(tmp_path)


def write_layout(tmp_path: Path) -> Path:
    lists = tmp_path / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "trainval.txt").write_text("c\na\n\n")
    (lists / "test.txt").write_text("b\n")
    write_xml(tmp_path, "a", ("zebra", (1, 1, 20, 10)), ("ant", (3, 4, 6, 8)))
    write_xml(tmp_path, "b", ("bee", (2, 2, 5, 5)), difficult=1)
    write_xml(tmp_path, "c")
    return tmp_path


def test_ids_follow_sorted_names_over_both_splits(root: Path) -> None:
    train, test = read(root)
    assert [(image["id"], image["file_name"]) for image in train.coco["images"]] == [
        (3, "JPEGImages/c.jpg"),
        (1, "JPEGImages/a.jpg"),
    ]
    assert [image["id"] for image in test.coco["images"]] == [2]
    names = [{"id": 1, "name": "ant"}, {"id": 2, "name": "bee"}, {"id": 3, "name": "zebra"}]
    assert train.coco["categories"] == test.coco["categories"] == names
    assert [(a["id"], a["image_id"], a["category_id"]) for a in train.coco["annotations"]] == [(1, 1, 3), (2, 1, 1)]


def test_boxes_start_at_zero(root: Path) -> None:
    train, _ = read(root)
    assert [a["bbox"] for a in train.coco["annotations"]] == [[0, 0, 19, 9], [2, 3, 3, 4]]


@pytest.mark.parametrize(("train_counts", "test_counts"), [(False, False), (True, False), (False, True)])
def test_difficult_objects_are_crowds_unless_they_count(root: Path, train_counts: bool, test_counts: bool) -> None:
    write_xml(root, "a", ("ant", (3, 4, 6, 8)), difficult=1)
    write_xml(root, "c", ("ant", (3, 4, 6, 8)))
    splits = read(root, train_difficult=train_counts, test_difficult=test_counts)
    train, test = ([(a["difficult"], a["iscrowd"]) for a in split.coco["annotations"]] for split in splits)
    assert train == [(0, 0), (1, int(not train_counts))]
    assert test == [(1, int(not test_counts))]


def test_several_years_are_read_as_one(tmp_path: Path) -> None:
    for year in ("VOC2007", "VOC2012"):
        write_layout(tmp_path / year)
    train, test = read(tmp_path, train_split=["VOC2007/trainval", "VOC2012/trainval"], test_split="VOC2007/test")
    assert [(image["id"], image["file_name"]) for image in train.coco["images"]] == [
        (3, "VOC2007/JPEGImages/c.jpg"),
        (1, "VOC2007/JPEGImages/a.jpg"),
        (5, "VOC2012/JPEGImages/c.jpg"),
        (4, "VOC2012/JPEGImages/a.jpg"),
    ]
    assert [(image["id"], image["file_name"]) for image in test.coco["images"]] == [(2, "VOC2007/JPEGImages/b.jpg")]
    assert [a["image_id"] for a in train.coco["annotations"]] == [1, 1, 4, 4]
    assert train.source == " and ".join(
        str(tmp_path / year / "ImageSets/Main/trainval.txt") for year in ("VOC2007", "VOC2012")
    )


def test_an_image_that_two_lists_name_is_named(root: Path) -> None:
    (root / "ImageSets/Main/train.txt").write_text("a")
    with pytest.raises(InputError, match=r"train\.txt lists a, which .*trainval\.txt lists already"):
        read(root, train_split=["trainval", "train"])


@pytest.mark.parametrize("split", ["", "/trainval", "../trainval", "VOC2007/", "VOC2007//trainval", []])
def test_a_split_outside_of_the_root_is_no_split(split: object) -> None:
    with pytest.raises(InputError, match=r"data\.train_split"):
        resolve_config({"data": {"format": "voc", "root": "x", "train_split": split}})


@pytest.mark.parametrize("corners", [(5, 5, 5, 5), (5, 2, 5, 9), (9, 2, 5, 9)])
def test_boxes_of_one_point_or_turned_around_have_no_area(root: Path, corners: tuple[int, ...]) -> None:
    write_xml(root, "a", ("ant", corners))
    box = read(root)[0].coco["annotations"][0]["bbox"]
    assert box[2] == 0


def test_a_missing_list_is_named(root: Path) -> None:
    with pytest.raises(InputError, match=r"val2\.txt cannot be read .*data\.root"):
        read(root, train_split="val2")


def test_a_missing_xml_file_is_named(root: Path) -> None:
    (root / "Annotations" / "c.xml").unlink()
    with pytest.raises(InputError, match=r"c\.xml: No such file"):
        read(root)


def test_damaged_xml_is_named(root: Path) -> None:
    path = root / "Annotations" / "a.xml"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match=r"a\.xml is not XML"):
        read(root)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("<name>ant</name>", "", r"a\.xml: <object> has no <name>"),
        ("<xmin>3</xmin>", "<xmin>nan</xmin>", r"a\.xml: <bndbox/xmin> is 'nan'"),
        ("<xmin>3</xmin>", "<xmin>left</xmin>", r"a\.xml: <bndbox/xmin> is 'left'"),
        ("<width>20</width>", "", r"a\.xml: <annotation> has no <size/width>"),
    ],
)
def test_faulty_entries_are_named(root: Path, old: str, new: str, message: str) -> None:
    path = root / "Annotations" / "a.xml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(InputError, match=message):
        read(root)
