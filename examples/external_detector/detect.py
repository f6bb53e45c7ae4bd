"""A detector of colours, as an example of a command for `detector: external`; it needs NumPy and Pillow only.

It learns a colour and a size for each class from the labelled boxes, and finds blocks of an image whose colour is
nearer to that of a class than to that of the background. It is bad and fast; any detector can stand in its place.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

BLOCK = 8
"""Side of a block, in pixels."""
SHARPNESS = 0.05
"""How fast a class gets unlikely with the difference in colour."""
BOXES = 10
"""Boxes of an image."""


def block_colours(image):
    """Return the mean colour of each block of an image, [rows, columns, 3]."""
    with Image.open(image["file_name"]) as picture:
        upright = ImageOps.exif_transpose(picture).convert("RGB")
    blocks = (max(1, upright.width // BLOCK), max(1, upright.height // BLOCK))
    return np.asarray(upright.resize(blocks, Image.Resampling.BOX), np.float64)


def learn(train):
    """Return the colours of the background and of the classes, [C + 1, 3], and the sizes of the classes, [C, 2]."""
    blocks = {image["id"]: block_colours(image) for image in train["images"]}
    background = np.median(np.concatenate([one.reshape(-1, 3) for one in blocks.values()]), axis=0)
    colours, sizes = [background], []
    for category in train["categories"]:
        boxes = [box for box in train["annotations"] if box["category_id"] == category["id"]]
        inside = [blocks[box["image_id"]][centre_block(box["bbox"], blocks[box["image_id"]])] for box in boxes]
        colours.append(np.mean(inside, axis=0) if inside else np.full(3, np.inf))
        sizes.append(np.mean([box["bbox"][2:] for box in boxes], axis=0) if boxes else np.full(2, BLOCK))
    return np.array(colours), np.array(sizes)


def centre_block(box, blocks):
    """Return the row and the column of the block in the middle of a box."""
    x, y, width, height = box
    rows, columns, _ = blocks.shape
    return min(int((y + height / 2) / BLOCK), rows - 1), min(int((x + width / 2) / BLOCK), columns - 1)


def detect(image, blocks, categories, colours, sizes):
    """Return the COCO results of an image, with the probabilities of the background and of each class."""
    likeness = np.exp(-SHARPNESS * np.linalg.norm(blocks[:, :, None] - colours, axis=3))
    probabilities = likeness / likeness.sum(axis=2, keepdims=True)
    labels, scores = probabilities[:, :, 1:].argmax(axis=2), probabilities[:, :, 1:].max(axis=2)
    results = []
    for place in np.argsort(-scores, axis=None, kind="stable")[:BOXES]:
        row, column = np.unravel_index(place, scores.shape)
        side = np.minimum(sizes[labels[row, column]], [image["width"], image["height"]])
        corner = (np.array([column, row]) + 0.5) * BLOCK - side / 2
        corner = np.clip(corner, 0, [image["width"], image["height"]] - side)
        results.append(
            {
                "image_id": image["id"],
                "category_id": categories[labels[row, column]]["id"],
                "bbox": [*corner.tolist(), *side.tolist()],
                "score": float(scores[row, column]),
                "probabilities": probabilities[row, column].tolist(),
            }
        )
    return results


def main():
    """Learn from the labelled images, and write what is found in all lists, and features of the training images."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("train", "pool", "test", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    given = parser.parse_args()
    lists = {name: json.loads(getattr(given, name).read_text()) for name in ("train", "pool", "test")}
    colours, sizes = learn(lists["train"])
    features = {}
    for name, coco in lists.items():
        results = []
        for image in coco["images"]:
            blocks = block_colours(image)
            results += detect(image, blocks, coco["categories"], colours, sizes)
            if name != "test":
                features[image["id"]] = [*blocks.mean(axis=(0, 1)), *blocks.std(axis=(0, 1))]
        (given.output / f"{name}.json").write_text(json.dumps(results))
    vectors = np.array(list(features.values()), np.float32)
    np.savez(given.output / "features.npz", image_ids=np.array(list(features)), features=vectors)
    print(f"learnt from {len(lists['train']['images'])} images")


if __name__ == "__main__":
    main()
