"""CVAT, COCO, YOLO and VOC of labelling tools: boxes, shapes, and what formats without states can tell."""

import json
import math
import zipfile
from pathlib import Path
from typing import Any

import pytest
from labelling_files import SIZE, boxes, faults, read, read_text, repairs, states

from mgral.data.findings import Finding
from mgral.data.formats import coco as data_coco
from mgral.data.formats import yolo as data_yolo
from mgral.labelling.exchange import coco, cvat, reading, yolo
from mgral.labelling.exchange.read import read_labels
from mgral.labelling.records import Box

META = """<meta><task><name>t</name><labels><label><name>car</name></label><label><name>van</name></label></labels>
<assignee><username>ann</username></assignee></task></meta>"""
BOX = '<box label="car" source="manual" occluded="0" xtl="10.0" ytl="20.0" xbr="110.0" ybr="90.0" z_order="0"/>'


def cvat_file(*shapes: str) -> str:
    images = "".join(
        f'<image id="{number}" name="sub/{number}.jpg" width="640" height="480">{shape}</image>'
        for number, shape in enumerate(shapes)
    )
    return f'<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version>{META}{images}</annotations>'


def test_cvat(tmp_path: Path) -> None:
    found = read_text(tmp_path, "annotations.xml", cvat_file(BOX, ""))
    assert boxes(found) == [(10, 20, 100, 70, "car")]
    assert states(found) == {"sub/0.jpg": "labelled", "sub/1.jpg": "untouched"}
    assert (found.format, found.classes) == ("cvat", ("car", "van"))
    assert (found.labels[0].by, found.labels[0].size, found.project) == ("ann", SIZE, None)
    assert repairs(found) == {reading.NOT_TOLD.title: 1}
    checked = read_text(tmp_path, "annotations.xml", cvat_file(BOX, ""), empty="checked")
    assert states(checked) == {"sub/0.jpg": "labelled", "sub/1.jpg": "empty"}
    assert repairs(checked) == {}


def test_the_export_of_a_job_says_when_it_was_changed_and_that_of_a_task_does_not(
    tmp_path: Path,
) -> None:
    dated = cvat_file(BOX).replace("<name>t</name>", "<updated>2026-11-02 10:00:00.5+00:00</updated>")
    job = dated.replace("<task>", "<job>").replace("</task>", "</job>")
    assert [one.at for one in read_text(tmp_path, "annotations.xml", job).labels] == ["2026-11-02 10:00:00.5+00:00"]
    assert [one.at for one in read_text(tmp_path, "annotations.xml", dated).labels] == [""]


def test_the_zip_that_holds_it_and_one_that_a_mac_made(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("annotations.xml", cvat_file(BOX))
        archive.writestr("__MACOSX/._annotations.xml", b"\0\1")
        archive.writestr("images/a.jpg", b"no text")
    assert boxes(read(tmp_path / "a.zip")) == [(10, 20, 100, 70, "car")]


def test_boxes_that_a_program_drew_and_nobody_changed_are_no_labels(tmp_path: Path) -> None:
    automatic = BOX.replace("manual", "auto")
    found = read_text(tmp_path, "annotations.xml", cvat_file(automatic, automatic + BOX))
    assert states(found) == {"sub/0.jpg": "untouched", "sub/1.jpg": "labelled"}
    assert found.labels[0].boxes == ()
    assert repairs(found) == {reading.UNCHANGED.title: 1, "boxes are there twice, of one class in one image": 1}
    checked = read_text(tmp_path, "annotations.xml", cvat_file(automatic), empty="checked")
    assert states(checked) == {"sub/0.jpg": "labelled"}


TURN = 60 * math.cos(math.radians(30)) + 40 * math.sin(math.radians(30))
"""Half of the envelope of 120 x 80 pixels, turned by 30 degrees."""
SHAPES = {
    # CVAT turns about the centre, here (100, 100): 40 x 20 pixels become 20 x 40.
    '<box label="car" xtl="80" ytl="90" xbr="120" ybr="110" rotation="90.0"/>': (90, 80, 20, 40),
    '<box label="car" xtl="140" ytl="160" xbr="260" ybr="240" rotation="30"/>': (
        round(200 - TURN, 6),
        round(200 - (60 * 0.5 + 40 * math.sqrt(3) / 2), 6),
        round(2 * TURN, 6),
        round(2 * (30 + 20 * math.sqrt(3)), 6),
    ),
    '<polygon label="car" points="10.5,20;30,40;15,60"/>': (10.5, 20, 19.5, 40),
    '<polyline label="car" points="10,20;30,40"/>': (10, 20, 20, 20),
    '<mask label="car" rle="3, 2, 1" left="7" top="8" width="3" height="2"/>': (7, 8, 3, 2),
    '<ellipse label="car" cx="100" cy="100" rx="30" ry="20"/>': (70, 80, 60, 40),
    '<ellipse label="car" cx="100" cy="100" rx="30" ry="20" rotation="90"/>': (80, 70, 40, 60),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_of_cvat_become_the_box_around_them_or_are_refused(tmp_path: Path, shape: str) -> None:
    found = read_text(tmp_path, "annotations.xml", cvat_file(shape))
    assert boxes(found) == [(*SHAPES[shape], "car")]
    assert repairs(found) == {reading.ENVELOPES.title: 1}
    assert faults(read_text(tmp_path, "annotations.xml", cvat_file(shape), shapes="refuse")) == {
        reading.SHAPES_REFUSED.title: 1
    }


CVAT_FAULTS = {
    '<box xtl="1" ytl="1" xbr="5" ybr="5"/>': reading.NO_CLASS,
    '<box label="car" xtl="nan" ytl="1" xbr="5" ybr="5"/>': reading.NO_NUMBERS,
    '<box label="car" xtl="9" ytl="1" xbr="5" ybr="5"/>': reading.NO_NUMBERS,
    '<box label="car" xtl="700" ytl="1" xbr="800" ybr="5"/>': reading.OUTSIDE,
    '<polygon label="car" points="1,2;x,3"/>': reading.NO_NUMBERS,
    '<points label="car" points="1,2"/>': reading.NO_BOX,
    '<skeleton label="car"><points label="head" points="1,2"/></skeleton>': reading.NO_BOX,
}


def test_all_faults_of_cvat_in_one_pass(tmp_path: Path) -> None:
    text = cvat_file(*CVAT_FAULTS).replace("</annotations>", '<image id="9"/></annotations>')
    found = read_text(tmp_path, "annotations.xml", text)
    kinds = [*CVAT_FAULTS.values(), reading.NO_PICTURE]
    assert faults(found) == {kind.title: kinds.count(kind) for kind in kinds}


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("<annotations><track id='0' label='car'/></annotations>", cvat.VIDEO),
        ("<annotations><image name='a.jpg'", reading.UNREADABLE),
        ('<!DOCTYPE x [<!ENTITY a "b">]><annotations>&a;</annotations>', reading.UNREADABLE),
        ("<annotations>" + "<a>" * 200 + "</a>" * 200 + "</annotations>", reading.UNREADABLE),
    ],
)
def test_a_file_that_is_none_of_cvats_is_a_fault(tmp_path: Path, text: str, kind: Finding) -> None:
    assert faults(read_text(tmp_path, "annotations.xml", text, format="cvat")) == {kind.title: 1}


def coco_file(*annotations: dict[str, Any], **more: Any) -> str:
    images = [{"id": 5, "file_name": "a.jpg", "width": 640, "height": 480}, {"id": 6, "file_name": "b.jpg"}]
    usual = {"image_id": 5, "category_id": 1, "iscrowd": 0, "segmentation": []}
    numbered = [{"id": number} | usual | one for number, one in enumerate(annotations)]
    categories = [{"id": 1, "name": "car"}, {"id": 2, "name": "van"}]
    return json.dumps({"images": images, "annotations": numbered, "categories": categories} | more)


COCO_BOXES: list[tuple[dict[str, Any], tuple[float, ...], list[Finding]]] = [
    ({"bbox": [10.5, 20, 30, 40]}, (10.5, 20, 30, 40), []),
    ({"bbox": [10, 20, 30, 40], "segmentation": [[0, 0, 100, 0, 100, 100]]}, (10, 20, 30, 40), []),
    ({"segmentation": [[1, 2, 11, 2, 11, 22], [30, 5, 31, 5, 31, 6]]}, (1, 2, 30, 20), [reading.ENVELOPES]),
    # Column by column, 5 columns of 4 rows: (1, 1), (1, 2), (2, 1), (2, 2) are the numbers 5, 6, 9 and 10.
    (
        {"bbox": [], "segmentation": {"size": [4, 5], "counts": [5, 2, 2, 2, 9]}},
        (1, 1, 2, 2),
        [reading.ENVELOPES],
    ),
    ({"bbox": None, "segmentation": {"size": [4, 5], "counts": "52207"}}, (1, 1, 2, 2), [reading.ENVELOPES]),
    ({"bbox": [80, 90, 40, 20], "attributes": {"rotation": 90.0}}, (90, 80, 20, 40), [reading.ENVELOPES]),
    ({"bbox": [10, 20, 30, 40], "iscrowd": 1}, (10, 20, 30, 40), [coco.CROWDS]),
    ({"bbox": [600, 20, 80, 40]}, (600, 20, 40, 40), [reading.CUT]),
]


@pytest.mark.parametrize(("given", "expected", "kinds"), COCO_BOXES)
def test_coco(tmp_path: Path, given: dict[str, Any], expected: tuple[float, ...], kinds: list[Finding]) -> None:
    found = read_text(tmp_path, "result.json", coco_file(given))
    assert boxes(found) == [(*expected, "car")]
    assert repairs(found) == {kind.title: 1 for kind in [*kinds, reading.NOT_TOLD]}
    assert (found.format, found.classes, found.labels[0].size) == ("coco", ("car", "van"), SIZE)
    assert found.findings.faults == {}


def test_all_faults_of_coco_in_one_pass(tmp_path: Path) -> None:
    given: dict[Finding, dict[str, Any]] = {
        data_coco.UNKNOWN: {"bbox": [1, 1, 2, 2], "category_id": 9},
        data_coco.PREDICTIONS: {"bbox": [1, 1, 2, 2], "score": 0.5},
        reading.NO_NUMBERS: {"bbox": [1, math.inf, 2, 2]},
        reading.OUTSIDE: {"bbox": [700, 1, 2, 2]},
    }
    found = read_text(tmp_path, "result.json", coco_file(*given.values(), {}, {"segmentation": {"size": [1, 1]}}))
    assert faults(found) == {kind.title: 1 for kind in given} | {reading.NO_NUMBERS.title: 3}
    nameless = read_text(tmp_path, "result.json", coco_file(images=[{"id": 1}, {"file_name": "a.jpg"}]))
    assert faults(nameless) == {reading.NO_PICTURE.title: 1, data_coco.NO_ID.title: 1}
    assert faults(read_text(tmp_path, "x.json", '{"images": [], "annotations": {}}')) == {reading.NOT_ALL.title: 1}
    assert faults(read_text(tmp_path, "x.json", '{"images": [{"id"')) == {reading.UNREADABLE.title: 1}


def test_a_zip_of_coco_with_several_subsets(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("annotations/instances_train.json", coco_file({"bbox": [1, 2, 3, 4]}))
        archive.writestr("annotations/instances_val.json", coco_file({"bbox": [5, 6, 7, 8], "category_id": 2}))
    assert boxes(read(tmp_path / "a.zip")) == [(1, 2, 3, 4, "car"), (5, 6, 7, 8, "van")]


def yolo_folder(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


YAML = "train: images/train\nval: images/train\nnames: {0: car, 1: no}\n"
LINE = "1 0.5 0.5 0.25 0.5\n"
"""The middle of 640 x 480 pixels, 160 x 240 pixels large."""


def test_yolo_with_pictures(tmp_path: Path) -> None:
    files = {"data.yaml": YAML, "labels/train/a.txt": LINE, "images/train/a.jpg": "", "images/train/b.png": ""}
    yolo_folder(tmp_path, files | {"labels/train/e.txt": "", "images/train/e.jpg": "", "README.txt": "x"})
    found = read_labels(tmp_path, lambda name: None if name == "README" else SIZE)
    assert boxes(found) == [(240, 120, 160, 240, "no")]
    assert states(found) == {
        "images/train/a.jpg": "labelled",
        "images/train/e.jpg": "untouched",
        "images/train/b.png": "untouched",
    }
    assert repairs(found) == {reading.NOT_TOLD.title: 1, yolo.NO_FILE.title: 1}
    assert (found.format, found.classes) == ("yolo", ("car", "no"))
    # A picture without a label file was not checked, whatever a person says of the others.
    (tmp_path / "README.txt").unlink()
    checked = read(tmp_path / "data.yaml", empty="checked")
    assert list(states(checked).values()) == ["labelled", "empty", "untouched"]


@pytest.mark.parametrize(
    ("files", "names"),
    [
        ({"data.yaml": YAML, "labels/train/a.txt": LINE}, {"labels/train/a"}),
        ({"classes.txt": "car\nno\n", "labels/a.txt": LINE}, {"labels/a"}),
        (
            {"data.yaml": YAML, "labels/train/a.txt": LINE, "train.txt": "./images/train/a.jpg\n"},
            {"./images/train/a.jpg"},
        ),
        (
            {"obj.names": "car\nno\n", "train.txt": "data/obj_train_data/s/a.jpg\n", "obj_train_data/s/a.txt": LINE},
            {"data/obj_train_data/s/a.jpg"},
        ),
        (
            {"x/data.yaml": YAML, "x/labels/a.txt": LINE, "x/train.txt": "/home/x/images/a.jpg\n"},
            {"/home/x/images/a.jpg"},
        ),
    ],
)
def test_yolo_without_pictures_names_them_by_lists_or_label_files(
    tmp_path: Path, files: dict[str, str], names: set[str]
) -> None:
    found = read(yolo_folder(tmp_path, files))
    assert set(states(found)) == names
    assert boxes(found) == [(240, 120, 160, 240, "no")]
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    assert boxes(read(tmp_path / "a.zip")) == boxes(found)


def test_polygons_and_faults_of_yolo(tmp_path: Path) -> None:
    lines = {
        "0 0.1 0.1 0.3 0.1 0.2 0.5": None,
        "7 0.5 0.5 0.1 0.1": data_yolo.UNKNOWN_CLASS,
        "0 0.5 0.5 0.1 0.1 0.9": data_yolo.PREDICTIONS,
        "0 100 100 20 20": data_yolo.NO_FRACTIONS,
        "0 0.5 0.5 nan 0.1": data_yolo.BAD_LINE,
    }
    files = {"data.yaml": YAML, "labels/a.txt": "\n".join(lines)}
    found = read(yolo_folder(tmp_path, files))
    assert boxes(found) == [(64, 48, 128, 192, "car")]
    assert faults(found) == {kind.title: 1 for kind in lines.values() if kind}
    assert repairs(found) == {reading.ENVELOPES.title: 1}
    unknown = read_labels(tmp_path, lambda _: None)
    assert faults(unknown)[reading.NO_SIZE.title] == 1


@pytest.mark.parametrize("line", ["0,0.5,0.5,0.2,0.2", "car 0.5 0.5 0.2 0.2", "0 .5 .5 .2 .2".encode("utf-16-be")])
def test_a_faulty_first_line_of_a_picture_of_the_project_is_a_fault(tmp_path: Path, line: str | bytes) -> None:
    yolo_folder(tmp_path, {"classes.txt": "car\nno\n", "a.txt": LINE, "README.txt": "Labels of cars"})
    (tmp_path / "b.txt").write_bytes(line if isinstance(line, bytes) else line.encode())
    found = read_labels(tmp_path, lambda name: SIZE if name in ("a", "b") else None)
    assert [place[0].startswith(f"{tmp_path}/b.txt:1") for place in found.findings.faults.values()] == [True]
    (tmp_path / "b.jpg").touch()
    assert "b.jpg" in states(read_labels(tmp_path, lambda name: SIZE if name == "a" else None, empty="checked"))


def test_lists_of_classes_that_differ_are_a_fault(tmp_path: Path) -> None:
    files = {"a/classes.txt": "car\nno\n", "a/1.txt": LINE, "b/classes.txt": "car\nno\n\n", "b/2.txt": LINE}
    assert faults(read(yolo_folder(tmp_path, files))) == {}
    (tmp_path / "b/classes.txt").write_text("no\ncar\n")
    assert faults(read(tmp_path)) == {yolo.SEVERAL_LISTS.title: 1}


def test_a_list_that_differs_from_data_yaml_is_told_and_not_used(tmp_path: Path) -> None:
    files = {"data.yaml": YAML, "labels/classes.txt": "car\nno\n\n", "labels/a.txt": LINE}
    assert repairs(read(yolo_folder(tmp_path, files))) == {}
    (tmp_path / "labels/classes.txt").write_text("no\n\ncar\n")
    found = read(tmp_path)
    assert (found.classes, faults(found), repairs(found)) == (("car", "no"), {}, {yolo.OTHER_LIST.title: 1})


def test_a_label_file_in_capitals_is_of_its_picture(tmp_path: Path) -> None:
    found = read(yolo_folder(tmp_path, {"data.yaml": YAML, "labels/a.TXT": LINE, "images/a.jpg": ""}))
    assert (states(found), repairs(found)) == ({"images/a.jpg": "labelled"}, {})


def test_yolo_without_its_classes_is_a_fault(tmp_path: Path) -> None:
    found = read(yolo_folder(tmp_path, {"labels/a.txt": ""}), format="yolo")
    assert faults(found) == {yolo.NO_CLASSES.title: 1}


def voc_file(*objects: str, name: str = "<filename>a.jpg</filename>") -> str:
    return f"<annotation>{name}<size><width>640</width><height>480</height></size>{''.join(objects)}</annotation>"


def voc_object(*corners: object, more: str = "<name>car</name>") -> str:
    tags = zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True)
    return f"<object>{more}<bndbox>{''.join(f'<{tag}>{value}</{tag}>' for tag, value in tags)}</bndbox></object>"


def test_voc_counts_from_1_and_difficult_objects_are_objects(tmp_path: Path) -> None:
    difficult = voc_object(11, 21, 31, 41, more="<name>van</name><difficult>1</difficult>")
    (tmp_path / "a.xml").write_text(voc_file(voc_object(1, 1, 641, 481), difficult))
    (tmp_path / "b.xml").write_text(voc_file(name=""))
    (tmp_path / "labels.txt").write_text("car\nvan\nbus\n")
    found = read(tmp_path)
    assert boxes(found) == [(0, 0, 640, 480, "car"), (10, 20, 20, 20, "van")]
    assert states(found) == {"a.jpg": "labelled", "b": "untouched"}
    assert (found.format, found.classes) == ("voc", ("car", "van", "bus"))


def test_a_voc_picture_is_in_the_folder_of_its_file_unless_it_names_one(tmp_path: Path) -> None:
    (tmp_path / "day1").mkdir()
    (tmp_path / "day1" / "a.xml").write_text(voc_file(voc_object(1, 1, 9, 9)))
    (tmp_path / "day1" / "b.xml").write_text(voc_file(name="<filename>day2/b.jpg</filename>"))
    assert set(states(read(tmp_path))) == {"day1/a.jpg", "day2/b.jpg"}


def test_the_folder_of_annotations_is_none_of_a_voc_picture(tmp_path: Path) -> None:
    (tmp_path / "Annotations" / "day1").mkdir(parents=True)
    for name in ("a.xml", "day1/b.xml"):
        file = tmp_path / "Annotations" / name
        file.write_text(voc_file(name=f"<filename>{file.stem}.jpg</filename>"))
    assert set(states(read(tmp_path))) == {"a.jpg", "day1/b.jpg"}


def test_faults_of_voc_in_one_pass(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(voc_file(voc_object(9, 1, 5, 5), voc_object(700, 1, 800, 9)))
    (tmp_path / "b.xml").write_text(voc_file(voc_object(1, 1, 5, 5, more="")))
    (tmp_path / "c.xml").write_text("<annotation>")
    assert sum(faults(read(tmp_path)).values()) == 5


FORMATS = {
    "cvat": ("annotations.xml", cvat_file(BOX)),
    "coco": ("a.json", coco_file({"bbox": [10, 20, 100, 70]})),
    "voc": ("a.xml", voc_file(voc_object(11, 21, 111, 91))),
    "yolo": ("data.yaml", YAML.replace("no}", "x}")),
}


@pytest.mark.parametrize("name", FORMATS)
def test_boxes_that_come_back_as_they_were_sent_are_no_labels(tmp_path: Path, name: str) -> None:
    file, text = FORMATS[name]
    (tmp_path / file).write_text(text)
    if name == "yolo":
        yolo_folder(tmp_path, {"labels/a.txt": f"0 {60 / 640} {55 / 480} {100 / 640} {70 / 480}"})
    sent = [Box(10.4, 20, 99.8, 70.3, "car")]
    assert set(states(read(tmp_path)).values()) >= {"labelled"}
    for options, state in (({}, "untouched"), ({"empty": "checked"}, "labelled")):
        assert read(tmp_path, sent=lambda _: sent, **options).labels[0].state == state
    for changed in ([], [*sent, *sent], [sent[0]._replace(x=12)], [sent[0]._replace(label="van")]):
        assert read(tmp_path, sent=lambda _, boxes=changed: boxes).labels[0].state == "labelled"
