"""Writer of the Ultralytics YOLO layout."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import yaml

from mgral.data.formats.yolo import label_file
from mgral.data.records import Annotation, Coco, Image


def write_yolo(folder: Path, splits: Mapping[str, Coco], listed: bool = False) -> Counter[str]:
    """Write data.yaml and labels/SPLIT, a text file for each picture in images/SPLIT.

    The classes are numbered from 0 in the order of their ids. Ultralytics asks for a split `val`, which is the test
    images too, or the training images where there are no others. An image without labels has no text file.

    Parameters
    ----------
    listed
        Whether data.yaml names SPLIT.txt, a list of the pictures, in place of their folder: then pictures that are
        added there later are not taken for ones without objects.

    Returns what YOLO cannot carry, and how often.
    """
    lost: Counter[str] = Counter()
    names: dict[int, str] = {}
    for split, coco in splits.items():
        (folder / "labels" / split).mkdir(parents=True)
        numbers = {category["id"]: number for number, category in enumerate(coco["categories"])}
        names = dict(enumerate(category["name"] for category in coco["categories"]))
        images = {image["id"]: image for image in coco["images"]}
        # Keys are lines, so that a box that is there twice is written once, as YOLO's readers take it.
        lines: dict[int, dict[str, None]] = {
            image_id: {} for image_id, image in images.items() if image.get("labelled", True)
        }
        for annotation in coco["annotations"]:
            if annotation["iscrowd"]:
                lost["crowds, and difficult objects that do not count, are left out"] += 1
                continue
            lost["objects lose their mark `difficult`"] += annotation.get("difficult", 0)
            line = _label_line(annotation, images[annotation["image_id"]], numbers)
            lost["boxes are there twice, and are written once"] += line in lines[annotation["image_id"]]
            lines[annotation["image_id"]][line] = None
        for image_id, image_lines in lines.items():
            path = folder / label_file(f"images/{split}/{images[image_id]['file_name']}")
            path.write_text("".join(image_lines), encoding="utf-8", newline="\n")
        if listed:
            lines_of_list = (f"./images/{split}/{image['file_name']}\n" for image in coco["images"])
            (folder / f"{split}.txt").write_text("".join(lines_of_list), encoding="utf-8", newline="\n")
    paths = {split: f"{split}.txt" if listed else f"images/{split}" for split in splits}
    tested = {"test": paths["test"]} if "test" in paths else {}
    content = {"train": paths["train"], "val": tested.get("test", paths["train"]), **tested, "names": names}
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    (folder / "data.yaml").write_text(text, encoding="utf-8", newline="\n")
    return lost


def _label_line(annotation: Annotation, image: Image, numbers: Mapping[int, int]) -> str:
    """Return the line of a box in a file of labels: its class and, in parts of the image, its centre and sides."""
    x, y, width, height = annotation["bbox"]
    image_width, image_height = image["width"], image["height"]
    values = (
        (x + width / 2) / image_width,
        (y + height / 2) / image_height,
        width / image_width,
        height / image_height,
    )
    # Nine decimals: a thousandth of a pixel in a picture that is a million pixels wide.
    return " ".join([str(numbers[annotation["category_id"]]), *(f"{value:.9f}" for value in values)]) + "\n"
