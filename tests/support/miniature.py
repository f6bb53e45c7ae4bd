"""PASCAL VOC 2007 and 2012 and COCO 2017 in miniature, as folders and as the archives they are published in.

File names, folders and the files' inner layout are the real ones, and so are the quirks:

- VOC: several objects in an image, objects that are `difficult` or `truncated`, an image with difficult objects only,
  boxes that reach the first pixel, which VOC counts as 1, and the last; stems with gaps, 2007's trainval and test in
  one folder; in 2012 other orders of elements, corners with fractions, parts of persons with boxes of their own, and
  images of other tasks that no list of Main names.
- COCO: crowd boxes with masks as run lengths, images without boxes, a grey image, ids with gaps, entries in no order,
  a box without height, areas of masks that are smaller than their boxes, files for captions and key points beside.

Objects are rectangles in their class's colour, so that a detector can learn them. Sizes are those of real images. The
same arguments make the same files, but for times in archives.
"""

import json
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np
from PIL import Image, ImageDraw

COLOURS = {"aeroplane": (210, 60, 60), "dog": (60, 190, 80), "person": (70, 90, 220)}
COCO_CLASSES = {5: "aeroplane", 18: "dog", 1: "person"}
"""Category ids have gaps, and are in another order than the names."""
VOC_SIZES = ((500, 375), (375, 500), (500, 333), (486, 500))
COCO_SIZES = ((640, 480), (480, 640), (640, 427), (500, 333))
FEWEST = 5
"""Images in a part: each of the first ones has a quirk of its own."""


class Thing(NamedTuple):
    """An object of a VOC image; the corners are VOC's, counted from 1 and both inside."""

    name: str
    corners: tuple[float, float, float, float]
    truncated: bool = False
    difficult: bool = False


class VocPart(NamedTuple):
    """What one archive of VOC adds to the folder of its year."""

    year: int
    split: str
    archive: str


VOC_PARTS = (
    VocPart(2007, "trainval", "VOCtrainval_06-Nov-2007.tar"),
    VocPart(2007, "test", "VOCtest_06-Nov-2007.tar"),
    VocPart(2012, "trainval", "VOCtrainval_11-May-2012.tar"),
)


def write_voc(devkit: Path, images: int = 6) -> Path:
    """Write VOC2007 and VOC2012 into `devkit`, `images` each of 2007 trainval, 2007 test and 2012 trainval."""
    for part in VOC_PARTS:
        write_voc_part(devkit, part, images)
    return devkit


def write_voc_archives(folder: Path, images: int = 6) -> Path:
    """Write the same as the three archives that VOC publishes, whose files are in VOCdevkit/VOC<year>."""
    for part in VOC_PARTS:
        content = folder / f"{part.archive}.content"
        write_voc_part(content / "VOCdevkit", part, images)
        pack(content, folder / part.archive)
    return folder


def write_coco(root: Path, train: int = 8, val: int = 6) -> Path:
    """Write train2017, val2017 and annotations into `root`, with as many images."""
    write_coco_part(root, "train2017", train)
    write_coco_part(root, "val2017", val)
    return root


def write_coco_archives(folder: Path, train: int = 8, val: int = 6) -> Path:
    """Write the same as the three archives that COCO publishes."""
    content = write_coco(folder / "content", train, val)
    for name, archive in (
        ("train2017", "train2017.zip"),
        ("val2017", "val2017.zip"),
        ("annotations", "annotations_trainval2017.zip"),
    ):
        pack(content, folder / archive, name)
    return folder


def pack(folder: Path, archive: Path, part: str = ".") -> Path:
    """Pack `folder`, or a folder in it, into a .tar or .zip, with entries for folders as the published ones have."""
    paths = [path for path in sorted((folder / part).rglob("*")) if part == "." or path != folder / part]
    if archive.suffix == ".tar":
        with tarfile.open(archive, "w") as tar:
            for path in paths:
                tar.add(path, path.relative_to(folder).as_posix(), recursive=False)
    else:
        with zipfile.ZipFile(archive, "w") as packed:
            packed.mkdir(part)
            for path in paths:
                packed.write(path, path.relative_to(folder).as_posix())
    return archive


def write_voc_part(devkit: Path, part: VocPart, images: int) -> None:
    """Write what one archive holds of VOC<year>."""
    assert images >= FEWEST
    folder = devkit / f"VOC{part.year}"
    for name in ("Annotations", "ImageSets/Layout", "ImageSets/Main", "ImageSets/Segmentation", "JPEGImages"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    stems = [voc_stem(part, number) for number in range(images)]
    scenes = {stem: voc_things(part, number) for number, stem in enumerate(stems)}
    for number, (stem, things) in enumerate(scenes.items()):
        size = VOC_SIZES[number % len(VOC_SIZES)]
        boxes = [(thing.name, _pixels(thing.corners)) for thing in things]
        _draw(size, boxes, seed=int(stem[-6:])).save(folder / "JPEGImages" / f"{stem}.jpg", quality=90)
        write_xml(folder / "Annotations" / f"{stem}.xml", part.year, size, things)
    _write_lists(folder / "ImageSets" / "Main", part.split, stems, scenes)
    if part.year == 2012:  # of the action task: no list of Main names it
        _draw((500, 375), [], seed=0).save(folder / "JPEGImages" / "2011_007214.jpg")
        write_xml(folder / "Annotations" / "2011_007214.xml", part.year, (500, 375), [])


def voc_stem(part: VocPart, number: int) -> str:
    """The name of a part's image; those of trainval and test alternate."""
    if part.year == 2012:
        return f"{2007 + number % 5}_{27 + 11 * number:06d}"
    return f"{3 * number + (5 if part.split == 'trainval' else 4):06d}"


def voc_things(part: VocPart, number: int) -> list[Thing]:
    """The objects of a part's image; the first images are the quirks."""
    width, height = VOC_SIZES[number % len(VOC_SIZES)]
    if number == 0:  # every class, from the first pixel and to the last
        return [
            Thing("aeroplane", (1, 1, 180, 140), truncated=True),
            Thing("dog", (200, 100, 330, 260)),
            Thing("person", (380, 150, width, height), truncated=True),
        ]
    if number == 1:
        return [Thing("dog", (20, 30, 190, 260)), Thing("person", (200, 300, 260, 380), difficult=True)]
    if number == 2:
        return [Thing("person", (240, 60, 300, 150), difficult=True)]
    rng = np.random.default_rng([part.year, len(part.split), number])
    things = [Thing(name, _corners(rng, width, height)) for name in rng.choice(list(COLOURS), rng.integers(1, 4))]
    if part.year == 2012 and number == 3:
        xmin, ymin, xmax, ymax = things[0].corners
        things[0] = things[0]._replace(corners=(xmin + 0.7, ymin + 0.4000015, xmax - 0.25, ymax))
    return things


def write_xml(path: Path, year: int, size: tuple[int, int], things: list[Thing]) -> None:
    """Write a VOC annotation file as that year's are."""
    root = ElementTree.Element("annotation")
    _add(root, "folder", f"VOC{year}")
    _add(root, "filename", f"{path.stem}.jpg")
    source = ElementTree.SubElement(root, "source")
    _add(source, "database", f"The VOC{year} Database")
    _add(source, "annotation", f"PASCAL VOC{year}")
    _add(source, "image", "flickr")
    box = ElementTree.SubElement(root, "size")
    for key, value in (("width", size[0]), ("height", size[1]), ("depth", 3)):
        _add(box, key, value)
    _add(root, "segmented", 0)
    for thing in things:
        _add_object(ElementTree.SubElement(root, "object"), year, thing)
    ElementTree.indent(root, "\t")
    path.write_bytes(ElementTree.tostring(root))


def _add_object(element: ElementTree.Element, year: int, thing: Thing) -> None:
    corners = dict(zip(("xmin", "ymin", "xmax", "ymax"), thing.corners, strict=True))
    if year == 2007:
        _add(element, "name", thing.name)
        _add(element, "pose", "Unspecified")
        _add(element, "truncated", int(thing.truncated))
        _add(element, "difficult", int(thing.difficult))
        _add_box(element, corners)
        return
    if thing.name == "person":  # before the person's own name and box
        part = ElementTree.SubElement(element, "part")
        _add(part, "name", "head")
        _add_box(part, corners | {"ymax": corners["ymin"] + 10})
    _add_box(element, {key: corners[key] for key in ("xmax", "xmin", "ymax", "ymin")})
    _add(element, "difficult", int(thing.difficult))
    _add(element, "name", thing.name)
    _add(element, "occluded", 0)
    if thing.truncated:
        _add(element, "truncated", 1)


def _add_box(element: ElementTree.Element, corners: dict[str, float]) -> None:
    box = ElementTree.SubElement(element, "bndbox")
    for key, value in corners.items():
        _add(box, key, value)


def _add(parent: ElementTree.Element, tag: str, value: object) -> None:
    ElementTree.SubElement(parent, tag).text = str(value)


def _write_lists(main: Path, split: str, stems: list[str], scenes: dict[str, list[Thing]]) -> None:
    halves = {split: stems}
    if split == "trainval":
        halves |= {"train": stems[::2], "val": stems[1::2]}
    for name, listed in halves.items():
        (main / f"{name}.txt").write_text("".join(f"{stem}\n" for stem in listed))
        for category in COLOURS:
            lines = [f"{stem} {_shown(category, scenes[stem]):2}\n" for stem in listed]
            (main / f"{category}_{name}.txt").write_text("".join(lines))


def _shown(category: str, things: list[Thing]) -> int:
    """1 where an image shows the class, 0 where only difficult objects of it, -1 where none."""
    difficult = [thing.difficult for thing in things if thing.name == category]
    return -1 if not difficult else int(not all(difficult))


def write_coco_part(root: Path, split: str, images: int) -> None:
    """Write a folder of images and the three annotation files of a split of COCO."""
    assert images >= FEWEST
    (root / split).mkdir(parents=True, exist_ok=True)
    (root / "annotations").mkdir(exist_ok=True)
    records, annotations = [], []
    for number in range(images):
        image_id = (9 if split == "train2017" else 17) + 16 * number
        width, height = COCO_SIZES[number % len(COCO_SIZES)]
        name = f"{image_id:012d}.jpg"
        things = list(coco_things(split, number, image_id))
        picture = _draw((width, height), [(COCO_CLASSES[a["category_id"]], a["bbox"]) for a in things], image_id)
        picture.convert("L" if number == 4 else "RGB").save(root / split / name, quality=90)
        records.append(
            {
                "license": 3,
                "file_name": name,
                "coco_url": f"http://images.cocodataset.org/{split}/{name}",
                "height": height,
                "width": width,
                "date_captured": "2013-11-14 11:18:45",
                "flickr_url": "",
                "id": image_id,
            }
        )
        annotations += things
    order = np.random.default_rng(images)
    common = {
        "info": {"description": "COCO 2017 Dataset", "year": 2017},
        "licenses": [{"id": 3, "name": "", "url": ""}],
    }
    records = [records[row] for row in order.permutation(len(records))]
    annotations = [annotations[row] for row in order.permutation(len(annotations))]
    categories = [{"supercategory": "thing", "id": key, "name": name} for key, name in sorted(COCO_CLASSES.items())]
    for task, found in (("instances", annotations), ("captions", []), ("person_keypoints", [])):
        content = {**common, "images": records, "annotations": found, "categories": categories}
        (root / "annotations" / f"{task}_{split}.json").write_text(json.dumps(content))


def coco_things(split: str, number: int, image_id: int) -> Iterator[dict[str, Any]]:
    """The annotations of a split's image; the first images are the quirks."""
    width, height = COCO_SIZES[number % len(COCO_SIZES)]
    rng = np.random.default_rng([len(split), number])
    if number == 1:
        return
    classes = sorted(COCO_CLASSES) if number == 0 else rng.choice(sorted(COCO_CLASSES), rng.integers(1, 4))
    for place, category in enumerate(classes):
        xmin, ymin, xmax, ymax = _corners(rng, width, height)
        box = [xmin - 0.51, ymin - 0.25, xmax - xmin + 0.4, ymax - ymin + 0.2]
        yield _annotation(1_760_000 + 31 * image_id + place, image_id, int(category), box)
    if number == 2:
        crowd = _annotation(900_100_000_000 + image_id, image_id, 1, [0, 100, width, 60])
        counts = [width * height // 2, 500, width * height - width * height // 2 - 500]
        yield crowd | {"iscrowd": 1, "segmentation": {"counts": counts, "size": [height, width]}}
    if number == 3:
        yield _annotation(1_760_000 + 31 * image_id + 30, image_id, 18, [296.65, 88.33, 1.03, 0.0])


def _annotation(number: int, image_id: int, category: int, box: list[float]) -> dict[str, Any]:
    x, y, width, height = (round(value, 2) for value in box)
    outline = [x, y, x + width, y, x + width, y + height]
    return {
        "segmentation": [outline],
        "area": round(0.7 * width * height, 4),
        "iscrowd": 0,
        "image_id": image_id,
        "bbox": [x, y, width, height],
        "category_id": category,
        "id": number,
    }


def _corners(rng: np.random.Generator, width: int, height: int) -> tuple[int, int, int, int]:
    """A box of 60 to 200 pixels wholly inside, by VOC's corners."""
    box_width, box_height = (int(side) for side in rng.integers(60, 201, 2))
    xmin, ymin = int(rng.integers(2, width - box_width)), int(rng.integers(2, height - box_height))
    return xmin, ymin, xmin + box_width - 1, ymin + box_height - 1


def _pixels(corners: tuple[float, float, float, float]) -> list[float]:
    xmin, ymin, xmax, ymax = corners
    return [xmin - 1, ymin - 1, xmax - xmin + 1, ymax - ymin + 1]


def _draw(size: tuple[int, int], boxes: list[tuple[str, list[float]]], seed: int) -> Image.Image:
    """Rectangles [x, y, width, height] in their classes' colours, on coarse noise."""
    width, height = size
    noise = np.random.default_rng(seed).integers(90, 170, (height // 16 + 1, width // 16 + 1, 3), dtype=np.uint8)
    picture = Image.fromarray(noise).resize(size, Image.Resampling.BILINEAR)
    pen = ImageDraw.Draw(picture)
    for name, (x, y, box_width, box_height) in boxes:
        pen.rectangle((x, y, x + max(box_width - 1, 0), y + max(box_height - 1, 0)), fill=COLOURS[name])
    return picture
