"""The reader of COCO JSON."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from mgral.config import CocoData, resolve_config
from mgral.data.findings import Findings
from mgral.data.formats.coco import read_coco
from mgral.errors import InputError


def content() -> dict[str, Any]:
    return {
        "info": {},
        "images": [{"id": 7, "file_name": "x.jpg", "width": 20, "height": 10, "license": 1}],
        "annotations": [
            {"id": 5, "image_id": 7, "category_id": 0, "bbox": [1, 2, 3, 4], "area": 6.5, "iscrowd": 0},
            {"id": 9, "image_id": 7, "category_id": 90, "bbox": [1.5, 2, 3, 4], "iscrowd": 1},
        ],
        "categories": [{"id": 90, "name": "zebra", "supercategory": "animal"}, {"id": 0, "name": "ant"}],
    }


def read(folder: Path, value: object, findings: Findings | None = None, **settings: Any) -> Any:
    """Read a file as the training images, beside test images that are in order."""
    (folder / "instances.json").write_text(json.dumps(value))
    (folder / "test.json").write_text(json.dumps(content()))
    data = CocoData(
        format="coco", root=str(folder), train_annotations="instances.json", test_annotations="test.json", **settings
    )
    found = findings or Findings()
    train, _ = read_coco(folder, data, found)
    if findings is None:
        found.raise_faults()
    return train.coco


def test_original_ids_are_kept(tmp_path: Path) -> None:
    assert read(tmp_path, content()) == {
        "images": [{"id": 7, "file_name": "train/x.jpg", "width": 20, "height": 10, "labelled": True}],
        "annotations": [
            {"id": 5, "image_id": 7, "category_id": 0, "bbox": [1, 2, 3, 4], "area": 6.5, "iscrowd": 0},
            {"id": 9, "image_id": 7, "category_id": 90, "bbox": [1.5, 2, 3, 4], "iscrowd": 1},
        ],
        "categories": [{"id": 90, "name": "zebra"}, {"id": 0, "name": "ant"}],
    }


def test_annotation_ids_that_start_at_zero_are_moved_up(tmp_path: Path) -> None:
    value = content()
    value["annotations"][0]["id"] = 0
    assert [a["id"] for a in read(tmp_path, value)["annotations"]] == [1, 10]


@pytest.mark.parametrize(
    ("key", "change", "message"),
    [
        ("images", {"id": True}, "entries have no id .*image True"),
        ("images", {"id": 7.5}, "entries have no id .*image 7.5"),
        ("images", {"width": float("nan")}, "a size that is not valid .*image 7: nan x 10"),
        ("images", {"width": 20.5}, "a size that is not valid .*image 7: 20.5 x 10"),
        ("images", {"height": -10}, "a size that is not valid .*image 7: 20 x -10"),
        ("images", {"file_name": None}, "entries have no name .*image 7"),
        ("images", {"file_name": "/x.jpg"}, "absolute path .*image 7: /x.jpg"),
        ("images", {"file_name": "C:\\x.jpg"}, "absolute path .*image 7: C:"),
        ("images", {"file_name": "../../x.jpg"}, "leaves the data folder .*image 7: ../../x.jpg"),
        ("annotations", {"bbox": [1, 2, 3]}, "`bbox` that is not valid .*annotation 5 of image 7"),
        ("annotations", {"bbox": [1, 2, 3, "x"]}, "`bbox` that is not valid .*annotation 5 of image 7"),
        ("annotations", {"bbox": [1, 2, 3, float("inf")]}, "`bbox` that is not valid .*annotation 5 of image 7"),
        ("annotations", {"bbox": [1, 2, -3, 4]}, "`bbox` that is not valid .*annotation 5 of image 7"),
        ("annotations", {"iscrowd": "maybe"}, "`iscrowd` that is neither .*annotation 5: 'maybe'"),
        ("annotations", {"bbox": [1, 2, 3, "1_0"]}, "`bbox` that is not valid .*annotation 5 of image 7"),
        ("annotations", {"score": 0.5}, "a `score` .*annotation 5"),
        ("annotations", {"bbox_mode": 0}, "`bbox_mode` other than 1 .*annotation 5"),
        ("images", {"width": 10**30}, "a size that is not valid .*image 7: 1000"),
        ("images", {"file_name": "a\ud800.png"}, "entries have no name .*image 7"),
        ("annotations", {"iscrowd": 2}, "`iscrowd` that is neither .*annotation 5: 2"),
        ("annotations", {"image_id": None}, "not in their file.*annotation 5: image_id None"),
        ("annotations", {"category_id": 3}, "not in their file.*annotation 5: category_id 3"),
        ("categories", {"name": ""}, "entries have no name .*category 90"),
        ("categories", {"id": None}, "entries have no id .*category None"),
    ],
)
def test_faulty_entries_are_named(tmp_path: Path, key: str, change: dict[str, Any], message: str) -> None:
    value = content()
    value[key][0].update(change)
    message = message.replace(".*", r".*\n.*instances\.json: ", 1)
    with pytest.raises(InputError, match=f"(?i){message}"):
        read(tmp_path, value)


@pytest.mark.parametrize("value", [[], {"images": [], "annotations": []}, {**content(), "images": [1]}])
def test_json_that_is_not_coco_is_named(tmp_path: Path, value: object) -> None:
    with pytest.raises(InputError, match=r"instances\.json"):
        read(tmp_path, value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    data = CocoData(format="coco", root=str(tmp_path))
    with pytest.raises(InputError, match=r"cannot be read \(2\)(.*\n)+.*instances_test\.json: No such"):
        read_coco(tmp_path, data, Findings())


def repairs(findings: Findings) -> dict[str, list[str]]:
    return {kind.title: places for kind, places in findings.repairs.items()}


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("images", {"width": 20.0, "height": "10"}),
        ("images", {"id": "7"}),
        ("images", {"id": 7.0}),
        ("annotations", {"image_id": "07"}),
        ("annotations", {"category_id": 0.0}),
        ("annotations", {"iscrowd": False}),
        ("annotations", {"iscrowd": "false"}),
    ],
)
def test_whole_numbers_written_otherwise_are_read_and_counted(
    tmp_path: Path, key: str, change: dict[str, Any]
) -> None:
    value, findings = content(), Findings()
    value[key][0].update(change)
    assert read(tmp_path, value, findings) == read(tmp_path, content())
    (places,) = repairs(findings).values()
    assert len(places) == len(change)


@pytest.mark.parametrize("crowd", [None, 0, "0", 0.0, "0.0"])
def test_no_crowd(tmp_path: Path, crowd: object) -> None:
    value = content()
    value["annotations"][0]["iscrowd"] = crowd
    assert [a["iscrowd"] for a in read(tmp_path, value)["annotations"]] == [0, 1]


@pytest.mark.parametrize(
    ("ids", "numbers", "kept"),
    [
        (["b", "a"], [2, 1], ["b", "a"]),
        ([2**64, 3], [2, 1], [str(2**64), "3"]),
        ([2**63 - 1, -5], [2**63 - 1, -5], [None, None]),
    ],
)
def test_other_ids_are_numbered_and_kept_beside(
    tmp_path: Path, ids: list[Any], numbers: list[int], kept: list[str | None]
) -> None:
    value = content()
    value["images"] = [{**value["images"][0], "id": one, "file_name": f"{n}.jpg"} for n, one in enumerate(ids)]
    for annotation, one in zip(value["annotations"], ids, strict=True):
        annotation["image_id"] = one
    found = read(tmp_path, value)
    assert [image["id"] for image in found["images"]] == numbers
    assert [image.get("source_id") for image in found["images"]] == kept
    assert [a["image_id"] for a in found["annotations"]] == numbers


@pytest.mark.parametrize("ids", [[0, 0], [None, 3], ["x", "y"], [2**63, 1]])
def test_annotations_without_ids_of_their_own_are_numbered_anew(tmp_path: Path, ids: list[Any]) -> None:
    value, findings = content(), Findings()
    for annotation, one in zip(value["annotations"], ids, strict=True):
        annotation["id"] = one
    assert [a["id"] for a in read(tmp_path, value, findings)["annotations"]] == [1, 2]
    assert "annotation files have ids of annotations that repeat, or are no positive numbers" in repairs(findings)


@pytest.mark.parametrize("box", [[], None, [None] * 4])
def test_annotations_without_a_box_are_left_out_or_all_named(tmp_path: Path, box: object) -> None:
    value, findings = content(), Findings()
    for annotation in value["annotations"]:
        annotation["bbox"] = box
    assert read(tmp_path, value, findings)["annotations"] == []
    assert len(repairs(findings)["annotations have no box"]) == 2
    with pytest.raises(InputError, match=r"Annotations have no box \(2\)(.*\n)+.*annotation 9 of image 7"):
        read(tmp_path, value, strict=True)


@pytest.mark.parametrize("area", [float("nan"), -1, None, "x"])
def test_an_area_that_is_none_is_left_to_the_box(tmp_path: Path, area: object) -> None:
    value = content()
    value["annotations"][0]["area"] = area
    assert "area" not in read(tmp_path, value)["annotations"][0]


@pytest.mark.parametrize(
    ("area", "kept"),
    [
        (0, False),
        ("1", False),
        (0.03, False),
        (29.9, False),
        (30.1, True),
        (30_000, True),
        (30_400, True),
        (10**6, False),
    ],
)
def test_an_area_that_no_object_in_its_box_has_is_left_to_the_box(tmp_path: Path, area: object, kept: bool) -> None:
    value, findings = content(), Findings()
    value["annotations"][0].update(bbox=[0, 0, 200, 150], area=area)
    value["annotations"][1].update(bbox=[0, 0, 0, 5], area=0)  # right for a box without area
    assert ("area" in read(tmp_path, value, findings)["annotations"][0]) is kept
    assert len(repairs(findings).get("annotations have an `area` that cannot be the object's", ())) == (not kept)


def test_backslashes_are_read_as_slashes_where_such_a_file_is(tmp_path: Path) -> None:
    (tmp_path / "train/a").mkdir(parents=True)
    (tmp_path / "train/a/x.jpg").touch()
    value = content()
    value["images"][0]["file_name"] = "a\\x.jpg"
    assert read(tmp_path, value)["images"][0]["file_name"] == "train/a/x.jpg"
    (tmp_path / "train/a\\x.jpg").touch()
    assert read(tmp_path, value)["images"][0]["file_name"] == "train/a\\x.jpg"


@pytest.mark.parametrize("key", ["train_images", "test_images"])
def test_an_absolute_folder_of_images_is_refused_by_its_key(tmp_path: Path, key: str) -> None:
    with pytest.raises(
        InputError, match=rf"data\.{key}: .*/train is an absolute path; give it relative to data\.root"
    ):
        resolve_config({"data": {"format": "coco", "root": str(tmp_path), key: str(tmp_path / "train")}})


def test_a_path_has_one_spelling(tmp_path: Path) -> None:
    value = content()
    value["images"][0]["file_name"] = "./a/../x.jpg"
    assert read(tmp_path, value, train_images="train/.")["images"][0]["file_name"] == "train/x.jpg"


@pytest.mark.parametrize("size", [{}, {"width": 0, "height": 0}, {"width": None, "height": 10}])
def test_a_missing_size_is_left_to_the_picture(tmp_path: Path, size: dict[str, Any]) -> None:
    value = content()
    value["images"][0] = {"id": 7, "file_name": "x.jpg", **size}
    assert read(tmp_path, value)["images"] == [
        {"id": 7, "file_name": "train/x.jpg", "width": 0, "height": 0, "labelled": True}
    ]


def test_all_faults_of_both_files_are_found_at_once(tmp_path: Path) -> None:
    value, findings = content(), Findings()
    value["images"].append({"id": None})
    value["annotations"][0]["bbox"] = [1]
    value["annotations"][1]["iscrowd"] = "x"
    value["categories"].append({"id": 5})
    read(tmp_path, value, findings)
    assert [len(places) for places in findings.faults.values()] == [1, 1, 1, 1]


@pytest.mark.parametrize("text", ["[" * 200_000, '{"images": ' * 200_000])
def test_deep_nesting_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "deep.json").write_text(text)
    data = CocoData(format="coco", root=str(tmp_path), train_annotations="deep.json", test_annotations="deep.json")
    with pytest.raises(InputError, match=r"deep\.json"):
        read_coco(tmp_path, data, Findings())


@pytest.mark.parametrize("given", [None, [], [0, 0, 0, 0]])
@pytest.mark.parametrize(
    ("mask", "box"),
    [
        ([[1, 2, 9, 2, 9, 8], [3, 3, 4, 4, 5, 3]], [1, 2, 8, 6]),
        # Column by column, 5 columns of 4 rows: (1, 1), (1, 2), (2, 1), (2, 2) are the numbers 5, 6, 9 and 10.
        ({"size": [4, 5], "counts": [5, 2, 2, 2, 9]}, [1, 1, 2, 2]),
        ({"size": [4, 5], "counts": "52207"}, [1, 1, 2, 2]),
    ],
)
def test_a_mask_without_a_box_has_the_box_around_it(tmp_path: Path, given: object, mask: object, box: object) -> None:
    value, findings = content(), Findings()
    value["annotations"][0] |= {"bbox": given, "segmentation": mask}
    assert read(tmp_path, value, findings)["annotations"][0]["bbox"] == box
    assert len(repairs(findings)["annotations have a mask and no box"]) == 1


def test_ignored_annotations_are_crowds(tmp_path: Path) -> None:
    value = content()
    value["annotations"][0]["ignore"] = 1
    assert read(tmp_path, value)["annotations"][0]["iscrowd"] == 1


def test_an_image_whose_boxes_are_left_out_is_labelled(tmp_path: Path) -> None:
    value = content()
    value["images"].append({**value["images"][0], "id": 8, "file_name": "y.jpg"})
    value["annotations"][0] |= {"image_id": 8, "bbox": []}
    assert [image["labelled"] for image in read(tmp_path, value)["images"]] == [True, True]


def test_a_repeated_key_is_named(tmp_path: Path) -> None:
    text = json.dumps(content()).replace('"bbox": [1, 2, 3, 4]', '"bbox": [1, 2, 3, 4], "bbox": [2, 2, 3, 4]')
    (tmp_path / "twice.json").write_text(text)
    data = CocoData(format="coco", root=str(tmp_path), train_annotations="twice.json", test_annotations="twice.json")
    with pytest.raises(InputError, match="the key 'bbox' is there twice"):
        read_coco(tmp_path, data, Findings())


def test_a_name_with_accents_is_found_however_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train/u\u0308.jpg").touch()
    value, findings = content(), Findings()
    value["images"][0]["file_name"] = "\u00fc.jpg"
    assert read(tmp_path, value, findings)["images"][0]["file_name"] == "train/u\u0308.jpg"
    assert len(findings.repairs) == 1


def test_an_entry_that_is_no_object_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    value, findings = content(), Findings()
    value["annotations"].append(None)
    value["images"].append({"id": 8})
    read(tmp_path, value, findings)
    assert [place.rpartition("instances.json: ")[2] for places in findings.faults.values() for place in places] == [
        "entry 2 of `annotations`: None",
        "image 8",
    ]


def test_a_pipe_is_no_annotation_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    data = CocoData(format="coco", root=str(tmp_path), train_annotations="pipe.json", test_annotations="pipe.json")
    with pytest.raises(InputError, match="it is no file"):
        read_coco(tmp_path, data, Findings())
