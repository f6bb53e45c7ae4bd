"""What a job takes of a card's memory, compared with the tensors that a training really keeps."""

import pytest
import torch
from slow import slow

from mgral.compute.gpus import KEPT_IMAGES_MB
from mgral.config import resolve_config
from mgral.engine.memory import CONTEXT_MB, TAKEN_TO_KEPT, card_memory_mb
from mgral.models.build import random_detector
from mgral.models.detectors.retinanet import RetinaNetConfig
from mgral.models.detectors.small_ssd import SmallSSDConfig
from mgral.models.detectors.ssd300 import SSD300Config
from mgral.models.detectors.timm import SSDConfig, TimmRetinaNetConfig
from mgral.models.detectors.torchvision import FACTS, TorchvisionDetectorConfig
from mgral.models.interface import Targets
from mgral.training.consistency import consistency_loss

ON_MAPS = {"width": 128, "height": 96, "anchor_scales": (0.1, 0.2, 0.4, 0.6, 0.8), "aspect_ratios": (2.0,)}
DETECTORS = [
    SmallSSDConfig(width=96, height=64, channels=8),
    SSD300Config(name="ssd300_vgg16"),
    RetinaNetConfig(name="retinanet_resnet50_fpn", canvas=256),
    SSDConfig(name="ssd", **ON_MAPS),
    SSDConfig(name="ssd", **ON_MAPS, backbone="mobilenetv3_large_100", pyramid_channels=256),
    TimmRetinaNetConfig(name="retinanet", **ON_MAPS, strides=(4, 8, 16, 32)),
]


def kept_mb(detector, compute):
    """MiB of what autograd saves on the way to a loss, weights left out."""
    weights = {tensor.untyped_storage().data_ptr() for tensor in detector.state_dict().values()}
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = (storage.nbytes(), tensor)  # which holds on to it, and so to its address
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        compute()
    return sum(size for size, _ in kept.values()) / 2**20


@pytest.mark.parametrize("config", DETECTORS, ids=lambda config: config.name)
def test_a_training_keeps_as_much_as_is_said(config):
    detector = random_detector(config, 20, seed=0).train()
    width, height = config.image_canvas.input_size
    images = torch.randint(0, 256, (2, 3, height, width), dtype=torch.uint8)
    targets = Targets(torch.tensor([[[4.0, 4, 50, 40]]] * 2), torch.zeros(2, 1, dtype=torch.int64))
    said = resolve_config({"detector": config.model_dump(), "training": {"batch_size": 2}})
    estimated = (card_memory_mb(said, "detector") - CONTEXT_MB - KEPT_IMAGES_MB) / TAKEN_TO_KEPT["float32"]
    found = kept_mb(detector, lambda: detector.loss(detector.predictions(images), targets))
    assert found == pytest.approx(estimated, rel=0.15, abs=0.5)
    assert kept_mb(detector, lambda: consistency_loss(detector, images)) == pytest.approx(2 * found, rel=0.2)


@slow
@pytest.mark.parametrize("model", FACTS)
def test_a_training_by_torchvisions_own_losses_keeps_as_much_as_is_said(model):
    side = 320 if model.startswith("ssdlite") else 256
    config = TorchvisionDetectorConfig(name="torchvision", model=model, weights=None, width=side, height=side)
    detector = random_detector(config, 20, seed=0).train()
    images = torch.randint(0, 256, (2, 3, side, side), dtype=torch.uint8)
    targets = Targets(torch.tensor([[[4.0, 4, 50, 40]]] * 2), torch.zeros(2, 1, dtype=torch.int64))
    expected = 2 * side**2 * config.training_bytes / 2**20
    assert kept_mb(detector, lambda: detector.losses(images, targets)) == pytest.approx(expected, rel=0.1)
    weights = sum(one.numel() for one in detector.parameters()) * 4
    assert config.weight_bytes == pytest.approx(weights, rel=0.1)


def test_parts_of_a_batch_take_less_and_unlabelled_images_more():
    def memory(step, **training):
        values = {
            "detector": {"name": "ssd300_vgg16"},
            "lut": {"labels": "consistency"},
            "semi_supervised": {"batch_size": 4},
            "training": {"batch_size": 8, **training},
        }
        kept = KEPT_IMAGES_MB * (2 if step == "variant" else 1)  # labelled and unlabelled images
        return card_memory_mb(resolve_config(values), step) - CONTEXT_MB - kept

    assert memory("base") == memory("detector")
    assert memory("variant") == pytest.approx(2 * memory("detector"), abs=1)
    assert memory("variant", accumulate=4) == pytest.approx(memory("variant") / 4, abs=1)


@pytest.mark.parametrize(
    ("detector", "training", "step", "measured"),
    [
        ("ssd300_vgg16", {"batch_size": 32}, "detector", 11690),
        ("retinanet_resnet50_fpn", {"batch_size": 8}, "detector", 41180),
        ("retinanet_resnet50_fpn", {"batch_size": 8, "precision": "bfloat16"}, "detector", 10930),
        ("ssd300_vgg16", {}, "evaluate", 9770),
        ("retinanet_resnet50_fpn", {}, "evaluate", 1320),
    ],
)
def test_no_less_is_said_than_a_gpu_took(detector, training, step, measured):
    """MiB of tensors on an H100: docs/measurements-training.md, "On one H100"."""
    config = resolve_config({"detector": {"name": detector}, "training": training})
    assert card_memory_mb(config, step) - CONTEXT_MB >= measured
