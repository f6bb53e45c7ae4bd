"""Files that are damaged or of another kind than they seem: said so, or read as what they are, never read wrongly."""

import errno
import json
import os

import pytest
from labelling_files import annotation, boxes, faults, read, read_tasks, read_text, region, repairs, states

from mgral.errors import InputError
from mgral.labelling.exchange import label_studio, reading, voc, yolo
from mgral.labelling.exchange.read import read_labels

BOX = {"x": 10, "y": 20, "width": 30, "height": 40}
TASK = {"data": {"image": "a.jpg"}, "annotations": [annotation(region(BOX))]}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "utf-32"])
def test_json_in_any_encoding_of_unicode(tmp_path, encoding):
    (tmp_path / "a.json").write_bytes(json.dumps([TASK]).encode(encoding))
    assert states(read(tmp_path / "a.json")) == {"a.jpg": "labelled"}


def test_a_file_by_itself_may_have_any_suffix_and_be_a_single_task(tmp_path):
    found = read_text(tmp_path, "export.json.1", json.dumps(TASK))
    assert (found.format, states(found)) == ("label_studio", {"a.jpg": "labelled"})


@pytest.mark.parametrize("result", [None, "[]", [None], {"0": {}}])
def test_an_annotation_without_regions_is_not_an_empty_picture(tmp_path, result):
    found = read_tasks(tmp_path, {"annotations": [{"completed_by": 1, "result": result}]})
    assert faults(found) == {label_studio.NO_RESULT.title: 1}


@pytest.mark.parametrize(
    "more", [{"completions": [annotation()]}, {"annotations": 1}, {"annotations": {"0": {}}}, {"annotations": [12]}]
)
def test_tasks_of_which_the_answers_are_elsewhere_are_refused(tmp_path, more):
    assert faults(read_tasks(tmp_path, more)) == {label_studio.NO_ANNOTATIONS.title: 1}


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ({**BOX, "x": None}, reading.NO_NUMBERS),
        ({**BOX, "rectanglelabels": None}, reading.NO_CLASS),
        ({**BOX, "rectanglelabels": [{"a": 1}]}, reading.NO_CLASS),
    ],
)
def test_numbers_and_classes_that_are_null_are_not_zero_nor_a_class_of_that_name(tmp_path, value, kind):
    assert faults(read_tasks(tmp_path, {"annotations": [annotation(region(value))]})) == {kind.title: 1}


def test_odd_ids_times_and_names_of_people_stop_nothing(tmp_path):
    odd = annotation(region(BOX, id=["a"]), completed_by="\ud800", updated_at="0001-01-01T00:00:00+14:00")
    skipped = annotation(completed_by=2, was_cancelled=True, comments=[{"text": "\ud800"}])
    found = read_tasks(tmp_path, {"annotations": [odd, skipped]})
    assert not faults(found)
    assert [(one.state, one.by, one.at, one.reason) for one in found.labels] == [
        ("labelled", "", "", ""),
        ("skipped", "2", found.labels[1].at, ""),
    ]


def test_regions_of_pictures_of_several_sizes_are_refused(tmp_path):
    other = {**region(BOX), "original_width": 320}
    found = read_tasks(tmp_path, {"annotations": [annotation(region(BOX), other)]})
    assert faults(found) == {label_studio.SEVERAL_SIZES.title: 1}


def test_results_of_a_detector_are_named_as_such(tmp_path):
    found = read_text(
        tmp_path, "r.json", json.dumps([{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 1}])
    )
    assert faults(found) == {label_studio.PREDICTIONS.title: 1}


@pytest.mark.parametrize(
    "mask", [{"size": [480, 640], "counts": "o" * 50}, {"size": [10**12, 10**12], "counts": "0"}]
)
def test_masks_that_are_none_are_faults(tmp_path, mask):
    found = read_text(tmp_path, "a.json", coco({"segmentation": mask}))
    assert faults(found) == {reading.NO_NUMBERS.title: 1}


def test_a_box_too_thin_to_be_stored_has_no_area(tmp_path):
    found = read_tasks(tmp_path, {"annotations": [annotation(region({**BOX, "width": 1e-7}))]})
    assert (boxes(found), repairs(found)[reading.NO_AREA.title]) == ([], 1)


def test_boxes_in_fractions_are_not_taken_for_pixels(tmp_path):
    found = read_text(tmp_path, "a.json", coco({"bbox": [0.1, 0.2, 0.3, 0.4]}))
    assert faults(found) == {reading.FRACTIONS.title: 1}
    found = read_text(tmp_path, "a.json", coco({"bbox": [0.1, 0.2, 0.3, 0.4]}, {"bbox": [0.1, 0.2, 3, 4]}))
    assert not faults(found)


def test_a_document_type_with_entities_is_named(tmp_path):
    text = '<!DOCTYPE a [<!ENTITY x "xx"><!ENTITY y "&x;&x;">]><annotations>&y;</annotations>'
    assert faults(read_text(tmp_path, "a.xml", text)) == {reading.UNREADABLE.title: 1}


def test_nothing_at_all_is_said(tmp_path):
    assert repairs(read_text(tmp_path, "a.json", "[]")) == {reading.NO_LABELS.title: 1}
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="contains no coco file"):
        read(tmp_path / "folder", format="coco")


def test_an_empty_line_in_a_list_of_classes_does_not_move_the_others(tmp_path):
    (tmp_path / "a.txt").write_text("2 0.5 0.5 0.1 0.1")
    (tmp_path / "classes.txt").write_text("car\n\nvan\n\n")
    assert yolo.NO_NAME.title in faults(read(tmp_path))
    (tmp_path / "classes.txt").write_text("car\ndog\nvan\n\n")
    assert [box[4] for box in boxes(read(tmp_path))] == ["van"]


def test_labels_of_unknown_pictures_do_not_stop_an_import_without_them(tmp_path):
    (tmp_path / "data.yaml").write_text("names: [car]")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("0 0.5 0.5 0.1 0.1")
    sizes = {False: 1, True: 0}
    for leave_out, count in sizes.items():
        assert sum(faults(read_labels(tmp_path, lambda _: None, leave_out_unknown=leave_out)).values()) == count


def test_a_voc_file_that_names_another_picture_is_refused_or_is_of_its_own(tmp_path):
    scene = (
        "<object><name>car</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object>"
    )
    (tmp_path / "b.xml").write_text(f"<annotation><filename>a.jpg</filename>{scene}</annotation>")
    assert faults(read(tmp_path)) == {voc.OTHER_PICTURE.title: 1}
    own = read_labels(tmp_path, lambda name: (640, 480) if name == "b" else None)
    assert (states(own), faults(own)) == ({"b": "labelled"}, {})


@pytest.mark.parametrize(("line", "name"), [("a: b", "a: b"), ("car:1,2,3::", "car"), ("a:b:1,2,3::", "a:b")])
def test_colons_in_lists_of_classes(tmp_path, line, name):
    (tmp_path / "a.xml").write_text("<annotation><filename>a.jpg</filename></annotation>")
    (tmp_path / "labels.txt").write_text(f"# label:color_rgb:parts:actions\n{line}\n")
    assert read(tmp_path).classes == (name,)


def coco(*annotations):
    """Return COCO JSON of a picture of 640 x 480 pixels."""
    whole = [{"id": n, "image_id": 1, "category_id": 1, **one} for n, one in enumerate(annotations)]
    return json.dumps(
        {
            "images": [{"id": 1, "file_name": "a.jpg", "width": 640, "height": 480}],
            "annotations": whole,
            "categories": [{"id": 1, "name": "car"}],
        }
    )


def test_a_key_that_is_there_twice_is_a_fault(tmp_path):
    coco = {"images": [{"id": 1, "file_name": "a.jpg", "width": 99, "height": 99}], "categories": []}
    text = json.dumps(coco | {"annotations": []})[:-1] + ', "annotations": [{"id": 1}]}'
    found = read_text(tmp_path, "instances.json", text)
    assert faults(found) == {reading.UNREADABLE.title: 1}


def test_a_folder_of_labels_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    (tmp_path / "labels" / "closed").mkdir(parents=True)
    (tmp_path / "labels" / "a.json").write_text(json.dumps([TASK]))
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("closed"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(InputError, match=r"closed: Permission denied"):
        read(tmp_path / "labels")
