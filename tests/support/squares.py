"""A data set of white squares on black, in memory and in files, for the tests of what is trained on it."""

from pathlib import Path

import numpy as np

from mgral.artefacts.files import write_json
from mgral.config import AugmentationConfig
from mgral.config.canvas import Canvas
from mgral.data.dataset import Category, Dataset
from mgral.data.image_set import ImageSet
from mgral.data.images import Images
from mgral.models.detectors.small_ssd import SmallSSDConfig
from mgral.training.batches import TrainingImages, training_images

SIZE = 64
"""Side of the cached images in pixels; the original ones are twice as large."""

DETECTOR = SmallSSDConfig(width=SIZE, height=SIZE, channels=4)
"""A detector of these images, and small."""
NO_AUGMENTATION = AugmentationConfig(flip=0.0, zoom_in=1.0, zoom_out=1.0, colour=0.0)


def squares(count: int = 12) -> tuple[Dataset, Images]:
    """A square an image, and the image cache; ids from 10."""
    rng = np.random.default_rng(0)
    pixels = np.zeros((count, SIZE, SIZE, 3), np.uint8)
    boxes = []
    for image in pixels:
        x, y = rng.integers(0, 40, 2)
        image[y : y + 24, x : x + 24] = 255
        boxes.append(2 * np.array([[x, y, x + 24, y + 24]], np.float32))
    dataset = Dataset(
        image_ids=np.arange(10, 10 + count),
        file_names=tuple(f"{i}.png" for i in range(count)),
        sizes=np.full((count, 2), 2 * SIZE),
        categories=(Category(0, "square"),),
        boxes=tuple(boxes),
        labels=tuple(np.zeros(1, np.int64) for _ in boxes),
    )
    return dataset, Images(pixels, dataset.sizes, Canvas(SIZE, SIZE))


def labelled_squares() -> TrainingImages:
    """The first eight of them, to train on."""
    dataset, images = squares()
    return training_images(dataset, images, dataset.image_ids[:8])


def square_set(count: int = 12) -> ImageSet:
    """The same with the COCO JSON that detections are scored against."""
    dataset, images = squares(count)
    ids = dataset.image_ids.tolist()
    annotations = []
    for image, boxes in zip(ids, dataset.boxes, strict=True):
        x1, y1, x2, y2 = boxes[0].tolist()
        box = {"id": image, "image_id": image, "category_id": 0, "bbox": [x1, y1, x2 - x1, y2 - y1]}
        annotations.append(box | {"area": (x2 - x1) * (y2 - y1), "iscrowd": 0})
    listed = [{"id": i, "file_name": f"{i}.png", "width": 2 * SIZE, "height": 2 * SIZE} for i in ids]
    categories = [{"id": 0, "name": "square"}]
    return ImageSet(dataset, images, {"images": listed, "annotations": annotations, "categories": categories})


def write_experiment(folder: Path) -> None:
    """Write what the step `detector` reads; all images are labelled."""
    data = square_set()
    np.save(folder / "train.npy", data.images.stored)
    write_json(folder / "train.json", data.truth())
    write_json(folder / "labelled.json", {"images": data.dataset.image_ids.tolist()})
    write_config(folder, iterations=10)


def write_config(folder: Path, iterations: int, learning_rate: float = 2e-3) -> None:
    write_json(
        folder / "config.yaml",
        {
            "initial": 12,
            "detector": {"width": SIZE, "height": SIZE, "channels": 4},
            "training": {"batch_size": 5, "learning_rate": learning_rate},
            "iterations": {"detector": iterations},
        },
    )


def detector_command(folder: Path, name: str) -> list[str]:
    """The step `detector`, which writes NAME.safetensors and NAME.csv."""
    inputs = {"config": "config.yaml", "dataset": "train.json", "images": "train.npy", "labelled": "labelled.json"}
    files = inputs | {"output": f"{name}.safetensors", "log-csv": f"{name}.csv"}
    paths = [text for option, file in files.items() for text in (f"--{option}", str(folder / file))]
    return ["mgral", "detector", *paths, "--seed", "0", "--cycle", "1"]


def written(folder: Path, name: str) -> list[bytes]:
    return [(folder / f"{name}.{suffix}").read_bytes() for suffix in ("safetensors", "csv")]
