"""What a data set contains, counted and as text."""

from collections import Counter
from collections.abc import Mapping

from mgral.data.records import Coco
from mgral.errors import number_of

Counts = dict[str, dict[str, int]]


def class_counts(coco: Coco) -> Counts:
    """Count by class the boxes, the images that show one, and the crowd boxes, which are neither."""
    learnable = [a for a in coco["annotations"] if not a["iscrowd"]]
    boxes = Counter(a["category_id"] for a in learnable)
    images = Counter(category for _, category in {(a["image_id"], a["category_id"]) for a in learnable})
    ignored = Counter(a["category_id"] for a in coco["annotations"] if a["iscrowd"])
    return {
        c["name"]: {"images": images[c["id"]], "boxes": boxes[c["id"]], "ignored": ignored[c["id"]]}
        for c in coco["categories"]
    }


def counts_table(counts: Mapping[str, Counts]) -> str:
    """Return images and boxes of each class and split as lines of text, given `class_counts` by split."""
    width = max(len("class"), *(len(name) for name in counts["train"]))
    lines = [
        f"{'class':{width}}" + "".join(f"{f'{split} {unit}':>14}" for split in counts for unit in ("images", "boxes"))
    ]
    for name in counts["train"]:
        numbers = [counts[split][name][unit] for split in counts for unit in ("images", "boxes")]
        lines.append(f"{name:{width}}" + "".join(f"{number:14}" for number in numbers))
    return "\n".join(lines)


def split_summary(name: str, coco: Coco) -> str:
    """Return a line of what a split contains."""
    empty = len(coco["images"]) - len({annotation["image_id"] for annotation in coco["annotations"]})
    return (
        f"{name}: {number_of(len(coco['images']), 'image')} ({empty} without boxes), "
        f"{number_of(len(coco['annotations']), 'box', 'boxes')}, "
        f"{number_of(len(coco['categories']), 'class', 'classes')}"
    )
