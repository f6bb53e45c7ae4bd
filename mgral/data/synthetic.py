"""A synthetic data set in which it matters which images are labelled.

Scenes come in kinds that differ in background, difficulty and classes. Nearly half of the training images are of one
easy kind that shows few objects of two common classes, while two classes are seen mostly in rare kinds; the test set
contains the kinds more evenly. About two fifths of the training images are frames of short videos, and so nearly
repeat each other; every test image is a scene of its own. A choice that avoids repetition and finds the rare kinds
teaches a detector more than a uniform one.
"""

from pathlib import Path

import numpy as np
from PIL import Image as PillowImage
from tqdm import tqdm

from mgral.artefacts.files import atomic_path, write_json
from mgral.artefacts.seeds import derive_seed
from mgral.config import SyntheticData
from mgral.data.records import Annotation, CategoryRecord, Coco, Image
from mgral.data.scenes import CLASSES, KINDS, SIZE, SceneKind, draw_scene, render_frame
from mgral.errors import InputError

_VIDEO_FRAMES = (3, 6)
_VIDEO_SHARE = 0.4


def write_synthetic(data: SyntheticData, output: Path) -> None:
    """Write `output`: annotations/instances_{train,test}.json and the images {train,test}/000001.png, ...

    The same settings give the same pixels. The folder appears completely or not at all. Raises InputError where it is
    there already and contains something.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise InputError(f"{output} exists already; delete it or name another folder")
    with atomic_path(output) as partial:
        for split, images in (("train", data.train_images), ("test", data.test_images)):
            (partial / split).mkdir(parents=True)
            coco = _write_split(data.seed, split, images, partial / split)
            write_json(partial / "annotations" / f"instances_{split}.json", coco)


def plan_videos(seed: int, split: str, images: int) -> list[tuple[SceneKind, int]]:
    """Return the scenes of a split in their order: the kind of each and how many frames show it.

    Every kind gets its share of the images, and at least one where there are as many images as kinds.
    """
    rng = np.random.default_rng(derive_seed(seed, "videos", split))
    training = split == "train"
    shares = [kind.train_share if training else kind.test_share for kind in KINDS]
    # The share of videos among scenes that makes their frames _VIDEO_SHARE of the images.
    mean_frames = sum(_VIDEO_FRAMES) / 2
    video = _VIDEO_SHARE / (_VIDEO_SHARE + mean_frames * (1 - _VIDEO_SHARE))
    scenes: list[tuple[SceneKind, int]] = []
    for kind, count in zip(KINDS, _apportion(shares, images), strict=True):
        remaining = count
        while remaining:
            frames = (
                int(rng.integers(_VIDEO_FRAMES[0], _VIDEO_FRAMES[1] + 1)) if training and rng.random() < video else 1
            )
            scenes.append((kind, min(frames, remaining)))
            remaining -= scenes[-1][1]
    return [scenes[index] for index in rng.permutation(len(scenes))]


def _apportion(shares: list[float], images: int) -> list[int]:
    """Split `images` by shares, largest remainders first, from one each where there are enough."""
    least = 1 if images >= len(shares) else 0
    exact = [least + share * (images - least * len(shares)) for share in shares]
    counts = [int(value) for value in exact]
    by_remainder = sorted(range(len(shares)), key=lambda index: counts[index] - exact[index])
    for index in by_remainder[: images - sum(counts)]:
        counts[index] += 1
    return counts


def _write_split(seed: int, split: str, images: int, folder: Path) -> Coco:
    """Draw the images of a split into a folder, and return their annotations."""
    coco = Coco(
        images=[],
        annotations=[],
        categories=[CategoryRecord(id=number, name=name) for number, name in enumerate(CLASSES, start=1)],
    )
    with tqdm(desc=f"synthesize {split}", total=images, unit="image", disable=None) as progress:
        for number, (kind, frames) in enumerate(plan_videos(seed, split, images)):
            rng = np.random.default_rng(derive_seed(seed, "scene", split, number))
            scene = draw_scene(kind, rng)
            for step in range(frames):
                frame = render_frame(scene, step, rng)
                image = Image(
                    id=len(coco["images"]) + 1,
                    file_name=f"{len(coco['images']) + 1:06}.png",
                    width=SIZE,
                    height=SIZE,
                )
                coco["images"].append(image)
                for box, label in zip(frame.boxes, frame.labels, strict=True):
                    coco["annotations"].append(
                        Annotation(
                            id=len(coco["annotations"]) + 1,
                            image_id=image["id"],
                            category_id=label + 1,
                            bbox=list(box),
                            area=box[2] * box[3],
                            iscrowd=0,
                        )
                    )
                PillowImage.fromarray(frame.pixels).save(folder / image["file_name"], compress_level=1)
                progress.update()
    return coco
