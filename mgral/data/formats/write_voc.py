"""Writer of the PASCAL VOC layout."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree

from mgral.data.records import Annotation, Coco, Image

LISTS = {"train": "trainval", "test": "test"}


def write_voc(folder: Path, splits: Mapping[str, Coco]) -> Counter[str]:
    """Write Annotations, ImageSets/Main and labels.txt, the list of classes, for pictures in JPEGImages.

    Corners are integer pixels, counted from 1 as `mgral.data.formats.voc` reads them, so that a box at the right
    border of its image has xmax = width + 1. A box that would lose its area keeps decimals. An image without labels
    has no XML file.

    Returns what VOC cannot carry, and how often.
    """
    lost: Counter[str] = Counter()
    for part in ("Annotations", "ImageSets/Main"):
        (folder / part).mkdir(parents=True)
    for split, coco in splits.items():
        stems = [PurePosixPath(image["file_name"]).stem for image in coco["images"]]
        _write_text(folder / "ImageSets" / "Main" / f"{LISTS[split]}.txt", "".join(f"{stem}\n" for stem in stems))
        classes = {category["id"]: category["name"] for category in coco["categories"]}
        boxes = defaultdict(list)
        for annotation in coco["annotations"]:
            boxes[annotation["image_id"]].append(annotation)
            lost["crowds are marked difficult"] += bool(annotation["iscrowd"] and not annotation.get("difficult", 0))
            lost["boxes are rounded to whole pixels"] += any(
                not float(side).is_integer() for side in annotation["bbox"]
            )
        for image, stem in zip(coco["images"], stems, strict=True):
            if image.get("labelled", True):
                _write_text(
                    folder / "Annotations" / f"{stem}.xml", _annotation_xml(image, boxes[image["id"]], classes)
                )
        _write_text(folder / "labels.txt", "".join(f"{name}\n" for name in classes.values()))
    return lost


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")


def _annotation_xml(image: Image, annotations: Sequence[Annotation], classes: Mapping[int, str]) -> str:
    """Return the XML of an image."""
    scene = ElementTree.Element("annotation")
    _add_element(scene, "folder", "JPEGImages")
    _add_element(scene, "filename", image["file_name"])
    size = _add_element(scene, "size")
    for key, pixels in (("width", image["width"]), ("height", image["height"]), ("depth", 3)):
        _add_element(size, key, str(pixels))
    _add_element(scene, "segmented", "0")
    for annotation in annotations:
        element = _add_element(scene, "object")
        _add_element(element, "name", classes[annotation["category_id"]])
        _add_element(element, "pose", "Unspecified")
        _add_element(element, "truncated", "0")
        _add_element(element, "difficult", str(int(bool(annotation["iscrowd"] or annotation.get("difficult", 0)))))
        box = _add_element(element, "bndbox")
        for key, value in zip(("xmin", "ymin", "xmax", "ymax"), _corners(annotation["bbox"]), strict=True):
            _add_element(box, key, value)
    ElementTree.indent(scene, "\t")
    return ElementTree.tostring(scene, encoding="unicode") + "\n"


def _add_element(parent: ElementTree.Element, tag: str, text: str | None = None) -> ElementTree.Element:
    child = ElementTree.SubElement(parent, tag)
    child.text = text
    return child


def _corners(box: Sequence[float]) -> tuple[str, ...]:
    """Return xmin, ymin, xmax, ymax as VOC counts them, from 1; whole numbers where the box keeps an area."""
    x, y, width, height = box
    corners = (x + 1, y + 1, x + width + 1, y + height + 1)
    left, top, right, bottom = map(round, corners)
    if left < right and top < bottom:
        return str(left), str(top), str(right), str(bottom)
    return tuple(repr(float(value)) for value in corners)
