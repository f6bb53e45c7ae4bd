"""What a trained detector finds in pictures of any folder."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from mgral.compute.progress import tracked
from mgral.config import EvaluationConfig, PictureSettings
from mgral.config.canvas import Canvas
from mgral.data.dataset import Category, Dataset
from mgral.data.decoding import DAMAGED, DEEP, OUT_OF_RANGE, TOO_LARGE, PictureError, decode, pillow_limits
from mgral.data.findings import Finding, Findings
from mgral.data.headers import picture_size
from mgral.data.images import DECODERS, to_canvas
from mgral.errors import InputError
from mgral.evaluation.detect import detect_shown
from mgral.models.interface import DetectorModel
from mgral.models.view import show

Pixels = npt.NDArray[np.uint8]

WITHOUT_SETTINGS = {
    kind: Finding(kind.title, f"{advice}; the settings are those that the detector was trained with")
    for kind, advice in (
        (DEEP, "convert them to 8 bits"),
        (OUT_OF_RANGE, "convert them to 8 bits"),
        (TOO_LARGE, "scale them down"),
    )
}
"""What is wrong with pictures that other settings would admit: the detector has not seen pictures read by others."""


@dataclass
class FoundObjects:
    """What was found."""

    images: list[dict[str, Any]] = field(default_factory=list)
    """As in COCO JSON, of the pictures that could be read; numbered from 1 in the order in which they were given."""
    objects: list[dict[str, Any]] = field(default_factory=list)
    """COCO results: bbox in pixels of the upright original picture."""
    findings: Findings = field(default_factory=Findings)
    """Pictures that could not be read, as faults."""


def predict(
    detector: DetectorModel,
    paths: Sequence[Path],
    categories: Sequence[Category],
    canvas: Canvas,
    settings: PictureSettings,
    config: EvaluationConfig,
) -> FoundObjects:
    """Find objects in pictures, decoded and scaled as in the training; those that cannot be read are noted.

    Parameters
    ----------
    categories
        Categories of the detector, by label.
    canvas
        Canvas that pictures are scaled to.
    settings
        How files become pixels.
    """
    predicted = FoundObjects()
    dataset = _dataset(paths, categories, settings, predicted.findings)
    with pillow_limits(settings.max_pixels), ThreadPoolExecutor(DECODERS) as pool:
        chunks = _read(dataset, canvas, settings, pool, predicted.findings)
        for rows, pixels in chunks:
            covered = torch.from_numpy(canvas.covered(dataset.sizes[rows]).astype(np.float32))
            images = torch.from_numpy(pixels).permute(0, 3, 1, 2).to(detector.device)
            inputs = show(images, covered.to(detector.device), canvas)
            predicted.objects += detect_shown(detector, dataset, rows, inputs, canvas, config)
            predicted.images += [_image(dataset, row) for row in rows.tolist()]
    return predicted


def _dataset(
    paths: Sequence[Path], categories: Sequence[Category], settings: PictureSettings, findings: Findings
) -> Dataset:
    """Return the pictures whose header can be read, with their upright sizes."""
    rows: list[tuple[int, Path, tuple[int, int]]] = []
    for number, path in enumerate(paths, start=1):
        try:
            rows.append((number, path, picture_size(path, settings.exif)))
        except InputError as error:
            findings.fault(DAMAGED, str(error).rsplit(";", 1)[0])
    return Dataset(
        image_ids=np.array([number for number, _, _ in rows], dtype=np.int64),
        file_names=tuple(path.as_posix() for _, path, _ in rows),
        sizes=np.array([size for _, _, size in rows], dtype=np.int64).reshape(-1, 2),
        categories=tuple(categories),
        boxes=(np.empty((0, 4), np.float32),) * len(rows),
        labels=(np.empty(0, np.int64),) * len(rows),
    )


def _read(
    dataset: Dataset, canvas: Canvas, settings: PictureSettings, pool: ThreadPoolExecutor, findings: Findings
) -> Iterator[tuple[npt.NDArray[np.int64], Pixels]]:
    """Yield rows and their pixels, uint8 [n, height, width, 3]; the next ones are decoded meanwhile."""

    def decoded(row: int) -> tuple[int, Pixels] | PictureError:
        name = dataset.file_names[row]
        try:
            width, height = dataset.sizes[row].tolist()
            picture = decode(Path(name).read_bytes(), name, (width, height), settings)
        except PictureError as error:
            return error
        except OSError as error:
            return PictureError(DAMAGED, f"{name} ({error.strerror})")
        return row, to_canvas(picture.pixels, canvas)

    def start(chunk: range) -> list[Future[tuple[int, Pixels] | PictureError]]:
        return [pool.submit(decoded, row) for row in chunk]

    count = len(dataset.file_names)
    chunks = [range(first, min(first + canvas.chunk, count)) for first in range(0, count, canvas.chunk)]
    ahead = start(chunks[0]) if chunks else []
    for index in tracked(range(len(chunks)), "predict", len(chunks), "batch"):
        current, ahead = ahead, start(chunks[index + 1]) if index + 1 < len(chunks) else []
        read: list[tuple[int, Pixels]] = []
        for future in current:
            outcome = future.result()
            if isinstance(outcome, PictureError):
                findings.fault(WITHOUT_SETTINGS.get(outcome.kind, outcome.kind), outcome.place)
            else:
                read.append(outcome)
        if read:
            yield np.array([row for row, _ in read]), np.stack([pixels for _, pixels in read])


def _image(dataset: Dataset, row: int) -> dict[str, Any]:
    width, height = dataset.sizes[row].tolist()
    return {
        "id": int(dataset.image_ids[row]),
        "file_name": dataset.file_names[row],
        "width": width,
        "height": height,
    }


def found_json(predicted: FoundObjects, categories: Sequence[Category], threshold: float) -> dict[str, Any]:
    """Return COCO JSON of what was found with a score of `threshold` and more; its annotations have a score."""
    objects = [detection for detection in predicted.objects if detection["score"] >= threshold]
    return {
        "images": predicted.images,
        "annotations": [
            {**detection, "id": number, "area": round(detection["bbox"][2] * detection["bbox"][3], 2), "iscrowd": 0}
            for number, detection in enumerate(objects, start=1)
        ],
        "categories": [category._asdict() for category in categories],
    }
