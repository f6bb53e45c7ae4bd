"""The reader of COCO JSON."""

import json
from pathlib import Path
from typing import Any

import pytest

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


def read(folder: Path, value: object, images: str = "train") -> Any:
    path = folder / "instances.json"
    path.write_text(json.dumps(value))
    return read_coco(path, images).coco


def test_original_ids_are_kept(tmp_path: Path) -> None:
    assert read(tmp_path, content()) == {
        "images": [{"id": 7, "file_name": "train/x.jpg", "width": 20, "height": 10}],
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
        ("images", {"id": "7"}, "`id` '7'"),
        ("images", {"id": True}, "`id` True"),
        ("images", {"width": float("nan")}, "`width` nan"),
        ("images", {"file_name": None}, "`file_name` None"),
        ("images", {"file_name": "/x.jpg"}, "absolute"),
        ("annotations", {"bbox": [1, 2, 3]}, "with id 5 has the `bbox`"),
        ("annotations", {"bbox": [1, 2, 3, "4"]}, "with id 5 has the `bbox`"),
        ("annotations", {"area": float("nan")}, "with id 5 has the `area` nan"),
        ("annotations", {"image_id": None}, "with id 5 has the `image_id`"),
        ("categories", {"name": ""}, "`name` ''"),
    ],
)
def test_faulty_entries_are_named(tmp_path: Path, key: str, change: dict[str, Any], message: str) -> None:
    value = content()
    value[key][0].update(change)
    with pytest.raises(InputError, match=rf"instances\.json.*{message}"):
        read(tmp_path, value)


@pytest.mark.parametrize("value", [[], {"images": [], "annotations": []}, {**content(), "images": [1]}])
def test_json_that_is_not_coco_is_named(tmp_path: Path, value: object) -> None:
    with pytest.raises(InputError, match=r"instances\.json"):
        read(tmp_path, value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.json: No such file"):
        read_coco(tmp_path / "none.json", "train")
