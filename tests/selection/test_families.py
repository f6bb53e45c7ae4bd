"""Queries by detectors without dense maps: embedded, and selected from by detections, embeddings and at random."""

import numpy as np
import pytest
import torch
from any_detector import squares_at, trained
from checkpoint_folder import write_checkpoint
from slow import slow

from mgral.config import resolve_config
from mgral.data.image_set import ImageSet
from mgral.data.images import Images
from mgral.evaluation.detect import image_chunks
from mgral.models.interface import DetectorModel
from mgral.selection.features import embed_images
from mgral.selection.selecting import select

STRATEGIES = ("core_set", "entropy_sum", "pal", "random")


@pytest.mark.parametrize("kind", [pytest.param("fasterrcnn_mobilenet_v3_large_320_fpn", marks=slow), "rt_detr_v2"])
def test_images_are_selected_by_what_the_detector_finds(kind, tmp_path):
    if kind == "rt_detr_v2":
        folder = str(write_checkpoint(tmp_path / "checkpoint", kind))
        section = {"name": "transformers", "checkpoint": folder, "width": 64, "height": 64}
    else:
        section = {"name": "torchvision", "model": kind, "weights": None, "width": 64, "height": 64}
    values = {"detector": section, "budget": 2, "strategies": list(STRATEGIES), "embedding": {"dimensions": 2}}
    config = resolve_config(values | {"evaluation": {"score_threshold": 0.0}})
    dataset, images = squares_at(config.detector.image_canvas, 6)
    labelled = dataset.image_ids[:3]
    detector, _ = trained(config.detector, 1)
    take_statistics(detector, images)
    embeddings = embed_images(config, ImageSet(dataset, images, {}), labelled, detector, seed=0)
    assert embeddings.components.shape == (6, 2)
    for strategy in STRATEGIES:
        given = {"images": images, "detector": detector, "embeddings": embeddings}
        first, again = (select(strategy, config, dataset, labelled, 0, **given) for _ in range(2))
        assert first.images.tolist() == again.images.tolist()
        assert first.scores.tolist() == again.scores.tolist()
        assert len(set(first.images.tolist()) & set(dataset.image_ids[3:].tolist())) == 2
        assert first.reason is None
        assert np.ptp(first.scores) > 0.001  # by what is found, not by rounding


def take_statistics(detector: DetectorModel, images: Images) -> None:
    """Set the statistics of batch normalisation to those of the images.

    They start as those of noise of variance 1, and an iteration moves them by a tenth. Random weights shrink what
    they are shown layer by layer, so until then all maps are the same but for rounding, and so is what is found in
    every image: whether any two scores differ is up to the processor.
    """
    for module in detector.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    detector.train()
    with torch.no_grad():
        for _, shown in image_chunks(images, np.arange(len(images)), "statistics", detector.device):
            detector.features(shown)
    detector.eval()
