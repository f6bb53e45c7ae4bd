"""Writer of COCO JSON."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mgral.artefacts.files import write_json
from mgral.data.records import Coco, Image
from mgral.data.values import whole


def write_coco(folder: Path, splits: Mapping[str, Coco]) -> Counter[str]:
    """Write annotations/instances_SPLIT.json of each split, whose pictures are in the folder SPLIT.

    Returns what COCO JSON cannot carry, and how often.
    """
    lost: Counter[str] = Counter()
    for split, coco in splits.items():
        with_objects = {annotation["image_id"] for annotation in coco["annotations"]}
        empty = sum(image["id"] not in with_objects and image.get("labelled", True) for image in coco["images"])
        if not all(image.get("labelled", True) for image in coco["images"]):
            lost["images without objects cannot be told from those without labels, and are left out too"] += empty
        lost["objects lose their mark `difficult`; those that did not count are crowds"] += sum(
            annotation.get("difficult", 0) for annotation in coco["annotations"]
        )
        write_json(folder / "annotations" / f"instances_{split}.json", _coco_json(coco))
    return lost


def _coco_json(coco: Coco) -> dict[str, Any]:
    """Return the content of a file, with the ids that images had in their own annotations."""
    ids = {image["id"]: _source_id(image) for image in coco["images"]}
    images = [
        {"id": ids[image["id"]], **{key: image[key] for key in ("file_name", "width", "height")}}
        for image in coco["images"]
    ]
    annotations = [
        {key: value for key, value in annotation.items() if key != "difficult"}
        | {"image_id": ids[annotation["image_id"]]}
        for annotation in coco["annotations"]
    ]
    return {"images": images, "annotations": annotations, "categories": coco["categories"]}


def _source_id(image: Image) -> int | str:
    """Return the id that an image had in its own annotations."""
    source_id = image.get("source_id", image["id"])
    number = whole(source_id)
    return source_id if number is None else number
